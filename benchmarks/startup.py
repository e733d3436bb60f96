"""Start-up of the commands that train nothing, whole processes, as multiples of ``python -c 'import typer'``."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from common import stores
from common.measure import Options, Result, Target, in_turns, ratio, script, spread
from common.processes import TYPER, process_seconds, ranbench

# What no command that reads a database can do without: Typer's reading of options, SQLAlchemy's typed mappings.
LIBRARIES = ("-c", "import typer, pydantic, sqlalchemy.orm; pydantic.TypeAdapter(int)")
BOUNDS = {"help": 2.2, "runs": 5.0, "status": 5.0, "show": 5.0, "plan": 20.0}


def main(options: Options) -> Result:
    stored, planned = options.count(1000, 10), options.count(10_000, 10)
    points = options.count(1000, 10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = stores.many_runs(folder, stored)
        db = ("--db", stores.finished(folder, suite, points))
        many = stores.file_of_runs(folder, planned)
        commands = {
            "typer": TYPER,
            "libraries": LIBRARIES,
            "help": ranbench("--help"),
            "runs": ranbench("runs", *db),
            "status": ranbench("status", *db),
            "show": ranbench("show", suite.runs()[0].fingerprint, *db),
            "plan": ranbench("plan", str(many), *db),
        }

        def timed(arguments: Sequence[str]) -> Callable[[], float]:
            return lambda: process_seconds(arguments, folder)

        ways = {f"{command}_s": timed(arguments) for command, arguments in commands.items()}
        samples = in_turns(ways, rounds=options.count(15, 1), warm=options.count(1, 0))
    typer = statistics.median(samples["typer_s"])
    names = {"help": "ranbench --help", "plan": f"a plan of {planned:,} runs"}
    return Result(
        targets=[
            Target(names.get(name, f"ranbench {name}"), ratio(samples, f"{name}_s", "typer_s"), "at most", bound)
            for name, bound in BOUNDS.items()
        ],
        lines=[
            f"import typer: {1e3 * typer:.0f} ms; in multiples of it:",
            *(f"{name}: {spread(samples, f'{name}_s', 'typer_s')}" for name in BOUNDS),
            f"Typer with pydantic and SQLAlchemy's mappings, imported: {spread(samples, 'libraries_s', 'typer_s')}",
            f"the database holds {stored:,} finished runs of {points:,} points",
        ],
        samples=samples,
    )


if __name__ == "__main__":
    script(main)
