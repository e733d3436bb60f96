"""export and merge: results as one file, for others and from others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Db, Json, settings, suite_name
from ranbench.cli.output import answer, as_json, note, plural
from ranbench.errors import RanbenchError, UsageError

if TYPE_CHECKING:
    from ranbench.store import Store


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle to write, for instance table3.zip.")],
    suite: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="Only runs that these suites asked for.")
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Add the final weights.")] = False,
    with_patch: Annotated[
        bool, typer.Option("--with-patch", help="Add uncommitted changes of ranbench's code, as they were at each run.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
    db: Db = None,
) -> None:
    """Write done and failed runs to one file, for 'merge' and '--db'. It names no host, user, path or command."""
    if file.exists() and not force:
        raise UsageError(f"{file}: is there already; name another file, or replace it with --force")
    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent}; make it, or name another file")
    chosen = settings(context, db)
    with chosen.store(create=False) as store:
        made = store.export(
            file,
            suites=[suite_name(name) for name in suite or []],
            weights=chosen.results if weights else None,
            with_patch=with_patch,
        )
    if json:
        as_json({"file": str(file), **dataclasses.asdict(made)})
        return
    files = f", {plural(made.files, 'file')} of weights" if made.files else ""
    answer(f"{file}: {plural(made.runs, 'run')}{files}, {made.size:,} bytes; bundle {made.bundle[:12]}")


def merge(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Bundles that 'export' wrote.")],
    json: Json = False,
    db: Db = None,
) -> None:
    """Add the runs of bundles to the database: of each all or nothing; again, or in another order, gives the same."""
    chosen = settings(context, db)
    done: list[dict[str, Any]] = []
    failed: RanbenchError | None = None
    with chosen.store(create=True) as store:
        for file in files:
            try:
                done.append(_merge(store, file, chosen.results))
            except RanbenchError as error:
                for conflict in getattr(error, "conflicts", ()):
                    note(f"{file}: {conflict}")
                if failed is not None:
                    note(str(failed))
                failed = error  # the last one's line and exit code are those of the command
    if json:
        as_json(done)
    else:
        for each in done:
            there = f", {plural(each['known'], 'attempt')} there already" if each["known"] else ""
            answer(f"{each['file']}: {plural(each['added'], 'attempt')} added{there}; bundle {each['bundle'][:12]}")
    if failed is not None:
        raise failed


def _merge(store: Store, file: Path, results: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    return {"file": str(file), **dataclasses.asdict(store.merge(file, results))}
