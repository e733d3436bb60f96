"""A suite executed: what is trained, skipped, resumed, shared and recorded."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ranbench.errors import DataError, UsageError
from ranbench.records import MEMORISATION, Reason, RunRecord, State, checkpoint_folders
from ranbench.runner import Observer, Stop, plan, run
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

from .conftest import COMMAND

LONGER = ("iterations: 6", "iterations: 80")


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    """Two cells, two seeds, six steps."""
    return load_suite(tiny_suite)


@pytest.fixture
def execute(store: Store, tmp_path: Path) -> Callable[..., object]:
    """Run a suite with everything under the test's folder."""

    def call(suite: Suite, **options: object) -> object:
        return run(suite, store, data=tmp_path / "data", results=tmp_path / "results", **options)  # type: ignore[arg-type]

    return call


class StopAfter(Observer):
    """Asks for a stop once the first run has done ``steps`` iterations."""

    def __init__(self, stop: Stop, steps: int):
        self.stop, self.steps = stop, steps

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        if step == self.steps:
            self.stop.request(signal.SIGINT)


class Notes(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failures: list[tuple[str, Reason]] = []
        self.announced: tuple[int, int, int] | None = None

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        self.announced = (total, done, failed)

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        self.failures.append((label, reason))

    def note(self, text: str) -> None:
        self.notes.append(text)


def weights(record: RunRecord, store: Store) -> str:
    """The content hash of the counted attempt's weights."""
    assert record.counted is not None
    (artefact,) = store.artefacts([record.counted.id])
    return artefact.sha256


def test_every_run_is_trained_once_and_a_repeat_trains_nothing(
    suite: Suite, store: Store, execute: Callable[..., object]
) -> None:
    first = execute(suite)
    second = execute(suite)

    records = store.runs(suite="tiny")
    assert (first.trained, first.already_done, first.exit_code) == (4, 0, 0)  # type: ignore[attr-defined]
    assert (second.trained, second.already_done, second.exit_code) == (0, 4, 0)  # type: ignore[attr-defined]
    assert [record.fingerprint for record in records] == [spec.fingerprint for spec in suite.runs()]
    assert [len(record.attempts) for record in records] == [1, 1, 1, 1]


def test_a_done_run_has_its_metrics_series_predictions_complexity_and_weights(
    suite: Suite, store: Store, execute: Callable[..., object], tmp_path: Path
) -> None:
    execute(suite, only={"learning": "naive"})

    attempt = store.runs(suite="tiny")[0].counted
    assert attempt is not None
    series = store.series([attempt.id], ["train_loss", "test_error_pct", "lr"])
    predictions = store.predictions(attempt.id)
    (artefact,) = store.artefacts([attempt.id])
    content = (tmp_path / "results" / artefact.path).read_bytes()
    assert {"error_pct", "loss", "best_error_pct", "train_seconds", "images_per_s", "peak_memory_bytes"} <= set(
        attempt.metrics
    )
    assert series[(attempt.id, "train_loss")][0].tolist() == [1, 2, 3, 4, 5, 6]
    assert series[(attempt.id, "test_error_pct")][0].tolist() == [3, 6]
    assert predictions is not None and len(predictions) == 100
    assert hashlib.sha256(content).hexdigest() == artefact.sha256
    assert not list((tmp_path / "results").glob("checkpoints/*"))


def test_the_error_is_that_of_the_stored_predictions(
    suite: Suite, store: Store, execute: Callable[..., object], tmp_path: Path
) -> None:
    from ranbench.data import load

    execute(suite, only={"learning": "naive"})

    record = store.runs(suite="tiny")[0]
    assert record.counted is not None
    labels = load(suite.cells[0].data, tmp_path).test_labels.tolist()
    predicted = store.predictions(record.counted.id)
    assert predicted is not None
    wrong = sum(ours != true for ours, true in zip(predicted, labels, strict=True))
    assert record.counted.metrics["error_pct"] == wrong


def test_an_interrupted_suite_goes_on_and_ends_with_the_same_bits(
    tiny_suite: Path, tmp_path: Path, execute: Callable[..., object], store: Store
) -> None:
    suite = load_suite(tiny_suite, seeds=1)
    stop = Stop()

    stopped = execute(suite, observer=StopAfter(stop, 4), stop=stop)
    state = store.runs(suite="tiny")[0].state
    resumed = execute(suite)

    with Store.open(f"sqlite:///{tmp_path}/other/ranbench.db") as undisturbed:
        run(suite, undisturbed, results=tmp_path / "other")
        pairs = list(zip(store.runs(suite="tiny"), undisturbed.runs(suite="tiny"), strict=True))
        assert [weights(ours, store) for ours, _ in pairs] == [weights(other, undisturbed) for _, other in pairs]
        names = ["train_loss", "test_error_pct", "test_loss", "train_error_pct"]
        for ours, other in pairs:
            assert ours.counted and other.counted
            left = {name: values for (_, name), values in store.series([ours.counted.id], names).items()}
            right = {name: values for (_, name), values in undisturbed.series([other.counted.id], names).items()}
            assert {name: [part.tolist() for part in parts] for name, parts in left.items()} == {
                name: [part.tolist() for part in parts] for name, parts in right.items()
            }
    assert (stopped.exit_code, stopped.left, state) == (130, 2, "interrupted")  # type: ignore[attr-defined]
    assert (resumed.trained, resumed.exit_code) == (2, 0)  # type: ignore[attr-defined]
    assert [record.attempts[0].resumes for record, _ in pairs] == [1, 0]
    assert [len(record.attempts) for record, _ in pairs] == [1, 1]


def test_a_diverging_run_is_failed_with_its_step_and_the_suite_goes_on(
    tiny_suite: Path, store: Store, execute: Callable[..., object]
) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("lr: 0.1", "lr: 1.0e+30"))
    suite = load_suite(tiny_suite, seeds=1)
    told = Notes()

    summary = execute(suite, observer=told)
    again = execute(suite)

    attempts = [record.latest for record in store.runs(suite="tiny")]
    assert [attempt and (attempt.state, attempt.reason) for attempt in attempts] == [
        (State.FAILED, Reason.DIVERGED),
        (State.FAILED, Reason.DIVERGED),
    ]
    assert all(attempt and attempt.error and "at iteration" in attempt.error for attempt in attempts)
    assert told.failures == [("residual, seed 0 (smoke)", Reason.DIVERGED), ("naive, seed 0 (smoke)", Reason.DIVERGED)]
    assert summary.exit_code == again.exit_code == 3  # type: ignore[attr-defined]
    assert [len(record.attempts) for record in store.runs(suite="tiny")] == [1, 1]


