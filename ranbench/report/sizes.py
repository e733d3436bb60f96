"""Exact counts of the suite's nets beside the paper's: parameters, multiply-adds, trunk depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ranbench.catalogue import DATASETS
from ranbench.claims import Verdict
from ranbench.counts import Counts, Recorded, lookup, size_of
from ranbench.records import MODULE_METRICS, SIZE_METRICS
from ranbench.report.values import CitedRow, Size, SizeRow
from ranbench.spec import DataSpec, ModelSpec, complexity_key
from ranbench.suite import Cell, Counted, Suite
from ranbench.suite.form import CitedEntry

STORED = "the package's stored count; no run has counted this net"


def size_rows(
    suite: Suite, measured: Mapping[str, Counts], verdicts: Sequence[Verdict], *, compare: bool
) -> tuple[SizeRow, ...]:
    """Return a row per cell where the paper prints any count, or where nothing else is asked of the suite.

    Args:
        suite: the suite.
        measured: counts by ``complexity_key``; a net that is not among them is looked up in counts.json.
        verdicts: of the suite's claims.
        compare: set the paper's counts beside ours.
    """
    printed = any(entry.metric in SIZE_METRICS for entry in suite.published)
    if suite.trains and not (compare and printed):
        return ()
    spoken = {entry.metric for entry in suite.published if compare}
    metrics = [metric for metric in SIZE_METRICS if metric not in MODULE_METRICS or metric in spoken]
    rows = tuple(_row(suite, cell, measured, verdicts, metrics, compare=compare) for cell in suite.cells)
    if all(row.source != "counted" for row in rows):
        return rows  # the page says it of all of them
    return tuple(replace(row, notes=(*row.notes, STORED)) if row.source == "stored" else row for row in rows)


def cited_rows(suite: Suite) -> tuple[CitedRow, ...]:
    """Return the numbers that the paper cites for nets that are not run here, with the counts of those nets."""
    return tuple(
        CitedRow(
            **entry.model_dump(),
            parameters=_cited_count(suite, entry, "parameters"),
            macs=_cited_count(suite, entry, "macs"),
        )
        for entry in suite.cited
    )


def _cited_count(suite: Suite, entry: CitedEntry, metric: str) -> float | None:
    """Return a count of a cited net: the one cited beside it, or printed for a cell with that net, or an exact one."""
    for other in suite.cited:
        if (other.name, other.metric) == (entry.name, metric) and other.dataset in (None, entry.dataset):
            return other.value
    if entry.model is None:
        return None
    for printed in suite.published:
        same = (printed.cell.model.name, printed.metric) == (entry.model, metric)
        if same and entry.dataset in (None, printed.cell.data.name):
            return printed.value
    model, data = ModelSpec(name=entry.model), _cited_data(suite, entry)
    return size_of(metric, lookup(model, data), model, data) if data else None


def _cited_data(suite: Suite, entry: CitedEntry) -> DataSpec | None:
    """Return the images that a cited net takes: those of a cell with it, else of the dataset, if there is but one."""
    cells = [cell for cell in suite.cells if entry.dataset in (None, cell.data.name)]
    named = [cell.data for cell in cells if cell.model.name == entry.model]
    found = list(dict.fromkeys(named or [cell.data for cell in cells]))
    if entry.dataset in DATASETS and not found:
        return DataSpec.of(str(entry.dataset))
    return found[0] if len(found) == 1 else None


def _row(
    suite: Suite,
    cell: Cell,
    measured: Mapping[str, Counts],
    verdicts: Sequence[Verdict],
    metrics: Sequence[str],
    *,
    compare: bool,
) -> SizeRow:
    recorded = measured.get(complexity_key(cell.model, cell.data))
    counts = recorded or lookup(cell.model, cell.data)
    published = {entry.metric: entry for entry in suite.published if compare and entry.cell is cell}
    outcomes = {
        verdict.claim.metric: verdict.outcome.value
        for verdict in verdicts
        if isinstance(verdict.claim, Counted) and verdict.claim.cell is cell
    }
    sizes = {}
    for metric in metrics:
        ours = size_of(metric, counts, cell.model, cell.data)
        theirs = published[metric].value if metric in published else None
        off = 100 * (ours - theirs) / theirs if ours is not None and theirs else None
        digits = published[metric].digits if metric in published else None
        sizes[metric] = Size(ours, theirs, off, outcomes.get(metric), digits)
    notes = [entry.note for metric, entry in published.items() if metric in SIZE_METRICS and entry.note]
    return SizeRow(
        cell=suite.cells.index(cell) + 1,
        label=suite.label(cell),
        axes={axis: cell.axes[axis] for axis in suite.varying if axis in cell.axes},
        dataset=cell.data.name,
        shape=cell.data.shape,
        sizes=sizes,
        code_id=recorded.code_id if isinstance(recorded, Recorded) else None,
        source="counted" if recorded else "stored" if counts else None,
        notes=tuple(dict.fromkeys(notes)),
    )
