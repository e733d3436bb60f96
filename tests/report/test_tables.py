"""The numbers of a report: what enters a mean, what is said beneath it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ranbench.errors import SpecError
from ranbench.records import Reason, State
from ranbench.report import FORMATS, Report, tables, write
from ranbench.report.layout import cost_grid
from ranbench.report.notes import seeds
from ranbench.report.values import CostRow, ResultRow
from ranbench.statistics import summarise
from ranbench.suite import Suite

from .conftest import CLAIM, ENVIRONMENT, SUITE, Load, Recorder, runs_of


def first_row(suite: Suite, recorder: Recorder) -> ResultRow:
    return tables(suite, recorder.records).results[0].rows[0]


def test_mean_rests_on_the_done_seeds_alone(load: Load, recorder: Recorder) -> None:
    suite = load()
    a, b, c = runs_of(suite)[:3]
    recorder.done(a, 5.0)
    recorder.done(b, 6.0)
    recorder.failed(c, "no memory left", reason=Reason.OUT_OF_MEMORY)

    row = first_row(suite, recorder)

    assert row.ours == summarise([5.0, 6.0])
    assert row.difference == pytest.approx(5.5 - 5.52)
    assert (row.standing, row.planned, row.failed) == ("done", 3, 1)
    assert row.notes == ("seed 2 failed (out of memory): no memory left",)


def test_a_foreign_net_is_said_to_keep_its_own_initialisation(load: Load) -> None:
    text = (
        "name: small\ntitle: Two nets\nreference: short\nprotocol: short\nseeds: 1\n"
        'cells: {fixed: {dataset: digits}, matrix: {model: [attention-56, "mynets:tiny"]}}\n'
    )
    suite = load(text)

    own, foreign = tables(suite, []).results[0].rows

    assert own.notes == ()
    assert foreign.notes == ("not a net of the catalogue: it keeps its own initialisation, whatever the protocol says",)


def test_equal_failures_share_a_note(load: Load, recorder: Recorder) -> None:
    suite = load()
    for spec in runs_of(suite)[:3]:
        recorder.failed(spec, "the training loss became nan at iteration 12")

    row = first_row(suite, recorder)

    assert row.notes == ("seeds 0 to 2 failed (diverged): the training loss became nan at iteration 12",)


def test_missing_failed_unfinished_and_not_run_are_four_things(load: Load, recorder: Recorder) -> None:
    suite = load()
    recorder.done(runs_of(suite, model="attention-56", learning="residual")[0], math.nan)
    recorder.failed(runs_of(suite, model="attention-56", learning="naive")[0], "lost")
    recorder.add(runs_of(suite, model="attention-92", learning="residual")[0], State.INTERRUPTED)

    rows = tables(suite, recorder.records).results[0].rows

    assert [(row.standing, row.ours, row.difference) for row in rows] == [
        ("missing", None, None),
        ("failed", None, None),
        ("unfinished", None, None),
        ("not run", None, None),
    ]
    assert rows[0].notes == (
        "seeds 1 and 2 not run",
        "seed 0 done without a finite test error: missing, left out of the mean",
    )
    assert rows[2].notes[0] == "seed 0 is interrupted at iteration 12 of 40"


def test_a_seed_without_a_result_lends_no_best_on_test(load: Load, recorder: Recorder) -> None:
    suite = load()
    recorder.done(runs_of(suite)[0], 5.0)
    recorder.add(runs_of(suite)[1], State.DONE, metrics={"error_pct": math.nan, "best_error_pct": 1.0})

    row = first_row(suite, recorder)

    assert row.best_on_test == summarise([4.75])


def test_mixed_code_machines_and_earlier_attempts_are_told(load: Load, recorder: Recorder) -> None:
    suite = load()
    a, b, c = runs_of(suite)[:3]
    recorder.done(a, 5.0)
    recorder.done(b, 5.0, code_id="0ther" * 12, environment=replace(ENVIRONMENT, threads=8, device_name="A GPU"))
    record = recorder.done(c, 5.0, number=3, resumed_inexactly=True)
    earlier = (
        recorder.attempt(c, State.FAILED, number=1, reason=Reason.DIVERGED),
        recorder.attempt(c, State.DONE, number=2),
    )
    recorder.records[-1] = replace(record, attempts=(*earlier, *record.attempts))

    built = tables(suite, recorder.records)

    assert built.results[0].rows[0].notes == (
        "seed 2 resumed inexactly: a rerun may give other numbers",
        "seed 2 counts attempt 3; superseded: 1 earlier done and 1 earlier failed",
        "mixed versions of the code (code_id): c0dec0dec0de (seeds 0 and 2); 0ther0ther0t (seed 1)",
        "mixed devices: A CPU (seeds 0 and 2); A GPU (seed 1)",
        "mixed thread counts: 2 (seeds 0 and 2); 8 (seed 1)",
    )
    assert [row.device_name for row in built.environments] == ["A CPU", "A GPU"]
    assert [(row.runs, row.seconds) for row in built.costs[:2]] == [(2, 21.0), (1, 21.0)]


def test_energy_stands_in_every_format_where_it_was_measured(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load()
    gpu = replace(ENVIRONMENT, device="cuda", device_name="A GPU")
    measured = {"error_pct": 5.0, "train_seconds": 20.0}
    first, second, third = runs_of(suite, model="attention-56", learning="residual")
    for spec, joules in ((first, 6000.0), (second, 8000.0)):
        recorder.add(spec, State.DONE, metrics={**measured, "energy_joules": joules}, environment=gpu)
    recorder.add(third, State.DONE, metrics=measured, environment=gpu)
    recorder.done(runs_of(suite, model="attention-56", learning="naive")[0], 7.0)

    built = tables(suite, recorder.records)
    write(Report(suite, built, {}, compare=True), tmp_path, FORMATS)

    grid = cost_grid(built.costs)
    place = [column.heading for column in grid.columns].index("energy (kJ)")
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("small.md", "small.html", "small.json")}
    sheet = list(csv.DictReader((tmp_path / "small" / "costs.csv").read_text(encoding="utf-8").splitlines()))
    assert [row[place].text for row in grid.rows] == ["7.00", "–", "–", "–"]
    assert grid.rows[0][place].notes == ("energy was measured of 2 of the 3 runs",)
    assert "| 7.00 (a) |" in texts["small.md"]
    assert "of the whole GPU" in texts["small.md"]
    assert "energy (kJ)</th>" in texts["small.html"]
    assert [row["energy_joules"] for row in json.loads(texts["small.json"])["costs"]] == [7000.0, None, None, None]
    assert [row["energy_joules"] for row in sheet] == ["7000.0", "", "", ""]
    assert "7.00\\textsuperscript{a}" in (tmp_path / "small" / "cost.tex").read_text(encoding="ascii")


def test_without_a_measured_energy_there_is_no_column_for_it(mixed: Suite, recorder: Recorder) -> None:
    grid = cost_grid(tables(mixed, recorder.records).costs)

    assert [column.heading for column in grid.columns if "energy" in column.heading] == []


OWN = (
    "name: small\ntitle: Three nets\nreference: short\nprotocol: short\nseeds: 2\n"
    'cells: {fixed: {dataset: digits}, matrix: {model: [attention-56, attention-92, "mynets:tiny"]}}\n'
)
FOREIGN = replace(ENVIRONMENT, engine_path="contiguous")


def test_a_user_s_net_beside_ours_is_no_mix(load: Load, recorder: Recorder) -> None:
    suite = load(OWN)
    for spec in runs_of(suite):
        own = {"code_id": "0ther" * 12, "environment": FOREIGN} if spec.model.factory else {}
        recorder.done(spec, 5.0, **own)

    built = tables(suite, recorder.records)

    costs = cost_grid(built.costs)
    assert built.results[0].notes == ()
    assert [note for row in built.results[0].rows for note in row.notes if "mixed" in note] == []
    assert costs.columns[-1].heading == "engine path"
    assert [line[-1].text for line in costs.rows] == ["eager", "eager", "contiguous"]


def test_nets_of_one_source_are_a_mix_where_their_code_differs(load: Load, recorder: Recorder) -> None:
    suite = load(OWN)
    for spec in runs_of(suite):
        code = {"attention-56": "a", "attention-92": "b", "mynets:tiny": f"{spec.seed}"}[spec.model.name]
        recorder.done(spec, 5.0, code_id=code * 64)

    built = tables(suite, recorder.records)

    assert built.results[0].notes == (
        "mixed versions of the code (code_id): aaaaaaaaaaaa (2 runs); bbbbbbbbbbbb (2 runs)",
        "mixed versions of the code (code_id): 000000000000 (seed 0); 111111111111 (seed 1)",
    )
    assert "engine path" not in [column.heading for column in cost_grid(built.costs).columns]


def test_seeds_beyond_the_suite_are_told_and_not_counted(load: Load, recorder: Recorder) -> None:
    suite = load()
    for seed in (0, 1, 2, 3):
        recorder.done(suite.cells[0].run(suite.protocol, seed), 5.0 + seed)

    row = first_row(suite, recorder)

    assert row.ours == summarise([5.0, 6.0, 7.0])
    assert row.notes == ("seed 3 recorded beyond the suite's seeds; not counted",)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([3], "seed 3"),
        ([2, 0, 3, 3], "seeds 0, 2 and 3"),
        ([0, 1, 2, 3], "seeds 0 to 3"),
        ([20, 0, 1, 2, 10, 11, 12, 20], "seeds 0 to 2, 10 to 12 and 20"),
        ([night * 10 + seed for night in range(7) for seed in range(3)], "21 seeds from 0 to 62"),
    ],
)
def test_seeds_are_named_by_stretches_and_many_stretches_by_their_number(numbers: list[int], words: str) -> None:
    assert seeds(numbers) == words


def test_runs_of_other_cells_are_left_out(load: Load, recorder: Recorder) -> None:
    suite = load()
    narrow = load(SUITE.replace("[attention-56, attention-92]", "[attention-92]").split("published")[0])
    recorder.done(runs_of(suite, model="attention-56")[0], 5.0)

    built = tables(narrow, recorder.records)

    assert built.states == {"done": 0, "failed": 0, "interrupted": 0, "running": 0, "not run": 6}
    assert built.others == ()


def test_a_stored_spec_that_cannot_be_read_is_refused_in_one_line(load: Load, recorder: Recorder) -> None:
    suite = load()
    record = recorder.done(suite.cells[0].run(suite.protocol, 7), 5.0)
    recorder.records[0] = replace(record, spec={**record.spec, "surprise": 1})

    with pytest.raises(SpecError, match=rf"run {record.fingerprint[:12]}: this version cannot read its stored spec"):
        tables(suite, recorder.records)


def test_as_dict_is_plain_json_with_every_table(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE + CLAIM)
    recorder.done(runs_of(suite)[0], math.inf)
    recorder.done(runs_of(load(SUITE + CLAIM, protocol="smoke"))[0], 90.0)

    value = json.loads(json.dumps(tables(suite, recorder.records).as_dict(), allow_nan=False))

    assert value["suite"] == "small"
    assert value["verdicts"][0]["outcome"] == "not run"
    assert value["results"][0]["rows"][0]["ours"] is None
    assert value["others"][0]["fidelity"] == "smoke"
    assert value["others"][0]["protocol"]["iterations"] == 8


def test_axes_that_some_nets_lack_make_no_column(load: Load) -> None:
    text = SUITE.split("published")[0].replace(
        "matrix: {model: [attention-56, attention-92], learning: [residual, naive]}",
        "matrix: {model: [resnet-164, attention-92], noise: [0.0, 0.3]}",
    )

    built = tables(load(text), [])

    assert built.axes == ("model", "noise")
    assert [row.label for row in built.results[0].rows] == [
        "resnet-164, noise 0",
        "resnet-164, noise 0.3",
        "attention-92, noise 0",
        "attention-92, noise 0.3",
    ]


@pytest.mark.parametrize(
    ("counts", "heading", "shown"),
    [
        ((64, 52_000), "multiply-adds per image", ["64", "52,000"]),
        ((640, 52_000), "multiply-adds per image (k)", ["0.64", "52.00"]),
        ((152_000_000, None), "multiply-adds per image (M)", ["152.00", "not counted"]),
    ],
)
def test_multiply_adds_have_a_unit_that_suits_the_smallest_net(
    counts: tuple[int | None, ...], heading: str, shown: list[str], load: Load
) -> None:
    costs: list[CostRow] = [
        replace(row, macs=macs) for row, macs in zip(tables(load(), []).costs, counts, strict=False)
    ]

    grid = cost_grid(costs)

    place = next(i for i, column in enumerate(grid.columns) if column.heading.startswith("multiply-adds per image"))
    assert grid.columns[place].heading == heading
    assert [row[place].text for row in grid.rows] == shown
