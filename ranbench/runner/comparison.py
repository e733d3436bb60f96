"""What a run gave when it was trained again, beside what it gave before. Pure functions over records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ranbench.records import METRICS, Attempt

LOSS = "train_loss"
COST_UNITS = ("seconds", "images/s", "bytes", "runs")  # of time, memory and company, which say nothing about the net
PLACE_FIELDS = ("device", "device_name", "cpu", "engine_path", "threads")  # what bits depend on, beside versions

Answer = Literal["identical", "equal metrics", "different"]
Points = Mapping[int, float]


@dataclass(frozen=True)
class Outcome:
    """What a done attempt leaves behind; ``series`` by name as step -> value, ``weights`` as the hash of their file."""

    metrics: Mapping[str, float]
    series: Mapping[str, Points]
    predictions: bytes | None
    weights: str | None


@dataclass(frozen=True)
class FirstDifference:
    """The first point of a series that differs: over iterations ``first`` to ``last``, counted from 1."""

    first: int
    last: int
    before: float | None
    again: float | None
    series: str = LOSS


@dataclass(frozen=True)
class Comparison:
    """The answer, and what it rests on.

    Attributes:
        answer: ``identical``: everything is equal bit for bit. ``equal metrics``: the final metrics are.
        metrics: final metrics that both have.
        points: number of points of series that were compared.
        differing: parts that are not equal, by name.
        unknown: parts that one or both lack; where there is one, the answer is never ``identical``.
        first: where the training loss first differs, or where it does not, any other series.
    """

    answer: Answer
    metrics: tuple[str, ...]
    points: int
    differing: tuple[str, ...]
    unknown: tuple[str, ...]
    first: FirstDifference | None


@dataclass(frozen=True)
class Change:
    """Something that the bits of a result may depend on and that is not as it was."""

    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} {self.before} then, {self.now} now"


def compare(before: Outcome, again: Outcome) -> Comparison:
    """Compare two outcomes of one run, without times and memory."""
    parts = {**_metrics(before, again), **_series(before, again)}
    parts["predictions"] = (before.predictions, again.predictions)
    parts["weights"] = (before.weights, again.weights)
    unknown = tuple(name for name, pair in parts.items() if None in pair)
    differing = tuple(name for name, (ours, theirs) in parts.items() if ours != theirs and name not in unknown)
    metrics = tuple(name for name in _metrics(before, again) if name not in unknown)
    answer: Answer = "different"
    if metrics and not differing and not unknown:
        answer = "identical"
    elif metrics and not set(metrics) & set(differing):
        answer = "equal metrics"
    shared = before.series.keys() & again.series.keys()
    points = sum(len(before.series[name].keys() | again.series[name].keys()) for name in shared)
    return Comparison(answer, metrics, points, differing, unknown, _first_of_all(before.series, again.series))


def changes(before: Attempt, again: Attempt, library: str | None) -> tuple[Change, ...]:
    """Tell what the second attempt could not have as the first had it; ``library``: the one that the net comes from."""
    then, now = before.environment, again.environment
    found = [(name, getattr(then, name), getattr(now, name)) for name in PLACE_FIELDS]
    found += [
        (name, then.versions.get(name, "none"), now.versions.get(name, "none"))
        for name in (("torch", library) if library else ("torch",))
    ]
    found.append(("code_id", before.code_id[:12], again.code_id[:12]))
    found = [entry for entry in found if entry[1] != entry[2]]
    if before.resumed_inexactly or again.resumed_inexactly:
        found.append(("resumed inexactly", _word(before.resumed_inexactly), _word(again.resumed_inexactly)))
    return tuple(Change(name, str(old), str(new)) for name, old, new in found)


def _word(statement: bool) -> str:
    return "yes" if statement else "no"


def _metrics(before: Outcome, again: Outcome) -> dict[str, tuple[str | None, str | None]]:
    return {
        name: (_bits(before.metrics.get(name)), _bits(again.metrics.get(name)))
        for name in _names(before.metrics, again.metrics)
    }


def _series(before: Outcome, again: Outcome) -> dict[str, tuple[object, object]]:
    return {
        f"series {name}": (_all_bits(before.series.get(name)), _all_bits(again.series.get(name)))
        for name in _names(before.series, again.series)
    }


def _names(before: Iterable[str], again: Iterable[str]) -> list[str]:
    """Names of both, without what tells a cost."""
    names = dict.fromkeys([*before, *again])
    return [name for name in names if name not in METRICS or METRICS[name].unit not in COST_UNITS]


def _first_of_all(before: Mapping[str, Points], again: Mapping[str, Points]) -> FirstDifference | None:
    """The first difference of the training loss, whose points cover all iterations; else the earliest of the others."""
    shared = [name for name in _names(before, again) if name in before and name in again]
    found = [first for name in shared if (first := _first(name, before[name], again[name]))]
    return min(found, key=lambda first: (first.series != LOSS, first.last), default=None)


def _first(series: str, before: Points, again: Points) -> FirstDifference | None:
    done = 0
    for step in sorted(before.keys() | again.keys()):
        ours, theirs = before.get(step), again.get(step)
        if _bits(ours) != _bits(theirs):
            return FirstDifference(done + 1 if series == LOSS else step, step, ours, theirs, series)
        done = step
    return None


def _all_bits(points: Points | None) -> dict[int, str | None] | None:
    return None if points is None else {step: _bits(value) for step, value in points.items()}


def _bits(value: float | None) -> str | None:
    """A text that is equal where the bits are: not-a-number equals itself, zero does not equal minus zero."""
    return None if value is None else float(value).hex()
