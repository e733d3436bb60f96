"""A commented workflow for GitHub Actions to start from, which holds as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

from ranbench.errors import UsageError, one_line

TEXT = Path(__file__).with_name("workflow.yml")
ENDINGS = (".yml", ".yaml")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")  # stands in a command line of a shell as it is


def workflow(suites: Sequence[str]) -> str:
    """Return the text of a workflow that checks these suites.

    Raises:
        UsageError: one is named in a way that a shell would read otherwise, or that another machine does not have.
    """
    for suite in suites:
        if not _PLAIN.fullmatch(suite) or ".." in suite:
            raise UsageError(
                f"--suite {suite!r}: expected a name, or a file below the folder of the repository, of letters, digits "
                "and ./_-"
            )
    text = TEXT.read_text(encoding="utf-8").replace("SUITES", " ".join(dict.fromkeys(suites)))
    return text.replace("PINNED", pinned())


def pinned() -> str:
    """Return what pip installs to have the ranbench that is here; empty where nobody else has it.

    That is its version where it came from an index, the commit where it came from a repository. A folder, an archive
    or an editable checkout is on this machine alone.
    """
    here = distribution("ranbench")
    try:
        origin = json.loads(here.read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    if not origin:
        return f"ranbench=={here.version}"
    vcs = origin.get("vcs_info", {})
    url = str(origin.get("url", ""))
    if not (vcs.get("commit_id") and url.startswith("https://") and "@" not in url):  # else it may hold a password
        return ""
    return f"ranbench @ {vcs['vcs']}+{url}@{vcs['commit_id']}"


def write_workflow(file: Path, suites: Sequence[str]) -> None:
    """Write a workflow that checks these suites.

    Raises:
        UsageError: as ``workflow``; the file has another ending, is there already or cannot be written.
    """
    if file.suffix not in ENDINGS:
        raise UsageError(f"new workflow {str(file)!r}: expected a file NAME.yml")
    text = workflow(suites)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise UsageError(f"new workflow {file}: is there already; choose another name, or remove it") from None
    except OSError as error:
        raise UsageError(f"new workflow {file}: cannot be written: {one_line(error)}") from None
