"""A metric over the versions of the code that gave it: what each gave in every cell, and the change to the next.

A version is a code_id, the hash of the sources that make numbers; commits that differ elsewhere only are one version.
Versions stand in the order in which their first attempt was begun. Nothing is laid out or drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ranbench.errors import NothingMeasured, UsageError, nearest
from ranbench.records import METRICS, SERIES, SIZE_METRICS, Attempt, Metric, RunRecord, State, response_place
from ranbench.report.against import MIN_SEEDS
from ranbench.report.pages import page_name
from ranbench.spec import Fidelity
from ranbench.statistics import LEVEL, summarise, welch
from ranbench.suite import Axes, Cell, Suite

# A metric in one of these says as much of the machine as of the code: machines are told apart.
UNITS_OF_A_MACHINE = ("seconds", "images/s", "bytes", "joules", "runs")
_LIBRARIES = ("torch", "cuda", "cudnn", "driver")  # those versions on which times depend


@dataclass(frozen=True)
class Code:
    """One version of the code. ``number`` counts the shown ones from 1, in the order of ``began``.

    ``commit``: of the first attempt that was made without uncommitted changes, else of the first one, which is
    ``dirty``; None where it is not known. ``commits``: how many commits have this version.
    """

    number: int
    code_id: str
    commit: str | None
    dirty: bool
    commits: int
    began: datetime

    @property
    def label(self) -> str:
        """Name it by its commit, marked where that had changes, else by its code_id."""
        if self.commit is None:
            return f"code {self.code_id[:8]}"
        return f"{self.commit[:8]}{'-dirty' if self.dirty else ''}"


@dataclass(frozen=True)
class Place:
    """Where attempts ran, by what times depend on; ``at_once`` is None where it is not told apart."""

    number: int
    device: str
    device_name: str
    cpu: str
    threads: int
    engine_path: str
    versions: Mapping[str, str]
    at_once: int | None = None

    @property
    def words(self) -> str:
        """Name it in a line."""
        cpu = [] if self.device_name == self.cpu else [self.cpu]
        threads = f"{self.threads} {'thread' if self.threads == 1 else 'threads'}"
        libraries = [f"{name} {version}" for name, version in self.versions.items()]
        shared = [f"{self.at_once} runs at once"] if (self.at_once or 1) > 1 else []
        return ", ".join([f"{self.device_name} ({self.device})", *cpu, threads, self.engine_path, *libraries, *shared])


@dataclass(frozen=True)
class Change:
    """The difference of the mean to that of the code before, number ``since``, in the unit of the metric.

    ``low`` and ``high`` are its 95 % Welch interval, None where ``why`` says that there is none.
    """

    since: int
    difference: float
    low: float | None = None
    high: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Point:
    """What one version of the code gave in one cell: the values of done runs, by seed, with their mean and spread.

    ``low`` and ``high``: the 95 % t-interval of the mean. ``failed``: runs that failed with this code and never came to
    a result with it. ``unmeasured``: done runs that have no finite value of the metric. ``places``: where they ran.
    """

    code: int
    places: tuple[int, ...]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    failed: int
    unmeasured: int
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    change: Change | None


@dataclass(frozen=True)
class Line:
    """The history of one cell, in one place where ``place`` is not None."""

    cell: int
    label: str
    axes: Axes
    cell_id: str
    place: int | None
    points: tuple[Point, ...]


@dataclass(frozen=True)
class History:
    """A metric of a suite's cells over the versions of the code; ``page`` names files of it."""

    suite: str
    page: str
    protocol: str
    fidelity: Fidelity
    metric: Metric
    codes: tuple[Code, ...]
    places: tuple[Place, ...]
    lines: tuple[Line, ...]

    @property
    def of_machine(self) -> bool:
        """Whether places are told apart."""
        return is_of_machine(self.metric)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        whole = asdict(self)
        metric = whole.pop("metric")
        facts = {"metric": metric["name"], **{name: metric[name] for name in ("unit", "meaning", "lower_is_better")}}
        return {name: whole[name] for name in ("suite", "protocol", "fidelity")} | facts | whole


