"""Our results beside others': what is tested, what is not and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.records import RunRecord, State
from ranbench.report import FORMATS, Report, tables, write
from ranbench.report.against import BesideRow
from ranbench.report.layout import beside_grid
from ranbench.statistics import welch
from ranbench.suite import Suite

from .conftest import Load, Recorder, runs_of


def recorded(suite: Suite, *values: float, uid: str = "", **axes: str) -> list[RunRecord]:
    """Records of a cell's first seeds, whose attempts are named ``uid`` with the seed where it is given."""
    recorder = Recorder()
    for spec, value in zip(runs_of(suite, **axes), values, strict=False):
        recorder.done(spec, value, uid=f"{uid}{spec.seed}" if uid else "")
    return recorder.records


def rows(suite: Suite, ours: list[RunRecord], theirs: list[RunRecord]) -> list[BesideRow]:
    return list(tables(suite, ours, against={"other.zip": theirs}).against)


RESIDUAL = {"model": "attention-56", "learning": "residual"}
RULES = ("residual", "naive")
NAIVE = {"model": "attention-56", "learning": "naive"}


def test_a_difference_that_the_data_can_tell_has_its_bounds(load: Load) -> None:
    suite = load()

    first = rows(suite, recorded(suite, 5.0, 5.1, 5.2, **RESIDUAL), recorded(suite, 9.0, 9.1, 9.3, **RESIDUAL))[0]

    estimate = welch([5.0, 5.1, 5.2], [9.0, 9.1, 9.3])
    assert estimate is not None
    assert (first.answer, first.level) == ("yes", 0.05)
    assert (first.low, first.high) == pytest.approx(estimate.interval(0.05))
    assert first.p == pytest.approx(estimate.p_outside(0.0))
    assert first.difference == pytest.approx(-4.0333, abs=1e-4)


def test_holm_runs_over_all_rows_that_are_tested(load: Load) -> None:
    suite = load()
    ours = [*recorded(suite, 5.0, 5.1, 5.2, **RESIDUAL), *recorded(suite, 5.0, 6.0, 7.0, **NAIVE)]
    theirs = [*recorded(suite, 9.0, 9.1, 9.3, **RESIDUAL), *recorded(suite, 5.5, 6.0, 7.5, **NAIVE)]

    first, second, *others = rows(suite, ours, theirs)

    assert (first.answer, first.level) == ("yes", 0.025)
    assert (second.answer, second.level) == ("no", 0.05)
    assert second.low is not None
    assert second.high is not None
    assert second.low < 0 < second.high
    assert {row.answer for row in others} == {"neither has a result"}


@pytest.mark.parametrize(
    ("ours", "theirs", "answer"),
    [
        ((5.0, 6.0, 7.0), (5.0, 6.0), "a test needs three seeds on each side"),
        ((5.0, 6.0, 7.0), (), "only ours"),
        ((), (5.0,), "only theirs"),
        ((5.0, 6.0, 7.0), (5.0, 6.0, 7.0), "equal, seed by seed"),
        ((5.0, 5.0, 5.0), (6.0, 6.0, 6.0), "no spread between seeds: no test"),
        ((float("nan"), 6.0, 7.0), (5.0, 6.0, 8.0), "a test needs three seeds on each side"),
    ],
)
def test_where_nothing_is_tested_the_reason_is_told(
    ours: tuple[float, ...], theirs: tuple[float, ...], answer: str, load: Load
) -> None:
    suite = load()

    first = rows(suite, recorded(suite, *ours, **RESIDUAL), recorded(suite, *theirs, **RESIDUAL))[0]

    assert (first.answer, first.p, first.low) == (answer, None, None)


def test_runs_that_both_sets_hold_are_no_second_sample(load: Load) -> None:
    suite = load()
    ours = recorded(suite, 5.0, 6.0, 7.0, uid="a", **RESIDUAL)

    same = rows(suite, ours, ours)[0]
    partly = rows(suite, ours, [*ours[:1], *recorded(suite, 5.0, 6.5, 7.5, uid="b", **RESIDUAL)[1:]])[0]

    assert (same.answer, same.difference) == ("the same runs", 0.0)
    assert partly.answer == "1 run in both: no test"


def test_runs_of_another_protocol_are_not_compared(load: Load) -> None:
    suite, smoke = load(), load(protocol="smoke")

    first = rows(suite, recorded(suite, 5.0, 6.0, 7.0, **RESIDUAL), recorded(smoke, 90.0, 91.0, 92.0, **RESIDUAL))[0]

    assert first.answer == "only ours"


def test_failed_runs_of_the_others_are_none(load: Load, recorder: Recorder) -> None:
    suite = load()
    recorder.add(suite.runs()[0], State.FAILED, error="x")

    sets = tables(suite, recorded(suite, 5.0, **RESIDUAL), against={"other.zip": recorder.records}).sets

    assert [(one.name, one.done, one.planned, one.code) for one in sets] == [
        ("ours", 1, 12, ("c0dec0de",)),
        ("other.zip", 0, 12, ()),
    ]


def test_failed_missing_and_not_run_look_different(load: Load, recorder: Recorder) -> None:
    suite = load()
    cells = [runs_of(suite, model=model, learning=rule) for model in ("attention-56", "attention-92") for rule in RULES]
    recorder.failed(cells[0][0], "lost")
    recorder.done(cells[1][0], float("nan"))
    recorder.done(cells[3][0], 5.0)
    recorder.failed(cells[3][1], "lost")
    ours = recorded(suite, 5.0, 6.0, **RESIDUAL)

    built = rows(suite, ours, recorder.records)

    grid = beside_grid(built, "percent")
    place = [column.heading for column in grid.columns].index("theirs (%)")
    assert [row[place].text for row in grid.rows] == ["failed", "missing", "not run", "5.00"]
    assert [row[place + 1].notes for row in grid.rows] == [(), (), (), ("1 more failed",)]
    assert [row[place - 2].text for row in grid.rows] == ["5.50 ± 6.35", "not run", "not run", "not run"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_the_other_results(name: str, load: Load, tmp_path: Path) -> None:
    suite = load()
    others = {"a_b%.zip": recorded(suite, 9.0, 9.1, 9.3, **RESIDUAL)}
    built = tables(suite, recorded(suite, 5.0, 5.1, 5.2, **RESIDUAL), against=others)

    files = write(Report(suite, built, {}, compare=True), tmp_path, [name])

    together = "".join(file.read_text(encoding="utf-8") for file in {*files, *tmp_path.rglob("*.tex")})
    assert "a_b%.zip" in together.replace(r"a\_b\%", "a_b%")
    assert "can the data tell" in together or "9.133" in together
    if name == "md":
        line = "| attention-56 | residual | 5.10 ± 0.25 | [3](#cell-1) | 9.13 ± 0.38 | 3 | −4.03 (−4.35 to −3.72) |"
        assert f"{line} &lt; 0.001 | yes |\n" in together
        assert "theirs are those of a_b%.zip. Bounds" in together
        assert "- **Beside a_b%.zip:** 1 of 4 cells can be compared; in test error 1 of them differs." in together
        assert "ranbench report small.yaml --compare --against a_b%.zip\n" in together
