"""Values -> matplotlib figures, in the visual language of ``style``. Saving is the caller's; nothing global is changed.

Line style and marker repeat what colour says, so that the pictures also read in grey. What is missing is written where
it would stand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ranbench.report.style import (
    DPI,
    GREY,
    INK,
    OUTCOME_COLOURS,
    PALE,
    WIDTH,
    colour,
    drawing,
    label_width,
    line,
    margins,
    marker,
    safe,
    text_colour,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_STYLES_IN_A_KEY = 3
FEW, MANY = 12, 40  # rows of a forest that may stand wide apart, seeds of a cell that crowd its line


@dataclass(frozen=True)
class Curve:
    """A line over ``steps`` with a band from ``low`` to ``high`` (empty for one seed); ``absent`` says why none.

    ``style`` chooses colour and line style; equal styles mean the same thing in every panel.
    """

    label: str
    style: int
    steps: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    absent: str | None = None


@dataclass(frozen=True)
class Panel:
    """A titled set of curves."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Strip:
    """One cell: a dot per seed, mean with half interval, the paper's value; ``absent`` says why there are no dots."""

    label: str
    style: int
    values: tuple[float, ...] = ()
    mean: float | None = None
    half_interval: float | None = None
    published: float | None = None
    absent: str | None = None

    @property
    def drawn(self) -> list[float]:
        """Every value that is drawn."""
        ends = [self.mean + sign * (self.half_interval or 0.0) for sign in (-1, 1)] if self.mean is not None else []
        return [*self.values, *ends, *([] if self.published is None else [self.published])]


@dataclass(frozen=True)
class Effect:
    """One claim: effect with bounds against ``threshold``, which is a line for better and a band for value claims.

    ``member``: one comparison of the claim above it.
    """

    label: str
    kind: Literal["better", "value"]
    threshold: float
    outcome: str
    mark: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    member: bool = False

    @property
    def drawn(self) -> list[float]:
        """Every value that is drawn."""
        edges = [-self.threshold, self.threshold] if self.kind == "value" else [self.threshold or None]
        return [value for value in (*edges, self.effect, self.low, self.high) if value is not None]


def learning_curves(panels: Sequence[Panel], *, label: str, zero: float) -> Figure:
    """Draw one panel a model, test error on a log scale over iterations, lines labelled at their ends.

    Args:
        panels: what is drawn, in reading order, two to a row.
        label: label of the vertical axis.
        zero: where values of 0 are drawn, since a log scale has none; below the smallest value above 0.
    """
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    height = 0.75 + 2.15 * rows + (0.5 if rows == 1 else 0.0)
    with drawing(height) as figure:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        names = [curve.label for panel in panels for curve in panel.curves if curve.steps]
        beside = 0.2 + 0.062 * max((len(safe(name, 26)) for name in names), default=0)
        width = (WIDTH - 0.65 - beside - (columns - 1) * (beside + 0.25)) / columns
        gaps = {"wspace": (beside + 0.25) / width, "hspace": 0.28}
        margins(figure, left=0.65, right=beside, top=0.3, bottom=0.5, **gaps)
        for panel, ax in zip(panels, axes, strict=False):
            ax.set_title(safe(panel.title, 44), fontweight="bold")
            for curve in panel.curves:
                _curve(ax, curve, zero)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
            axes[axes.tolist().index(ax) - columns].tick_params(labelbottom=True)
        _log_limits(axes[0], panels, zero)
        for panel, ax in zip(panels, axes, strict=False):
            _end_labels(ax, panel, zero)
        figure.supxlabel("iterations", fontsize=8.5, y=0.1 / height)
        figure.supylabel(label, fontsize=8.5, x=0.08 / WIDTH)
    return figure


def seeds_strip(rows: Sequence[Strip], *, label: str, limits: tuple[float, float] | None = None) -> Figure:
    """Draw one line a cell: a dot per seed, the mean with its 95 % interval, and an open mark for the paper's value.

    ``limits``: lowest and highest value of all parts, where these rows are a part.
    """
    height = 0.95 + 0.36 * len(rows)
    with drawing(height) as figure:
        ax = figure.subplots()
        margins(figure, left=label_width([row.label for row in rows]), right=0.25, top=0.4, bottom=0.5)
        _rows(ax, [row.label for row in rows])
        for place, row in enumerate(rows):
            _strip(ax, place, row)
        if limits:
            _scale(ax, limits)
        elif not any(row.values or row.published is not None for row in rows):
            ax.set_xticks([])
        ax.set_xlabel(label)
        _key(ax, rows)
    return figure


