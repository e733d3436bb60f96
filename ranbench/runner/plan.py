"""What would run, what is done, and what it would cost; trains nothing and imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ranbench.environment.owner import state_now
from ranbench.records import RunRecord
from ranbench.runner.choice import is_left_open
from ranbench.runner.rates import Images, Rates, Sizes, images_of, memory_of, training_macs
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
    rates, memory = Rates.of(records, sizes), memory_of(records)
    labels = suite.labels
    planned = tuple(
        _planned(spec, labels[spec.cell_id], known.get(spec.fingerprint), rates, memory, sizes) for spec in specs
    )
    basis = rates.basis(run.spec for run in planned if run.open)
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

    Of several kinds of GPU, the one with the most done runs on the datasets of the suite is taken. Smoke runs, whose
    few iterations are mostly warm-up, say nothing, and neither do runs on another dataset. A net that no such run
    trained has the median rate of the others on its dataset.
    """
    wanted = {images_of(run.spec) for run in planned}
    by_device: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.counted is None or record.smoke or not record.counted.environment.device.startswith("cuda"):
            continue
        if images_of(RunSpec.stored(record.fingerprint, record.spec)) in wanted:
            by_device.setdefault(record.counted.environment.device_name, []).append(record)
    if not by_device:
        where = "on a GPU on this dataset in this database, smoke runs aside"
        return GpuTime(None, f"no done run {where}, and no rate is assumed (--gpu-rate states one)")
    device, chosen = max(by_device.items(), key=lambda entry: len(entry[1]))
    rates = Rates.of(chosen, sizes)
    basis = f"rates of {len(chosen)} done run{'' if len(chosen) == 1 else 's'} on {device}"
    mine = {run.spec.model.name for run in planned if run.open and rates.rank(run.spec) == 0}
    others = sorted({run.spec.model.name for run in planned if run.open and rates.rank(run.spec) == 1})
    if others:
        basis += f"; {', '.join(others)} at the median of {', '.join(sorted(mine)) or 'other nets'}"
    found = [(run.macs, rates.rate(run.spec)) for run in planned]
    hours = [macs / rate / 3600 if macs and rate else 0.0 for macs, rate in found]
    if any(macs is None for macs, _ in found):
        return GpuTime(None, f"{basis}, but not every net is counted")
    if any(macs and rate is None for macs, rate in found):
        return GpuTime(None, f"{basis}, but none on every dataset of the suite")
    return GpuTime(sum(hours), basis)


def _planned(  # noqa: PLR0917 - private, called once
    spec: RunSpec,
    label: str,
    record: RunRecord | None,
    rates: Rates,
    memory: Mapping[tuple[str, Images], float],
    sizes: Sizes,
) -> PlannedRun:
    state = "interrupted" if record and is_left_open(record) else state_now(record) if record else "planned"
    step = record.latest.step if record and record.latest and state in ("running", "interrupted") else 0
    macs = training_macs(spec, spec.protocol.iterations - step, sizes)
    rate = rates.rate(spec)
    seconds = macs / rate if macs is not None and rate else None
    planned = PlannedRun(spec, label, state, step, macs, seconds, memory.get((spec.model.name, images_of(spec))))
    return planned if planned.open else replace(planned, macs=0, seconds=0.0)
