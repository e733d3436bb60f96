"""report: the pages of suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.options import Db, Factor, Json, Protocol, Seeds, one_of, settings, suite_of
from ranbench.cli.output import answer, as_json, note
from ranbench.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from ranbench.counts import Recorded
    from ranbench.records import RunRecord
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
    factor: Factor = None,
    seeds: Seeds = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Of md, html, tex, csv and json, with commas between.")
    ] = "md",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pages go.")] = Path("reports"),
    json: Json = False,
    db: Db = None,
) -> None:
    """Write a page per suite: tables, pictures, verdicts, deviations; print where it is."""
    import ranbench.report as reporting
    from ranbench.errors import one_line

    chosen = _chosen(formats)
    tables = []
    missing = 0
    with settings(context, db).store(create=False) as store:
        names = suites or sorted({entry.name for entry in store.suites()})
        if not names:
            raise UsageError("report: the database holds no suite yet; 'ranbench run SUITE' records one")
        for name in names:
            try:
                suite = suite_of(name, protocol, factor, seeds)
            except SuiteError as error:
                if suites:
                    raise
                missing += 1
                note(f"no page for a recorded suite: {error}; give its file: 'ranbench report FILE'")
                continue
            records, measured = _records(store, suite), _measured(store, suite)
            _say_other_code(suite, records, measured)
            built = reporting.tables(suite, records, measured, compare=compare)
            if json:
                tables.append(reporting.Report(suite, built, {}, compare).as_dict())
                continue
            attempts = [record.counted.id for record in records if record.counted]
            series = {
                key: (steps.tolist(), values.tolist())
                for key, (steps, values) in store.series(attempts, CURVES).items()
            }
            try:
                files = reporting.write(reporting.Report(suite, built, series, compare), out, chosen)
            except OSError as error:
                raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
            for file in files:
                answer(str(file))
    if json:
        as_json(tables)
    if missing:
        raise typer.Exit(2)


def _chosen(formats: str) -> tuple[str, ...]:
    """Return the formats that are named, each once.

    Raises:
        UsageError: one is not known, or none is named.
    """
    from ranbench.report import FORMATS

    names = tuple(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        one_of("--format", name, tuple(FORMATS))
    return names


def _say_other_code(suite: Suite, records: Sequence[RunRecord], measured: Mapping[str, Recorded]) -> None:
    """Beside the page, not in it: a page is the same wherever it is made, whatever code lies there."""
    from ranbench.runner.choice import counts_of_other_code, of_other_code, other_code_words

    if not suite.trains:
        nets = counts_of_other_code(suite.cells, measured)
        if nets:
            are = "counts are" if len(nets) > 1 else "count is"
            named = ", ".join(f"'{suite.label(cell)}'" for cell in nets)
            other = f"{len(nets)} {are} of other code than is here now ({named})"
            note(f"suite {suite.name}: {other}; 'ranbench run SUITE' counts again")
        return
    asked = {spec.fingerprint for spec in suite.runs()}
    number = of_other_code(record for record in records if record.fingerprint in asked)
    if number:
        note(f"suite {suite.name}: {other_code_words(number)}; 'ranbench run SUITE --rerun changed' trains again")


def _measured(store: Store, suite: Suite) -> dict[str, Recorded]:
    """The recorded counts of the suite's nets, by their key."""
    from ranbench.counts import Recorded
    from ranbench.spec import complexity_key

    keys = {complexity_key(cell.model, cell.data) for cell in suite.cells}
    found = {key: store.complexity(key) for key in sorted(keys)}
    return {key: Recorded(one.parameters, one.macs, one.depth, one.code_id) for key, one in found.items() if one}


def _records(store: Store, suite: Suite) -> list[RunRecord]:
    """All runs of the suite's cells: those it asks for now, and those that it was ever recorded with."""
    asked = store.runs([spec.fingerprint for spec in suite.runs()])
    known = {record.fingerprint for record in asked}
    return asked + [record for record in store.runs(suite=suite.name) if record.fingerprint not in known]
