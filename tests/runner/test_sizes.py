"""Suites that train nothing: their nets are counted, recorded and judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command import ranbench

from ranbench import runner
from ranbench.claims import judge
from ranbench.counts import COUNTS_FILE, Counts, key, read_counts
from ranbench.errors import SpecError, SuiteError, UsageError
from ranbench.runner import Observer
from ranbench.spec import complexity_key
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

SIZES = """\
name: sizes
title: Sizes
seeds: 0
cells:
  fixed: {dataset: digits}
  matrix: {model: [attention-56, resnet-164]}
"""


MISSING = "model {!r} is taken from timm, which is not installed; pip install 'ranbench[timm]'".format


class Notes(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"sqlite:///{tmp_path / 'results.db'}")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run 'ranbench' in a process of its own, in the current folder."""
    return ranbench(*arguments, cwd=Path.cwd())


def sizes(tmp_path: Path, text: str = SIZES) -> Suite:
    file = tmp_path / "sizes.yaml"
    file.write_text(text)
    return load_suite(file)


def test_the_nets_are_counted_and_recorded_without_a_run(tmp_path: Path, store: Store) -> None:
    suite = sizes(tmp_path)

    summary = runner.run(suite, store)

    found = [store.complexity(complexity_key(cell.model, cell.data)) for cell in suite.cells]
    assert (summary.counted, summary.total, summary.exit_code) == (2, 0, 0)
    assert [(one.parameters, one.macs, one.depth) for one in found if one] == [
        (62_778, 1_277_056, 38),  # two stages, where CIFAR has three
        (1_702_970, 15_265_280, 164),
    ]
    assert [entry.name for entry in store.suites()] == ["sizes"]
    assert store.runs() == []


def test_only_some_cells_may_be_counted(tmp_path: Path, store: Store) -> None:
    suite = sizes(tmp_path)

    summary = runner.run(suite, store, only={"model": "resnet-164"})

    first, second = (store.complexity(complexity_key(cell.model, cell.data)) for cell in suite.cells)
    assert summary.counted == 1
    assert (first, second is None) == (None, False)
    with pytest.raises(UsageError, match="no cell of suite 'sizes' has these values"):
        runner.run(suite, store, only={"model": "attention-92"})


def test_a_net_that_cannot_be_counted_is_refused_before_anything_is_recorded(tmp_path: Path, store: Store) -> None:
    suite = sizes(tmp_path, SIZES.replace("attention-56", '"nowhere.here:net"'))

    with pytest.raises(SpecError, match="--trust-imports allows it"):
        runner.run(suite, store)

    assert store.suites() == []


@pytest.mark.parametrize(("net", "side", "least"), [("inception-resnet-v2", 50, 75), ("attention-56", 20, 31)])
def test_images_that_are_too_small_for_a_net_are_refused_when_the_suite_is_loaded(
    tmp_path: Path, net: str, side: int, least: int
) -> None:
    text = SIZES.replace("dataset: digits", f"dataset: imagenet, input: {side}").replace(
        "attention-56, resnet-164", net
    )

    with pytest.raises(SuiteError) as refused:
        sizes(tmp_path, text)

    what = f"model {net!r} needs imagenet images of at least {least}x{least} for its poolings"
    assert str(refused.value).startswith(f"{tmp_path}/sizes.yaml:5:30: cells.fixed.input: {what}")
    assert str(refused.value).endswith(f", got {side}x{side}")


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ("  matrix: {dataset: [imagenet], model: [attention-56], input: [224, 20]}", "5:69: cells.matrix.input.1"),
        ("  include: [{dataset: imagenet, model: attention-56, input: 20}]", "5:54: cells.include.0.input"),
    ],
)
def test_an_image_that_is_too_small_is_refused_where_its_size_stands(tmp_path: Path, cells: str, place: str) -> None:
    with pytest.raises(SuiteError, match=f":{place}: model 'attention-56' needs imagenet images of at least 31x31 "):
        sizes(tmp_path, f"name: sizes\ntitle: Sizes\nseeds: 0\ncells:\n{cells}\n")


def test_masks_that_do_not_sample_allow_smaller_images(tmp_path: Path) -> None:
    text = SIZES.replace("dataset: digits", "dataset: imagenet, input: 20, mask: local-convolutions")

    suite = sizes(tmp_path, text.replace("attention-56, resnet-164", "attention-56"))

    assert suite.cells[0].data.shape == (3, 20, 20)


