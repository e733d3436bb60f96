"""How large the features of each cell's nets are, stage by stage (figure 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ranbench.catalogue import attention_modules, num_stages
from ranbench.records import response_name
from ranbench.report.collect import RunRow
from ranbench.report.values import Response, ResultRow
from ranbench.statistics import Summary, summarise
from ranbench.suite import Cell, Published, Suite

PROBE = "responses"


def responses(
    suite: Suite, results: Sequence[ResultRow], runs: Sequence[RunRow], *, compare: bool
) -> tuple[Response, ...]:
    """Return a row for every stage of every cell, and one for every attention module; none where nothing is asked.

    Args:
        suite: the suite.
        results: rows of its test error, one for each cell.
        runs: its runs.
        compare: set the paper's values beside ours; never beside those of smoke runs.
    """
    if PROBE not in suite.probes:
        return ()
    printed = {(suite.cells.index(one.cell) + 1, one.metric): one for one in suite.published if compare}
    return tuple(
        _response(result, place, [run for run in runs if run.cell == result.cell], printed)
        for result, cell in zip(results, suite.cells, strict=True)
        for place in _places(cell)
    )


def _places(cell: Cell) -> list[tuple[int, int | None]]:
    """Stages and the modules before their ends, in the order of the net."""
    name, form = cell.model.name, cell.data.info.form
    sizes = {key: value for key, value in cell.model.options.items() if key in ("p", "t", "r", "r_scales")}
    setting = attention_modules(name, form, **sizes)  # type: ignore[arg-type]
    counts = setting.m if setting else ()
    found: list[tuple[int, int | None]] = []
    for stage in range(1, (num_stages(name, form) or 0) + 1):
        count = counts[stage - 1] if stage <= len(counts) else 0
        found += [*((stage, module) for module in range(1, count + 1)), (stage, None)]
    return found


def _response(
    result: ResultRow,
    place: tuple[int, int | None],
    runs: Sequence[RunRow],
    printed: Mapping[tuple[int, str], Published],
) -> Response:
    name = response_name(*place)
    ours, relative = _summary(runs, name), _summary(runs, f"{name}_relative")
    entry = printed.get((result.cell, f"{name}_relative")) if result.fidelity != "smoke" else None
    done = any(run.state == "done" for run in runs)
    return Response(
        cell=result.cell,
        label=result.label,
        axes=result.axes,
        fidelity=result.fidelity,
        stage=place[0],
        module=place[1],
        metric=name,
        published=entry.value if entry else None,
        approximate=bool(entry and entry.approximate),
        ours=ours,
        relative=relative,
        standing="measured" if ours else "not measured" if done else result.standing,
        planned=result.planned,
        difference=relative.mean - entry.value if entry and relative else None,
        note=entry.note if entry else None,
    )


def _summary(runs: Sequence[RunRow], metric: str) -> Summary | None:
    values = [run.metrics[metric] for run in runs if run.metrics and metric in run.metrics]
    return summarise(values) if values else None


def along(places: Sequence[tuple[int, int | None]]) -> list[float]:
    """Where stages and modules lie along a net that is cut into stages of length 1; a stage's own place is its end."""
    most = {stage: max((module or 0 for other, module in places if other == stage), default=0) for stage, _ in places}
    return [float(stage) if module is None else stage - 1 + module / (most[stage] + 1) for stage, module in places]