def forest(
    rows: Sequence[Effect], *, label: str, nothing: float = 0.0, limits: tuple[float, float] | None = None
) -> Figure:
    """Draw effects with their bounds: right of the tick is better; the grey band is a value claim's margin.

    Args:
        rows: claims, each followed by its single comparisons.
        label: of the axis.
        nothing: where there is no effect, 0 for a difference and 1 for a ratio.
        limits: lowest and highest value of all parts, where these rows are a part.
    """
    height = 0.85 + (0.44 if len(rows) <= FEW else 0.36) * len(rows)
    with drawing(height) as figure:
        ax = figure.subplots()
        margins(figure, left=label_width([row.label for row in rows]), right=1.35, top=0.15, bottom=0.5)
        _rows(ax, [row.label for row in rows])
        for row, name in zip(rows, ax.get_yticklabels(), strict=True):
            if row.member:
                name.set(color=GREY, fontsize=7.5)
        ax.axvline(nothing, color=GREY, linewidth=0.9)
        for place, row in enumerate(rows):
            _effect(ax, place, row)
        if limits:
            _scale(ax, limits)
        elif all(row.effect is None for row in rows) and not any(row.threshold for row in rows):
            ax.set_xlim(-1, 1)
            ax.set_xticks([0])
        else:
            ax.margins(x=0.08)
        ax.set_xlabel(label)
    return figure


def _scale(ax: Axes, limits: tuple[float, float]) -> None:
    """Give a part the scale of all."""
    room = 0.08 * (limits[1] - limits[0]) or 1.0
    ax.set_xlim(limits[0] - room, limits[1] + room)


def _curve(ax: Axes, curve: Curve, zero: float) -> None:
    if not curve.steps:
        return
    shade, mean = colour(curve.style), [max(value, zero) for value in curve.mean]
    look: dict[str, Any] = {"color": shade, "linestyle": line(curve.style), "linewidth": 1.6, "markersize": 5}
    ax.plot(curve.steps, mean, marker=marker(curve.style) if len(mean) == 1 else None, clip_on=False, **look)
    if curve.low:
        low, high = ([max(value, zero) for value in side] for side in (curve.low, curve.high))
        ax.fill_between(curve.steps, low, high, color=shade, alpha=0.18, linewidth=0)


def _log_limits(ax: Axes, panels: Sequence[Panel], zero: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    curves = [curve for panel in panels for curve in panel.curves if curve.steps]
    values = [max(value, zero) for curve in curves for value in (*curve.mean, *curve.low, *curve.high)]
    last = max((curve.steps[-1] for curve in curves), default=1)
    ax.set_yscale("log")
    top = max(values, default=100) * 1.2
    ax.set_ylim(min(min(values, default=1) / 1.2, top / 5), top)  # a factor of 5 shows two labelled ticks at least
    ax.set_xlim(0, last)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    if last >= 10_000:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}k" if value else "0"))


def _end_labels(ax: Axes, panel: Panel, zero: float) -> None:
    """Write each line's name beside its end, moved apart where ends lie close; absent ones stand below, in grey."""
    ax.grid(axis="y", color=PALE, linewidth=0.7)
    drawn = [curve for curve in panel.curves if curve.steps]
    wanted = [ax.transData.transform((curve.steps[-1], max(curve.mean[-1], zero)))[1] for curve in drawn]
    bottom, top = (ax.transAxes.transform((0, y))[1] for y in (0, 1))
    gap = 11.5 / 72 * DPI / (top - bottom)
    places = apart([(y - bottom) / (top - bottom) for y in wanted], gap)
    for curve, place in zip(drawn, places, strict=True):
        style: dict[str, Any] = {
            "color": text_colour(curve.style),
            "va": "center",
            "fontsize": 8,
            "clip_on": False,
        }
        ax.text(1.035, place, safe(curve.label, 26), transform=ax.transAxes, **style)
    for index, curve in enumerate(curve for curve in reversed(panel.curves) if not curve.steps):
        text = safe(f"{curve.label}: {curve.absent}", 44)
        ax.text(0.04, 0.04 + index * gap, text, transform=ax.transAxes, color=GREY, style="italic", fontsize=8)


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Move places along a line so that neighbours keep ``gap``, in their order and about their common middle."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _start(places, groups[-1], gap) < _end(places, groups[-2], gap) + gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = dict[int, float]()
    for group in groups:
        moved |= {index: _start(places, group, gap) + k * gap for k, index in enumerate(group)}
    return [moved[index] for index in range(len(places))]


def inside(places: Sequence[float], gap: float) -> list[float]:
    """Move places that keep ``gap`` into the span from 0 to 1, as far as there is room for all."""
    moved = list(places)
    limit = 1.0
    for index in sorted(range(len(moved)), key=lambda i: -moved[i]):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    limit = 0.0
    for index in sorted(range(len(moved)), key=lambda i: moved[i]):
        moved[index] = max(moved[index], limit)
        limit = moved[index] + gap
    return moved


def _start(places: Sequence[float], group: Sequence[int], gap: float) -> float:
    return sum(places[index] for index in group) / len(group) - gap * (len(group) - 1) / 2


