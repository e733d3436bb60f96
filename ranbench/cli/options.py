"""Options that many commands share, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.errors import UsageError

if TYPE_CHECKING:
    from ranbench.store import Store
    from ranbench.suite import Suite

DEFAULT_DB = "sqlite:///results/ranbench.db"
DEFAULT_DATA = "data"

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
    bool, typer.Option("--trust-imports", help="Allow nets named package.module:factory; importing one runs its code.")
]
Seeds = Annotated[int | None, typer.Option("--seeds", metavar="N", help="Seeds 0 to N-1 in place of the suite's own.")]


@dataclass(frozen=True)
class Settings:
    """Where the database and the datasets are."""

    db: str
    data: Path

    @property
    def results(self) -> Path:
        """Folder of checkpoints and artefacts: the one of the database."""
        from ranbench.store.connection import database_file

        return database_file(self.db).parent

    def exists(self) -> bool:
        """Whether there is a database file."""
        from ranbench.store.connection import database_file

        return database_file(self.db).exists()

    def store(self, *, create: bool) -> Store:
        """Open the database."""
        from ranbench.cli.output import note
        from ranbench.store import Store

        store = Store.open(self.db, create=create)
        if store.backup is not None:
            note(f"the database was upgraded; its old form is kept as {store.backup}")
        return store


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


def suite_of(name: str, protocol: str | None = None, factor: float | None = None, seeds: int | None = None) -> Suite:
    """Load a suite."""
    from ranbench.suite import load_suite

    return load_suite(name, protocol=protocol, factor=factor, seeds=seeds)
