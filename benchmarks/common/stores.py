"""Databases with finished runs, written through the store as the runner writes them, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ranbench.environment import code_id, describe, is_alive, new_owner
from ranbench.records import METRICS, MetricPoint
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store
from ranbench.suite import Suite, load_suite

NETS = ("attention-56", "attention-92", "attention-128", "attention-164", "attention-236")
CELLS = 2 * len(NETS)

_SUITE = """\
# A suite of many runs, to be timed.
name: many-{runs}
title: Many runs
reference: cifar-paper
protocol: cifar-paper
seeds: {seeds}
cells:
  fixed: {{dataset: cifar10}}
  matrix:
    model: [{nets}]
    learning: [residual, naive]
"""


def file_of_runs(folder: Path, runs: int) -> Path:
    """Write a suite of ``runs`` runs (a multiple of ``CELLS``); return its file."""
    file = folder / f"many-{runs}.yaml"
    file.write_text(_SUITE.format(runs=runs, seeds=runs // CELLS, nets=", ".join(NETS)), encoding="utf-8")
    return file


def many_runs(folder: Path, runs: int) -> Suite:
    """Return such a suite."""
    return load_suite(file_of_runs(folder, runs))


def database(folder: Path) -> str:
    """Return the URL of a database in the folder."""
    return f"sqlite:///{folder / 'bench.db'}"


class Writer:
    """One process that owns attempts in a store."""

    def __init__(self, store: Store):
        self.store, self.owner = store, new_owner()
        self.environment = describe(torch.device("cpu"), torch.get_num_threads(), "none, written by a benchmark")

    def claim(self, spec: RunSpec) -> int:
        """Open an attempt; return its id."""
        found = self.store.claim(
            spec, code_id=code_id(), environment=self.environment, owner=self.owner, is_alive=is_alive
        )
        assert isinstance(found, Claimed)
        return found.attempt_id

    def append(self, attempt: int, points: Sequence[MetricPoint], step: int) -> None:
        """Record points, as the runner does it."""
        self.store.append(attempt, self.owner.token, points, step)

    def finish(self, attempt: int) -> None:
        """Close the attempt with a value for every final metric."""
        finals = {name: 1.0 for name, metric in METRICS.items() if "series" not in metric.meaning}
        self.store.finish(attempt, self.owner.token, finals)


def finished(folder: Path, suite: Suite, points: int) -> str:
    """Make a database in which every run of the suite is done, with a series of ``points`` points; return its URL."""
    url = database(folder)
    with Store.open(url) as store:
        store.record_suite(suite.name, suite.title, suite.text, suite.sha256, suite.runs())
        writer = Writer(store)
        for spec in suite.runs():
            attempt = writer.claim(spec)
            writer.append(attempt, series(points), points)
            writer.finish(attempt)
    return url


def series(points: int) -> list[MetricPoint]:
    """Make a series."""
    return [MetricPoint("train_loss", step, 1.0 / step) for step in range(1, points + 1)]
