"""What done runs say of the time and memory of others: rates in multiply-adds of training per second."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ranbench import counts
from ranbench.records import Complexity, RunRecord
from ranbench.spec import DataSpec, ModelSpec, RunSpec, complexity_key

Images = tuple[str, tuple[int, int, int]]
Sizes = Mapping[str, Complexity]


def training_macs(spec: RunSpec, iterations: int, sizes: Sizes) -> int | None:
    """Return the multiply-adds of ``iterations`` training steps, or None where the net has not been counted."""
    found = step_macs(spec.model, spec.data, spec.protocol.batch, sizes)
    return None if found is None else found * iterations


def step_macs(model: ModelSpec, data: DataSpec, batch: int, sizes: Sizes) -> int | None:
    """Return the multiply-adds of one training step, or None where the net has not been counted."""
    found = counts.lookup(model, data)
    if found is None and (size := sizes.get(complexity_key(model, data))):
        found = counts.Counts(size.parameters, size.macs, size.depth)
    return None if found is None else found.training_macs(batch)


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

    @staticmethod
    def _keys(spec: RunSpec) -> tuple[tuple[bool, str | None, Images], ...]:
        images = images_of(spec)
        return tuple((smoke, net, images) for smoke in (False, True) for net in (spec.model.name, None))


def images_of(spec: RunSpec) -> Images:
    """Return the dataset of a run and the size of an image that its net reads."""
    return spec.data.name, spec.data.shape
