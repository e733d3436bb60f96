"""The file of a baseline: a line of JSON for each record, sorted, with every digit, so that a change is a short diff.

    {"kind":"baseline", "form":1, ...}    what made it: code, versions, machine; how many lines of each kind follow
    {"kind":"suite", ...}                 its hash, and how many cells follow
    {"kind":"claim", ...}                 the outcome of a claim
    {"kind":"floor", ...}                 the spread of a metric among the seeds of the suite's cells
    {"kind":"cell", ...}                  counts, failed runs, and how many metrics follow
    {"kind":"values", ...}                a metric of a cell: its raw value of each seed
    {"kind":"jobs", ...}                  time and memory of its step, of each job that measured them
    {"kind":"fixed", ...}                 a record of the free layer, which this module does not look into
    {"kind":"exception", ...}             written by hand: what may be worse, why, and until when

Numbers of lines are stored, so that a line that is lost in an edit or a merge is told, never read as "not measured".
Exceptions alone are not numbered, for they are written by hand: one that is lost excuses nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ranbench.errors import NothingMeasured, UsageError, nearest, one_line
from ranbench.regression.findings import Exempt, day
from ranbench.regression.values import OUTCOMES, SHOWN, WATCHED, CellResult, Jobs, Place, SuiteResult

FORM = 1
KINDS = ("baseline", "suite", "claim", "floor", "cell", "values", "jobs", "fixed", "exception")
NUMBERED = KINDS[1:-1]  # whose numbers the head holds
METRICS = (*WATCHED, *SHOWN)
LARGEST, LONGEST = 2**63, 20  # of a whole number, and its characters
DAMAGED = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError)
T = TypeVar("T")
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Header:
    """What made a baseline; ``environment`` names neither host nor user."""

    code_id: str
    commit: str | None
    versions: Mapping[str, str]
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class Floor:
    """The spread (standard deviation) of a metric from seed to seed, on its scale: the median over ``cells`` cells."""

    suite: str
    metric: str
    sd: float
    cells: int


@dataclass(frozen=True)
class Baseline:
    """A frozen set of results with all that is needed to compare others with it."""

    header: Header
    suites: Mapping[str, SuiteResult]
    floors: tuple[Floor, ...] = ()
    fixed: tuple[Line, ...] = ()
    exceptions: tuple[Exempt, ...] = ()
    file: str = field(default="", compare=False)
    fixed_at: tuple[int, ...] = field(default=(), compare=False)  # numbers of the lines of ``fixed``

    def floor(self, suite: str, metric: str) -> Floor | None:
        """Return the spread that is known of a metric, or None."""
        return next((one for one in self.floors if (one.suite, one.metric) == (suite, metric)), None)


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline in one piece: the file is either the former or the new one, never a part.

    Raises:
        UsageError: it cannot be written.
    """
    text = "".join(f"{_dump(line)}\n" for line in lines_of(baseline))
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written: {one_line(error)}") from None


def lines_of(baseline: Baseline) -> Iterator[dict[str, Any]]:
    """Yield the records of a baseline in the order of its file."""
    below = list(_below_head(baseline))
    numbers = {kind: sum(line["kind"] == kind for line in below) for kind in NUMBERED}
    yield {"kind": "baseline", "form": FORM, **asdict(baseline.header), "lines": numbers}
    yield from below


def _below_head(baseline: Baseline) -> Iterator[dict[str, Any]]:
    for name in sorted(baseline.suites):
        suite = baseline.suites[name]
        about = {"sha256": suite.sha256, "trains": suite.trains, "cells": len(suite.cells)}
        yield {"kind": "suite", "suite": name, **about, "claims": len(suite.claims)}
        for claim, outcome in sorted(suite.claims.items()):
            yield {"kind": "claim", "suite": name, "claim": claim, "outcome": outcome}
        for floor in sorted((one for one in baseline.floors if one.suite == name), key=lambda one: one.metric):
            yield {"kind": "floor", **asdict(floor)}
        for cell in sorted(suite.cells, key=lambda cell: (cell.label, cell.cell_id)):
            yield from _of_cell(name, cell)
    yield from sorted(baseline.fixed, key=_dump)  # type: ignore[misc] # mappings of JSON
    for exception in sorted(baseline.exceptions, key=lambda one: tuple(asdict(one).values())):
        yield {"kind": "exception", **asdict(exception)}


