"""What would run, what is done, and what it would cost; trains nothing and imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ranbench import counts
from ranbench.environment.owner import state_now
from ranbench.records import Complexity, RunRecord
from ranbench.spec import RunSpec
from ranbench.suite import Suite


@dataclass(frozen=True)
class PlannedRun:
    """One run: its state, and the estimates for what is left of it: 0 of a closed run, None where nothing is known."""

    spec: RunSpec
    label: str
    state: str
    step: int
    macs: int | None
    seconds: float | None
    memory_bytes: float | None

    @property
    def open(self) -> bool:
        """Whether 'ranbench run' would train it."""
        return self.state not in ("done", "failed")


@dataclass(frozen=True)
class GpuTime:
    """Hours that one GPU would take for what is left, one run after the other; None where no rate was measured.

    ``basis`` says in words where the rate comes from, or why there is none.
    """

    hours: float | None
    basis: str


@dataclass(frozen=True)
class Plan:
    """All runs of a suite in their order. ``basis`` says in words where the estimate of time comes from."""

    suite: Suite
    runs: tuple[PlannedRun, ...]
    basis: str
    gpu: GpuTime

    @property
    def macs(self) -> int | None:
        """Multiply-adds of the training that is left; None where a net has not been counted."""
        parts = [run.macs for run in self.runs if run.open]
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def seconds(self) -> float | None:
        """Estimated training time that is left, one run after the other."""
        parts = [run.seconds for run in self.runs if run.open]
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def memory_bytes(self) -> float | None:
        """Largest memory that an equal net has needed so far."""
        parts = [run.memory_bytes for run in self.runs if run.open and run.memory_bytes is not None]
        return max(parts, default=None)


Sizes = Mapping[str, Complexity]


def training_macs(spec: RunSpec, iterations: int, sizes: Sizes) -> int | None:
    """Return the multiply-adds of ``iterations`` training steps, or None where the net has not been counted."""
    found = counts.lookup(spec.model, spec.data)
    if found is None and (size := sizes.get(spec.complexity_key)):
        found = counts.Counts(size.parameters, size.macs, size.depth)
    return None if found is None else found.training_macs(iterations * spec.protocol.batch)


def plan(
    suite: Suite,
    records: Sequence[RunRecord],
    only: Mapping[str, str] | None = None,
    sizes: Sizes | None = None,
    *,
    gpu_rate: float | None = None,
) -> Plan:
    """Plan the suite. Time comes from the rates of done runs in ``records``, of the same net first.

    Args:
        suite: what would run.
        records: runs of the database, of any suite.
        only: axis -> value; other cells are left out.
        sizes: stored sizes of nets by ``complexity_key``, for those that ``counts.json`` does not hold: foreign nets.
        gpu_rate: multiply-adds of training that a GPU does in a second, stated in place of measured rates.

    Raises:
        UsageError: ``only`` names no cell.
    """
    sizes = sizes or {}
    specs = suite.runs(only)
    known = {record.fingerprint: record for record in records}
    rates, memory = _measured(records, sizes)
    labels = suite.labels
    planned = tuple(
        _planned(spec, labels[spec.cell_id], known.get(spec.fingerprint), rates, memory, sizes) for spec in specs
    )
    nets = {spec.model.name for spec in specs}
    if nets & rates.keys():
        basis = "measured rates of done runs, of the same net where there are any"
    elif rates:
        basis = "measured rates of done runs of other nets"
    else:
        basis = "unknown until a first run is done on this database"
    gpu = gpu_time(planned, records, sizes) if gpu_rate is None else gpu_time_at(gpu_rate, planned)
    return Plan(suite, planned, basis, gpu)


def gpu_time_at(rate: float, planned: Sequence[PlannedRun]) -> GpuTime:
    """Give the time of what is left on a GPU of which the caller states the rate, in multiply-adds a second."""
    parts = [run.macs for run in planned]
    basis = f"the stated rate of {rate / 1e12:g} T multiply-adds a second"
    if None in parts:
        return GpuTime(None, f"{basis}, but not every net is counted")
    return GpuTime(sum(part for part in parts if part is not None) / rate / 3600, basis)


def gpu_time(planned: Sequence[PlannedRun], records: Sequence[RunRecord], sizes: Sizes) -> GpuTime:
    """Estimate the time of what is left on a GPU, from done runs on one and from nothing else.

    Of several kinds of GPU, the one with the most done runs is taken. Smoke runs, whose few iterations are mostly
    warm-up, say nothing. A net that no such run trained has the median rate of the others.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for record in records:
        if record.counted is None or record.smoke or not record.counted.environment.device.startswith("cuda"):
            continue
        spec, seconds = RunSpec.stored(record.fingerprint, record.spec), record.counted.metrics.get("train_seconds")
        macs = training_macs(spec, spec.protocol.iterations, sizes)
        if macs and seconds:
            found.setdefault(record.counted.environment.device_name, {}).setdefault(spec.model.name, []).append(
                macs / seconds
            )
    if not found:
        return GpuTime(
            None,
            "no done run on a GPU in this database, smoke runs aside, and no rate is assumed (--gpu-rate states one)",
        )
    device, by_net = max(found.items(), key=lambda entry: sum(map(len, entry[1].values())))
    every = [rate for rates in by_net.values() for rate in rates]
    rates = {net: statistics.median(values) for net, values in by_net.items()}
    nets = {run.spec.model.name for run in planned if run.open}
    basis = f"rates of {len(every)} done run{'' if len(every) == 1 else 's'} on {device}"
    others = sorted(nets - rates.keys())
    if others:
        basis += f"; {', '.join(others)} at the median of {', '.join(sorted(rates))}"
    middle = statistics.median(every)
    parts = [None if run.macs is None else run.macs / rates.get(run.spec.model.name, middle) for run in planned]
    if None in parts:
        return GpuTime(None, f"{basis}, but not every net is counted")
    return GpuTime(sum(part for part in parts if part is not None) / 3600, basis)


def _planned(  # noqa: PLR0917 - private, called once
    spec: RunSpec,
    label: str,
    record: RunRecord | None,
    rates: Mapping[str, float],
    memory: Mapping[str, float],
    sizes: Sizes,
) -> PlannedRun:
    state = state_now(record) if record else "planned"
    step = record.latest.step if record and record.latest and state in ("running", "interrupted") else 0
    macs = training_macs(spec, spec.protocol.iterations - step, sizes)
    rate = rates.get(spec.model.name, rates.get(""))
    seconds = macs / rate if macs is not None and rate else None
    planned = PlannedRun(spec, label, state, step, macs, seconds, memory.get(spec.model.name))
    return planned if planned.open else replace(planned, macs=0, seconds=0.0)


def _measured(records: Sequence[RunRecord], sizes: Sizes) -> tuple[dict[str, float], dict[str, float]]:
    """Median multiply-adds per second by net (and over all under ''), and largest memory by net."""
    rates: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for record in records:
        if record.counted is None:
            continue
        spec = RunSpec.stored(record.fingerprint, record.spec)
        macs = training_macs(spec, spec.protocol.iterations, sizes)
        seconds = record.counted.metrics.get("train_seconds")
        if macs and seconds:
            for name in (spec.model.name, ""):
                rates.setdefault(name, []).append(macs / seconds)
        found = record.counted.metrics
        peak = found.get("peak_device_memory_bytes", found.get("peak_memory_bytes"))
        if peak:
            memory[spec.model.name] = max(peak, memory.get(spec.model.name, 0.0))
    return {name: statistics.median(values) for name, values in rates.items()}, memory
