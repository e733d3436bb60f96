"""Runs as one pandas frame, for notebooks and CSV: a row per run, raw values at full precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ranbench.errors import UsageError, one_line
from ranbench.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row per run: identity, state, its spec (``spec.model.name``), the counted attempt's numbers."""
    import pandas as pd

    rows = []
    for record in records:
        counted = record.counted
        metrics = dict(sorted(counted.measured.items())) if counted else {}
        rows.append(
            {
                "fingerprint": record.fingerprint,
                "cell_id": record.cell_id,
                "seed": record.seed,
                "state": record.state,
                "attempts": len(record.results),
                "suites": " ".join(record.suites),
                **_flat(record.spec, "spec."),
                **metrics,
            }
        )
    return pd.DataFrame(rows)


def write_csv(records: Sequence[RunRecord], file: Path) -> None:
    """Write ``frame`` as CSV; text that a spreadsheet would take for a formula is quoted with an apostrophe.

    Raises:
        UsageError: the file cannot be written.
    """
    table = frame(records).map(
        lambda value: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
    )
    try:
        table.to_csv(file, index=False)
    except OSError as error:
        raise UsageError(f"--csv {file}: cannot be written: {one_line(error)}") from None


def _flat(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            result.update(_flat(item, f"{prefix}{key}."))
        else:
            result[prefix + key] = " ".join(map(str, item)) if isinstance(item, list | tuple) else item
    return result