def _of_cell(suite: str, cell: CellResult) -> Iterator[dict[str, Any]]:
    places = list(dict.fromkeys(cell.places[seed] for seed in sorted(cell.places)))
    yield {
        "kind": "cell",
        "suite": suite,
        "cell": cell.label,
        "cell_id": cell.cell_id,
        "counts": dict(sorted(cell.counts.items())),
        "failed": {str(seed): why for seed, why in sorted(cell.failed.items())},
        "metrics": len(cell.values),
        "places": [asdict(place) for place in places],
        "jobs": cell.jobs is not None,
    }
    where = {place: index for index, place in enumerate(places)}
    for metric, values in sorted(cell.values.items()):
        seeds = sorted(values)
        yield {
            "kind": "values",
            "suite": suite,
            "cell_id": cell.cell_id,
            "metric": metric,
            "seeds": seeds,
            "values": [values[seed] for seed in seeds],
            "at": [where[cell.places[seed]] for seed in seeds],
        }
    if cell.jobs is not None:
        measured = {metric: list(values) for metric, values in sorted(cell.jobs.values.items())}
        about = {"suite": suite, "cell_id": cell.cell_id}
        yield {"kind": "jobs", **about, "values": measured, "place": asdict(cell.jobs.place)}


def _dump(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        NothingMeasured: there is no such file, it is empty, or a line does not hold; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NothingMeasured(
            f"{path}: there is no such baseline; 'ranbench baseline save {path} SUITE' makes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NothingMeasured(f"{path}: cannot be read as a baseline: {one_line(error)}") from None
    return _Reader(str(path)).read(text)


class _Reader:
    """Reads one file, strictly; every refusal names the line."""

    def __init__(self, file: str):
        self.file, self.number = file, 0
        self.header: Header | None = None
        self.suites: dict[str, tuple[int, Line]] = {}
        self.claims: dict[str, dict[str, str]] = {}
        self.floors: list[Floor] = []
        self.cells: dict[tuple[str, str], tuple[int, Line]] = {}
        self.values: dict[tuple[str, str], dict[str, Line]] = {}
        self.jobs: dict[tuple[str, str], Line] = {}
        self.fixed: list[Line] = []
        self.fixed_at: list[int] = []
        self.keys: dict[tuple[str, ...], int] = {}
        self.numbers: Mapping[str, int] = {}
        self.exceptions: list[Exempt] = []

    def read(self, text: str) -> Baseline:
        """Return what the file holds.

        Raises:
            NothingMeasured: it does not hold.
        """
        for number, content in enumerate(text.split("\n"), start=1):
            if not content.strip():
                continue
            self.number = number
            line = self._object(content)
            kind = self._take(line, "kind", str)
            if kind not in KINDS:
                self._refuse(f"kind {kind!r} is not known{nearest(kind, KINDS)} (allowed: {', '.join(KINDS)})")
            if (kind == "baseline") == (self.header is not None):
                self._refuse("a second head" if self.header else f"expected the head of a baseline first, got {kind!r}")
            try:
                getattr(self, f"_{kind}")(line)
            except DAMAGED as error:
                self._refuse(f"does not hold: {type(error).__name__}: {one_line(error)[:80]}")
        if self.header is None:
            raise NothingMeasured(f"{self.file}: holds no baseline; 'ranbench baseline save' makes one")
        if not self.suites and not self.fixed:
            raise NothingMeasured(f"{self.file}: the baseline is empty, so that nothing could be compared with it")
        self._all_there()
        suites = {name: self._suite_of(name, *self.suites[name]) for name in self.suites}
        made = (tuple(self.floors), tuple(self.fixed), tuple(self.exceptions))
        return Baseline(self.header, suites, *made, self.file, tuple(self.fixed_at))

    def _all_there(self) -> None:
        """Compare the numbers of lines with those that the head says."""
        for kind, said in self.numbers.items():
            found = sum(key[0] == kind for key in self.keys)
            if found != said:
                raise NothingMeasured(
                    f"{self.file}:1: says {said} lines of kind {kind!r}, but {found} stand in the file; "
                    "lines are lost or were added"
                )

    def _once_only(self, kind: str, *key: str) -> None:
        """Refuse a second line of one kind about one thing."""
        first = self.keys.setdefault((kind, *key), self.number)
        if first != self.number:
            self._refuse(f"a second line of kind {kind!r} about {' / '.join(key)!r}; the first is line {first}")

    def _object(self, content: str) -> Line:
        line: Any = None
        try:
            line = json.loads(
                content,
                object_pairs_hook=self._once,
                parse_constant=self._no_constant,
                parse_float=self._float,
                parse_int=self._int,
            )
        except (ValueError, RecursionError) as error:
            self._refuse(f"is no JSON: {one_line(error)[:120]}")
        if not isinstance(line, dict):
            self._refuse(f"expected an object of JSON, got {content[:40]!r}")
        found: Line = line
        return found

    def _once(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            self._refuse(f"the key {twice!r} stands twice")
        return dict(pairs)

    def _no_constant(self, text: str) -> float:
        self._refuse(f"holds {text}, which is no measured number")

    def _float(self, text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else self._no_constant(text)

    def _int(self, text: str) -> int:
        if len(text) > LONGEST or not -LARGEST < int(text) < LARGEST:
            self._no_constant(f"{text[:20]}..." if len(text) > LONGEST else text)
        return int(text)

    def _refuse(self, text: str) -> NoReturn:
        raise NothingMeasured(f"{self.file}:{self.number}: {text}")

    def _take(self, line: Line, key: str, kind: type[T], check: Callable[[Any], bool] = lambda _: True) -> T:
        """Return a value of the line that must be there, of a type, and hold."""
        if key not in line:
            self._refuse(f"lacks {key!r}{nearest(key, line)}")
        value = line[key]
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not fits or not check(value):
            self._refuse(f"{key}: does not hold here: {str(value)[:60]!r}")
        return value  # type: ignore[no-any-return] # what JSON gave, of the type

    def _only(self, line: Line, *keys: str) -> None:
        extra = [key for key in line if key not in ("kind", *keys)]
        if extra:
            self._refuse(f"unknown key {extra[0]!r}{nearest(extra[0], keys)} (allowed: {', '.join(keys)})")

    def _baseline(self, line: Line) -> None:
        form = self._take(line, "form", int)
        if form != FORM:
            told = "by a newer version of ranbench" if form > FORM else "by an older version of ranbench"
            self._refuse(
                f"form {form} was written {told}, this one reads {FORM}; 'ranbench baseline save' makes it new"
            )
        self._only(line, "form", "code_id", "commit", "versions", "environment", "lines")
        numbers = self._take(line, "lines", dict, lambda numbers: numbers.keys() == set(NUMBERED))
        if not all(type(number) is int and number >= 0 for number in numbers.values()):
            self._refuse(f"lines: expected a number of lines for each kind, got {str(numbers)[:80]}")
        self.numbers = numbers
        commit = None if line.get("commit") is None else self._take(line, "commit", str)
        versions, environment = self._take(line, "versions", dict), self._take(line, "environment", dict)
        self.header = Header(self._take(line, "code_id", str), commit, versions, environment)

    def _suite(self, line: Line) -> None:
        self._only(line, "suite", "sha256", "trains", "cells", "claims")
        name = self._take(line, "suite", str)
        for key in ("cells", "claims"):
            self._take(line, key, int, lambda value: value >= 0)
        self._take(line, "trains", bool)
        self._take(line, "sha256", str)
        self._once_only("suite", name)
        self.suites[name] = (self.number, line)

    def _claim(self, line: Line) -> None:
        self._only(line, "suite", "claim", "outcome")
        claims = self.claims.setdefault(self._known_suite(line), {})
        claim = self._take(line, "claim", str)
        self._once_only("claim", line["suite"], claim)
        outcome = self._take(line, "outcome", str)
        if outcome not in OUTCOMES:
            self._refuse(
                f"outcome {outcome!r} is not known{nearest(outcome, OUTCOMES)} (allowed: {', '.join(OUTCOMES)})"
            )
        claims[claim] = outcome

    def _floor(self, line: Line) -> None:
        self._only(line, "suite", "metric", "sd", "cells")
        metric = self._take(line, "metric", str, METRICS.__contains__)
        spread = float(self._take(line, "sd", (int, float), lambda value: 0 <= value < math.inf))  # type: ignore[arg-type]
        cells = self._take(line, "cells", int, lambda value: value > 0)
        suite = self._known_suite(line)
        self._once_only("floor", suite, metric)
        self.floors.append(Floor(suite, metric, spread, cells))

    def _cell(self, line: Line) -> None:
        self._only(line, "suite", "cell", "cell_id", "counts", "failed", "metrics", "places", "jobs")
        key = self._known_suite(line), self._take(line, "cell_id", str)
        self._take(line, "cell", str)
        self._take(line, "counts", dict, lambda counts: all(type(one) is int for one in counts.values()))
        self._take(line, "failed", dict, _failures)
        self._take(line, "metrics", int)
        self._take(line, "jobs", bool)
        for place in self._take(line, "places", list):
            self._place(place)
        self._once_only("cell", *key)
        self.cells[key] = (self.number, line)

    def _values(self, line: Line) -> None:
        self._only(line, "suite", "cell_id", "metric", "seeds", "values", "at")
        key, metric = self._known_cell(line), self._take(line, "metric", str, METRICS.__contains__)
        seeds = self._take(line, "seeds", list, lambda seeds: all(type(one) is int and one >= 0 for one in seeds))
        values = self._take(line, "values", list, _numbers)
        places = len(self.cells[key][1]["places"])
        at = self._take(line, "at", list, lambda at: all(type(one) is int and 0 <= one < places for one in at))
        if not len(seeds) == len(set(seeds)) == len(values) == len(at):
            self._refuse(f"{metric}: {len(seeds)} seeds, {len(values)} values and {len(at)} places; one of each a run")
        self._once_only("values", *key, metric)
        self.values.setdefault(key, {})[metric] = line

    def _jobs(self, line: Line) -> None:
        self._only(line, "suite", "cell_id", "values", "place")
        key = self._known_cell(line)
        for metric, values in self._take(line, "values", dict).items():
            if (
                metric not in METRICS
                or not isinstance(values, list)
                or not _numbers(values)
                or min(values, default=0) <= 0
            ):
                self._refuse(
                    f"values: expected numbers above zero of a known metric, got {metric!r}: {str(values)[:60]}"
                )
        self._place(self._take(line, "place", dict))
        self._once_only("jobs", *key)
        self.jobs[key] = line

    def _fixed(self, line: Line) -> None:
        self._take(line, "suites", list, lambda suites: all(isinstance(one, str) for one in suites))
        self._once_only("fixed", self._take(line, "key", str))
        self.fixed.append(line)
        self.fixed_at.append(self.number)

    def _exception(self, line: Line) -> None:
        keys = tuple(Exempt.__dataclass_fields__)
        self._only(line, *keys)
        found = {key: self._take(line, key, str, lambda text: bool(text.strip())) for key in keys}
        try:
            day(found["until"])
        except ValueError:
            self._refuse(f"until: expected a day as YYYY-MM-DD, got {found['until']!r}")
        self._once_only("exception", found["suite"], found["cell"], found["metric"])
        self.exceptions.append(Exempt(**found))

    def _place(self, found: Any) -> Place:
        fields = Place.__dataclass_fields__
        if not isinstance(found, dict) or found.keys() != fields.keys():
            self._refuse(f"a place: expected exactly {', '.join(fields)}")
        for name in fields:
            self._take(found, name, int if name in ("cores", "threads") else str)
        return Place(**found)

    def _known_suite(self, line: Line) -> str:
        name = self._take(line, "suite", str)
        if name not in self.suites:
            self._refuse(f"suite {name!r} has no line of its own before this one")
        return name

    def _known_cell(self, line: Line) -> tuple[str, str]:
        key = self._known_suite(line), self._take(line, "cell_id", str)
        if key not in self.cells:
            self._refuse(f"cell {key[1][:12]!r} has no line of its own before this one")
        return key

    def _suite_of(self, name: str, number: int, line: Line) -> SuiteResult:
        """Put a suite together; every line that was written must be there."""
        self.number = number
        cells = [key for key in self.cells if key[0] == name]
        claims = self.claims.get(name, {})
        for what, said, found in (("cells", line["cells"], len(cells)), ("claims", line["claims"], len(claims))):
            if said != found:
                self._refuse(f"says {said} {what}, but {found} stand in the file; lines are lost or were added")
        made = tuple(self._cell_of(key) for key in cells)
        return SuiteResult(name, line["sha256"], line["trains"], made, claims)

    def _cell_of(self, key: tuple[str, str]) -> CellResult:
        self.number, line = self.cells[key]
        lines = self.values.get(key, {})
        if line["metrics"] != len(lines):
            self._refuse(f"says {line['metrics']} metrics, but {len(lines)} stand in the file; lines are lost or added")
        if line["jobs"] != (key in self.jobs):
            self._refuse("says whether jobs measured it, and the file has it otherwise; lines are lost or added")
        known = [self._place(place) for place in line["places"]]
        values: dict[str, Mapping[int, float]] = {}
        places: dict[int, Place] = {}
        for metric, one in lines.items():
            values[metric] = dict(zip(one["seeds"], map(float, one["values"]), strict=True))
            places |= {seed: known[index] for seed, index in zip(one["seeds"], one["at"], strict=True)}
        jobs = self.jobs.get(key)
        return CellResult(
            cell_id=key[1],
            label=line["cell"],
            counts=line["counts"],
            values=values,
            failed={int(seed): why for seed, why in line["failed"].items()},
            places=places,
            jobs=self._jobs_of(jobs) if jobs else None,
        )

    def _jobs_of(self, line: Line) -> Jobs:
        measured = {metric: tuple(map(float, values)) for metric, values in line["values"].items()}
        return Jobs(measured, self._place(line["place"]))


def _failures(failed: Mapping[str, Any]) -> bool:
    return all(re.fullmatch("[0-9]{1,10}", seed) and isinstance(why, str) for seed, why in failed.items())


def _numbers(values: Iterable[Any]) -> bool:
    return all(type(one) in (int, float) and math.isfinite(one) for one in values)
