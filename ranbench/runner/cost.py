"""What a run takes: time by the clock and memory, from what was measured on one machine. No torch, no database.

The nearest measurement is taken: done runs of an equal net (learning and kind of attention aside, with the same images,
batch and precision), a calibration of it, or other nets on the same images by their multiply-adds a second. A run is
its training steps and the images that it evaluates.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ranbench.counts import PASSES_OF_A_STEP
from ranbench.environment.here import Here
from ranbench.records import Calibration, Environment, RunRecord
from ranbench.runner.how import COSTLESS, architecture
from ranbench.runner.rates import Images, Sizes, images_of, step_macs, training_macs
from ranbench.spec import DataSpec, ModelSpec, RunSpec, digest

# From near to far. Smoke runs are mostly warm-up, so they come last.
Source = Literal["runs", "calibration", "nets", "smoke runs", "smoke nets"]
SOURCES: Mapping[Source, str] = {
    "runs": "done runs of the same net",
    "calibration": "calibrated steps of the same net",
    "nets": "other nets on the same dataset, by multiply-adds",
    "smoke runs": "done smoke runs of the same net, which are mostly warm-up",
    "smoke nets": "done smoke runs of other nets on the same dataset, which are mostly warm-up",
}


@dataclass(frozen=True)
class Kind:
    """What a time holds for: a device with a number of threads of a CPU, a way through the engine, a torch."""

    device: str
    device_name: str
    cpu: str
    threads: int
    engine_path: str
    torch: str | None

    @classmethod
    def of(cls, environment: Environment) -> Kind:
        """Return the kind of an environment; beside a GPU the threads say nothing."""
        threads = environment.threads if environment.device == "cpu" else 0
        where = environment.device, environment.device_name, environment.cpu
        return cls(*where, threads, environment.engine_path, environment.versions.get("torch"))

    def __str__(self) -> str:
        """Say it in words: ``a CPU (1 thread, eager, channels_last, torch 2.11.0)``."""
        threads = [f"{self.threads} thread{'' if self.threads == 1 else 's'}"] if self.threads else []
        return f"{self.device_name} ({', '.join([*threads, self.engine_path, f'torch {self.torch}'])})"


def about(spec: RunSpec) -> dict[str, Any]:
    """Return what a step of a run depends on, as plain values."""
    model, data = (part.model_dump(mode="json") for part in (spec.model, spec.data))
    return {"model": model, "data": data, "batch": spec.protocol.batch, "precision": spec.protocol.precision}


def step_key(of: Mapping[str, Any]) -> str:
    """Return the sha256 of what ``about`` says, without options that change no cost."""
    return digest({**of, "model": {name: value for name, value in of["model"].items() if name not in COSTLESS}})


def looked_at(spec: RunSpec) -> int:
    """Count the images that a run evaluates at most: at each evaluation, and with wrong labels as many beside them."""
    protocol = spec.protocol
    some = protocol.evaluation.images
    images = spec.data.test_images if some is None else min(some, spec.data.test_images)
    evaluations = (protocol.iterations - 1) // protocol.evaluation.every + 1
    return evaluations * images * (2 if spec.noise else 1)


def choose_kind(
    records: Iterable[RunRecord],
    calibrations: Iterable[Calibration],
    here: Here,
    *,
    device: str = "auto",
    threads: int | None = None,
) -> Kind | None:
    """Choose the kind that was used last on this machine, of those that fit; None where nothing was measured on it."""
    places = [(record.counted.updated, record.counted.environment) for record in _made_here(records) if record.counted]
    places += [(one.measured, one.environment) for one in calibrations]
    newest: tuple[datetime, Environment] | None = None
    for moment, place in places:
        fits = device in ("auto", place.device)
        same = threads is None or place.device != "cpu" or place.threads == threads
        if fits and same and here.holds(place) and (newest is None or moment > newest[0]):
            newest = moment, place
    return None if newest is None else Kind.of(newest[1])


def _made_here(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Leave out what came out of a bundle: another machine may have the same names."""
    return [record for record in records if record.counted and record.counted.bundle is None]


@dataclass(frozen=True)
class Estimate:
    """Seconds by the clock, ``steps`` of them in training steps; a range where several measurements give one."""

    seconds: float
    steps: float
    source: Source
    low: float | None = None
    high: float | None = None
    nets: int = 0


