"""A metric over versions of the code -> a matplotlib figure, in the visual language of ``style``: a panel a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

_TALL = 1.75  # inches of a panel
_LETTER = 0.06  # inches of a character of a tick label, which stand upright
_WIDE, _CROWDED = 16, 24  # versions that need the whole width, and small marks
_FEW = 3  # seeds under which an interval may leave the panel, since it would hide all else


@dataclass(frozen=True)
class Step:
    """What the version at place ``at`` (from 0) gave: a dot a seed, the mean with half of its interval, failed runs."""

    at: int
    values: tuple[float, ...] = ()
    mean: float | None = None
    half: float | None = None
    failed: int = 0


@dataclass(frozen=True)
class Track:
    """A line through the means of one cell; equal styles mean the same place in every panel."""

    label: str
    style: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Panel:
    """One cell, with a track for each place that is told apart."""

    title: str
    tracks: tuple[Track, ...]


def over_code(panels: Sequence[Panel], *, codes: Sequence[str], label: str, below: Sequence[str] = ()) -> Figure:
    """Draw a metric over versions of the code, two panels to a row where that leaves room, with the versions as ticks.

    Args:
        panels: what is drawn, in reading order.
        codes: labels of the versions, oldest first, over all parts of a picture.
        label: of the vertical axis.
        below: lines beneath the panels, such as what the places are.
    """
    columns = min(2, len(panels)) if len(codes) <= _WIDE else 1
    rows = math.ceil(len(panels) / columns)
    bottom = 0.3 + _LETTER * max(len(safe(code, 16)) for code in codes) + NOTE * len(below)
    height = 0.55 + _TALL * rows + 0.3 * (rows - 1) + bottom
    with drawing(height) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        margins(figure, left=0.7, right=0.15, top=0.55, bottom=bottom, wspace=0.16, hspace=0.3 / _TALL)
        for panel, ax in zip(panels, axes, strict=False):
            _panel(ax, panel, crowded=len(codes) > _CROWDED)
            _ticks(ax, codes, shown=axes.tolist().index(ax) + columns >= len(panels))
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        figure.supylabel(label, fontsize=8.5, x=0.08 / WIDTH)
        _key(figure, panels)
        notes(figure, below)
    return figure


def _panel(ax: Axes, panel: Panel, *, crowded: bool) -> None:
    ax.set_title(safe(panel.title, 48), fontweight="bold")
    ax.grid(axis="y", color=PALE, linewidth=0.7)
    tracks = len(panel.tracks)
    for index, track in enumerate(panel.tracks):
        shade, aside = colour(track.style), 0.16 * (index - (tracks - 1) / 2)
        measured = [step for step in track.steps if step.mean is not None]
        ax.plot(
            [step.at + aside for step in measured],
            [step.mean or 0.0 for step in measured],
            color=shade,
            linestyle=line(track.style),
            linewidth=1.2,
            zorder=2,
        )
        for step in measured:
            _step(ax, step, track.style, aside, crowded=crowded)
        for step in track.steps:
            if step.failed:
                words: dict[str, Any] = {"color": GREY, "fontsize": 7, "ha": "center", "va": "bottom"}
                ax.text(
                    step.at + aside,
                    0.02,
                    "✗" if crowded else f"✗{step.failed}",
                    transform=ax.get_xaxis_transform(),
                    **words,
                )
    _upwards(ax, [step for track in panel.tracks for step in track.steps])


def _upwards(ax: Axes, steps: Sequence[Step]) -> None:
    """Set the axis to all seeds and means, and to the intervals of three seeds and more."""
    ends = [
        step.mean + sign * step.half
        for step in steps
        for sign in (-1, 1)
        if step.mean is not None and step.half is not None and len(step.values) >= _FEW
    ]
    drawn = [*ends, *(value for step in steps for value in step.values)]
    if not drawn:
        ax.set_yticks([])
        return
    low, high = min(drawn), max(drawn)
    room = high - low or abs(high) or 1.0
    ax.set_ylim(low - (0.22 if any(step.failed for step in steps) else 0.12) * room, high + 0.12 * room)


def _step(ax: Axes, step: Step, style: int, aside: float, *, crowded: bool) -> None:
    shade, at = colour(style), step.at + aside
    if len(step.values) > 1:
        dots: dict[str, Any] = {"color": shade, "alpha": 0.5, "markeredgewidth": 0, "markersize": 3 if crowded else 5}
        ax.plot([at - 0.13] * len(step.values), step.values, ".", **dots)
    if step.mean is None:
        return
    if step.half:
        ends = [step.mean - step.half, step.mean + step.half]
        ax.plot([at] * 2, ends, "-", color=shade, linewidth=1.1, zorder=4)
        ax.plot([at] * 2, ends, "_", color=shade, markersize=3 if crowded else 6, markeredgewidth=1.1, zorder=4)
    ax.plot([at], [step.mean], marker(style), color=shade, markersize=3 if crowded else 5, markeredgewidth=0, zorder=5)


def _ticks(ax: Axes, codes: Sequence[str], *, shown: bool) -> None:
    """Put a tick at every version, as far as there is room for its words; the newest always has one."""
    fits = max(2, int(ax.get_position().width * WIDTH / 0.17))
    every = math.ceil(len(codes) / fits)
    places = list(range(len(codes) - 1, -1, -every))[::-1]
    ax.set_xlim(-0.6, len(codes) - 0.4)
    ax.set_xticks(places, [safe(codes[place], 16) for place in places] if shown else [], rotation=90, fontsize=7.5)


def _key(figure: Figure, panels: Sequence[Panel]) -> None:
    """Say at the top what the marks mean that are there, and which colour is which place."""
    from matplotlib.lines import Line2D

    steps = [step for panel in panels for track in panel.tracks for step in track.steps]
    filled: dict[str, Any] = {"marker": "o", "markersize": 5, "markeredgewidth": 0}
    handles = []
    if any(len(step.values) > 1 for step in steps):
        dot: dict[str, Any] = {"marker": ".", "markersize": 5, "alpha": 0.5, "markeredgewidth": 0}
        handles.append(Line2D([], [], linestyle="none", color=GREY, label="one seed", **dot))
    words = "mean, with its 95 % interval" if any(step.half for step in steps) else "mean"
    handles.append(Line2D([], [], color=GREY, linewidth=1.2, label=words, **filled))
    if any(step.failed for step in steps):
        cross: dict[str, Any] = {"marker": "$✗$", "markersize": 5, "markeredgewidth": 0}
        handles.append(Line2D([], [], linestyle="none", color=INK, label="failed runs", **cross))
    for track in {track.label: track for panel in panels for track in panel.tracks if track.label}.values():
        look: dict[str, Any] = {"linestyle": line(track.style), "marker": marker(track.style), "markersize": 5}
        handles.append(
            Line2D([], [], color=colour(track.style), markeredgewidth=0, label=safe(track.label, 24), **look)
        )
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1.0 - 0.1 / WIDTH, 1 - 0.06 / figure.get_figheight()),
        ncols=min(len(handles), 6),
        frameon=False,
        borderaxespad=0.0,
        fontsize=8,
        handletextpad=0.5,
        columnspacing=1.4,
    )
