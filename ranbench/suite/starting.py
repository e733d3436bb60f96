"""A commented suite to start from, which holds and runs as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ranbench.errors import UsageError, one_line
from ranbench.suite.files import shipped_suites, suites_called

TEXT = Path(__file__).with_name("starting.yaml")
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of what comes out of a bundle: leads into no other folder


def write_starting_suite(file: Path) -> None:
    """Write the starting suite under the name of ``file``.

    Raises:
        UsageError: the name is none that a suite may have or is taken, the file is there already or cannot be written.
    """
    if file.suffix != ".yaml" or not NAME.fullmatch(file.stem):
        raise UsageError(
            f"new suite {str(file)!r}: expected a file NAME.yaml, with small letters, digits and hyphens in its name"
        )
    taken = [other for other in suites_called(file.stem) if not (file.exists() and other.samefile(file))]
    if taken:
        raise UsageError(f"new suite {file}: {taken[0]} has this name already; choose another one")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(TEXT.read_text(encoding="utf-8").replace("NAME", file.stem))
    except FileExistsError:
        raise UsageError(f"new suite {file}: is there already; choose another name, or remove it") from None
    except OSError as error:
        raise UsageError(f"new suite {file}: cannot be written: {one_line(error)}") from None


def write_recorded_suite(file: Path, text: str, protocols: Mapping[str, str]) -> list[Path]:
    """Write a suite as it is recorded, and beside it those of its protocols that are not the package's.

    Returns:
        The files that were written.

    Raises:
        UsageError: one of them is there already, or cannot be written.
    """
    odd = next((name for name in (file.stem, *protocols) if not PLAIN.fullmatch(name)), None)
    if odd is not None or file.suffix != ".yaml":
        raise UsageError(f"new suite {file}: {odd or file.name!r} names no file NAME.yaml of a suite or protocol")
    shipped = shipped_suites() / "protocols"
    files = {file: text}
    for name, content in protocols.items():
        same = shipped / f"{name}.yaml"
        if not (same.is_file() and same.read_text(encoding="utf-8") == content):
            files[file.parent / "protocols" / f"{name}.yaml"] = content
    for target in files:
        if target.exists():
            raise UsageError(f"new suite {file}: {target} is there already; move it away, or write into another folder")
    try:
        for target, content in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"new suite {file}: cannot be written: {one_line(error)}") from None
    return list(files)
