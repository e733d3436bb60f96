"""What all pictures share: what one is, names and styles of its lines, in how many files it stands, what it lacks."""

from __future__ import annotations

import itertools
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ranbench.report.layout import one_line
from ranbench.report.values import ResultRow, Tables
from ranbench.suite import Axes, axis_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ranbench.report.spots import Spot

# of the files, without number and ending
NAMES = ("responses", "curves", "depth", "noise", "memorisation", "sizes", "seeds", "claims")
_LONG = 26  # characters of a name that are too many beside a line
_NOTE_WIDTH, _NOTE_LINES = 104, 4  # characters and lines of what is missing, beneath a picture
_OF_NO_PAPER = (
    (", as in the paper's figure 4", ""),
    ("at the counts that the paper prints for them, or at exact ones where it prints none", "at their stated counts"),
    ("counts that the paper prints", "stated counts"),
    ("the paper's", "the published"),
    ("ours − paper", "ours − published"),
    ("the paper", "published"),
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Picture:
    """A written picture: file name, title, and what it shows in words."""

    file: str
    title: str
    caption: str


Made = tuple[Picture, Callable[[], "Figure"]]


def parts(items: Sequence[_T], most: int) -> list[Sequence[_T]]:
    """Cut into pieces of about equal length, none longer than ``most``, so that no picture outgrows a page."""
    count = -(-len(items) // most)
    bounds = [round(index * len(items) / count) for index in range(count + 1)] if count else []
    return [items[start:end] for start, end in itertools.pairwise(bounds)]


def numbered(name: str, title: str, caption: str, index: int, count: int) -> Picture:
    """Describe part ``index`` (from 0) of a picture of ``count`` parts."""
    number = "" if index == 0 else f"-{index + 1}"
    part = f" Part {index + 1} of {count}." if count > 1 else ""
    return Picture(f"{name}{number}.png", f"{title}, part {index + 1}" if count > 1 else title, f"{caption}{part}")


def styles_of(names: Iterable[str]) -> dict[str, int]:
    """Give each name its own style, in their order."""
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def line_names(rows: Sequence[ResultRow], *without: str) -> dict[int, str]:
    """Name rows by the axis values that tell them apart, those of the axes ``without`` left out; by cell.

    Where that is long, as in a suite that turns one screw after the other, a name is what differs from most rows; but
    of two axes neither is left out, for the other alone would not say what is compared.
    """
    seen = Counter(item for row in rows for item in row.axes.items())
    axes: Mapping[int, Axes] = {
        row.cell: {
            axis: value
            for axis, value in row.axes.items()
            if axis not in without and not seen[axis, value] == len(rows) > 1
        }
        for row in rows
    }
    axes = _without_implied(axes)
    whole = {cell: _joined(values) for cell, values in axes.items()}
    if max(map(len, whole.values()), default=0) <= _LONG or len({axis for some in axes.values() for axis in some}) <= 2:
        return whole
    common = {axis: value for (axis, value), _ in reversed(seen.most_common())}
    short = {
        cell: _joined({axis: value for axis, value in values.items() if value != common[axis]}) or whole[cell]
        for cell, values in axes.items()
    }
    return short if len(set(short.values())) == len(set(whole.values())) else whole


def _without_implied(axes: Mapping[int, Axes]) -> Mapping[int, Axes]:
    """Leave out what all cells that can have it have alike, as the attention of some nets, where other axes tell more.

    It is all or nothing of such axes: names stay as distinct as they were.
    """
    values: dict[str, set[object]] = {}
    for each in axes.values():
        for axis, value in each.items():
            values.setdefault(axis, set()).add(value)
    rest = {cell: {axis: value for axis, value in each.items() if len(values[axis]) > 1} for cell, each in axes.items()}
    before, after = ({_joined(each) for each in some.values()} for some in (axes, rest))
    return rest if len(after) == len(before) and "" not in after else axes


def _joined(axes: Axes) -> str:
    return ", ".join(axis_text(axis, value) for axis, value in axes.items())


def fidelity_words(tables: Tables) -> str:
    """Say a fidelity that is not full, as it follows on a name: ``, scaled``."""
    return "" if tables.fidelity == "full" else f", {tables.fidelity}"


def missing(cells: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Say what is missing: pairs of a label and the reason -> lines that stand beneath a picture.

    What does not fit is counted, and stands in the tables.
    """
    groups: dict[str, list[str]] = {}
    for label, reason in cells:
        groups.setdefault(reason, []).append(one_line(label))
    lines = [
        line
        for reason, labels in groups.items()
        for line in textwrap.wrap(f"{reason}: {'; '.join(dict.fromkeys(labels))}", _NOTE_WIDTH)
    ]
    if len(lines) <= _NOTE_LINES:
        return tuple(lines)
    counts: Mapping[str, int] = {reason: len(set(labels)) for reason, labels in groups.items()}
    total = "; ".join(f"{reason}: {count}" for reason, count in counts.items())
    return (*lines[: _NOTE_LINES - 1], textwrap.shorten(f"… in all {total}", _NOTE_WIDTH, placeholder=" …"))


def of_no_paper(words: str) -> str:
    """Speak of published values where fixed words speak of the paper's: a suite without one states its own."""
    for before, after in _OF_NO_PAPER:
        words = words.replace(before, after)
    return words


def marks_in_words(spots: Sequence[Spot], *, joined: bool) -> str:
    """Say what the marks are that are there; ``joined``: a line goes through them."""
    ours = [spot for spot in spots if spot.mean is not None]
    said = []
    if ours:
        bars = any(spot.half for spot in ours)
        said.append(f"Filled marks are the mean of our seeds{', with its 95 % interval as a bar' if bars else ''}")
        if bars and not all(spot.half for spot in ours):
            said.append("where there is no bar, there is one seed only or no spread")
    if any(spot.published is not None for spot in spots):
        said.append(f"{'open' if said else 'Open'} marks{' on a thin line' if joined else ''} are the paper's values")
    return "; ".join(said)
