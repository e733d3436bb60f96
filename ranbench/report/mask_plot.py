"""Soft masks over images -> a matplotlib figure after the paper's figure 1, in the visual language of ``style``.

Maps are shown beside the image, stretched over the same frame: a colour that lies half over a photograph can be read
off no bar. Each square of a map is one of its positions; nothing is smoothed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ranbench.report.style import GREY, INK, WIDTH, drawing, safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Even to the eye in lightness, so that it reads in grey and with any colour vision.
COLOURS = "viridis"
ACROSS = 9  # maps beside an image at most; further groups go into a further band below
# In inches.
LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.1, 0.3, 0.08
GAP, BETWEEN, LARGEST = 0.04, 0.13, 0.95
HEADING, BAR, LINE = 0.36, 0.46, 0.145
CAPTION = 120  # characters of a line
NAME, CHARACTER = 4, 0.073  # lines of a heading at most, inches of a character
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, eq=False)
class Row:
    """An image, (H, W, C) in [0, 1], with what is written beside it."""

    label: str
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Column:
    """A map of every image, (N, h, w), of what ``unit`` names.

    Columns of one ``scale`` can be compared, and have the same colours.
    """

    title: str
    maps: np.ndarray
    scale: str
    unit: str


@dataclass(frozen=True, eq=False)
class Group:
    """Columns under one heading."""

    title: str
    columns: tuple[Column, ...]


def mask_grid(rows: Sequence[Row], groups: Sequence[Group], *, title: str, caption: str) -> Figure:
    """Draw a row for every image: the image, and its maps with a bar of colours below each column.

    Args:
        rows: the images.
        groups: of columns, in reading order; not more than ``ACROSS`` columns in one of them.
        title: over all.
        caption: what the maps are, below all.
    """
    bands = list(_bands(groups))
    side = min(_side(band) for band in bands)
    names = {group: _name(group, side) for group in groups}
    heading = HEADING + LINE * (max(map(len, names.values())) - 1)
    high = heading + len(rows) * (side + GAP) + BAR
    told = textwrap.wrap(caption, CAPTION, break_on_hyphens=False)
    height = TOP + len(bands) * high + LINE * len(told) + BOTTOM
    limits = _limits(groups)
    with drawing(height) as figure:
        figure.text(0.08 / WIDTH, 1 - 0.17 / height, safe(title, 90), fontweight="bold", va="center")
        for number, band in enumerate(bands):
            _Band(figure, rows, limits, side, height - TOP - number * high, heading).draw(band, names)
        for number, line in enumerate(told):
            at = (BOTTOM + LINE * (len(told) - number - 0.5)) / height
            figure.text(0.08 / WIDTH, at, safe(line, CAPTION), fontsize=7.5, color=INK, va="center")
    return figure


def _bands(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Fill bands with whole groups."""
    band: list[Group] = []
    for group in groups:
        if band and sum(len(one.columns) for one in (*band, group)) > ACROSS:
            yield band
            band = []
        band.append(group)
    yield band


def _side(band: Sequence[Group]) -> float:
    """Side of the maps of a band that fills the width."""
    columns = sum(len(group.columns) for group in band)
    gaps = len(band) * BETWEEN + (columns - len(band)) * GAP
    return min(LARGEST, (WIDTH - LEFT - RIGHT - gaps) / (1 + columns))


def _name(group: Group, side: float) -> list[str]:
    """The heading on lines as wide as the columns below it."""
    width = len(group.columns) * (side + GAP)
    lines = textwrap.wrap(group.title, max(8, int(width / CHARACTER)), max_lines=NAME, placeholder="…")
    return [safe(line, len(line)) for line in lines] or [""]


