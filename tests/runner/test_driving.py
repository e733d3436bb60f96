"""Who hands runs out: the order, what fits into a budget, what is looked at again, what ends everything."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from command import PRELOADED
from test_store import HERE

from ranbench.environment import is_alive, new_owner
from ranbench.errors import StoreError
from ranbench.execution import Channel, Here, LocalPool, Lost, Stop, pool
from ranbench.records import Reason, State
from ranbench.runner import Observer, Summary, driving, run
from ranbench.runner import messages as tell
from ranbench.runner.dispatch import environments
from ranbench.runner.driving import Driver, batch_size, batches
from ranbench.runner.estimates import Estimates
from ranbench.runner.losses import Claim, Fate, Losses
from ranbench.runner.workplace import Assignment, Order
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store
from ranbench.suite import Suite, load_suite

Call = Callable[[Channel, Order, Assignment], None]


class Told(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def waiting(self, count: int, whom: str) -> None:
        self.said.append(f"{count} waiting")

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    """Two cells, three seeds."""
    return replace(load_suite(tiny_suite), seeds=(0, 1, 2))


@pytest.fixture
def order(store: Store, tmp_path: Path) -> Order:
    return Order("k", store.address, data=tmp_path, results=tmp_path, device="cpu")


@pytest.fixture
def drive(suite: Suite, order: Order, store: Store) -> Callable[..., Driver]:
    """Makes a driver of the suite's runs, whose calls are made here."""

    def make(call: Call, specs: Sequence[RunSpec] | None = None, stop: Stop | None = None, **more: object) -> Driver:
        todo, stop = specs or suite.runs(), stop or Stop()
        return Driver(todo, suite.labels, order, Here(stop), store, Told(), stop, call=call, **more)  # type: ignore[arg-type]

    return make


def names(suite: Suite, specs: Sequence[RunSpec]) -> list[str]:
    """Runs in short: R0 is residual learning with seed 0, N0 naive learning."""
    return [f"{str(spec.model.learning)[0].upper()}{spec.seed}" for spec in specs]


def done(channel: Channel, spec: RunSpec) -> None:
    """What a call tells of a run that it trains."""
    run = spec.fingerprint
    channel.tell(tell.Taken(run, 1, "token"))
    channel.tell(tell.Started(run, 0))
    channel.tell(tell.Finished(run, 5.0, 1.0))
    channel.tell(tell.Closed(run, State.DONE))


def recording(handed: list[RunSpec]) -> Call:
    def call(channel: Channel, order: Order, assignment: Assignment) -> None:
        for spec in assignment.specs:
            handed.append(spec)
            done(channel, spec)

    return call


def test_runs_are_handed_out_seed_by_seed_over_the_cells(suite: Suite, drive: Callable[..., Driver]) -> None:
    handed: list[RunSpec] = []

    ended = drive(recording(handed)).through()

    assert names(suite, handed) == ["R0", "N0", "R1", "N1", "R2", "N2"]
    assert ended == {"trained": 6}


@pytest.mark.parametrize(
    ("size", "shares"),
    [
        (batch_size("cpu", None, 2), [["R0"], ["N0"], ["R1"], ["N1"], ["R2"], ["N2"]]),
        (batch_size("cpu", 4, 2), [["R0", "N0", "R1", "N1"], ["R2", "N2"]]),
        (batch_size("cuda", None, 2), [["R0", "N0", "R1"], ["N1", "R2", "N2"]]),
    ],
    ids=["a CPU", "at once", "a GPU"],
)
def test_a_batch_holds_runs_of_one_architecture(
    suite: Suite, size: Callable[[int], int], shares: list[list[str]]
) -> None:
    assert [names(suite, batch) for batch in batches(suite.runs(), size)] == shares


def test_batches_of_two_architectures_alternate_seed_by_seed(suite: Suite) -> None:
    deeper = [
        spec.model_copy(update={"model": spec.model.model_copy(update={"name": "attention-92"})})
        for spec in suite.runs()
    ]
    both = [spec for pair in zip(suite.runs(), deeper, strict=True) for spec in pair]

    found = batches(both, lambda _: 2)

    assert [{spec.model.name for spec in batch} for batch in found] == [{"attention-56"}, {"attention-92"}] * 3
    assert [{spec.seed for spec in batch} for batch in found] == [{0}, {0}, {1}, {1}, {2}, {2}]


