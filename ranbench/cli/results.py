"""runs and show: what the database holds."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Db, Json, settings, suite_name
from ranbench.cli.output import answer, as_json, note, plural, table
from ranbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from ranbench.records import Attempt, Complexity, RunRecord
    from ranbench.store import Store

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="KEY=VALUE", help="Only runs of which this holds, also !=, <, <=, >, >=; repeatable."
    ),
]
WhyNot = Annotated[
    tuple[str, str] | None,
    typer.Option("--why-not", metavar="A B", help="Say what makes the results of two runs not comparable."),
]
SuiteFilter = Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Only runs that this suite asked for.")]


def chosen(store: Store, suite: str | None) -> list[RunRecord]:
    """Read all runs, or those of a suite.

    Raises:
        UsageError: nothing of the suite is recorded.
    """
    if suite is None:
        return store.runs()
    known = sorted({entry.name for entry in store.suites()})
    name = suite_name(suite)
    if name not in known:
        there = ", ".join(known) or "none"
        raise UsageError(f"suite {name!r}: nothing of it is recorded{nearest(name, known)} (recorded: {there})")
    return store.runs(suite=name)


def state_of(record: RunRecord) -> str:
    """Return a run's state as it is now."""
    from ranbench.records import State

    if record.state != State.RUNNING.value:
        return record.state
    from ranbench.environment.owner import state_now

    return state_now(record)


def runs(
    context: typer.Context,
    suite: SuiteFilter = None,
    where: Where = None,
    why_not: WhyNot = None,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write all runs as CSV to a file.")] = None,
    db: Db = None,
) -> None:
    """List the runs of the database, or of one suite, with their state and result."""
    if why_not is not None and (suite or where or csv):
        raise UsageError("--why-not: takes two runs, and goes with --json only")
    at = settings(context, db)
    if csv is not None:
        at.spare(f"--csv {csv}", csv)
    with at.store(create=False) as store:
        if why_not is not None:
            _why_not(store.find(why_not[0]), store.find(why_not[1]), json)
            return
        records = chosen(store, suite)
    if where:
        from ranbench.selection import select

        total, records = len(records), select(records, where, state_of)
        note(f"{len(records):,} of {plural(f'{total:,}', 'run')}")
    if csv is not None:
        from ranbench.report.frame import write_csv

        write_csv(records, csv)
        note(f"{plural(len(records), 'run')} written to {csv}")
    if json:
        as_json([run_dict(record) for record in records])
        return
    places = {record.cell_id: place for place, record in reversed(list(enumerate(records)))}
    records = sorted(records, key=lambda record: (places[record.cell_id], record.seed))
    columns = ("run", "net", "dataset", "noise", "iterations", "", "seed", "state", "test error", "attempts", "suites")
    table(
        columns,
        [_row(record) for record in records],
        right=("iterations", "seed", "test error", "attempts"),
        whole=("run", "seed", "iterations", "test error"),
        if_any=("noise", ""),
    )


def _why_not(first: RunRecord, second: RunRecord, json: bool) -> None:
    from ranbench.comparability import comparability

    found = comparability(first, second, state_of)
    if json:
        runs = {"first": first.fingerprint, "second": second.fingerprint}
        as_json({**runs, **dataclasses.asdict(found)})
        return
    answer(found.text)
    columns = ("field", first.fingerprint[:12], second.fingerprint[:12], "why it matters")
    for title, differences in (("", found.forbidding), ("forbids nothing, but differs:", found.beside)):
        if differences:
            if title:
                answer(title)
            table(columns, [(each.field, each.first, each.second, each.why) for each in differences])


def _row(record: RunRecord) -> tuple[object, ...]:
    error = record.counted.metrics.get("error_pct") if record.counted else None
    latest = record.latest
    reason = f" ({latest.reason.value})" if latest and latest.reason and record.state == "failed" else ""
    noise = record.spec.get("noise")
    return (
        record.fingerprint[:12],
        cell_of(record),
        record.spec["data"]["name"],
        f"{noise['rate']:g}" if noise else "",
        f"{record.spec['protocol']['iterations']:,}",
        "smoke" if record.smoke else "",
        record.seed,
        state_of(record) + reason,
        "" if error is None or math.isnan(error) else f"{error:.2f} %",
        len(record.results),
        ", ".join(record.suites),
    )


