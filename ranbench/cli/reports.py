"""report and complexity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Db, Json, Protocol, Seeds, settings, suite_of
from ranbench.cli.output import answer, as_json, large, note, table
from ranbench.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from ranbench.records import Complexity, RunRecord
    from ranbench.store import Store
    from ranbench.suite import Suite

CURVES = ("test_error_pct", "train_loss")


def report(
    context: typer.Context,
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE...]", help="Suite files or names; all recorded ones if left out."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Set ours beside the paper's values, with verdicts.")
    ] = False,
    protocol: Protocol = None,
    seeds: Seeds = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pages go.")] = Path("reports"),
    json: Json = False,
    db: Db = None,
) -> None:
    """Write a page per suite: tables, pictures, verdicts, deviations; print where it is."""
    import ranbench.report as reporting
    from ranbench.errors import one_line

    tables = []
    missing = 0
    with settings(context, db).store(create=False) as store:
        names = suites or sorted({entry.name for entry in store.suites()})
        if not names:
            raise UsageError("report: the database holds no suite yet; 'ranbench run SUITE' records one")
        for name in names:
            try:
                suite = suite_of(name, protocol, seeds)
            except SuiteError as error:
                if suites:
                    raise
                missing += 1
                note(f"no page for a recorded suite: {error}; give its file: 'ranbench report FILE'")
                continue
            records = _records(store, suite)
            if json:
                tables.append(reporting.tables(suite, records, compare=compare).as_dict())
                continue
            attempts = [record.counted.id for record in records if record.counted]
            series = {
                key: (steps.tolist(), values.tolist())
                for key, (steps, values) in store.series(attempts, CURVES).items()
            }
            try:
                page = reporting.report(suite, records, series, out=out, compare=compare)
            except OSError as error:
                raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
            answer(str(page))
    if json:
        as_json(tables)
    if missing:
        raise typer.Exit(2)


def _records(store: Store, suite: Suite) -> list[RunRecord]:
    """All runs of the suite's cells: those it asks for now, and those that it was ever recorded with."""
    asked = store.runs([spec.fingerprint for spec in suite.runs()])
    known = {record.fingerprint for record in asked}
    return asked + [record for record in store.runs(suite=suite.name) if record.fingerprint not in known]


def complexity(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A net; all with stored counts if left out.")
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="The net takes its form from it.")
    ] = "cifar10",
    learning: Annotated[str | None, typer.Option("--learning", help="residual or naive.")] = None,
    attention: Annotated[str | None, typer.Option("--attention", help="mixed, channel or spatial.")] = None,
    mask: Annotated[str | None, typer.Option("--mask", help="encoder-decoder or local-convolutions.")] = None,
    write_counts: Annotated[
        bool, typer.Option("--write-counts", help="Count every net anew and rewrite the package's counts.json.")
    ] = False,
    json: Json = False,
) -> None:
    """Count trained parameters and multiply-adds of a net, module by module."""
    if write_counts:
        _rewrite()
        return
    options = {"learning": learning, "attention": attention, "mask": mask}
    if model is None:
        _all(json)
        return
    from pydantic import ValidationError

    from ranbench.complexity import measure_named
    from ranbench.spec import DataSpec, ModelSpec

    data = DataSpec.of(dataset)
    try:
        spec = ModelSpec.model_validate({"name": model, **options})
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    found = measure_named(spec, data)
    from ranbench.catalogue import dataset_info

    named = ", ".join([model, *spec.options.values()])
    if json:
        as_json(_as_dict(named, dataset, dataset_info(dataset).shape, found))
        return
    rows = [(name, f"{part['parameters']:,}", f"{part['macs']:,}") for name, part in found.by_module.items()]
    columns = ("module", "parameters", "multiply-adds")
    table(columns, [*rows, ("total", f"{found.parameters:,}", f"{found.macs:,}")], right=columns[1:])
    answer(f"{named} on {dataset}: {large(found.parameters)} parameters, {large(found.macs)} multiply-adds")
    answer(f"convention: {found.convention}")
    answer("not counted: " + ", ".join(f"{name} ({count}x)" for name, count in found.uncounted.items()))


def _as_dict(model: str, dataset: str, shape: tuple[int, int, int], found: Complexity) -> dict[str, Any]:
    return {
        "model": model,
        "dataset": dataset,
        "input": list(shape),
        "parameters": found.parameters,
        "macs": found.macs,
        "by_module": found.by_module,
        "uncounted": found.uncounted,
        "convention": found.convention,
    }


def _all(json: bool) -> None:
    from ranbench.counts import COUNTS_FILE, read_counts

    found = read_counts(COUNTS_FILE)
    if json:
        as_json({key: {"parameters": entry.parameters, "macs": entry.macs} for key, entry in found.items()})
        return
    rows = [(key, f"{entry.parameters:,}", f"{entry.macs:,}") for key, entry in found.items()]
    table(("net and dataset", "parameters", "multiply-adds"), rows, right=("parameters", "multiply-adds"))


def _rewrite() -> None:
    from ranbench.complexity import write_counts
    from ranbench.counts import COUNTS_FILE

    changes = write_counts(COUNTS_FILE)
    for change in changes:
        answer(change)
    note(f"{len(changes)} counts changed in {COUNTS_FILE}")
