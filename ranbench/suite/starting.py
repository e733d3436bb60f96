"""A commented suite to start from, which holds and runs as it is."""

from __future__ import annotations

import re
from pathlib import Path

from ranbench.errors import UsageError, one_line
from ranbench.suite.files import suites_called

TEXT = Path(__file__).with_name("starting.yaml")
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


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
