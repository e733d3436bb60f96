"""A night against a baseline: each fault gets the right finding, and the right code; nothing changed gets none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ranbench.regression import Baseline, Exempt, Jobs, Kind, Report, SuiteResult, compare

from .conftest import PLACE, cell, changed

DAY = "2026-12-01"
Make = Callable[..., Baseline]


def told(report: Report) -> set[tuple[str, str, str]]:
    """Cell, metric and kind of all that is not unchanged."""
    return {(one.cell, one.metric, str(one.kind)) for one in report.findings if one.kind is not Kind.UNCHANGED}


def test_nothing_changed_is_unchanged_in_every_metric(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    report = compare(baseline_of(suite), [night], DAY)

    assert told(report) == set()
    assert len(report.findings) == 2 * 5 + 1  # two counts, error, loss and time of each cell, and the claim
    assert report.exit_code() == 0


def test_a_count_that_differs_by_one_is_a_regression(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    worse = changed(night, "small", counts={"parameters": 62_779, "macs": 1_277_056})

    report = compare(baseline_of(suite), [worse], DAY)

    assert told(report) == {("small", "parameters", "regressed")}
    assert report.of(Kind.REGRESSED)[0].text == "62,778 to 62,779 parameters"
    assert report.exit_code() == 4


def test_errors_beyond_what_seeds_spread_are_a_regression(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    worse = changed(night, "small", values=cell("small", [9.8, 10.2, 10.1], first=50).values)

    report = compare(baseline_of(suite), [worse], DAY)

    assert told(report) == {("small", "error_pct", "regressed"), ("small", "loss", "regressed")}
    assert report.exit_code() == 4


def test_errors_far_below_are_an_improvement_and_pass(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    better = changed(night, "small", values=cell("small", [0.2, 0.3, 0.1], first=50).values)

    report = compare(baseline_of(suite), [better], DAY)

    assert told(report) == {("small", "error_pct", "improved"), ("small", "loss", "improved")}
    assert report.exit_code() == 0


def test_one_run_that_went_wrong_does_not_hide_in_the_spread_that_it_makes(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    worse = changed(night, "small", values={"error_pct": {50: 4.0, 51: 90.0, 52: 4.1}})

    report = compare(baseline_of(suite), [worse], DAY)

    assert ("small", "error_pct", "regressed") in told(report)


def test_a_difference_that_the_night_is_too_small_for_is_left_open(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    perhaps = changed(night, "small", values={**night.cells[0].values, "error_pct": {50: 4.5, 51: 4.6, 52: 4.7}})

    report = compare(baseline_of(suite), [perhaps], DAY)

    assert told(report) == {("small", "error_pct", "cannot tell")}
    assert (report.exit_code(), report.exit_code(strict=True)) == (0, 5)


def test_two_seeds_of_a_baseline_tell_nothing(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    few = changed(suite, "small", values=cell("small", [4.0, 4.1]).values)
    worse = changed(night, "small", values=cell("small", [90.0, 90.0, 90.0], first=50).values)

    report = compare(baseline_of(few), [worse], DAY)

    assert told(report) == {("small", "error_pct", "cannot tell"), ("small", "loss", "cannot tell")}


def test_a_step_that_is_a_fifth_slower_is_a_regression(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    slower = changed(night, "large", jobs=Jobs({"step_ratio": (1.2 * 4.51, 1.2 * 4.50)}, PLACE))

    report = compare(baseline_of(suite), [slower], DAY)

    assert told(report) == {("large", "step_ratio", "regressed")}


@pytest.mark.parametrize(("field", "value"), [("cpu", "Xeon"), ("threads", 2), ("torch", "2.15.0"), ("device", "cuda")])
def test_times_of_another_place_are_not_comparable(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make, field: str, value: str | int
) -> None:
    elsewhere = replace(PLACE, **{field: value})  # type: ignore[arg-type]
    other = changed(night, "large", jobs=Jobs({"step_ratio": (90.0, 91.0)}, elsewhere))

    report = compare(baseline_of(suite), [other], DAY)

    assert told(report) == {("large", "step_ratio", "not comparable")}
    assert f"{field} {getattr(PLACE, field)} then, {value} now" in report.of(Kind.NOT_COMPARABLE)[0].text
    assert report.exit_code() == 0


def test_a_run_that_diverges_is_failed_and_code_3(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    one = {name: {50: values[50], 51: values[51]} for name, values in night.cells[0].values.items()}
    failed = changed(night, "small", values=one, failed={52: "diverged"})

    report = compare(baseline_of(suite), [failed], DAY)

    assert told(report) == {("small", "runs", "failed")}
    assert report.of(Kind.FAILED)[0].text == "1 of 3 runs failed: seed 52 diverged"
    assert report.exit_code() == 3


def test_where_all_runs_failed_nothing_was_measured(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    lost = replace(night, claims={"large-wins": "not run"})
    for label in ("small", "large"):
        lost = changed(lost, label, values={}, failed=dict.fromkeys((50, 51, 52), "diverged"), jobs=None)

    report = compare(baseline_of(suite), [lost], DAY)

    assert {("small", "runs", "failed"), ("large", "runs", "failed")} <= told(report)
    assert report.unmeasured == ("suite 'tiny': cells were due, and no run of any was compared",)
    assert report.exit_code() == 6


def test_a_result_that_is_lacking_is_gone(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    report = compare(baseline_of(suite), [changed(night, "small", values={})], DAY)

    assert ("small", "runs", "gone") in told(report)
    assert report.exit_code() == 4


def test_a_cell_that_a_budget_left_out_is_no_loss(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    left = changed(night, "small", values={}, jobs=None, left="the budget of 5 minutes was spent")

    report = compare(baseline_of(suite), [left], DAY)

    assert told(report) == {("small", "runs", "cannot tell"), ("small", "step_ratio", "not comparable")}
    assert report.exit_code() == 0


def test_a_cell_that_is_not_due_is_counted_only(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    resting = changed(night, "small", values={}, jobs=None, due=False)

    report = compare(baseline_of(suite), [resting], DAY)

    assert told(report) == set()
    assert sorted(one.metric for one in report.findings if one.cell == "small") == ["macs", "parameters"]


def test_cells_that_came_and_went_and_changed_are_told_apart(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    altered = replace(night.cells[1], cell_id="id-other")
    now = replace(night, cells=(cell("third", [1.0, 1.1, 1.2]), altered, replace(night.cells[0], label="renamed")))

    first = compare(baseline_of(suite), [now], DAY)
    second = compare(baseline_of(suite), [replace(night, cells=night.cells[:1])], DAY)

    assert {("third", "cell", "new"), ("large", "cell", "not comparable")} == told(first)
    assert first.exit_code() == 0  # the renamed cell is known by its identity, and compared
    assert ("large", "cell", "gone") in told(second)
    assert second.exit_code() == 4


def test_a_renamed_suite_measured_nothing_even_beside_one_that_regressed(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    worse = changed(night, "small", counts={"parameters": 1, "macs": 1})

    report = compare(baseline_of(suite), [worse, replace(night, name="renamed")], DAY)

    assert report.of(Kind.REGRESSED)
    assert report.unmeasured == ("suite 'renamed' is not in the baseline, which has: tiny",)
    assert report.exit_code() == 6


@pytest.mark.parametrize(
    ("before", "now", "kind", "code"),
    [
        ("reproduced", "not reproduced", "regressed", 4),
        ("reproduced", "inconclusive", "cannot tell", 0),
        ("inconclusive", "not reproduced", "cannot tell", 0),
        ("not reproduced", "reproduced", "improved", 0),
        ("not reproduced", "not reproduced", "unchanged", 0),
        ("inconclusive", "inconclusive", "unchanged", 0),
        ("reproduced", "not run", "not comparable", 0),
    ],
)
def test_a_claim_falls_only_from_reproduced_to_not_reproduced(  # noqa: PLR0917 - fixtures and parameters
    suite: SuiteResult, night: SuiteResult, baseline_of: Make, before: str, now: str, kind: str, code: int
) -> None:
    was, is_now = replace(suite, claims={"large-wins": before}), replace(night, claims={"large-wins": now})

    report = compare(baseline_of(was), [is_now], DAY)

    assert [str(one.kind) for one in report.findings if one.metric == "claim"] == [kind]
    assert report.exit_code() == code


@pytest.mark.parametrize(("until", "kind", "code"), [(DAY, "excused", 0), ("2026-11-30", "regressed", 4)])
def test_an_exception_excuses_until_its_last_day(  # noqa: PLR0917 - fixtures and parameters
    suite: SuiteResult, night: SuiteResult, baseline_of: Make, until: str, kind: str, code: int
) -> None:
    worse = changed(night, "small", counts={"parameters": 1, "macs": 1_277_056})
    line = Exempt("tiny", "small", "parameters", "a smaller head", until)

    report = compare(baseline_of(suite, exceptions=(line,)), [worse], DAY)

    assert told(report) == {("small", "parameters", kind)}
    assert report.exit_code() == code
    if kind == "excused":
        assert report.of(Kind.EXCUSED)[0].text.endswith(f"excused until {until}: a smaller head")
    else:
        assert "ended on 2026-11-30 and excuses nothing any more" in report.notes[0]


def test_an_exception_for_another_cell_excuses_nothing_and_is_told(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    worse = changed(night, "small", counts={"parameters": 1, "macs": 1_277_056})
    line = Exempt("tiny", "large", "*", "a smaller head", "2027-01-01")

    report = compare(baseline_of(suite, exceptions=(line,)), [worse], DAY)

    assert report.exit_code() == 4
    assert "covers nothing tonight" in report.notes[0]


def test_a_decided_claim_is_no_compared_run(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> None:
    """As a claim about counts is, where all runs are lacking; nor is a step that was timed."""
    cells = tuple(replace(one, values={}, places={}, left="the budget was spent") for one in night.cells)

    report = compare(baseline_of(suite), [replace(night, cells=cells)], DAY)

    assert [one.compared for one in report.findings if one.metric == "claim"] == [True]
    assert report.unmeasured == ("suite 'tiny': cells were due, and no run of any was compared",)
    assert report.exit_code() == 6


def test_what_a_stop_left_open_is_neither_gone_nor_worse(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    small = replace(night.cells[0], values={}, places={}, jobs=None, counts={})
    stopped = replace(night, cells=(small, replace(night.cells[1], jobs=None)), claims={})

    report = compare(baseline_of(suite), [stopped], DAY, stopped=True)

    assert {kind for _, _, kind in told(report)} == {"cannot tell"}
    assert {("small", "runs"), ("small", "macs"), ("large", "step_ratio"), ("large-wins", "claim")} <= {
        (cell, metric) for cell, metric, _ in told(report)
    }
    assert all("stopped before it was reached" in one.text for one in report.of(Kind.CANNOT_TELL))


def test_a_job_that_failed_is_a_finding_of_its_cell_alone(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    failed = changed(night, "small", jobs=None, jobs_failed="a job took more than 600 seconds")

    report = compare(baseline_of(suite), [failed], DAY)

    assert told(report) == {("small", "step_ratio", "failed")}
    assert report.exit_code() == 3


@pytest.mark.parametrize(
    ("suite_name", "cell_name", "said"),
    [
        ("tinny", "small", "names suite 'tinny', which is not known; did you mean 'tiny'?"),
        ("tiny", "smal", "names cell 'smal', which is not known; did you mean 'small'?"),
    ],
)
def test_an_exception_for_what_nobody_knows_is_told(  # noqa: PLR0917 - fixtures and parameters
    suite: SuiteResult, night: SuiteResult, baseline_of: Make, suite_name: str, cell_name: str, said: str
) -> None:
    line = Exempt(suite_name, cell_name, "*", "a smaller head", "2027-01-01")
    fine = Exempt("tiny", "large-wins", "claim", "being looked into", "2027-01-01")

    report = compare(baseline_of(suite, exceptions=(line, fine)), [night], DAY)

    assert [note for note in report.notes if "is not known" in note] == [
        f"exception for {suite_name} / {cell_name} / * (a smaller head) {said}"
    ]


def test_an_exception_for_a_metric_that_nobody_knows_is_told(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    lines = [
        Exempt("tiny", "small", metric, "a smaller head", "2999-01-01") for metric in ("paramters", "fixed values")
    ]

    report = compare(baseline_of(suite, exceptions=tuple(lines)), [night], DAY)

    assert [note for note in report.notes if "is not known" in note] == [
        "exception for tiny / small / paramters (a smaller head) names metric 'paramters', which is not known; "
        "did you mean 'parameters'?"
    ]


def test_results_of_seeds_that_were_due_and_are_lacking_are_gone(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    deleted = changed(night, "small", lost=(7, 8))

    report = compare(baseline_of(suite), [deleted], DAY)

    assert told(report) == {("small", "runs", "gone")}
    assert report.of(Kind.GONE)[0].text == "of seed 7, 8, which was due, there is no result of the present code"
    assert report.exit_code() == 4


def test_a_suite_of_the_baseline_that_was_not_asked_for_is_told(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    both = baseline_of(suite)
    both = replace(both, suites={**both.suites, "deleted": replace(suite, name="deleted")})

    report = compare(both, [night], DAY)

    assert "not checked, since not asked for, though in the baseline: deleted" in report.notes
    assert report.exit_code() == 0


def test_a_cell_that_two_suites_share_is_one_test_and_not_two(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    """Else the second suite would hide what the first one shows."""
    bad = changed(night, "small", values=cell("small", [5.1, 5.4, 5.0], first=50).values)
    twins = [replace(one, name="twin", claims={}) for one in (suite, bad)]

    alone = compare(baseline_of(suite), [bad], DAY)
    both = compare(baseline_of(suite, twins[0]), [bad, twins[1]], DAY)

    p_values = [{one.metric: one.p for one in report.findings if one.cell == "small"} for report in (alone, both)]
    assert p_values[0] == p_values[1]
    assert "6 tests" in str(alone)
    assert "12 tests" not in str(both)
