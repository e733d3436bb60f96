"""What done runs say of the time and memory of others: rates in multiply-adds of training per second."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ranbench import counts
from ranbench.records import Complexity, RunRecord
from ranbench.spec import RunSpec

Images = tuple[str, tuple[int, int, int]]
Sizes = Mapping[str, Complexity]


def training_macs(spec: RunSpec, iterations: int, sizes: Sizes) -> int | None:
    """Return the multiply-adds of ``iterations`` training steps, or None where the net has not been counted."""
    found = counts.lookup(spec.model, spec.data)
    if found is None and (size := sizes.get(spec.complexity_key)):
        found = counts.Counts(size.parameters, size.macs, size.depth)
    return None if found is None else found.training_macs(iterations * spec.protocol.batch)


@dataclass(frozen=True)
class Rates:
    """Multiply-adds per second of done runs, median by net and images, of whole runs and of smoke runs apart.

    Images are a dataset with the size that the net reads; a rate on others says nothing, as nets take another form.
    """

    found: Mapping[tuple[bool, str | None, Images], float]

    @classmethod
    def of(cls, records: Sequence[RunRecord], sizes: Sizes) -> Self:
        """Gather the rates of done runs."""
        rates: dict[tuple[bool, str | None, Images], list[float]] = {}
        for record in records:
            if record.counted is None:
                continue
            spec, seconds = RunSpec.stored(record.fingerprint, record.spec), record.counted.metrics.get("train_seconds")
            macs = training_macs(spec, spec.protocol.iterations, sizes)
            if macs and seconds:
                for net in (spec.model.name, None):
                    rates.setdefault((record.smoke, net, images_of(spec)), []).append(macs / seconds)
        return cls({key: statistics.median(values) for key, values in rates.items()})

    def rank(self, spec: RunSpec) -> int | None:
        """Tell how near the rates are that say something of a run: its net, other nets, smoke runs of either."""
        return next((rank for rank, key in enumerate(self._keys(spec)) if key in self.found), None)

    def rate(self, spec: RunSpec) -> float | None:
        """Return the nearest rate, in multiply-adds of training per second, or None."""
        rank = self.rank(spec)
        return None if rank is None else self.found[self._keys(spec)[rank]]

    def basis(self, specs: Iterable[RunSpec]) -> str:
        """Say in words what the rates of runs rest on."""
        ranks = {self.rank(spec) for spec in specs}
        if not ranks:
            return "nothing is left to train"
        if None in ranks:
            return "unknown until a first run is done on this database, on this dataset"
        words = (
            "runs of the same net",
            "runs of other nets on the same dataset",
            "smoke runs of the same net, which are mostly warm-up",
            "smoke runs of other nets on the same dataset, which are mostly warm-up",
        )
        said = " and of ".join(words[rank] for rank in sorted(rank for rank in ranks if rank is not None))
        return f"measured rates of done {said}"

    @staticmethod
    def _keys(spec: RunSpec) -> tuple[tuple[bool, str | None, Images], ...]:
        images = images_of(spec)
        return tuple((smoke, net, images) for smoke in (False, True) for net in (spec.model.name, None))


def images_of(spec: RunSpec) -> Images:
    """Return the dataset of a run and the size of an image that its net reads."""
    return spec.data.name, spec.data.shape


def memory_of(records: Sequence[RunRecord]) -> dict[tuple[str, Images], float]:
    """Largest memory of done runs by net and images."""
    memory: dict[tuple[str, Images], float] = {}
    for record in records:
        found = record.counted.metrics if record.counted else {}
        peak = found.get("peak_device_memory_bytes", found.get("peak_memory_bytes"))
        if peak:
            spec = RunSpec.stored(record.fingerprint, record.spec)
            key = spec.model.name, images_of(spec)
            memory[key] = max(peak, memory.get(key, 0.0))
    return memory
