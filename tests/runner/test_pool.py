"""Runs shared out to worker processes: the same numbers, whoever dies on the way, and no run harmed by another."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from command import PRELOADED
from postgres import Cluster

from ranbench.environment import is_alive
from ranbench.errors import DataError, SpecError, StoreError
from ranbench.execution import Stop, pool
from ranbench.records import Reason, RunRecord
from ranbench.runner import Dispatch, How, Observer, Summary, apart, losses, run
from ranbench.runner.checking import outcome
from ranbench.runner.comparison import compare
from ranbench.store import Store
from ranbench.store.audit import audit
from ranbench.suite import Suite, load_suite

# Nets with a fault, which comes at the third step of a training.
FAULTS = """\
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self, shape, num_classes, fault=lambda: None):
        channels, height, width = shape
        super().__init__(nn.Flatten(), nn.Linear(channels * height * width, num_classes))
        self.fault, self.steps = fault, 0

    def forward(self, x):
        self.steps += self.training
        if self.steps == 3:
            self.fault()
        return super().forward(x)


def once(name, act):
    marker = Path(name)

    def fault():
        if not marker.exists():
            marker.touch()
            act()

    return fault


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def good(shape, num_classes):
    return Net(shape, num_classes)


def dies_once(shape, num_classes):
    return Net(shape, num_classes, once("died", kill))


def crashes(shape, num_classes):
    return Net(shape, num_classes, lambda: ctypes.string_at(0))


def leaves(shape, num_classes):
    return Net(shape, num_classes, lambda: sys.exit(0))


def hangs(shape, num_classes):
    return Net(shape, num_classes, lambda: time.sleep(600))


def takes_all_memory(shape, num_classes):
    return Net(shape, num_classes, lambda: torch.empty(1 << 60))


def slow(shape, num_classes):
    if "--jobs" in sys.argv:  # in a worker of the command: with many checkpoints
        from ranbench.training import checkpoint

        checkpoint.FIRST_AFTER, checkpoint.APART, checkpoint.SHARE = 0.05, 0.05, 0.9
    net = Net(shape, num_classes)
    net.register_forward_pre_hook(lambda *_: time.sleep(0.03 * net.training))
    return net


def crashes_when_built(shape, num_classes):
    ctypes.string_at(0)


def hangs_when_built(shape, num_classes):
    time.sleep(600)


def breaks_the_device(shape, num_classes):
    def fault():
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    return Net(shape, num_classes, once("broken", fault))
"""

SUITE = """\
name: faults
title: Nets with faults
reference: tiny
protocol: tiny
seeds: {seeds}
datasets:
  digits: {{train: 200, test: 100}}
cells:
  fixed: {{dataset: digits}}
  matrix:
    model: [{models}]
"""

# The facts of a dataset of one's own, as a suite has them.
OWN = f"""images:make:
    checksum: sha256:{64 * "0"}
    form: digits
    shape: [1, 8, 8]
    classes: 2
    train: 4
    test: 4"""

Execute = Callable[..., Summary]

LIMIT_S = 600.0
ITERATIONS = 60


class Told(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def faults(
    tmp_path: Path, tiny_texts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Suite]]:
    """Makes a suite of nets with faults, in the current folder; workers are forked from one that has the libraries."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    monkeypatch.setattr(pool, "START", "forkserver")
    (tmp_path / "faults.py").write_text(FAULTS)
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    monkeypatch.chdir(tmp_path)

    def make(*models: str, seeds: int = 1) -> Suite:
        file = tmp_path / "faults.yaml"
        file.write_text(SUITE.format(seeds=seeds, models=", ".join(f'"faults:{model}"' for model in models)))
        return load_suite(file)

    yield make
    sys.modules.pop("faults", None)


@pytest.fixture
def execute(tmp_path: Path, store: Store) -> Execute:
    """Runs a suite on two workers."""

    def call(suite: Suite, dispatch: Dispatch | None = None, **more: object) -> Summary:
        how = How(threads=1, trust_imports=True, timeout=more.pop("timeout", None))  # type: ignore[arg-type]
        chosen = dispatch or Dispatch(jobs=2)
        return run(suite, store, results=tmp_path / "results", device="cpu", how=how, dispatch=chosen, **more)  # type: ignore[arg-type]

    return call


def by_net(store: Store) -> dict[str, RunRecord]:
    return {record.spec["model"]["name"].split(":")[-1]: record for record in store.runs()}


def whole(results: Path) -> None:
    """See that the database holds nothing that may not be."""
    found = audit(f"sqlite:///{results}/ranbench.db", results, is_alive)
    assert [each for each in found if each.level == "fault"] == []


