"""How long runs take: by what the same command has measured, else by done runs on such a device.

The nearest is taken: the same net in this command, the same cell before, another net in this command, the rates of
other done runs, smoke runs aside, which are mostly warm-up.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from ranbench.records import Complexity, RunRecord, State
from ranbench.runner.rates import Images, Rates, images_of, training_macs
from ranbench.spec import RunSpec

_Kind = tuple[str | None, Images, bool]  # net, images, whether work is multiply-adds


class Estimates:
    """Seconds by the clock that a run takes from its claim to its end, beside as many others as there were.

    Args:
        records: of the database.
        device: cpu or cuda; runs on others say nothing.
        sizes: of nets by ``complexity_key``, for those that are not counted in advance.
    """

    def __init__(self, records: Sequence[RunRecord], device: str, sizes: Mapping[str, Complexity]):
        self._sizes = sizes
        alike = [each for each in records if each.counted and each.counted.environment.device == device]
        self._cells: dict[str, list[float]] = {}  # cell_id -> seconds of its done runs, be they smoke runs
        for each in alike:
            if each.counted and each.counted.seconds:
                self._cells.setdefault(each.cell_id, []).append(each.counted.seconds)
        self._before = Rates.of([each for each in alike if not each.smoke], sizes)
        self._measured: dict[_Kind, tuple[float, float]] = {}  # work and seconds
        self._steps = dict(_steps(records))

    def work(self, spec: RunSpec) -> float:
        """Return the multiply-adds of a run from its beginning; images, where its net was never counted."""
        return self._work(spec, spec.protocol.iterations)[0]

    def learn(self, spec: RunSpec, iterations: int, seconds: float) -> None:
        """Take in that so many iterations of a run took so long."""
        work, kinds = self._work(spec, iterations)
        for kind in kinds:
            before, took = self._measured.get(kind, (0.0, 0.0))
            if before + work > 0:
                self._measured[kind] = before + work, took + seconds

    def reached(self, spec: RunSpec, step: int) -> None:
        """Take in that a run will go on from here."""
        self._steps[spec.fingerprint] = step

    def seconds(self, spec: RunSpec) -> float | None:
        """Estimate what is left of a run; None where nothing is known."""
        iterations = spec.protocol.iterations - self._steps.get(spec.fingerprint, 0)
        wanted, (same_net, any_net) = self._work(spec, iterations)
        if same_net in self._measured:
            return wanted * self._pace(same_net)
        if spec.cell_id in self._cells:
            return statistics.median(self._cells[spec.cell_id]) * iterations / spec.protocol.iterations
        if any_net in self._measured:
            return wanted * self._pace(any_net)
        macs, rate = training_macs(spec, iterations, self._sizes), self._before.rate(spec)
        return macs / rate if macs is not None and rate else None

    def _pace(self, kind: _Kind) -> float:
        """Seconds that a unit of work took."""
        work, seconds = self._measured[kind]
        return seconds / work

    def _work(self, spec: RunSpec, iterations: int) -> tuple[float, tuple[_Kind, ...]]:
        """Multiply-adds, or images where the net was never counted; and what has the same rate, the nearest first."""
        macs = training_macs(spec, iterations, self._sizes)
        work = float(iterations * spec.protocol.batch if macs is None else macs)
        return work, tuple((net, images_of(spec), macs is not None) for net in (spec.model.name, None))


def _steps(records: Iterable[RunRecord]) -> Iterable[tuple[str, int]]:
    """Where interrupted runs go on."""
    for record in records:
        if record.latest and record.latest.state in (State.RUNNING, State.INTERRUPTED):
            yield record.fingerprint, record.latest.step
