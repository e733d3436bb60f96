"""What would run, what is done, and what it would cost; trains nothing and imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ranbench.environment.owner import state_now
from ranbench.records import RunRecord
from ranbench.runner.choice import is_left_open
from ranbench.runner.cost import SOURCES, Costs, Estimate, makespan
from ranbench.runner.rates import Rates, Sizes, images_of, training_macs
from ranbench.spec import RunSpec
from ranbench.suite import Suite

CLOSED = ("done", "failed")


@dataclass(frozen=True)
class PlannedRun:
    """One run: its state, and the estimates for what is left of it, None where nothing is known."""

    spec: RunSpec
    label: str
    state: str
    step: int
    macs: int | None
    estimate: Estimate | None
    memory_bytes: float | None

    @property
    def seconds(self) -> float | None:
        """Estimated seconds by the clock that are left."""
        return self.estimate.seconds if self.estimate else None

    @property
    def open(self) -> bool:
        """Whether 'ranbench run' would train it."""
        return self.state not in CLOSED


@dataclass(frozen=True)
class GpuTime:
    """Hours that one GPU would take for what is left, one run after the other; None where no rate was measured.

    ``basis`` says in words where the rate comes from, or why there is none.
    """

    hours: float | None
    basis: str


@dataclass(frozen=True)
class Plan:
    """All runs of a suite in their order. ``basis`` says in words where the estimate of time comes from.

    ``jobs``: how many worker processes would share the runs.
    """

    suite: Suite
    runs: tuple[PlannedRun, ...]
    basis: str
    gpu: GpuTime
    jobs: int = 1

    @property
    def macs(self) -> int | None:
        """Multiply-adds of the training that is left; None where a net has not been counted."""
        parts = [run.macs for run in self.runs if run.open]
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def seconds(self) -> float | None:
        """Estimated time by the clock that is left, one run after the other."""
        parts = [run.seconds for run in self.runs if run.open]
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def range(self) -> tuple[float, float] | None:
        """The same where every net is as fast, and as slow, as was measured; None where only one number is known."""
        found = [run.estimate for run in self.runs if run.open and run.estimate]
        if self.seconds is None or all(one.low is None for one in found):
            return None
        low = sum(one.seconds if one.low is None else one.low for one in found)
        return low, sum(one.seconds if one.high is None else one.high for one in found)

    @property
    def elapsed(self) -> float | None:
        """When the last worker ends, where the longest run is begun first and each is as fast as one alone."""
        if self.seconds is None:
            return None
        return makespan([run.seconds or 0.0 for run in self.runs if run.open], self.jobs)

    @property
    def memory_bytes(self) -> float | None:
        """Largest memory that an equal net has needed so far."""
        parts = [run.memory_bytes for run in self.runs if run.open and run.memory_bytes is not None]
        return max(parts, default=None)

    @property
    def memory_of_workers(self) -> float | None:
        """Memory of the largest runs, as many as there are workers; None where it is not known of every run."""
        parts = [run.memory_bytes for run in self.runs if run.open]
        known = sorted((part for part in parts if part is not None), reverse=True)
        return sum(known[: self.jobs]) if known and len(known) == len(parts) else None


def plan(
    suite: Suite,
    records: Sequence[RunRecord],
    only: Mapping[str, str] | None = None,
    sizes: Sizes | None = None,
    *,
    gpu_rate: float | None = None,
    costs: Costs | None = None,
    jobs: int = 1,
) -> Plan:
    """Plan the suite. Time and memory come from what was measured, of the same net first.

    Args:
        suite: what would run.
        records: runs of the database, of any suite.
        only: axis -> value; other cells are left out.
        sizes: stored sizes of nets by ``complexity_key``, for those that ``counts.json`` does not hold: foreign nets.
        gpu_rate: multiply-adds of training that a GPU does in a second, stated in place of measured rates.
        costs: what was measured; if left out, of all done runs in ``records``, on whatever machine.
        jobs: worker processes that share the runs.

    Raises:
        UsageError: ``only`` names no cell.
    """
    sizes = sizes or {}
    specs = suite.runs(only)
    known = {record.fingerprint: record for record in records}
    costs = Costs.of(records, (), sizes) if costs is None else costs
    labels = suite.labels
    equal: dict[tuple[str, int], tuple[int | None, Estimate | None, float | None]] = {}
    planned = []
    for spec in specs:
        state, step = _standing(known.get(spec.fingerprint))
        left = 0 if state in CLOSED else spec.protocol.iterations - step
        if (spec.cell_id, left) not in equal:  # seeds of a cell cost the same
            macs = training_macs(spec, left, sizes) if left else 0
            equal[spec.cell_id, left] = macs, costs.estimate(spec, left), costs.memory_of(spec)
        planned.append(PlannedRun(spec, labels[spec.cell_id], state, step, *equal[spec.cell_id, left]))
    gpu = gpu_time(planned, records, sizes) if gpu_rate is None else gpu_time_at(gpu_rate, planned)
    return Plan(suite, tuple(planned), _basis(planned), gpu, jobs)


def _basis(planned: Sequence[PlannedRun]) -> str:
    """Say in words what the estimates of time rest on."""
    found = [run.estimate for run in planned if run.open]
    if not found:
        return "nothing is left to train"
    if any(one is None for one in found):
        return "unknown until a first run is done on this database, on this dataset"
    there = {one.source for one in found if one}
    alone = any(one.nets == 1 for one in found if one)
    said = " and of ".join(words for source, words in SOURCES.items() if source in there)
    return f"measured rates of {said}{' (of one net: its range is not known)' if alone else ''}"


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


def _standing(record: RunRecord | None) -> tuple[str, int]:
    """Return the state of a run, and how many iterations of it are done where it is gone on with."""
    state = "interrupted" if record and is_left_open(record) else state_now(record) if record else "planned"
    step = record.latest.step if record and record.latest and state in ("running", "interrupted") else 0
    return state, step
