"""The command line in a process of its own for each call, without the seconds that every import of torch takes.

The standard library's fork server imports the package and its libraries once; each call is forked from it, with a
folder, environment, arguments, standard streams and exit code of its own. What happens while Python starts is tested
with plain processes (``sys.executable``), and so is all that the environment decides while libraries are loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Libraries that no command but help does without, or that take longest to load; nothing here starts a thread.
PRELOADED = (
    "ranbench.cli",
    "ranbench.runner",
    "ranbench.training",
    "ranbench.report",
    "torchvision",
    "torch._dynamo",
    "alembic.command",
    "sklearn.datasets",
    "command",
)
LIMIT_S = 300.0


def ranbench(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``cwd``, with one thread unless the environment says otherwise."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(PRELOADED))
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        process = forks.Process(target=_command, args=(arguments, str(cwd), env, str(out), str(err)))
        process.start()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, LIMIT_S, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(arguments, process.exitcode, out.read_text(), err.read_text())


def _command(arguments: tuple[str, ...], cwd: str, env: dict[str, str], out: str, err: str) -> None:
    for place, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["ranbench", *arguments]
    from ranbench.cli import main

    main()


class Spoken:
    """A command in a process of its own, whose stderr is read line by line; ``said`` is what it has said so far."""

    process: subprocess.Popen[str]
    said: list[str]

    def until(self, pattern: str) -> None:
        """Read on to a line that holds ``pattern``."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))
            if re.search(pattern, line):
                return
        raise AssertionError(f"ended without {pattern!r}: {self.said}")

    def end(self) -> int:
        """Read to the end and return the exit code."""
        assert self.process.stderr is not None
        self.said += self.process.stderr.read().splitlines()
        self.process.stderr.close()
        return self.process.wait()
