"""The last value of each of 1,000 runs with 1,000 points: the store's way against a GROUP BY over the points."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
from contextlib import closing
from pathlib import Path

from common import stores
from common.measure import Options, Result, Samples, Target, in_turns, ratio, script, seconds, spread
from ranbench.store import Store
from ranbench.store.connection import database_file
from ranbench.store.sqlite import PRAGMAS

LOSS = "train_loss"

# SQLite's own short form: beside max(), a bare column is that of the row with the maximum
GROUP_BY = "SELECT attempt_id, name, max(step), value FROM metric_point GROUP BY attempt_id, name"


def main(options: Options) -> Result:
    runs, points = options.count(1000, 10), options.count(1000, 10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = stores.finished(folder, stores.many_runs(folder, runs), points)
        samples = in_both_ways(url, runs, options.count(9, 1))
    pair = "group_by_s", "store_s"
    return Result(
        targets=[Target("a GROUP BY against the store", ratio(samples, *pair), "at least", 20)],
        lines=[
            *(f"{name[:-2]}: {1e3 * statistics.median(values):.3g} ms" for name, values in samples.items()),
            f"{runs:,} runs, {points:,} points each; ratio {spread(samples, *pair)}",
        ],
        samples=samples,
    )


def in_both_ways(url: str, runs: int, rounds: int) -> Samples:
    """Time both, after a check that they find the same values."""
    file = database_file(url)
    assert file is not None
    with Store.open(url, create=False) as store, closing(sqlite3.connect(file)) as driver:
        for name, value in PRAGMAS:
            driver.execute(f"PRAGMA {name} = {value}")  # the same memory for both ways
        attempts = [record.counted.id for record in store.runs() if record.counted]

        def by_store() -> dict[int, float]:
            return {attempt: points[LOSS].value for attempt, points in store.last_points(attempts, [LOSS]).items()}

        def by_group() -> dict[int, float]:
            return {attempt: value for attempt, _, _, value in driver.execute(GROUP_BY)}

        found = by_store()
        if len(found) != runs or found != by_group():
            raise RuntimeError("the two ways find different values")
        ways = {"store_s": lambda: seconds(by_store), "group_by_s": lambda: seconds(by_group)}
        return in_turns(ways, rounds)


if __name__ == "__main__":
    script(main)
