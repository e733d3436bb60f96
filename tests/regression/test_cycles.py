"""Each cell is due once in its cycle, on every stretch of nights of a year; what is due depends on the date alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import pytest

from ranbench.regression import due, identity, overdue
from ranbench.regression.ordering import grouped
from ranbench.suite import Suite, load_suite

YEAR = [date(2027, 1, 1) + timedelta(days=day) for day in range(365)]


@pytest.fixture(scope="module")
def nightly() -> Suite:
    """The shipped suite, some of whose weekly cells are made monthly ones."""
    suite = load_suite("nightly")
    cells = [replace(cell, cycle="monthly") if index in {5, 7, 9} else cell for index, cell in enumerate(suite.cells)]
    return replace(suite, cells=tuple(cells))


def test_every_cell_of_the_shipped_suite_is_due_once_in_its_cycle_over_a_year(nightly: Suite) -> None:
    length = {"nightly": 1, "weekly": 7, "monthly": 28}
    on = {night: {nightly.cells.index(cell) for cell in due(nightly, night, "nightly")} for night in YEAR}

    for index, cell in enumerate(nightly.cells):
        nights = length[cell.cycle]
        turns = [index in on[night] for night in YEAR]
        assert {sum(turns[first : first + nights]) for first in range(365 - nights + 1)} == {1}, cell.cycle


def test_cells_are_spread_evenly_over_the_nights() -> None:
    suite = load_suite("nightly")

    sizes = Counter(len(due(suite, night, "nightly")) for night in YEAR)

    assert set(sizes) == {5, 6}  # four for every night, and one or two of the twelve weekly ones


def test_no_month_of_the_calendar_passes_without_a_monthly_cell(nightly: Suite) -> None:
    months: dict[int, set[int]] = {}
    for night in YEAR:
        months.setdefault(night.month, set()).update(
            nightly.cells.index(cell) for cell in due(nightly, night, "nightly")
        )

    assert {len(seen) for seen in months.values()} == {len(nightly.cells)}


def test_a_weekly_check_takes_all_weekly_cells_and_a_monthly_one_all(nightly: Suite) -> None:
    night = YEAR[0]

    weekly, monthly = due(nightly, night, "weekly"), due(nightly, night, "monthly")

    assert {cell.cycle for cell in nightly.cells if cell not in weekly} <= {"monthly"}
    assert monthly == nightly.cells
    assert due(nightly, night, "nightly") == due(nightly, night, "nightly")


def test_suites_take_their_turns_on_different_nights() -> None:
    first = load_suite("nightly")
    firsts = {
        next(night for night in YEAR[:7] if first.cells[-1] in due(replace(first, name=name), night, "nightly"))
        for name in ("one", "two", "three", "four")
    }

    assert len(firsts) > 1


def test_cells_that_a_claim_compares_are_due_together(nightly: Suite) -> None:
    """Or never are all arms of a claim trained on one night, and it is judged on none."""
    cells = [replace(cell, cycle="weekly" if index % 3 else "monthly") for index, cell in enumerate(nightly.cells)]
    rare = replace(nightly, cells=tuple(cells))
    groups = [{cells.index(cell) for cell in group} for group in grouped(rare, rare.cells) if len(group) > 1]
    assert groups

    for night in YEAR[:28]:
        on = {cells.index(cell) for cell in due(rare, night, "nightly")}
        for group in groups:
            if any(cells[index].cycle == "monthly" for index in group & on):
                assert group <= on
            weekly = {index for index in group if cells[index].cycle == "weekly"}
            assert not weekly & on or weekly <= on


def held(suite: Suite, nights: list[date]) -> dict[str, date]:
    """The day of the last run of each cell, where these nights were held to their end."""
    return {identity(suite, cell): night for night in nights for cell in due(suite, night, "nightly")}


def test_nights_that_were_held_leave_nothing_overdue(nightly: Suite) -> None:
    for number in range(28, 60):
        ended = held(nightly, YEAR[:number])
        assert overdue(nightly, YEAR[number], "nightly", ended, YEAR[0]) == ()


def test_the_cells_of_a_night_that_was_not_held_are_due_on_the_next_with_those_that_they_are_compared_with(
    nightly: Suite,
) -> None:
    rare = [night for night in YEAR[28:56] if any(cell.cycle != "nightly" for cell in due(nightly, night, "nightly"))]
    for missed in rare:
        nights = [night for night in YEAR[:56] if night < missed]
        ended, tomorrow = held(nightly, nights), missed + timedelta(days=1)
        turn = {id(cell) for cell in due(nightly, missed, "nightly") if cell.cycle != "nightly"}

        late = overdue(nightly, tomorrow, "nightly", ended, YEAR[0])

        assert {id(cell) for cell in late} == turn
        ended |= {identity(nightly, cell): tomorrow for cell in (*due(nightly, tomorrow, "nightly"), *late)}
        assert overdue(nightly, tomorrow + timedelta(days=1), "nightly", ended, YEAR[0]) == ()


def test_what_was_due_before_the_first_run_was_not_missed(nightly: Suite) -> None:
    assert overdue(nightly, YEAR[40], "nightly", {}, YEAR[40]) == ()
    first = {id(cell) for cell in due(nightly, YEAR[40], "nightly") if cell.cycle != "nightly"}
    assert {id(cell) for cell in overdue(nightly, YEAR[41], "nightly", {}, YEAR[40])} == first


def test_after_a_month_without_a_night_all_are_due_in_one(nightly: Suite) -> None:
    ended = held(nightly, YEAR[:28])

    late = overdue(nightly, YEAR[60], "nightly", ended, YEAR[0])

    tonight = due(nightly, YEAR[60], "nightly")
    assert {id(cell) for cell in (*tonight, *late)} == {id(cell) for cell in nightly.cells}
