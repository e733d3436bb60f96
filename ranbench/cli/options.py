"""Options that many commands share, and the settings they lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from ranbench.store import Store
    from ranbench.suite import Suite

DEFAULT_DB = "sqlite:///results/ranbench.db"
DEFAULT_DATA = "data"
ZIP_MAGIC = b"PK\x03\x04"
SQLITE_MAGIC = b"SQLite format 3\0"

Db = Annotated[str | None, typer.Option("--db", metavar="URL", help=f"Database; else $RANBENCH_DB, else {DEFAULT_DB}.")]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help=f"Datasets; else $RANBENCH_DATA, else {DEFAULT_DATA}/.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite file, or the name of one.")]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="KEY=VALUE", help="Only cells with this axis value; repeatable.")
]
Protocol = Annotated[
    str | None, typer.Option("--protocol", metavar="NAME", help="Protocol in place of the suite's own, e.g. smoke.")
]
Factor = Annotated[
    float | None,
    typer.Option("--factor", metavar="F", help="Length as a share of the reference's, for protocols that take one."),
]
TrustImports = Annotated[
    bool,
    typer.Option(
        "--trust-imports", help="Allow nets and datasets named package.module:factory; importing one runs its code."
    ),
]
Seeds = Annotated[int | None, typer.Option("--seeds", metavar="N", help="Seeds 0 to N-1 in place of the suite's own.")]
SeedsFrom = Annotated[
    int | None,
    typer.Option("--seeds-from", metavar="N", help="As many seeds from N on in place of 0, as nightly checks take."),
]


@dataclass(frozen=True)
class Settings:
    """Where the database and the datasets are."""

    db: str
    data: Path

    @property
    def results(self) -> Path:
        """Folder of checkpoints and artefacts: the one of the database's file, else ``results`` where we are."""
        from ranbench.store.connection import database_file

        file = database_file(self.db)
        return file.parent if file else Path("results")

    def exists(self) -> bool:
        """Whether there is a database, or a bundle."""
        from ranbench.store import Store

        return self.bundle is not None or Store.exists(self.db)

    @property
    def bundle(self) -> Path | None:
        """The bundle that is named in place of a database."""
        if "://" in self.db or not Path(self.db).is_file():
            return None
        return Path(self.db) if begins_with(Path(self.db), ZIP_MAGIC) else None

    def refuse_bundle(self) -> None:
        """Check that a database is named.

        Raises:
            UsageError: it is a bundle.
        """
        if self.bundle is not None:
            raise UsageError(f"--db {self.bundle}: is a bundle, which is checked whenever it is read; name a database")

    def spare(self, said: str, target: Path, *read: Path) -> None:
        """Check that a file to be written is no database, and neither the bundle nor another file that is read.

        ``said`` names it.

        Raises:
            UsageError: it is one, or one that SQLite keeps beside a database.
        """
        from ranbench.store.connection import database_file

        opened = self.bundle or database_file(self.db)
        if target.exists() and any(
            one is not None and one.exists() and target.samefile(one) for one in (opened, *read)
        ):
            raise UsageError(f"{said}: is what is read; name another file")
        log = next((end for end in ("-wal", "-shm", "-journal") if target.name.endswith(end)), None)
        database = target.with_name(target.name.removesuffix(log)) if log else target
        if database.is_file() and begins_with(database, SQLITE_MAGIC):
            raise UsageError(f"{said}: {'belongs to' if log else 'is'} a database; name another file")

    @contextmanager
    def store(self, *, create: bool, write: bool = False) -> Iterator[Store]:
        """Open the database, or a bundle where nothing is to be made or written.

        Raises:
            UsageError: a bundle is named where a database is needed.
            StoreError: it cannot be used.
        """
        from ranbench.cli.output import note
        from ranbench.store import Store

        if "://" not in self.db and Path(self.db).suffix == ".zip" and not Path(self.db).exists():
            raise UsageError(f"--db {self.db}: there is no such file")
        bundle = self.bundle
        if bundle is not None:
            if create or write:
                raise UsageError(
                    f"--db {bundle}: is a bundle, which is only read; 'ranbench merge' adds it to a database"
                )
            with Store.of_bundle(bundle) as store:
                yield store
            return
        with Store.open(self.db, create=create) as store:
            if store.backup is not None:
                note(f"the database was upgraded; its old form is kept as {store.backup}")
            elif store.upgrade is not None:
                note(
                    f"the database was upgraded from schema {store.upgrade.version} in one transaction; ranbench keeps "
                    "no copy of a server's database: have a dump (pg_dump), and upgrade ranbench wherever it is used"
                )
            yield store


def begins_with(file: Path, magic: bytes) -> bool:
    """Tell whether a file's first bytes are these."""
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic


def settings(context: typer.Context, db: str | None, data: str | None = None) -> Settings:
    """Take an option from after the command, else from before it, else from the environment, else the default."""
    before: Mapping[str, str | None] = context.obj or {}
    return Settings(
        db or before.get("db") or os.environ.get("RANBENCH_DB") or DEFAULT_DB,
        Path(data or before.get("data") or os.environ.get("RANBENCH_DATA") or DEFAULT_DATA),
    )


def pairs(only: list[str] | None) -> dict[str, str]:
    """Split ``KEY=VALUE`` options.

    Raises:
        UsageError: one has another form, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in only or []:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--only {text!r}: expected KEY=VALUE, for instance model=attention-56")
        if key in found:
            raise UsageError(f"--only {key}: given twice ({found[key]!r} and {value!r}); one value per axis")
        found[key] = value
    return found


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Check a value of a closed set.

    Raises:
        UsageError: it is not one of them.
    """
    if value not in allowed:
        raise UsageError(f"{option} {value!r}: not known{nearest(value, allowed)} (allowed: {', '.join(allowed)})")


def times_the_cores(
    option: str, value: int | None, times: int, *, least: int = 1, elsewhere: bool = False
) -> int | None:
    """Check a number of threads that is given: up to so many times the cores, for each takes memory and a place.

    ``elsewhere``: the cores are those of other machines, which are not known here.

    Raises:
        UsageError: it is less or more.
    """
    cores = os.cpu_count() or 1
    if value is not None and value < least:
        raise UsageError(f"{option} {value}: must be {least} or more")
    if value is not None and value > times * cores and not elsewhere:
        count = "1 core" if cores == 1 else f"{cores} cores"
        raise UsageError(f"{option} {value}: this machine has {count}; at most {times} times as many are allowed")
    return value


def seconds_of(option: str, text: str) -> float:
    """Read a time such as 45s, 90m or 4h.

    Raises:
        UsageError: it has another form, or is not above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not seconds:
        raise UsageError(f"{option} {text!r}: expected a time above zero with its unit, for instance 45s, 90m or 4h")
    return seconds


def suite_name(suite: str) -> str:
    """Return the name of a suite that is given as such or as a file, as all commands take it.

    Raises:
        UsageError: it is a file of another kind.
    """
    path = Path(suite)
    if path.suffix in {"", ".yaml", ".yml"}:
        return path.stem
    bundle = f"; a bundle is read by '--db {suite}'" if path.suffix == ".zip" else ""
    raise UsageError(f"{suite}: expected the name of a suite, or its file NAME.yaml{bundle}")


def suite_of(
    name: str,
    protocol: str | None = None,
    factor: float | None = None,
    seeds: int | None = None,
    seeds_from: int | None = None,
) -> Suite:
    """Load a suite."""
    from ranbench.suite import load_suite

    return load_suite(name, protocol=protocol, factor=factor, seeds=seeds).from_seed(seeds_from)
