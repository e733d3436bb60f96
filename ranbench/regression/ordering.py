"""In which order runs are trained when time is short: what is nearest to a decision first, arms of claims together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ranbench.regression.results import identity
from ranbench.suite import Better, Cell, Claim, Counted, Ratio, Suite, Trend


@dataclass(frozen=True)
class Row:
    """One seed of all cells of a group, trained together or not at all: no arm of a claim gets ahead of another."""

    suite: Suite
    cells: tuple[Cell, ...]
    seed: int


def rows(
    suites: Sequence[tuple[Suite, Sequence[Cell]]],
    cost: Callable[[Suite, Cell], float],
    done: Collection[str],
    last: Callable[[Suite, Cell], str] = lambda suite, cell: "",
) -> list[Row]:
    """Order the runs that are missing.

    Cells that claims compare are one group. The group whose last run is the longest ago comes first, so that none waits
    for ever behind cheaper ones; of those of one day, the one that takes least to be complete, be it cheap or nearly
    done; of a group, seed after seed.

    Args:
        suites: with their seeds, and the cells of each that are due.
        cost: of one run of a cell, in any unit.
        done: fingerprints of runs that need nothing.
        last: the day (ISO 8601) of the last run of a cell, empty where there is none.
    """
    groups: list[tuple[str, float, list[Row]]] = []
    for suite, cells in suites:
        for group in grouped(suite, cells):
            missing = [row for seed in suite.seeds if (row := _row(suite, group, seed, done)).cells]
            total = sum(cost(suite, cell) for row in missing for cell in row.cells)
            waiting = min((last(suite, cell) for row in missing for cell in row.cells), default="")
            groups.append((waiting, total, missing))
    groups.sort(key=lambda group: group[:2])
    return [row for _, _, missing in groups for row in missing]


def _row(suite: Suite, group: Sequence[Cell], seed: int, done: Collection[str]) -> Row:
    missing = tuple(cell for cell in group if cell.run(suite.protocol, seed).fingerprint not in done)
    return Row(suite, missing, seed)


def grouped(suite: Suite, cells: Sequence[Cell]) -> list[list[Cell]]:
    """Put cells together that a claim compares, and those that claims so link; each other cell is alone."""
    due = {identity(suite, cell): cell for cell in cells}
    group_of = {key: {key} for key in due}
    for claim in suite.claims:
        if isinstance(claim, Counted):
            continue
        keys = [key for cell in cells_of(claim) if (key := identity(suite, cell)) in due]
        joined = set().union(*(group_of[key] for key in keys))
        for key in joined:
            group_of[key] = joined
    distinct = {id(group): group for group in group_of.values()}
    return [[cell for key, cell in due.items() if key in group] for group in distinct.values()]


def cells_of(claim: Claim) -> tuple[Cell, ...]:
    """List the cells that a claim is about."""
    if isinstance(claim, Better | Ratio):
        return tuple(cell for pair in claim.pairs for cell in (pair.a, pair.b))
    return (*claim.cells, *claim.minus) if isinstance(claim, Trend) else (claim.cell,)