def is_of_machine(metric: Metric) -> bool:
    """Tell whether a metric depends on the machine, so that values of two machines are not one group."""
    return metric.unit in UNITS_OF_A_MACHINE


def metric_of(name: str) -> Metric:
    """Find what a history can be about.

    Raises:
        UsageError: it is not known, or no run has one value of it.
    """
    allowed = [known for known in METRICS if known not in SERIES]
    if name in allowed:
        return METRICS[name]
    if response_place(name):
        return Metric(name, name, "1", "mean absolute value of the features there", lower_is_better=False)
    if name in SIZE_METRICS:
        raise UsageError(f"--metric {name}: is counted of a net, not measured by runs; 'ranbench complexity' counts it")
    why = "is a series over iterations" if name in SERIES else "not known"
    raise UsageError(f"--metric {name!r}: {why}{nearest(name, allowed)} (allowed: {', '.join(allowed)})")


@dataclass
class _Found:
    """Attempts of one cell with one version of the code, in one place where places are told apart."""

    done: dict[int, Attempt] = field(default_factory=dict)
    failed: dict[int, Attempt] = field(default_factory=dict)

    @property
    def attempts(self) -> list[Attempt]:
        return [*self.done.values(), *self.failed.values()]


def history(suite: Suite, records: Iterable[RunRecord], metric: str, only: Mapping[str, str] | None = None) -> History:
    """Gather a metric over the versions of the code, for the suite's cells under its protocol, with whatever seeds.

    Of each run and version the latest done attempt at a result counts; checks never do.

    Args:
        suite: whose cells and protocol are shown.
        records: all runs of the suite, which also tell when each version began.
        metric: name of a metric of runs.
        only: axis -> value as text; other cells are left out.

    Raises:
        UsageError: a metric or an axis that is not known, values that no cell has, or a suite that trains nothing.
        NothingMeasured: no done run has a value.
    """
    about, cells, protocol = metric_of(metric), suite.select(only or {}), suite.protocol
    known = list({record.fingerprint: record for record in records}.values())
    ids = {cell.run(protocol, 0).cell_id: cell for cell in cells}
    here = [record for record in known if record.cell_id in ids]
    places = _Places(about)
    groups: dict[tuple[str, int | None], dict[str, _Found]] = {}
    for record in sorted(here, key=lambda one: one.seed):
        _add(groups, record, places)
    shown = {code for by_code in groups.values() for code in by_code}
    codes = _codes(known, shown)
    numbers = {code.code_id: code.number for code in codes}
    lines = []
    for cell_id, cell in ids.items():
        for place in sorted({at for one, at in groups if one == cell_id}, key=lambda at: at or 0):
            points = _points(groups[cell_id, place], numbers, about.name, places)
            number = suite.cells.index(cell) + 1
            lines.append(Line(number, suite.label(cell), cell.axes, cell_id, place, points))
    if not any(point.n for line in lines for point in line.points):
        raise NothingMeasured(_nothing(suite, about, cells, here))
    return History(
        suite.name, page_name(suite), suite.protocol_name, suite.fidelity, about, codes, places.all, tuple(lines)
    )


def _add(groups: dict[tuple[str, int | None], dict[str, _Found]], record: RunRecord, places: _Places) -> None:
    """Put the attempts that count of a run where they belong."""
    latest: dict[str, Attempt] = {}
    for attempt in record.results:
        before = latest.get(attempt.code_id)
        if attempt.state is State.DONE or (
            attempt.state is State.FAILED and (before is None or before.state is State.FAILED)
        ):
            latest[attempt.code_id] = attempt
    for code_id, attempt in latest.items():
        place = places.number(attempt)
        found = groups.setdefault((record.cell_id, place if places.apart else None), {}).setdefault(code_id, _Found())
        (found.done if attempt.state is State.DONE else found.failed)[record.seed] = attempt


