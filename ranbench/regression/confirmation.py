"""A second look at what became worse, with seeds that nobody has looked at: a seed in many goes badly by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ranbench.regression.baseline import Baseline
from ranbench.regression.findings import Finding, Kind, Report
from ranbench.regression.rules import ALARMS_A_NIGHT, holm_of_distinct, scaled, shown, sorted_values
from ranbench.regression.shift import p_larger
from ranbench.regression.values import WATCHED, CellResult, SuiteResult
from ranbench.statistics import HolmStep


def doubtful(report: Report) -> tuple[Finding, ...]:
    """List the regressions that other seeds could show to be chance: those of a metric that seeds spread."""
    return tuple(
        one for one in report.of(Kind.REGRESSED) if (metric := WATCHED.get(one.metric)) and metric.rule == "shift"
    )


def confirmed(report: Report, baseline: Baseline, again: Sequence[SuiteResult], lacking: str) -> Report:
    """Hold the regressions of a night against other seeds, and take back those that they do not show.

    They are tested against the baseline as those of the night were, alone and at ``ALARMS_A_NIGHT`` with Holm's
    correction. A regression stays where they show it, and where one of them failed or is lacking; else it becomes
    ``Kind.CANNOT_TELL``.

    Args:
        report: of the night.
        baseline: that it was compared with.
        again: results of other seeds of the cells in question.
        lacking: why other seeds are lacking, where some are.
    """
    cells = {(suite.name, cell.label): cell for suite in again for cell in suite.cells if cell.due}
    told: dict[int, Finding] = {}
    tested: list[tuple[Finding, CellResult, float]] = []
    for one in doubtful(report):
        cell = cells.get((one.suite, one.cell))
        if cell is not None and cell.failed:
            told[id(one)] = replace(one, text=f"{one.text}; of other seeds some failed")
        elif cell is None or not sorted_values(cell, one.metric):
            told[id(one)] = replace(one, text=f"{one.text}; not tried with other seeds: {lacking}")
        else:
            tested.append((one, cell, _p(one, baseline, cell)))
    steps = holm_of_distinct([((cell.cell_id, one.metric, p), p) for one, cell, p in tested], ALARMS_A_NIGHT)
    for (one, cell, _), step in zip(tested, steps, strict=True):
        told[id(one)] = _told(one, cell, step, lacking)
    return replace(report, findings=tuple(told.get(id(one), one) for one in report.findings))


def _p(finding: Finding, baseline: Baseline, cell: CellResult) -> float:
    metric = WATCHED[finding.metric]
    before = next(one for one in baseline.suites[finding.suite].cells if one.cell_id == cell.cell_id)
    floor = baseline.floor(finding.suite, metric.name)
    old, new = (scaled(metric, sorted_values(one, metric.name)) for one in (before, cell))
    return float(p_larger(old, new, floor.sd if floor else 0.0))


def _told(finding: Finding, cell: CellResult, step: HolmStep, lacking: str) -> Finding:
    metric = WATCHED[finding.metric]
    values = sorted_values(cell, finding.metric)
    one = len(values) == 1
    seeds = "1 other seed" if one else f"{len(values)} other seeds"
    text = f"{finding.text}; {seeds}, at {shown(metric, values)} (p {step.p:.2g}), "
    if step.rejected:
        return replace(finding, text=f"{text}{'shows' if one else 'show'} it too")
    text += f"{'does' if one else 'do'} not show it"
    if cell.lost:  # too few may not be enough to show what is there
        return replace(finding, text=f"{text}, but {len(cell.lost)} more are lacking: {lacking}")
    return replace(finding, kind=Kind.CANNOT_TELL, text=text)
