"""Which cells are due on a night: all that are for every night, and a part of the others that rotates with the date."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date

from ranbench.suite import Cell, Suite

# Nights in which each cell is due once. A month is 28 nights, so that no month of the calendar passes without it.
NIGHTS: Mapping[str, int] = {"nightly": 1, "weekly": 7, "monthly": 28}
CYCLES = tuple(NIGHTS)


def due(suite: Suite, night: date, cycle: str = "monthly") -> tuple[Cell, ...]:
    """List the cells of a suite that are due on a night, in the order of the suite.

    The cells of a cycle are spread evenly over its nights, from a night that differs from suite to suite; so any so
    many nights on end hold each cell once.

    Args:
        suite: whose cells have their cycles.
        night: the date of it.
        cycle: of the check: ``nightly`` takes a part of the weekly and monthly cells, ``weekly`` all weekly ones and a
            part of the monthly ones, ``monthly`` all cells.
    """
    within = NIGHTS[cycle]
    groups = {name: [cell for cell in suite.cells if cell.cycle == name] for name in NIGHTS}
    chosen = {
        id(cell)
        for name, cells in groups.items()
        for cell in (cells if NIGHTS[name] <= within else _turn(cells, suite.name, night, NIGHTS[name]))
    }
    return tuple(cell for cell in suite.cells if id(cell) in chosen)


def _turn(cells: Sequence[Cell], name: str, night: date, nights: int) -> list[Cell]:
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % nights
    turn = (night.toordinal() + first) % nights
    return [cell for index, cell in enumerate(cells) if index * nights // len(cells) == turn]
