"""The table of sizes: counts beside the paper's, what is cited only, and a suite that trains nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.counts import Counts
from ranbench.report import report, tables
from ranbench.report.effects import effects
from ranbench.report.error_and_size import error_and_size
from ranbench.report.layout import size_grid
from ranbench.report.sizes import STORED
from ranbench.report.values import CitedRow, Size
from ranbench.spec import complexity_key
from ranbench.suite import Suite

from .conftest import SUITE, Load, Recorder

COUNTED = """\
name: small
title: Sizes of nets
seeds: 0
cells:
  fixed: {dataset: cifar10}
  matrix: {model: [attention-56, attention-92, "mynets:tiny"]}
published:
  - {cell: {model: attention-56}, metric: parameters, value: 1.0e6, unit: parameters, where: table 2}
  - {cell: {model: attention-92}, metric: parameters, value: 1.9e6, unit: parameters, where: table 2, note: rounded}
cited:
  - {name: Inception-ResNet-v1, metric: error_pct, value: 21.3, unit: percent, where: table 7, note: not run}
claims:
  - {id: size, kind: complexity, cell: {model: attention-56}, metric: parameters, tolerance_pct: 3}
deviations:
  - {id: heads, text: ten classes}
"""


def measured(suite: Suite) -> dict[str, Counts]:
    """Counts of the first cell, which differ from the shipped ones."""
    cell = suite.cells[0]
    return {complexity_key(cell.model, cell.data): Counts(1_020_000, 122_000_000, 56)}


def test_a_count_stands_beside_the_papers_with_its_verdict(load: Load) -> None:
    suite = load(COUNTED)

    first, second, unknown = tables(suite, [], measured(suite)).sizes

    assert first.sizes == {
        "parameters": Size(1_020_000, 1e6, pytest.approx(2.0), "reproduced", digits=2),  # type: ignore[arg-type]
        "macs": Size(122_000_000, None, None, None),
        "depth": Size(56, None, None, None),
    }
    assert second.sizes["parameters"].ours == 1_841_274  # of counts.json, since it was not measured
    assert (second.sizes["parameters"].outcome, second.notes) == (None, ("rounded", STORED))
    assert [row.source for row in (first, second, unknown)] == ["counted", "stored", None]
    assert {size.ours for size in unknown.sizes.values()} == {None}


def test_the_grid_has_the_papers_columns_only_where_it_prints_a_count(load: Load) -> None:
    suite = load(COUNTED)

    grid = size_grid(tables(suite, [], measured(suite)).sizes)

    assert [column.heading for column in grid.columns] == [
        "model", "parameters, paper", "ours", "ours − paper (%)", "multiply-adds", "trunk depth",
    ]  # fmt: skip
    assert [[entry.text for entry in row] for row in grid.rows] == [
        ["attention-56", "1.0 M", "1,020,000", "✓ +2.00", "122,000,000", "56"],
        ["attention-92", "1.9 M", "1,841,274", "−3.09", "211,913,216", "92"],
        ["mynets:tiny", "–", "not counted", "–", "not counted", "not counted"],
    ]
    assert [row[0].notes for row in grid.rows] == [(), ("rounded", STORED), ()]


def test_a_suite_that_trains_nothing_has_no_tables_of_runs(load: Load) -> None:
    built = tables(load(COUNTED), [])

    assert (built.protocol, built.results, built.runs, built.costs, built.environments) == (None, (), (), (), ())
    assert built.cited == (CitedRow("Inception-ResNet-v1", "error_pct", 21.3, "percent", "table 7", "not run"),)


def test_without_compare_only_our_counts_stand(load: Load) -> None:
    built = tables(load(COUNTED), [], compare=False)

    assert {size.published for row in built.sizes for size in row.sizes.values()} == {None}
    assert (built.verdicts, built.cited) == ((), ())


def test_a_suite_that_trains_has_a_table_of_sizes_where_the_paper_prints_one(load: Load) -> None:
    cell = "{model: attention-56, learning: naive}"
    published = f"published:\n  - {{cell: {cell}, metric: depth, value: 56, unit: layers, where: t}}\n"

    without, beside = tables(load(), []), tables(load(SUITE.replace("published:\n", published)), [])

    assert without.sizes == ()
    assert len(beside.sizes) == 4
    assert [results.metric for results in beside.results] == ["error_pct"]


def test_measured_counts_are_those_of_the_cost_table(load: Load) -> None:
    suite = load()
    cell = suite.cells[0]

    built = tables(suite, [], {complexity_key(cell.model, cell.data): Counts(1, 2, 56)})

    assert (built.costs[0].parameters, built.costs[0].macs) == (1, 2)


def test_the_page_of_sizes_says_what_was_counted_and_what_is_cited(load: Load, tmp_path: Path) -> None:
    suite = load(COUNTED)

    page = report(suite, [], {}, measured(suite), out=tmp_path / "out").read_text()

    assert (
        "- **Checked:** the nets of 3 cells on images of cifar10 (32x32): 1 counted exactly, 1 by the package's stored "
        "counts, 1 not counted. Nothing is trained."
    ) in page
    assert "- **Claims:** ✓ 1 reproduced." in page
    assert "- Inception-ResNet-v1: test error 21.3 % (table 7); not run." in page
    assert "| ✓ | `size` | attention-56: 1.0 million parameters | ± 3 % | reproduced | +2.00 % | exact |" in page
    assert "\n- **✓** within 3 % of the printed number: `size`.\n" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Verdicts", "## Size of the nets", "## Cited, not run", "## Pictures", "## Claims in detail",
        "## Deviations", "## How to repeat it",
    ]  # fmt: skip
    assert "ranbench run small.yaml --trust-imports" in page
    assert (tmp_path / "out" / "small" / "claims.png").is_file()


def test_the_page_says_which_counts_no_run_has_made(load: Load, tmp_path: Path) -> None:
    text = COUNTED.replace(', "mynets:tiny"', "")
    suite = load(text)
    every = {
        complexity_key(cell.model, cell.data): Counts(1_020_000 + index, 1, 56)
        for index, cell in enumerate(suite.cells)
    }

    pages = [
        report(suite, [], {}, counts, out=tmp_path / f"{index}").read_text()
        for index, counts in enumerate(({}, measured(suite), every))
    ]

    heads = [page[page.index("(32x32)") + 7 : page.index(" Nothing is trained")] for page in pages]
    assert heads == [
        ": 2 by the package's stored counts.",
        ": 1 counted exactly, 1 by the package's stored counts.",
        ", counted exactly.",
    ]
    assert ["No run has counted these nets: " in page for page in pages] == [True, False, False]
    assert [STORED in page for page in pages] == [False, True, False]
    assert [
        next(line for line in page.splitlines() if line.startswith("| ✓ |") or line.startswith("| ✗ |"))[-10:]
        for page in pages
    ] == ["| stored |", " | exact |", " | exact |"]


def test_a_count_that_misses_is_said_in_a_sentence_with_the_printed_digits(load: Load, tmp_path: Path) -> None:
    text = COUNTED.replace("value: 1.0e6", "value: 0.90e6").replace("1.9e6", "11.0e6")
    suite = load(text)

    page = report(suite, [], {}, measured(suite), out=tmp_path / "out").read_text()

    assert "- **✗ `size`**: Not reproduced: 'attention-56' has 1.02 million parameters (1,020,000), " in page
    assert "from the published 900,000, outside the tolerance of 3 %" in page
    assert "printed number" not in page
    assert "| 11.0 M | 1,841,274 |" in page


def test_the_picture_of_counts_says_what_its_axis_is(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = []
    monkeypatch.setattr("ranbench.report.effects.forest", lambda _, label, nothing, limits: labels.append(label))
    suite = load(COUNTED)

    ((picture, make),) = effects(tables(suite, [], measured(suite)))
    make()

    assert labels == ["ours − paper (% of the paper's count), ours larger →"]
    assert picture.caption.startswith("Effects of the claims, in percent of the paper's count: ")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("11.0e6", "11.0 M"),
        ("15.0e9", "15.0 G"),
        ("6.2e9", "6.2 G"),
        ("5600000", "5.6 M"),
        ("56", "56"),
        ("1e6", "1 M"),
    ],
)
def test_a_printed_count_keeps_its_digits(load: Load, written: str, shown: str) -> None:
    suite = load(COUNTED.replace("1.9e6", written))

    grid = size_grid(tables(suite, [], measured(suite)).sizes)

    assert grid.rows[1][1].text == shown


def test_runs_of_the_same_cells_do_not_enter_a_suite_that_trains_nothing(load: Load, recorder: Recorder) -> None:
    trains = load(SUITE)
    recorder.done(trains.runs()[0], 5.0)
    counting = load(
        "name: small\ntitle: Sizes\nseeds: 0\ndatasets: {digits: {train: 1437, test: 360}}\n"
        "cells: {fixed: {dataset: digits, model: attention-56}}\n"
    )

    built = tables(counting, recorder.records)

    assert (built.runs, built.others, len(built.sizes)) == ((), (), 1)


@pytest.mark.parametrize(("name", "said"), [("ResNet-200 (320x320)", True), ("ResNet-200", False)])
def test_the_caption_says_that_a_size_in_a_name_need_not_be_that_of_the_count(
    name: str, said: bool, load: Load
) -> None:
    cited = f"""\
