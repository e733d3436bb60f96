"""The worker pool: what handing out a run costs, whether memory stays flat, two workers against two bare processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import psutil

from common import stores, trivial
from common.measure import Options, Result, Target, in_turns, ratio, script, spread
from ranbench.execution import LocalPool, Stop
from ranbench.records import Reason
from ranbench.runner import Dispatch, How, Observer, run
from ranbench.runner.driving import Driver
from ranbench.runner.workplace import Order
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import load_suite

JOBS = 2
BARE = Path(__file__).resolve().parent / "common" / "bare.py"
SUITE = """\
# Two runs, to be timed.
name: two
title: Two runs
reference: two
protocol: two
seeds: 2
datasets:
  digits: {train: 1000, test: 100}
cells:
  fixed: {model: attention-56, dataset: digits}
"""
PROTOCOL = """\
iterations: ITERATIONS
batch: 64
schedule: {kind: one-cycle, lr: 0.1, rise: 0.5, start: 0.1, end: 0.0}
optimizer: {momentum: 0.9, nesterov: true, weight_decay: 1e-4}
augmentation: {mean: image, pad: 0, flip: false}
evaluation: {every: ITERATIONS}
initialisation: he-fan-in
precision: float32
"""


def main(options: Options) -> Result:
    runs = options.count(10_000, 10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        handed = hand_out(folder, runs)
        pair = Pair(folder, options.count(1500, 4))
        samples = in_turns(
            {"pool_images_per_s": pair.in_the_pool, "bare_images_per_s": pair.bare}, rounds=options.count(5, 1)
        )
    rates = "pool_images_per_s", "bare_images_per_s"
    medians = " and ".join(f"{statistics.median(samples[each]):,.0f}" for each in rates)
    return Result(
        targets=[
            Target("handing out a run that does nothing", 1e3 * handed.seconds / runs, "at most", 5, "ms"),
            Target("memory after all runs against memory after a tenth of them", handed.growth, "at most", 1.05),
            Target("two workers against two bare processes, one thread each", ratio(samples, *rates), "at least", 0.98),
        ],
        lines=[
            f"{runs:,} runs through {JOBS} workers in {handed.seconds:.2f} s; of that {handed.cpu:.2f} s of the "
            f"command's own processor time, {1e3 * handed.cpu / runs:.3g} ms a run",
            f"the command's memory: {handed.memory[0] / 2**20:.1f} MiB after a tenth, "
            f"{handed.memory[1] / 2**20:.1f} MiB at the end",
            f"ratio {spread(samples, *rates)} of {medians} images/s",
            f"the machine has {psutil.cpu_count()} cores; with fewer than two the rates say nothing",
        ],
        samples={**samples, "hand_out_s": [handed.seconds]},
        facts={"memory_bytes": list(handed.memory), "cpu_s": handed.cpu, "jobs": JOBS},
    )


class Handed(Observer):
    """What handing out took; notes the memory of this process on the way."""

    def __init__(self, runs: int):
        self.tenth, self.ended = max(1, runs // 10), 0
        self.process = psutil.Process()
        self.memory = (0, 0)
        self.seconds = self.cpu = 0.0

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        """Count it."""
        self.ended += 1
        if self.ended == self.tenth:
            self.memory = (self.process.memory_info().rss, 0)

    @property
    def growth(self) -> float:
        """Memory at the end in parts of that after a tenth of the runs."""
        return self.memory[1] / self.memory[0]


def hand_out(folder: Path, runs: int) -> Handed:
    """Hand out runs that do nothing, once the workers are there."""
    suite = stores.many_runs(folder, runs)
    with Store.open(stores.database(folder)) as store, LocalPool(JOBS) as pool:
        order = Order("benchmark", store.address, data=folder, results=folder, device="cpu")

        def through(specs: tuple[RunSpec, ...], observer: Observer) -> None:
            driver = Driver(specs, suite.labels, order, Kept(pool), store, observer, Stop(), call=trivial.call)
            ended = driver.through()
            assert ended["trained"] == len(specs)

        specs = suite.runs()
        through(specs[: 2 * JOBS], Observer())
        handed = Handed(runs)
        before = sum(handed.process.cpu_times()[:2])
        began = time.perf_counter()
        through(specs, handed)
        handed.seconds = time.perf_counter() - began
        handed.cpu = sum(handed.process.cpu_times()[:2]) - before
        handed.memory = (handed.memory[0], handed.process.memory_info().rss)
    return handed


class Kept(LocalPool):
    """The same pool for several drivers: what closes it is not the driver."""

    def __init__(self, pool: LocalPool):
        self.__dict__ = pool.__dict__

    def close(self) -> None:
        """Leave it open."""


class Clock(Observer):
    """Takes the time between the first and the last step that each run tells of."""

    def __init__(self) -> None:
        self.steps: dict[str, list[tuple[int, float]]] = {}
        self.failed_with: str | None = None

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Note it."""
        self.steps.setdefault(spec.fingerprint, []).append((step, time.perf_counter()))

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        """Note it."""
        self.failed_with = error

    def rate(self, batch: int) -> float:
        """Images a second of all runs together."""
        if self.failed_with:
            raise RuntimeError(self.failed_with)
        found = [(told[0], told[-1]) for told in self.steps.values() if len(told) > 1]
        return sum((last - first) * batch / (end - began) for (first, began), (last, end) in found)


class Pair:
    """Two runs of Attention-56 on digits, in the pool and in bare processes."""

    def __init__(self, folder: Path, iterations: int):
        self.folder, self.number = folder / "two", count()
        (self.folder / "protocols").mkdir(parents=True)
        protocol = PROTOCOL.replace("ITERATIONS", str(iterations))
        (self.folder / "protocols" / "two.yaml").write_text(protocol, encoding="utf-8")
        self.file = self.folder / "two.yaml"
        self.file.write_text(SUITE, encoding="utf-8")
        self.suite = load_suite(self.file)

    def in_the_pool(self) -> float:
        """Images a second of both runs in workers, with all that a run records."""
        results, clock = self.folder / str(next(self.number)), Clock()
        with Store.open(f"sqlite:///{results}/ranbench.db") as store:
            how, dispatch = How(threads=1), Dispatch(jobs=JOBS)
            run(self.suite, store, results=results, device="cpu", how=how, dispatch=dispatch, observer=clock)
        return clock.rate(self.suite.protocol.batch)

    def bare(self) -> float:
        """Images a second of both runs in a plain loop each."""
        commands = [[sys.executable, str(BARE), str(self.file), str(seed)] for seed in range(2)]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        return sum(float(process.communicate()[0]) for process in both)


if __name__ == "__main__":
    script(main)