def test_failed_runs_are_tried_again_only_when_asked(
    tiny_suite: Path, store: Store, execute: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load_suite(tiny_suite, seeds=1)
    monkeypatch.setattr("ranbench.runner.attempt.build", lambda *_, **__: (_ for _ in ()).throw(MemoryError("no room")))
    execute(suite)
    monkeypatch.undo()

    announced = Notes()
    refused = execute(suite, observer=announced)
    retried = execute(suite, rerun=frozenset(["failed"]))

    record = store.runs(suite="tiny")[0]
    assert announced.announced == (2, 0, 2)
    assert (refused.trained, refused.failed) == (0, 2)  # type: ignore[attr-defined]
    assert (retried.trained, retried.exit_code) == (2, 0)  # type: ignore[attr-defined]
    assert [attempt.reason for attempt in record.attempts] == [Reason.OUT_OF_MEMORY, None]
    assert record.state == "done"


@pytest.mark.slow
def test_rerun_all_opens_the_next_attempt_and_the_latest_counts(
    suite: Suite, store: Store, execute: Callable[..., object]
) -> None:
    execute(suite, only={"learning": "naive"})

    execute(suite, only={"learning": "naive"}, rerun=frozenset(["all"]))

    record = store.runs(suite="tiny")[0]
    assert [attempt.number for attempt in record.attempts] == [1, 2]
    assert record.counted is not None and record.counted.number == 2
    assert record.attempts[0].metrics["error_pct"] == record.attempts[1].metrics["error_pct"]


@pytest.mark.slow
def test_checkpoints_that_a_killed_process_left_of_a_done_run_are_deleted_by_the_next_call(
    suite: Suite, store: Store, execute: Callable[..., object], tmp_path: Path
) -> None:
    execute(suite)
    attempt = store.runs(suite="tiny")[0].attempts[0]
    folder = tmp_path / "results" / "checkpoints" / checkpoint_folders(attempt.fingerprint, attempt.uid, 1)[0]
    of_another = folder.with_name("of-another")
    for each in (folder, of_another):
        each.mkdir(parents=True)
        (each / f"000000006-{'a' * 16}.safetensors").write_bytes(b"left")

    again = execute(suite)

    assert again.trained == 0  # type: ignore[attr-defined]
    assert not folder.exists()
    assert of_another.exists()


@pytest.mark.slow
def test_what_a_rerun_began_and_did_not_finish_is_finished_by_the_next_call(
    suite: Suite, store: Store, execute: Callable[..., object]
) -> None:
    only = {"learning": "naive"}
    execute(suite, only=only)
    stop = Stop()
    stopped = execute(suite, only=only, rerun=frozenset(["all"]), observer=StopAfter(stop, 4), stop=stop)
    left = [record.attempts[-1].state for record in store.runs(suite="tiny") if record.attempts]
    planned = plan(suite, store.runs(), only)

    finished = execute(suite, only=only)
    again = execute(suite, only=only)

    records = [record for record in store.runs(suite="tiny") if record.attempts]
    assert stopped.exit_code == 130  # type: ignore[attr-defined]
    assert left == [State.INTERRUPTED, State.DONE]
    assert [(run.state, run.step) for run in planned.runs] == [("interrupted", 4), ("done", 0)]
    assert (finished.trained, again.trained) == (1, 0)  # type: ignore[attr-defined]
    assert all(attempt.state is State.DONE for record in records for attempt in record.attempts)


def test_noise_is_recorded_with_its_realised_share_and_confusion(
    tiny_suite: Path, store: Store, execute: Callable[..., object]
) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("dataset: digits}", "dataset: digits, noise: 0.5}", 1))
    suite = load_suite(tiny_suite, seeds=1)

    execute(suite, only={"learning": "naive"})

    attempt = store.runs(suite="tiny")[0].counted
    assert attempt is not None
    assert attempt.metrics["noise_realised_pct"] == pytest.approx(50, abs=3)
    names = [f"confusion_{true}_{label}" for true in range(10) for label in range(10)]
    counts = store.series([attempt.id], names)
    assert sum(values[0] for _, values in counts.values()) == 200
    seen = store.series([attempt.id], MEMORISATION)
    evaluated = store.series([attempt.id], ["test_error_pct"])[attempt.id, "test_error_pct"][0].tolist()
    for name, last in MEMORISATION.items():
        steps, values = seen[attempt.id, name]
        assert (steps.tolist(), values[-1]) == (evaluated, attempt.metrics[last])


