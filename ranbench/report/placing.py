"""Where labels stand among points: beside what they name, over nothing else. Numbers only; nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle, in any one unit of length."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)


@dataclass(frozen=True)
class Label:
    """A label of a size that names the points at ``anchors``, the best to stand beside first."""

    width: float
    height: float
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Placed:
    """Where a label stands, and the point that a line must lead to where it stands too far away to be seen as its."""

    box: Box
    leads_to: tuple[float, float] | None


_RINGS = (1.0, 2.2, 3.6, 5.2, 7.0)  # distances, as multiples of the nearest one
_WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def place(labels: Sequence[Label], taken: Sequence[Box], within: Box, distance: float) -> list[Placed]:
    """Place labels one after the other: near their points, over no other thing, inside ``within``.

    Args:
        labels: in the order in which they choose.
        taken: what no label may cover.
        within: what no label may leave.
        distance: from a point to its label, at least.
    """
    covered = list(taken)
    found = []
    for label in labels:
        best = _best(sorted(_candidates(label, distance), key=lambda one: one[0]), covered, within)
        found.append(best)
        covered.append(best.box)
    return found


def _best(candidates: Sequence[tuple[float, Placed]], covered: Sequence[Box], within: Box) -> Placed:
    """Return the cheapest place; ``candidates`` begin with those that cost least where nothing stands there."""
    found, least = candidates[0][1], inf
    for worse, placed in candidates:
        if worse >= least:
            break
        cost = worse + _cost(placed.box, covered, within)
        if cost < least:
            found, least = placed, cost
    return found


def _candidates(label: Label, distance: float) -> Iterator[tuple[float, Placed]]:
    """Every place that a label may take, with how much worse it is than the best one."""
    for ring, times in enumerate(_RINGS):
        for turn, (x, y) in enumerate(_WAYS):
            for number, anchor in enumerate(label.anchors):
                left = anchor[0] + x * times * distance - (1 - x) / 2 * label.width
                bottom = anchor[1] + y * times * distance - (1 - y) / 2 * label.height
                box = Box(left, bottom, left + label.width, bottom + label.height)
                yield 10 * ring + turn + number / 4, Placed(box, anchor if ring > 1 else None)


def _cost(box: Box, covered: Sequence[Box], within: Box) -> float:
    """Say how bad it is that a label covers something or leaves the picture, by the part of it that does."""
    area = (box.right - box.left) * (box.top - box.bottom)
    outside = area - box.overlap(within)
    return 1000 * (outside + sum(box.overlap(other) for other in covered)) / area
