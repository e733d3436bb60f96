"""claims and power: what the runs say of a paper's claims, and how many seeds it takes to say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.evidence import measured_of, predictions_of, suite_in, versions_of
from ranbench.cli.options import Db, Factor, Json, Protocol, Seeds, SeedsFrom, Settings, SuiteName, settings
from ranbench.cli.output import as_json, note, paragraph, table
from ranbench.errors import NothingMeasured, UsageError

if TYPE_CHECKING:
    from ranbench.claims import Planned
    from ranbench.counts import Counts
    from ranbench.records import RunRecord
    from ranbench.report.values import VerdictRow
    from ranbench.store import Store
    from ranbench.suite import Suite

UNDECIDED = 5


def claims(
    context: typer.Context,
    suite: SuiteName,
    protocol: Protocol = None,
    factor: Factor = None,
    seeds: Seeds = None,
    seeds_from: SeedsFrom = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 where any claim is left undecided.")] = False,
    json: Json = False,
    db: Db = None,
) -> None:
    """Judge the claims of a suite by the runs at hand: effect, bounds, n, test, and what would change it."""
    from ranbench.claims import Outcome, judge
    from ranbench.report import verdict_row

    with _opened(settings(context, db)) as (store, of_bundle):
        loaded = suite_in(store, suite, protocol, factor, seeds, seeds_from, of_bundle=of_bundle)
        if not loaded.claims:
            raise NothingMeasured(f"suite {loaded.name!r} makes no claim, so there is nothing to judge")
        records, measured, predictions = _evidence(store, loaded)
        versions = versions_of(store, loaded, records) if store else None
    verdicts = judge(loaded, records, measured, predictions, versions)
    rows = [verdict_row(verdict) for verdict in verdicts]
    if json:
        as_json([asdict(row) for row in rows])
    else:
        for row in rows:
            _print(row)
    outcomes = {verdict.outcome for verdict in verdicts}
    if outcomes <= {Outcome.NOT_RUN, Outcome.NOT_COMPARABLE}:
        failed = any(verdict.failed and verdict.fidelity != "smoke" for verdict in verdicts)
        again = f"{loaded.options} --rerun failed' trains the failed runs again" if failed else "' makes the runs"
        raise NothingMeasured(f"no claim of suite {loaded.name!r} was tested; 'ranbench run {suite}{again}")
    if strict and outcomes - {Outcome.REPRODUCED, Outcome.NOT_REPRODUCED}:
        raise typer.Exit(UNDECIDED)


def power(
    context: typer.Context,
    suite: SuiteName,
    sd: Annotated[
        float | None,
        typer.Option("--sd", metavar="X", help="Standard deviation of one run, in the metric's unit; else measured."),
    ] = None,
    effect: Annotated[
        float | None,
        typer.Option(
            "--effect",
            metavar="X",
            help="True effect of better claims and trends, in the metric's unit; else the paper's, or the one seen.",
        ),
    ] = None,
    protocol: Protocol = None,
    factor: Factor = None,
    json: Json = False,
    db: Db = None,
) -> None:
    """Say how many seeds each claim takes for 80 % power, at the strictest level that Holm may ask of it."""
    from ranbench.claims import plan_seeds

    for option, stated in (("--sd", sd), ("--effect", effect)):
        if stated is not None and not 0 < stated < float("inf"):
            raise UsageError(f"{option} {stated:g}: must be above 0, in the unit of the metric")
    with _opened(settings(context, db)) as (store, of_bundle):
        loaded = suite_in(store, suite, protocol, factor, of_bundle=of_bundle)
        records, measured, _ = _evidence(store, loaded)
    plans = plan_seeds(loaded, records, measured, sd, effect)
    if json:
        as_json([asdict(plan) for plan in plans])
    elif plans:
        table(*_layout(plans), right=("sd", "effect", "level %", "seeds", "planned", "power as planned %"))
        for plan in plans:
            if plan.reason:
                note(f"{plan.id}: {plan.reason}")
    if all(plan.reason for plan in plans):
        why = plans[0].reason if plans else "no claim of it rests on runs"
        raise NothingMeasured(f"suite {loaded.name!r}: no number of seeds can be given: {why}")


@contextmanager
def _opened(at: Settings) -> Iterator[tuple[Store | None, bool]]:
    """Open the database, if there is one, and tell whether it is a bundle; without one nothing is run yet."""
    if not at.exists():
        yield None, False
        return
    with at.store(create=False) as store:
        yield store, at.bundle is not None


def _evidence(
    store: Store | None, suite: Suite
) -> tuple[Sequence[RunRecord], Mapping[str, Counts], Mapping[int, bytes]]:
    """Read what the database holds of the suite."""
    if store is None:
        return (), {}, {}
    records = store.runs([spec.fingerprint for spec in suite.runs()]) if suite.trains else []
    return records, measured_of(store, suite), predictions_of(store, suite, records)


def _print(row: VerdictRow) -> None:
    from ranbench.report import MARKS, member_words

    where = f" ({row.where})" if row.where else ""
    paragraph(f"{MARKS[row.outcome]} {row.id}{where}: {row.sentence}")
    for member in row.members:
        paragraph(f"  {MARKS[member.outcome]} {member_words(member, row.unit)}")
    for line in row.lines:
        paragraph(f"  - {line}")


def _layout(plans: Sequence[Planned]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    columns = (
        "claim",
        "kind",
        "level %",
        "sd",
        "spread",
        "effect",
        "",
        "basis",
        "seeds",
        "planned",
        "power as planned %",
    )
    return columns, [
        (
            plan.id,
            plan.kind,
            f"{100 * plan.level:.3g}",
            _span(plan.sds),
            _source(plan, plan.spread),
            _span(plan.effects),
            plan.unit if plan.effects else "",
            _source(plan, plan.basis),
            _seeds(plan),
            plan.planned,
            _power(plan),
        )
        for plan in plans
    ]


def _span(values: Sequence[float]) -> str:
    """Write values that are alike once, else the smallest and the largest."""
    ends = list(dict.fromkeys(f"{value + 0.0:.3g}" for value in (min(values), max(values)))) if values else []
    return " to ".join(ends)


def _source(plan: Planned, source: str | None) -> str | None:
    """Mark what comes from runs of scaled fidelity, which would not decide the claim."""
    return f"{source} (scaled)" if plan.scaled and source in {"measured", "seen"} else source


def _power(plan: Planned) -> str:
    """Write the power as planned; of several comparisons together only a lower bound is known."""
    if plan.power_as_planned is None:
        return ""
    return f"{'at least ' if len(plan.effects) > 1 else ''}{100 * plan.power_as_planned:.0f}"


def _seeds(plan: Planned) -> str:
    from ranbench.statistics import MOST_SEEDS

    if plan.reason:
        return "?"
    return f"over {MOST_SEEDS:,}" if plan.seeds is None else str(plan.seeds)
