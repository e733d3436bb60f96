"""What became worse is held against other seeds, which take back what came by chance, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ranbench.regression import Baseline, Exempt, Finding, Kind, Report, SuiteResult, compare, confirmed, doubtful

from .conftest import cell, changed

DAY = "2026-12-01"
WHY = "the time was over"
Make = Callable[..., Baseline]


@pytest.fixture
def worse(suite: SuiteResult, night: SuiteResult, baseline_of: Make) -> tuple[Baseline, Report]:
    """A baseline, and a night of which one cell is far worse in error and loss."""
    bad = changed(night, "small", values=cell("small", [9.8, 10.2, 10.1], first=50).values)
    return baseline_of(suite), compare(baseline_of(suite), [bad], DAY)


def others(night: SuiteResult, errors: list[float], **fields: object) -> SuiteResult:
    """Results of other seeds of the cell that became worse."""
    return changed(night, "small", values=cell("small", errors, first=90).values, **fields)


def of(report: Report, metric: str) -> Finding:
    return next(one for one in report.findings if (one.cell, one.metric) == ("small", metric))


def test_other_seeds_that_are_as_bad_confirm_it(worse: tuple[Baseline, Report], night: SuiteResult) -> None:
    report = confirmed(worse[1], worse[0], [others(night, [10.0, 9.7, 10.4])], WHY)

    assert report.exit_code() == 4
    assert of(report, "error_pct").kind is Kind.REGRESSED
    assert "; 3 other seeds, at 10 percent (p " in of(report, "error_pct").text
    assert of(report, "error_pct").text.endswith("), show it too")


def test_other_seeds_that_are_as_good_as_before_take_it_back(
    worse: tuple[Baseline, Report], night: SuiteResult
) -> None:
    report = confirmed(worse[1], worse[0], [others(night, [4.0, 3.9, 4.2])], WHY)

    assert report.exit_code() == 0
    assert report.exit_code(strict=True) == 5
    assert [of(report, name).kind for name in ("error_pct", "loss")] == [Kind.CANNOT_TELL] * 2
    assert of(report, "error_pct").text.endswith("), do not show it")
    assert of(report, "error_pct").compared


@pytest.mark.parametrize(
    ("again", "said"),
    [
        ({"failed": {90: "diverged"}}, "of other seeds some failed"),
        ({"failed": {90: "diverged"}, "values": {}}, "of other seeds some failed"),
        ({"values": {}}, "not tried with other seeds: the time was over"),
        ({"lost": (93, 94)}, "do not show it, but 2 more are lacking: the time was over"),
    ],
)
def test_where_other_seeds_tell_nothing_it_stays(
    worse: tuple[Baseline, Report], night: SuiteResult, again: dict[str, object], said: str
) -> None:
    report = confirmed(worse[1], worse[0], [changed(others(night, [4.0, 3.9, 4.2]), "small", **again)], WHY)

    assert report.exit_code() == 4
    assert of(report, "error_pct").text.endswith(said)


def test_where_no_other_seeds_were_tried_that_is_said_and_it_stays(worse: tuple[Baseline, Report]) -> None:
    report = confirmed(worse[1], worse[0], [], "nothing is trained")

    assert report.exit_code() == 4
    assert of(report, "loss").text.endswith("; not tried with other seeds: nothing is trained")


def test_counts_jobs_claims_and_what_is_excused_are_not_doubted(
    suite: SuiteResult, night: SuiteResult, baseline_of: Make
) -> None:
    more = changed(night, "small", counts={"parameters": 1, "macs": 1})
    fell = replace(more, claims={"large-wins": "not reproduced"})
    slow = changed(fell, "large", jobs=cell("large", [], ratios=(9.0, 9.1, 9.2)).jobs)

    report = compare(baseline_of(suite), [slow], DAY)

    assert {one.metric for one in report.of(Kind.REGRESSED)} == {"parameters", "macs", "claim", "step_ratio"}
    assert doubtful(report) == ()

    bad = changed(night, "small", values=cell("small", [9.8, 10.2, 10.1], first=50).values)
    allowed = (Exempt("tiny", "small", "*", "known", "2027-01-01"),)

    assert doubtful(compare(baseline_of(suite), [bad], DAY))
    assert doubtful(compare(baseline_of(suite, exceptions=allowed), [bad], DAY)) == ()
