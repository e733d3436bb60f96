"""Cells at a number, as pictures of errors over numbers take them: ours with an interval, and the paper's value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spot:
    """One cell at a number: our mean with half of its interval (None for one seed), the paper's value at its number."""

    x: float
    mean: float | None = None
    half: float | None = None
    published: float | None = None
    published_x: float | None = None

    @property
    def paper(self) -> tuple[float, float] | None:
        """Where the paper's value stands, at our number unless it prints one of its own."""
        if self.published is None:
            return None
        return (self.x if self.published_x is None else self.published_x), self.published

    @property
    def points(self) -> list[tuple[float, float]]:
        """Everything that is drawn of it."""
        ours = [] if self.mean is None else [(self.x, self.mean + sign * (self.half or 0.0)) for sign in (0, 1, -1)]
        return [*ours, *([self.paper] if self.paper else [])]


@dataclass(frozen=True)
class Line:
    """A line through cells in the order of their numbers; equal styles mean the same thing in every panel."""

    label: str
    style: int
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class Net:
    """A named point of a scatter plot: cells of one net, each with its style; ``cited`` where it is never ours."""

    label: str
    spots: tuple[tuple[int, Spot], ...]
    cited: bool = False


@dataclass(frozen=True)
class Plane:
    """The points over one number, with the name of its axis."""

    title: str
    axis: str
    nets: tuple[Net, ...]


@dataclass(frozen=True)
class Lines:
    """A titled set of lines; a single one needs no title."""

    title: str
    lines: tuple[Line, ...]
