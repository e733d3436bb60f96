"""validate and list: what a suite may say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.evidence import refuse_two_of_one_name
from ranbench.cli.options import Db, Factor, Json, Protocol, settings, suite_of
from ranbench.cli.output import answer, as_json, note, plural, table
from ranbench.errors import Problem, RanbenchError, SuiteError, UsageError, nearest
from ranbench.masking import mask

if TYPE_CHECKING:
    from ranbench.suite import Suite

KINDS = ("models", "datasets", "protocols", "suites")


def validate(
    suites: Annotated[list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names.")],
    protocol: Protocol = None,
    factor: Factor = None,
    json: Json = False,
) -> None:
    """Check suites and print every problem with file, line, column and key."""
    from ranbench.suite import load_suite

    found: list[dict[str, object]] = []
    seen: dict[str, Suite] = {}
    for name in suites:
        try:
            suite = load_suite(name, protocol=protocol, factor=factor)
            refuse_two_of_one_name(seen, suite)
        except RanbenchError as error:
            problems = error.problems if isinstance(error, SuiteError) else ()
            found.append({"suite": mask(name), "valid": False, "problems": _problems(name, error, problems)})
            continue
        size = {"cells": len(suite.cells), "runs": len(suite.runs()), "claims": len(suite.claims)}
        found.append({"suite": name, "valid": True, "problems": [], **size})
    if json:
        as_json(found)
    else:
        for entry in found:
            _print(entry)
    raise typer.Exit(0 if all(entry["valid"] for entry in found) else 2)


def _problems(name: str, error: RanbenchError, problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    """Describe what is wrong; it may quote the URL of a database that was given in place of a suite."""
    if not problems:
        return [{"file": mask(name), "line": None, "column": None, "key": None, "text": mask(str(error))}]
    return [
        {"file": mask(one.file), "line": one.line, "column": one.column, "key": one.key, "text": mask(one.text)}
        for one in problems
    ]


def _print(entry: dict[str, object]) -> None:
    problems = entry["problems"]
    assert isinstance(problems, list)
    if entry["valid"]:
        runs = plural(entry["runs"], "run") if entry["runs"] else "nets counted, nothing trained"
        answer(f"{entry['suite']}: valid: {plural(entry['cells'], 'cell')}, {runs}, {plural(entry['claims'], 'claim')}")
    for one in problems:
        answer(str(Problem(**one)) if one["line"] else one["text"])


def schema() -> None:
    """Print the form of a suite file as JSON Schema, for editors."""
    from ranbench.suite.schema import suite_schema

    as_json(suite_schema())


new = typer.Typer(help="Write commented files to start from.", no_args_is_help=True)


@new.callback()
def before_new() -> None:
    """Write commented files to start from."""


@new.command("suite")
def new_suite(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it; its name is the suite's.")] = Path(
        "mysuite.yaml"
    ),
    recorded: Annotated[
        bool,
        typer.Option("--recorded", help="As the database or bundle has it, with its own protocols: FILE is NAME.yaml."),
    ] = False,
    db: Db = None,
) -> None:
    """Write a commented suite that holds and runs as it is, or one that is recorded."""
    from ranbench.suite.starting import write_recorded_suite, write_starting_suite

    if not recorded:
        write_starting_suite(file)
        answer(str(file))
        return
    with settings(context, db).store(create=False) as store:
        texts = {one.name: one for one in reversed(store.suites())}
    found = texts.get(file.stem)
    if found is None:
        there = ", ".join(sorted(texts)) or "none"
        raise UsageError(
            f"new suite {file}: nothing of {file.stem!r} is recorded{nearest(file.stem, texts)} (there: {there})"
        )
    for written in write_recorded_suite(file, found.text, found.protocols):
        answer(str(written))


@new.command("workflow")
def new_workflow(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where to write it; GitHub reads .github/workflows/*.yml.")
    ] = Path(".github/workflows/ranbench.yml"),
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="SUITE", help="What it checks: a suite file, or the name of one; repeatable."),
    ] = None,
) -> None:
    """Write a workflow for GitHub Actions that checks suites on every push and trains at night."""
    from ranbench.workflow import pinned, write_workflow

    names = suites or ["quickstart"]
    for name in names:
        suite_of(name)
    write_workflow(file, names)
    answer(str(file))
    if not pinned():
        note(f"this ranbench is installed from this machine alone: say in {file}, at PACKAGE, what pip is to install")


def list_(
    kind: Annotated[str, typer.Argument(metavar="models|datasets|protocols|suites", help="What to list.")],
    json: Json = False,
) -> None:
    """List what a suite may name."""
    if kind not in KINDS:
        raise UsageError(f"list {kind!r}: not known{nearest(kind, KINDS)} (allowed: {', '.join(KINDS)})")
    rows = {"models": _models, "datasets": _datasets, "protocols": _protocols, "suites": _suites}[kind]()
    if json:
        as_json(rows)
        return
    columns = [column for column in rows[0] if column != "options"] if rows else ["name"]
    table(columns, [[row[column] for column in columns] for row in rows])
    if kind == "models":
        answer(_model_notes())
    elif kind == "datasets":
        answer(
            "also: your own imagefolder and package.module:factory, whose facts a suite states; "
            "'ranbench data manifest NAME' prints them, of a factory with --trust-imports"
        )


def _models() -> list[dict[str, object]]:
    from ranbench.catalogue import DATASETS, NETS

    return [
        {
            "name": name,
            "summary": info.summary,
            "datasets": ", ".join(dataset for dataset, facts in DATASETS.items() if facts.form in info.forms),
            "options": {**{option: list(values) for option, values in info.options.items()}, **info.sizes},
        }
        for name, info in NETS.items()
    ]


def _model_notes() -> str:
    from ranbench.catalogue import ATTENTION_OPTIONS, MAX_SIZE, R_SCALES, SPATIAL_STD, UNIT_ORDER

    choices = {**ATTENTION_OPTIONS, "r_scales": R_SCALES, "spatial_std": SPATIAL_STD, "unit_order": UNIT_ORDER}
    options = "; ".join(f"{option}: {' | '.join(values)}" for option, values in choices.items())
    return (
        "also: attention-N of any N = 36m + 20 on cifar10, cifar100 and digits; timm:NAME, torchvision:NAME, and your "
        "own package.module:factory (--trust-imports)\n"
        f"options of attention nets: {options}; p, t, r: 1 to {MAX_SIZE}\n"
        "unit_order is not chosen on imagenet; it is an option of resnet-164 and resnet-1001 too"
    )


def _datasets() -> list[dict[str, object]]:
    from ranbench.catalogue import DATASETS

    return [
        {"name": name, "summary": info.summary, "split": f"{info.train_images:,} / {info.test_images:,}"}
        for name, info in DATASETS.items()
    ]


def _protocols() -> list[dict[str, object]]:
    from ranbench.suite import load_protocol, protocol_files

    rows: list[dict[str, object]] = []
    for name, file in protocol_files(Path("suites")).items():
        try:
            length = load_protocol(file).length
        except SuiteError as error:
            length = f"invalid: {error}"
        rows.append({"name": name, "length": length, "file": str(file)})
    return rows


def _suites() -> list[dict[str, object]]:
    from ranbench.suite import load_suite, shipped_suites

    files: dict[str, Path] = {}
    for folder in (Path("suites"), shipped_suites()):
        for file in sorted(folder.glob("*.yaml")):
            files.setdefault(file.stem, file)
    rows: list[dict[str, object]] = []
    for name, file in files.items():
        try:
            suite = load_suite(file)
            rows.append({"name": name, "title": suite.title, "runs": len(suite.runs()), "file": str(file)})
        except RanbenchError as error:
            rows.append({"name": name, "title": f"invalid: {error}", "runs": None, "file": str(file)})
    return rows
