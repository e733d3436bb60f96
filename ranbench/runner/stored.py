"""The spec of a run as it was recorded."""

from __future__ import annotations

from ranbench.errors import SpecError
from ranbench.records import RunRecord
from ranbench.spec import RunSpec


def stored_spec(record: RunRecord) -> RunSpec:
    """Read a run's spec back.

    Raises:
        SpecError: this version cannot read it, or reads it as another run.
    """
    spec = RunSpec.stored(record.fingerprint, record.spec)
    if spec.fingerprint != record.fingerprint:
        raise SpecError(
            f"run {record.fingerprint[:12]}: this version reads its stored spec as another run, "
            f"{spec.fingerprint[:12]}; use the version that recorded it"
        )
    return spec
