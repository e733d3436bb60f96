"""A run trained again to check it: compared, interrupted, failed, refused; never counted."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ranbench.errors import DataError, NothingMeasured, SpecError
from ranbench.records import Purpose, Reason, RunRecord, State
from ranbench.runner import Checked, Observer, Stop, check, plan, run
from ranbench.runner.comparison import FirstDifference
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import Suite, load_suite
from ranbench.training import loop


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    """Two cells, one seed, six steps."""
    return load_suite(tiny_suite, seeds=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """The results of the cell with naive learning, trained once for all tests, which copy them."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "tiny.yaml").write_text(tiny_texts[0])
    results = folder / "results"
    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        run(load_suite(folder / "tiny.yaml", seeds=1), store, results=results, only={"learning": "naive"})
    return results


@pytest.fixture
def record(trained: Path, store: Store, tmp_path: Path) -> RunRecord:
    """A done run: the cell with naive learning."""
    store.close()
    shutil.rmtree(tmp_path / "results")
    shutil.copytree(trained, tmp_path / "results")
    return next(record for record in store.runs() if record.counted)


@pytest.fixture
def again(record: RunRecord, store: Store, tmp_path: Path) -> Callable[..., Checked]:
    """Checks the done run."""

    def call(**options: object) -> Checked:
        return check(record, store, results=tmp_path / "results", **options)  # type: ignore[arg-type]

    return call


