"""Repeating a finished suite of 1,000 runs: nothing is trained; a whole process in multiples of ``import typer``."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from common import stores
from common.measure import Options, Result, Target, in_turns, ratio, script, spread
from common.processes import TYPER, process_seconds, ranbench


def main(options: Options) -> Result:
    runs = options.count(1000, 10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = stores.finished(folder, stores.many_runs(folder, runs), points=1)
        again = ranbench("run", str(stores.file_of_runs(folder, runs)), "--db", db)
        says = f"{runs} runs: 0 trained, {runs} done already"
        samples = in_turns(
            {
                "typer_s": lambda: process_seconds(TYPER, folder),
                "repeat_s": lambda: process_seconds(again, folder, says),
            },
            rounds=options.count(15, 1),
            warm=options.count(1, 0),
        )
    pair = "repeat_s", "typer_s"
    return Result(
        targets=[Target(f"repeating {runs:,} finished runs", ratio(samples, *pair), "at most", 20)],
        lines=[
            *(f"{key[:-2]}: {1e3 * statistics.median(values):.0f} ms" for key, values in samples.items()),
            f"ratio {spread(samples, *pair)}",
        ],
        samples=samples,
    )


if __name__ == "__main__":
    script(main)
