"""Suite + records -> the numbers of a report: results beside the paper's, verdicts, cost, deviations.

Full precision, no text layout: ``layout`` rounds, renderers escape. ``Tables.as_dict`` is what ``--json`` prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median

from ranbench.catalogue import is_foreign
from ranbench.claims import Verdict, Version, judge
from ranbench.counts import Counts, lookup
from ranbench.records import RESPONSE_METRICS, SIZE_METRICS, RunRecord
from ranbench.report.against import beside, result_sets
from ranbench.report.collect import NOT_RUN, Collected, EnvironmentRow, RunRow, cell_fidelity, collect, standing
from ranbench.report.memorisation import memorised_rows
from ranbench.report.notes import mixed, row_notes
from ranbench.report.responses import responses
from ranbench.report.sizes import cited_rows, size_rows
from ranbench.report.values import CostRow, Dataset, DeviationRow, ResultRow, Results, Section, Tables, VerdictRow
from ranbench.spec import Protocol, complexity_key
from ranbench.statistics import Summary, summarise
from ranbench.suite import Cell, Claim, Counted, Published, Ratio, Suite, Value, words

RESULT = "error_pct"
BEST = "best_error_pct"
WRONG_LABELS = "noise_realised_pct"
ENERGY = "energy_joules"
FOREIGN_NOTE = "not a net of the catalogue: it keeps its own initialisation, whatever the protocol says"


def tables(
    suite: Suite,
    records: Sequence[RunRecord],
    measured: Mapping[str, Counts] | None = None,
    predictions: Mapping[int, bytes] | None = None,
    *,
    compare: bool = True,
    against: Mapping[str, Sequence[RunRecord]] | None = None,
    versions: Sequence[Version] | None = None,
) -> Tables:
    """Build every table of the report of ``suite``.

    Args:
        records: all runs of the suite's cells, whatever their protocol; others are ignored.
        measured: counts of nets by ``complexity_key``; a net that is not among them is looked up in counts.json.
        predictions: predicted classes by attempt, of those that ``claims.compared`` names.
        compare: also set the paper's values beside ours and judge the claims.
        against: the runs of other result sets, by their names, which are set beside ours.
        versions: recorded versions of the suite; without, nothing is said of when its claims were declared.

    Raises:
        SpecError: a stored spec that this version cannot read.
    """
    found = collect(suite, records)
    measured = measured or {}
    verdicts = judge(suite, found.records, measured, predictions, versions) if compare else ()
    results = tuple(_results(suite, found, metric, compare=compare) for metric in _metrics(suite))
    return Tables(
        suite=suite.name,
        title=suite.title,
        protocol=suite.protocol_name if suite.trains else None,
        reference=suite.reference_name if suite.trains else None,
        fidelity=suite.fidelity,
        differences=suite.differences,
        axes=suite.varying,
        datasets=_datasets(suite),
        seeds=suite.seeds,
        states=_states(found.runs),
        devices=_devices(found),
        verdicts=tuple(verdict_row(verdict) for verdict in verdicts if verdict.fidelity != "smoke"),
        claims_without_verdict=tuple(verdict.claim.id for verdict in verdicts if verdict.fidelity == "smoke"),
        sizes=size_rows(suite, measured, verdicts, compare=compare),
        cited=cited_rows(suite) if compare else (),
        results=results,
        responses=responses(suite, results[0].rows, found.runs, compare=compare) if results else (),
        memorised=memorised_rows(suite, results[0].rows, found.runs) if results else (),
        runs=found.runs,
        costs=_costs(suite, found, measured) if suite.trains else (),
        deviations=_deviations(suite),
        environments=found.environments,
        others=_others(suite, found),
        sets=result_sets(suite, found.records, against or {}) if suite.trains else (),
        against=beside(suite, _metrics(suite), found.records, against or {}) if suite.trains else (),
    )


def summary(runs: Sequence[RunRow], metric: str) -> Summary | None:
    """Average a metric over the runs that have it, or None where none has."""
    values = [run.metrics[metric] for run in runs if run.metrics and metric in run.metrics]
    return summarise(values) if values else None


def _metrics(suite: Suite) -> tuple[str, ...]:
    """The result itself first, then what the paper or a claim speaks of; counts and responses have their own tables."""
    if not suite.trains:
        return ()
    named = [entry.metric for entry in (*suite.published, *suite.claims)]
    return tuple(dict.fromkeys((RESULT, *(name for name in named if name not in {**SIZE_METRICS, **RESPONSE_METRICS}))))


@dataclass(frozen=True)
class _Scope:
    """What the rows of one results table share."""

    suite: Suite
    metric: str
    protocol: Protocol
    environments: tuple[EnvironmentRow, ...]
    extra_seeds: Mapping[int, tuple[int, ...]]


def _results(suite: Suite, found: Collected, metric: str, *, compare: bool) -> Results:
    printed = [entry for entry in suite.published if compare and entry.metric == metric]
    published = {suite.cells.index(entry.cell) + 1: entry for entry in printed}
    scope = _Scope(suite, metric, suite.protocol, found.environments, found.extra_seeds)
    numbers = range(1, len(suite.cells) + 1)
    rows = tuple(_result(scope, number, _of(found.runs, number), published.get(number)) for number in numbers)
    return Results(metric, rows, tuple(mixed(found.runs, found.environments, _own_code(suite))))


def _result(scope: _Scope, number: int, runs: Sequence[RunRow], published: Published | None) -> ResultRow:
    cell = scope.suite.cells[number - 1]
    fidelity = cell_fidelity(scope.suite, cell, scope.protocol)
    printed = None if fidelity == "smoke" else published
    ours = summary(runs, scope.metric)
    counted = [run for run in runs if run.metrics and scope.metric in run.metrics]
    return ResultRow(
        cell=number,
        label=scope.suite.label(cell),
        axes=_axes(scope.suite, cell),
        fidelity=fidelity,
        published=printed.value if printed else None,
        published_where=printed.where if printed else None,
        ours=ours,
        standing="done" if ours else standing(runs),
        difference=ours.mean - printed.value if ours and printed else None,
        best_on_test=summary(counted, BEST) if scope.metric == RESULT else None,
        wrong_labels=summary(counted, WRONG_LABELS) if cell.noise else None,
        planned=len(runs),
        failed=sum(run.state == "failed" for run in runs),
        notes=(
            *_paper_notes(printed),
            *([FOREIGN_NOTE] if is_foreign(cell.model.name) else []),
            *row_notes(runs, scope.metric, scope.environments, scope.extra_seeds.get(number, ())),
        ),
    )


def _own_code(suite: Suite) -> dict[int, str]:
    """The modules of every cell whose net or dataset is a user's own."""
    factories = {
        number: [name.partition(":")[0] for name in (cell.model.factory, cell.data.factory) if name]
        for number, cell in enumerate(suite.cells, 1)
    }
    return {number: " and ".join(modules) for number, modules in factories.items() if modules}


