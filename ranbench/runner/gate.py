"""The gate: trains what is missing for a night, gathers results of the present code, and makes or meets a baseline."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import is_foreign
from ranbench.claims import judge
from ranbench.counts import Counts
from ranbench.environment import choose_device, code_id, describe
from ranbench.errors import EnvironmentProblem, NothingMeasured, RanbenchError, one_line
from ranbench.records import Complexity, RunRecord, State
from ranbench.regression import (
    NOT_DUE,
    STOPPED,
    Baseline,
    Finding,
    Header,
    Jobs,
    Kind,
    Report,
    SuiteResult,
    compare,
    confirmed,
    doubtful,
    due,
    floors_of,
    identity,
    of_present_code,
    overdue,
    results_of,
)
from ranbench.regression.ordering import Row, cells_of, rows
from ranbench.regression.results import counts_of
from ranbench.regression.rules import CELL, RUNS
from ranbench.runner.choice import CLOSED
from ranbench.runner.driving import batch_size, batches
from ranbench.runner.estimates import Estimates
from ranbench.runner.events import Observer, Stop
from ranbench.runner.free_layer import FreeLayer
from ranbench.runner.how import How
from ranbench.runner.pace import measure_jobs
from ranbench.runner.suite import run
from ranbench.spec import complexity_key
from ranbench.store import Store
from ranbench.suite import MOST_FIRST_SEED, Cell, Counted, Suite

if TYPE_CHECKING:
    from ranbench.complexity.ledger import Memo

JOBS_SHARE = 0.5  # of a budget, which jobs may take before anything is trained; else training would leave them none


@dataclass(frozen=True)
class Where:
    """Where a gate works: database, folders, device, and how runs are executed."""

    store: Store
    data: Path
    results: Path
    device: str = "auto"
    how: How = field(default_factory=How)
    observer: Observer = field(default_factory=Observer)
    stop: Stop = field(default_factory=Stop)


@dataclass(frozen=True)
class Night:
    """What a check is asked for.

    Attributes:
        day: of the night, which the rotating sample and exceptions go by.
        cycle: see ``regression.due``.
        budget: seconds for training and measuring; None: no end.
        train: whether what is missing is trained.
        jobs: processes that measure time and memory of each due cell's step; within a budget, before all training for
            up to half of it, and after it for what is left.
        catches_up: whether cells that missed their turn, by the runs of the database, are due as well.
        trained: whether runs are compared, or exact counts alone.
        free: whether the fixed values of all nets are compared.
    """

    day: date
    cycle: str = "monthly"
    budget: float | None = None
    train: bool = True
    jobs: int = 0
    catches_up: bool = False
    trained: bool = True
    free: bool = False


def check(suites: Sequence[Suite], baseline: Baseline, where: Where, night: Night) -> Report:
    """Train what is missing of the cells that are due, compare with a baseline, and report.

    Raises:
        RanbenchError: as ``run`` does.
    """
    start = datetime.now(UTC)
    training = where.stop.within(night.budget)
    seen = [_seen_from_here(suite) for suite in suites]
    records = where.store.runs() if night.trained else []
    planned, late = _planned(seen, records, night)
    trained = [(suite, cells) for suite, cells in planned if suite.trains and cells]
    left: dict[str, str] = {}
    broken = _Broken()
    pacing = _Pacing(_turned(trained, night), where, night.jobs if night.train else 0)
    if night.trained and night.train:
        if night.budget is None:
            _train(trained, where, broken)
        else:
            pacing.measure(where.stop.within(night.budget * JOBS_SHARE))
            left = _train_within(trained, where, records, training, night.budget, broken)
        pacing.measure(training)
        left |= broken.left
    free: list[Finding] = []
    lacking: list[str] = []
    layer = FreeLayer(seen, where.observer, trusted=where.how.trust_imports, stop=where.stop)
    if night.free:
        free, lacking = layer.findings(baseline)
    counting = _Counting(layer.counts, broken)
    results = [_night(suite, cells, where, night, left, pacing.found, counting) for suite, cells in planned]
    stopped = where.stop.requested
    more = [*free, *broken.findings]
    report = compare(baseline, results, night.day.isoformat(), trained=night.trained, more=more, stopped=stopped)
    if doubtful(report):
        again = _other_seeds(report, trained, where, training, counting) if night.train else []
        why = "nothing is trained" if not night.train else STOPPED if where.stop.requested else "the time was over"
        report = confirmed(report, baseline, again, why)
    judged = _judged(trained, where.store) if night.trained else []
    report = replace(
        report, unmeasured=(*report.unmeasured, *lacking), notes=(*about_runs(judged, start), *report.notes)
    )
    waiting = sum(len(suite.cells) - len(cells) for suite, cells in planned if suite.trains)
    notes = []
    if waiting and night.trained:
        one = "1 cell is not due tonight; its net was counted"
        notes.append(one if waiting == 1 else f"{waiting} cells are not due tonight; their nets were counted")
    if late and night.trained:
        are = "1 cell is" if late == 1 else f"{late} cells are"
        notes.append(f"{are} trained tonight since no run was made on the night that was theirs")
    return replace(report, notes=(*notes, *report.notes), stopped=where.stop.signal)


def _other_seeds(
    report: Report, suites: Sequence[tuple[Suite, Sequence[Cell]]], where: Where, stop: Stop, counting: _Counting
) -> list[SuiteResult]:
    """Train as many other seeds of the cells that became worse, those that follow; return their results."""
    worse = {(one.suite, one.cell) for one in doubtful(report)}
    found = []
    for suite, cells in suites:
        again = tuple(cell for cell in cells if (suite.name, suite.label(cell)) in worse)
        if not again or stop.requested:
            continue
        first = max(suite.seeds) + 1
        other = suite.from_seed(first if first < MOST_FIRST_SEED else 0)
        labels = ", ".join(suite.label(cell) for cell in again)
        where.observer.note(f"{suite.name}: worse in {labels}; {len(other.seeds)} other seeds tell whether by chance")
        _run(replace(other, cells=again), where, stop)
        records = of_present_code(where.store.runs([spec.fingerprint for spec in other.runs()]))
        due_keys = {identity(suite, cell) for cell in again}
        found.append(_result(other, records, where, counting, due_keys=due_keys))
    return found


def _planned(
    suites: Sequence[Suite], records: Sequence[RunRecord], night: Night
) -> tuple[list[tuple[Suite, tuple[Cell, ...]]], int]:
    """Tell which cells of each suite are due, and how many of them are so since they missed their turn."""
    ended = _last_days(records, CLOSED)
    firsts = [attempt.started for record in records for attempt in record.results]
    since = min(firsts).astimezone(UTC).date() if firsts else night.day
    planned, late = [], 0
    for suite in suites:
        cells = due(suite, night.day, night.cycle)
        missed = overdue(suite, night.day, night.cycle, ended, since) if night.catches_up and suite.trains else ()
        tonight = {id(cell) for cell in (*cells, *missed)}
        late += len(tonight) - len(cells)
        planned.append((suite, tuple(cell for cell in suite.cells if id(cell) in tonight)))
    return planned, late


def _turned(suites: Sequence[tuple[Suite, Sequence[Cell]]], night: Night) -> list[tuple[Suite, Cell]]:
    """List all cells, beginning each night with another one: where time is short, none waits for ever."""
    cells = [(suite, cell) for suite, of_it in suites for cell in of_it]
    first = night.day.toordinal() % len(cells) if cells else 0
    return [*cells[first:], *cells[:first]]


def _judged(planned: Sequence[tuple[Suite, Sequence[Cell]]], store: Store) -> list[RunRecord]:
    """The runs of tonight's seeds, of the cells that are due."""
    asked = [
        cell.run(suite.protocol, seed).fingerprint for suite, cells in planned for cell in cells for seed in suite.seeds
    ]
    return [record for record in of_present_code(store.runs(asked)) if record.counted]


