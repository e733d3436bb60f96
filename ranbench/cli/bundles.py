"""export and merge: results as one file, for others and from others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
    chosen.spare(str(file), file)
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
    if made.left_out:
        note(f"{plural(made.left_out, 'file')} of weights left out: of attempts out of bundles, and not here")
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
    refused: list[RanbenchError] = []
    good = files if chosen.exists() else [file for file in files if _tried(refused, file, _check)]
    if good:  # else no database is made
        with chosen.store(create=True) as store:
            for file in good:
                _tried(refused, file, lambda file: done.append(_merge(store, file, chosen.results)))
    if json:
        as_json(done)
    else:
        for each in done:
            there = f", {plural(each['known'], 'attempt')} there already" if each["known"] else ""
            weights = f", {plural(each['files'], 'file')} of weights" if each["files"] else ""
            added = f"{plural(each['added'], 'attempt')} added{weights}{there}"
            answer(f"{each['file']}: {added}; bundle {each['bundle'][:12]}")
    if refused:
        raise refused[-1]  # the last one's line and exit code are those of the command


def _tried(refused: list[RanbenchError], file: Path, act: Callable[[Path], None]) -> bool:
    """Do something with a file; where it is refused, tell what was refused before and keep this."""
    try:
        act(file)
    except RanbenchError as error:
        for conflict in getattr(error, "conflicts", ()):
            note(f"{file}: {conflict}")
        if refused:
            note(str(refused[-1]))
        refused.append(error)
        return False
    return True


def _check(file: Path) -> None:
    from ranbench.store.bundle import opened
    from ranbench.store.checking import check

    _is_there(file)
    with opened(file) as bundle:
        check(bundle)


def _is_there(file: Path) -> None:
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")


def _merge(store: Store, file: Path, results: Path) -> dict[str, Any]:
    _is_there(file)
    return {"file": str(file), **dataclasses.asdict(store.merge(file, results))}
