"""Responses by stage -> a matplotlib figure after the paper's figure 4, in the visual language of ``style``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ranbench.report.plots import apart
from ranbench.report.style import GREY, INK, PALE, WIDTH, colour, drawing, line, margins, marker, safe, text_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 3.1
LABEL = 32  # characters of a name beside a line, at most


@dataclass(frozen=True)
class Spread:
    """A mean at a place along the net, with the range of the seeds (equal to it for one seed)."""

    place: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Trace:
    """One cell: relative responses at the ends of stages, absolute ones along the net, the paper's relative ones.

    Places count stages: 2 is the end of stage 2, 1.5 the middle of it. ``absent`` says why there is nothing of ours.
    """

    label: str
    style: int
    relative: tuple[Spread, ...] = ()
    absolute: tuple[Spread, ...] = ()
    published: tuple[tuple[float, float], ...] = ()
    absent: str | None = None


def stage_lines(traces: Sequence[Trace], *, num_stages: int, label: str = "") -> Figure:
    """Draw relative responses at the ends of stages, and beside them the absolute ones after every module.

    Args:
        traces: one for each cell.
        num_stages: of the deepest net.
        label: what is added to the titles, for instance a fidelity.
    """
    absent = [trace for trace in traces if not trace.relative]
    with drawing(HEIGHT + 0.17 * len(absent)) as figure:
        left, right = figure.subplots(1, 2)
        names = [safe(trace.label, LABEL) for trace in traces if trace.relative]
        beside = 0.25 + 0.062 * max(map(len, names), default=0)
        shown = [value for trace in traces for value in (*(p.high for p in trace.relative), *_printed(trace), 1.0)]
        edge = _room([max(shown, default=1.0)])
        gap = 0.15 + _room([value for trace in traces for p in trace.absolute for value in (p.low, p.high)])
        across = (WIDTH - edge - gap - beside) / 2
        margins(figure, left=edge, right=beside, top=0.35, bottom=0.5 + 0.17 * len(absent), wspace=gap / across)
        left.set_title(f"relative to stage 1{label}", fontweight="bold")
        right.set_title(f"as measured{label}", fontweight="bold")
        for trace in traces:
            _relative(left, trace)
            _absolute(right, trace)
        for ax in (left, right):
            ax.set_xlim(0.85 if ax is left else 0.1, num_stages + 0.12)
            ax.set_xticks(range(1, num_stages + 1))
            ax.set_xlabel("end of stage")
            ax.grid(axis="y" if ax is left else "both", color=PALE, linewidth=0.7)
        left.set_ylim(0, 1.08 * max(shown, default=1.0))
        left.set_ylabel("relative response")
        _logarithmic(right, traces)
        right.set_ylabel("response (log scale)")
        _names(right, traces)
        _key(left, traces)
        for row, trace in enumerate(absent):
            height = (0.07 + 0.17 * row) / figure.get_figheight()
            figure.text(
                0.08 / WIDTH,
                height,
                safe(f"{trace.label}: {trace.absent}", 90),
                style="italic",
                fontsize=8,
                color=text_colour(trace.style) if trace.published else GREY,
            )
    return figure


def _room(values: Sequence[float]) -> float:
    """Return inches for an axis with its name: numbers of these sizes stand beside its ticks."""
    digits = max((len(f"{10.0 ** math.floor(math.log10(value)):g}") for value in values if value > 0), default=1)
    return 0.3 + 0.075 * max(4, digits)


def _printed(trace: Trace) -> list[float]:
    return [value for _, value in trace.published]


def _style(trace: Trace) -> dict[str, Any]:
    return {"color": colour(trace.style), "linestyle": line(trace.style)}


def _relative(ax: Axes, trace: Trace) -> None:
    _line(ax, trace, trace.relative)
    places = [point.place for point in trace.relative]
    ax.plot(
        places,
        [point.mean for point in trace.relative],
        marker(trace.style),
        color=_style(trace)["color"],
        markersize=5,
    )
    if trace.published:
        edge = {"markerfacecolor": "white", "markeredgecolor": _style(trace)["color"], "markeredgewidth": 1.4}
        look: dict[str, Any] = {"markersize": 6.5, "zorder": 1.5, "clip_on": False}
        ax.plot(*zip(*trace.published, strict=True), marker(trace.style), **look, **edge)


def _absolute(ax: Axes, trace: Trace) -> None:
    _line(ax, trace, trace.absolute)
    shape, shade = marker(trace.style), _style(trace)["color"]
    for size, whole in ((5.0, True), (2.5, False)):
        points = [point for point in trace.absolute if point.place.is_integer() is whole]
        ax.plot([p.place for p in points], [p.mean for p in points], shape, color=shade, markersize=size)


def _line(ax: Axes, trace: Trace, points: Sequence[Spread]) -> None:
    """A line through the means, a band over the range of the seeds."""
    places, style = [point.place for point in points], _style(trace)
    ax.plot(places, [point.mean for point in points], linewidth=1.5, **style)
    if any(point.low < point.high for point in points):
        low, high = [point.low for point in points], [point.high for point in points]
        ax.fill_between(places, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _logarithmic(ax: Axes, traces: Sequence[Trace]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [value for trace in traces for point in trace.absolute for value in (point.low, point.high)]
    if min(values, default=0.0) <= 0:
        return
    ax.set_yscale("log")
    room = max(1.15, (max(values) / min(values)) ** 0.05)
    top = max(values) * room
    ax.set_ylim(min(min(values) / room, top / 5), top)
    wide = top > 300 * min(values)  # then a tick for each 1, 2 and 5 would be too many
    ax.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=9))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _names(ax: Axes, traces: Sequence[Trace]) -> None:
    """Write each line's name beside its end, moved apart where ends lie close."""
    drawn = [trace for trace in traces if trace.absolute]
    wanted = [ax.transLimits.transform(ax.transScale.transform((1, trace.absolute[-1].mean)))[1] for trace in drawn]
    for trace, place in zip(drawn, apart(wanted, 0.075), strict=True):
        where: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "fontsize": 8, "clip_on": False}
        ax.text(1.03, place, safe(trace.label, LABEL), color=text_colour(trace.style), **where)


def _key(ax: Axes, traces: Sequence[Trace]) -> None:
    """Say what open marks mean, where there are any."""
    if any(trace.published for trace in traces):
        ax.plot([], [], "o", markerfacecolor="white", markeredgecolor=INK, markersize=6, label="the paper (read off)")
        ax.legend(loc="upper right", frameon=False, fontsize=8, handletextpad=0.4, borderaxespad=0.2)
