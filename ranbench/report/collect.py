"""Which record belongs to which cell and seed of a suite, and what a report may say of it. No averages here.

Host, user, raw command and patch never leave this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ranbench.places import without_places
from ranbench.records import Attempt, Environment, RunRecord, State
from ranbench.spec import Fidelity, Protocol, RunSpec, canonical, differences, fidelity
from ranbench.suite import Cell, Suite

NOT_RUN = "not run"
_RELATIVE = re.compile(r"(?<![\w/.\\])\.{1,2}[/\\]+(?:[^\s/\\'\"]+[/\\]+)*")
_LEAST_FIRST = ("smoke", "scaled", "full")


@dataclass(frozen=True)
class RunRow:
    """One run as a report shows it: ``cell`` counts the suite's cells from 1, ``environment`` the report's from 1.

    ``state`` is done, failed, interrupted, running or "not run". ``metrics`` are those of the counted attempt with what
    the suite asks to be measured of its weights, finite ones only; ``superseded`` counts its earlier done attempts,
    ``failures`` the earlier failed ones.
    """

    cell: int
    seed: int
    fingerprint: str
    state: str
    reason: str | None = None
    error: str | None = None
    step: int = 0
    iterations: int = 0
    attempt_id: int | None = None
    attempt: int | None = None
    superseded: int = 0
    failures: int = 0
    resumes: int = 0
    resumed_inexactly: bool = False
    code_id: str | None = None
    environment: int | None = None
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class EnvironmentRow:
    """Where runs ran, without host, user, command and patch. ``number`` is what the run tables refer to."""

    number: int
    device: str
    device_name: str
    cpu: str
    cores: int
    memory_bytes: int
    threads: int
    engine_path: str
    python: str
    platform: str
    versions: Mapping[str, str]
    commit: str | None
    dirty: bool


@dataclass(frozen=True)
class OtherRuns:
    """Runs of the suite's cells under another protocol than the suite's."""

    protocol: Protocol
    fidelity: Fidelity
    differences: tuple[str, ...]
    runs: tuple[RunRow, ...]


@dataclass(frozen=True)
class Collected:
    """All runs of a suite's cells: those planned (cell by cell, seed by seed), further seeds, other protocols."""

    records: tuple[RunRecord, ...]
    runs: tuple[RunRow, ...]
    extra_seeds: Mapping[int, tuple[int, ...]]
    others: tuple[OtherRuns, ...]
    environments: tuple[EnvironmentRow, ...]


def collect(suite: Suite, records: Iterable[RunRecord]) -> Collected:
    """Sort ``records`` by the cells of ``suite``; those of other cells are left out.

    Raises:
        SpecError: a stored spec that this version cannot read.
    """
    if not suite.trains:
        return Collected((), (), {}, (), ())
    found = {record.fingerprint: record for record in records}
    numbers = _Environments()
    planned = [(i, cell.run(suite.protocol, s)) for i, cell in enumerate(suite.cells, 1) for s in suite.seeds]
    used = tuple(found.pop(spec.fingerprint) for _, spec in planned if spec.fingerprint in found)
    kept = {record.fingerprint: record for record in used}
    runs = tuple(_row(i, spec, kept.get(spec.fingerprint), numbers, suite.probes) for i, spec in planned)
    rest = [(number, spec, record) for record in found.values() for number, spec in _placed(suite, record)]
    rest.sort(key=lambda item: (item[0], item[1].seed))
    extra: dict[int, tuple[int, ...]] = {}
    groups: dict[str, list[tuple[int, RunSpec, RunRecord]]] = {}
    for number, spec, record in rest:
        if suite.cells[number - 1].run(suite.protocol, spec.seed) == spec:
            extra[number] = (*extra.get(number, ()), spec.seed)
        else:
            groups.setdefault(canonical(spec.protocol), []).append((number, spec, record))
    others = sorted((_other(suite, group, numbers) for _, group in sorted(groups.items())), key=_most_faithful_first)
    return Collected(used, runs, extra, tuple(others), numbers.rows)


def standing(runs: Sequence[RunRow]) -> str:
    """Say why a cell has no value; what was done weighs more than what failed, and that more than what waits."""
    states = {run.state for run in runs}
    for state, word in (("done", "missing"), ("failed", "failed"), ("running", "unfinished")):
        if state in states:
            return word
    return "unfinished" if "interrupted" in states else NOT_RUN


