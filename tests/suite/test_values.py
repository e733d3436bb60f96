"""A resolved suite: order of runs, selection, labels, fidelity. What does not enter the identity of its cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.errors import UsageError
from ranbench.suite import load_suite, words


def test_runs_are_ordered_seed_by_seed(tiny_suite: Path) -> None:
    suite = load_suite(tiny_suite)

    order = [(run.seed, run.model.learning) for run in suite.runs()]

    assert order == [(0, "residual"), (0, "naive"), (1, "residual"), (1, "naive")]


def test_seeds_can_be_chosen(tiny_suite: Path) -> None:
    suite = load_suite(tiny_suite, seeds=3)

    assert suite.seeds == (0, 1, 2)
    assert len(suite.runs()) == 6


def test_a_protocol_can_be_chosen_and_changes_the_cells(tiny_suite: Path) -> None:
    usual, smoke = load_suite(tiny_suite), load_suite(tiny_suite, protocol="smoke")

    assert (smoke.protocol_name, smoke.reference_name) == ("smoke", "tiny")
    assert smoke.reference == usual.reference
    assert not {run.cell_id for run in smoke.runs()} & {run.cell_id for run in usual.runs()}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ({}, ["residual", "naive"]),
        ({"learning": "naive"}, ["naive"]),
        ({"learning": "naive", "model": "attention-56"}, ["naive"]),
        ({"noise": "0"}, ["residual", "naive"]),
        ({"noise": "0.0"}, ["residual", "naive"]),
    ],
)
def test_cells_are_selected_by_axis_values_as_text(tiny_suite: Path, only: dict[str, str], expected: list[str]) -> None:
    suite = load_suite(tiny_suite, seeds=1)

    chosen = [run.model.learning for run in suite.runs(only)]

    assert chosen == expected


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (
            {"lerning": "naive"},
            "--only lerning: unknown axis; did you mean 'learning'? "
            "(allowed: model, learning, attention, mask, p, t, r, r_scales, spatial_std, unit_order, dataset, input, "
            "noise, noise_drawn)",
        ),
        ({"learning": "naiv"}, "--only learning=naiv: no cell of suite 'tiny' has these values"),
        ({"noise": "x"}, "--only noise=x: no cell of suite 'tiny' has these values"),
    ],
)
def test_a_selection_without_a_cell_is_refused(tiny_suite: Path, only: dict[str, str], message: str) -> None:
    suite = load_suite(tiny_suite)

    with pytest.raises(UsageError) as refused:
        suite.runs(only)

    assert str(refused.value) == message


def test_an_option_that_a_net_does_not_have_is_never_selected(tiny_suite: Path) -> None:
    text = tiny_suite.read_text().replace("  matrix:", "  include: [{model: resnet-164}]\n  matrix:")
    tiny_suite.write_text(text)
    suite = load_suite(tiny_suite)

    with pytest.raises(UsageError):
        suite.select({"learning": "None"})

    assert [suite.label(cell) for cell in suite.cells] == [
        "attention-56, residual",
        "attention-56, naive",
        "resnet-164",
    ]


def test_a_label_names_the_axes_that_vary(tiny_suite: Path) -> None:
    text = tiny_suite.read_text().replace("[residual, naive]", "[residual, naive]\n    noise: [0, 0.1]")
    tiny_suite.write_text(text.split("claims:")[0])

    suite = load_suite(tiny_suite)

    assert suite.varying == ("learning", "noise")
    assert [suite.label(cell) for cell in suite.cells] == [
        "residual, noise 0",
        "residual, noise 0.1",
        "naive, noise 0",
        "naive, noise 0.1",
    ]
    assert [cell.noise.rate if cell.noise else None for cell in suite.cells] == [None, 0.1, None, 0.1]


def test_a_suite_of_one_cell_is_labelled_by_its_model(tiny_suite: Path) -> None:
    text = tiny_suite.read_text().replace("[residual, naive]", "[naive]").split("claims:")[0]
    tiny_suite.write_text(text)

    suite = load_suite(tiny_suite)

    assert [suite.label(cell) for cell in suite.cells] == ["attention-56"]


@pytest.mark.parametrize(
    ("old", "new", "fidelity", "differences"),
    [
        ("iterations: 6", "iterations: 7", "full", ()),
        ("batch: 32", "batch: 64", "scaled", ("batch 64 instead of 32",)),
        ("precision: float32", "precision: float32", "full", ()),
        ("every: 3", "every: 3, images: 50", "smoke", ("evaluation.images 50 instead of all",)),
    ],
)
def test_fidelity_follows_from_the_differences_to_the_reference(
    tiny_suite: Path, old: str, new: str, fidelity: str, differences: tuple[str, ...]
) -> None:
    """The reference has seven iterations of 32 images, just more than one pass over 200."""
    folder = tiny_suite.parent / "protocols"
    reference = (folder / "tiny.yaml").read_text().replace("iterations: 6", "iterations: 7")
    (folder / "tiny.yaml").write_text(reference)
    (folder / "other.yaml").write_text(reference.replace(old, new))

    suite = load_suite(tiny_suite, protocol="other")

    assert (suite.fidelity, suite.differences) == (fidelity, differences)


def test_less_than_one_pass_over_the_training_images_is_smoke(tiny_suite: Path) -> None:
    suite = load_suite(tiny_suite)

    assert (suite.fidelity, suite.differences) == ("smoke", ())


def test_names_texts_claims_and_order_never_enter_the_identity(tiny_suite: Path) -> None:
    before = {run.fingerprint for run in load_suite(tiny_suite).runs()}
    other = tiny_suite.with_name("other.yaml")
    other.write_text(
        "deviations: [{id: a, text: b}]\n"
        "cells:\n"
        "  matrix: {learning: [naive, residual], model: [attention-56], mask: [encoder-decoder]}\n"
        "  fixed: {dataset: digits, noise: 0}\n"
        "published: [{cell: {learning: naive}, metric: error_pct, value: 1, unit: percent, where: here}]\n"
        "datasets: {digits: {test: 100, train: 200}}\n"
        "seeds: 2\nprotocol: tiny\nreference: digits\ntitle: Another\nname: other\n"
    )

    after = {run.fingerprint for run in load_suite(other).runs()}

    assert after == before


def test_tables_that_share_a_cell_share_its_runs() -> None:
    """Attention-56 as it is stands in tables 1, 3 and 4, Attention-164 in table 3 and figure 4."""
    table1, table3, table4, figure4 = (
        {run.fingerprint for run in load_suite(name).runs()} for name in ("table1", "table3", "table4", "figure4")
    )

    assert len(table1 & table3 & table4) == 5
    assert len(table3 & figure4) == 10


def test_the_hash_of_a_suite_is_that_of_its_text(tiny_suite: Path) -> None:
    before = load_suite(tiny_suite).sha256
    tiny_suite.write_text(tiny_suite.read_text() + "# a remark\n")

    assert load_suite(tiny_suite).sha256 != before


def test_a_cell_that_is_changed_by_hand_gives_its_own_run(tiny_suite: Path) -> None:
    suite = load_suite(tiny_suite)

    run = suite.cells[1].run(suite.protocol, seed=7)

    assert (run.seed, run.model.options) == (
        7,
        {"learning": "naive", "attention": "mixed", "mask": "encoder-decoder"},
    )


def test_axis_values_are_said_in_words() -> None:
    assert words({"model": "attention-56", "noise": 0.1}) == "model attention-56, noise 0.1"
    assert words({}) == "an empty selection"