def about_runs(records: Sequence[RunRecord], start: datetime) -> list[str]:
    """Tell where all runs are older than the check, and where some were made with another version of torch."""
    from importlib.metadata import version

    counted = [attempt for record in records if (attempt := record.counted)]
    ends = [attempt.ended or attempt.updated for attempt in counted]
    notes = []
    if ends and max(ends) < start:
        days = sorted({f"{end:%Y-%m-%d}" for end in ends})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        runs = "1 run" if len(ends) == 1 else f"{len(ends)} runs"
        notes.append(f"no new run: {runs} of {when} were judged again; --seeds-from N takes other seeds")
    here = version("torch")  # as attempts have it, without the name of the build
    versions = [attempt.environment.versions.get("torch", "none") for attempt in counted]
    for other in sorted(set(versions) - {here}):
        notes.append(f"{versions.count(other)} of the runs were made with torch {other}; here is {here}")
    return notes


def save(suites: Sequence[Suite], where: Where, *, jobs: int, trained: bool = True, free: bool = True) -> Baseline:
    """Freeze what the database holds of suites, of the present code, with all seeds that there are.

    Of a suite without runs, which is told, counts and fixed values alone are kept.

    Args:
        suites: what is kept.
        where: the database, and where nets are measured.
        jobs: processes that measure time and memory of each cell's step.
        trained: whether runs are kept, or exact counts alone.
        free: whether fixed values of all nets are measured and kept.

    Raises:
        NothingMeasured: there is no run of any suite that the present code made, or a fixed value is not finite.
        EnvironmentProblem: a job that measures a step failed.
    """
    known = where.store.runs() if trained else []
    present = {suite.name: _present(suite, known) if suite.trains else [] for suite in suites}
    lacking = [suite for suite in suites if suite.trains and not any(one.counted for one in present[suite.name])]
    if trained and lacking and lacking == [suite for suite in suites if suite.trains]:
        raise NothingMeasured(_no_runs(lacking[0], where.store))
    made: dict[str, SuiteResult] = {}
    layer = FreeLayer(suites, where.observer, trusted=where.how.trust_imports, stop=where.stop, keeping=True)
    fixed = layer.lines() if free else ()
    counting = _Counting(layer.counts)
    pacing = _Pacing(
        [(suite, cell) for suite in suites for cell in _ran_cells(suite, present[suite.name])], where, jobs
    )
    pacing.measure(where.stop)
    failed = next((one for one in pacing.found.values() if isinstance(one, str)), None)
    if failed is not None:
        raise EnvironmentProblem(failed)
    for suite in suites:
        records = present[suite.name]
        if trained and suite in lacking:
            where.observer.note(f"{_no_runs(suite, where.store)}; its counts and fixed values alone are kept")
        made[suite.name] = _result(suite, records, where, counting, jobs=pacing.found)
    floors = tuple(floor for suite in made.values() for floor in floors_of(suite))
    return Baseline(_header(where), made, floors, fixed)