def cell_fidelity(suite: Suite, cell: Cell, protocol: Protocol) -> Fidelity:
    """Return how far a cell's runs under ``protocol`` stand from the suite's reference."""
    return fidelity(protocol, suite.reference, cell.data)


def error_line(text: str) -> str:
    """Put an error on one line of at most 160 characters, without paths, servers and users.

    Of a traceback only what it ends with is kept. The same comes out of an error that went through a bundle.
    """
    line = without_places(_RELATIVE.sub("", " ".join(_end_of_traceback(text).split())))
    return line if len(line) <= 160 else f"{line[:159]}…"


def _end_of_traceback(text: str) -> str:
    """Return what was raised last: the lines behind the last one of code, which are not indented."""
    if not text.startswith("Traceback "):
        return text
    lines = text.rstrip().splitlines()
    code = [index for index, line in enumerate(lines) if line.startswith("  ")]
    return "\n".join(lines[code[-1] + 1 :] if code else lines) or text


class _Environments:
    """Numbers distinct environments in the order of their first use."""

    def __init__(self) -> None:
        self._found: dict[str, EnvironmentRow] = {}

    def number(self, environment: Environment) -> int:
        names = [name for name in EnvironmentRow.__dataclass_fields__ if name != "number"]
        facts = {name: getattr(environment, name) for name in names}
        facts["versions"] = dict(sorted(environment.versions.items()))
        row = self._found.setdefault(repr(facts), EnvironmentRow(number=len(self._found) + 1, **facts))
        return row.number

    @property
    def rows(self) -> tuple[EnvironmentRow, ...]:
        return tuple(self._found.values())


def _placed(suite: Suite, record: RunRecord) -> list[tuple[int, RunSpec]]:
    spec = RunSpec.stored(record.fingerprint, record.spec)
    identity = (spec.model, spec.data, spec.noise)
    return [(i, spec) for i, cell in enumerate(suite.cells, 1) if (cell.model, cell.data, cell.noise) == identity]


def _other(suite: Suite, group: Sequence[tuple[int, RunSpec, RunRecord]], numbers: _Environments) -> OtherRuns:
    protocol = group[0][1].protocol
    cells = {number: suite.cells[number - 1] for number, _, _ in group}
    least = min((cell_fidelity(suite, cell, protocol) for cell in cells.values()), key=_LEAST_FIRST.index)
    runs = tuple(_row(number, spec, record, numbers, suite.probes) for number, spec, record in group)
    return OtherRuns(protocol, least, differences(protocol, suite.reference), runs)


def _most_faithful_first(other: OtherRuns) -> int:
    return -_LEAST_FIRST.index(other.fidelity)


def _row(cell: int, spec: RunSpec, record: RunRecord | None, numbers: _Environments, probes: Sequence[str]) -> RunRow:
    attempt = (record.counted or record.latest) if record else None
    if record is None or attempt is None:
        return RunRow(cell, spec.seed, spec.fingerprint, NOT_RUN)
    earlier = [other for other in record.results if other.number < attempt.number]
    return RunRow(
        cell=cell,
        seed=spec.seed,
        fingerprint=spec.fingerprint,
        state=attempt.state.value,
        reason=attempt.reason.value if attempt.reason else None,
        error=error_line(attempt.error) if attempt.error else None,
        step=attempt.step,
        iterations=attempt.iterations,
        attempt_id=attempt.id,
        attempt=attempt.number,
        superseded=sum(other.state is State.DONE for other in earlier),
        failures=sum(other.state is State.FAILED for other in earlier),
        resumes=attempt.resumes,
        resumed_inexactly=attempt.resumed_inexactly,
        code_id=attempt.code_id,
        environment=numbers.number(attempt.environment),
        metrics=_finite(attempt, probes) if attempt.state is State.DONE else {},
    )


def _finite(attempt: Attempt, probes: Sequence[str]) -> dict[str, float]:
    """Return the finite values; what a suite does not ask for may be measured later, and must not change its report."""
    asked = replace(attempt, probes=tuple(probe for probe in attempt.probes if probe.kind in probes))
    return {name: value for name, value in sorted(asked.measured.items()) if math.isfinite(value)}
