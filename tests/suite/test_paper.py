"""The suites against the papers: every printed number stands once, and the claims hold for the printed numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ranbench.report.pages import page
from ranbench.report.tables import tables
from ranbench.suite import Cell, Claim, Published, Suite, load_suite, shipped_suites

ROOT = Path(__file__).resolve().parents[2]
PAPER = "1704.06904"
FILES = sorted(shipped_suites().glob("*.yaml"))

# A number of the paper: table or figure, net, dataset, setting, metric, value, unit, whether it is read off a plot.
Key = tuple[str, str, str, str, str, float, str, bool]

# How the file of the paper's tables names a metric and its unit -> our metric, unit, and what its values are times.
UNITS: dict[tuple[str, str], tuple[str, str, float]] = {
    ("test error, top-1", "percent"): ("error_pct", "percent", 1),
    ("validation error, top-1", "percent"): ("error_pct", "percent", 1),
    ("validation error, top-5", "percent"): ("top5_error_pct", "percent", 1),
    ("parameters", "million"): ("parameters", "parameters", 1e6),
    ("FLOPs (multiply-adds)", "1e9"): ("macs", "multiply-adds", 1e9),
    ("trunk depth (weighted layers)", "layers"): ("depth", "layers", 1),
    ("attention modules", "count"): ("modules", "modules", 1),
    ("mean absolute response relative to stage 1", "ratio"): ("response_stage_relative", "ratio", 1),
}
NETS = {
    "attention-local-conv-56": "attention-56",
    "attention-encoder-decoder-56": "attention-56",
    "arl (attention-164)": "attention-164",
    "nal (attention-164)": "attention-164",
}
DATASETS = {"CIFAR": "cifar10", "CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-1k": "imagenet"}
# Beginnings of a variant -> the option of the net that it is about.
SETTINGS = {
    "f1": "mixed",
    "f2": "channel",
    "f3": "spatial",
    "ARL": "residual",
    "NAL": "naive",
    "mask of local": "local-convolutions",
    "encoder-decoder": "encoder-decoder",
}
# In a table, what of a cell tells its rows apart beside net and dataset.
VARIED = {"table1": "attention", "table3": "learning", "table4": "mask", "table5": "noise", "figure4": "learning"}


@pytest.fixture(scope="session")
def printed() -> dict[str, Any]:
    """All tables of the paper as data, from the file beside the repository."""
    file = ROOT.parent / "shared" / "paper" / "tables.yaml"
    if not file.is_file():
        pytest.skip("THE PAPER'S TABLES NOT COMPARED: there is no ../shared/paper/tables.yaml")
    return dict(YAML(typ="safe").load(file.read_text(encoding="utf-8")))


def key_of_row(row: dict[str, Any]) -> Key:
    """Write a row of the paper's tables as we would name it."""
    metric, unit, times = UNITS[row["metric"], "1e9" if row["unit"] == 1e9 else row["unit"]]
    variant, net = str(row["variant"]), row["model"].lower()
    stage = re.search(r"stage (\d)", variant)
    if stage and metric == "modules":
        metric = f"modules_{stage[1]}"
    elif stage:
        metric = f"response_stage{stage[1]}_relative"
    noise = re.match(r"label noise (\d+)%", variant)
    told = variant if row["table"] != "figure4" else row["model"]
    setting = f"{int(noise[1]) / 100:g}" if noise else next((s for k, s in SETTINGS.items() if told.startswith(k)), "")
    value = round(row["value"] * times, 6)
    return (
        *(row["table"], NETS.get(net, net), DATASETS[row["dataset"]], setting),
        *(metric, value, unit, row.get("approximate", False)),
    )


def place(suite: Suite) -> str:
    assert suite.paper is not None
    return f"table{suite.paper.table}" if suite.paper.table else f"figure{suite.paper.figure}"


def keys_of(suite: Suite) -> Iterator[Key]:
    """All numbers of the paper that a suite holds, published or cited."""
    where = place(suite)
    for entry in suite.published:
        axes = entry.cell.axes
        setting = axes.get(VARIED.get(where, ""), "")
        setting = f"{setting:g}" if isinstance(setting, float) else str(setting)
        net, dataset, value = str(axes["model"]), str(axes["dataset"]), round(entry.value, 6)
        yield where, net, dataset, setting, entry.metric, value, entry.unit, entry.approximate
    for cited in suite.cited:
        net = cited.name.split(" (")[0].lower()
        dataset = cited.dataset or suite.cells[0].data.name
        yield where, net, dataset, "", cited.metric, round(cited.value, 6), cited.unit, cited.approximate


def suites_of_the_paper() -> list[Suite]:
    loaded = [load_suite(file) for file in FILES]
    return [suite for suite in loaded if suite.paper and suite.paper.arxiv == PAPER]


def of_one_place(suite: Suite) -> bool:
    """Whether a suite is a table or figure of the paper, and not a campaign over cells of several."""
    return suite.paper is not None and bool(suite.paper.table or suite.paper.figure)


def identities(suites: list[Suite]) -> set[str]:
    return {spec.cell_id for suite in suites for spec in suite.runs()}


def numbers(suites: list[Suite]) -> set[tuple[str, str, float]]:
    """What the paper prints for each cell."""
    return {
        (entry.cell.run(suite.protocol, 0).cell_id, entry.metric, entry.value)
        for suite in suites
        for entry in suite.published
    }