def _ran_cells(suite: Suite, records: Sequence[RunRecord]) -> list[Cell]:
    known = {record.cell_id for record in records}
    return [cell for cell in suite.cells if identity(suite, cell) in known]


def _no_runs(suite: Suite, store: Store) -> str:
    """Say that there are no runs to keep, and how they are made."""
    records = store.runs([spec.fingerprint for spec in suite.runs()])
    command = f"ranbench run {suite.file}{suite.options}"
    failed = [record.latest for record in of_present_code(records) if record.latest and record.state is State.FAILED]
    if failed:
        why = ", ".join(sorted({str(attempt.reason or "failed") for attempt in failed}))
        return (
            f"suite {suite.name!r}: no done run in the database, and {len(failed)} failed ({why}); "
            f"'{command} --rerun failed' tries again"
        )
    made = any(record.counted for record in records)
    what = "no done run of the code that is here" if made else "no done run"
    return (
        f"suite {suite.name!r}: {what} in the database; '{command}{' --rerun changed' if made else ''}' makes the runs"
    )


def _header(where: Where) -> Header:
    import torch

    found = describe(choose_device(where.device), where.how.threads or torch.get_num_threads(), "")
    names = ("device", "device_name", "cpu", "cores", "threads", "python", "platform")
    commit = f"{found.commit} with changes" if found.commit and found.dirty else found.commit
    return Header(code_id(), commit, dict(found.versions), {name: getattr(found, name) for name in names})


