"""A night against a baseline: each metric by its rule, and one correction over all that was tested.

Counts are exact. What seeds or jobs spread is tested by ``shift.p_larger``, Holm over all tests of the night at
``FAMILY``, once for worse and once for better. A claim falls where it was reproduced and now is not; to be undecided is
no fall.

What is promised of false alarms was simulated (docs/statistics.md, "The gate"): it is kept where errors and losses are
near to normal, and with heavy tails by the second look alone that ``confirmation`` takes. It is not known of the time
of a step and of memory.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from ranbench.errors import nearest
from ranbench.regression.baseline import Baseline, Floor
from ranbench.regression.findings import Finding, Kind, Report, excused
from ranbench.regression.shift import MIN_VALUES, p_larger
from ranbench.regression.values import (
    NOT_REPRODUCED,
    REPRODUCED,
    STEP_MEMORY,
    STEP_RATIO,
    UNTESTED,
    WATCHED,
    CellResult,
    SuiteResult,
    Watched,
)
from ranbench.statistics import LEVEL, HolmStep, holm

# Of nights without any change at most so many are called a regression, within the limits above.
ALARMS_A_NIGHT = 0.01
FAMILY = ALARMS_A_NIGHT / 2  # for all tests of a night together; the other half is left to the verdicts of claims
SMALLEST = 1e-12  # of what is compared on the log scale: a loss of zero has no logarithm
# The standard deviation, as a share, of the memory that a device takes where all jobs took the very same, as one that
# hands it out by rule does. Of a process on a CPU the spread is measured.
SAME_MEMORY = 0.005
RUNS, CELL, CLAIM = "runs", "cell", "claim"
VALUES, BITS = "fixed values", "fixed bits"  # of the free layer
STOPPED = "stopped before it was reached"  # of what a signal left open
NOT_DUE = "not due"  # in place of the outcome of a claim some of whose cells are not due tonight


@dataclass(frozen=True)
class _Test:
    """One comparison that is tested, with what is said of it before its p is adjusted."""

    finding: Finding
    cell_id: str
    metric: Watched
    p_worse: float
    p_better: float


def scaled(metric: Watched, values: Sequence[float]) -> np.ndarray:
    """Put values on the scale of a metric."""
    array = np.asarray(values, dtype=np.float64)
    return np.log(np.maximum(array, SMALLEST)) if metric.scale == "log" else array


def floors_of(suite: SuiteResult) -> tuple[Floor, ...]:
    """Measure the spread of every metric among the repeated runs of each cell: the median over the suite's cells.

    It is the smallest spread that is believed of a cell: three or five seeds of one may lie close together by luck.
    """
    found = []
    for name, metric in WATCHED.items():
        groups = [values for cell in suite.cells if len(values := sorted_values(cell, name)) > 1]
        spreads = [float(np.std(scaled(metric, values), ddof=1)) for values in groups]
        if spreads:
            found.append(Floor(suite.name, name, median(spreads), len(spreads)))
    return tuple(found)


def sorted_values(cell: CellResult, metric: str) -> tuple[float, ...]:
    """The values of a metric of one cell, of its runs in the order of seeds or of its jobs."""
    if WATCHED[metric].rule == "job":
        return cell.jobs.values.get(metric, ()) if cell.jobs else ()
    values = cell.values.get(metric, {})
    return tuple(values[seed] for seed in sorted(values))


def compare(
    baseline: Baseline,
    night: Sequence[SuiteResult],
    today: str,
    *,
    trained: bool = True,
    more: Sequence[Finding] = (),
    stopped: bool = False,
) -> Report:
    """Compare the results of a night with a baseline.

    Args:
        baseline: with its exceptions.
        night: results of the suites that were asked for.
        today: the day (ISO 8601), on which exceptions hold or have ended.
        trained: whether runs were asked for, or counts alone.
        more: findings of the free layer, to which exceptions apply as well.
        stopped: a signal ended it before all was measured: nothing that is lacking is gone then.
    """
    findings: list[Finding] = []
    tests: list[_Test] = []
    unmeasured: list[str] = []
    for suite in night:
        before = baseline.suites.get(suite.name)
        compared = _Compared(baseline, before, suite, trained=trained, stopped=stopped)
        findings += compared.findings
        tests += compared.tests
        own = [*compared.findings, *(test.finding for test in compared.tests)]
        if before is None:
            known = ", ".join(sorted(baseline.suites)) or "none"
            unmeasured.append(f"suite {suite.name!r} is not in the baseline, which has: {known}")
        elif not any(one.compared for one in own):
            unmeasured.append(f"suite {suite.name!r}: nothing of it was compared")
        elif trained and any(cell.due for cell in suite.cells) and suite.trains and not _ran(own):
            unmeasured.append(f"suite {suite.name!r}: cells were due, and no run of any was compared")
    findings += [*_decided(tests), *more]
    order = {suite.name: index for index, suite in enumerate(night)}
    findings.sort(key=lambda one: order[one.suite])
    allowed = [one for one in baseline.exceptions if one.suite in order]
    settled, said = excused(findings, allowed, today)
    notes = (*_not_asked_for(baseline, order), *said, *_about_nothing(baseline, night, findings))
    return Report(settled, tuple(unmeasured), notes)


def _not_asked_for(baseline: Baseline, asked: Mapping[str, int]) -> Iterator[str]:
    """Tell of suites that stand in the baseline and were not checked: one may have been deleted or forgotten."""
    others = sorted(baseline.suites.keys() - asked.keys())
    if others:
        yield f"not checked, since not asked for, though in the baseline: {', '.join(others)}"


def _about_nothing(baseline: Baseline, night: Sequence[SuiteResult], findings: Sequence[Finding]) -> Iterator[str]:
    """Tell of each exception whose suite, cell or metric is unknown: it is misspelt, or what it was about went."""
    both = [*baseline.suites.values(), *night]
    known: dict[str, set[str]] = {suite.name: {"*"} for suite in both}
    for suite in both:
        known[suite.name] |= {cell.label for cell in suite.cells} | suite.claims.keys()
    for line in baseline.fixed:
        for name in line["suites"]:
            known.setdefault(name, {"*"}).add(line.get("net", ""))
    for finding in findings:
        known[finding.suite].add(finding.cell)
    metrics = {"*", RUNS, CELL, CLAIM, VALUES, BITS, *WATCHED, *(finding.metric for finding in findings)}
    for one in baseline.exceptions:
        asked = {
            "suite": (one.suite, known),
            "cell": (one.cell, known.get(one.suite, ())),
            "metric": (one.metric, metrics),
        }
        for what, (name, there) in asked.items():
            if name not in there:
                about = f"exception for {one.suite} / {one.cell} / {one.metric} ({one.reason})"
                yield f"{about} names {what} {name!r}, which is not known{nearest(name, there)}"
                break


def _ran(findings: Sequence[Finding]) -> bool:
    """Whether the values of any run were compared: counts, jobs that time a step and verdicts are none of them."""
    of_runs = {name for name, metric in WATCHED.items() if metric.rule == "shift"}
    return any(one.compared and one.metric in of_runs for one in findings)


class _Compared:
    """One suite beside its part of the baseline: findings that are certain, and tests whose p is yet to be adjusted."""

    def __init__(
        self, baseline: Baseline, before: SuiteResult | None, now: SuiteResult, *, trained: bool, stopped: bool
    ):
        self.baseline, self.now, self.trained, self.stopped = baseline, now, trained, stopped
        self.findings: list[Finding] = []
        self.tests: list[_Test] = []
        if before is None:
            for cell in now.cells:
                self._say(cell.label, CELL, Kind.NEW, "is not in the baseline; 'ranbench baseline save' adds it")
            return
        for was, is_now in _matched(before, now):
            self._cell(was, is_now)
        if trained:
            self._claims(before.claims, now.claims)

    def _say(self, cell: str, metric: str, kind: Kind, text: str, **more: object) -> Finding:
        finding = Finding(self.now.name, cell, metric, kind, text, file=self.now.file, **more)  # type: ignore[arg-type]
        self.findings.append(finding)
        return finding

    def _cell(self, was: CellResult | None, cell: CellResult | None) -> None:
        if was is None and cell is not None:
            self._say(cell.label, CELL, Kind.NEW, "is not in the baseline; 'ranbench baseline save' adds it")
        elif cell is None and was is not None:
            text = "stands in the baseline, and no cell of the suite is it any more"
            self._say(was.label, CELL, Kind.GONE, f"{text}; 'ranbench baseline save' takes it out")
        elif was is not None and cell is not None and was.cell_id != cell.cell_id:
            text = "is defined in another way than in the baseline (net, data or protocol), so other numbers are due"
            self._say(cell.label, CELL, Kind.NOT_COMPARABLE, f"{text}; 'ranbench baseline save' takes it over")
        elif was is not None and cell is not None:
            self._counts(was, cell)
            if self.trained and cell.due and self.now.trains:
                self._runs(was, cell)

    def _counts(self, was: CellResult, cell: CellResult) -> None:
        for metric in was.counts.keys() | cell.counts.keys():
            before, after = was.counts.get(metric), cell.counts.get(metric)
            if before is None or after is None:
                self._one_sided(cell, metric, known=before is not None)
                continue
            unit = WATCHED[metric].unit
            kind = Kind.UNCHANGED if before == after else Kind.REGRESSED
            text = f"{after:,} {unit}, as before" if before == after else f"{before:,} to {after:,} {unit}"
            self._say(cell.label, metric, kind, text, before=before, now=after, compared=True)

    def _one_sided(self, cell: CellResult, metric: str, *, known: bool) -> None:
        if known and self.stopped:
            self._say(cell.label, metric, Kind.CANNOT_TELL, STOPPED)
        elif known:
            self._say(cell.label, metric, Kind.GONE, "stands in the baseline, and was not measured tonight")
        else:
            self._say(cell.label, metric, Kind.NEW, "is not in the baseline; 'ranbench baseline save' adds it")

    def _runs(self, was: CellResult, cell: CellResult) -> None:
        if cell.failed:
            seeds = ", ".join(f"seed {seed} {why}" for seed, why in sorted(cell.failed.items()))
            total = len(cell.failed) + max((len(values) for values in cell.values.values()), default=0)
            earlier = f" ({len(was.failed)} failed in the baseline)" if was.failed else ""
            self._say(cell.label, RUNS, Kind.FAILED, f"{len(cell.failed)} of {total} runs failed{earlier}: {seeds}")
        if not cell.values:
            if cell.left is not None:
                self._say(cell.label, RUNS, Kind.CANNOT_TELL, cell.left)
            elif self.stopped:
                self._say(cell.label, RUNS, Kind.CANNOT_TELL, STOPPED)
            elif not cell.failed:
                self._say(cell.label, RUNS, Kind.GONE, "was due, and there is no result of it of the present code")
        elif cell.left is not None:
            self._say(cell.label, RUNS, Kind.CANNOT_TELL, f"fewer runs than planned: {cell.left}")
        elif cell.lost:
            seeds = ", ".join(map(str, cell.lost))
            text = f"of seed {seeds}, which was due, there is no result of the present code"
            self._say(cell.label, RUNS, Kind.CANNOT_TELL if self.stopped else Kind.GONE, text)
        for metric in WATCHED.values():
            if metric.rule == "shift" and cell.values:
                self._shift(was, cell, metric)
            elif metric.rule == "job":
                self._job(was, cell, metric)

    def _shift(self, was: CellResult, cell: CellResult, metric: Watched) -> None:
        before, after = sorted_values(was, metric.name), sorted_values(cell, metric.name)
        if bool(before) != bool(after):
            self._one_sided(cell, metric.name, known=bool(before))
        elif before:
            self._test(cell, metric, before, after, "seed")

    def _job(self, was: CellResult, cell: CellResult, metric: Watched) -> None:
        before, after = sorted_values(was, metric.name), sorted_values(cell, metric.name)
        if cell.jobs_failed:
            if metric.name == STEP_RATIO:  # both are measured by the same job
                self._say(cell.label, metric.name, Kind.FAILED, cell.jobs_failed)
            return
        if not before and not after:
            return
        if self.stopped and not after:
            self._say(cell.label, metric.name, Kind.CANNOT_TELL, STOPPED)
            return
        if not (was.jobs and cell.jobs and before and after):
            where = "in the baseline" if not before else "tonight"
            self._say(cell.label, metric.name, Kind.NOT_COMPARABLE, f"was not measured {where}")
            return
        differs = was.jobs.place.difference(cell.jobs.place)
        if differs is not None:
            self._say(cell.label, metric.name, Kind.NOT_COMPARABLE, differs)
            return
        self._test(cell, metric, before, after, "job")

    def _test(
        self, cell: CellResult, metric: Watched, before: Sequence[float], after: Sequence[float], what: str
    ) -> None:
        mean_before, mean_now = _mean(metric, before), _mean(metric, after)
        numbers = f"{_shown(metric, mean_before)} to {_shown(metric, mean_now)}"
        text = f"{numbers} ({_several(len(before), what)} to {_several(len(after), what)})"
        shown = {"before": mean_before, "now": mean_now}
        floor = self.baseline.floor(self.now.name, metric.name)
        old, new = scaled(metric, before), scaled(metric, after)
        if len(before) < MIN_VALUES:
            text += f"; a baseline of {MIN_VALUES} or more tells what spread is usual"
            self._say(cell.label, metric.name, Kind.CANNOT_TELL, text, **shown)
            return
        least = floor.sd if floor else 0.0
        if least == 0.0 and np.ptp(old) == 0.0 and metric.name == STEP_MEMORY:
            least = SAME_MEMORY
        if least == 0.0 and np.ptp(old) == 0.0 and mean_before != mean_now:
            text += "; no spread is known of it, so that no difference can be told from noise"
            self._say(cell.label, metric.name, Kind.CANNOT_TELL, text, **shown)
            return
        worse, better = float(p_larger(old, new, least)), float(p_larger(-old, -new, least))
        known = Finding(self.now.name, cell.label, metric.name, Kind.UNCHANGED, text, file=self.now.file, compared=True)
        finding = replace(known, before=mean_before, now=mean_now)
        self.tests.append(_Test(finding, cell.cell_id, metric, worse, better))

    def _claims(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        for claim in dict.fromkeys([*before, *now]):
            was, is_now = before.get(claim), now.get(claim)
            if is_now == NOT_DUE:
                continue
            if self.stopped and is_now is None:
                self._say(claim, CLAIM, Kind.CANNOT_TELL, f"was {was}; {STOPPED}")
                continue
            if was is None:
                self._say(claim, CLAIM, Kind.NEW, f"is {is_now}, and stands not in the baseline")
                continue
            if is_now is None:
                self._say(claim, CLAIM, Kind.GONE, f"was {was}, and the suite makes this claim no more")
                continue
            kind, text = Kind.CANNOT_TELL, f"was {was}, is {is_now}"
            decided = {was, is_now} <= {REPRODUCED, NOT_REPRODUCED}
            if decided:
                kind = Kind.UNCHANGED if was == is_now else Kind.REGRESSED if was == REPRODUCED else Kind.IMPROVED
            elif was == is_now:
                kind = Kind.UNCHANGED
            elif is_now in UNTESTED:
                kind, text = Kind.NOT_COMPARABLE, f"{text}; 'ranbench claims' says why"
            self._say(claim, CLAIM, kind, text, compared=decided)


def _matched(before: SuiteResult, now: SuiteResult) -> Iterator[tuple[CellResult | None, CellResult | None]]:
    """Pair the cells of both by identity, what is left by label, and leave the others alone."""
    by_id = {cell.cell_id: cell for cell in before.cells}
    same = {cell.cell_id for cell in now.cells} & by_id.keys()
    by_label = {cell.label: cell for cell in before.cells if cell.cell_id not in same}
    used: set[str] = set()
    for cell in now.cells:
        was = by_id[cell.cell_id] if cell.cell_id in same else by_label.get(cell.label)
        if was is not None:
            used.add(was.cell_id)
        yield was, cell
    yield from ((cell, None) for cell in before.cells if cell.cell_id not in used)


def _decided(tests: Sequence[_Test]) -> Iterator[Finding]:
    """Adjust the p of all tests of the night together, and say what each shows."""
    keys = [(test.cell_id, test.metric.name, test.p_worse, test.p_better) for test in tests]
    worse = holm_of_distinct([(key, test.p_worse) for key, test in zip(keys, tests, strict=True)], FAMILY)
    better = holm_of_distinct([(key, test.p_better) for key, test in zip(keys, tests, strict=True)], FAMILY)
    for test, up, down in zip(tests, worse, better, strict=True):
        yield _told(test, up, down, len(set(keys)))


def holm_of_distinct(tests: Sequence[tuple[Hashable, float]], level: float) -> list[HolmStep]:
    """Holm's correction of keys and p values where tests of one key are one: suites may share a cell and its runs."""
    distinct = dict(tests)
    steps = dict(zip(distinct, holm(list(distinct.values()), level), strict=True))
    return [steps[key] for key, _ in tests]


