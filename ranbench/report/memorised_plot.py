"""Errors on clean and on flipped training images over iterations -> a matplotlib figure, after ``style``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ranbench.report.style import GREY, NOTE, PALE, WIDTH, colour, drawing, margins, marker, notes, safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["clean", "flipped", "true"]
WORDS: Mapping[Kind, str] = {
    "clean": "clean label",
    "flipped": "flipped label, as given",
    "true": "flipped label, true class",
}
_LINES: Mapping[Kind, Any] = {"clean": "-", "flipped": (0, (4, 1.5)), "true": (0, (1, 1.2))}
_ROW = 2.0  # inches of a row of panels
_MARKS = 5  # of a line, at most


@dataclass(frozen=True)
class Fate:
    """What becomes of the labels of one cell: by kind, points of iteration, mean, lowest and highest of the seeds."""

    cell: int
    label: str
    style: int
    lines: Mapping[Kind, tuple[tuple[int, float, float, float], ...]]

    @property
    def bands(self) -> Iterator[tuple[float, float]]:
        """Lowest and highest of the seeds, at every point."""
        return ((low, high) for points in self.lines.values() for _, _, low, high in points)


@dataclass(frozen=True)
class Sight:
    """A titled panel."""

    title: str
    fates: tuple[Fate, ...]


def fates_over(sights: Sequence[Sight], *, label: str, absent: Sequence[str] = ()) -> Figure:
    """Draw a panel for each sight, two to a row: colours and marks tell nets apart, line styles the kinds of labels.

    Args:
        sights: what is drawn, in reading order.
        label: of the vertical axis.
        absent: lines of what is missing.
    """
    columns = min(2, len(sights))
    rows = math.ceil(len(sights) / columns)
    top, bottom = 0.75, 0.5 + NOTE * len(absent)
    height = top + _ROW * rows + 0.35 * (rows - 1) + bottom + (0.5 if rows == 1 else 0.0)
    with drawing(height) as figure:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        margins(figure, left=0.6, right=0.2, top=top, bottom=bottom, wspace=0.08, hspace=0.35 / _ROW)
        for sight, ax in zip(sights, axes, strict=False):
            ax.set_title(safe(sight.title, 44), fontweight="bold")
            ax.grid(axis="y", color=PALE, linewidth=0.7)
            for fate in sight.fates:
                _fate(ax, fate)
        for index, ax in enumerate(axes[len(sights) :], len(sights)):
            ax.set_axis_off()
            axes[index - columns].tick_params(labelbottom=True)
        _scales(axes[0], sights)
        figure.supxlabel("iterations", fontsize=8.5, y=(0.1 + NOTE * len(absent)) / height)
        figure.supylabel(label, fontsize=8.5, x=0.08 / WIDTH)
        _keys(figure, sights)
        notes(figure, absent)
    return figure


def _fate(ax: Axes, fate: Fate) -> None:
    shade = colour(fate.style)
    for kind, points in fate.lines.items():
        steps, means = [step for step, *_ in points], [mean for _, mean, _, _ in points]
        apart = max(1, len(points) // _MARKS)
        look: dict[str, Any] = {"linestyle": _LINES[kind], "linewidth": 1.5, "markersize": 4, "markeredgewidth": 0}
        ax.plot(steps, means, marker(fate.style), color=shade, markevery=(apart - 1, apart), clip_on=False, **look)
        if any(low < high for _, _, low, high in points):
            low, high = [low for _, _, low, _ in points], [high for *_, high in points]
            ax.fill_between(steps, low, high, color=shade, alpha=0.13, linewidth=0)


def _scales(ax: Axes, sights: Sequence[Sight]) -> None:
    from matplotlib.ticker import FuncFormatter

    ends = [points[-1][0] for sight in sights for fate in sight.fates for points in fate.lines.values()]
    ax.set_xlim(0, max(ends, default=1))
    ax.set_ylim(0, 100)
    if max(ends, default=1) >= 10_000:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}k" if value else "0"))


def _keys(figure: Figure, sights: Sequence[Sight]) -> None:
    """Say above the panels what colours and marks mean, and beneath it what line styles mean."""
    from matplotlib.lines import Line2D

    named = {fate.label: fate.style for sight in sights for fate in sight.fates}
    nets = [
        Line2D([], [], color=colour(style), marker=marker(style), markersize=4, markeredgewidth=0, label=safe(name, 32))
        for name, style in named.items()
    ]
    there = [kind for kind in WORDS if any(kind in fate.lines for sight in sights for fate in sight.fates)]
    kinds = [Line2D([], [], color=GREY, linestyle=_LINES[kind], linewidth=1.5, label=WORDS[kind]) for kind in there]
    height = figure.get_figheight()
    for handles, down in ((nets, 0.06), (kinds, 0.26)):
        figure.legend(
            handles=handles,
            loc="upper right",
            bbox_to_anchor=(1 - 0.1 / WIDTH, 1 - down / height),
            ncols=len(handles),
            frameon=False,
            fontsize=8,
            borderaxespad=0.0,
            borderpad=0.0,
            handletextpad=0.5,
            handlelength=2.2,
            columnspacing=1.4,
        )