def test_a_campaign_trains_cells_of_the_tables_and_holds_their_numbers() -> None:
    suites = suites_of_the_paper()
    campaigns = [suite for suite in suites if not of_one_place(suite)]
    tables = [suite for suite in suites if of_one_place(suite) and suite.trains]

    assert [suite.name for suite in campaigns] == ["attention-56", "depth"]
    assert identities(campaigns) <= identities(tables)
    assert numbers(campaigns) <= numbers(tables)
    assert [len(numbers([suite])) for suite in campaigns] == [5, 15]


def test_the_campaigns_are_the_whole_of_table_3_and_figure_4() -> None:
    of = {suite.name: identities([suite]) for suite in suites_of_the_paper() if suite.trains}

    assert of["table3"] | of["figure4"] <= of["attention-56"] | of["depth"]
    assert len(of["attention-56"] & of["depth"]) == 0


def test_every_number_of_the_paper_stands_once_under_its_own_table(printed: dict[str, Any]) -> None:
    wanted = Counter(key_of_row(row) for row in printed["rows"] if row["value"] is not None)

    found = Counter(key for suite in suites_of_the_paper() if of_one_place(suite) for key in keys_of(suite))

    assert max(wanted.values()) == 1
    assert sorted(found - wanted) == []
    assert sorted(wanted - found) == []


# A number of every inconsistency of the paper, and the suite that says it.
INCONSISTENCIES = {
    "Attention-56 multiply-adds": ("table2", "6.2 of table 2"),
    "Attention-452 on CIFAR-100": ("table6", "20.67"),
    "gap in table 4": ("table4", "0.94"),
    "ResNet-200 said to have 32%": ("table7", "32 %"),
    "Attention-56 said to need 52%": ("table7", "52 %"),
    "Attention-56, AttentionNeXt-56 and AttentionInception-56": ("table7", "same 31.9 million parameters"),
    "Attention-452 parameter count": ("table6-sizes", "18 % more than the 8.6 million"),
}


def test_every_inconsistency_of_the_paper_is_a_deviation(printed: dict[str, Any]) -> None:
    known = {
        start: text
        for text in printed["inconsistencies_inside_the_paper"]
        for start in INCONSISTENCIES
        if text.startswith(start)
    }

    said = {
        start: [entry.text for entry in load_suite(suite).deviations] for start, (suite, _) in INCONSISTENCIES.items()
    }

    assert set(known.values()) == set(printed["inconsistencies_inside_the_paper"])
    assert [start for start, (_, words) in INCONSISTENCIES.items() if words not in " ".join(said[start])] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_page_prints_every_published_value_every_cited_one_and_every_deviation(file: Path) -> None:
    suite = load_suite(file)

    built = tables(suite, [])
    text = page(suite, built, [])

    shown = [row.published for results in built.results for row in results.rows if row.published is not None]
    shown += [size.published for row in built.sizes for size in row.sizes.values() if size.published is not None]
    shown += [row.published for row in built.responses if row.published is not None]
    assert sorted(shown) == sorted(entry.value for entry in suite.published)
    assert ("read off" in text.partition("## Deviations")[0]) == any(entry.approximate for entry in suite.published)
    cited = text.partition("## Cited, not run\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^- ", cited, re.MULTILINE)) == len(suite.cited)
    listed = text.partition("## Deviations\n")[2].partition("\n## ")[0]
    assert [entry.id for entry in suite.deviations if f"- `{entry.id}`" not in listed] == []


# --- what the paper claims holds for what it prints


def holds(claim: Claim, of: Callable[[Cell, str], float]) -> bool:
    """Tell whether a claim holds for the printed numbers, as if they had no spread."""
    if claim.kind == "better":
        return all(of(pair.a, claim.metric) < of(pair.b, claim.metric) for pair in claim.pairs)
    if claim.kind == "ratio":
        shares = [of(pair.a, claim.metric) / of(pair.b, claim.metric) for pair in claim.pairs]
        return all(share <= claim.bound if claim.side == "at most" else share >= claim.bound for share in shares)
    if claim.kind == "trend":
        values = [of(cell, claim.metric) for cell in claim.cells]
        gaps = (
            [value - of(cell, claim.metric) for value, cell in zip(values, claim.minus, strict=True)]
            if claim.minus
            else values
        )
        if claim.x == "depth":  # by which the paper's nets are named
            depths = [int(cell.model.name.rpartition("-")[2]) for cell in claim.cells]
            gaps = [gap for _, gap in sorted(zip(depths, gaps, strict=True))]
        middle = (len(gaps) - 1) / 2
        slope = sum((place - middle) * gap for place, gap in enumerate(gaps))
        return slope > 0 if claim.direction == "rising" else slope < 0
    return claim.published == of(claim.cell, claim.metric)


WITH_NUMBERS = [file for file in FILES if load_suite(file).published]


@pytest.mark.parametrize("file", WITH_NUMBERS, ids=lambda file: file.stem)
def test_the_claims_of_a_suite_hold_for_the_papers_own_numbers(file: Path) -> None:
    suite = load_suite(file)
    values: dict[tuple[int, str], Published] = {(id(entry.cell), entry.metric): entry for entry in suite.published}

    broken = [
        claim.id for claim in suite.claims if not holds(claim, lambda cell, metric: values[id(cell), metric].value)
    ]

    assert suite.claims
    assert broken == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_suite_is_complete(file: Path) -> None:
    """Purpose, cost and expected values at its head; claims that say where they stand; deviations."""
    suite = load_suite(file)
    head = suite.text.partition("\nname: ")[0]

    assert suite.about
    assert suite.claims
    assert suite.deviations
    assert [claim.id for claim in suite.claims if suite.paper and not claim.where] == []
    if suite.published:
        assert "Cost: " in head
        assert "Expected values: those under" in head
