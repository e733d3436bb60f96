"""The files beside a database: those that it names are there and whole, and which there are that it does not name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection, select

from ranbench.records import State, checkpoint_folders
from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.content import sha256_of
from ranbench.store.rows import checked
from ranbench.store.schema import ArtefactRow, AttemptRow


def files(connection: Connection, results: Path) -> Iterator[Finding]:
    """Check artefacts and checkpoints.

    Several machines may share a server's database, and each keeps its own files: one that is not here is a note then.
    A copy of a database has no folder of artefacts beside it, and bundles may come without weights: each is told once.
    """
    lacking = fault if connection.dialect.name == "sqlite" else note
    folder, named, left_out = results / "artefacts", set[Path](), 0
    rows = _recorded(connection)
    if rows and not folder.is_dir():
        yield note("files", f"{folder}: is not there; {_counted(len(rows))} not checked")
        rows = {}
    for (path, sha256, size), merged in rows.items():
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            yield fault("files", f"{path}: leaves the folder of results")
            continue
        file = results / pure
        named.add(file)
        if file.is_file():
            yield from _content(file, sha256, size)
        elif merged:
            left_out += 1
        else:
            yield lacking("files", f"{file}: is recorded, and is not there")
    if left_out:
        yield note("files", f"{_counted(left_out)} not here: bundles came without weights")
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file not in named:
            yield note("files", f"{file}: belongs to no attempt of this database, and can be deleted")
    yield from _checkpoints(connection, results / "checkpoints")


def _recorded(connection: Connection) -> dict[tuple[str, str, int], bool]:
    """Path, hash and size of every artefact, with whether it belongs only to attempts that came out of bundles."""
    row = ArtefactRow
    query = select(row.path, row.sha256, row.size, AttemptRow.bundle).join(AttemptRow, AttemptRow.id == row.attempt_id)
    found: dict[tuple[str, str, int], bool] = {}
    for path, sha256, size, bundle in checked(connection, query.order_by(row.path)):
        key = (path, sha256, size)
        found[key] = found.get(key, True) and bundle is not None
    return found


def _counted(count: int) -> str:
    return "1 recorded file is" if count == 1 else f"{count:,} recorded files are"


def _content(file: Path, sha256: str, size: int) -> Iterator[Finding]:
    try:
        found = file.stat().st_size
        if found != size:
            yield fault("files", f"{file}: has {found:,} bytes, recorded are {size:,}")
            return
        digest = sha256_of(file)
    except OSError as error:
        yield fault("files", f"{file}: cannot be read: {error.strerror}")
        return
    if digest != sha256:
        yield fault("files", f"{file}: its content is not what was recorded (sha256 {digest[:12]}, not {sha256[:12]})")


def _checkpoints(connection: Connection, folder: Path) -> Iterator[Finding]:
    query = select(AttemptRow.fingerprint, AttemptRow.uid, AttemptRow.number, AttemptRow.state)
    states: dict[str, str] = {}
    for fingerprint, uid, number, state in checked(connection, query):
        states.update(dict.fromkeys(checkpoint_folders(fingerprint, uid, number), state))
    for inside in sorted(folder.glob("*")):
        of_attempt = states.get(inside.name)
        if of_attempt is None:
            told = (
                "belongs to no attempt of this database, and can be deleted unless another one keeps its results here"
            )
            yield note("files", f"{inside}: {told}")
        elif of_attempt == State.DONE.value:
            yield note("files", f"{inside}: are checkpoints of a done attempt, and can be deleted")
