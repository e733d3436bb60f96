"""What the nets make of wrong training labels: the numbers after the last iteration, and what is drawn over all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from ranbench.records import MEMORISATION
from ranbench.report.collect import RunRow
from ranbench.report.memorised_plot import Fate, Kind, Sight, fates_over
from ranbench.report.shown import Made, fidelity_words, line_names, missing, numbered, parts, styles_of
from ranbench.report.values import Memorised, ResultRow, Tables
from ranbench.statistics import Summary, summarise
from ranbench.suite import Suite, axis_text

Series = Mapping[tuple[int, str], tuple[Sequence[int], Sequence[float]]]
KINDS: tuple[Kind, ...] = ("clean", "flipped", "true")
_MOST_NETS, _MOST_PANELS = 4, 6  # of a panel, of a picture


def memorised_rows(suite: Suite, results: Sequence[ResultRow], runs: Sequence[RunRow]) -> tuple[Memorised, ...]:
    """Return a row for every cell with wrong labels; none where nothing was seen of them, as by earlier versions.

    Args:
        suite: the suite.
        results: rows of its test error, one for each cell.
        runs: its runs.
    """
    noisy = [result for result, cell in zip(results, suite.cells, strict=True) if cell.noise is not None]
    rows = tuple(_row(result, [run for run in runs if run.cell == result.cell]) for result in noisy)
    return rows if any(row.clean or row.flipped for row in rows) else ()


def _row(result: ResultRow, runs: Sequence[RunRow]) -> Memorised:
    clean, flipped, true = (_summary(runs, name) for name in MEMORISATION.values())
    seen = clean or flipped
    done = any(run.state == "done" for run in runs)
    return Memorised(
        cell=result.cell,
        label=result.label,
        axes=result.axes,
        fidelity=result.fidelity,
        error=result.ours,
        best_on_test=result.best_on_test,
        best_iteration=_summary(runs, "best_iteration"),
        clean=clean,
        flipped=flipped,
        flipped_true=true,
        standing="measured" if seen else "not measured" if done else result.standing,
        planned=result.planned,
    )


def _summary(runs: Sequence[RunRow], metric: str) -> Summary | None:
    values = [run.metrics[metric] for run in runs if run.metrics and metric in run.metrics]
    return summarise(values) if values else None


def memorisation(tables: Tables, series: Series) -> tuple[Made, ...]:
    """Draw errors on training images over iterations, a panel for each way that labels are wrong, a colour a net."""
    rows = [row for result in tables.results[:1] for row in result.rows if "noise" in row.axes or row.wrong_labels]
    rows = [row for row in rows if row.axes.get("noise") != 0.0]
    names = line_names(rows, "noise", "noise_drawn", "dataset") if rows else {}
    styles = styles_of(names.values())
    sights = []
    for title in dict.fromkeys(map(_title, rows)):
        some = [row for row in rows if _title(row) == title]
        fates = [_fate(tables, series, row, names[row.cell], styles[names[row.cell]]) for row in some]
        drawn = [fate for fate in fates if fate.lines]
        sights += [Sight(title, tuple(piece)) for piece in parts(drawn, _MOST_NETS)]
    if not sights:
        return ()
    shown = {fate.cell for sight in sights for fate in sight.fates}
    absent = missing((row.label, _why_absent(tables, row)) for row in rows if row.cell not in shown)
    band = any(low < high for sight in sights for fate in sight.fates for low, high in fate.bands)
    fidelity = fidelity_words(tables)
    caption = (
        f"Top-1 error on training images over iterations{fidelity}, in evaluation mode and without augmentation"
        f"{': mean of the seeds, and the range from the lowest to the highest of them as a band' if band else ''}. "
        "On images whose label is wrong, an error against that label that falls is memorisation, and an error by the "
        "true class that is low says that the net sees through the label."
    )
    how = partial(fates_over, label=f"error on training images (%){fidelity}", absent=absent)
    figures = parts(sights, _MOST_PANELS)
    return tuple(
        (numbered("memorisation", "memorisation of wrong labels", caption, index, len(figures)), partial(how, some))
        for index, some in enumerate(figures)
    )


def _title(row: ResultRow) -> str:
    axes = {axis: row.axes[axis] for axis in ("dataset", "noise", "noise_drawn") if axis in row.axes}
    share = axes.pop("noise", None)
    rest = [axis_text(axis, value) for axis, value in axes.items()]
    return ", ".join([*([] if share is None else [f"{100 * float(share):g} % wrong labels"]), *rest]) or "wrong labels"


def _why_absent(tables: Tables, row: ResultRow) -> str:
    done = any(run.state == "done" for run in tables.runs if run.cell == row.cell)
    return "no series stored" if done else row.standing


def _fate(tables: Tables, series: Series, row: ResultRow, name: str, style: int) -> Fate:
    done = [run.attempt_id for run in tables.runs if run.cell == row.cell and run.state == "done" and run.attempt_id]
    lines = {}
    for kind, metric in zip(KINDS, MEMORISATION, strict=True):
        kept = [_finite(*series[id_, metric]) for id_ in done if (id_, metric) in series]
        steps = sorted(set.intersection(*map(set, kept))) if kept else []
        columns = [(step, [points[step] for points in kept]) for step in steps]
        if columns:
            lines[kind] = tuple((step, fmean(at), min(at), max(at)) for step, at in columns)
    return Fate(row.cell, name or "all", style, lines)


def _finite(steps: Sequence[int], values: Sequence[float]) -> dict[int, float]:
    return {step: value for step, value in zip(steps, values, strict=True) if math.isfinite(value)}