def _told(test: _Test, worse: HolmStep, better: HolmStep, tests: int) -> Finding:
    finding, of = test.finding, f"p {{:.2g}} after Holm over {tests} tests"
    if worse.rejected:
        text = f"{finding.text}; {of.format(worse.p)}"
        return replace(finding, kind=Kind.REGRESSED, text=text, p=worse.p)
    if better.rejected:
        text = f"{finding.text}; {of.format(better.p)}"
        return replace(finding, kind=Kind.IMPROVED, text=text, p=better.p)
    if test.p_worse < LEVEL:
        text = f"{finding.text}; perhaps worse (p {test.p_worse:.2g} alone), which is too little among {tests} tests"
        return replace(finding, kind=Kind.CANNOT_TELL, text=text, p=worse.p)
    return replace(finding, p=worse.p)


def shown(metric: Watched, values: Sequence[float]) -> str:
    """The mean of values with its unit, for a sentence."""
    return _shown(metric, _mean(metric, values))


def _mean(metric: Watched, values: Sequence[float]) -> float:
    """The mean on the scale of the metric, in its unit: the geometric one on the log scale."""
    mean = float(np.mean(scaled(metric, values)))
    return math.exp(mean) if metric.scale == "log" else mean


def _shown(metric: Watched, value: float) -> str:
    if metric.unit == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    return f"{value:.3g} {metric.unit}"


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
