"""Names beside lines and points of a figure, where they cover nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ranbench.report.placing import Box, Label, place
from ranbench.report.plots import apart, inside
from ranbench.report.spots import Line, Net, Spot
from ranbench.report.style import DPI, GREY, INK, WIDTH, colour, marker, safe, text_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = 32  # characters of a name beside a point, at most
SIZE: dict[str, Any] = {"fontsize": 8}
LETTER = 0.062  # inches of a character of that size


def name_lines(ax: Axes, lines: Sequence[Line]) -> None:
    """Write names at the right edge, moved apart; those of lines that end before it stand at their ends."""
    last = max(_end(one)[0] for one in lines)
    at_edge = [one for one in lines if _end(one)[0] == last]
    elsewhere = [one for one in lines if _end(one)[0] < last]
    wanted = [ax.transAxes.inverted().transform(ax.transData.transform(_end(one)))[1] for one in at_edge]
    across = ax.get_position().width * WIDTH
    gap = 11.5 / 72 / (ax.get_position().height * _figure(ax).get_figheight())
    for one, height in zip(at_edge, inside(apart(wanted, gap), gap), strict=True):
        where: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False}
        ax.plot(
            [1.0 + 0.1 / across],
            [height],
            marker(one.style),
            markersize=4.5,
            markeredgewidth=0,
            color=colour(one.style),
            **where,
        )
        ax.text(
            1.0 + 0.2 / across,
            height,
            safe(one.label, LABEL),
            va="center",
            color=text_colour(one.style),
            **where,
            **SIZE,
        )
    _put(
        ax,
        [(safe(one.label, LABEL), text_colour(one.style), (_end(one),)) for one in elsewhere],
        [box for one in lines for box in _boxes(ax, one)],
    )


def _end(one: Line) -> tuple[float, float]:
    """Return where a line ends: at ours where it reaches as far as the paper's."""
    points = [point for spot in one.spots for point in spot.points[:1]]
    return max(points, key=lambda point: point[0])


def name_nets(ax: Axes, nets: Sequence[Net]) -> None:
    """Write the name of each net once, beside one of its points, over nothing else."""
    named = []
    for net in nets:
        spots = sorted((spot for _, spot in net.spots), key=lambda spot: -max(y for _, y in spot.points))
        anchors = [point for spot in spots for point in spot.points]
        named.append((safe(net.label, LABEL), INK if not net.cited else GREY, tuple(dict.fromkeys(anchors))))
    taken = [box for net in nets for _, spot in net.spots for box in _spot_boxes(ax, spot)]
    _put(ax, named, taken)


def _put(ax: Axes, named: Sequence[tuple[str, str, tuple[tuple[float, float], ...]]], taken: Sequence[Box]) -> None:
    """Write names (words, colour, the points that they may stand beside) where there is room for them."""
    if not named:
        return
    size = _measure(ax)
    labels = []
    for words, _, anchors in named:
        width, height = size(words)
        labels.append(Label(width, height, tuple(_pixels(ax, point) for point in anchors)))
    (left, bottom), (right, top) = (ax.transAxes.transform(corner) for corner in ((0, 0), (1, 1)))
    found = place(labels, taken, Box(left, bottom, right, top), distance=6 / 72 * DPI)
    back = ax.transAxes.inverted().transform
    for (words, shade, _), one in zip(named, found, strict=True):
        box = one.box
        x, y = back((box.left, (box.bottom + box.top) / 2))
        ax.text(x, y, words, transform=ax.transAxes, va="center", color=shade, clip_on=False, zorder=6, **SIZE)
        if one.leads_to:
            near = (min(max(one.leads_to[0], box.left), box.right), min(max(one.leads_to[1], box.bottom), box.top))
            ends = [back(near), back(one.leads_to)]
            ax.plot(*zip(*ends, strict=True), "-", color=GREY, linewidth=0.5, zorder=1, transform=ax.transAxes)


def _measure(ax: Axes) -> Callable[[str], tuple[float, float]]:
    """Return what gives width and height of words in pixels, with some room for the fonts of browsers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    canvas = _figure(ax).canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer: Any = canvas.get_renderer()  # type: ignore[no-untyped-call]
    font = FontProperties(family="DejaVu Sans", size=8)

    def size(words: str) -> tuple[float, float]:
        width, _, _ = renderer.get_text_width_height_descent(words, font, ismath=False)
        return 1.04 * width, 9.5 / 72 * DPI

    return size


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _pixels(ax: Axes, point: tuple[float, float]) -> tuple[float, float]:
    x, y = ax.transData.transform(point)
    return float(x), float(y)


def _spot_boxes(ax: Axes, spot: Spot) -> list[Box]:
    """Return the rectangles that a cell's marks, its interval and the line between ours and the paper's take."""
    near = 4 / 72 * DPI
    points = [_pixels(ax, point) for point in spot.points]
    boxes = [Box(x - near, y - near, x + near, y + near) for x, y in points]
    if len(points) > 1:
        (x, y), (_, top) = min(points), max(points)
        heights = [y for _, y in points]
        boxes += [Box(x - 2, min(heights), x + 2, max(heights))] if y != top else []
    return boxes


def _boxes(ax: Axes, one: Line) -> list[Box]:
    """Return rectangles along a line."""
    found = [box for spot in one.spots for box in _spot_boxes(ax, spot)]
    for way in ([(s.x, s.mean) for s in one.spots if s.mean is not None], [s.paper for s in one.spots if s.paper]):
        points = [_pixels(ax, point) for point in way]
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = 24
            along = [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(steps + 1)]
            found += [Box(x - 3, y - 3, x + 3, y + 3) for x, y in along]
    return found