class Told(Observer):
    """Keeps notes, and asks for a stop after ``steps`` iterations where they are given."""

    def __init__(self, stop: Stop | None = None, steps: int = 0):
        self.notes: list[str] = []
        self.started_at: list[int] = []
        self.stop, self.steps = stop, steps

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        self.started_at.append(step)

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        if self.stop is not None and step == self.steps:
            self.stop.request(signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_same_code_on_the_same_machine_gives_the_same_bits(
    again: Callable[..., Checked], record: RunRecord, store: Store
) -> None:
    found = again()

    assert found.comparison is not None
    assert (found.comparison.answer, found.changed, found.exit_code) == ("identical", (), 0)
    assert found.comparison.metrics == ("best_error_pct", "best_iteration", "error_pct", "loss")
    assert found.comparison.points == 3 * 6 + 2 * 2
    assert (found.check.purpose, found.check.number, found.check.state) == (Purpose.CHECK, 2, State.DONE)


def test_a_check_changes_nothing_of_what_is_planned_counted_and_reported(
    again: Callable[..., Checked], suite: Suite, record: RunRecord, store: Store, tmp_path: Path
) -> None:
    from ranbench.report import tables
    from ranbench.report.frame import frame

    records = store.runs()
    before = plan(suite, records), tables(suite, records).as_dict(), frame(records).to_csv()

    again()
    repeated = run(suite, store, results=tmp_path / "results", only={"learning": "naive"})

    records = store.runs()
    after = next(other for other in records if other.fingerprint == record.fingerprint)
    assert (plan(suite, records), tables(suite, records).as_dict(), frame(records).to_csv()) == before
    assert (after.counted, after.latest, after.state, len(after.attempts)) == (record.counted, record.latest, "done", 2)
    assert (repeated.already_done, repeated.trained) == (1, 0)


def test_the_recorded_number_of_threads_is_used(suite: Suite, store: Store, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    run(suite, store, results=tmp_path / "results", only={"learning": "naive"})
    torch.set_num_threads(1)

    found = check(next(one for one in store.runs() if one.counted), store, results=tmp_path / "results")

    torch.set_num_threads(before)
    assert (found.recorded.environment.threads, found.check.environment.threads) == (2, 2)
    assert found.changed == ()


def test_an_interrupted_check_goes_on_and_is_compared_whole(
    again: Callable[..., Checked], record: RunRecord, store: Store
) -> None:
    stop, first, second = Stop(), Told(), Told()
    first.stop, first.steps = stop, 4

    stopped = again(observer=first, stop=stop)
    between = store.find(record.fingerprint)
    found = again(observer=second)

    assert (stopped.comparison, stopped.exit_code, stopped.check.state) == (None, 130, State.INTERRUPTED)
    assert (between.state, between.counted) == ("done", record.counted)
    assert (first.started_at, second.started_at) == ([0], [4])
    assert found.comparison is not None
    assert (found.comparison.answer, found.check.number, found.check.resumes) == ("identical", 2, 1)


def test_a_check_with_other_code_names_the_first_iteration_that_differs(
    again: Callable[..., Checked], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = loop.learning_rate
    monkeypatch.setattr(
        loop, "learning_rate", lambda schedule, total, step: rate(schedule, total, step) * (1 + step // 3)
    )
    monkeypatch.setattr("ranbench.runner.checking.code_of_run", lambda *_: "c" * 64)
    told = Told()

    found = again(observer=told)

    assert found.comparison is not None
    assert (found.comparison.answer, found.exit_code) == ("different", 4)
    assert {"series lr", "series train_loss", "weights"} <= set(found.comparison.differing)
    # the fourth step takes the other rate, so the loss of the fifth is the first that can differ
    assert isinstance(found.comparison.first, FirstDifference)
    assert (found.comparison.first.first, found.comparison.first.last) == (5, 5)
    assert [change.what for change in found.changed] == ["code_id"]
    assert told.notes == [f"not as recorded: {found.changed[0]}"]


def test_a_check_that_fails_has_no_answer_and_harms_nothing(
    again: Callable[..., Checked], record: RunRecord, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranbench.runner.attempt.build", lambda *_, **__: (_ for _ in ()).throw(MemoryError("no room")))

    found = again()

    after = store.find(record.fingerprint)
    assert (found.comparison, found.exit_code, found.check.reason) == (None, 3, Reason.OUT_OF_MEMORY)
    assert (after.state, after.counted) == ("done", record.counted)


def test_a_report_counts_no_check_among_the_attempts_before_the_one_that_counts(
    again: Callable[..., Checked], suite: Suite, store: Store, tmp_path: Path
) -> None:
    from ranbench.report import tables

    again()
    run(suite, store, results=tmp_path / "results", only={"learning": "naive"}, rerun=frozenset(["all"]))

    (row,) = [row for row in tables(suite, store.runs()).runs if row.state == "done"]
    assert (row.attempt, row.superseded, row.failures) == (3, 1, 0)


def test_a_run_of_which_nothing_is_done_cannot_be_checked(suite: Suite, store: Store, tmp_path: Path) -> None:
    store.record_suite(suite.name, suite.title, suite.text, suite.sha256, suite.runs())
    planned = store.runs()[0]

    with pytest.raises(NothingMeasured) as caught:
        check(planned, store, results=tmp_path / "results")

    assert str(caught.value) == (
        f"run {planned.fingerprint[:12]}: nothing is done that could be compared with, it is planned; "
        "'ranbench run SUITE' trains it"
    )
    assert caught.value.exit_code == 6


def test_of_a_failed_run_it_is_said_how_it_is_tried_again(
    suite: Suite, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command without the option leaves it as it is."""

    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(loop.Training, "take_step", fail)
    run(suite, store, results=tmp_path / "results", only={"learning": "naive"})
    failed = next(record for record in store.runs() if record.latest)

    with pytest.raises(NothingMeasured, match=r"it is failed; 'ranbench run SUITE --rerun failed' trains it$"):
        check(failed, store, results=tmp_path / "results")


def test_a_check_that_another_command_is_at_is_refused(
    again: Callable[..., Checked], record: RunRecord, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ranbench.environment import code_id, new_owner

    assert record.counted is not None
    other = dataclasses.replace(new_owner(), token="other")
    store.claim(
        RunSpec.stored(record.fingerprint, record.spec),
        code_id=code_id(),
        environment=record.counted.environment,
        owner=other,
        is_alive=lambda *_: True,
        purpose=Purpose.CHECK,
    )

    with pytest.raises(NothingMeasured) as caught:
        again()

    assert str(caught.value) == (
        f"run {record.fingerprint[:12]}: process {other.pid} on {other.host} is checking it now; wait for its answer"
    )


def test_a_stored_spec_that_this_version_reads_as_another_run_is_refused(record: RunRecord, store: Store) -> None:
    other = dataclasses.replace(record, fingerprint="0" * 64)

    with pytest.raises(SpecError, match="run 000000000000: this version reads its stored spec as another run, "):
        check(other, store)


def test_missing_data_is_told_before_anything_is_claimed(
    record: RunRecord, store: Store, again: Callable[..., Checked], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DataError("digits: gone")

    monkeypatch.setattr("ranbench.runner.loading.load", gone)

    with pytest.raises(DataError, match="digits: gone"):
        again()

    assert len(store.find(record.fingerprint).attempts) == 1
