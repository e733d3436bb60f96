"""Tables and series -> the PNG files of a report. What a picture shows is chosen here, how it looks in ``plots``."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ranbench.report.layout import MARKS
from ranbench.report.plots import Curve, Effect, Panel, Strip, forest, learning_curves, seeds_strip
from ranbench.report.response_plot import Spread, Trace, stage_lines
from ranbench.report.responses import along
from ranbench.report.style import png
from ranbench.report.tables import RESULT
from ranbench.report.values import Response, ResultRow, Tables, VerdictRow
from ranbench.statistics import summarise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = Mapping[tuple[int, str], tuple[Sequence[int], Sequence[float]]]
CURVE = "test_error_pct"
_FILES = ("curves.png", "seeds.png", "claims.png", "responses.png")


@dataclass(frozen=True)
class Picture:
    """A written picture: file name, title, and what it shows in words."""

    file: str
    title: str
    caption: str


def draw(tables: Tables, series: Series, folder: Path) -> tuple[Picture, ...]:
    """Write the pictures that the runs allow into ``folder``, and remove those of an earlier report that they do not.

    Returns:
        The pictures in reading order; none where no run is done.
    """
    wanted = pictures(tables, series)
    remove_stale(folder, {picture.file for picture, _ in wanted}, ".png")
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
    for picture, make in wanted:
        (folder / picture.file).write_bytes(png(make()))
    return tuple(picture for picture, _ in wanted)


def remove_stale(folder: Path, wanted: Collection[str], suffix: str) -> None:
    """Remove the pictures of an earlier report, of one kind of file, that are not wanted any more."""
    known = {Path(name).with_suffix(suffix).name for name in _FILES} | {
        p.name for p in folder.glob(f"claims-*{suffix}")
    }
    for name in known - set(wanted):
        (folder / name).unlink(missing_ok=True)


Made = tuple[Picture, Callable[[], "Figure"]]


def pictures(tables: Tables, series: Series) -> tuple[Made, ...]:
    """Return the pictures that the runs allow, in reading order, each with what draws it."""
    found = [_responses(tables), _curves(tables, series), _seeds(tables), *_claims(tables)]
    return tuple(made for made in found if made is not None)


def _curves(tables: Tables, series: Series) -> Made | None:
    if not tables.results:
        return None
    panels = curve_panels(tables, series)
    curves = [curve for panel in panels for curve in panel.curves]
    positive = [value for curve in curves for value in (*curve.mean, *curve.low) if value > 0]
    if not any(curve.steps for curve in curves):
        return None
    evaluated = max(dataset.evaluated_images for dataset in tables.datasets)
    zero = min([100 / evaluated, *positive]) / 2
    shown = {value for curve in curves for value in (*curve.mean, *curve.low)}
    band = any(curve.low for curve in curves)
    what = ": mean of the seeds, and the range from the lowest to the highest of them as a band" if band else ""
    floor = "; an error of 0 is drawn at its lower edge" if 0.0 in shown else ""
    caption = f"Test error over iterations{_fidelity(tables)}{what}. The vertical axis is logarithmic{floor}."
    label = f"test error (%, log scale){_fidelity(tables)}"
    return Picture("curves.png", "learning curves", caption), lambda: learning_curves(panels, label=label, zero=zero)


def curve_panels(tables: Tables, series: Series) -> tuple[Panel, ...]:
    """Gather the curves of done runs: one panel a model, one line for each of its cells."""
    rows = tables.results[0].rows
    styles = _styles(rows)
    models = dict.fromkeys(str(row.axes.get("model", "")) for row in rows)
    return tuple(
        Panel(
            model or tables.suite,
            tuple(_curve(tables, series, row, styles) for row in rows if str(row.axes.get("model", "")) == model),
        )
        for model in models
    )


def _curve(tables: Tables, series: Series, row: ResultRow, styles: Mapping[str, int]) -> Curve:
    name = _line(row)
    done = [run.attempt_id for run in tables.runs if run.cell == row.cell and run.state == "done"]
    kept = [_finite(*series[key]) for key in ((id_, CURVE) for id_ in done if id_) if key in series]
    kept = [points for points in kept if points]
    steps = sorted(set.intersection(*(set(points) for points in kept))) if kept else []
    if not steps:
        return Curve(name or "all seeds", styles[name], absent="no curve stored" if done else row.standing)
    columns = [[points[step] for points in kept] for step in steps]
    band = len(kept) > 1
    return Curve(
        label=name or (f"mean of {len(kept)}" if band else "one seed"),
        style=styles[name],
        steps=tuple(steps),
        mean=tuple(summarise(column).mean for column in columns),
        low=tuple(min(column) for column in columns) if band else (),
        high=tuple(max(column) for column in columns) if band else (),
    )


def _finite(steps: Sequence[int], values: Sequence[float]) -> dict[int, float]:
    return {step: value for step, value in zip(steps, values, strict=True) if math.isfinite(value)}


def _seeds(tables: Tables) -> Made | None:
    rows = tables.results[0].rows if tables.results else ()
    if not any(row.ours for row in rows):
        return None
    styles = _styles(rows)
    strips = [
        Strip(
            label=row.label,
            style=styles[_line(row)],
            values=tuple(
                run.metrics[RESULT]
                for run in tables.runs
                if run.cell == row.cell and run.metrics and RESULT in run.metrics
            ),
            mean=row.ours.mean if row.ours and row.ours.n > 1 else None,
            half_interval=row.ours.half_interval if row.ours else None,
            published=row.published,
            absent=row.standing,
        )
        for row in rows
    ]
    mean = ", with the mean" if any(row.ours and row.ours.n > 1 for row in rows) else ""
    interval = " and its 95 % interval" if any(row.ours and row.ours.half_interval for row in rows) else ""
    paper = ", and the paper's value as a diamond" if any(row.published is not None for row in rows) else ""
    caption = f"Test error of every seed{_fidelity(tables)}{mean}{interval}{paper}."
    return Picture("seeds.png", "results of every seed", caption), lambda: seeds_strip(
        strips, label=f"test error (%){_fidelity(tables)}"
    )


def _responses(tables: Tables) -> Made | None:
    if not any(row.ours for row in tables.responses):
        return None
    traces = [
        _trace(tables, [row for row in tables.responses if row.cell == result.cell], index)
        for index, result in enumerate(tables.results[0].rows)
    ]
    band = ": mean of the seeds, and the range from the lowest to the highest of them as a band"
    several = band if any(row.ours and row.ours.n > 1 for row in tables.responses) else ""
    paper = " Diamonds are the paper's values, read off its plot." if any(one.published for one in traces) else ""
    fidelity = _fidelity(tables)
    caption = (
        f"Mean absolute response{fidelity}{several}. Left at the end of each stage, divided by that of stage 1, as in "
        f"the paper's figure 4; right as measured, small marks after each attention module.{paper}"
    )
    stages = max(row.stage for row in tables.responses)
    return Picture("responses.png", "response by stage", caption), lambda: stage_lines(
        traces, num_stages=stages, label=fidelity
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


def _claims(tables: Tables) -> list[Made]:
    """One forest plot for each unit of effect."""
    units = dict.fromkeys(row.unit for row in tables.verdicts)
    made = []
    for index, unit in enumerate(units):
        rows = [row for row in tables.verdicts if row.unit == unit]
        if any(row.effect is not None for row in rows):
            name = "claims.png" if index == 0 else f"claims-{index + 1}.png"
            made.append(_forest(rows, unit, name))
    return made


def _forest(rows: Sequence[VerdictRow], unit: str, name: str) -> Made:
    effects = [
        Effect(row.id, _kind(row), row.threshold, row.outcome, MARKS[row.outcome], row.effect, row.low, row.high)
        for row in rows
    ]
    said = []
    if any(row.kind == "better" for row in rows):
        said.append("a dot is how much better the first cell of a comparison is, with one-sided bounds")
    if any(row.kind == "trend" for row in rows):
        said.append("of a trend, a dot is the change of the fitted line in the claimed direction")
    if any(row.kind in {"better", "trend"} and row.threshold for row in rows):
        said.append("a dashed tick is the smallest effect that counts")
    if any(row.kind == "ratio" for row in rows):
        said.append("a dot is the mean of the first cell over that of the second, with one-sided bounds")
        said.append("a dashed tick is the bound that is claimed")
    if any(row.kind == "value" for row in rows):
        said.append("a square is ours minus the paper's value, with its interval, and the grey band is the margin")
    if any(row.kind == "complexity" for row in rows):
        said.append("a hollow square is ours minus the paper's count, which is exact, and the grey band the tolerance")
    elif any(row.effect is not None and row.low is None for row in rows):
        said.append("a hollow dot has no interval")
    counts = all(row.kind == "complexity" for row in rows)
    in_words = f"{unit} of the paper's count" if counts else unit
    caption = f"Effects of the claims, in {in_words}: {'; '.join(said)}."
    label = "ours − paper (% of the paper's count)" if counts else f"effect ({unit})"
    nothing = 1.0 if rows[0].kind == "ratio" else 0.0
    return Picture(name, "effects of the claims", caption), lambda: forest(effects, label=label, nothing=nothing)


def _kind(row: VerdictRow) -> Literal["better", "value"]:
    return "value" if row.kind in {"value", "complexity"} else "better"


def _styles(rows: Sequence[ResultRow]) -> dict[str, int]:
    """Give each combination of axis values besides the model its own style, alike in every panel and picture."""
    return {name: index for index, name in enumerate(dict.fromkeys(_line(row) for row in rows))}


def _line(row: ResultRow) -> str:
    parts = (
        f"noise {value:g}" if axis == "noise" and isinstance(value, float) else str(value)
        for axis, value in row.axes.items()
        if axis != "model"
    )
    return ", ".join(parts)


def _fidelity(tables: Tables) -> str:
    return "" if tables.fidelity == "full" else f", {tables.fidelity}"
