"""The database and the datasets, as far as they are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ranbench.doctor.finding import Finding, ok, problem, warning
from ranbench.errors import DataError, StoreError
from ranbench.masking import mask_url
from ranbench.store.looking import Health, health
from ranbench.store.schema import VERSION


def database(url: str, file: Path | None) -> Finding:
    """Look at the database quickly; ``file`` is that of SQLite, None for a server."""
    if file is not None and not file.exists():
        return ok("database", f"{mask_url(url)}: not there yet; the first 'ranbench run' makes it")
    try:
        return judged(mask_url(url), health(url))
    except StoreError as error:
        said, _, remedy = str(error).partition("; ")
        return problem("database", said, remedy or "see 'ranbench db check'")


def judged(label: str, found: Health) -> Finding:
    """Judge what was seen of a database that can be opened."""
    journal = f", journal {found.journal}" if found.journal else ""
    text = f"{label}: schema {found.version}{journal}"
    if found.faults:
        more = f", and {len(found.faults) - 1} more" if len(found.faults) > 1 else ""
        return problem(
            "database", f"{text}: {found.faults[0]}{more}", "restore it from a copy; see 'ranbench db check'"
        )
    if found.journal not in (None, "wal"):
        help_ = "'sqlite3 FILE \"PRAGMA journal_mode = WAL\"' lets reports be read while runs are recorded"
        return warning("database", f"{text}, which others must wait for", help_)
    if found.version != VERSION:
        return warning(
            "database", f"{text}, older than {VERSION}", "'ranbench db upgrade', or any command, upgrades it"
        )
    return ok("database", f"{text}, quickly checked: sound" if found.journal else text)


def datasets(root: Path) -> Iterator[Finding]:
    """Check the sums of the datasets that are there; torch must be importable."""
    from ranbench.data import LOADERS

    for name, loader in LOADERS.items():
        about = f"dataset {name}"
        if not loader.is_there(root):
            yield ok(about, f"not in {root}")
            continue
        try:
            yield ok(about, (loader.glance or loader.verify)(root))
        except DataError as error:
            said, _, remedy = str(error).removeprefix(f"{name}: ").partition("; ")
            yield problem(about, said, remedy or f"'ranbench data fetch {name}'")