cited:
  - {{name: {name}, metric: error_pct, value: 21.3, unit: percent, where: table 7}}
  - {{name: {name}, metric: macs, value: 6.0e+9, unit: multiply-adds, where: table 7}}
  - {{name: other, metric: error_pct, value: 20.3, unit: percent, where: table 7}}
  - {{name: other, metric: macs, value: 9.0e+9, unit: multiply-adds, where: table 7}}
"""
    deviations = "deviations:\n  - {id: heads, text: ten classes}\n"
    suite = load(COUNTED.split("published:", maxsplit=1)[0] + cited + deviations)

    ((picture, _),) = error_and_size(tables(suite, []))

    assert ("A size of images in a name is that of its error" in picture.caption) is said


def test_a_cited_net_has_the_count_of_the_images_that_its_cell_takes(load: Load) -> None:
    text = """\
name: small
title: Sizes
seeds: 0
cells:
  fixed: {dataset: imagenet}
  include:
    - {model: resnet-152, input: 224}
    - {model: inception-resnet-v2, input: 299}
published:
  - {cell: {model: resnet-152}, metric: macs, value: 11.3e+9, unit: multiply-adds, where: table 7}
cited:
  - {name: "152", model: resnet-152, metric: error_pct, value: 22.16, unit: percent, where: table 7}
  - {name: v2, model: inception-resnet-v2, metric: error_pct, value: 19.9, unit: percent, where: table 7}
  - {name: "200", model: resnet-200, metric: error_pct, value: 20.1, unit: percent, where: table 7}
  - {name: wide, model: wrn-28-10, dataset: cifar100, metric: error_pct, value: 20.5, unit: percent, where: table 6}
  - {name: none, metric: error_pct, value: 20.5, unit: percent, where: table 6}
deviations:
  - {id: heads, text: ten classes}
"""

    found = {row.name: (row.macs, row.parameters) for row in tables(load(text), []).cited}

    assert found == {
        "152": (11.3e9, 60_192_808),
        "v2": (13_155_794_016, 55_843_464),
        "200": (None, None),  # on which of two sizes of images is not said
        "wide": (5_243_386_368, 36_536_884),
        "none": (None, None),
    }
