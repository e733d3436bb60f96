"""Our runs beside those of other result sets: what differs, by how much, and whether the data can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ranbench.records import Attempt, RunRecord
from ranbench.report.collect import RunRow, collect, standing
from ranbench.statistics import Estimate, HolmStep, Summary, holm, summarise, welch
from ranbench.suite import Suite

OURS = "ours"
MIN_SEEDS = 3


@dataclass(frozen=True)
class ResultSet:
    """One set of results, from a database or bundle, by what may make its numbers others."""

    name: str
    done: int
    planned: int
    code: tuple[str, ...]
    devices: tuple[str, ...]
    torch: tuple[str, ...]
    commits: tuple[str, ...]


@dataclass(frozen=True)
class BesideRow:
    """One cell's results beside those of another set, under the same protocol.

    ``difference`` is ours minus theirs. ``low`` and ``high`` are its two-sided interval at ``level``, which is Holm's
    over all rows that are tested; ``p`` is adjusted likewise. ``answer``: "yes" where the data tell the two apart,
    "no" where they do not, else why there is no test. ``our_standing`` and ``their_standing`` say why a side has no
    result, as in ``ResultRow``; ``our_failed`` and ``their_failed`` count its failed seeds.
    """

    cell: int
    label: str
    axes: Mapping[str, str | int | float]
    metric: str
    name: str
    ours: Summary | None
    theirs: Summary | None
    difference: float | None
    low: float | None
    high: float | None
    level: float | None
    p: float | None
    answer: str
    our_standing: str
    their_standing: str
    our_failed: int
    their_failed: int


def result_sets(
    suite: Suite, records: Sequence[RunRecord], others: Mapping[str, Sequence[RunRecord]]
) -> tuple[ResultSet, ...]:
    """Describe our set and the others; none where there is no other."""
    return tuple(_set(suite, name, found) for name, found in {OURS: records, **others}.items()) if others else ()


def beside(
    suite: Suite,
    metrics: Sequence[str],
    records: Sequence[RunRecord],
    others: Mapping[str, Sequence[RunRecord]],
) -> tuple[BesideRow, ...]:
    """Compare every cell's results with those of each other set.

    Args:
        suite: whose cells, protocol and seeds are compared.
        metrics: what is compared.
        records: our runs.
        others: the runs of other sets, by their names.
    """
    mine = _side(suite, records)
    found = [
        _compared(suite, number, metric, mine, theirs, name=name)
        for name, theirs in ((name, _side(suite, runs)) for name, runs in others.items())
        for metric in metrics
        for number in range(1, len(suite.cells) + 1)
    ]
    steps = iter(holm([estimate.p_outside(0.0) for _, estimate in found if estimate]))
    return tuple(_judged(row, estimate, next(steps)) if estimate else row for row, estimate in found)


Attempts = Mapping[int, Mapping[int, Attempt]]


@dataclass(frozen=True)
class _Side:
    """One set's counted attempts by cell and seed, and all of its runs, whatever became of them."""

    attempts: Attempts
    runs: tuple[RunRow, ...]

    def of(self, cell: int) -> list[RunRow]:
        """The runs of a cell."""
        return [run for run in self.runs if run.cell == cell]


def _side(suite: Suite, records: Sequence[RunRecord]) -> _Side:
    found = collect(suite, records)
    counted = {record.fingerprint: record.counted for record in found.records}
    attempts = {
        number: {
            seed: attempt
            for seed in suite.seeds
            if (attempt := counted.get(cell.run(suite.protocol, seed).fingerprint)) is not None
        }
        for number, cell in enumerate(suite.cells, 1)
    }
    return _Side(attempts, found.runs)


def _compared(
    suite: Suite, number: int, metric: str, mine: _Side, other: _Side, *, name: str
) -> tuple[BesideRow, Estimate | None]:
    cell = suite.cells[number - 1]
    ours, theirs = (_values(side.attempts[number], metric) for side in (mine, other))
    a, b = (summarise(list(values.values())) if values else None for values in (ours, theirs))
    refused = _refused(mine.attempts[number], other.attempts[number], ours, theirs)
    estimate = None if refused else welch(list(ours.values()), list(theirs.values()))
    row = BesideRow(
        cell=number,
        label=suite.label(cell),
        axes={axis: cell.axes[axis] for axis in suite.varying if axis in cell.axes},
        metric=metric,
        name=name,
        ours=a,
        theirs=b,
        difference=a.mean - b.mean if a and b else None,
        low=None,
        high=None,
        level=None,
        p=None,
        answer=refused or "no spread between seeds: no test",
        our_standing="done" if a else standing(mine.of(number)),
        their_standing="done" if b else standing(other.of(number)),
        our_failed=sum(run.state == "failed" for run in mine.of(number)),
        their_failed=sum(run.state == "failed" for run in other.of(number)),
    )
    return row, estimate


def _values(attempts: Mapping[int, Attempt], metric: str) -> dict[int, float]:
    values = {seed: attempt.metrics.get(metric, math.nan) for seed, attempt in attempts.items()}
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def _refused(
    mine: Mapping[int, Attempt], other: Mapping[int, Attempt], ours: Mapping[int, float], theirs: Mapping[int, float]
) -> str | None:
    """Say why two groups are not tested: they are no two independent samples, or too small."""
    if not ours or not theirs:
        return "neither has a result" if not ours and not theirs else f"only {'theirs' if not ours else OURS}"
    shared = {mine[seed].uid for seed in ours} & {other[seed].uid for seed in theirs} - {""}
    if shared:
        same = len(shared) == len(ours) == len(theirs)
        return "the same runs" if same else f"{len(shared)} run{'s' if len(shared) > 1 else ''} in both: no test"
    if ours == theirs:
        return "equal, seed by seed"
    if min(len(ours), len(theirs)) < MIN_SEEDS:
        return "a test needs three seeds on each side"
    return None


def _judged(row: BesideRow, estimate: Estimate, step: HolmStep) -> BesideRow:
    low, high = estimate.interval(step.level)
    return replace(row, low=low, high=high, level=step.level, p=step.p, answer="yes" if step.rejected else "no")


def _set(suite: Suite, name: str, records: Sequence[RunRecord]) -> ResultSet:
    attempts = [attempt for seeds in _side(suite, records).attempts.values() for attempt in seeds.values()]
    places = [attempt.environment for attempt in attempts]
    return ResultSet(
        name=name,
        done=len(attempts),
        planned=len(suite.cells) * len(suite.seeds),
        code=_distinct([attempt.code_id[:8] for attempt in attempts]),
        devices=_distinct([f"{at.device_name} ({at.device})" for at in places]),
        torch=_distinct([at.versions.get("torch", "unknown") for at in places]),
        commits=_distinct([f"{at.commit[:12]}{' with changes' if at.dirty else ''}" for at in places if at.commit]),
    )


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