@pytest.mark.slow
def test_noise_that_is_drawn_for_each_epoch_is_another_cell_with_the_same_share(
    tiny_suite: Path, store: Store, execute: Callable[..., object]
) -> None:
    text = tiny_suite.read_text().replace("dataset: digits}", "dataset: digits, noise: 0.5}", 1)
    tiny_suite.write_text(
        text.replace("learning: [residual, naive]", "noise_drawn: [once, each-epoch]").split("claims")[0]
    )
    suite = load_suite(tiny_suite, seeds=1)
    later = tiny_suite.parent / "protocols" / "tiny.yaml"
    later.write_text(
        later.read_text().replace("iterations: 6", "iterations: 9")
    )  # 200 images at batch 32: 6.25 an epoch

    execute(load_suite(tiny_suite, seeds=1))

    records = store.runs(suite="tiny")
    assert [suite.label(cell) for cell in suite.cells] == ["drawn once", "drawn each epoch"]
    assert {record.counted.metrics["noise_realised_pct"] for record in records if record.counted} == {50.0}
    assert len({weights(record, store) for record in records}) == 2


@pytest.mark.slow
def test_the_order_of_units_is_an_axis_whose_default_is_the_cell_that_exists(
    tiny_suite: Path, store: Store, execute: Callable[..., object]
) -> None:
    plain = load_suite(tiny_suite, seeds=1)
    text = tiny_suite.read_text()
    axis = "learning: [residual, naive]\n    unit_order: [pre-activation, post-activation]"
    tiny_suite.write_text(
        text.replace("learning: [residual, naive]", axis).replace("better, ", "better, over: [unit_order], ")
    )
    suite = load_suite(tiny_suite, seeds=1)

    execute(suite)

    records = store.runs(suite="tiny")
    assert [suite.label(cell) for cell in suite.cells] == [
        "residual, pre-activation",
        "residual, post-activation",
        "naive, pre-activation",
        "naive, post-activation",
    ]
    assert {run.cell_id for run in plain.runs()} < {run.cell_id for run in suite.runs()}
    assert len(suite.claims[0].pairs) == 2  # type: ignore[union-attr]
    assert len({weights(record, store) for record in records}) == 4


