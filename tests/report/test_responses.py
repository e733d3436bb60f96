"""Responses by stage in a report: the numbers, the paper's beside them, what is missing, and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ranbench.records import Probe
from ranbench.report import report, tables
from ranbench.report.layout import response_grid
from ranbench.report.response_plot import Spread, Trace, stage_lines
from ranbench.report.responses import along
from ranbench.report.style import png
from ranbench.spec import RunSpec
from ranbench.statistics import summarise
from ranbench.suite import Suite

from .conftest import ENVIRONMENT, NOW, SUITE, Load, Recorder, runs_of

CELLS = """\
  fixed: {dataset: digits}
  include:
    - {model: attention-56, learning: residual}
    - {model: attention-56, learning: naive}
    - {model: resnet-164}
probes: [responses]
published:
  - {cell: {learning: residual}, metric: response_stage2_relative, value: 0.53, unit: ratio, where: figure 4,
     approximate: true}
"""
TEXT = SUITE.split("  fixed:")[0] + CELLS
TWO_STAGES = {"response_stage1": 2.0, "response_stage1_relative": 1.0, "response_stage1_module1": 4.0}


@pytest.fixture
def suite(load: Load) -> Suite:
    return load(TEXT)


def measured(recorder: Recorder, spec: RunSpec, second: float) -> None:
    """Add a done run whose second stage responds by ``second`` times the first."""
    values = {**TWO_STAGES, "response_stage2": 2 * second, "response_stage2_relative": second}
    recorder.done(spec, 5.0, probes=(Probe("responses", values, "c" * 64, NOW, ENVIRONMENT),))


@pytest.fixture
def partly(suite: Suite, recorder: Recorder) -> Suite:
    """Residual cells measured twice and once not, naive ones failed, the third cell not run."""
    first, second, third = runs_of(suite, learning="residual")
    measured(recorder, first, 0.5)
    measured(recorder, second, 0.25)
    recorder.done(third, 6.0)
    recorder.failed(runs_of(suite, learning="naive")[0], "the training loss became nan at iteration 12")
    return suite


def test_what_a_suite_does_not_ask_for_changes_nothing_in_its_report(load: Load, recorder: Recorder) -> None:
    suite = load(TEXT[: TEXT.index("probes:")])
    spec = runs_of(suite, learning="residual")[0]
    recorder.done(spec, 5.0)
    before = tables(suite, recorder.records)
    probe = Probe("responses", TWO_STAGES, "c" * 64, NOW, ENVIRONMENT)
    (record,) = recorder.records
    later = replace(record, attempts=(replace(record.attempts[0], probes=(probe,)),))

    found = tables(suite, [later])

    assert found.as_dict() == before.as_dict()


def test_a_row_for_every_stage_averages_the_seeds_that_were_measured(partly: Suite, recorder: Recorder) -> None:
    rows = tables(partly, recorder.records).responses

    found = {(row.cell, row.stage, row.module): row for row in rows}
    second = found[1, 2, None]
    assert (second.ours, second.relative) == (summarise([1.0, 0.5]), summarise([0.5, 0.25]))
    assert (second.published, second.approximate, second.planned) == (0.53, True, 3)
    assert second.difference == pytest.approx(0.375 - 0.53)
    assert [key for key in found if key[0] == 1] == [(1, 1, 1), (1, 1, None), (1, 2, 1), (1, 2, None)]
    assert [key for key in found if key[0] == 3] == [(3, 1, None), (3, 2, None), (3, 3, None)]


def test_the_table_says_what_is_missing_and_why(partly: Suite, recorder: Recorder) -> None:
    grid = response_grid(tables(partly, recorder.records).responses)

    headings = [column.heading for column in grid.columns]
    texts = [[entry.text for entry in row] for row in grid.rows]
    assert headings == [
        *("model", "learning", "stage", "mean absolute response, ours", "relative, paper", "relative, ours", "n", "sd"),
        "ours − paper",
    ]
    assert texts[1][:3] == ["attention-56", "residual", "2"]
    assert texts[1][3].startswith("0.7500 ± ")
    assert texts[1][4] == "≈ 0.53"
    assert texts[1][5].startswith("0.375 ± ")
    assert texts[1][6:] == ["2 of 3", "0.177", "−0.155"]
    assert [row[3] for row in texts[2:]] == ["failed", "failed", "not run", "not run", "not run"]


def test_a_done_run_that_was_not_measured_says_so(suite: Suite, recorder: Recorder) -> None:
    recorder.done(runs_of(suite, model="resnet-164")[0], 5.0)

    standing = {row.cell: row.standing for row in tables(suite, recorder.records).responses}

    assert standing == {1: "not run", 2: "not run", 3: "not measured"}


def test_a_suite_without_probes_has_no_such_table(load: Load, recorder: Recorder) -> None:
    assert tables(load(), recorder.records).responses == ()


def test_smoke_runs_stand_beside_no_number_of_the_paper(load: Load, recorder: Recorder) -> None:
    suite = load(TEXT.replace("protocol: short", "protocol: smoke"))
    measured(recorder, runs_of(suite, learning="residual")[0], 0.5)

    rows = tables(suite, recorder.records).responses

    assert {row.fidelity for row in rows} == {"smoke"}
    assert {row.published for row in rows} == {None}


def test_the_page_has_the_table_the_picture_and_no_second_table_of_it(
    partly: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    path = report(partly, recorder.records, recorder.series, out=tmp_path)

    text = path.read_text(encoding="utf-8")
    assert (tmp_path / "small" / "responses.png").is_file()
    assert [line for line in text.splitlines() if line.startswith("## Res")] == [
        "## Results: test error",
        "## Response by stage",
    ]
    assert "![response by stage](small/responses.png)" in text
    assert "the paper's value is read off a plot" in text


def trace(label: str, style: int, **changes: object) -> Trace:
    ends = tuple(Spread(float(stage), 1 / stage, 0.9 / stage, 1.1 / stage) for stage in (1, 2, 3))
    values: Mapping[str, object] = {"relative": ends, "absolute": ends, **changes}
    return Trace(label, style, **values)  # type: ignore[arg-type]


def test_the_picture_names_lines_and_says_which_cell_is_missing() -> None:
    absent = Trace("resnet-164 $", 2, absent="not run")
    traces = [trace("residual", 0, published=((2.0, 0.53),)), trace("naive", 1), absent]

    figure = stage_lines(traces, num_stages=3)

    left, right = figure.axes
    assert png(figure) == png(stage_lines(traces, num_stages=3))
    assert [text.get_text() for text in right.texts] == ["residual", "naive"]
    assert [text.get_text() for text in figure.texts] == [r"resnet-164 \$: not run"]
    assert left.get_legend() is not None


def test_long_numbers_beside_an_axis_push_no_name_off_the_picture_or_onto_another() -> None:
    large = tuple(Spread(float(stage), 40_000.0 * stage, 1.0, 50_000.0 * stage) for stage in (1, 2, 3))

    figure = stage_lines([trace("net", 0, relative=large, absolute=large)], num_stages=3)

    png(figure)
    left, right = figure.axes
    assert any(len(label.get_text()) >= 5 for label in left.get_yticklabels())
    assert left.yaxis.label.get_window_extent().x0 >= 0
    assert right.yaxis.label.get_window_extent().x0 >= left.get_window_extent().x1


def test_the_picture_of_zeros_and_of_nothing_still_draws() -> None:
    zero = tuple(Spread(float(stage), 0.0, 0.0, 0.0) for stage in (1, 2))

    assert png(stage_lines([trace("zero", 0, relative=zero, absolute=zero)], num_stages=2))
    assert png(stage_lines([Trace("none", 0, absent="failed")], num_stages=2))


def test_modules_lie_between_the_ends_of_stages() -> None:
    assert along([(1, 1), (1, None), (2, 1), (2, 2), (2, 3), (2, None)]) == [0.5, 1.0, 1.25, 1.5, 1.75, 2.0]
