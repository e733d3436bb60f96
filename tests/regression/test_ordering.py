"""What is trained first when time is short."""

from __future__ import annotations

from dataclasses import replace

from ranbench.regression.ordering import grouped, rows
from ranbench.suite import Cell, Suite, load_suite


def cost(suite: Suite, cell: Cell) -> float:
    del suite
    return 10.0 if cell.model.name == "attention-164" else 1.0


def test_arms_of_claims_are_one_group_and_other_cells_are_alone() -> None:
    suite = load_suite("quickstart")

    groups = grouped(suite, suite.cells)

    assert [[suite.label(cell) for cell in group] for group in groups] == [
        ["attention-56, residual"],
        ["attention-56, naive", "attention-164, residual", "attention-164, naive"],
    ]


def test_the_cheapest_group_comes_first_and_arms_stay_balanced() -> None:
    suite = load_suite("quickstart")

    ordered = rows([(replace(suite, seeds=(7, 8)), suite.cells)], cost, ())

    assert [(row.seed, len(row.cells)) for row in ordered] == [(7, 1), (8, 1), (7, 3), (8, 3)]


def test_a_group_that_is_nearly_done_comes_before_a_cheaper_one() -> None:
    suite = load_suite("quickstart")
    group = [cell for cell in suite.cells if suite.label(cell) != "attention-56, residual"]
    seeds = range(30)
    done = {cell.run(suite.protocol, seed).fingerprint for cell in group for seed in seeds if seed != 29}

    ordered = rows([(replace(suite, seeds=tuple(seeds)), suite.cells)], cost, done)

    assert (ordered[0].seed, len(ordered[0].cells)) == (29, 3)
    assert [len(row.cells) for row in ordered[1:]] == [1] * 30


def test_a_run_that_is_done_is_not_in_its_row() -> None:
    suite = load_suite("quickstart")
    done = {suite.cells[3].run(suite.protocol, 0).fingerprint}

    ordered = rows([(replace(suite, seeds=(0, 1)), suite.cells)], cost, done)

    assert [len(row.cells) for row in ordered] == [1, 1, 2, 3]


def test_what_waited_longest_comes_first_however_much_it_costs() -> None:
    """Else a budget that is spent on what is cheap leaves out the same cells each night."""
    suite = load_suite("quickstart")

    def last(_: Suite, cell: Cell) -> str:
        return "2026-11-30" if suite.label(cell) == "attention-56, residual" else "2026-11-29"

    ordered = rows([(replace(suite, seeds=(7, 8)), suite.cells)], cost, (), last)

    assert [(row.seed, len(row.cells)) for row in ordered] == [(7, 3), (8, 3), (7, 1), (8, 1)]
