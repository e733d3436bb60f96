"""counts.json: it holds every net of every suite, and what it says is what the nets are."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from ranbench.catalogue import ATTENTION_OPTIONS, DATASETS, NETS
from ranbench.complexity import all_counts, measure_named
from ranbench.counts import COUNTS_FILE, Counts, key, lookup, read_counts
from ranbench.spec import DataSpec, ModelSpec
from ranbench.suite import load_suite, shipped_suites

SUITES = sorted(shipped_suites().glob("*.yaml"))
QUICK = ("attention-56", "resnet-164")


def combinations(name: str) -> list[ModelSpec]:
    options = NETS[name].options
    chosen = itertools.product(*options.values())
    return [ModelSpec.model_validate({"name": name, **dict(zip(options, values, strict=True))}) for values in chosen]


def measured(model: ModelSpec, data: DataSpec) -> Counts:
    complexity = measure_named(model, data)
    return Counts(complexity.parameters, complexity.macs)


def test_a_key_names_net_options_and_dataset() -> None:
    attention, resnet = ModelSpec(name="attention-56", learning="naive"), ModelSpec(name="resnet-164")

    keys = [key(attention, DataSpec.of("cifar10")), key(resnet, DataSpec.of("digits"))]

    assert keys == [
        "attention-56 learning=naive attention=mixed mask=encoder-decoder @ cifar10",
        "resnet-164 @ digits",
    ]


def test_an_entry_is_found_whatever_the_split() -> None:
    model = ModelSpec(name="attention-56")

    assert lookup(model, DataSpec.of("digits", 100, 50)) == lookup(model, DataSpec.of("digits")) is not None


def test_a_net_that_no_suite_names_has_no_entry() -> None:
    assert lookup(ModelSpec(name="attention-3620"), DataSpec.of("cifar10")) is None


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", NETS)
def test_every_net_of_the_catalogue_has_an_entry_with_all_its_options(name: str, dataset: str) -> None:
    missing = [model for model in combinations(name) if lookup(model, DataSpec.of(dataset)) is None]

    assert missing == []


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_every_run_of_a_suite_has_an_entry(file: object) -> None:
    suite = load_suite(str(file))

    missing = {key(run.model, run.data) for run in suite.runs() if lookup(run.model, run.data) is None}

    assert missing == set()


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_the_entries_of_a_suite_are_what_freshly_built_nets_have(file: object) -> None:
    cells = {key(cell.model, cell.data): (cell.model, cell.data) for cell in load_suite(str(file)).cells}

    built = {name: measured(model, data) for name, (model, data) in cells.items()}

    assert {name: lookup(model, data) for name, (model, data) in cells.items()} == built


@pytest.mark.parametrize("name", QUICK)
def test_the_entries_with_other_options_are_what_freshly_built_nets_have(name: str) -> None:
    data = DataSpec.of("digits")

    built = {key(model, data): measured(model, data) for model in combinations(name)}

    assert {key(model, data): lookup(model, data) for model in combinations(name)} == built


@pytest.mark.slow
def test_the_whole_file_is_what_freshly_built_nets_have() -> None:
    assert read_counts(COUNTS_FILE) == all_counts()


def test_the_file_holds_nothing_that_neither_catalogue_nor_suite_names() -> None:
    catalogue = {
        key(model, DataSpec.of(dataset)) for name in NETS for model in combinations(name) for dataset in DATASETS
    }
    suites = {key(cell.model, cell.data) for file in SUITES for cell in load_suite(file).cells}

    assert set(read_counts(COUNTS_FILE)) == catalogue | suites


def test_counts_are_read_without_torch() -> None:
    code = "import sys, ranbench.counts; print('torch' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == "False\n"


def test_attention_and_learning_cost_no_parameters_and_no_multiply_adds() -> None:
    data = DataSpec.of("cifar10")

    by_mask = {
        mask: {
            lookup(ModelSpec(name="attention-56", learning=learning, attention=attention, mask=mask), data)
            for learning in ATTENTION_OPTIONS["learning"]
            for attention in ATTENTION_OPTIONS["attention"]
        }
        for mask in ATTENTION_OPTIONS["mask"]
    }

    assert [len(found) for found in by_mask.values()] == [1, 1]