def _axes(suite: Suite, cell: Cell) -> dict[str, str | int | float]:
    return {axis: cell.axes[axis] for axis in suite.varying if axis in cell.axes}


def _paper_notes(published: Published | None) -> list[str]:
    if published is None:
        return []
    notes = ["the paper's value is read off a plot"] if published.approximate else []
    return notes + ([f"on the paper's value: {published.note}"] if published.note else [])


def _others(suite: Suite, found: Collected) -> tuple[Section, ...]:
    sections = []
    for other in found.others:
        scope = _Scope(suite, RESULT, other.protocol, found.environments, {})
        numbers = sorted({run.cell for run in other.runs})
        rows = tuple(_result(scope, number, _of(other.runs, number), None) for number in numbers)
        results = Results(RESULT, rows, tuple(mixed(other.runs, found.environments, _own_code(suite))))
        sections.append(Section(other.protocol, other.fidelity, other.differences, results, other.runs))
    return tuple(sections)


def _of(runs: Sequence[RunRow], number: int) -> tuple[RunRow, ...]:
    return tuple(run for run in runs if run.cell == number)


_KEPT = tuple(
    field.name for field in fields(VerdictRow) if field.name in {field.name for field in fields(Verdict)} - {"outcome"}
)


def verdict_row(verdict: Verdict) -> VerdictRow:
    """Say a verdict without its cells."""
    claim = verdict.claim
    return VerdictRow(
        id=claim.id,
        kind=claim.kind,
        says=claim.says,
        where=claim.where,
        metric=claim.metric,
        threshold=_threshold(claim),
        outcome=verdict.outcome.value,
        **{name: getattr(verdict, name) for name in _KEPT},
    )


