"""How far off a plan was: what the runs of a command took, beside what was known of them before they began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ranbench.records import Attempt, Calibration, RunRecord
from ranbench.runner.cost import Costs, Kind
from ranbench.runner.rates import Sizes
from ranbench.spec import RunSpec

APART = timedelta(minutes=10)  # between runs of one campaign at most
MIB = 2**20


@dataclass(frozen=True)
class Hindsight:
    """Seconds that were planned of ``runs`` and that they took, and the most memory; ``unplanned`` runs are left out.

    The seconds of runs that others shared a device with are those of their training steps.
    """

    runs: int
    planned: float
    took: float
    planned_bytes: float | None = None
    took_bytes: float | None = None
    unplanned: int = 0

    @property
    def words(self) -> str:
        """Say how far off it was: ``12 % too short``."""
        return _off(self.planned, self.took, "short", "long")

    @property
    def memory_words(self) -> str | None:
        """Say the same of the memory: ``3 % too low (512 MiB planned, 528 MiB taken)``; None where it is not known."""
        if not self.planned_bytes or not self.took_bytes:
            return None
        sizes = f"{self.planned_bytes / MIB:,.0f} MiB planned, {self.took_bytes / MIB:,.0f} MiB taken"
        return f"{_off(self.planned_bytes, self.took_bytes, 'low', 'high')} ({sizes})"


def _off(planned: float, took: float, less: str, more: str) -> str:
    share = 100 * (took - planned) / planned
    if share > 100:
        return f"{took / planned:.2g} times too {less}"
    return "right to 1 %" if abs(share) < 1 else f"{abs(share):.0f} % too {less if share > 0 else more}"


def hindsight(
    runs: Sequence[RunRecord],
    records: Iterable[RunRecord],
    calibrations: Sequence[Calibration] = (),
    sizes: Sizes | None = None,
    *,
    began: datetime | None = None,
) -> Hindsight | None:
    """Compare done runs with what the runs and calibrations before them say, measured in the same way on this machine.

    Args:
        runs: those of a suite.
        records: all runs of the database.
        calibrations: all of it, oldest first.
        sizes: stored sizes of nets by ``complexity_key``.
        began: runs that began since then are compared; None: those of the last campaign, without a pause of more than
            ``APART`` in it.

    Returns:
        None where no such run is done.
    """
    done = [(record, record.counted) for record in runs if record.counted and record.counted.bundle is None]
    began = _last_campaign([attempt for _, attempt in done]) if began is None else began
    chosen = [(record, attempt) for record, attempt in done if began is not None and attempt.started >= began]
    if not chosen or began is None:
        return None
    records = list(records)
    costs: Mapping[Kind, Costs] = {
        kind: Costs.of(records, calibrations, sizes, kind=kind, before=began)
        for kind in {Kind.of(attempt.environment) for _, attempt in chosen}
    }
    planned = took = 0.0
    known, memory = 0, []
    for record, attempt in chosen:
        known_then, spec = costs[Kind.of(attempt.environment)], RunSpec.stored(record.fingerprint, record.spec)
        estimate = known_then.estimate(spec, spec.protocol.iterations)
        pair = None if estimate is None else _pair(attempt, estimate.seconds, estimate.steps)
        if pair is None:
            continue
        known += 1
        planned, took = planned + pair[0], took + pair[1]
        needed = attempt.metrics.get("peak_device_memory_bytes", attempt.metrics.get("peak_memory_bytes"))
        foreseen = known_then.memory_of(spec)
        if needed and foreseen:
            memory.append((foreseen, needed))
    foreseen_bytes, taken_bytes = (max(side) for side in zip(*memory, strict=True)) if memory else (None, None)
    return Hindsight(known, planned, took, foreseen_bytes, taken_bytes, len(chosen) - known)


def _pair(attempt: Attempt, whole: float, steps: float) -> tuple[float, float] | None:
    """Return what was planned of a run and what it took: by the clock where it was alone, else its training steps."""
    if attempt.metrics.get("runs_at_once", 1.0) == 1.0 and attempt.seconds is not None:
        return whole, attempt.seconds
    seconds = attempt.metrics.get("train_seconds")
    return (steps, seconds) if seconds is not None else None


def _last_campaign(attempts: Sequence[Attempt]) -> datetime | None:
    """Return when the runs began that followed one another up to the last one."""
    began: datetime | None = None
    for attempt in sorted(attempts, key=lambda one: one.updated, reverse=True):
        if began is not None and began - attempt.updated > APART:
            break
        began = attempt.started if began is None else min(began, attempt.started)
    return began
