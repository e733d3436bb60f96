"""The gate's time: a budget that binds every run, and nights that were missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ranbench.records import Attempt, Environment, RunRecord, State
from ranbench.regression import Baseline, Finding, Kind, Report, due
from ranbench.runner import Observer, gate, run
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

PLACE = Environment(
    device="cpu", device_name="A CPU", cpu="A CPU", cores=2, memory_bytes=1, threads=1, engine_path="eager", python="3",
    platform="linux", versions={}, commit=None, dirty=False, patch=None, host="h", user="u", command="",
)  # fmt: skip


class Told(Observer):
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def started(self, spec: object, label: str, step: int) -> None:
        self.begun.append(label)


@pytest.fixture
def long(tmp_path: Path, tiny_texts: tuple[str, str]) -> Suite:
    """Two cells whose runs take minutes."""
    suite, protocol = tiny_texts
    (tmp_path / "protocols").mkdir()
    slow = protocol.replace("iterations: 6", "iterations: 30000").replace("every: 3", "every: 30000")
    (tmp_path / "protocols" / "tiny.yaml").write_text(slow)
    (tmp_path / "tiny.yaml").write_text(suite.partition("claims:")[0])
    return load_suite(tmp_path / "tiny.yaml", seeds=1)


@pytest.mark.slow
def test_a_budget_ends_even_the_first_run_of_all_with_a_checkpoint(long: Suite, store: Store, tmp_path: Path) -> None:
    """Nothing is known of what it takes, so it is begun; the next is not."""
    told = Told()
    where = gate.Where(store, tmp_path / "data", tmp_path / "results", "cpu", observer=told)
    baseline = gate.save([long], where, jobs=0, trained=False, free=False)

    report = gate.check([long], baseline, where, gate.Night(date(2027, 1, 1), budget=15.0))

    assert len(told.begun) == 1
    (run,) = [record for record in store.runs() if record.latest]
    assert (run.state, run.latest and run.latest.step > 0) == ("interrupted", True)
    said = [one.text for one in report.findings if one.kind is Kind.CANNOT_TELL and one.metric == "runs"]
    assert sorted(said) == [
        "the budget of 0.25 minutes ended before seed 0 did",
        "the budget of 0.25 minutes was spent before it was its turn",
    ]
    assert report.exit_code(strict=False) == 6  # counts alone were compared


def test_a_night_that_was_missed_is_caught_up_and_one_of_a_given_day_is_not() -> None:
    suite = load_suite("nightly")
    first = date(2027, 3, 1)
    missed = next(
        day for day in (first + timedelta(days=n) for n in range(1, 8)) if len(due(suite, day, "nightly")) == 6
    )
    records = [
        ended(suite, index, first + timedelta(days=n))
        for n in range(8)
        if (day := first + timedelta(days=n)) < missed
        for index, cell in enumerate(suite.cells)
        if any(cell is one for one in due(suite, day, "nightly"))
    ]
    night = gate.Night(missed + timedelta(days=1), cycle="nightly", catches_up=True)

    ((_, cells),), late = gate._planned([suite], records, night)
    ((_, alone),), none = gate._planned([suite], records, replace(night, catches_up=False))

    rare = {suite.label(cell) for cell in due(suite, missed, "nightly") if cell.cycle != "nightly"}
    assert late == len(rare) > 0
    assert {suite.label(cell) for cell in cells} == {suite.label(cell) for cell in alone} | rare
    assert none == 0


def ended(suite: Suite, cell: int, day: date) -> RunRecord:
    """A run of a cell that came to its end on a day."""
    spec = suite.cells[cell].run(suite.protocol, day.toordinal())
    moment = datetime(day.year, day.month, day.day, 3, tzinfo=UTC)
    attempt = Attempt(
        id=1, fingerprint=spec.fingerprint, number=1, state=State.DONE, reason=None, error=None, code_id="c",
        step=1, iterations=1, resumes=0, resumed_inexactly=False, started=moment, updated=moment, ended=moment,
        owner=None, environment=PLACE, seconds=1.0, bundle=None, metrics={},
    )  # fmt: skip
    return RunRecord(spec.fingerprint, spec.cell_id, spec.seed, spec.model_dump(mode="json"), (attempt,))


@pytest.fixture
def ran(tiny_suite: Path, store: Store, tmp_path: Path) -> tuple[Suite, gate.Where, Baseline, Told]:
    """Three seeds of two cells, whose values are the baseline."""
    told = Told()
    suite = load_suite(tiny_suite, seeds=3)
    where = gate.Where(store, tmp_path / "data", tmp_path / "results", "cpu", observer=told)
    run(suite, store, results=where.results, device="cpu")
    return suite, where, gate.save([suite], where, jobs=0, free=False), told


def lower(baseline: Baseline, label: str) -> Baseline:
    """The baseline with losses of one cell that no run will reach."""
    suite = baseline.suites["tiny"]
    cells = tuple(
        replace(cell, values={**cell.values, "loss": {seed: value / 2 for seed, value in cell.values["loss"].items()}})
        if cell.label == label
        else cell
        for cell in suite.cells
    )
    return replace(baseline, suites={"tiny": replace(suite, cells=cells)})


def trained_seeds(store: Store) -> set[tuple[str, int]]:
    return {(record.spec["model"]["learning"], record.seed) for record in store.runs() if record.state == "done"}


FIRST = {(learning, seed) for learning in ("residual", "naive") for seed in range(3)}


def test_what_became_worse_is_trained_with_other_seeds_which_show_it_too(
    ran: tuple[Suite, gate.Where, Baseline, Told],
) -> None:
    suite, where, baseline, told = ran

    report = gate.check([suite], lower(baseline, "naive"), where, gate.Night(date(2027, 1, 1)))

    assert report.exit_code() == 4
    assert trained_seeds(where.store) == FIRST | {("naive", seed) for seed in (3, 4, 5)}
    assert told.notes == ["tiny: worse in naive; 3 other seeds tell whether by chance"]
    (worse,) = report.of(Kind.REGRESSED)
    assert worse.text.endswith("show it too")


def test_what_other_seeds_do_not_show_is_no_regression(
    ran: tuple[Suite, gate.Where, Baseline, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, where, baseline, _ = ran
    chance = Finding("tiny", "naive", "loss", Kind.REGRESSED, "by chance", compared=True)
    monkeypatch.setattr(gate, "compare", lambda *_, **__: Report((chance,)))

    report = gate.check([suite], baseline, where, gate.Night(date(2027, 1, 1)))

    assert report.exit_code() == 0
    (left,) = report.of(Kind.CANNOT_TELL)
    assert left.text.startswith("by chance; 3 other seeds, at 2.")
    assert left.text.endswith("do not show it")


@pytest.mark.parametrize("night", [gate.Night(date(2027, 1, 1), train=False), gate.Night(date(2027, 1, 1), budget=0.0)])
def test_where_nothing_may_be_trained_a_regression_stays(
    ran: tuple[Suite, gate.Where, Baseline, Told], night: gate.Night
) -> None:
    suite, where, baseline, _ = ran

    assert gate.check([suite], lower(baseline, "naive"), where, night).exit_code() == 4
    assert trained_seeds(where.store) == FIRST


def test_a_baseline_holds_every_seed_of_a_cell_whichever_suite_has_asked_for_it(
    ran: tuple[Suite, gate.Where, Baseline, Told],
) -> None:
    suite, where, _, _ = ran
    twin = replace(suite, name="twin", seeds=(0,), claims=())

    found = gate.save([suite, twin], where, jobs=0, free=False).suites

    values = [[cell.values["loss"] for cell in found[name].cells] for name in ("tiny", "twin")]
    assert values[0] == values[1]
    assert [sorted(of_cell) for of_cell in values[1]] == [[0, 1, 2]] * 2
