"""What recording costs: its share of a training step, points per second in bulk, and against MLflow's log_metric."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch

from common import engine, stores
from common.measure import Options, Result, Target, in_turns, ratio, script, seconds
from ranbench.records import MetricPoint
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.training import Checkpoints, Together, Training
from ranbench.training.checkpoint import APART, SHARE

CPU = torch.device("cpu")
HEARTBEAT_SECONDS = 20.0  # of the runner
PER_WINDOW, PER_EVALUATION = 3, 2  # points
EVALUATION_EVERY = 4000  # iterations, in the paper's protocol


def main(options: Options) -> Result:
    has_mlflow = find_spec("mlflow") is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = stores.many_runs(folder, stores.CELLS)
        with Store.open(stores.database(folder)) as store, ExitStack() as opened:
            recorder = Recorder(store, suite.runs()[0])
            share, line, facts = share_of_a_step(options, recorder, folder)
            ways = {
                "bulk_points_per_s": lambda: recorder.rate(options.count(100_000, 100), at_once=True),
                "single_points_per_s": lambda: recorder.rate(options.count(200, 3), at_once=False),
            }
            if has_mlflow:
                ways["mlflow_points_per_s"] = opened.enter_context(mlflow_run(folder, options.count(200, 3)))
            samples = in_turns(ways, rounds=options.count(9, 1))
    return Result(
        targets=[
            Target("recording, share of a training step", 100 * share, "at most", 0.1, "%"),
            Target("in bulk", statistics.median(samples["bulk_points_per_s"]), "at least", 200_000, "points/s"),
            Target(
                "in bulk against MLflow's log_metric, point by point",
                ratio(samples, "bulk_points_per_s", "mlflow_points_per_s") if has_mlflow else None,
                "at least",
                100,
                why="" if has_mlflow else "mlflow is not installed",
            ),
        ],
        lines=[
            line,
            *(f"{name.split('_')[0]}: {statistics.median(values):,.0f} points/s" for name, values in samples.items()),
            "a single point is a transaction of its own, on disk when the call returns; MLflow's default (SQLite)",
        ],
        samples=samples,
        facts=facts,
    )


class Recorder:
    """Writes points of one attempt, each at a step of its own."""

    def __init__(self, store: Store, spec: RunSpec):
        self.store, self.writer = store, stores.Writer(store)
        self.attempt = self.writer.claim(spec)
        self.steps = count(1)

    def points(self, number: int) -> list[MetricPoint]:
        """Make points that were not written yet."""
        return [MetricPoint("train_loss", next(self.steps), 0.5) for _ in range(number)]

    def append(self, points: list[MetricPoint]) -> None:
        """Write them in one transaction."""
        self.writer.append(self.attempt, points, points[-1].step if points else 0)

    def rate(self, number: int, *, at_once: bool) -> float:
        """Return points per second, written in one transaction or each in its own."""
        points = self.points(number)
        parts = [points] if at_once else [[point] for point in points]

        def write() -> None:
            for part in parts:
                self.append(part)

        return number / seconds(write)

    def beat(self) -> None:
        """Send a heartbeat, as the runner's thread does."""
        self.store.heartbeat(self.attempt, self.writer.owner.token)


def share_of_a_step(options: Options, recorder: Recorder, folder: Path) -> tuple[float, str, dict[str, float]]:
    """Return which part of the training time goes into records that are written as the runner writes them.

    It writes the points since the last checkpoint before each checkpoint, and a heartbeat now and then.
    """
    images, _ = engine.images_of(options)
    protocol = engine.paper_protocol(batch=options.count(64, 2))
    training = Training(
        engine.new_net(images, protocol), images, images.train_labels, protocol, seed=engine.SEED, device=CPU
    )
    together = Together(CPU)
    together.members.append(training)
    rate = engine.rate_of(together, CPU, protocol.batch)
    rate(1)
    step = protocol.batch / statistics.median(rate(1) for _ in range(options.count(9, 1)))
    cost = seconds(lambda: Checkpoints(folder / "checkpoints").write(*training.state()))
    interval = max(APART, cost / SHARE)
    steps = interval / step
    number = round(steps * (PER_WINDOW / training.every + PER_EVALUATION / EVALUATION_EVERY))
    turns = range(options.count(200, 3))
    append = statistics.median([seconds(lambda: recorder.append(recorder.points(number))) for _ in turns])
    beat = statistics.median([seconds(recorder.beat) for _ in turns])
    share = append / interval + beat / HEARTBEAT_SECONDS
    line = (
        f"per checkpoint, every {interval:.1f} s or {steps:.0f} steps of {1e3 * step:.3g} ms: {number} points in "
        f"{1e3 * append:.3g} ms; a heartbeat every {HEARTBEAT_SECONDS:.0f} s takes {1e3 * beat:.3g} ms"
    )
    return share, line, {"step_s": step, "interval_s": interval, "append_s": append, "heartbeat_s": beat}


@contextmanager
def mlflow_run(folder: Path, number: int) -> Iterator[Callable[[], float]]:
    """Open a run of MLflow's; give what measures its log_metric in points per second."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.create_experiment("benchmark", artifact_location=(folder / "mlruns").as_uri())
    steps = count(1)

    def log() -> None:
        for _ in range(number):
            mlflow.log_metric("loss", 0.5, step=next(steps))

    with mlflow.start_run(experiment_id=experiment):
        yield lambda: number / seconds(log)


if __name__ == "__main__":
    script(main)
