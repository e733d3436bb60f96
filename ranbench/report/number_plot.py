"""Errors against a number -> matplotlib figures, in the visual language of ``style``: lines over it, and points at it.

What is ours is filled, with its interval as a bar; what the paper prints is open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ranbench.report.point_names import LABEL, LETTER, SIZE, name_lines, name_nets
from ranbench.report.spots import Line, Lines, Plane, Spot
from ranbench.report.style import (
    GREY,
    INK,
    NOTE,
    PALE,
    WIDTH,
    colour,
    drawing,
    line,
    margins,
    marker,
    notes,
    safe,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEY = 0.14  # inches of a line of a key


def lines_over(
    panels: Sequence[Lines], *, axis: str, label: str, absent: Sequence[str] = (), percent: bool = False
) -> Figure:
    """Draw error over a number, one panel a dataset: ours as lines with intervals, the paper's thin, with open marks.

    Args:
        panels: in reading order, two to a row.
        axis: what the number is.
        label: of the vertical axis.
        absent: lines of what is missing.
        percent: the number is a share, which is written in percent.
    """
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    most = max(len(panel.lines) for panel in panels)
    tall = max(2.6 if columns == 1 else 2.1, 0.17 * most)
    top = 0.55 if len(panels) > 1 else 0.32
    height = top + tall * rows + 0.6 * (rows - 1) + 0.5 + NOTE * len(absent)
    with drawing(height) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        beside = 0.3 + LETTER * max((len(safe(one.label, LABEL)) for one in _all_lines(panels)), default=0)
        width = (WIDTH - 0.65 - beside - (columns - 1) * (beside + 0.55)) / columns
        gaps = {"wspace": (beside + 0.55) / width, "hspace": 0.6 / tall}
        margins(figure, left=0.65, right=beside, top=top, bottom=0.5 + NOTE * len(absent), **gaps)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        for panel, ax in zip(panels, axes, strict=False):
            if len(panels) > 1:
                ax.set_title(safe(panel.title, 44), fontweight="bold")
            spots = [spot for one in panel.lines for spot in one.spots]
            _across(ax, sorted({spot.x for spot in spots}), percent=percent)
            _upwards(ax, [y for spot in spots for _, y in spot.points])
            for one in panel.lines:
                _line(ax, one)
            name_lines(ax, panel.lines)
            ax.set_xlabel(axis)
        figure.supylabel(_with_scale(label, axes[: len(panels)]), fontsize=8.5, x=0.08 / WIDTH)
        _key(figure, [spot for one in _all_lines(panels) for spot in one.spots], joined=True)
        notes(figure, absent)
    return figure


def _all_lines(panels: Sequence[Lines]) -> list[Line]:
    return [one for panel in panels for one in panel.lines]


def points_at(planes: Sequence[Sequence[Plane]], *, names: Sequence[str], label: str, absent: Sequence[str]) -> Figure:
    """Draw error at a number as named points: a row of panels a dataset, a column a number.

    Args:
        planes: rows of panels, all with the same columns.
        names: what the styles mean, in their order; a single one needs no key.
        label: of the vertical axis.
        absent: lines of what is missing.
    """
    rows, columns = len(planes), len(planes[0])
    shown = list(names) if len(names) > 1 else []
    key = _KEY * math.ceil(len(shown) / _fitting(shown)) + 0.03 if shown else 0.0
    top = (0.55 if rows > 1 else 0.32) + key
    height = top + 2.6 * rows + 0.72 * (rows - 1) + 0.5 + NOTE * len(absent)
    with drawing(height) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        gaps = {"wspace": 0.16, "hspace": 0.72 / 2.6}
        margins(figure, left=0.65, right=0.15, top=top, bottom=0.5 + NOTE * len(absent), **gaps)
        for row, line_of_axes in zip(planes, axes, strict=True):
            for plane, ax in zip(row, line_of_axes, strict=True):
                _plane(ax, plane, [y for other in row for y in _heights(other)])
            if rows > 1:
                line_of_axes[0].set_title(safe(row[0].title, 60), fontweight="bold")
        figure.supylabel(_with_scale(label, axes.ravel()), fontsize=8.5, x=0.08 / WIDTH)
        nets = [net for row in planes for plane in row for net in plane.nets]
        ours = [spot for net in nets if not net.cited for _, spot in net.spots]
        _key(figure, ours, cited=any(net.cited for net in nets))
        if shown:
            _style_key(figure, shown)
        notes(figure, absent)
    return figure


def _heights(plane: Plane) -> list[float]:
    return [y for net in plane.nets for _, spot in net.spots for _, y in spot.points]


def _plane(ax: Axes, plane: Plane, heights: Sequence[float]) -> None:
    spots = [spot for net in plane.nets for _, spot in net.spots]
    _across_counts(ax, [x for spot in spots for x, _ in spot.points])
    _upwards(ax, heights)
    ax.set_xlabel(f"{plane.axis} (log scale)" if ax.get_xscale() == "log" else plane.axis)
    for net in plane.nets:
        for style, spot in net.spots:
            _spot(ax, spot, style, cited=net.cited)
    name_nets(ax, plane.nets)


def _across(ax: Axes, places: Sequence[float], *, percent: bool) -> None:
    """Put a tick at every number that there is, as far as there is room for its words."""
    room = 0.06 * ((places[-1] - places[0]) or 1.0)
    ax.set_xlim(places[0] - room, places[-1] + room)
    words = [f"{100 * place:g}" if percent else f"{place:g}" for place in places]
    per_word = max(map(len, words)) * 0.075 + 0.12
    fits = max(2.0, ax.get_position().width * WIDTH / per_word)
    closest = (places[-1] - places[0]) / fits
    ticks: list[int] = []
    for index, place_ in enumerate(places):
        if not ticks or place_ - places[ticks[-1]] >= closest:
            ticks.append(index)
    ax.set_xticks([places[index] for index in ticks], [words[index] for index in ticks])


def _across_counts(ax: Axes, values: Sequence[float]) -> None:
    """Set up an axis of counts, logarithmic where they differ by a factor of four or more."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = min(values, default=1.0), max(values, default=1.0)
    if low > 0 and high >= 4 * low:
        ax.set_xscale("log")
        room = (high / low) ** 0.12
        ax.set_xlim(low / room, high * room)
        wide = high > 60 * low
        ax.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=9))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.18 * (high - low) or 0.1 * high or 1.0
        ax.set_xlim(low - room, high + room)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def short_count(value: float) -> str:
    """Write a count for a tick: ``200 M``, ``1.5 G``, ``800``."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _upwards(ax: Axes, values: Sequence[float]) -> None:
    """Set up the axis of errors, logarithmic where they differ by a factor of three or more."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and high >= 3 * low:
        ax.set_yscale("log")
        room = (high / low) ** 0.08
        ax.set_ylim(low / room, high * room)
        subs = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 12 * low else (1, 2, 5)
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
        ax.set_ylim(low - room, high + room)
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(axis="y", color=PALE, linewidth=0.7)


