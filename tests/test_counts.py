"""counts.json: it holds every net of every suite, and what it says is what the nets are."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ranbench.catalogue import ATTENTION_OPTIONS, DATASETS, NETS
from ranbench.complexity import all_counts, measure_named
from ranbench.counts import COUNTS_FILE, PASSES_OF_A_STEP, Counts, key, lookup, read_counts
from ranbench.spec import DataSpec, ModelSpec
from ranbench.suite import load_suite, shipped_suites

SUITES = sorted(shipped_suites().glob("*.yaml"))
HAS_TIMM = importlib.util.find_spec("timm") is not None
MEMO: dict[Any, Any] = {}


def forms(name: str) -> list[tuple[ModelSpec, DataSpec]]:
    """A net with either mask on every dataset it has a form for, at the usual input."""
    masks = NETS[name].options.get("mask", (None,))
    datasets = [dataset for dataset, info in DATASETS.items() if info.form in NETS[name].forms]
    return [(ModelSpec(name=name, mask=mask), DataSpec.of(dataset)) for dataset in datasets for mask in masks]


def cells(file: Path) -> dict[str, tuple[ModelSpec, DataSpec]]:
    return {key(cell.model, cell.data): (cell.model, cell.data) for cell in load_suite(file).cells}


@cache
def measured(model: ModelSpec, data: DataSpec) -> Counts:
    complexity = measure_named(model, data, memo=MEMO)
    return Counts(complexity.parameters, complexity.macs, complexity.depth)


@pytest.mark.parametrize(
    ("model", "data", "name"),
    [
        (
            {"name": "attention-56", "learning": "naive", "attention": "spatial"},
            {"name": "cifar10"},
            "attention-56 mask=encoder-decoder @ cifar10",
        ),
        (
            {"name": "attention-56", "r": 2, "r_scales": "way-down"},
            {"name": "cifar10"},
            "attention-56 mask=encoder-decoder r=2 r_scales=way-down @ cifar10",
        ),
        (
            {"name": "attention-56", "unit_order": "post-activation"},
            {"name": "digits"},
            "attention-56 mask=encoder-decoder unit_order=post-activation @ digits",
        ),
        (
            {"name": "attention-56", "unit_order": "pre-activation"},
            {"name": "digits"},
            "attention-56 mask=encoder-decoder @ digits",
        ),
        ({"name": "resnet-164"}, {"name": "digits", "train": 100, "test": 50}, "resnet-164 @ digits"),
        ({"name": "resnet-152"}, {"name": "imagenet"}, "resnet-152 @ imagenet 224"),
        ({"name": "resnet-152"}, {"name": "imagenet", "input": 320}, "resnet-152 @ imagenet 320"),
    ],
)
def test_a_key_names_net_dataset_and_what_counts_depend_on(
    model: dict[str, Any], data: dict[str, Any], name: str
) -> None:
    assert key(ModelSpec(**model), DataSpec.of(**data)) == name


def test_an_entry_is_found_whatever_the_split() -> None:
    model = ModelSpec(name="attention-56")

    assert lookup(model, DataSpec.of("digits", 100, 50)) == lookup(model, DataSpec.of("digits")) is not None


def test_an_entry_is_found_whatever_changes_no_count() -> None:
    found = {
        lookup(ModelSpec(name="attention-56", learning=learning, attention=attention), DataSpec.of("cifar10"))
        for learning in ATTENTION_OPTIONS["learning"]
        for attention in ATTENTION_OPTIONS["attention"]
    }

    assert found == {Counts(parameters=1_030_394, macs=122_825_216, depth=56)}


def test_a_net_that_no_suite_names_has_no_entry() -> None:
    assert lookup(ModelSpec(name="attention-3620"), DataSpec.of("cifar10")) is None


def test_another_size_of_the_input_is_another_entry() -> None:
    model = ModelSpec(name="attention-56")

    assert lookup(model, DataSpec.of("imagenet")) is not None
    assert lookup(model, DataSpec.of("imagenet", input=97)) is None


def test_a_training_step_costs_three_forward_passes() -> None:
    assert Counts(1, 10, None).training_macs(7) == PASSES_OF_A_STEP * 10 * 7 == 210


@pytest.mark.parametrize("name", NETS)
def test_every_net_of_the_catalogue_has_an_entry_on_every_dataset_it_takes(name: str) -> None:
    missing = [key(model, data) for model, data in forms(name) if lookup(model, data) is None]

    assert missing == []


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_every_cell_of_a_suite_has_an_entry(file: Path) -> None:
    missing = [name for name, net in cells(file).items() if lookup(*net) is None]

    assert missing == []


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_the_entries_of_a_suite_are_what_freshly_built_nets_have(file: Path) -> None:
    nets = {name: net for name, net in cells(file).items() if HAS_TIMM or NETS[net[0].name].library != "timm"}

    built = {name: measured(*net) for name, net in nets.items()}

    assert {name: lookup(*net) for name, net in nets.items()} == built


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TIMM, reason="timm is not installed")
def test_the_whole_file_is_what_freshly_built_nets_have() -> None:
    counted, missing = all_counts()

    assert (read_counts(COUNTS_FILE), missing) == (counted, {})


def test_the_file_holds_nothing_that_neither_catalogue_nor_suite_names() -> None:
    catalogue = {key(model, data) for name in NETS for model, data in forms(name)}
    suites = {name for file in SUITES for name in cells(file)}

    assert set(read_counts(COUNTS_FILE)) == catalogue | suites


def test_counts_are_read_without_torch() -> None:
    code = "import sys, ranbench.counts; print('torch' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "False\n"