def _threshold(claim: Claim) -> float:
    if isinstance(claim, Counted):
        return claim.tolerance_pct
    if isinstance(claim, Value):
        return claim.margin
    return claim.bound if isinstance(claim, Ratio) else claim.min_effect


def _costs(suite: Suite, found: Collected, measured: Mapping[str, Counts]) -> tuple[CostRow, ...]:
    rows: list[CostRow] = []
    by_number = {row.number: row for row in found.environments}
    for number in range(1, len(suite.cells) + 1):
        groups: dict[tuple[str, ...], list[RunRow]] = {}
        for run in _of(found.runs, number):
            if run.state == "done" and run.environment:
                groups.setdefault(_timing_key(by_number[run.environment]), []).append(run)
        cell = suite.cells[number - 1]
        counts = measured.get(complexity_key(cell.model, cell.data)) or lookup(cell.model, cell.data)
        rows += [_cost(suite, number, counts, by_number[runs[0].environment or 0], runs) for runs in groups.values()]
        if not groups:
            rows.append(_cost(suite, number, counts, None, ()))
    return tuple(rows)


def _timing_key(row: EnvironmentRow) -> tuple[str, ...]:
    return (row.device_name, row.cpu, str(row.threads), row.engine_path, row.versions.get("torch", ""))


def _cost(
    suite: Suite, number: int, counts: Counts | None, environment: EnvironmentRow | None, runs: Sequence[RunRow]
) -> CostRow:
    cell, protocol = suite.cells[number - 1], suite.protocol
    images = protocol.iterations * protocol.batch
    return CostRow(
        cell=number,
        label=suite.label(cell),
        axes=_axes(suite, cell),
        fidelity=cell_fidelity(suite, cell, protocol),
        parameters=counts.parameters if counts else None,
        macs=counts.macs if counts else None,
        train_macs=counts.training_macs(images) if counts else None,
        depth=counts.depth if counts else None,
        runs=len(runs),
        seconds=_middle(runs, "train_seconds"),
        images_per_s=_middle(runs, "images_per_s"),
        peak_memory_bytes=_middle(runs, "peak_device_memory_bytes") or _middle(runs, "peak_memory_bytes"),
        energy_joules=_middle(runs, ENERGY),
        energy_runs=sum(ENERGY in (run.metrics or {}) for run in runs),
        environment=environment,
    )


def _middle(runs: Sequence[RunRow], metric: str) -> float | None:
    values = [run.metrics[metric] for run in runs if run.metrics and metric in run.metrics]
    return float(median(values)) if values else None


def _deviations(suite: Suite) -> tuple[DeviationRow, ...]:
    rows = [
        DeviationRow(
            id=entry.id,
            text=entry.text,
            where=words(entry.cell) if entry.cell else None,
            cells=tuple(suite.label(cell) for cell in suite.cells if cell.matches(entry.cell)) if entry.cell else (),
        )
        for entry in suite.deviations
    ]
    return tuple(sorted(rows, key=lambda row: row.where is not None))


def _datasets(suite: Suite) -> tuple[Dataset, ...]:
    found: dict[str, Dataset] = {}
    if not suite.trains:
        return ()
    for cell in suite.cells:
        data, part = cell.data, suite.protocol.evaluation.images
        evaluated = data.test_images if part is None else min(part, data.test_images)
        summary_ = data.info.summary
        found[data.name] = Dataset(data.name, summary_, data.train_images, data.test_images, evaluated)
    return tuple(found.values())


def _states(runs: Sequence[RunRow]) -> dict[str, int]:
    order = ("done", "failed", "interrupted", "running", NOT_RUN)
    return {state: sum(run.state == state for run in runs) for state in order}


def _devices(found: Collected) -> tuple[str, ...]:
    by_number = {row.number: row for row in found.environments}
    used = [by_number[run.environment] for run in found.runs if run.environment]
    return tuple(dict.fromkeys(f"{row.device_name} ({row.device}, {_threads(row.threads)})" for row in used))


def _threads(number: int) -> str:
    return f"{number} thread" if number == 1 else f"{number} threads"
