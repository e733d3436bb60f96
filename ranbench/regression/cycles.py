"""Which cells are due on a night: all that are for every night, and a part of the others that rotates with the date.

Cells that a claim compares take their turns together, so that each claim is judged on some nights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta

from ranbench.regression.ordering import grouped
from ranbench.regression.results import identity
from ranbench.suite import Cell, Suite

# Nights in which each cell is due once. A month is 28 nights, so that no month of the calendar passes without it.
NIGHTS: Mapping[str, int] = {"nightly": 1, "weekly": 7, "monthly": 28}
CYCLES = tuple(NIGHTS)


def due(suite: Suite, night: date, cycle: str = "monthly") -> tuple[Cell, ...]:
    """List the cells of a suite that are due on a night, in the order of the suite.

    Cells that claims link are one group, and groups are spread over the nights of a month as evenly as they can be,
    from a night that differs from suite to suite. A weekly cell is due on its group's night and those a week apart; so
    any so many nights on end as a cycle has hold each of its cells once, and the night of a monthly cell holds the
    weekly ones that it is compared with.

    Args:
        suite: whose cells have their cycles.
        night: the date of it.
        cycle: of the check: ``nightly`` takes a part of the weekly and monthly cells, ``weekly`` all weekly ones and a
            part of the monthly ones, ``monthly`` all cells.
    """
    within = NIGHTS[cycle]
    first = int.from_bytes(hashlib.sha256(suite.name.encode()).digest()[:4])
    turn = night.toordinal() + first
    turns = _turns(suite)
    return tuple(
        cell
        for cell in suite.cells
        if NIGHTS[cell.cycle] <= within or (turn - turns[id(cell)]) % NIGHTS[cell.cycle] == 0
    )


def overdue(suite: Suite, night: date, cycle: str, ended: Mapping[str, date], since: date) -> tuple[Cell, ...]:
    """List the cells that missed their last turn, with those that are compared with them; they are due on this night.

    Without it a night that was not held, or whose budget was too short, would leave a cell to its next turn: a month.

    Args:
        suite: see ``due``.
        night: see there; what is due on it is no part of the answer.
        cycle: see there.
        ended: cell_id -> day of the last run of a cell that came to an end.
        since: day of the first run of the database; what was due before it was not missed.
    """
    tonight = {id(cell) for cell in due(suite, night, cycle)}
    group_of = {id(cell): number for number, group in enumerate(grouped(suite, suite.cells)) for cell in group}
    missed: set[tuple[date, int]] = set()
    for back in range(1, max(NIGHTS.values())):
        turn = night - timedelta(days=back)
        if turn < since:
            break
        for cell in due(suite, turn, cycle):
            last = ended.get(identity(suite, cell), date.min)
            if back < NIGHTS[cell.cycle] and id(cell) not in tonight and last < turn:
                missed.add((turn, group_of[id(cell)]))
    again = {id(cell) for turn, group in missed for cell in due(suite, turn, cycle) if group_of[id(cell)] == group}
    return tuple(cell for cell in suite.cells if id(cell) in again - tonight)


def _turns(suite: Suite) -> dict[int, int]:
    """Give each cell that is not for every night the night of its group in a month, by ``id``.

    The largest group first, each on the night that leaves the fullest of its nights emptiest.
    """
    rare = [cell for cell in suite.cells if cell.cycle != "nightly"]
    month = max(NIGHTS.values())
    load = [0] * month
    turns: dict[int, int] = {}
    for group in sorted(grouped(suite, rare), key=len, reverse=True):
        nights = {
            turn: [other for cell in group for other in range(turn % NIGHTS[cell.cycle], month, NIGHTS[cell.cycle])]
            for turn in range(month)
        }
        chosen = min(nights, key=lambda turn: (max(load[other] for other in nights[turn]), turn))
        for other in nights[chosen]:
            load[other] += 1
        turns |= {id(cell): chosen for cell in group}
    return turns