def test_a_net_whose_library_is_missing_is_told_and_left_out(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    text = SIZES.replace("digits", "imagenet").replace("attention-56, resnet-164", "resnet-152, resnet-200")
    suite, notes = sizes(tmp_path, text), Notes()

    summary = runner.run(suite, store, observer=notes)

    assert (summary.counted, summary.exit_code) == (1, 0)
    assert notes.told == [
        f"'resnet-200' is not counted here, and a stored count stands for it: {MISSING('resnet-200')}"
    ]


def test_nets_without_a_library_and_without_a_count_are_told_by_cell_and_end_in_exit_code_7(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SIZES.replace("attention-56, resnet-164", '"timm:test_resnet"').replace("dataset: digits", "learning: x")
    text = text.replace("  fixed: {learning: x}\n", "").replace("matrix: {", "matrix: {dataset: [cifar10, cifar100], ")
    suite, notes = sizes(tmp_path, text), Notes()

    with monkeypatch.context() as without:
        without.setitem(sys.modules, "timm", None)
        first = runner.run(suite, store, observer=notes)
    runner.run(suite, store, only={"dataset": "cifar10"})
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "timm", None)
        second = runner.run(suite, store, only={"dataset": "cifar10"})

    assert (first.counted, first.without_count, first.exit_code) == (0, 2, 7)
    assert notes.told == [
        f"'{dataset}' is not counted here, and no count of it is stored: {MISSING('timm:test_resnet')}"
        for dataset in ("cifar10", "cifar100")
    ]
    assert (second.counted, second.without_count, second.exit_code) == (0, 0, 0)


@pytest.mark.slow
def test_a_report_says_of_a_users_net_which_code_was_counted_and_that_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = "from torch.nn import *\n\ndef tiny(shape, num_classes):\n    return Sequential(Flatten(), Linear(64, 10))\n"
    (tmp_path / "counted_net.py").write_text(net)
    sizes(tmp_path, SIZES.replace("resnet-164", '"counted_net:tiny"'))

    counted = command("run", "sizes.yaml", "--trust-imports")
    same = command("report", "sizes.yaml", "--json")
    (tmp_path / "counted_net.py").write_text(net.replace(" Linear", " ReLU(), Linear"))
    changed = command("report", "sizes.yaml")
    page = (tmp_path / "reports" / "sizes.md").read_text()
    again = command("run", "sizes.yaml", "--trust-imports")
    settled = command("report", "sizes.yaml", "--json")

    (first,), (second,) = json.loads(same.stdout), json.loads(settled.stdout)
    codes = [[row["code_id"] for row in tables["sizes"]] for tables in (first, second)]
    assert [done.returncode for done in (counted, same, changed, again, settled)] == [0] * 5
    assert changed.stderr == (
        "ranbench: suite sizes: 1 count is of other code than is here now ('counted_net:tiny'); "
        "'ranbench run SUITE' counts again\n"
    )
    assert (same.stderr, settled.stderr) == ("", "")
    assert codes[0][0] == codes[1][0]
    assert codes[0][1] not in (codes[0][0], codes[1][1])
    assert f"| 650 | 640 | – | `{codes[0][1][:8]}` |" in page


@pytest.mark.parametrize("name", ["table2", "table6-sizes", "table7"])
def test_the_papers_sizes_get_the_verdicts_that_are_known(name: str) -> None:
    verdicts = judge(load_suite(name), [])

    missed = {verdict.claim.id for verdict in verdicts if verdict.outcome != "reproduced"}
    assert len(verdicts) == {"table2": 12, "table6-sizes": 7, "table7": 12}[name]
    assert missed == {"table2": set(), "table6-sizes": {"attention-92", "attention-452"}, "table7": set()}[name]


@pytest.mark.parametrize("name", ["table2", "table6-sizes", "table7"])
def test_what_a_run_counts_is_what_the_file_of_counts_holds(name: str, store: Store) -> None:
    suite, filed = load_suite(name), read_counts(COUNTS_FILE)

    runner.run(suite, store)

    for cell in suite.cells:
        one = store.complexity(complexity_key(cell.model, cell.data))
        assert one is not None
        assert Counts(one.parameters, one.macs, one.depth) == filed[key(cell.model, cell.data)]
