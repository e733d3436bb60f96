"""Python, the libraries that ranbench cannot do without, SQLite, and the code itself."""

from __future__ import annotations

import platform
import re
import sqlite3
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires

from ranbench.doctor.finding import Finding, ok, problem, warning
from ranbench.environment import code_id, commit_and_patch
from ranbench.errors import one_line

PYTHON = (3, 11)
NEEDED = ("torch", "torchvision", "sqlalchemy")

# sqlite.org/wal.html, "The WAL-reset bug": from the first version with a write-ahead log up to 3.51.2.
WAL_FAULT_SINCE = (3, 7, 0)
WAL_FAULT_MENDED = (3, 51, 3)
WAL_FAULT_BACKPORTS = ((3, 44, 6), (3, 50, 7))  # and what follows them with the same first two numbers

Version = tuple[int, ...]


def libraries(*, with_sqlite: bool) -> Iterator[Finding]:
    """Look at Python and the libraries."""
    yield python(sys.version_info[:3])
    least = _least_versions()
    for name in NEEDED:
        yield library(name, least.get(name))
    if with_sqlite:
        yield sqlite(sqlite3.sqlite_version_info)
    yield code()


def python(found: Version) -> Finding:
    """Judge the version of Python."""
    text = f"{platform.python_implementation()} {_dotted(found)}"
    if found < PYTHON:
        return problem("python", text, f"use Python {_dotted(PYTHON)} or later")
    return ok("python", text)


def library(name: str, least: str | None) -> Finding:
    """Judge a library by its version, and by whether it can be imported."""
    try:
        module = import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a part of it does not fit this machine, or the others
        help_ = f"'pip install --upgrade {name}' in this environment"
        return problem(name, f"cannot be imported: {one_line(error)}", help_)
    found = str(getattr(module, "__version__", "unknown"))
    if least is not None and _numbers(found) < _numbers(least):
        return problem(name, found, f"'pip install --upgrade \"{name}>={least}\"'")
    return ok(name, found)


def sqlite(found: Version) -> Finding:
    """Judge the version of the SQLite library, which is that of Python and not of the command sqlite3."""
    text = f"library {_dotted(found)}"
    if not has_wal_fault(found):
        return ok("sqlite", text)
    return warning(
        "sqlite",
        f"{text} has the WAL-reset fault (3.7.0 to 3.51.2): very rarely, two connections that write or checkpoint at "
        "the same moment damage a database; a distribution may have mended it without another number",
        "use a Python with SQLite 3.51.3 or later (or 3.50.7, 3.44.6), above all where several processes write, and "
        "keep copies with 'ranbench db backup'",
    )


def has_wal_fault(found: Version) -> bool:
    """Tell whether a version of SQLite has the fault as its authors number it."""
    mended = any(found[:2] == backport[:2] and found >= backport for backport in WAL_FAULT_BACKPORTS)
    return WAL_FAULT_SINCE <= found < WAL_FAULT_MENDED and not mended


def code() -> Finding:
    """Say by what the code will be known in the records."""
    commit, patch = commit_and_patch()
    identity = f"code_id {code_id()[:12]}"
    if commit is None:
        return ok("code", f"{identity}; no git checkout, so results carry no commit")
    changes = ", with changes that are recorded as a patch" if patch else ""
    return ok("code", f"{identity}, commit {commit[:12]}{changes}")


def _least_versions() -> dict[str, str]:
    """The lowest version of each library that the installed package admits."""
    try:
        entries = requires("ranbench") or []
    except PackageNotFoundError:  # run from its sources
        return {}
    found = (re.match(r"([\w.-]+)\s*>=\s*([\d.]+)", entry) for entry in entries)
    return {match[1].lower(): match[2] for match in found if match}


def _numbers(text: str) -> Version:
    """The numbers that a version begins with, without what follows them: 2.11.0+cu128 is 2, 11, 0."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