def _seen_from_here(suite: Suite) -> Suite:
    """Return the suite with its file as seen from here, which is how annotations name it."""
    here, file = Path.cwd(), Path(suite.file).resolve()
    return replace(suite, file=str(file.relative_to(here) if file.is_relative_to(here) else suite.file))


class _Broken:
    """What could not be trained or counted at all: a fault of the code, which is what a gate is there to tell."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.left: dict[str, str] = {}  # cell_id -> that its runs are lacking for this

    @contextmanager
    def told(self, suite: Suite, cells: Sequence[Cell], metric: str) -> Iterator[None]:
        """Take an error of what is done in it as a finding of these cells; those that are for the user pass through."""
        try:
            yield
        except RanbenchError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {one_line(error)}"
            for cell in cells:
                finding = Finding(suite.name, suite.label(cell), metric, Kind.FAILED, text, file=suite.file)
                if finding not in self.findings:  # seed by seed it is the same
                    self.findings.append(finding)
                self.left[identity(suite, cell)] = "it could not be begun"


def _train(suites: Sequence[tuple[Suite, Sequence[Cell]]], where: Where, broken: _Broken) -> None:
    for suite, cells in suites:
        if not where.stop.requested:
            with broken.told(suite, cells, RUNS):
                _run(replace(suite, cells=tuple(cells)), where, where.stop)


def _run(suite: Suite, where: Where, stop: Stop, estimates: Estimates | None = None) -> None:
    run(
        suite,
        where.store,
        data=where.data,
        results=where.results,
        device=where.device,
        rerun=frozenset(["changed"]),
        how=where.how,
        observer=where.observer,
        stop=stop,
        estimates=estimates,
    )


def _train_within(  # noqa: PLR0917 - private, called once
    suites: Sequence[tuple[Suite, Sequence[Cell]]],
    where: Where,
    records: Sequence[RunRecord],
    stop: Stop,
    budget: float,
    broken: _Broken,
) -> dict[str, str]:
    """Train until a time is over, row by row; return why the cells that are lacking runs lack them, by cell_id."""
    words = f"the budget of {budget / 60:g} minute{'' if budget == 60 else 's'}"
    device = choose_device(where.device).type
    estimates = Estimates(records, device, _sizes(suites, where.store))
    size = batch_size(device, where.how.at_once, 1)
    left: dict[str, str] = {}
    for row in _missing(suites, where, records, estimates):
        wanted = _seconds(row, estimates, size)
        if stop.requested or (wanted is not None and wanted > (stop.seconds_left or 0.0)):
            why = f"{words} was spent before it was its turn"
            if wanted is not None and wanted > budget:
                why = f"one seed takes about {wanted / 60:.2g} minutes, more than all of {words}"
            if where.stop.requested:
                why = STOPPED
            left |= {identity(row.suite, cell): why for cell in row.cells}
            continue
        with broken.told(row.suite, row.cells, RUNS):
            _run(replace(row.suite, cells=row.cells, seeds=(row.seed,)), where, stop, estimates)
        if stop.requested:
            why = STOPPED if where.stop.requested else f"{words} ended before seed {row.seed} did"
            left |= {identity(row.suite, cell): why for cell in _open(row, where.store)}
    return left


def _missing(
    suites: Sequence[tuple[Suite, Sequence[Cell]]], where: Where, records: Sequence[RunRecord], estimates: Estimates
) -> list[Row]:
    done = set()
    for suite, _ in suites:
        of_it = of_present_code(where.store.runs([spec.fingerprint for spec in suite.runs()]))
        done |= {record.fingerprint for record in of_it if record.state in CLOSED}
    last = _last_days(records, tuple(State))
    return rows(
        suites,
        lambda suite, cell: estimates.work(cell.run(suite.protocol, 0)),
        done,
        lambda suite, cell: last[key].isoformat() if (key := identity(suite, cell)) in last else "",
    )


def _open(row: Row, store: Store) -> list[Cell]:
    """List the cells of a row whose run has not ended."""
    specs = {cell.run(row.suite.protocol, row.seed).fingerprint: cell for cell in row.cells}
    ended = {record.fingerprint for record in of_present_code(store.runs(list(specs))) if record.state in CLOSED}
    return [cell for fingerprint, cell in specs.items() if fingerprint not in ended]


def _seconds(row: Row, estimates: Estimates, size: Callable[[int], int]) -> float | None:
    """Estimate what a row takes; None where of one of its runs nothing is known."""
    total = 0.0
    for batch in batches([cell.run(row.suite.protocol, row.seed) for cell in row.cells], size):
        found = [estimates.seconds(spec) for spec in batch]
        if None in found:
            return None
        total += max(one for one in found if one is not None)  # those of a batch are trained at once
    return total


def _sizes(suites: Sequence[tuple[Suite, Sequence[Cell]]], store: Store) -> dict[str, Complexity]:
    """What the nets of cells were counted as when they were trained before."""
    keys = {complexity_key(cell.model, cell.data) for _, cells in suites for cell in cells}
    return {key: size for key in sorted(keys) if (size := store.complexity(key)) is not None}


def _last_days(records: Sequence[RunRecord], states: Collection[State]) -> dict[str, date]:
    """The day of the last attempt of each cell, by cell_id, of whatever code; of those in one of these states."""
    last: dict[str, date] = {}
    for record in records:
        days = [attempt.updated.astimezone(UTC).date() for attempt in record.results if attempt.state in states]
        if days:
            last[record.cell_id] = max([*days, last.get(record.cell_id, date.min)])
    return last


def _present(suite: Suite, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Those of the suite's cells that the present code made, whatever their seed, and whichever suite asked."""
    cells = {identity(suite, cell) for cell in suite.cells}
    return of_present_code([record for record in records if record.cell_id in cells])