def _end(places: Sequence[float], group: Sequence[int], gap: float) -> float:
    return _start(places, group, gap) + gap * (len(group) - 1)


def _rows(ax: Axes, labels: Sequence[str]) -> None:
    """Set up one line of a chart for each label, the first on top."""
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_yticks(range(len(labels)), [safe(label, 40) for label in labels])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color=PALE, linewidth=0.7)
    for place in range(1, len(labels)):
        ax.axhline(place - 0.5, color=PALE, linewidth=0.5)


def _strip(ax: Axes, place: int, row: Strip) -> None:
    if row.published is not None:
        edge: dict[str, Any] = {
            "markerfacecolor": "white",
            "markeredgecolor": colour(row.style),
            "markeredgewidth": 1.3,
        }
        ax.plot([row.published], [place], marker(row.style), markersize=7, zorder=2, **edge)
    if not row.values:
        _absent(ax, place, row.absent or "")
        return
    fan = [place + 0.22 * (2 * (i + 0.5) / len(row.values) - 1) for i in range(len(row.values))]
    look: dict[str, Any] = {"color": colour(row.style), "markeredgewidth": 0, "zorder": 3}
    look |= {"markersize": 4, "alpha": 0.75} if len(row.values) <= MANY else {"markersize": 2.5, "alpha": 0.4}
    ax.plot(row.values, fan, marker(row.style), **look)
    if row.mean is not None:
        ax.plot([row.mean] * 2, [place - 0.3, place + 0.3], "-", color=INK, linewidth=1.8, zorder=4)
        if row.half_interval is not None:
            ends = [row.mean - row.half_interval, row.mean + row.half_interval]
            ax.plot(ends, [place, place], "-", color=INK, linewidth=1.1, zorder=4)


def _key(ax: Axes, rows: Sequence[Strip]) -> None:
    """Say above the axes what the marks mean that are there, in the colours of the first cells."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D

    plain: dict[str, Any] = {"linestyle": "none", "color": GREY}
    styles = list(dict.fromkeys(row.style for row in rows))[:_STYLES_IN_A_KEY]

    def marks(**look: Any) -> tuple[Line2D, ...]:
        return tuple(
            Line2D([], [], linestyle="none", color=colour(style), marker=marker(style), **look) for style in styles
        )

    handles: list[Any] = [marks(markersize=4, markeredgewidth=0)]
    words = ["one seed"]
    if any(row.mean is not None for row in rows):
        bar: dict[str, Any] = {"marker": "|", "markersize": 9, "markeredgewidth": 1.8, "markeredgecolor": INK}
        handles.append(Line2D([], [], **plain, **bar))
        words.append("mean")
    if any(row.half_interval is not None for row in rows):
        handles.append(Line2D([], [], color=INK, linewidth=1.1))
        words.append("95 % interval of the mean")
    if any(row.published is not None for row in rows):
        handles.append(marks(markersize=6, markerfacecolor="white", markeredgewidth=1.3))
        words.append("the paper")
    ax.legend(
        handles=handles,
        labels=words,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.3)},
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        borderaxespad=0.1,
        handletextpad=0.4,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _effect(ax: Axes, place: int, row: Effect) -> None:
    if row.kind == "value":
        ax.fill_betweenx([place - 0.34, place + 0.34], -row.threshold, row.threshold, color=PALE, linewidth=0, zorder=1)
    elif row.threshold:
        ax.plot([row.threshold] * 2, [place - 0.34, place + 0.34], color=GREY, linestyle=(0, (2, 1.5)), linewidth=1.2)
    ax.text(
        1.02, place, safe(f"{row.mark} {row.outcome}", 24), transform=ax.get_yaxis_transform(), va="center", fontsize=8
    )
    if row.effect is None:
        _absent(ax, place, "no effect to show")
        return
    shade = OUTCOME_COLOURS.get(row.outcome, GREY)
    thick, large = (1.1, 4.0) if row.member else (1.8, 6.0)
    if row.low is not None and row.high is not None:
        ax.plot([row.low, row.high], [place, place], "-", color=shade, linewidth=thick, zorder=3)
        ax.plot([row.low, row.high], [place, place], "|", color=shade, markersize=7, markeredgewidth=thick, zorder=3)
    face = "white" if row.low is None else shade
    shape = "o" if row.kind == "better" else "s"
    ax.plot([row.effect], [place], shape, markersize=large, markerfacecolor=face, markeredgecolor=shade, zorder=4)


def _absent(ax: Axes, place: int, text: str) -> None:
    behind: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    look: dict[str, Any] = {"va": "center", "color": GREY, "style": "italic", "fontsize": 8, "bbox": behind}
    ax.text(0.01, place, text, transform=ax.get_yaxis_transform(), **look)