@dataclass
class Costs:
    """What was measured, of one kind or of whatever was given."""

    steps: dict[tuple[bool, object], list[float]] = field(default_factory=dict)
    images: dict[tuple[bool, object], list[float]] = field(default_factory=dict)
    rates: dict[tuple[bool, Images], dict[str, list[float]]] = field(default_factory=dict)
    memory: dict[object, float] = field(default_factory=dict)
    calibrated: dict[str, Calibration] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=dict)
    _keys: dict[object, str] = field(default_factory=dict)
    _specs: dict[str, RunSpec] = field(default_factory=dict)  # of any seed of a cell

    @classmethod
    def of(
        cls,
        records: Iterable[RunRecord],
        calibrations: Iterable[Calibration] = (),
        sizes: Sizes | None = None,
        *,
        kind: Kind | None = None,
        before: datetime | None = None,
    ) -> Costs:
        """Gather what was measured.

        Args:
            records: runs; those that are not done say nothing.
            calibrations: oldest first.
            sizes: stored sizes of nets by ``complexity_key``.
            kind: what does not hold for it, or was made elsewhere, is left out.
            before: so is what was not there before this moment.
        """
        costs = cls(sizes=sizes or {})
        for record in records if kind is None else _made_here(records):
            attempt = record.counted
            if attempt is None or (kind is not None and Kind.of(attempt.environment) != kind):
                continue
            if before is None or attempt.updated < before:
                costs._add_run(record)
        for one in calibrations:
            if (kind is None or Kind.of(one.environment) == kind) and (before is None or one.measured < before):
                costs._add_calibration(one)
        return costs

    def _add_run(self, record: RunRecord) -> None:
        attempt = record.counted
        assert attempt is not None
        if record.cell_id not in self._specs:
            self._specs[record.cell_id] = RunSpec.stored(record.fingerprint, record.spec)
        spec, smoke = self._specs[record.cell_id], record.smoke
        seconds, key = attempt.metrics.get("train_seconds"), (smoke, architecture(spec))
        peak = attempt.metrics.get("peak_device_memory_bytes", attempt.metrics.get("peak_memory_bytes"))
        if peak:
            self.memory[key[1]] = max(peak, self.memory.get(key[1], 0.0))
        if not seconds:
            return
        self.steps.setdefault(key, []).append(seconds / spec.protocol.iterations)
        alone = attempt.metrics.get("runs_at_once", 1.0) == 1.0
        if alone and attempt.seconds is not None and attempt.seconds > seconds:
            self.images.setdefault(key, []).append((attempt.seconds - seconds) / looked_at(spec))
        macs = training_macs(spec, spec.protocol.iterations, self.sizes)
        if macs:
            nets = self.rates.setdefault((smoke, images_of(spec)), {})
            nets.setdefault(spec.model.name, []).append(macs / seconds)

    def _add_calibration(self, one: Calibration) -> None:
        self.calibrated[one.key] = one
        model, data = ModelSpec.model_validate(one.about["model"]), DataSpec.model_validate(one.about["data"])
        macs = step_macs(model, data, int(one.about["batch"]), self.sizes)
        if macs and one.step_seconds:
            nets = self.rates.setdefault((False, (data.name, data.shape)), {})
            nets.setdefault(model.name, []).append(macs / one.step_seconds)

    def estimate(self, spec: RunSpec, left: int) -> Estimate | None:
        """Estimate the last ``left`` iterations of a run with their share of evaluations; None: nothing is known."""
        if not left:
            return Estimate(0.0, 0.0, "runs")
        images = looked_at(spec) * left / spec.protocol.iterations
        return (
            self._by_runs(spec, left, images, smoke=False)
            or self._by_calibration(spec, left, images)
            or self._by_nets(spec, left, images, smoke=False)
            or self._by_runs(spec, left, images, smoke=True)
            or self._by_nets(spec, left, images, smoke=True)
        )

    def memory_of(self, spec: RunSpec) -> float | None:
        """Return the most memory that an equal net took so far, or None."""
        found = self.memory.get(architecture(spec))
        if found is None and (one := self._calibration(spec)):
            found = one.memory_bytes
        return found

    def _calibration(self, spec: RunSpec) -> Calibration | None:
        if not self.calibrated:
            return None
        same = architecture(spec)
        if same not in self._keys:
            self._keys[same] = step_key(about(spec))
        return self.calibrated.get(self._keys[same])

    def _by_runs(self, spec: RunSpec, left: int, images: float, *, smoke: bool) -> Estimate | None:
        key = (smoke, architecture(spec))
        found = self.steps.get(key)
        if not found:
            return None
        step = statistics.median(found)
        seen = self.images.get(key)
        each = statistics.median(seen) if seen else _forward(step, spec)
        source: Source = "smoke runs" if smoke else "runs"
        rest = images * each
        if len(found) < 2:
            return Estimate(left * step + rest, left * step, source)
        return Estimate(left * step + rest, left * step, source, left * min(found) + rest, left * max(found) + rest)

    def _by_calibration(self, spec: RunSpec, left: int, images: float) -> Estimate | None:
        one = self._calibration(spec)
        if one is None:
            return None
        return Estimate(left * one.step_seconds + images * one.image_seconds, left * one.step_seconds, "calibration")

    def _by_nets(self, spec: RunSpec, left: int, images: float, *, smoke: bool) -> Estimate | None:
        """Take the median of the nets; the range is that of the fastest and of the slowest of them."""
        nets = self.rates.get((smoke, images_of(spec)))
        macs = training_macs(spec, left, self.sizes)
        if not nets or macs is None:
            return None
        rates = [statistics.median(found) for found in nets.values()]
        whole = macs * (1 + images / (left * spec.protocol.batch * PASSES_OF_A_STEP))
        rate, source = statistics.median(rates), "smoke nets" if smoke else "nets"
        low, high = (None, None) if len(rates) < 2 else (whole / max(rates), whole / min(rates))
        return Estimate(whole / rate, macs / rate, source, low, high, len(rates))  # type: ignore[arg-type]


def _forward(step: float, spec: RunSpec) -> float:
    """Return the share of a forward pass of one image in a step."""
    return step / spec.protocol.batch / PASSES_OF_A_STEP


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Return when the last of so many workers ends, where the longest run is always begun first."""
    busy = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(busy, busy[0] + one)
    return max(busy)
