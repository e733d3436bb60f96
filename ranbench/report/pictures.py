"""Tables and series -> the pictures of a report. What a picture shows is chosen here, how it looks in ``plots``.

Errors over numbers are chosen in ``over_numbers`` and ``error_and_size``, effects of claims in ``effects``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

from ranbench.report.effects import effects
from ranbench.report.error_and_size import error_and_size
from ranbench.report.memorisation import Series, memorisation
from ranbench.report.over_numbers import depth, noise
from ranbench.report.plots import Curve, Panel, Strip, learning_curves, seeds_strip
from ranbench.report.response_plot import Spread, Trace, stage_lines
from ranbench.report.responses import along
from ranbench.report.shown import NAMES, Made, fidelity_words, line_names, numbered, parts, styles_of
from ranbench.report.tables import RESULT
from ranbench.report.values import Response, ResultRow, Tables
from ranbench.statistics import summarise

CURVE = "test_error_pct"
_FILES = re.compile(rf"({'|'.join(NAMES)})(-\d+)?")
_MOST_CURVES, _MOST_PANELS = 9, 8  # of a panel, of a picture
_MOST_STRIPS, _MOST_TRACES = 24, 12  # of a picture


def remove_stale(folder: Path, wanted: Collection[str], suffix: str) -> None:
    """Remove the pictures of an earlier report, of one kind of file, that are not wanted any more."""
    for path in folder.glob(f"*{suffix}"):
        if _FILES.fullmatch(path.stem) and path.name not in wanted:
            path.unlink()


def pictures(tables: Tables, series: Series) -> tuple[Made, ...]:
    """Return the pictures that the runs allow, in reading order, each with what draws it."""
    return (
        *_responses(tables),
        *_curves(tables, series),
        *depth(tables),
        *noise(tables),
        *memorisation(tables, series),
        *error_and_size(tables),
        *_seeds(tables),
        *effects(tables),
    )


def _curves(tables: Tables, series: Series) -> tuple[Made, ...]:
    if not tables.results:
        return ()
    panels = curve_panels(tables, series)
    curves = [curve for panel in panels for curve in panel.curves]
    positive = [value for curve in curves for value in (*curve.mean, *curve.low) if value > 0]
    if not any(curve.steps for curve in curves):
        return ()
    evaluated = max(dataset.evaluated_images for dataset in tables.datasets)
    zero = min([100 / evaluated, *positive]) / 2
    shown = {value for curve in curves for value in (*curve.mean, *curve.low)}
    band = any(curve.low for curve in curves)
    what = ": mean of the seeds, and the range from the lowest to the highest of them as a band" if band else ""
    floor = "; an error of 0 is drawn at its lower edge" if 0.0 in shown else ""
    fidelity = fidelity_words(tables)
    caption = f"Test error over iterations{fidelity}{what}. The vertical axis is logarithmic{floor}."
    how = partial(learning_curves, label=f"test error (%, log scale){fidelity}", zero=zero)
    figures = parts(panels, _MOST_PANELS)
    return tuple(
        (numbered("curves", "learning curves", caption, index, len(figures)), partial(how, some))
        for index, some in enumerate(figures)
    )


def curve_panels(tables: Tables, series: Series) -> tuple[Panel, ...]:
    """Gather the curves of done runs: a panel for each model, or several where it has many cells, a line for each."""
    rows = tables.results[0].rows
    names = line_names(rows, "model")
    styles = styles_of(names.values())
    models = dict.fromkeys(str(row.axes.get("model", "")) for row in rows)
    panels = []
    for model in models:
        curves = [
            _curve(tables, series, row, names[row.cell], styles[names[row.cell]])
            for row in rows
            if str(row.axes.get("model", "")) == model
        ]
        pieces = parts(curves, _MOST_CURVES)
        for index, some in enumerate(pieces, 1):
            number = f" ({index} of {len(pieces)})" if len(pieces) > 1 else ""
            panels.append(Panel(f"{model or tables.suite}{number}", tuple(some)))
    return tuple(panels)


def _curve(tables: Tables, series: Series, row: ResultRow, name: str, style: int) -> Curve:
    done = [run.attempt_id for run in tables.runs if run.cell == row.cell and run.state == "done"]
    kept = [_finite(*series[key]) for key in ((id_, CURVE) for id_ in done if id_) if key in series]
    kept = [points for points in kept if points]
    steps = sorted(set.intersection(*(set(points) for points in kept))) if kept else []
    if not steps:
        return Curve(name or "all seeds", style, absent="no curve stored" if done else row.standing)
    columns = [[points[step] for points in kept] for step in steps]
    band = len(kept) > 1
    return Curve(
        label=name or (f"mean of {len(kept)}" if band else "one seed"),
        style=style,
        steps=tuple(steps),
        mean=tuple(map(fmean, columns)),
        low=tuple(min(column) for column in columns) if band else (),
        high=tuple(max(column) for column in columns) if band else (),
    )


def _finite(steps: Sequence[int], values: Sequence[float]) -> dict[int, float]:
    return {step: value for step, value in zip(steps, values, strict=True) if math.isfinite(value)}


def _seeds(tables: Tables) -> tuple[Made, ...]:
    rows = tables.results[0].rows if tables.results else ()
    if not any(row.ours for row in rows):
        return ()
    names = line_names(rows, "model")
    styles = styles_of(names.values())
    values: dict[int, list[float]] = {}
    for run in tables.runs:
        if run.metrics and RESULT in run.metrics:
            values.setdefault(run.cell, []).append(run.metrics[RESULT])
    strips = [
        Strip(
            label=row.label,
            style=styles[names[row.cell]],
            values=tuple(values.get(row.cell, ())),
            mean=row.ours.mean if row.ours and row.ours.n > 1 else None,
            half_interval=row.ours.half_interval if row.ours else None,
            published=row.published,
            absent=row.standing,
        )
        for row in rows
    ]
    mean = ", with the mean" if any(row.ours and row.ours.n > 1 for row in rows) else ""
    interval = " and its 95 % interval" if any(row.ours and row.ours.half_interval for row in rows) else ""
    paper = ", and the paper's value as an open mark" if any(row.published is not None for row in rows) else ""
    fidelity = fidelity_words(tables)
    caption = f"Test error of every seed{fidelity}{mean}{interval}{paper}."
    figures = parts(strips, _MOST_STRIPS)
    drawn = [value for strip in strips for value in strip.drawn]
    how = partial(
        seeds_strip,
        label=f"test error (%){fidelity}",
        limits=(min(drawn), max(drawn)) if len(figures) > 1 else None,
    )
    return tuple(
        (numbered("seeds", "results of every seed", caption, index, len(figures)), partial(how, some))
        for index, some in enumerate(figures)
    )


def _responses(tables: Tables) -> tuple[Made, ...]:
    if not any(row.ours for row in tables.responses):
        return ()
    traces = [
        _trace(tables, [row for row in tables.responses if row.cell == result.cell], index)
        for index, result in enumerate(tables.results[0].rows)
    ]
    band = ": mean of the seeds, and the range from the lowest to the highest of them as a band"
    several = band if any(row.ours and row.ours.n > 1 for row in tables.responses) else ""
    paper = " Open marks are the paper's values, read off its plot." if any(one.published for one in traces) else ""
    fidelity = fidelity_words(tables)
    caption = (
        f"Mean absolute response{fidelity}{several}. Left at the end of each stage, divided by that of stage 1, as in "
        f"the paper's figure 4; right as measured, small marks after each attention module.{paper}"
    )
    stages = max(row.stage for row in tables.responses)
    how = partial(stage_lines, num_stages=stages, label=fidelity)
    figures = parts(traces, _MOST_TRACES)
    return tuple(
        (numbered("responses", "response by stage", caption, index, len(figures)), partial(how, some))
        for index, some in enumerate(figures)
    )


def _trace(tables: Tables, rows: Sequence[Response], style: int) -> Trace:
    done = [run.metrics or {} for run in tables.runs if run.cell == rows[0].cell]
    places = along([(row.stage, row.module) for row in rows])

    def spreads(name: str, chosen: Sequence[tuple[float, Response]]) -> tuple[Spread, ...]:
        seen = ((place, [one[key] for one in done if (key := name.format(row.metric)) in one]) for place, row in chosen)
        return tuple(Spread(place, summarise(at).mean, min(at), max(at)) for place, at in seen if at)

    whole = list(zip(places, rows, strict=True))
    ends = [(place, row) for place, row in whole if row.module is None]
    return Trace(
        label=rows[0].label,
        style=style,
        relative=spreads("{}_relative", ends),
        absolute=spreads("{}", whole),
        published=tuple((place, row.published) for place, row in ends if row.published is not None),
        absent=rows[0].standing,
    )