def _night(  # noqa: PLR0917 - private, called once
    suite: Suite,
    cells: Sequence[Cell],
    where: Where,
    night: Night,
    left: Mapping[str, str],
    jobs: Mapping[str, Jobs | str],
    counting: _Counting,
) -> SuiteResult:
    """Gather the results of tonight's seeds."""
    keys = {identity(suite, cell) for cell in cells}
    records: list[RunRecord] = []
    if suite.trains and night.trained:
        records = of_present_code(where.store.runs([spec.fingerprint for spec in suite.runs()]))
    return _result(suite, records, where, counting, due_keys=keys, left=left, jobs=jobs)


class _Pacing:
    """Measures time and memory of the steps of cells in jobs, and goes on where it was stopped.

    Attributes:
        found: by cell_id what the jobs measured, or why one of them failed.
    """

    def __init__(self, cells: Sequence[tuple[Suite, Cell]], where: Where, number: int):
        self.found: dict[str, Jobs | str] = {}
        self._left = list({identity(suite, cell): (suite, cell) for suite, cell in cells}.values()) if number else []
        self._where, self._number = where, number
        self._jobs, self._done, self._spent = len(self._left) * number, 0, 0.0

    def measure(self, stop: Stop) -> None:
        """Measure cell after cell until all are, or a stop is asked for; none is begun that would end too late."""
        while self._left and not stop.requested:
            time_left = stop.seconds_left
            if time_left is not None and self._done and time_left < self._number * self._spent / self._done:
                return
            suite, cell = self._left.pop(0)
            began, before = time.monotonic(), self._done
            self._measure(suite, cell, stop)
            self._spent, self._done = self._spent + time.monotonic() - began, before + self._number

    def _measure(self, suite: Suite, cell: Cell, stop: Stop) -> None:
        where = self._where

        def begun() -> bool:
            if stop.requested:
                return False
            where.observer.note(f"{suite.name}: time and memory of a step of {suite.label(cell)} ({self._words})")
            self._done += 1
            return True

        try:
            measured = measure_jobs(
                cell.run(suite.protocol, 0),
                self._number,
                data=where.data,
                device=where.device,
                threads=where.how.threads,
                how=where.how,
                begun=begun,
            )
        except EnvironmentProblem as error:
            if not where.stop.requested:  # a signal reaches the job as well
                self.found[identity(suite, cell)] = str(error)
            return
        if measured is not None:
            self.found[identity(suite, cell)] = measured

    @property
    def _words(self) -> str:
        """Which job comes next, and how long all that are left will take; nothing is known before the first cell."""
        left = self._spent * (self._jobs - self._done) / max(1, self._done)
        time_left = f", about {left / 60:.0f} min left" if left >= 60 else ""
        return f"job {self._done + 1} of {self._jobs}{time_left}"


