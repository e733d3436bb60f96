"""What the database holds of a suite: its runs, the counts of its nets, the predictions that claims compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ranbench.counts import Recorded
    from ranbench.records import RunRecord
    from ranbench.store import Store
    from ranbench.suite import Suite


def measured_of(store: Store, suite: Suite) -> dict[str, Recorded]:
    """The recorded counts of the suite's nets, by their key."""
    from ranbench.counts import Recorded
    from ranbench.spec import complexity_key

    keys = {complexity_key(cell.model, cell.data) for cell in suite.cells}
    found = {key: store.complexity(key) for key in sorted(keys)}
    return {key: Recorded(one.parameters, one.macs, one.depth, one.code_id) for key, one in found.items() if one}


def records_of(store: Store, suite: Suite) -> list[RunRecord]:
    """All runs of the suite's cells: those it asks for now, and those that it was ever recorded with."""
    asked = store.runs([spec.fingerprint for spec in suite.runs()])
    known = {record.fingerprint for record in asked}
    return asked + [record for record in store.runs(suite=suite.name) if record.fingerprint not in known]


def predictions_of(store: Store, suite: Suite, records: Sequence[RunRecord]) -> dict[int, bytes]:
    """The predicted classes of the nets that claims compare, by attempt."""
    from ranbench.claims import compared

    if not suite.trains:
        return {}
    asked = {spec.fingerprint for spec in suite.runs()}
    attempts = compared(suite, [record for record in records if record.fingerprint in asked])
    found = {attempt: store.predictions(attempt) for attempt in attempts}
    return {attempt: classes for attempt, classes in found.items() if classes is not None}