def _codes(records: Iterable[RunRecord], shown: set[str]) -> tuple[Code, ...]:
    """Describe the versions that are shown; any attempt at a result tells when one began, and of which commit it is."""
    made: dict[str, list[Attempt]] = {}
    for record in records:
        for attempt in record.results:
            made.setdefault(attempt.code_id, []).append(attempt)
    began = {code: min(attempt.started for attempt in made[code]) for code in shown}
    found = []
    for number, code in enumerate(sorted(shown, key=lambda one: (began[one], one)), 1):
        committed = sorted(
            (attempt.environment.dirty, attempt.started, attempt.environment.commit)
            for attempt in made[code]
            if attempt.environment.commit
        )
        dirty, _, commit = committed[0] if committed else (False, None, None)
        found.append(Code(number, code, commit, dirty, len({one for _, _, one in committed}), began[code]))
    return tuple(found)


class _Places:
    """Numbers distinct places in the order of their first use."""

    def __init__(self, metric: Metric) -> None:
        self.apart = is_of_machine(metric)
        self._found: dict[str, Place] = {}

    def number(self, attempt: Attempt) -> int:
        at = attempt.environment
        company = attempt.metrics.get("runs_at_once", 1.0) if self.apart else None
        facts: dict[str, Any] = {
            name: getattr(at, name) for name in ("device", "device_name", "cpu", "threads", "engine_path")
        }
        facts["versions"] = {name: at.versions[name] for name in _LIBRARIES if name in at.versions}
        facts["at_once"] = int(company) if company is not None and math.isfinite(company) else None
        return self._found.setdefault(repr(facts), Place(len(self._found) + 1, **facts)).number

    @property
    def all(self) -> tuple[Place, ...]:
        return tuple(self._found.values())


def _points(
    by_code: Mapping[str, _Found], numbers: Mapping[str, int], metric: str, places: _Places
) -> tuple[Point, ...]:
    points: list[Point] = []
    for code_id in sorted(by_code, key=lambda one: numbers[one]):
        found = by_code[code_id]
        values = {seed: attempt.measured.get(metric, math.nan) for seed, attempt in found.done.items()}
        values = {seed: value for seed, value in values.items() if math.isfinite(value)}
        summary = summarise(list(values.values())) if values else None
        half = summary.half_interval if summary else None
        before = next((point for point in reversed(points) if point.n), None)
        points.append(
            Point(
                code=numbers[code_id],
                places=tuple(sorted({places.number(attempt) for attempt in found.attempts})),
                seeds=tuple(values),
                values=tuple(values.values()),
                failed=len(found.failed),
                unmeasured=len(found.done) - len(values),
                n=len(values),
                mean=summary.mean if summary else None,
                sd=summary.sd if summary else None,
                low=summary.mean - half if summary and half is not None else None,
                high=summary.mean + half if summary and half is not None else None,
                change=_change(before, values) if before and values else None,
            )
        )
    return tuple(points)


def _change(before: Point, values: Mapping[int, float]) -> Change:
    was, now = before.values, tuple(values.values())
    difference = summarise(now).mean - summarise(was).mean
    if dict(zip(before.seeds, was, strict=True)) == values:
        return Change(before.code, 0.0, why="equal, seed by seed")
    if min(len(was), len(now)) < MIN_SEEDS:
        return Change(before.code, difference, why=f"an interval needs {MIN_SEEDS} seeds on each side")
    estimate = welch(now, was)
    if estimate is None:
        return Change(before.code, difference, why="no spread between seeds")
    return Change(before.code, difference, *estimate.interval(LEVEL))


def _nothing(suite: Suite, metric: Metric, cells: Sequence[Cell], here: Iterable[RunRecord]) -> str:
    """Say why there is nothing to show, and what to do."""
    done = [record.counted for record in here if record.counted]
    which = "" if len(cells) == len(suite.cells) else " of these cells"
    if not done:
        return (
            f"suite {suite.name!r}: no run{which} under protocol {suite.protocol_name!r} is done: there is no history; "
            "'ranbench run SUITE' makes the runs, and --protocol NAME shows those of another protocol"
        )
    measured = ", ".join(sorted({name for attempt in done for name in attempt.measured}))
    return f"suite {suite.name!r}: none of {len(done)} done runs{which} measured {metric.name} (measured: {measured})"
