"""Errors against a number of their cells: trunk depth, share of wrong labels. What is shown is chosen here, not how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ranbench.report.number_plot import lines_over
from ranbench.report.shown import (
    Made,
    fidelity_words,
    line_names,
    marks_in_words,
    missing,
    numbered,
    parts,
    styles_of,
)
from ranbench.report.spots import Line, Lines, Spot
from ranbench.report.values import ResultRow, Tables

_MOST_LINES, _MOST_PANELS = 14, 4  # of a panel, of a picture


@dataclass(frozen=True)
class _Over:
    """What a picture is about: file and title, the number in words and as an axis, why a cell may have none."""

    file: str
    title: str
    what: str
    axis: str
    unknown: str = ""
    percent: bool = False


@dataclass(frozen=True)
class _Cell:
    """A cell with the number that it stands at, None where it has none, and what tells its line from others."""

    row: ResultRow
    x: float | None
    line: str

    @property
    def dataset(self) -> str:
        return dataset_of(self.row)


_DEPTH = _Over("depth", "error over depth", "the trunk depth of the nets", "trunk depth (layers)", "depth not known")
_NOISE = _Over(
    "noise",
    "error over wrong labels",
    "the share of training labels that are wrong",
    "wrong training labels (%)",
    percent=True,
)


def dataset_of(row: ResultRow) -> str:
    """Name the dataset of a row, where a suite has several."""
    return str(row.axes.get("dataset", ""))


def spot_of(row: ResultRow, x: float) -> Spot:
    """Put a cell at a number."""
    ours = row.ours
    return Spot(x, ours.mean if ours else None, ours.half_interval if ours else None, row.published)


def depth(tables: Tables) -> tuple[Made, ...]:
    """Draw error over trunk depth, a line for every family of nets with otherwise equal cells."""
    rows = tables.results[0].rows if tables.results else ()
    depths = {cost.cell: cost.depth for cost in tables.costs}
    cells = _at_several(
        [_Cell(row, depths.get(row.cell), f"{_family(row)} {_others(row, 'model', 'dataset')}") for row in rows]
    )
    several = len({_family(cell.row) for cell in cells}) > 1
    rest = line_names([cell.row for cell in cells], "model", "dataset")
    names = {}
    for cell in cells:
        family = _family(cell.row) if several or not rest[cell.row.cell] else ""
        names[cell.line] = ", ".join(part for part in (family, rest[cell.row.cell]) if part)
    return _drawn(tables, cells, names, _DEPTH)


def _family(row: ResultRow) -> str:
    """Name a net without the first number in it: ``attention`` of attention-56, ``wrn-10`` of wrn-28-10."""
    return re.sub(r"-\d+", "", str(row.axes.get("model", "")), count=1)


def _others(row: ResultRow, *without: str) -> str:
    """Tell cells apart by all axes but ``without``."""
    return repr({axis: value for axis, value in row.axes.items() if axis not in without})


def noise(tables: Tables) -> tuple[Made, ...]:
    """Draw error over the share of wrong labels, a line for otherwise equal cells.

    A cell without wrong labels does not say how they are drawn, so it belongs to every line that does.
    """
    rows = [row for row in (tables.results[0].rows if tables.results else ()) if "noise" in row.axes]
    own = {row.cell: _others(row, "noise", "dataset") for row in rows}
    bare = {row.cell: _others(row, "noise", "noise_drawn", "dataset") for row in rows}
    drawn: dict[str, list[str]] = {}
    for row in rows:
        if "noise_drawn" in row.axes:
            drawn.setdefault(bare[row.cell], []).append(own[row.cell])
    cells = []
    for row in rows:
        lines = [own[row.cell]] if "noise_drawn" in row.axes else drawn.get(bare[row.cell], [own[row.cell]])
        cells += [_Cell(row, float(row.axes["noise"]), line) for line in dict.fromkeys(lines)]
    cells = _at_several(cells)
    named = line_names([cell.row for cell in cells if cell.line == own[cell.row.cell]], "noise", "dataset")
    names = {own[number]: name for number, name in named.items()}
    return _drawn(tables, cells, names, _NOISE)


def _at_several(cells: Sequence[_Cell]) -> list[_Cell]:
    """Keep the cells of lines that stand at two numbers or more."""
    numbers: dict[tuple[str, str], set[float]] = {}
    for cell in cells:
        numbers.setdefault((cell.dataset, cell.line), set()).update([] if cell.x is None else [cell.x])
    return [cell for cell in cells if len(numbers[cell.dataset, cell.line]) > 1]


def _drawn(tables: Tables, kept: Sequence[_Cell], names: Mapping[str, str], over: _Over) -> tuple[Made, ...]:
    """Draw lines by their names, where one of them at least has two numbers to show, and something is ours."""
    styles = styles_of(cell.line for cell in kept)
    panels = []
    for dataset in dict.fromkeys(cell.dataset for cell in kept):
        groups = {line: [c for c in kept if (c.dataset, c.line) == (dataset, line)] for line in styles}
        found = [_line(names[line], styles[line], group) for line, group in groups.items()]
        panels += [Lines(dataset, tuple(some)) for some in parts([one for one in found if one.spots], _MOST_LINES)]
    lines = [line for panel in panels for line in panel.lines]
    spots = [spot for line in lines for spot in line.spots]
    if all(len({spot.x for spot in line.spots}) < 2 for line in lines) or all(spot.mean is None for spot in spots):
        return ()
    absent = missing(
        (cell.row.label, over.unknown if cell.x is None else cell.row.standing)
        for cell in kept
        if cell.x is None or cell.row.ours is None
    )
    fidelity = fidelity_words(tables)
    alone = "; a line joins cells that differ in nothing else" if len(lines) > 1 else ""
    said = f"Test error over {over.what}{fidelity}{alone}. {marks_in_words(spots, joined=True)}."
    how = partial(lines_over, axis=over.axis, label=f"test error (%){fidelity}", absent=absent, percent=over.percent)
    figures = parts(panels, _MOST_PANELS)
    return tuple(
        (numbered(over.file, over.title, said, index, len(figures)), partial(how, some))
        for index, some in enumerate(figures)
    )


def _line(name: str, style: int, cells: Sequence[_Cell]) -> Line:
    shown = [cell for cell in cells if cell.row.ours is not None or cell.row.published is not None]
    spots = [spot_of(cell.row, cell.x) for cell in shown if cell.x is not None]
    return Line(name or "all cells", style, tuple(sorted(spots, key=lambda spot: spot.x)))