def test_a_worker_that_is_killed_costs_time_and_no_number(
    faults: Callable[..., Suite], execute: Execute, store: Store, tmp_path: Path
) -> None:
    told = Told()
    suite = faults("good", "dies_once")

    summary = execute(suite, observer=told)

    assert (summary.trained, summary.failed, summary.left, summary.exit_code) == (2, 0, 0, 0)
    records = by_net(store)
    assert [len(record.attempts) for record in records.values()] == [1, 1]
    died = records["dies_once"].counted
    assert died is not None
    assert died.resumes == 1
    assert died.error is not None
    assert "its worker process was killed by SIGKILL" in died.error
    assert [note for note in told.notes if "SIGKILL" in note and "it is tried again alone" in note]
    whole(tmp_path / "results")
    with Store.open(f"sqlite:///{tmp_path}/undisturbed/ranbench.db") as other:
        how = How(threads=1, trust_imports=True)
        run(suite, other, results=tmp_path / "undisturbed", device="cpu", how=how)
        for net, record in by_net(other).items():
            mine = records[net].counted
            assert record.counted is not None
            assert mine is not None
            assert compare(outcome(other, record.counted), outcome(store, mine)).answer == "identical"


@pytest.mark.slow
def test_what_one_run_does_harms_no_other(
    faults: Callable[..., Suite],
    execute: Execute,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(losses, "GRACE_SECONDS", 2.0)
    suite = faults("crashes", "hangs", "takes_all_memory", "good", "dies_once", "breaks_the_device", seeds=2)

    summary = execute(suite, timeout=5.0)

    assert (summary.trained, summary.failed, summary.left, summary.exit_code) == (6, 6, 0, 3)
    attempts = {(record.spec["model"]["name"].split(":")[-1], record.seed): record.attempts for record in store.runs()}
    assert {len(each) for each in attempts.values()} == {1}
    reasons = {key: each[0].reason for key, each in attempts.items()}
    wanted = {
        "crashes": Reason.ERROR,
        "hangs": Reason.TIMEOUT,
        "takes_all_memory": Reason.OUT_OF_MEMORY,
        "good": None,
        "dies_once": None,
        "breaks_the_device": None,
    }
    assert reasons == {(net, seed): reason for net, reason in wanted.items() for seed in (0, 1)}
    crash = attempts["crashes", 0][0].error or ""
    assert "killed by SIGSEGV (a crash in native code)" in crash
    assert "for the second time" in crash
    assert "string_at" in crash
    broken = [attempts["breaks_the_device", seed][0] for seed in (0, 1)]
    assert [attempt.resumes for attempt in broken if "illegal memory access" in (attempt.error or "")] == [1]
    hung = attempts["hangs", 0][0].error or ""
    assert "did not answer" in hung
    assert "its worker process was ended by this command" in hung
    whole(tmp_path / "results")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_net_that_ends_the_program_is_a_failed_run_and_ends_nothing(
    jobs: int, faults: Callable[..., Suite], execute: Execute, store: Store
) -> None:
    summary = execute(faults("leaves", "good"), Dispatch(jobs=jobs))

    assert (summary.trained, summary.failed, summary.exit_code) == (1, 1, 3)
    left = by_net(store)["leaves"].latest
    assert left is not None
    assert (left.state, left.reason, left.resumes) == ("failed", Reason.ERROR, 0)
    assert "the code of the net called sys.exit(0)" in (left.error or "")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls apart take five seconds at most."""
    monkeypatch.setattr(apart, "CALL_SECONDS", 5.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("net", "said"),
    [
        ("crashes_when_built", "the call failed: its worker process was killed by SIGSEGV (a crash in native code)"),
        ("hangs_when_built", "the call took more than 5 seconds, and was ended"),
    ],
)
@pytest.mark.slow
def test_a_net_that_cannot_be_built_is_refused_before_anything_is_recorded_however_it_ends(
    net: str, said: str, faults: Callable[..., Suite], execute: Execute, store: Store
) -> None:
    with pytest.raises(SpecError, match=re.escape(f"model 'faults:{net}': {said}")):
        execute(faults("good", net))

    assert store.runs() == []


@pytest.mark.slow
def test_a_dataset_whose_making_crashes_is_refused_before_anything_is_recorded(
    faults: Callable[..., Suite], execute: Execute, store: Store, tmp_path: Path
) -> None:
    suite = faults("good")
    (tmp_path / "images.py").write_text("import ctypes\n\n\ndef make(folder):\n    ctypes.string_at(0)\n")
    text = suite.text.replace("digits: {train: 200, test: 100}", OWN).replace("dataset: digits", "dataset: images:make")
    (tmp_path / "faults.yaml").write_text(text)

    with pytest.raises(DataError, match="dataset 'images:make': the call failed: its worker process was killed by SIG"):
        execute(load_suite(tmp_path / "faults.yaml"))

    assert store.runs() == []


def test_a_signal_while_a_net_is_built_ends_with_nothing_in_hand(
    faults: Callable[..., Suite], execute: Execute, store: Store
) -> None:
    stop = Stop()
    timer = threading.Timer(5.0, stop.request, [signal.SIGTERM])
    timer.start()

    summary = execute(faults("hangs_when_built", "good"), stop=stop)

    assert (summary.left, summary.exit_code) == (2, 143)
    assert store.runs() == []


class Command:
    """'ranbench run --jobs 2' in a process of its own, on four runs of some seconds each."""

    def __init__(self, folder: Path, url: str):
        options = ["--jobs", "2", "--threads", "1", "--device", "cpu", "--trust-imports", "--db", url]
        self.url = url
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ranbench", "run", "faults.yaml", *options],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def workers(self) -> list[psutil.Process]:
        """The worker processes that are there."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in found if any("spawn_main" in word for word in each.cmdline())]

    def until_at_work(self) -> list[psutil.Process]:
        """Wait until two runs have come some way; return the workers."""
        end = time.monotonic() + LIMIT_S
        while True:
            assert time.monotonic() < end
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
            if not Store.exists(self.url):
                continue
            with suppress(StoreError), Store.open(self.url, create=False) as store:
                running = [record.latest for record in store.runs() if record.state == "running"]
                if len([attempt for attempt in running if attempt and attempt.step > 5]) == 2:
                    return self.workers()

    def end(self) -> tuple[int, str]:
        """Wait for the end; exit code and what it said."""
        said = self.process.communicate(timeout=LIMIT_S)[1]
        return self.process.returncode, said


def gone(processes: list[psutil.Process]) -> None:
    """Wait until no process is left."""
    assert psutil.wait_procs(processes, timeout=60.0)[1] == []


@pytest.fixture
def start(faults: Callable[..., Suite], tmp_path: Path) -> Iterator[Callable[[], Command]]:
    """Starts the command; none outlives the test."""
    faults("slow", seeds=4)
    protocol = tmp_path / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("iterations: 6", f"iterations: {ITERATIONS}"))
    started: list[Command] = []

    def call(url: str | None = None) -> Command:
        started.append(Command(tmp_path, url or f"sqlite:///{tmp_path}/results/ranbench.db"))
        return started[-1]

    yield call
    for command in started:
        if command.process.poll() is None:
            for worker in [*command.workers(), psutil.Process(command.process.pid)]:
                worker.kill()
        command.process.communicate()