def test_missing_data_is_told_before_anything_is_claimed(
    tmp_path: Path, store: Store, execute: Callable[..., object]
) -> None:
    suite = load_suite("table3", protocol="smoke", seeds=1)

    with pytest.raises(DataError, match=r"^cifar10: .*: no such folder; 'ranbench data fetch cifar10"):
        execute(suite)

    assert all(not record.attempts for record in store.runs())


def test_only_an_unknown_value_is_refused(suite: Suite, execute: Callable[..., object]) -> None:
    with pytest.raises(UsageError, match="no cell of suite 'tiny' has these values"):
        execute(suite, only={"learning": "other"})


def test_a_plan_knows_what_is_done_and_estimates_from_measured_rates(
    suite: Suite, store: Store, execute: Callable[..., object]
) -> None:
    before = plan(suite, store.runs())
    execute(suite, only={"learning": "naive"})

    after = plan(suite, store.runs())

    assert (before.seconds, before.basis) == (
        None,
        "unknown until a first run is done on this database, on this dataset",
    )
    assert [planned.state for planned in after.runs] == ["planned", "done", "planned", "done"]
    assert after.macs == 2 * 3 * 6 * 32 * macs_of(suite)
    assert after.seconds is not None and after.seconds > 0
    assert [(run.macs, run.seconds) for run in after.runs if run.state == "done"] == [(0, 0.0), (0, 0.0)]
    assert after.macs == sum(run.macs or 0 for run in after.runs)


def macs_of(suite: Suite) -> int:
    from ranbench import counts

    found = counts.lookup(suite.cells[0].model, suite.cells[0].data)
    assert found is not None
    return found.macs


def start(suite: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start 'ranbench run', with frequent checkpoints, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "run", str(suite), "--db", f"sqlite:///{folder}/ranbench.db"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "when",
    [pytest.param(when, marks=pytest.mark.slow) for when in ("after a checkpoint", "before any checkpoint")],
)
def test_a_killed_run_is_resumed_no_run_twice_no_run_lost(tiny_suite: Path, tmp_path: Path, when: str) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace(*LONGER))
    tiny_suite.write_text(tiny_suite.read_text().replace("seeds: 2", "seeds: 1"))
    folder = tmp_path / "killed"
    process = start(tiny_suite, folder)
    if when == "after a checkpoint":
        wait_for(lambda: bool(list(folder.glob("checkpoints/*/*.safetensors"))))
    else:
        wait_for(lambda: (folder / "ranbench.db").exists() and running(folder))
    process.send_signal(signal.SIGKILL)
    process.wait()
    states = json.loads(
        subprocess.check_output(
            [sys.executable, "-m", "ranbench", "status", "--json", "--db", f"sqlite:///{folder}/ranbench.db"]
        )
    )["states"]

    again = start(tiny_suite, folder)
    code = again.wait()

    with Store.open(f"sqlite:///{folder}/ranbench.db", create=False) as store:
        records = store.runs(suite="tiny")
        with Store.open(f"sqlite:///{tmp_path}/whole/ranbench.db") as whole:
            import torch

            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            run(load_suite(tiny_suite), whole, results=tmp_path / "whole")
            torch.set_num_threads(threads)
            expected = [weights(record, whole) for record in whole.runs(suite="tiny")]
        assert [weights(record, store) for record in records] == expected
    assert code == 0
    assert states == {"interrupted": 1, "planned": 1}
    assert [record.state for record in records] == ["done"] * 2
    assert [len(record.attempts) for record in records] == [1] * 2
    assert sum(record.attempts[0].resumes for record in records) == 1


def running(folder: Path) -> bool:
    with Store.open(f"sqlite:///{folder}/ranbench.db") as store:
        return any(record.state == "running" for record in store.runs())


@pytest.mark.slow
def test_two_commands_share_a_suite_and_do_no_run_twice(tiny_suite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"

    codes = [process.wait() for process in [start(tiny_suite, folder), start(tiny_suite, folder)]]

    with Store.open(f"sqlite:///{folder}/ranbench.db", create=False) as store:
        records = store.runs(suite="tiny")
    assert codes == [0, 0]
    assert [(record.state, len(record.attempts), record.attempts[0].resumes) for record in records] == [
        ("done", 1, 0)
    ] * 4
