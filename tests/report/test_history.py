"""A history: what counts, what is told apart, what is compared with what, and the text of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from scipy.stats import ttest_ind

from ranbench.errors import NothingMeasured, UsageError
from ranbench.records import Purpose, RunRecord, State
from ranbench.report.history import History, history
from ranbench.report.history_layout import figures, grid, sentences, write_pictures
from ranbench.spec import RunSpec
from ranbench.suite import Suite

from .conftest import ENVIRONMENT, NOW, Load, Recorder, runs_of

OLD, NEW, NEWEST = ("0" * 64, "1" * 64, "2" * 64)
COMMITS = {OLD: "a" * 40, NEW: "b" * 40, NEWEST: "c" * 40}
CELL = {"model": "attention-56", "learning": "residual"}


@pytest.fixture
def suite(load: Load) -> Suite:
    """Four cells with three seeds."""
    return load()


def a_run(recorder: Recorder, spec: RunSpec, results: Mapping[str, float | None], **changes: object) -> RunRecord:
    """One run with an attempt for each version of the code: its error, or None where it failed."""
    attempts = []
    for number, (code, error) in enumerate(results.items(), 1):
        facts: dict[str, object] = {
            "number": number,
            "code_id": code,
            "started": NOW + timedelta(days=int(code[0]), minutes=spec.seed),
            "environment": replace(ENVIRONMENT, commit=COMMITS[code], dirty=code == NEW),
            "metrics": {} if error is None else {"error_pct": error, "train_seconds": 10 * error},
        }
        state = State.FAILED if error is None else State.DONE
        attempts.append(recorder.attempt(spec, state, **(facts | changes)))
    stored = spec.model_dump(mode="json")
    record = RunRecord(spec.fingerprint, spec.cell_id, spec.seed, stored, tuple(attempts))
    recorder.records.append(record)
    return record


def runs(recorder: Recorder, specs: Sequence[RunSpec], **errors: Sequence[float | None]) -> None:
    """Runs of one cell, with the errors of their seeds for each version of the code."""
    names = {"old": OLD, "new": NEW, "newest": NEWEST}
    for spec, values in zip(specs, zip(*errors.values(), strict=True), strict=True):
        a_run(recorder, spec, {names[name]: value for name, value in zip(errors, values, strict=True)})


def lines_of(found: History) -> list[str]:
    return [" | ".join(entry.text for entry in row) for row in grid(found).rows]


@pytest.fixture
def told(suite: Suite, recorder: Recorder) -> History:
    """One cell that changed and lost a run, one that gave the same again, one that failed outright."""
    runs(recorder, runs_of(suite, **CELL), old=(5.0, 6.0, 5.5), new=(7.0, 8.0, 7.4), newest=(7.0, None, 7.2))
    naive = runs_of(suite, model="attention-56", learning="naive")
    runs(recorder, naive, old=(6.0, 6.25, 6.5), new=(6.0, 6.25, 6.5))
    runs(recorder, runs_of(suite, model="attention-92", learning="naive")[:1], newest=(None,))
    return history(suite, recorder.records, "error_pct")


def test_the_table_is_the_golden_one(told: History) -> None:
    assert [column.heading for column in grid(told).columns] == [
        "cell",
        "version",
        "begun",
        "n",
        "mean (%)",
        "sd",
        "95 % interval",
        "change (95 % interval)",
        "failed",
    ]
    assert lines_of(told) == [
        "attention-56, residual | aaaaaaaa | 2026-01-01 | 3 | 5.50 | 0.50 | 4.26 to 6.74 |  | ",
        "attention-56, residual | bbbbbbbb-dirty | 2026-01-02 | 3 | 7.47 | 0.50 | 6.22 to 8.72 "
        "| +1.97 (+0.83 to +3.10) | ",
        "attention-56, residual | cccccccc | 2026-01-03 | 2 | 7.10 | 0.14 | 5.83 to 8.37 | −0.37 | 1",
        "attention-56, naive | aaaaaaaa | 2026-01-01 | 3 | 6.25 | 0.25 | 5.63 to 6.87 |  | ",
        "attention-56, naive | bbbbbbbb-dirty | 2026-01-02 | 3 | 6.25 | 0.25 | 5.63 to 6.87 | 0.00 | ",
        "attention-92, naive | cccccccc | 2026-01-03 | 0 | – |  |  |  | 1",
    ]
    assert sentences(told) == (
        "small: top-1 test error after the last iteration; less is better; protocol short",
        "where: A CPU (cpu), 2 threads, eager, torch 2.11.0",
        "change: to the version before in the same cell; each interval stands alone, so of 20 without any change about "
        "one leaves out 0",
        "change without an interval: an interval needs 3 seeds on each side",
        "change without an interval: equal, seed by seed",
    )


def test_the_interval_of_a_change_is_welchs_as_scipy_has_it(told: History) -> None:
    change = told.lines[0].points[1].change

    expected = ttest_ind((7.0, 8.0, 7.4), (5.0, 6.0, 5.5), equal_var=False).confidence_interval(0.95)

    assert change is not None
    assert (change.since, change.low, change.high) == (
        1,
        pytest.approx(expected.low, rel=1e-9),
        pytest.approx(expected.high, rel=1e-9),
    )


def test_versions_stand_by_when_they_were_begun_whatever_the_cell_and_the_number_of_the_attempt(
    suite: Suite, recorder: Recorder
) -> None:
    """A version that failed first in another cell began then."""
    first, second, third = runs_of(suite, **CELL)
    a_run(recorder, first, {NEW: 5.0, OLD: 6.0})
    a_run(recorder, second, {NEWEST: 7.0})
    early = NOW - timedelta(days=9)
    a_run(recorder, runs_of(suite, model="attention-92", learning="naive")[0], {NEWEST: None}, started=early)
    a_run(recorder, third, {OLD: 6.5})

    found = history(suite, recorder.records, "error_pct", {"model": "attention-56"})

    assert [(code.code_id, code.label) for code in found.codes] == [
        (NEWEST, "cccccccc"),
        (OLD, "aaaaaaaa"),
        (NEW, "bbbbbbbb-dirty"),
    ]
    assert [point.seeds for point in found.lines[0].points] == [(1,), (0, 2), (0,)]


def test_commits_of_equal_sources_are_one_version_under_the_first_that_had_no_changes(
    suite: Suite, recorder: Recorder
) -> None:
    specs = runs_of(suite, **CELL)
    places = [replace(ENVIRONMENT, commit=letter * 40, dirty=letter == "d") for letter in "def"]
    for spec, environment in zip(specs, places, strict=True):
        a_run(recorder, spec, {OLD: 5.0 + spec.seed}, environment=environment)

    found = history(suite, recorder.records, "error_pct")

    (code,) = found.codes
    assert (code.label, code.commits, code.dirty) == ("eeeeeeee", 3, False)
    assert sentences(found)[-1] == "of equal sources, so one version under its first commit: eeeeeeee (3 commits)"


def test_a_version_without_a_commit_is_named_by_its_code(suite: Suite, recorder: Recorder) -> None:
    a_run(recorder, runs_of(suite)[0], {NEW: 5.0}, environment=replace(ENVIRONMENT, commit=None, dirty=False))

    assert [code.label for code in history(suite, recorder.records, "error_pct").codes] == ["code 11111111"]


def test_of_a_version_the_latest_done_attempt_counts_and_no_check(suite: Suite, recorder: Recorder) -> None:
    spec = runs_of(suite)[0]
    made = [
        recorder.attempt(spec, state, code_id=OLD, number=number, metrics=metrics, purpose=purpose)
        for number, (state, metrics, purpose) in enumerate(
            [
                (State.FAILED, {}, Purpose.RESULT),
                (State.DONE, {"error_pct": 5.0}, Purpose.RESULT),
                (State.DONE, {"error_pct": 6.0}, Purpose.RESULT),
                (State.FAILED, {}, Purpose.RESULT),
                (State.RUNNING, {}, Purpose.RESULT),
                (State.DONE, {"error_pct": 9.0}, Purpose.CHECK),
            ],
            1,
        )
    ]
    record = RunRecord(spec.fingerprint, spec.cell_id, spec.seed, spec.model_dump(mode="json"), tuple(made))

    (line,) = history(suite, [record], "error_pct").lines

    assert [(point.values, point.failed, point.sd, point.low) for point in line.points] == [((6.0,), 0, None, None)]


def test_runs_of_another_protocol_do_not_count_and_further_seeds_do(load: Load, recorder: Recorder) -> None:
    brief = load(protocol="brief")
    suite = load()
    a_run(recorder, runs_of(brief)[0], {OLD: 90.0})
    a_run(recorder, runs_of(suite)[0].with_seed(77), {OLD: 5.0})

    (line,) = history(suite, recorder.records, "error_pct").lines
    (short,) = history(brief, recorder.records, "error_pct").lines

    assert [(point.seeds, point.values) for point in line.points] == [((77,), (5.0,))]
    assert [point.values for point in short.points] == [(90.0,)]


def test_times_are_told_apart_by_machine_and_errors_are_not(suite: Suite, recorder: Recorder) -> None:
    other = replace(ENVIRONMENT, versions={"torch": "2.12.0", "numpy": "9"})
    specs = runs_of(suite, **CELL)
    a_run(recorder, specs[0], {OLD: 5.0, NEW: 6.0})
    a_run(recorder, specs[1], {OLD: 5.5, NEW: 6.5}, environment=other)
    metrics = {"error_pct": 7.0, "train_seconds": 99.0, "runs_at_once": 4.0}
    a_run(recorder, specs[2], {NEW: 7.0}, metrics=metrics)

    times = history(suite, recorder.records, "train_seconds")
    errors = history(suite, recorder.records, "error_pct")

    assert [(line.place, [point.values for point in line.points]) for line in times.lines] == [
        (1, [(50.0,), (60.0,)]),
        (2, [(55.0,), (65.0,)]),
        (3, [(99.0,)]),
    ]
    assert [place.words for place in times.places] == [
        "A CPU (cpu), 2 threads, eager, torch 2.11.0",
        "A CPU (cpu), 2 threads, eager, torch 2.12.0",
        "A CPU (cpu), 2 threads, eager, torch 2.11.0, 4 runs at once",
    ]
    assert [point.places for line in errors.lines for point in line.points] == [(1, 2), (1, 2)]
    assert lines_of(errors)[1].endswith("| 1, 2")


def test_memory_is_written_in_mebibytes(suite: Suite, recorder: Recorder) -> None:
    a_run(recorder, runs_of(suite)[0], {OLD: 1.0}, metrics={"peak_memory_bytes": 400.25 * 2**20})

    found = history(suite, recorder.records, "peak_memory_bytes")

    assert grid(found).columns[4].heading == "mean (MiB)"
    assert lines_of(found) == ["attention-56, residual | aaaaaaaa | 2026-01-01 | 1 | 400.2 |  |  | "]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("eror_pct", "--metric 'eror_pct': not known; did you mean 'error_pct'? (allowed: error_pct, top5_error_pct, "),
        ("train_loss", "--metric 'train_loss': is a series over iterations"),
        ("macs", "--metric macs: is counted of a net, not measured by runs; 'ranbench complexity' counts it"),
    ],
)
def test_a_metric_that_no_run_has_one_value_of_is_refused(metric: str, message: str, suite: Suite) -> None:
    with pytest.raises(UsageError) as refused:
        history(suite, [], metric)

    assert str(refused.value).startswith(message)


def test_where_nothing_was_measured_it_says_what_was(suite: Suite, recorder: Recorder) -> None:
    with pytest.raises(NothingMeasured, match="no run under protocol 'short' is done"):
        history(suite, [], "error_pct")
    a_run(recorder, runs_of(suite)[0], {OLD: 5.0})
    with pytest.raises(NothingMeasured, match=r"none of 1 done runs measured loss \(measured: error_pct, train_sec"):
        history(suite, recorder.records, "loss")
    with pytest.raises(NothingMeasured, match="no run of these cells under protocol"):
        history(suite, recorder.records, "error_pct", {"model": "attention-92"})


def test_a_value_that_is_not_finite_is_no_value(suite: Suite, recorder: Recorder) -> None:
    first, second, _ = runs_of(suite, **CELL)
    a_run(recorder, first, {OLD: float("nan")})
    a_run(recorder, second, {OLD: 5.0})

    ((point,),) = (line.points for line in history(suite, recorder.records, "error_pct").lines)

    assert (point.n, point.unmeasured, point.values) == (1, 1, (5.0,))


def test_a_picture_has_a_panel_for_each_cell_with_every_mean_and_failure(told: History) -> None:
    (draw,) = figures(told)
    figure = draw()

    panels = [ax for ax in figure.axes if ax.axison]
    means = {ax.get_title(loc="left"): list(ax.get_lines()[0].get_ydata()) for ax in panels}
    ticks = [label.get_text() for label in panels[-1].get_xticklabels()]
    assert means == {
        "attention-56, residual": pytest.approx([5.5, 22.4 / 3, 7.1]),
        "attention-56, naive": pytest.approx([6.25, 6.25]),
        "attention-92, naive": [],
    }
    assert ticks == ["aaaaaaaa", "bbbbbbbb-dirty", "cccccccc"]
    assert [[text.get_text() for text in ax.texts] for ax in panels] == [["✗1"], [], ["✗1"]]


def test_many_versions_are_drawn_the_newest_last_and_the_older_ones_counted(suite: Suite, recorder: Recorder) -> None:
    spec = runs_of(suite)[0]
    made = [
        recorder.attempt(
            spec, State.DONE, code_id=f"{day:064x}", started=NOW + timedelta(days=day), metrics={"error_pct": 5.0 + day}
        )
        for day in range(70)
    ]
    record = RunRecord(spec.fingerprint, spec.cell_id, spec.seed, spec.model_dump(mode="json"), tuple(made))

    figure = figures(history(suite, [record], "error_pct"))[0]()

    (ax,) = figure.axes
    assert list(ax.get_lines()[0].get_ydata()) == [15.0 + day for day in range(60)]
    assert "the newest 60 of 70 versions" in [text.get_text() for text in figure.texts]


def test_equal_histories_are_equal_files_and_parts_that_are_gone_are_removed(told: History, tmp_path: Path) -> None:
    gone, kept = tmp_path / "small.history.error_pct-2.svg", tmp_path / "small.history.loss.svg"
    for file in (gone, kept):
        file.write_text("older")

    first = {file: file.read_bytes() for file in write_pictures(told, tmp_path, ("svg", "png"))}
    again = {file: file.read_bytes() for file in write_pictures(told, tmp_path, ("svg", "png"))}

    assert [file.name for file in first] == [f"small.history.error_pct.{name}" for name in ("svg", "png")]
    assert first == again
    assert (gone.exists(), kept.read_text()) == (False, "older")
