"""What is compared: the results of a suite's cells, as frozen values, whether stored in a baseline or of this night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ranbench.records import METRICS, SIZE_METRICS, Environment

Rule = Literal["count", "shift", "job"]
Scale = Literal["plain", "log"]


@dataclass(frozen=True)
class Watched:
    """A metric of the gate: its rule, and the scale on which its values are compared.

    ``rule``: ``count`` exactly; ``shift`` by the runs of seeds; ``job`` by jobs that measure nothing else, and only
    where they ran in an equal place. ``log``: of what is above zero and spreads in proportion to itself, as losses do.
    """

    name: str
    label: str
    unit: str
    rule: Rule
    scale: Scale = "plain"


TRAIN_LOSS = "train_loss_end"
STEP_RATIO = "step_ratio"
STEP_MEMORY = "step_memory_bytes"
LAST_SHARE = 10  # the loss at the end is the mean over the last tenth of the points of a run, each of which is noisy


def _watched(name: str, rule: Rule, scale: Scale = "plain") -> Watched:
    metric = {**METRICS, **SIZE_METRICS}[name]
    return Watched(name, metric.label, metric.unit, rule, scale)


# Of each cell, in the order of a report. Less is better of all that is not counted.
WATCHED: Mapping[str, Watched] = {
    one.name: one
    for one in (
        _watched("parameters", "count"),
        _watched("macs", "count"),
        _watched("error_pct", "shift"),
        _watched("loss", "shift", "log"),
        Watched(TRAIN_LOSS, "training loss at the end", "nats", "shift", "log"),
        Watched(STEP_RATIO, "time of a step, in steps of the reference", "ratio", "job", "log"),
        Watched(STEP_MEMORY, "memory that training takes", "bytes", "job", "log"),
    )
}
# Kept in a baseline to be read, and compared by no rule: times by the clock say something of one hour of one machine,
# and the peak memory of a process depends on what it trained before.
SHOWN = ("train_seconds", "images_per_s", "peak_memory_bytes", "peak_device_memory_bytes")
REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
UNTESTED = ("not run", "not comparable")
OUTCOMES = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, *UNTESTED)  # of a claim, as ``claims`` words them


@dataclass(frozen=True)
class Place:
    """What times and memory depend on beside the code: they are compared only where all of it is equal."""

    device: str
    device_name: str
    cpu: str
    cores: int
    threads: int
    engine_path: str
    torch: str

    @classmethod
    def of(cls, environment: Environment) -> Place:
        """Take it from where an attempt ran."""
        one = environment
        version = one.versions.get("torch", "none")
        return cls(one.device, one.device_name, one.cpu, one.cores, one.threads, one.engine_path, version)

    def difference(self, other: Place) -> str | None:
        """Say the first field that differs, in words; None where all are equal."""
        for name in self.__dataclass_fields__:
            before, now = getattr(self, name), getattr(other, name)
            if before != now:
                return f"{name.replace('_', ' ')} {before} then, {now} now"
        return None


@dataclass(frozen=True)
class Jobs:
    """What jobs of their own measured of a cell: metric -> one value of each job, all in one place."""

    values: Mapping[str, tuple[float, ...]]
    place: Place


@dataclass(frozen=True)
class CellResult:
    """One cell with what is known of it.

    Attributes:
        cell_id: of its runs; of a cell that is only counted, the key of its counts.
        label: within its suite.
        counts: exact, by metric.
        values: metric -> seed -> value, raw.
        failed: seed -> why its run failed.
        places: seed -> where its run ran.
        jobs: None where there were none.
        due: whether it was to be trained, for results of a night; runs that are lacking then are a fault.
        left: why runs that were due are lacking though nothing is wrong, for instance since a budget was spent.
        jobs_failed: why a job that was to measure its step did not; empty where none failed.
        lost: seeds that were asked for of a cell that is due, and of which there is no run of the present code.
    """

    cell_id: str
    label: str
    counts: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    places: Mapping[int, Place] = field(default_factory=dict)
    jobs: Jobs | None = None
    due: bool = True
    left: str | None = None
    jobs_failed: str = ""
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class SuiteResult:
    """A suite with its cells, and with the outcome of each of its claims by id, as ``claims`` words it."""

    name: str
    sha256: str
    trains: bool
    cells: tuple[CellResult, ...]
    claims: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
