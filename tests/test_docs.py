"""README and documents say what is true: every command exists, and every documented command line is accepted."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (
    *(
        "list",
        "validate",
        "plan",
        "run",
        "status",
        "runs",
        "show",
        "report",
        "complexity",
        "bench",
        "data fetch",
        "data verify",
    ),
)


def documented() -> list[str]:
    """Every ranbench command line of the README, from code blocks and inline code, without placeholders."""
    inside = re.findall(r"`(ranbench [^`\n]+)`", README)
    blocks = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    lines = [line.split("#")[0].strip() for line in blocks if line.startswith("ranbench")]
    return list(dict.fromkeys(lines + inside))


def test_every_command_is_documented_and_no_other() -> None:
    found = subprocess.run([sys.executable, "-m", "ranbench", "--help"], capture_output=True, text=True, check=True)

    listed = re.findall(r"^  ([a-z]+)  ", found.stdout.split("Commands:")[1], re.MULTILINE)

    assert set(listed) == {command.split()[0] for command in COMMANDS}
    assert [command for command in COMMANDS if f"ranbench {command}" not in README] == []


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_line_is_accepted(line: str) -> None:
    """Long ones are only parsed: with --help behind them, every option that does not exist is still refused."""
    words = shlex.split(line)[1:]

    found = subprocess.run(
        [sys.executable, "-m", "ranbench", *words, "--help"], capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stderr
    options = [word for word in words if word.startswith("--")]
    assert [option for option in options if option not in found.stdout] == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = [
        f"{file.name}: {target}"
        for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8"))
        if not (file.parent / target).exists()
    ]

    assert broken == []


def test_every_public_name_can_be_imported() -> None:
    import ranbench

    assert [name for name in ranbench.__all__ if not hasattr(ranbench, name)] == []