def _result(
    suite: Suite,
    records: Sequence[RunRecord],
    where: Where,
    counting: _Counting,
    *,
    due_keys: Collection[str] | None = None,
    left: Mapping[str, str] | None = None,
    jobs: Mapping[str, Jobs | str] | None = None,
) -> SuiteResult:
    counted = counting.of(suite, where)
    attempts = [record.counted.id for record in records if record.counted]
    series = where.store.series(attempts, ["train_loss"])
    losses = {attempt: values.tolist() for (attempt, _), (_, values) in series.items()}
    counts = {key: counts_of(one) for key, one in counted.items()}
    claims = {} if where.stop.requested else _outcomes(suite, records, counted, due_keys)
    return results_of(suite, records, losses, counts, due=due_keys, left=left, jobs=jobs, claims=claims)


def _outcomes(
    suite: Suite, records: Sequence[RunRecord], counts: Mapping[str, Counts], due_keys: Collection[str] | None
) -> dict[str, str]:
    """Judge the claims whose cells are all due, and those about counts, which take no run."""
    asked = {spec.fingerprint for spec in suite.runs()} if suite.trains else set()
    verdicts = judge(suite, [record for record in records if record.fingerprint in asked], counts)
    found = {}
    for verdict in verdicts:
        about = [identity(suite, cell) for cell in cells_of(verdict.claim)]
        counts_alone = isinstance(verdict.claim, Counted)
        is_due = due_keys is None or counts_alone or all(key in due_keys for key in about)
        found[verdict.claim.id] = str(verdict.outcome) if is_due else NOT_DUE
    return found


class _Counting:
    """Counts every net anew, without training it; once, however many suites have it.

    Args:
        found: counts of the nets that the free layer has counted now, by ``complexity_key``.
        broken: is told the nets that cannot be counted; None: their error passes through.
    """

    def __init__(self, found: Mapping[str, Counts], broken: _Broken | None = None):
        self._found, self._broken = dict(found), broken
        self._memo: Memo = {}  # parts that nets share

    def of(self, suite: Suite, where: Where) -> dict[str, Counts]:
        """Return the counts of a suite's nets by ``complexity_key``."""
        found: dict[str, Counts] = {}
        for cell in suite.cells:
            if where.stop.requested:
                break
            key = complexity_key(cell.model, cell.data)
            if key not in self._found:
                with self._broken.told(suite, [cell], CELL) if self._broken else nullcontext():
                    self._found[key] = self._count(cell, where)
            if key in self._found:
                found[key] = self._found[key]
        return found

    def _count(self, cell: Cell, where: Where) -> Counts:
        from ranbench.complexity import measure_named

        shared = None if is_foreign(cell.model.name) else self._memo
        size = measure_named(cell.model, cell.data, trusted=where.how.trust_imports, memo=shared)
        return Counts(size.parameters, size.macs, size.depth)
