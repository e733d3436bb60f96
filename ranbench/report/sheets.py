"""Tables -> CSV files (RFC 4180, UTF-8), for spreadsheets and scripts: full precision, plain numbers, a row a line.

Text stands on one line; where a spreadsheet would take it for a formula, an apostrophe stands before that.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ranbench.report.frame import harmless
from ranbench.report.values import Tables

_OTHERS = ("other-results", "other-runs")


NAMES = (*Tables.__dataclass_fields__, *_OTHERS)  # of all files that there can be


def sheets(tables: Tables) -> dict[str, str]:
    """Return the text of every CSV file by its name without ending; a table without rows has none."""
    found = {name: [dict(_flat(row)) for row in rows] for name, rows in _tables(tables.as_dict()).items()}
    return {name: _text(rows) for name, rows in found.items() if rows}


def _tables(value: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return every list of records among the tables, those of several metrics or protocols as one."""
    found = {name: part for name, part in value.items() if isinstance(part, list) and part and _is_record(part[0])}
    others: list[Mapping[str, Any]] = found.pop("others", [])
    found["results"] = [{"metric": one["metric"], **row} for one in value["results"] for row in one["rows"]]
    labels = {row["cell"]: row["label"] for row in found["results"]}
    found["runs"] = [_run(run, labels) for run in value["runs"]]
    for name in _OTHERS:
        found[name] = []
    for number, other in enumerate(others, 1):
        head = {"other": number, "fidelity": other["fidelity"], "differences": other["differences"]}
        results = other["results"]
        found["other-results"] += [{**head, "metric": results["metric"], **row} for row in results["rows"]]
        found["other-runs"] += [{**head, **_run(run, labels)} for run in other["runs"]]
    return found


def _is_record(value: object) -> bool:
    return isinstance(value, Mapping)


def _run(run: Mapping[str, Any], labels: Mapping[int, str]) -> dict[str, Any]:
    return {"label": labels[run["cell"]], **run}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name what is inside by its path: ``ours.mean``; join lists of words."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list):
            yield f"{prefix}{key}", "; ".join(map(_words, item))
        else:
            yield f"{prefix}{key}", item


def _words(item: Any) -> str:
    return json.dumps(item, ensure_ascii=False) if isinstance(item, dict | list) else str(item)


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows with one line of names; a name that only some rows have stands behind those it follows there."""
    names: list[str] = []
    for row in rows:
        place = 0
        for name in row:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    names = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]  # a part that is None
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(map(harmless, names))
    writer.writerows([harmless(row.get(name)) for name in names] for row in rows)
    return buffer.getvalue()
