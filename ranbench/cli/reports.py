"""report: the pages of suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.evidence import measured_of, predictions_of, records_of
from ranbench.cli.options import Db, Factor, Json, Protocol, Seeds, settings, suite_of
from ranbench.cli.output import answer, as_json, note
from ranbench.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from ranbench.counts import Recorded
    from ranbench.records import RunRecord
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
                suite = suite_of(name, protocol, factor, seeds)
            except SuiteError as error:
                if suites:
                    raise
                missing += 1
                note(f"no page for a recorded suite: {error}; give its file: 'ranbench report FILE'")
                continue
            records, measured = records_of(store, suite), measured_of(store, suite)
            predictions = predictions_of(store, suite, records) if compare else {}
            _say_other_code(suite, records, measured)
            if json:
                tables.append(reporting.tables(suite, records, measured, predictions, compare=compare).as_dict())
                continue
            attempts = [record.counted.id for record in records if record.counted]
            series = {
                key: (steps.tolist(), values.tolist())
                for key, (steps, values) in store.series(attempts, CURVES).items()
            }
            try:
                page = reporting.report(suite, records, series, measured, predictions, out=out, compare=compare)
            except OSError as error:
                raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
            answer(str(page))
    if json:
        as_json(tables)
    if missing:
        raise typer.Exit(2)


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