def _limits(groups: Sequence[Group]) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each scale, over all images and columns that have it."""
    found: dict[str, tuple[float, float]] = {}
    for column in (column for group in groups for column in group.columns):
        low, high = float(column.maps.min()), float(column.maps.max())
        before = found.get(column.scale, (low, high))
        found[column.scale] = (min(low, before[0]), max(high, before[1]))
    return found


@dataclass(frozen=True, eq=False)
class _Band:
    """Where a band is drawn: the side of its maps, its upper edge, in inches from below, height of its headings."""

    figure: Figure
    rows: Sequence[Row]
    limits: dict[str, tuple[float, float]]
    side: float
    top: float
    heading: float

    def draw(self, groups: Sequence[Group], names: Mapping[Group, Sequence[str]]) -> None:
        left = LEFT
        for number, row in enumerate(self.rows):
            ax = self._frame(left, number)
            colour = row.pixels.shape[2] == 3  # of other numbers of channels the mean is shown, in grey
            shown = row.pixels if colour else row.pixels.mean(axis=2)
            ax.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
            middle = self._down(number) - self.side / 2
            self._text(left - 0.06, middle, row.label, ha="right", va="center", fontsize=7.5, linespacing=1.35)
        left += self.side
        for group in groups:
            left += BETWEEN
            for line, text in enumerate(reversed(names[group])):
                at = self.top - self.heading + 0.28 + line * LINE
                self._text(left, at, text, va="center", fontweight="bold", fontsize=8)
            for column in group.columns:
                self._column(left, column)
                left += self.side + GAP
            left -= GAP

    def _column(self, left: float, column: Column) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        low, high = self.limits[column.scale]
        shade = Normalize(low, high if high > low else low + 1e-12)
        self._text(
            left + self.side / 2, self.top - self.heading + 0.11, column.title, ha="center", va="center", fontsize=7.5
        )
        for number, values in enumerate(column.maps):
            ax = self._frame(left, number)
            ax.imshow(values, cmap=COLOURS, norm=shade, interpolation="nearest", aspect="auto")
        bottom = self._down(len(self.rows)) - 0.07
        ax = self._axes(left, bottom, self.side, 0.07)
        bar = self.figure.colorbar(ScalarMappable(shade, COLOURS), cax=ax, orientation="horizontal", ticks=[])
        bar.outline.set_linewidth(0.5)
        first, last, unit = _ends(low, high, column.unit)
        self._text(left, bottom - 0.07, first, ha="left", va="center", fontsize=6.2)
        self._text(left + self.side, bottom - 0.07, last, ha="right", va="center", fontsize=6.2)
        self._text(left + self.side / 2, bottom - 0.18, unit, ha="center", va="center", fontsize=6.5)

    def _down(self, number: int) -> float:
        """The upper edge of a row of maps."""
        return self.top - self.heading - number * (self.side + GAP)

    def _frame(self, left: float, number: int) -> Axes:
        ax = self._axes(left, self._down(number) - self.side, self.side, self.side)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(visible=True, color=GREY, linewidth=0.5)
        return ax

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        whole = self.figure.get_figheight()
        return self.figure.add_axes((left / WIDTH, bottom / whole, width / WIDTH, height / whole))

    def _text(self, left: float, bottom: float, text: str, **how: Any) -> None:
        self.figure.text(left / WIDTH, bottom / self.figure.get_figheight(), text, **how)


def _ends(low: float, high: float, unit: str) -> tuple[str, str, str]:
    """Write the ends of a bar in few characters, far from 1 in a power of ten, which stands beside the unit."""
    largest = max(abs(low), abs(high))
    power = 0 if not largest or 0.1 <= largest < 1000 else 3 * math.floor(math.log10(largest) / 3)
    digits = next((n for n in (3, 4, 5) if f"{low:.{n}g}" != f"{high:.{n}g}"), 6)
    first, last = (_written(value / 10**power, digits) for value in (low, high))
    return first, last, f"{unit} (10{str(power).translate(RAISED)})" if power else unit


def _written(value: float, digits: int) -> str:
    return f"{value:#.{digits}g}".rstrip(".").replace("-", "−") if value else "0"