def _with_scale(label: str, axes: Iterable[Axes]) -> str:
    """Say of an axis of errors, ``test error (%)``, that it is logarithmic, where those of all panels are."""
    return label.replace("(%", "(%, log scale") if all(ax.get_yscale() == "log" for ax in axes) else label


def _line(ax: Axes, one: Line) -> None:
    ours = [spot for spot in one.spots if spot.mean is not None]
    paper = [spot.paper for spot in one.spots if spot.paper]
    style: dict[str, Any] = {"color": colour(one.style), "linestyle": line(one.style)}
    ax.plot([x for x, _ in paper], [y for _, y in paper], linewidth=0.8, zorder=2, **style)
    ax.plot([spot.x for spot in ours], [spot.mean or 0.0 for spot in ours], linewidth=1.6, zorder=3, **style)
    for spot in one.spots:
        _spot(ax, spot, one.style, joined=False)


def _spot(ax: Axes, spot: Spot, style: int, *, cited: bool = False, joined: bool = True) -> None:
    """Draw one cell: the paper's open mark, joined to ours by a thin line, and ours with its interval."""
    shade, shape = (INK, "D") if cited else (colour(style), marker(style))
    if spot.paper and spot.mean is not None and joined:
        ax.plot(*zip(spot.paper, (spot.x, spot.mean), strict=True), "-", color=GREY, linewidth=0.7, zorder=1.5)
    if spot.paper:
        edge: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": shade, "markeredgewidth": 1.2}
        ax.plot(*([value] for value in spot.paper), shape, markersize=5.5, zorder=3.5, **edge)
    if spot.mean is None:
        return
    if spot.half:
        ends = [spot.mean - spot.half, spot.mean + spot.half]
        ax.plot([spot.x] * 2, ends, "-", color=shade, linewidth=1.1, zorder=4)
        ax.plot([spot.x] * 2, ends, "_", color=shade, markersize=6, markeredgewidth=1.1, zorder=4)
    ax.plot([spot.x], [spot.mean], shape, color=shade, markersize=5.5, markeredgewidth=0, zorder=5)


def _key(figure: Figure, spots: Sequence[Spot], *, cited: bool = False, joined: bool = False) -> None:
    """Say at the top what the marks mean that are there; ``joined``: a line goes through them."""
    from matplotlib.lines import Line2D

    handles = []
    through: Any = "-" if joined else "none"
    if any(spot.mean is not None for spot in spots):
        words = "ours: mean, with its 95 % interval" if any(spot.half for spot in spots) else "ours"
        filled: dict[str, Any] = {"marker": "o", "markersize": 5, "markeredgewidth": 0, "linewidth": 1.6}
        handles.append(Line2D([], [], color=GREY, linestyle=through, label=words, **filled))
    edge: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.2, "markersize": 5, "linewidth": 0.8}
    if any(spot.published is not None for spot in spots):
        handles.append(Line2D([], [], color=GREY, linestyle=through, marker="o", label="the paper", **edge))
    if cited:
        words = "the paper, a net that is not run here"
        handles.append(Line2D([], [], color=INK, linestyle="none", marker="D", label=words, **edge))
    _legend(figure, handles, 1 - 0.06 / figure.get_figheight())


def _style_key(figure: Figure, names: Sequence[str]) -> None:
    """Say beneath the first line of the key what shapes and colours mean."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=marker(index), color=colour(index), markersize=5, markeredgewidth=0)
        for index in range(len(names))
    ]
    for handle, name in zip(handles, names, strict=True):
        handle.set_label(safe(name, LABEL))
    _legend(figure, handles, 1 - (0.06 + NOTE) / figure.get_figheight(), columns=_fitting(names))


def _fitting(names: Sequence[str]) -> int:
    """Return how many names of a key fit side by side."""
    longest = max((len(safe(name, LABEL)) for name in names), default=1)
    return max(1, min(len(names), int((WIDTH - 0.5) / (0.35 + LETTER * longest))))


def _legend(figure: Figure, handles: Sequence[Any], top: float, columns: int | None = None) -> None:
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1.0 - 0.1 / WIDTH, top),
        ncols=columns or max(len(handles), 1),
        frameon=False,
        borderaxespad=0.0,
        borderpad=0.0,
        labelspacing=0.15,
        handletextpad=0.5,
        handlelength=1.6,
        columnspacing=1.4,
        **SIZE,
    )
