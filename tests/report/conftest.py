"""Suites, records and series made by hand, as small as a report allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ranbench.records import Attempt, Environment, Reason, RunRecord, State
from ranbench.spec import RunSpec
from ranbench.suite import Suite, load_suite

PROTOCOL = """\
iterations: 40
batch: 64
schedule: {kind: one-cycle, lr: 0.1, rise: 0.3, start: 0.04, end: 0.0}
optimizer: {momentum: 0.9, nesterov: true, weight_decay: 1e-4}
augmentation: {mean: image, pad: 0, flip: false}
evaluation: {every: 20}
initialisation: he-fan-in
precision: float32
"""

SUITE = """\
name: small
title: A small suite
paper: {arxiv: "1704.06904", table: 3}
reference: short
protocol: short
seeds: 3
datasets: {digits: {train: 1437, test: 360}}
cells:
  fixed: {dataset: digits}
  matrix: {model: [attention-56, attention-92], learning: [residual, naive]}
published:
  - {cell: {model: attention-56, learning: residual}, metric: error_pct, value: 5.52, unit: percent, where: table 3}
  - {cell: {model: attention-56, learning: naive}, metric: error_pct, value: 5.89, unit: percent, where: table 3}
deviations:
  - {id: net, text: two stages in place of three, cell: {model: attention-92}}
  - {id: dataset, text: digits in place of CIFAR-10}
"""

CLAIM = """\
claims:
  - {id: helps, kind: better, a: {model: attention-56, learning: residual},
     b: {model: attention-56, learning: naive}, metric: error_pct}
"""

ENVIRONMENT = Environment(
    device="cpu",
    device_name="A CPU",
    cpu="A CPU",
    cores=2,
    memory_bytes=8 * 2**30,
    threads=2,
    engine_path="eager",
    python="3.11.7",
    platform="Linux-x86_64",
    versions={"torch": "2.11.0", "numpy": "2.0.0"},
    commit="0123456789abcdef",
    dirty=True,
    patch="secret patch",
    host="secret-host",
    user="secret-user",
    command="secret command",
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Series = dict[tuple[int, str], tuple[list[int], list[float]]]
Load = Callable[..., Suite]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load suite text, with the protocol ``short`` (40 iterations, more than one pass) and ``brief`` beside it."""

    def from_text(text: str = SUITE, *, protocol: str | None = None) -> Suite:
        (tmp_path / "protocols").mkdir(exist_ok=True)
        (tmp_path / "protocols" / "short.yaml").write_text(PROTOCOL)
        (tmp_path / "protocols" / "brief.yaml").write_text(PROTOCOL.replace("iterations: 40", "iterations: 30"))
        (tmp_path / "small.yaml").write_text(text)
        return load_suite(tmp_path / "small.yaml", protocol=protocol)

    return from_text


@dataclass
class Recorder:
    """Makes records of runs, attempts numbered as they come, with a test-error series for each done one."""

    records: list[RunRecord] = field(default_factory=list)
    series: Series = field(default_factory=dict)
    count: int = 0

    def done(self, spec: RunSpec, error_pct: float, **changes: object) -> RunRecord:
        """Add a done run."""
        metrics = {
            "error_pct": error_pct,
            "best_error_pct": error_pct - 0.25,
            "train_seconds": 20.0 + spec.seed,
            "images_per_s": 128.0,
            "peak_memory_bytes": 400.0 * 2**20,
        }
        record = self.add(spec, State.DONE, metrics=metrics, **changes)
        self.series[self.count, "test_error_pct"] = ([20, 40], [50.0 + spec.seed, error_pct])
        return record

    def failed(self, spec: RunSpec, error: str, reason: Reason = Reason.DIVERGED) -> RunRecord:
        """Add a failed run."""
        return self.add(spec, State.FAILED, reason=reason, error=error)

    def add(self, spec: RunSpec, state: State, **changes: object) -> RunRecord:
        """Add a run in any state; ``changes`` go into its only attempt."""
        record = RunRecord(
            spec.fingerprint,
            spec.cell_id,
            spec.seed,
            spec.model_dump(mode="json"),
            (self.attempt(spec, state, **changes),),
        )
        self.records.append(record)
        return record

    def attempt(self, spec: RunSpec, state: State, **changes: object) -> Attempt:
        """Make the next attempt."""
        self.count += 1
        values: Mapping[str, object] = {
            "id": self.count,
            "fingerprint": spec.fingerprint,
            "number": 1,
            "state": state,
            "reason": None,
            "error": None,
            "code_id": "c0de" * 16,
            "step": 12 if state is not State.DONE else spec.protocol.iterations,
            "iterations": spec.protocol.iterations,
            "resumes": 0,
            "resumed_inexactly": False,
            "started": NOW,
            "updated": NOW,
            "ended": NOW,
            "owner": None,
            "environment": ENVIRONMENT,
            "metrics": {},
            **changes,
        }
        return Attempt(**values)  # type: ignore[arg-type]


@pytest.fixture
def recorder() -> Recorder:
    """An empty recorder."""
    return Recorder()


@pytest.fixture
def mixed(load: Load, recorder: Recorder) -> Suite:
    """A cell with three seeds, one with a single seed and two failures, one never run, one that failed outright."""
    suite = load()
    for spec, error in zip(runs_of(suite, model="attention-56", learning="residual"), (5.0, 6.0, 5.5), strict=True):
        recorder.done(spec, error)
    first, second, third = runs_of(suite, model="attention-56", learning="naive")
    recorder.done(first, 7.0)
    recorder.failed(second, "the training loss became nan at iteration 12")
    recorder.failed(third, "cannot read /home/somebody/data/cifar.tar", reason=Reason.ERROR)
    for spec in runs_of(suite, model="attention-92", learning="naive"):
        recorder.failed(spec, "the training loss became nan at iteration 12")
    return suite


@pytest.fixture
def hostile(load: Load, recorder: Recorder) -> Suite:
    """A suite, a device and an error whose words would be markup, a formula or a command in one format or another."""
    title = 'title: "<script>alert(1)</script>|`x`|_y_ $z$ \\\\input{x} %{}~^&\\n# 100 % \\u202e日本 =1+1"'
    text = SUITE + CLAIM
    text = text.replace("title: A small suite", title).replace(
        "two stages in place of three", "\"=cmd|' /C calc'!A0 | b\\n| c <img src=x onerror=alert(1)> ]]></style>\""
    )
    suite = load(text)
    device = replace(ENVIRONMENT, device_name="GPU|<b>`0`_%", versions={"torch": "2|<i>\n3", "@x": "+1"})
    specs = runs_of(suite)
    recorder.done(specs[0], 5.0, environment=device)
    recorder.failed(specs[1], "oops | <script> \\write18{x}\n\n# heading \u0000\ufdd00\ufdd1")
    recorder.add(specs[3], State.DONE, metrics={"error_pct": float("nan"), "best_error_pct": 7.0})
    return suite


def runs_of(suite: Suite, **axes: str) -> list[RunSpec]:
    """List the runs of the cells with these axis values, seed by seed."""
    return [cell.run(suite.protocol, seed) for cell in suite.select(axes) for seed in suite.seeds]
