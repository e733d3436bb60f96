"""Runs shared out to worker processes: the same numbers, whoever dies on the way, and no run harmed by another."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import PRELOADED

from ranbench.environment import is_alive
from ranbench.execution import pool
from ranbench.records import Reason, RunRecord
from ranbench.runner import Dispatch, How, Observer, Summary, driving, run
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


def hangs(shape, num_classes):
    return Net(shape, num_classes, lambda: time.sleep(600))


def takes_all_memory(shape, num_classes):
    return Net(shape, num_classes, lambda: torch.empty(1 << 60))


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

Execute = Callable[..., Summary]


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
    monkeypatch.setattr(driving, "GRACE_SECONDS", 2.0)
    suite = faults("crashes", "hangs", "takes_all_memory", "good", "dies_once", seeds=2)

    summary = execute(suite, timeout=5.0)

    assert (summary.trained, summary.failed, summary.left, summary.exit_code) == (4, 6, 0, 3)
    attempts = {(record.spec["model"]["name"].split(":")[-1], record.seed): record.attempts for record in store.runs()}
    assert {len(each) for each in attempts.values()} == {1}
    reasons = {key: each[0].reason for key, each in attempts.items()}
    wanted = {
        "crashes": Reason.ERROR,
        "hangs": Reason.TIMEOUT,
        "takes_all_memory": Reason.OUT_OF_MEMORY,
        "good": None,
        "dies_once": None,
    }
    assert reasons == {(net, seed): reason for net, reason in wanted.items() for seed in (0, 1)}
    crash = attempts["crashes", 0][0].error or ""
    assert "killed by SIGSEGV (a crash in native code)" in crash
    assert "for the second time" in crash
    assert "string_at" in crash
    assert "did not answer" in (attempts["hangs", 0][0].error or "")
    whole(tmp_path / "results")
