"""A batch of runs: trained at once, each closed on its own; what a stop, lack of memory, time or a takeover does."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ranbench.cli import main
from ranbench.cli.options import seconds_of
from ranbench.cli.progress import Lines
from ranbench.data import ImageSet
from ranbench.environment import code_id, describe, new_owner
from ranbench.records import Reason, RunRecord, State
from ranbench.runner import How, Observer, Stop, Summary, run
from ranbench.runner.attempt import Attempt
from ranbench.runner.batch import Batch
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store
from ranbench.suite import Suite, load_suite
from ranbench.training import Checkpoints, Training, checkpoint
from ranbench.training.compiler import compiler_fault

TWO = How(at_once=2, threads=1)
SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_measurement_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginning one collects all garbage of the process, for each run."""
    monkeypatch.setattr("ranbench.runner.attempt.reset_peak_memory", lambda _device: True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These nets are too small for more threads, and one thread leaves the machine to others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    """One architecture, two cells, two seeds, six steps."""
    return load_suite(tiny_suite)


class Execute:
    """Runs a suite with everything under one folder."""

    def __init__(self, store: Store, folder: Path):
        self.store, self.folder = store, folder

    def __call__(self, suite: Suite, **options: Any) -> Summary:
        return run(suite, self.store, data=self.folder / "data", results=self.folder / "results", **options)


@pytest.fixture
def execute(store: Store, tmp_path: Path) -> Execute:
    """Runs a suite with everything under the test's folder."""
    return Execute(store, tmp_path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> dict[str, str]:
    """Weights of the suite's runs, trained one after the other without any trouble, by fingerprint."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "tiny.yaml").write_text(tiny_texts[0])
    with Store.open(f"sqlite:///{folder}/ranbench.db") as store:
        run(load_suite(folder / "tiny.yaml"), store, results=folder, how=How(at_once=1, threads=1))
        return weights(store)


def weights(store: Store) -> dict[str, str]:
    """The content hashes of the counted attempts' weights."""
    counted = {record.fingerprint: record.counted for record in store.runs() if record.counted}
    return {name: store.artefacts([attempt.id])[0].sha256 for name, attempt in counted.items()}


def ends(store: Store) -> list[tuple[str, Reason | None]]:
    """State and reason of the newest attempts."""
    newest = [record.latest for record in store.runs()]
    return [(attempt.state.value, attempt.reason) for attempt in newest if attempt]


def metric(record: RunRecord, name: str) -> float | None:
    return record.counted.metrics.get(name) if record.counted else None


class Told(Observer):
    """Keeps what it was told, and calls ``at`` after every step of every run."""

    def __init__(self, at: Callable[[RunSpec, int], None] = lambda _spec, _step: None):
        self.at = at
        self.order: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.failures: list[tuple[Reason, str]] = []
        self.open: set[str] = set()
        self.most = 0

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        self.order.append((label, f"from {step}"))
        self.open.add(spec.fingerprint)
        self.most = max(self.most, len(self.open))

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        self.at(spec, step)

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        self.order.append((label, "done"))
        self.open.discard(spec.fingerprint)

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        self.failures.append((reason, error))
        self.open.discard(spec.fingerprint)

    def left(self, spec: RunSpec) -> None:
        self.open.discard(spec.fingerprint)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(("at_once", "beside"), [(2, [2, 2, 2, 2]), pytest.param(3, [3, 3, 3, 1], marks=SLOW)])
def test_runs_at_once_end_with_the_bits_of_runs_one_by_one(
    suite: Suite, execute: Execute, expected: dict[str, str], at_once: int, beside: list[int]
) -> None:
    told = Told()

    summary = execute(suite, how=How(at_once=at_once, threads=1), observer=told)

    assert (summary.trained, summary.exit_code) == (4, 0)
    assert weights(execute.store) == expected
    assert told.most == at_once
    assert [metric(record, "runs_at_once") for record in execute.store.runs()] == beside


def test_one_run_alone_says_so_and_how_much_memory_it_took(suite: Suite, store: Store, execute: Execute) -> None:
    """Of several in one process it is not known whose the memory was."""
    execute(suite, only={"learning": "naive"}, how=How(at_once=1))
    execute(suite, only={"learning": "residual"}, how=TWO)

    records = sorted(store.runs(), key=lambda record: str(record.spec["model"]["learning"]))
    assert [metric(record, "runs_at_once") for record in records] == [1, 1, 2, 2]
    assert [metric(record, "peak_memory_bytes") is None for record in records] == [False, False, True, True]


def test_the_threads_of_the_process_are_shared_out_recorded_and_given_back(
    suite: Suite, store: Store, execute: Execute
) -> None:
    torch.set_num_threads(4)

    execute(suite, only={"learning": "naive"}, how=How(at_once=2))

    threads = [record.counted.environment.threads for record in store.runs() if record.counted]
    assert threads == [2, 2]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("step", [pytest.param(2, marks=SLOW), 6])
def test_a_stop_leaves_every_open_run_with_a_checkpoint_and_all_end_with_the_same_bits(
    suite: Suite, execute: Execute, expected: dict[str, str], tmp_path: Path, step: int
) -> None:
    stop, going_on = Stop(), Told()
    stopping = Told(lambda _spec, now: stop.request(signal.SIGINT) if now == step else None)

    stopped = execute(suite, how=TWO, observer=stopping, stop=stop)
    states = [record.state for record in execute.store.runs()]
    kept = len(list((tmp_path / "results").glob(f"checkpoints/*/{step:09d}-*.safetensors")))
    resumed = execute(suite, how=TWO, observer=going_on)

    assert (stopped.exit_code, stopped.left, kept) == (130, 4, 2)
    assert sorted(states) == ["interrupted", "interrupted", "planned", "planned"]
    assert (resumed.trained, resumed.exit_code) == (4, 0)
    assert [how for _, how in going_on.order if how.startswith("from")] == [f"from {step}"] * 2 + ["from 0"] * 2
    assert weights(execute.store) == expected
    assert sorted(record.attempts[0].resumes for record in execute.store.runs()) == [0, 0, 1, 1]
    assert not any(attempt.resumed_inexactly for record in execute.store.runs() for attempt in record.attempts)


class Lacking:
    """Raises an error in chosen steps of chosen seeds, as long as ``when`` holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, when: Callable[[Training], bool], error: type[Exception]):
        self.raised = 0
        take_step = Training.take_step

        def take(training: Training) -> object:
            if when(training):
                self.raised += 1
                raise error("no room")
            return take_step(training)

        monkeypatch.setattr(Training, "take_step", take)


MEMORY_ERRORS = [pytest.param(MemoryError, marks=SLOW), torch.OutOfMemoryError]


@pytest.mark.parametrize("error", MEMORY_ERRORS)
def test_a_run_that_lacks_memory_beside_another_waits_for_it_and_is_done_later(
    suite: Suite,
    execute: Execute,
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    told = Told()
    lacking = Lacking(
        monkeypatch, lambda training: training.seed == 1 and training.step == 2 and len(told.open) > 1, error
    )

    summary = execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert lacking.raised == 1
    assert (summary.trained, summary.failed, summary.left, summary.exit_code) == (2, 0, 0, 0)
    assert told.notes == ["naive, seed 1 (smoke): out of memory beside another run; 1 at once from here on"]
    assert [event for _, event in told.order] == ["from 0", "from 0", "done", "from 0", "done"]
    assert told.failures == []
    assert weights(execute.store) == {name: expected[name] for name in weights(execute.store)}
    assert [record.attempts[0].resumes for record in execute.store.runs()] == [0, 1]


def test_the_number_of_runs_at_once_stays_lowered_for_the_batch(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three begin, and the only one of seed 1 lacks memory: two at once from there on, though a place is free."""
    later: list[int] = []
    told = Told(lambda _spec, _step: later.append(len(told.open)) if told.notes else None)
    Lacking(
        monkeypatch, lambda training: training.seed == 1 and training.step == 1 and len(told.open) == 3, MemoryError
    )

    summary = execute(suite, how=How(at_once=3, threads=1), observer=told)

    assert (summary.trained, summary.failed) == (4, 0)
    assert [note.partition(": ")[2] for note in told.notes] == ["out of memory beside 2 others; 2 at once from here on"]
    assert max(later) == 2
    assert weights(store) == expected


def test_two_that_lack_memory_in_one_round_are_both_tried_alone(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    Lacking(monkeypatch, lambda training: training.step == 0 and len(told.open) == 2, MemoryError)

    summary = execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert (summary.trained, summary.failed) == (2, 0)
    assert told.failures == []
    assert len(told.notes) == 2
    assert weights(store) == {name: expected[name] for name in weights(store)}


@pytest.mark.parametrize(("how", "error"), [(How(at_once=1), MemoryError), (TWO, torch.OutOfMemoryError)])
def test_a_run_that_lacks_memory_alone_is_failed_and_the_suite_goes_on(
    suite: Suite, execute: Execute, monkeypatch: pytest.MonkeyPatch, how: How, error: type[Exception]
) -> None:
    told = Told()
    Lacking(monkeypatch, lambda training: training.seed == 0 and training.step == 2, error)

    summary = execute(suite, only={"learning": "naive"}, how=how, observer=told)

    assert (summary.trained, summary.failed, summary.exit_code) == (1, 1, 3)
    assert ends(execute.store) == [("failed", Reason.OUT_OF_MEMORY), ("done", None)]
    assert told.failures == [(Reason.OUT_OF_MEMORY, "no room")]


def test_memory_that_the_host_refuses_is_told_as_such(
    suite: Suite, store: Store, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch raises a plain RuntimeError for it."""
    told = Told()
    take_step = Training.take_step

    def swell(training: Training) -> object:
        if training.seed == 0 and training.step == 2:
            torch.empty(2**50)
        return take_step(training)

    monkeypatch.setattr(Training, "take_step", swell)

    summary = execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert (summary.trained, summary.failed) == (1, 1)
    assert ends(store) == [("failed", Reason.OUT_OF_MEMORY), ("done", None)]
    assert "out of memory beside another run" in told.notes[0]


def test_a_run_that_lacks_memory_while_it_is_opened_beside_another_waits_as_well(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    prepared = Attempt._prepared

    def prepare(attempt: Attempt, images: object) -> object:
        if told.open:
            raise MemoryError("no room")
        return prepared(attempt, images)  # type: ignore[arg-type]

    monkeypatch.setattr(Attempt, "_prepared", prepare)

    summary = execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert (summary.trained, summary.failed) == (2, 0)
    assert told.notes == ["naive, seed 1 (smoke): out of memory beside another run; 1 at once from here on"]
    assert weights(store) == {name: expected[name] for name in weights(store)}


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[weakref.WeakSet[Training]]:
    """The trainings that are there, where no garbage is collected: they go once nothing refers to them."""
    found: weakref.WeakSet[Training] = weakref.WeakSet()
    begin = Training.__init__

    def init(training: Training, *arguments: Any, **options: Any) -> None:
        found.add(training)
        begin(training, *arguments, **options)

    monkeypatch.setattr(Training, "__init__", init)
    monkeypatch.setattr("ranbench.runner.batch.give_back_memory", lambda: None)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


@pytest.mark.parametrize(("at_once", "when"), [pytest.param(1, 3, marks=SLOW), (2, 6), pytest.param(3, 9, marks=SLOW)])
@pytest.mark.parametrize(
    "bytes_more",
    [pytest.param(2**50, id="lacking memory"), pytest.param(None, id="any other error", marks=SLOW)],
)
def test_a_run_whose_step_raised_is_gone_before_the_next_one_joins(
    suite: Suite,
    execute: Execute,
    alive: weakref.WeakSet[Training],
    monkeypatch: pytest.MonkeyPatch,
    *,
    at_once: int,
    when: int,
    bytes_more: int | None,
) -> None:
    """The error comes from within a step, whose frames hold the net, its activations and its gradients."""
    losses, loss, fill = [], torch.nn.functional.cross_entropy, Batch._fill
    left_over: list[int] = []

    def swelling(logits: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        losses.append(logits.requires_grad)
        if logits.requires_grad and sum(losses) == when:
            try:
                torch.empty(bytes_more or 1)
                raise RuntimeError("of another kind")
            except RuntimeError as error:
                raise ValueError("raised while another was handled") from error
        return loss(logits, *arguments, **options)

    def counted(batch: Batch, *arguments: Any) -> bool:
        left_over.append(len(alive) - len(batch.open))
        return fill(batch, *arguments)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", swelling)
    monkeypatch.setattr(Batch, "_fill", counted)

    summary = execute(suite, how=How(at_once=at_once, threads=1))

    waits = bytes_more is not None and at_once > 1
    assert (summary.trained, summary.failed) == ((4, 0) if waits else (3, 1))
    assert set(left_over) == {0}


def test_memory_of_the_host_is_given_back_before_a_run_that_lacked_it_is_tried_again(
    suite: Suite, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, given = Told(), []
    monkeypatch.setattr("ranbench.runner.batch.give_back_memory", lambda: given.append(list(told.order)))
    Lacking(monkeypatch, lambda training: training.step == 2 and len(told.open) > 1, MemoryError)

    execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert [[event for _, event in before] for before in given] == [["from 0", "from 0"]]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_run_that_takes_too_long_is_failed_with_its_line_and_the_suite_goes_on(
    suite: Suite, store: Store, execute: Execute, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    told = Told()
    open_it = Attempt.open

    def long_ago(attempt: Attempt, images: ImageSet) -> Training:
        training = open_it(attempt, images)
        attempt.opened -= 1000 * (attempt.spec.seed == 0)
        return training

    monkeypatch.setattr(Attempt, "open", long_ago)

    summary = execute(
        suite, only={"learning": "naive"}, how=How(at_once=at_once, threads=1, timeout=900.0), observer=told
    )

    (failed, _) = store.runs()
    assert (summary.trained, summary.failed, summary.exit_code) == (1, 1, 3)
    assert ends(store) == [("failed", Reason.TIMEOUT), ("done", None)]
    assert failed.latest is not None and failed.latest.step == 1
    ((reason, line),) = told.failures
    assert reason is Reason.TIMEOUT
    assert re.fullmatch(
        r"took 1\d\d\d s, longer than the 900 s of --timeout, up to iteration 1; "
        r"'ranbench run SUITE --rerun failed' with a longer one tries again",
        line,
    )
    assert failed.latest.error == line


def take_over(store: Store, spec: RunSpec) -> Claimed:
    """Claim a run as another process would that takes its owner for dead."""
    (record,) = store.runs([spec.fingerprint])
    assert record.latest is not None
    owner = replace(new_owner(), token="another")
    claimed = store.claim(
        spec,
        code_id=record.latest.code_id,
        environment=record.latest.environment,
        owner=owner,
        is_alive=lambda _owner, _heartbeat: False,
    )
    assert isinstance(claimed, Claimed)
    return claimed


def test_of_two_runs_one_is_taken_over_and_the_other_goes_on(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str]
) -> None:
    """The thief fails the run soon after; this process waits for that, and takes it for closed elsewhere."""
    stolen: list[Claimed] = []

    def steal(spec: RunSpec, step: int) -> None:
        if spec.seed == 0 and step == 3 and not stolen:
            stolen.append(take_over(store, spec))

    class Waits(Told):
        def waiting(self, count: int, whom: str) -> None:
            self.notes.append(f"waiting for {count}")
            store.fail(stolen[0].attempt_id, "another", Reason.ERROR, "gave up")

    told = Waits(steal)

    summary = execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert told.notes[:2] == ["naive, seed 0 (smoke): was taken over by another command", "waiting for 1"]
    assert ends(store) == [("failed", Reason.ERROR), ("done", None)]
    assert (summary.trained, summary.left, summary.exit_code) == (1, 0, 3)
    assert weights(store) == {name: expected[name] for name in weights(store)}
    assert len(weights(store)) == 1


def test_a_run_taken_over_as_a_stop_is_asked_for_does_not_keep_the_other_from_its_checkpoint(
    suite: Suite, store: Store, execute: Execute
) -> None:
    stop = Stop()

    def steal_and_stop(spec: RunSpec, step: int) -> None:
        if spec.seed == 0 and step == 3:
            take_over(store, spec)
            stop.request(signal.SIGTERM)

    told = Told(steal_and_stop)

    summary = execute(suite, only={"learning": "naive"}, how=TWO, observer=told, stop=stop)

    states = {record.seed: record.state for record in store.runs()}
    assert states == {0: "running", 1: "interrupted"}
    assert told.notes == ["naive, seed 0 (smoke): was taken over by another command"]
    assert summary.exit_code == 143


def test_no_heartbeat_outlives_its_run(suite: Suite, execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    Lacking(monkeypatch, lambda training: training.step == 1 and len(told.open) == 2, MemoryError)

    execute(suite, only={"learning": "naive"}, how=TWO, observer=told)

    assert [thread.name for thread in threading.enumerate() if thread.name in {"heartbeat", "training_0"}] == []


def test_a_resume_takes_the_recorded_path_and_threads_whatever_is_asked_for(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    only = {"learning": "naive"}
    execute(
        suite,
        only=only,
        how=TWO,
        observer=Told(lambda _spec, step: stop.request(signal.SIGINT) if step == 2 else None),
        stop=stop,
    )
    seen: list[tuple[str, int | None]] = []
    take_step = Training.take_step

    def look(training: Training) -> object:
        seen.append((str(training.path), training.threads))
        return take_step(training)

    monkeypatch.setattr(Training, "take_step", look)
    told = Told()

    execute(suite, only=only, how=How(at_once=1, threads=3, deterministic=True), observer=told)

    attempts = [record.attempts[0] for record in store.runs()]
    assert set(seen) == {("eager, channels_last", 1)}
    assert [(a.environment.engine_path, a.environment.threads) for a in attempts] == [("eager, channels_last", 1)] * 2
    assert not any(attempt.resumed_inexactly for attempt in attempts)
    assert told.notes == []
    assert weights(store) == {name: expected[name] for name in weights(store)}


def test_a_resume_that_cannot_keep_the_recorded_path_says_so_and_is_marked(
    suite: Suite, store: Store, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a run that began on a GPU."""
    from ranbench.runner import workplace as module

    stop = Stop()
    only = {"learning": "naive"}
    describe = module.describe

    def of_a_gpu(*arguments: object) -> object:
        found = describe(*arguments)  # type: ignore[arg-type]
        return replace(found, device="cuda", device_name="GPU", engine_path="graph, channels_last")

    monkeypatch.setattr(module, "describe", of_a_gpu)
    monkeypatch.setattr(module.Workplace, "environment_of", lambda self, _spec: self.environment)
    execute(
        suite,
        only=only,
        observer=Told(lambda _spec, step: stop.request(signal.SIGINT) if step == 2 else None),
        stop=stop,
    )
    monkeypatch.undo()
    torch.set_num_threads(1)
    told = Told()

    execute(suite, only=only, observer=told)

    first, second = (record.attempts[0] for record in store.runs())
    assert told.notes == [
        "naive, seed 0 (smoke): resumed inexactly: device, device_name, engine_path changed since it began"
    ]
    assert (first.resumed_inexactly, second.resumed_inexactly) == (True, False)
    assert {first.state, second.state} == {State.DONE}


def stopping_after(step: int) -> dict[str, Any]:
    """Options with which every run is left, with a checkpoint, once one has done so many steps."""
    stop = Stop()
    return {
        "observer": Told(lambda _spec, now: stop.request(signal.SIGINT) if now == step else None),
        "stop": stop,
    }


def starts(told: Told) -> list[str]:
    return [event for _, event in told.order if event.startswith("from")]


def test_two_databases_in_one_folder_do_not_take_each_others_checkpoints(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], tmp_path: Path
) -> None:
    """Their attempts have one fingerprint and one number."""
    alone, one, two = {"only": {"learning": "naive"}, "how": TWO}, Told(), Told()

    with Store.open(f"sqlite:///{tmp_path}/results/other.db") as other:
        there = Execute(other, tmp_path)
        execute(suite, **alone, **stopping_after(2))
        there(suite, **alone, **stopping_after(4))
        execute(suite, **alone, observer=one)
        there(suite, **alone, observer=two)
        found = weights(other)

    assert (starts(one), starts(two)) == (["from 2"] * 2, ["from 4"] * 2)
    assert one.notes + two.notes == []
    assert weights(store) == found == {name: expected[name] for name in found}
    assert list((tmp_path / "results" / "checkpoints").iterdir()) == []


def test_an_attempt_whose_checkpoints_have_an_older_name_goes_on_from_them(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], tmp_path: Path
) -> None:
    alone, told = {"only": {"learning": "naive"}, "how": TWO}, Told()
    execute(suite, **alone, **stopping_after(2))
    for folder in (tmp_path / "results" / "checkpoints").iterdir():
        folder.rename(folder.with_name(f"{folder.name[:16]}-1"))

    execute(suite, **alone, observer=told)

    assert (starts(told), told.notes) == (["from 2"] * 2, [])
    assert weights(store) == {name: expected[name] for name in weights(store)}
    assert list((tmp_path / "results" / "checkpoints").iterdir()) == []


def test_a_checkpoint_beyond_what_is_recorded_is_passed_over_in_one_line(
    suite: Suite, store: Store, execute: Execute, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the database was set back to an older copy."""
    monkeypatch.setattr(checkpoint, "FIRST_AFTER", 1e6)  # none but that of the stop, on a slow machine too
    alone, told = {"only": {"learning": "naive"}, "how": How(at_once=1, threads=1)}, Told()
    execute(suite, **alone, **stopping_after(4))
    attempt, seed_0 = store.runs()[0].attempts[0], suite.runs({"learning": "naive"})[0]
    store.forget_after(attempt.id, take_over(store, seed_0) and "another", 2)
    store.interrupt(attempt.id, "another")

    execute(suite, **alone, observer=told)

    assert starts(told) == ["from 0"] * 2
    assert [note.partition(": ")[2] for note in told.notes] == [
        "holds iteration 4, beyond the 2 that are recorded; training begins anew"
    ]
    assert weights(store) == {name: expected[name] for name in weights(store)}


@pytest.mark.parametrize(
    ("first", "second", "beside", "peak", "share"),
    [(1, 1, 1.0, 900.0, 900.0), (2, 1, 2.0, None, 450.0), (1, 2, 2.0, None, 900.0), (2, 2, 2.0, None, 450.0)],
)
def test_a_resumed_run_keeps_the_most_that_all_its_commands_took(  # noqa: PLR0917 - a row of the table
    suite: Suite,
    store: Store,
    execute: Execute,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    second: int,
    beside: float,
    peak: float | None,
    share: float,
) -> None:
    """The first command finds a peak of 900 bytes, the second one of 300."""
    only = {"learning": "naive"}
    for bytes_taken, at_once, options in ((900, first, stopping_after(2)), (300, second, {})):
        monkeypatch.setattr("ranbench.runner.attempt.peak_memory_bytes", lambda bytes_taken=bytes_taken: bytes_taken)
        monkeypatch.setattr(
            "ranbench.runner.attempt.peak_device_memory_bytes", lambda _device, bytes_taken=bytes_taken: bytes_taken
        )
        execute(suite, only=only, how=How(at_once=at_once, threads=1), **options)

    record = store.runs()[0]
    found = [metric(record, name) for name in ("runs_at_once", "peak_memory_bytes", "peak_device_memory_bytes")]
    assert record.attempts[0].resumes == 1
    assert found == [beside, peak, share]


def test_of_a_run_begun_by_a_version_that_kept_no_measurements_its_memory_is_not_known(
    suite: Suite, store: Store, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Checkpoints.write

    def as_before(checkpoints: Checkpoints, tensors: Any, values: dict[str, Any]) -> Path:
        return write(checkpoints, tensors, {name: value for name, value in values.items() if name != "measured"})

    with monkeypatch.context() as before:
        before.setattr(Checkpoints, "write", as_before)
        execute(suite, only={"learning": "naive"}, how=How(at_once=1, threads=1), **stopping_after(2))

    execute(suite, only={"learning": "naive"}, how=How(at_once=1, threads=1))

    resumed, fresh = store.runs()
    assert [metric(record, "runs_at_once") for record in (resumed, fresh)] == [1.0, 1.0]
    assert [metric(record, "peak_memory_bytes") is None for record in (resumed, fresh)] == [True, False]


MYNET = """\
from torch import nn


def tiny(shape, num_classes):
    channels, height, width = shape
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(channels * height * width, num_classes))
"""


def test_foreign_nets_are_trained_one_at_a_time_with_all_threads(
    tiny_suite: Path, store: Store, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They draw from generators that all threads of a process share."""
    (tiny_suite.parent / "mynet.py").write_text(MYNET)
    monkeypatch.chdir(tiny_suite.parent)
    text = (
        tiny_suite.read_text()
        .replace("model: attention-56, ", "")
        .replace("learning: [residual, naive]", "model: [mynet:tiny]")
    )
    tiny_suite.write_text(text[: text.index("claims:")])
    told = Told()
    torch.set_num_threads(4)

    try:
        execute(load_suite(tiny_suite), how=How(at_once=2, trust_imports=True), observer=told)
    finally:
        sys.modules.pop("mynet", None)

    assert [event for _, event in told.order] == ["from 0", "done"] * 2
    assert [metric(record, "runs_at_once") for record in store.runs()] == [1, 1]
    assert {record.counted.environment.engine_path for record in store.runs() if record.counted} == {
        "eager, contiguous"
    }
    assert [record.counted.environment.threads for record in store.runs() if record.counted] == [4, 4]


def test_progress_lines_of_two_open_runs_name_the_run(
    suite: Suite, execute: Execute, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ranbench.cli.progress.LINE_EVERY", 0.0)

    execute(suite, only={"learning": "naive"}, how=TWO, observer=Lines())
    together = capsys.readouterr().err.splitlines()
    execute(suite, only={"learning": "residual"}, how=How(at_once=1), observer=Lines())
    single = capsys.readouterr().err.splitlines()

    names = {line.split(":")[1].strip() for line in together if "images/s" in line and "iteration 2 of 6" in line}
    assert names == {"naive, seed 0 (smoke)", "naive, seed 1 (smoke)"}
    lines = [line for line in single if "images/s" in line]
    assert len(lines) == 12
    assert all(line.startswith("ranbench:   iteration ") for line in lines)
    begins = [line for line in together if "begins" in line]
    assert begins == [
        f"ranbench: [{place}/2] naive, seed {place - 1} (smoke): begins of 6 iterations" for place in (1, 2)
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="RUNS ON A GPU NOT TESTED: no CUDA device")
def test_on_a_gpu_a_suite_with_noise_takes_as_many_runs_at_once_as_fit_and_gives_the_bits_of_one_by_one(
    tiny_suite: Path, store: Store, execute: Execute, tmp_path: Path
) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("dataset: digits}", "dataset: digits, noise: 0.5}", 1))
    suite = load_suite(tiny_suite)

    summary = execute(suite, device="cuda", how=How(deterministic=True))

    with Store.open(f"sqlite:///{tmp_path}/single/ranbench.db") as single:
        run(suite, single, results=tmp_path / "single", device="cuda", how=How(deterministic=True, at_once=1))
        expected = weights(single)
    attempts = [record.counted for record in store.runs() if record.counted]
    assert (summary.trained, summary.exit_code) == (4, 0)
    assert {attempt.environment.engine_path for attempt in attempts} == {"graph, channels_last, deterministic"}
    assert max(attempt.metrics["runs_at_once"] for attempt in attempts) > 1
    assert weights(store) == expected


Command = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def command(tiny_suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs 'ranbench run' on the suite in its folder, on a machine that shows no GPU; gives exit code and lines."""
    monkeypatch.chdir(tiny_suite.parent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def call(*options: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["ranbench", "run", str(tiny_suite), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert printed.out == ""
        return int(ended.value.code or 0), printed.err.splitlines()

    return call


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--at-once", "0"), 2, "--at-once 0: must be 1 or more"),
        (("--threads", "0"), 2, "--threads 0: must be 1 or more"),
        (("--threads", "9"), 2, "--threads 9: this machine has 2 cores; at most 4 times as many are allowed"),
        (("--at-once", "33"), 2, "--at-once 33: this machine has 2 cores; at most 16 times as many are allowed"),
        (
            ("--timeout", "soon"),
            2,
            "--timeout 'soon': expected a time above zero with its unit, for instance 45s, 90m or 4h",
        ),
        (("--timeout", "0s"), 2, "--timeout '0s': expected a time above zero"),
        (("--jobs", "0"), 2, "--jobs 0: must be 1 or more"),
        (("--jobs", "9"), 2, "--jobs 9: this machine has 2 cores; at most 4 times as many are allowed"),
        (("--executor", "lokal"), 2, "--executor 'lokal': not known; did you mean 'local'? (allowed: local"),
        (("--retries", "-1"), 2, "--retries -1: must be 0 or more"),
        (("--retries", "2"), 2, "--retries 2: only with workers (--jobs 2 or more, or --executor)"),
        (("--budget", "4"), 2, "--budget '4': expected a time above zero with its unit, for instance 45s, 90m or 4h"),
        (("--path", "graphs"), 2, "--path 'graphs': not known; did you mean 'graph'? (allowed: auto, eager, graph, "),
        (
            ("--path", "graph"),
            7,
            "--path graph: CUDA graphs need a CUDA device; use --path auto, eager or compiled",
        ),
        (("--device", "cuda"), 7, "--device cuda: this machine has no usable CUDA device; use --device cpu or auto"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_refused_in_one_line_before_a_database_is_made(
    command: Command, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    found, lines = command(*options)

    assert (found, len(lines)) == (code, 1)
    assert lines[0].startswith(f"ranbench: {said}")
    assert not Path("results").exists()


def test_a_precision_that_the_device_has_not_is_refused_before_a_database_is_made(
    command: Command, tiny_suite: Path
) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("precision: float32", "precision: tf32"))

    found, lines = command("--device", "cpu")

    assert (found, lines) == (
        7,
        ["ranbench: precision tf32: only CUDA devices have it; use --device cuda, or a protocol of precision float32"],
    )
    assert not Path("results").exists()


@pytest.fixture
def no_compiler() -> Iterator[None]:
    """A machine on which torch finds no C++ compiler."""
    from torch._inductor import config
    from torch._inductor.cpp_builder import cpp_compiler_search

    compiler_fault.cache_clear()
    cpp_compiler_search.cache_clear()
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        yield
    compiler_fault.cache_clear()
    cpp_compiler_search.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_a_machine_without_a_compiler_is_told_once_before_anything_is_recorded(
    command: Command, tmp_path: Path
) -> None:
    said = r"ranbench: --path compiled: nothing can be compiled on this machine \(.*compiler.*\); install a C\+\+ .*"

    first = command("--path", "compiled")
    made = (tmp_path / "results").exists()
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db") as store:
        second = command("--path", "compiled")

        assert (store.runs(), store.suites()) == ([], [])
    assert not made
    for found, lines in (first, second):
        assert (found, len(lines)) == (7, 1)
        assert re.fullmatch(said, lines[0])


@pytest.mark.usefixtures("no_compiler")
def test_an_attempt_begun_compiled_goes_on_another_way_where_there_is_no_compiler(
    suite: Suite, store: Store, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, one = Told(), suite.runs({"learning": "naive"})[0]
    here = describe(torch.device("cpu"), 1, "compiled, channels_last")
    claimed = store.claim(one, code_id=code_id(), environment=here, owner=new_owner(), is_alive=lambda *_: True)
    assert isinstance(claimed, Claimed)
    paths: list[str] = []
    take_step = Training.take_step

    def look(training: Training) -> object:
        paths.append(str(training.path))
        return take_step(training)

    monkeypatch.setattr("ranbench.runner.workplace.is_alive", lambda *_: False)
    monkeypatch.setattr(Training, "take_step", look)

    execute(suite, only={"learning": "naive"}, observer=told)

    assert store.runs()[0].attempts[0].resumes == 1
    assert [state for state, _ in ends(store)] == ["done", "done"]
    assert set(paths) == {"eager, channels_last"}


LACKING_HOST_MEMORY = [
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes"),
]


@pytest.mark.parametrize("error", LACKING_HOST_MEMORY, ids=lambda error: type(error).__name__)
def test_lack_of_memory_for_a_dataset_is_one_line_and_nothing_is_recorded(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def swell(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ranbench.runner.loading.load", swell)

    found, (line,) = command()

    assert found == 7
    assert line.startswith("ranbench: dataset 'digits': not enough memory to load it (")
    assert line.endswith("); free some and repeat the command")
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db") as store:
        assert (store.runs(), store.suites()) == ([], [])


@pytest.mark.parametrize("error", [RuntimeError("a fault"), OSError(2, "No such file")])
def test_any_other_error_of_a_dataset_stays_what_it_is(
    suite: Suite, execute: Execute, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ranbench.runner.loading.load", fail)

    with pytest.raises(type(error)) as raised:
        execute(suite)

    assert raised.value is error


def test_a_path_that_this_machine_has_not_is_refused_where_there_is_a_database_too(
    command: Command, tmp_path: Path
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db") as store:
        found, lines = command("--path", "graph")

        assert (found, store.runs(), store.suites()) == (7, [], [])
    assert lines == ["ranbench: --path graph: CUDA graphs need a CUDA device; use --path auto, eager or compiled"]


def test_options_reach_the_runs_and_the_records(command: Command, tmp_path: Path) -> None:
    options = ("--at-once", "2", "--threads", "1", "--deterministic", "--path", "eager", "--timeout", "2h")

    code, lines = command("--only", "learning=naive", *options)

    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db") as store:
        attempts = [record.counted for record in store.runs(suite="tiny") if record.counted]
    assert code == 0, lines
    environments = {(attempt.environment.engine_path, attempt.environment.threads) for attempt in attempts}
    assert environments == {("eager, channels_last, deterministic", 1)}
    assert [attempt.metrics["runs_at_once"] for attempt in attempts] == [2.0] * 2


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45.0), ("1.5m", 90.0), ("4h", 14_400.0)])
def test_a_time_has_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert seconds_of("--timeout", text) == seconds