def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="First digits of a run's fingerprint (4 or more).")],
    json: Json = False,
    db: Db = None,
) -> None:
    """Show one run whole: its spec, attempts, metrics, series, environment."""
    from ranbench.records import Purpose

    with settings(context, db).store(create=False) as store:
        record = store.find(run)
        whole = run_dict(record, store)
    if json:
        as_json(whole)
        return
    answer(f"run {record.fingerprint}")
    answer(f"cell {record.cell_id}")
    smoke = " (smoke: the numbers mean nothing)" if whole["smoke"] else ""
    answer(
        f"{cell_of(record)}, seed {record.seed}: {record.state}{smoke}; suites: {', '.join(record.suites) or 'none'}"
    )
    _show_spec(record.spec)
    for attempt in record.attempts:
        counted = " (counts)" if record.counted and attempt.id == record.counted.id else ""
        if attempt.purpose is Purpose.CHECK:
            counted = " (a check, which never counts)"
        answer("")
        answer(f"attempt {attempt.number}: {attempt.state.value}{counted}")
        _show_attempt(attempt, whole)


def _show_spec(spec: Any, prefix: str = "") -> None:
    for key, value in spec.items():
        if isinstance(value, dict):
            _show_spec(value, f"{prefix}{key}.")
        elif value not in (None, ""):  # what a bundle does not hold is empty
            answer(f"  {prefix}{key}: {value}")


def _show_attempt(attempt: Attempt, whole: dict[str, Any]) -> None:
    details = next(entry for entry in whole["attempts"] if entry["id"] == attempt.id)
    hidden = (
        "id",
        "number",
        "purpose",
        "state",
        "environment",
        "metrics",
        "probes",
        "series",
        "predictions",
        "artefacts",
        "owner",
    )
    for key, value in details.items():
        if key not in hidden and value not in (None, False, 0):
            answer(f"  {key}: {value}")
    for name, value in attempt.metrics.items():
        answer(f"  {name}: {value:.6g}")
    for probe in attempt.probes:
        for name, value in probe.values.items():
            answer(f"  {name}: {value:.6g}")
    for artefact in details["artefacts"]:
        answer(f"  {artefact['kind']}: {artefact['path']} ({artefact['size']:,} bytes)")
    for name, series in details["series"].items():
        if not name.startswith("confusion_"):
            answer(f"  series {name}: {len(series['steps'])} points, last {series['values'][-1]:.6g}")
    environment = {key: value for key, value in attempt.environment.as_dict().items() if key != "patch"}
    _show_spec(environment, "environment.")


def run_dict(record: RunRecord, store: Store | None = None) -> dict[str, Any]:
    """Return every stored field of a run; with a store, also its series, predictions and artefacts."""
    whole: dict[str, Any] = {
        "fingerprint": record.fingerprint,
        "cell_id": record.cell_id,
        "seed": record.seed,
        "state": record.state,
        "smoke": record.smoke,
        "counted_attempt": record.counted.number if record.counted else None,
        "suites": list(record.suites),
        "spec": record.spec,
        "attempts": [_attempt_dict(attempt) for attempt in record.attempts],
    }
    if store is not None:
        complexity = _counts(record, store)
        whole["complexity"] = dataclasses.asdict(complexity) if complexity else None
        for attempt in whole["attempts"]:
            _add_details(attempt, store, _num_classes(record))
    return whole


def _num_classes(record: RunRecord) -> int:
    """The number of classes that a run tells apart; two, as good as any that takes a byte, where it is not known."""
    from ranbench.errors import RanbenchError
    from ranbench.spec import RunSpec

    try:
        return RunSpec.stored(record.fingerprint, record.spec).data.info.num_classes
    except RanbenchError:
        return 2


def _attempt_dict(attempt: Attempt) -> dict[str, Any]:
    fields = dataclasses.asdict(attempt)
    fields["environment"] = attempt.environment.as_dict()
    fields.pop("fingerprint")
    if fields["owner"]:
        fields["owner"].pop("token")  # secret to the process
    return fields


def _add_details(attempt: dict[str, Any], store: Store, num_classes: int) -> None:
    from ranbench.records import classes_in

    points = store.points([attempt["id"]])
    attempt["series"] = {name: {"steps": steps, "values": values} for (_, name), (steps, values) in points.items()}
    predictions = store.predictions(attempt["id"])
    attempt["predictions"] = None if predictions is None else list(classes_in(predictions, num_classes))
    attempt["artefacts"] = [
        {"kind": found.kind, "path": found.path, "sha256": found.sha256, "size": found.size}
        for found in store.artefacts([attempt["id"]])
    ]


def _counts(record: RunRecord, store: Store) -> Complexity | None:
    """Return the counts of the attempt that counts, else what was counted last of the net."""
    if record.counted:
        return store.complexity_of(record.counted.id)
    from ranbench.spec import RunSpec

    return store.complexity(RunSpec.stored(record.fingerprint, record.spec).complexity_key)


def cell_of(record: RunRecord) -> str:
    """Return the net and its options, without the usual attention and mask."""
    from ranbench.catalogue import ATTENTION_OPTIONS

    usual = {name: ATTENTION_OPTIONS[name][0] for name in ("attention", "mask")}
    chosen = record.spec["model"].items()
    return ", ".join(str(value) for name, value in chosen if value is not None and value != usual.get(name))
