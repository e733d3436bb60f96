"""Whole processes of the command line, timed from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TYPER = ("-c", "import typer")  # what start-up is compared with


def ranbench(*words: str) -> tuple[str, ...]:
    """Return the arguments of Python for a command line."""
    return ("-m", "ranbench", *words)


def process_seconds(arguments: Sequence[str], folder: Path, says: str = "") -> float:
    """Run Python in a folder; return how long the process took, from start to end.

    Raises:
        RuntimeError: it failed, or did not say what it should.
    """
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0 or says not in done.stdout + done.stderr:
        raise RuntimeError(f"python {' '.join(arguments)}: exit {done.returncode}: {done.stderr[-500:]}")
    return took
