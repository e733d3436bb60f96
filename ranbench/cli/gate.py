"""check and baseline: the gate for CI."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.evidence import refuse_two_of_one_name
from ranbench.cli.options import (
    Data,
    Db,
    Factor,
    Json,
    Protocol,
    Seeds,
    SeedsFrom,
    Settings,
    TrustImports,
    one_of,
    settings,
    suite_of,
    times_the_cores,
)
from ranbench.cli.output import answer, as_json, json_of, note, plural
from ranbench.cli.run import DEVICES, STOPPING, THREADS_PER_CORE, Device, Threads, interruptible
from ranbench.errors import StoreError, UsageError, one_line

if TYPE_CHECKING:
    from ranbench.regression import Baseline, Report, SuiteResult
    from ranbench.runner.gate import Where
    from ranbench.suite import Suite

LAYERS = ("free", "trained", "all")
MOST_JOBS = 100

baseline = typer.Typer(help="Keep results that later ones are checked against.", no_args_is_help=True)
Suites = Annotated[list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names of suites.")]


def check(
    context: typer.Context,
    suites: Suites,
    baseline: Annotated[Path, typer.Option("--baseline", metavar="FILE", help="The baseline to check against.")],
    layer: Annotated[
        str, typer.Option("--layer", metavar="NAME", help="free (trains nothing), trained, or all.")
    ] = "all",
    protocol: Protocol = None,
    factor: Factor = None,
    seeds: Seeds = None,
    seeds_from: SeedsFrom = None,
    cycle: Annotated[
        str | None,
        typer.Option(
            "--cycle", metavar="NAME", help="nightly, weekly or monthly: a rotating part of the rarer cells; else all."
        ),
    ] = None,
    night: Annotated[
        str | None,
        typer.Option("--date", metavar="DAY", help="YYYY-MM-DD in place of today (UTC); no turn is caught up."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="MIN", help="Minutes for training and measuring.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train and measure what is missing, or compare what is there.")
    ] = True,
    jobs: Annotated[
        int, typer.Option("--speed-jobs", metavar="N", help="Processes that time each due cell's step; 0: none.")
    ] = 4,
    device: Device = "auto",
    threads: Threads = None,
    trust_imports: TrustImports = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 where anything is left undecided.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print annotations, and write to $GITHUB_STEP_SUMMARY.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a page in markdown.")] = False,
    json: Json = False,
    db: Db = None,
    data: Data = None,
) -> None:
    """Train what is missing for the code that is here, and compare it with a baseline.

    Exit 0 compared and no regression, 3 runs failed, 4 a regression, a cell that is gone or a claim that fell, 5 with
    --strict undecided, 6 nothing measured or no baseline.
    """
    from ranbench.regression import CYCLES, outputs, read_baseline

    one_of("--layer", layer, LAYERS)
    one_of("--device", device, DEVICES)
    if cycle is not None:
        one_of("--cycle", cycle, CYCLES)
    if budget is not None and not budget > 0:
        raise UsageError(f"--budget {budget:g}: must be above 0, in minutes")
    if markdown and json:
        raise UsageError("--markdown and --json: one of them; both go to stdout")
    asked = _night(night)
    before = read_baseline(baseline)
    loaded = _loaded(suites, protocol, factor, seeds, seeds_from)
    threads = times_the_cores("--threads", threads, THREADS_PER_CORE)
    chosen = settings(context, db, data)
    if junit is not None:
        _writable(junit, chosen, [baseline, *(Path(suite.file) for suite in loaded)])
    from ranbench.runner import gate

    with _working(chosen, device, threads, trust_imports) as where:
        report = gate.check(
            loaded,
            before,
            where,
            gate.Night(
                asked,
                cycle=cycle or "monthly",
                budget=None if budget is None else 60 * budget,
                train=train,
                jobs=_number(jobs),
                catches_up=night is None,
                trained=layer != "free",
                free=layer != "trained",
            ),
        )
    code = report.exit_code(strict=strict)
    lost = [_lost(lambda: _write(junit, outputs.junit(report)))] if junit is not None else []
    if github:
        lost.append(_lost(lambda: _summary(outputs.markdown(report, code))))
    code = StoreError.exit_code if any(lost) else code
    if json:
        _as_json(outputs.as_dict(report, code), github=github)
    elif markdown:
        answer(outputs.markdown(report, code).rstrip().replace("##[", "## ["))
    else:
        _print(report)
    for line in outputs.github(report) if github else ():
        (answer if not (json or markdown) else _beside)(line)
    for text in (*(f"nothing measured: {one}" for one in report.unmeasured), *filter(None, lost)):
        note(outputs.harmless(text))
    raise typer.Exit(code)


@baseline.command("save")
def save(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The baseline; one that is there is replaced.")],
    suites: Suites,
    protocol: Protocol = None,
    factor: Factor = None,
    seeds: Seeds = None,
    layer: Annotated[
        str, typer.Option("--layer", metavar="NAME", help="free (counts and fixed values), trained, or all.")
    ] = "all",
    jobs: Annotated[
        int, typer.Option("--speed-jobs", metavar="N", help="Processes that time each cell's step; 0: none.")
    ] = 8,
    device: Device = "auto",
    threads: Threads = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let go of results in FILE that are not kept anew; else it is refused.")
    ] = False,
    trust_imports: TrustImports = False,
    db: Db = None,
    data: Data = None,
) -> None:
    """Keep the results that the code here made of suites, for 'ranbench check'. Trains nothing.

    Exceptions of a baseline that is replaced are kept. Exit 6 where there is nothing to keep.
    """
    from ranbench.regression import read_baseline, write_baseline

    one_of("--layer", layer, LAYERS)
    one_of("--device", device, DEVICES)
    loaded = _loaded(suites, protocol, factor, seeds)
    threads = times_the_cores("--threads", threads, THREADS_PER_CORE)
    chosen = settings(context, db, data)
    chosen.spare(f"baseline save {file}", file, *(Path(suite.file) for suite in loaded))
    before = read_baseline(file) if file.exists() and file.stat().st_size else None
    if before is not None and not replace:
        _refuse_loss(file, before, loaded, layer)
    from ranbench.runner import gate

    words = "stopping: a baseline is measured whole or not at all (again: at once)"
    with _working(chosen, device, threads, trust_imports, words) as where:
        made = gate.save(loaded, where, jobs=_number(jobs), trained=layer != "free", free=layer != "trained")
    if where.stop.signal is not None:
        note(f"stopped before all was measured; {file} was not written")
        raise typer.Exit(128 + where.stop.signal)
    for name, suite in made.suites.items() if before is not None and not replace else ():
        if before is not None and _runs_of(before.suites.get(name)) and not _runs_of(suite):
            raise UsageError(
                f"baseline save {file}: holds runs of suite {name!r}, and the database none of the code that is here; "
                f"'ranbench run {name} --rerun changed' makes them, --replace lets them go"
            )
    write_baseline(file, dataclasses.replace(made, exceptions=before.exceptions if before is not None else ()))
    runs = sum(map(_runs_of, made.suites.values()))
    note(f"{file}: {sum(len(suite.cells) for suite in made.suites.values())} cells, {runs} runs")


def _refuse_loss(file: Path, before: Baseline, suites: Sequence[Suite], layer: str) -> None:
    """Refuse to lose what a baseline holds of suites that are not named, or of a layer that is not measured.

    Raises:
        UsageError: something would be lost.
    """
    named = {suite.name for suite in suites}
    others = sorted(before.suites.keys() - named)
    if others:
        runs = sum(_runs_of(before.suites[name]) for name in others)
        raise UsageError(
            f"baseline save {file}: holds {', '.join(others)} as well ({plural(runs, 'run')}), which would be lost; "
            "name all suites that it is to hold, or let go of the others by --replace"
        )
    if layer == "free" and any(_runs_of(suite) for suite in before.suites.values()):
        raise UsageError(f"baseline save {file}: holds runs, which --layer free would lose; leave it out, or --replace")
    if layer == "trained" and before.fixed:
        raise UsageError(
            f"baseline save {file}: holds fixed values, which --layer trained would lose; leave it out, or --replace"
        )


def _runs_of(suite: SuiteResult | None) -> int:
    return 0 if suite is None else sum(len(cell.places) for cell in suite.cells)


def _loaded(
    suites: list[str], protocol: str | None, factor: float | None, seeds: int | None, seeds_from: int | None = None
) -> list[Suite]:
    seen: dict[str, Suite] = {}
    for name in suites:
        refuse_two_of_one_name(seen, suite_of(name, protocol, factor, seeds, seeds_from))
    return list(seen.values())


def _night(night: str | None) -> date:
    from ranbench.regression.findings import day

    try:
        return datetime.now(UTC).date() if night is None else day(night)
    except ValueError:
        raise UsageError(f"--date {night!r}: expected a day as YYYY-MM-DD") from None


def _number(jobs: int) -> int:
    if not 0 <= jobs <= MOST_JOBS:
        raise UsageError(f"--speed-jobs {jobs}: must be between 0 and {MOST_JOBS}")
    return jobs


@contextlib.contextmanager
def _working(
    chosen: Settings, device: str, threads: int | None, trust_imports: bool, words: str = STOPPING
) -> Iterator[Where]:
    """Open what a gate works with; results are shown as those of 'ranbench run'."""
    from ranbench.cli.progress import Live, observer
    from ranbench.runner.gate import Where
    from ranbench.runner.how import How

    how = How(threads=threads, trust_imports=trust_imports)
    with chosen.store(create=True) as store:
        shown = observer()
        with shown if isinstance(shown, Live) else contextlib.nullcontext(), interruptible(words=words) as stop:
            yield Where(store, chosen.data, chosen.results, device, how, shown, stop)


def _writable(junit: Path, chosen: Settings, read: Sequence[Path]) -> None:
    """Refuse a file of JUnit that is something else, or that cannot be written, before anything is trained."""
    chosen.spare(f"--junit {junit}", junit, *read)
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
        if junit.exists():
            junit.open("a", encoding="utf-8").close()
        else:
            tempfile.TemporaryFile(dir=junit.parent).close()
    except OSError as error:
        raise UsageError(f"--junit {junit}: cannot be written: {one_line(error)}") from None


def _print(report: Report) -> None:
    from ranbench.regression import Kind
    from ranbench.regression.outputs import harmless, headline, ordered

    for finding in ordered(report):
        if finding.kind is not Kind.UNCHANGED:
            answer(harmless(finding.line))
    for text in report.notes:
        answer(harmless(text))
    answer(headline(report))


def _as_json(value: dict[str, Any], *, github: bool) -> None:
    """Print the report; for GitHub so that no text in it is a command, which a line of JSON cannot begin with."""
    if not github:
        as_json(value)
        return
    answer(json_of(value).replace("##[", "##\\u005b"))


def _beside(text: str) -> None:
    typer.echo(text, err=True)


def _summary(page: str) -> None:
    """Add a page to the summary of the step, where GitHub asks for one."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if file:
        try:
            with Path(file).open("a", encoding="utf-8") as opened:
                opened.write(page)
        except OSError as error:
            raise StoreError(f"$GITHUB_STEP_SUMMARY {file}: cannot be written: {one_line(error)}") from None


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--junit {file}: cannot be written: {one_line(error)}") from None


def _lost(write: Callable[[], None]) -> str:
    """Write, and return in a line what could not be; the findings are told in any case."""
    try:
        write()
    except StoreError as error:
        return str(error)
    return ""
