"""report: the pages of suites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.evidence import (
    measured_of,
    predictions_of,
    records_of,
    refuse_two_of_one_name,
    suite_in,
    versions_of,
)
from ranbench.cli.options import (
    SQLITE_MAGIC,
    Db,
    Factor,
    Json,
    Protocol,
    Seeds,
    SeedsFrom,
    begins_with,
    one_of,
    settings,
)
from ranbench.cli.output import answer, as_json, note, plural
from ranbench.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from ranbench.counts import Recorded
    from ranbench.records import RunRecord
    from ranbench.report import Report
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
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="DB", help="A database or bundle to set beside ours; repeatable."),
    ] = None,
    protocol: Protocol = None,
    factor: Factor = None,
    seeds: Seeds = None,
    seeds_from: SeedsFrom = None,
    verify: Annotated[
        list[Path] | None,
        typer.Option("--verify", metavar="FILE", help="Make a committed report (md, json) anew and say what differs."),
    ] = None,
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
    if verify:
        _verify(context, verify, suites or [], against, db, json=json)
        return
    tables = []
    missing = 0
    seen: dict[str, Suite] = {}
    at = settings(context, db)
    with at.store(create=False) as store, _opened(context, against or []) as others:
        names = suites or sorted({entry.name for entry in store.suites()})
        if not names:
            raise UsageError("report: the database holds no suite yet; 'ranbench run SUITE' records one")
        for name in names:
            try:
                suite = suite_in(store, name, protocol, factor, seeds, seeds_from, of_bundle=at.bundle is not None)
            except SuiteError as error:
                if suites:
                    raise
                missing += 1
                note(f"no page for a recorded suite: {error}; give its file: 'ranbench report FILE'")
                continue
            refuse_two_of_one_name(seen, suite)
            made = _made(store, suite, others, compare=compare)
            if json:
                tables.append(made.as_dict())
                continue
            try:
                files = reporting.write(made, out, chosen)
            except OSError as error:
                raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
            for file in files:
                answer(str(file))
    if json:
        as_json(tables)
    if missing:
        raise typer.Exit(2)


def _made(store: Store, suite: Suite, others: Mapping[str, Store], *, compare: bool) -> Report:
    """Make the report of a suite from a store, with those of other stores beside it."""
    import ranbench.report as reporting
    from ranbench.records import MEMORISATION

    records, measured = records_of(store, suite), measured_of(store, suite)
    predictions = predictions_of(store, suite, records) if compare else {}
    _say_other_code(suite, records, measured)
    theirs = {label: records_of(other, suite) for label, other in others.items()}
    versions = versions_of(store, suite, records) if compare else None
    built = reporting.tables(suite, records, measured, predictions, compare=compare, against=theirs, versions=versions)
    attempts = [record.counted.id for record in records if record.counted]
    drawn = store.series(attempts, (*CURVES, *MEMORISATION))
    series = {key: (steps.tolist(), values.tolist()) for key, (steps, values) in drawn.items()}
    return reporting.Report(suite, built, series, compare)


def _verify(
    context: typer.Context,
    files: Sequence[Path],
    suites: Sequence[str],
    against: list[str] | None,
    db: str | None,
    *,
    json: bool,
) -> None:
    """Make committed reports anew, and print what differs; exit 4 where something does, 6 where no run is behind it.

    Raises:
        UsageError: a file is no report, or more suites are named than files.
    """
    from ranbench.report.formats import text_of
    from ranbench.report.verifying import committed, differences

    if suites and len(suites) != len(files):
        raise UsageError("--verify: expected one SUITE for each file, in their order, or none: a report names its own")
    answers = []
    empty = False
    for index, file in enumerate(files):
        report = committed(file)
        name = suites[index] if suites else report.suite
        places = against or list(report.against)
        if not against and (servers := [place for place in places if _is_server(place)]):
            raise UsageError(f"--verify {file}: names the server {servers[0]}; --against on the command line opens one")
        at = settings(context, db)
        with at.store(create=False) as store, _opened(context, places) as others:
            chosen = report.protocol, report.factor, report.seeds, report.seeds_from
            suite = suite_in(store, name, *chosen, of_bundle=at.bundle is not None)
            made = _made(store, suite, others, compare=report.compare)
            found = differences(report, text_of(made, report.kind))
        hollow = suite.trains and not made.tables.states["done"] and not found
        empty = empty or hollow
        answers.append({"file": str(file), "differences": [asdict(one) for one in found]})
        nothing = f"{file}: holds no number of a run, so nothing was verified"
        if json:
            if hollow:
                note(nothing)
            continue
        for one in found:
            answer(f"{file}: {one}")
        same = nothing if hollow else f"{file}: comes out again"
        answer(f"{file}: {plural(len(found), 'difference')}" if found else same)
    if json:
        as_json(answers)
    if any(one["differences"] for one in answers):
        raise typer.Exit(4)
    if empty:
        raise typer.Exit(6)


def _is_server(place: str) -> bool:
    """Tell whether opening a place would go over the network, which a file that is read must not bring about."""
    return "://" in place and not place.startswith(("sqlite:///", "sqlite+pysqlite:///"))


@contextmanager
def _opened(context: typer.Context, places: Sequence[str]) -> Iterator[dict[str, Store]]:
    """Open other databases and bundles, by what a report may call them.

    Raises:
        UsageError: one is not there, or given twice.
    """
    from ranbench.masking import mask_url

    with ExitStack() as stack:
        found: dict[str, Store] = {}
        for place in places:
            label = _label(place)
            if "://" not in place and not Path(place).is_file():
                raise UsageError(
                    f"--against {mask_url(place)}: there is no such file; a page holds names of files without their "
                    "folders, so give the path by --against"
                )
            if label in (*found, "ours"):
                raise UsageError(
                    f"--against {label}: a name that is taken; each file must have its own, and none is called ours"
                )
            found[label] = stack.enter_context(settings(context, _url(place)).store(create=False))
        yield found


def _url(place: str) -> str:
    """Return what opens a place: of a database's file that is named by its path, the URL."""
    return f"sqlite:///{place}" if "://" not in place and begins_with(Path(place), SQLITE_MAGIC) else place


def _label(place: str) -> str:
    """Name a database or bundle in a report: as given, without folders from the root, server, user and password."""
    from ranbench.masking import mask_url
    from ranbench.places import CUT

    if _is_server(place):
        scheme, _, rest = place.partition("://")
        return f"{scheme}://{CUT}/{rest.partition('?')[0].rpartition('/')[2]}"
    path = place.removeprefix("sqlite:///").removeprefix("sqlite+pysqlite:///")
    name = re.split(r"[\\/]", path)[-1]
    return name if Path(path).is_absolute() or PureWindowsPath(path).is_absolute() else mask_url(place)


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
