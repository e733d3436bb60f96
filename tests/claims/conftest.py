"""Suites and finished runs for claims, as small as they can be."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from ranbench.records import Attempt, Environment, Reason, RunRecord, State
from ranbench.suite import load_suite

HEAD = """
name: small
title: A small suite
reference: digits
protocol: digits
seeds: 5
datasets: {digits: {train: 1437, test: 360}}
cells:
  fixed: {dataset: digits}
  matrix: {model: [attention-56, attention-164], learning: [residual, naive]}
published:
  - {cell: {model: attention-56, learning: naive}, metric: error_pct, value: 6.0, unit: percent, where: table 1}
claims:
"""

BETTER = """
  - id: residual-wins
    kind: better
    a: {model: attention-164, learning: residual}
    b: {model: attention-164, learning: naive}
    metric: error_pct
    min_effect: 0.5
"""

DEPTH = """
  - id: depth-hurts
    kind: better
    a: {model: attention-56, learning: naive}
    b: {model: attention-164, learning: naive}
    metric: error_pct
"""

VALUE = """
  - id: naive-56
    kind: value
    cell: {model: attention-56, learning: naive}
    metric: error_pct
    margin: 1.0
"""

SCALED = """
iterations: 100
batch: 64
schedule: {kind: one-cycle, lr: 0.1, rise: 0.3, start: 0.04, end: 0.0}
optimizer: {momentum: 0.9, nesterov: true, weight_decay: 1e-4}
augmentation: {mean: image, pad: 0, flip: false}
evaluation: {every: 20}
initialisation: he-fan-in
precision: float32
"""

RESIDUAL_164, NAIVE_164, RESIDUAL_56, NAIVE_56 = (
    {"model": model, "learning": learning}
    for model in ("attention-164", "attention-56")
    for learning in ("residual", "naive")
)

ENVIRONMENT = Environment(
    device="cpu", device_name="cpu", cpu="cpu", cores=2, memory_bytes=1, threads=1, engine_path="eager", python="3",
    platform="linux", versions={}, commit=None, dirty=False, patch=None, host="host", user="user", command="",
)  # fmt: skip
NOW = datetime(2025, 1, 1, tzinfo=UTC)
IDS = itertools.count(1)


@pytest.fixture
def suite_of(tmp_path):
    """Load a suite with the given claims."""

    def load(*claims, protocol=None, seeds=None, head=HEAD):
        (tmp_path / "protocols").mkdir(exist_ok=True)
        (tmp_path / "protocols" / "short.yaml").write_text(SCALED)
        file = tmp_path / "small.yaml"
        file.write_text(head + "".join(claims))
        return load_suite(file, protocol=protocol, seeds=seeds)

    return load


def attempt(state=State.DONE, **metrics):
    reason = Reason.DIVERGED if state is State.FAILED else None
    return Attempt(
        id=next(IDS), fingerprint="f", number=1, state=state, reason=reason, error=None, code_id="c", step=157,
        iterations=157, resumes=0, resumed_inexactly=False, started=NOW, updated=NOW, ended=NOW, owner=None,
        environment=ENVIRONMENT, metrics=metrics,
    )  # fmt: skip


def record(suite, axes, seed, *attempts):
    """A run of the cell with these axes under the suite's protocol."""
    [cell] = [cell for cell in suite.cells if cell.matches(axes)]
    spec = cell.run(suite.protocol, seed)
    return RunRecord(spec.fingerprint, spec.cell_id, seed, spec.model_dump(mode="json"), attempts)


def done(suite, axes, values):
    """Finished runs of seeds 0, 1, ... with these test errors."""
    return [record(suite, axes, seed, attempt(error_pct=value)) for seed, value in enumerate(values)]


LOW = (1.0, 1.5, 2.0, 2.5, 3.0)  # mean 2, sd 0.790569, se 0.353553
HIGH = (5.0, 5.5, 6.0, 6.5, 7.0)  # mean 6, the same spread; against LOW: effect 4, se 0.5, 8 degrees of freedom
