"""Which code this is: the identity of the sources that make numbers, and the commit of the repository they stand in."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from ranbench.catalogue import is_factory
from ranbench.errors import EnvironmentProblem, one_line
from ranbench.masking import mask

# The sources that make numbers; a change in any of them gives another code_id.
NUMBER_SOURCES = ("catalogue.py", "spec", "data", "models", "training")


def code_id(factory: Path | None = None, dataset: Path | None = None) -> str:
    """Return the sha256 of the sources that make numbers, computed without git.

    Args:
        factory: the file of a user's net, whose content is covered as well (not where it lies, and not what it
            imports).
        dataset: the file of a user's dataset, likewise.

    Raises:
        EnvironmentProblem: one of these files cannot be read.
    """
    return _digest(factory, dataset)


@cache  # one answer in one process, as a module is imported only once: the id is that of the code that is run
def _digest(factory: Path | None, dataset: Path | None) -> str:
    root = Path(__file__).resolve().parent.parent
    files = [file for part in NUMBER_SOURCES for file in sorted([root / part, *(root / part).rglob("*.py")])]
    total = hashlib.sha256()
    for file in files:
        if file.is_file():
            total.update(f"{file.relative_to(root).as_posix()}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    for kind, own in (("factory", factory), ("dataset", dataset)):
        if own is not None:
            try:
                total.update(f"{kind}\0".encode() + hashlib.sha256(own.read_bytes()).digest())
            except OSError as error:
                raise EnvironmentProblem(f"{own}: cannot be read: {one_line(error)}") from None
    return total.hexdigest()


def code_of(net: str, dataset: str | None = None) -> str | None:
    """Return the code_id that a run of ``net`` on ``dataset`` would have now; None where a user's file is not found.

    Nothing is imported, so that no user's code need be trusted for it.
    """
    own = {kind: name for kind, name in (("factory", net), ("dataset", dataset)) if name and is_factory(name)}
    files = {kind: _source_of(name.partition(":")[0]) for kind, name in own.items()}
    try:
        return None if None in files.values() else code_id(**files)
    except EnvironmentProblem:
        return None


def _source_of(module: str) -> Path | None:
    """Find the file of a module as the import would, at last in the current folder, without running any code."""
    parts = module.split(".")
    places: Iterable[str] | None = None
    found: ModuleSpec | None = None
    try:
        for depth in range(1, len(parts) + 1):
            if depth > 1 and places is None:
                return None  # a module, which holds no others
            found = _spec_of(".".join(parts[:depth]), None if places is None else list(places))
            if found is None:
                return None
            places = found.submodule_search_locations
    except Exception:  # a finder of some package that fails: its module is not known then
        return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def _spec_of(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, places) for finder in sys.meta_path)
    first = next((spec for spec in found if spec), None)
    return first if first or places is not None else PathFinder.find_spec(name, [str(Path.cwd())])


@cache
def commit_and_patch() -> tuple[str | None, str]:
    """Return commit and uncommitted changes of the repository that this package stands in; (None, '') outside one.

    Secrets in the changes are masked. Of files of the package that git does not know only the names are among them.
    """
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", "--", str(here / "code.py"))
    commit = git("rev-parse", "HEAD") if tracked else None
    if not commit:
        return None, ""
    others = (
        "ls-files",
        "--others",
        "--exclude-standard",
        "--exclude=__pycache__",
        "--full-name",
        "--",
        str(here.parent),
    )
    untracked = "".join(f"# not in git: {name}\n" for name in (git(*others) or "").splitlines())
    return commit.strip(), mask((git("diff", "HEAD") or "") + untracked)