def equal_to_undisturbed(folder: Path, url: str) -> list[int]:
    """See that every run was done in one attempt, with the bits of a run in one process; return how often resumed."""
    suite, how = load_suite(folder / "faults.yaml"), How(threads=1, trust_imports=True)
    with Store.open(url, create=False) as store, Store.open(f"sqlite:///{folder}/alone/ranbench.db") as alone:
        run(suite, alone, results=folder / "alone", device="cpu", how=how)
        wanted = {record.fingerprint: record.counted for record in alone.runs()}
        records = store.runs()
        assert [(record.state, len(record.attempts)) for record in records] == [("done", 1)] * 4
        for record in records:
            mine, other = record.counted, wanted[record.fingerprint]
            assert mine is not None
            assert other is not None
            assert compare(outcome(alone, other), outcome(store, mine)).answer == "identical"
        return [record.attempts[0].resumes for record in records]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["worker", "command"])
def test_after_kill_9_the_same_command_does_every_run_once_with_the_same_bits(
    start: Callable[..., Command], tmp_path: Path, which: str
) -> None:
    command = start()
    workers = command.until_at_work()

    victim = workers[0] if which == "worker" else psutil.Process(command.process.pid)
    victim.kill()

    code, said = command.end()
    if which == "command":
        assert code == -signal.SIGKILL
        gone(workers)
        command = start()
        code, said = command.end()
    assert code == 0, said
    whole(tmp_path / "results")
    assert sum(equal_to_undisturbed(tmp_path, command.url)) == (1 if which == "worker" else 2)
    assert not list((tmp_path / "results").glob("checkpoints/*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_ctrl_c_leaves_every_run_to_be_gone_on_with_and_no_process(
    start: Callable[..., Command], tmp_path: Path, times: int
) -> None:
    command = start()
    workers = command.until_at_work()

    for _ in range(times):
        command.process.send_signal(signal.SIGINT)
        time.sleep(0.05)

    code, said = command.end()
    assert code == 130, said
    assert ("stopped at once; the same command goes on from the last checkpoints" in said) == (times == 2)
    gone(workers)
    with Store.open(command.url, create=False) as store:
        assert sorted(record.state for record in store.runs()) == ["interrupted"] * 2 + ["planned"] * 2
    code, said = start().end()
    assert code == 0, said
    assert sum(equal_to_undisturbed(tmp_path, command.url)) == 2


@pytest.mark.slow
def test_a_server_that_is_stopped_and_started_again_costs_nothing(
    start: Callable[..., Command], tmp_path: Path, postgres: Cluster
) -> None:
    with postgres.database("TEMPLATE migrated") as url:
        command = start(url)
        command.until_at_work()

        postgres.stop()
        time.sleep(3.0)
        assert command.process.poll() is None
        postgres.start()

        code, said = command.end()
        assert code == 0, said
        assert equal_to_undisturbed(tmp_path, url) == [0] * 4
