"""The results database. Callers see ``Store`` and plain frozen values, never sessions or rows."""

from ranbench.store.store import Store
from ranbench.store.values import Artefact, Claimed, Exported, Merged, Refused, SuiteText

__all__ = ["Artefact", "Claimed", "Exported", "Merged", "Refused", "Store", "SuiteText"]
