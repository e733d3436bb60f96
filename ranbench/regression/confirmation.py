"""A second look at what became worse, with seeds that nobody has looked at: a seed in many goes badly by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ranbench.regression.baseline import Baseline
from ranbench.regression.findings import Finding, Kind, Report
from ranbench.regression.rules import ALARMS_A_NIGHT, scaled, shown, sorted_values
from ranbench.regression.shift import p_larger
from ranbench.regression.values import WATCHED, CellResult, SuiteResult
from ranbench.statistics import holm


def doubtful(report: Report) -> tuple[Finding, ...]:
    """List the regressions that other seeds could show to be chance: those of a metric that seeds spread."""
    return tuple(
        one for one in report.of(Kind.REGRESSED) if (metric := WATCHED.get(one.metric)) and metric.rule == "shift"
    )


def confirmed(report: Report, baseline: Baseline, again: Sequence[SuiteResult]) -> Report:
    """Hold the regressions of a night against other seeds, and take back those that they do not show.

    They are tested against the baseline as those of the night were, alone and at ``ALARMS_A_NIGHT`` with Holm's
    correction. A regression stays where they show it, where one of them failed, and where there are none; else it
    becomes ``Kind.CANNOT_TELL``.

    Args:
        report: of the night.
        baseline: that it was compared with.
        again: results of other seeds of the cells in question.
    """
    cells = {(suite.name, cell.label): cell for suite in again for cell in suite.cells}
    asked = [one for one in doubtful(report) if (one.suite, one.cell) in cells]
    found = {id(one): cells[one.suite, one.cell] for one in asked}
    tested = [one for one in asked if not found[id(one)].failed and sorted_values(found[id(one)], one.metric)]
    steps = holm([_p(one, baseline, found[id(one)]) for one in tested], ALARMS_A_NIGHT)
    told = {id(one): _told(one, found[id(one)]) for one in asked}
    for one, step in zip(tested, steps, strict=True):
        told[id(one)] = _told(one, found[id(one)], step.p, shows=step.rejected)
    return replace(report, findings=tuple(told.get(id(one), one) for one in report.findings))


def _p(finding: Finding, baseline: Baseline, cell: CellResult) -> float:
    metric = WATCHED[finding.metric]
    before = next(one for one in baseline.suites[finding.suite].cells if one.cell_id == cell.cell_id)
    floor = baseline.floor(finding.suite, metric.name)
    old, new = (scaled(metric, sorted_values(one, metric.name)) for one in (before, cell))
    return float(p_larger(old, new, floor.sd if floor else 0.0))


def _told(finding: Finding, cell: CellResult, p: float | None = None, *, shows: bool = True) -> Finding:
    if p is None:
        why = "of other seeds some failed" if cell.failed else "there was no time for other seeds"
        return replace(finding, text=f"{finding.text}; {why}")
    metric = WATCHED[finding.metric]
    values = sorted_values(cell, finding.metric)
    one = len(values) == 1
    seeds = "1 other seed" if one else f"{len(values)} other seeds"
    text = f"{finding.text}; {seeds}, at {shown(metric, values)} (p {p:.2g}), "
    if shows:
        return replace(finding, text=f"{text}{'shows' if one else 'show'} it too")
    return replace(finding, kind=Kind.CANNOT_TELL, text=f"{text}{'does' if one else 'do'} not show it")