def test_a_run_that_by_measured_rates_ends_after_the_budget_is_not_begun(
    suite: Suite, drive: Callable[..., Driver]
) -> None:
    handed: list[RunSpec] = []
    first, second = suite.runs()[:2]
    longer = second.model_copy(update={"protocol": second.protocol.model_copy(update={"iterations": 6000})})
    estimates = Estimates([], "cpu", {})
    estimates.learn(first, 6, 10.0)
    driver = drive(recording(handed), [first, longer], Stop(after=100.0), estimates=estimates)

    driver.through()

    assert handed == [first]
    assert driver.no_time == [longer]


def test_a_run_of_which_nothing_is_known_is_begun_within_a_budget(suite: Suite, drive: Callable[..., Driver]) -> None:
    handed: list[RunSpec] = []
    estimates = Estimates([], "cpu", {})

    drive(recording(handed), suite.runs()[:1], Stop(after=100.0), estimates=estimates).through()

    assert handed == list(suite.runs()[:1])
    assert estimates.seconds(suite.runs()[2]) is not None  # by what the first took


def test_what_is_left_of_an_interrupted_run_is_estimated(suite: Suite) -> None:
    estimates, (first, second) = Estimates([], "cpu", {}), suite.runs()[:2]

    estimates.learn(first, 6, 12.0)
    estimates.reached(second, 4)

    assert estimates.seconds(first) == pytest.approx(12.0)
    assert estimates.seconds(second) == pytest.approx(4.0)


def load_for_ever(channel: Channel, order: Order, assignment: Assignment) -> None:
    """What a worker does that does not come to take a run, and does not look whether to stop."""
    del channel, order, assignment
    time.sleep(3600)


def test_a_stop_ends_the_processes_that_have_not_come_to_take_a_run(
    suite: Suite, order: Order, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    monkeypatch.setattr(pool, "START", "forkserver")
    stop = Stop(after=1.0)

    ended = Driver(
        suite.runs(), suite.labels, order, LocalPool(2), store, told := Told(), stop, call=load_for_ever
    ).through()

    assert ended == {}
    assert told.said == []


def test_runs_that_another_command_holds_are_looked_at_again_at_the_end(
    suite: Suite, drive: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "POLL_SECONDS", 0.01)
    handed: list[RunSpec] = []

    def call(channel: Channel, order: Order, assignment: Assignment) -> None:
        (spec,) = assignment.specs
        handed.append(spec)
        if handed.count(spec) < 3 and spec.seed == 0:
            channel.tell(tell.Refused(spec.fingerprint, "held"))
        else:
            done(channel, spec)

    driver = drive(call, suite.runs({"learning": "naive"}))
    ended = driver.through()

    assert names(suite, handed) == ["N0", "N1", "N2", "N0", "N0"]
    assert ended == {"trained": 3}
    assert "1 waiting" in driver.observer.said  # type: ignore[attr-defined]


def test_an_error_that_is_not_of_one_run_ends_the_command_and_begins_no_other(
    suite: Suite, drive: Callable[..., Driver]
) -> None:
    handed: list[RunSpec] = []

    def call(channel: Channel, order: Order, assignment: Assignment) -> None:
        handed.extend(assignment.specs)
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="the disk is full"):
        drive(call).through()

    assert len(handed) == 1


def test_a_failed_run_is_never_tried_again(suite: Suite, drive: Callable[..., Driver]) -> None:
    handed: list[RunSpec] = []

    def call(channel: Channel, order: Order, assignment: Assignment) -> None:
        for spec in assignment.specs:
            handed.append(spec)
            run = spec.fingerprint
            channel.tell(tell.Taken(run, 1, "token"))
            channel.tell(tell.Failed(run, Reason.DIVERGED, "the training loss became nan"))
            channel.tell(tell.Closed(run, State.FAILED))

    assert drive(call, retries=5).through() == {"failed": 6}
    assert len(handed) == 6


