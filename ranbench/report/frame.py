"""Runs as one pandas frame, for notebooks and CSV: a row per run, raw values at full precision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ranbench.errors import UsageError
from ranbench.errors import one_line as said
from ranbench.records import RunRecord
from ranbench.report.layout import one_line

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = "=+@\\-＝＋－＠"  # the wide ones are formulas in some editions of spreadsheets
_BEGINS_FORMULA = re.compile(rf"\A['\s]*(?=[{_FORMULA}])|(?<=;)\s*(?=[{_FORMULA}])")


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
    table = frame(records).map(lambda value: harmless(value) if isinstance(value, str) else value)
    try:
        table.to_csv(file, index=False)
    except OSError as error:
        raise UsageError(f"--csv {file}: cannot be written: {said(error)}") from None


def harmless(value: Any) -> Any:
    """Return a number as it is, and text on one line that no spreadsheet computes, also where ; parts its columns."""
    if isinstance(value, str):
        return _BEGINS_FORMULA.sub(lambda match: f"{match[0]}'", one_line(value))
    return str(value).lower() if isinstance(value, bool) else value


def _flat(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            result.update(_flat(item, f"{prefix}{key}."))
        else:
            result[prefix + key] = " ".join(map(str, item)) if isinstance(item, list | tuple) else item
    return result
