"""Errors at the multiply-adds and parameters of their nets, ours and the paper's. What is shown, not how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from ranbench.report.number_plot import points_at
from ranbench.report.over_numbers import dataset_of, spot_of
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
from ranbench.report.spots import Net, Plane, Spot
from ranbench.report.tables import RESULT
from ranbench.report.values import CitedRow, CostRow, ResultRow, Tables

_AXES = {"macs": "multiply-adds of one image", "parameters": "parameters"}
_SIDES = re.compile(r"\b\d+x\d+\b")
_MOST_NETS, _MOST_ROWS = 14, 3  # of a panel, of panels in a picture


def error_and_size(tables: Tables) -> tuple[Made, ...]:
    """Draw error at multiply-adds and at parameters, where nets that are drawn differ in one of them.

    Nets that the paper cites and that are not run stand beside ours; of a suite that trains nothing they are all.
    """
    rows = tables.results[0].rows if tables.results else ()
    if rows and not any(row.ours for row in rows):
        return ()
    cited = [row for row in tables.cited if row.metric == RESULT and tables.fidelity != "smoke"]
    rest, alone = line_names(rows, "model", "dataset"), line_names(rows, "dataset")
    counts = {cost.cell: cost for cost in tables.costs}
    named = {row.cell: _net_and_style(row, rest, alone) for row in rows}
    numbers = styles_of(style for _, style in named.values())
    styles = {cell: numbers[style] for cell, (_, style) in named.items()}
    planes = [
        tuple(_plane(dataset, metric, some, counts, styles) for metric in _AXES)
        for dataset, found in _by_dataset(rows, cited, {cell: net for cell, (net, _) in named.items()}).items()
        for some in parts(found, _MOST_NETS)
    ]
    spots = [spot for row in planes for plane in row for net in plane.nets for _, spot in net.spots]
    if not any(len({spot.x for net in plane.nets for _, spot in net.spots}) > 1 for row in planes for plane in row):
        return ()
    fidelity = fidelity_words(tables)
    ours = [spot for row in planes for plane in row for net in plane.nets if not net.cited for _, spot in net.spots]
    said = f" {marks_in_words(ours, joined=False)}." if ours else ""
    if len(ours) < len(spots):
        said += (
            " Diamonds are nets that are not run here, at the counts that the paper prints for them, or at exact ones "
            "where it prints none."
        )
    if any(_SIDES.search(row.name) for row in cited):
        said += (
            " A size of images in a name is that of its error; counts that the paper prints need not be of that size, "
            "as the notes of the table of sizes say."
        )
    how = partial(
        points_at,
        names=list(numbers),
        label=f"test error (%){fidelity}",
        absent=missing(_absent(rows, cited, counts)),
    )
    figures = parts(planes, _MOST_ROWS)
    caption = f"Test error{fidelity} at the multiply-adds and at the parameters of the nets.{said}"
    return tuple(
        (numbered("sizes", "error and size of the nets", caption, index, len(figures)), partial(how, some))
        for index, some in enumerate(figures)
    )


_Group = tuple[str, tuple[ResultRow | CitedRow, ...]]


def _by_dataset(
    rows: Sequence[ResultRow], cited: Sequence[CitedRow], names: Mapping[int, str]
) -> dict[str, list[_Group]]:
    """Gather the cells of each net by dataset, then the cited nets, each alone."""
    datasets = list(dict.fromkeys(dataset_of(row) for row in rows)) or [""]
    found: dict[str, list[_Group]] = {}
    for dataset in datasets:
        nets: dict[str, list[ResultRow]] = {}
        for row in rows:
            if dataset_of(row) == dataset and (row.ours is not None or row.published is not None):
                nets.setdefault(names[row.cell], []).append(row)
        beside = [row for row in cited if row.dataset == dataset or len(datasets) == 1]
        found[dataset] = [
            *((name, tuple(some)) for name, some in nets.items()),
            *((row.name, (row,)) for row in beside),
        ]
    return found


def _net_and_style(row: ResultRow, rest: Mapping[int, str], alone: Mapping[int, str]) -> tuple[str, str]:
    """Name a net by its model and what its cells differ in; where all have one model, by that difference alone."""
    return (str(row.axes["model"]), rest[row.cell]) if "model" in row.axes else (alone[row.cell], "")


def _plane(
    dataset: str, metric: str, groups: Sequence[_Group], counts: Mapping[int, CostRow], styles: Mapping[int, int]
) -> Plane:
    nets = []
    for name, rows in groups:
        at: dict[float, list[tuple[int, Spot]]] = {}
        for row in rows:
            if isinstance(row, CitedRow):
                x, style = getattr(row, metric), 0
            else:
                x, style = getattr(counts[row.cell], metric), styles[row.cell]
            if x is not None:
                spot = Spot(x, published=row.value) if isinstance(row, CitedRow) else spot_of(row, x)
                at.setdefault(x, []).append((style, spot))
        nets += [Net(name, tuple(spots), cited=isinstance(rows[0], CitedRow)) for spots in at.values()]
    return Plane(dataset, _AXES[metric], tuple(nets))


def _absent(
    rows: Sequence[ResultRow], cited: Sequence[CitedRow], counts: Mapping[int, CostRow]
) -> list[tuple[str, str]]:
    """Say which cells and cited nets are not drawn, or not as ours, and why."""
    found = [(row.label, row.standing) for row in rows if row.ours is None]
    sized = [*((row.label, counts[row.cell]) for row in rows), *((row.name, row) for row in cited)]
    for label, size in sized:
        unknown = [axis for metric, axis in _AXES.items() if getattr(size, metric) is None]
        found += [(label, f"{' and '.join(unknown)} not known")] if unknown else []
    return found