def losing(store: Store, order: Order, told: Told, retries: int) -> Losses:
    return Losses(store, order, told, lambda spec: f"seed {spec.seed}", retries)


def claimed(store: Store, spec: RunSpec) -> Claim:
    owner = new_owner()
    found = store.claim(spec, code_id="c" * 64, environment=HERE, owner=owner, is_alive=is_alive)
    assert isinstance(found, Claimed)
    return Claim(found.attempt_id, owner.token, 0.0, step=7)


def test_a_run_whose_process_dies_again_and_again_is_failed_with_the_reason(
    suite: Suite, order: Order, store: Store
) -> None:
    spec, told, lost = suite.runs()[0], Told(), Lost(0, "its worker process was killed by SIGSEGV", detail="a stack")
    losses = losing(store, order, told, retries=2)

    fates = [losses.died(spec, claimed(store, spec), lost, lacked_memory=False) for _ in range(3)]

    assert fates == [Fate.AGAIN, Fate.AGAIN, Fate.FAILED]
    (attempt,) = store.runs()[0].attempts
    assert (attempt.state, attempt.reason, attempt.resumes) == (State.FAILED, Reason.ERROR, 2)
    why = "its worker process was killed by SIGSEGV at iteration 7 or later"
    assert attempt.error == f"a stack\n{why}, for the third time"
    assert told.said == [f"seed 0: {why}; it is tried again alone, from its last checkpoint if it has one"] * 2


def test_a_run_that_the_system_killed_for_lack_of_memory_has_failed_for_that(
    suite: Suite, order: Order, store: Store
) -> None:
    spec, lost = suite.runs()[0], Lost(0, "its worker process was killed by SIGKILL")

    assert (
        losing(store, order, Told(), retries=0).died(spec, claimed(store, spec), lost, lacked_memory=True)
        is Fate.FAILED
    )

    assert store.runs()[0].attempts[0].reason is Reason.OUT_OF_MEMORY


def test_a_machine_that_is_gone_counts_against_no_run(suite: Suite, order: Order, store: Store) -> None:
    spec, lost = suite.runs()[0], Lost(0, "its node is gone", blameless=True)
    losses = losing(store, order, Told(), retries=0)

    assert {losses.died(spec, claimed(store, spec), lost, lacked_memory=False) for _ in range(3)} == {Fate.AGAIN}


def test_a_run_that_another_command_took_first_is_left_to_it(suite: Suite, order: Order, store: Store) -> None:
    spec, lost = suite.runs()[0], Lost(0, "its worker process was killed by SIGKILL")
    losses, claim = losing(store, order, Told(), retries=1), claimed(store, spec)
    store.claim(spec, code_id="c" * 64, environment=HERE, owner=new_owner(), is_alive=lambda *_: False)

    assert losses.died(spec, claim, lost, lacked_memory=False) is Fate.HELD
    assert losses.overdue(spec, claim, lost) is Fate.HELD
    assert store.runs()[0].state == "running"


def test_a_stop_leaves_what_was_not_begun(suite: Suite, drive: Callable[..., Driver]) -> None:
    stop, handed = Stop(), list[RunSpec]()

    def call(channel: Channel, order: Order, assignment: Assignment) -> None:
        recording(handed)(channel, order, assignment)
        stop.request(2)

    assert drive(call, stop=stop).through() == {"trained": 1}


def test_gpus_are_given_to_workers_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-abc")

    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments(3, "cuda")] == ["4", "GPU-abc", "4"]
    assert environments(3, "cpu") == [{}]


def test_a_budget_stops_cleanly_and_says_what_it_was_enough_for(suite: Suite, store: Store, tmp_path: Path) -> None:
    told = Told()
    long = replace(suite, seeds=tuple(range(500)))

    summary: Summary = run(long, store, results=tmp_path / "results", device="cpu", stop=Stop(after=2.0), observer=told)

    assert summary.left > 0
    assert summary.exit_code == 0
    assert summary.trained + summary.left == summary.total
    assert {record.state for record in store.runs()} <= {"done", "interrupted", "planned"}
    (said,) = [note for note in told.said if note.startswith("the budget is spent: ")]
    assert "every cell has seed" in said or "no seed is complete over all cells" in said
