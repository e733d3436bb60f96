"""One attempt of one run: claimed, trained, recorded, closed."""

from __future__ import annotations

import hashlib
import math
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ranbench.catalogue import dataset_info, is_foreign, net_info
from ranbench.data import ImageSet
from ranbench.data.noise import flip_labels
from ranbench.data.streams import global_stream
from ranbench.environment import mask_passwords, peak_memory_bytes, reset_peak_memory
from ranbench.errors import CheckpointError, ClaimLost, Divergence, RanbenchError, one_line
from ranbench.models import build
from ranbench.records import Environment, MetricPoint, Owner, Reason, State
from ranbench.runner.events import Observer, Stop
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store
from ranbench.training import Checkpoints, Finished, Stepped, Training
from ranbench.training.checkpoint import weights_bytes, write_whole

HEARTBEAT_SECONDS = 20.0
EXACT_FIELDS = ("device", "device_name", "cpu", "engine_path")  # and the version of torch; threads are set back


@dataclass(frozen=True)
class Place:
    """Where attempts are made: the device, this machine and process, the folder of results, what may be imported."""

    store: Store
    device: torch.device
    environment: Environment
    owner: Owner
    results: Path
    observer: Observer
    stop: Stop
    trust_imports: bool = False


class Heartbeat:
    """A thread that says, while the attempt lasts, that its owner is alive."""

    def __init__(self, beat: Callable[[], None]):
        self._beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self._beat()
            except ClaimLost:  # the training thread meets the same at its next write
                return
            except RanbenchError:  # locked or unreachable for a while: the next beat may get through
                continue


class Attempt:
    """Trains ``spec`` under a claim; every record goes to the store before the checkpoint that follows it."""

    def __init__(self, place: Place, spec: RunSpec, label: str, claimed: Claimed):
        self.place, self.spec, self.label, self.claimed = place, spec, label, claimed
        self.token = place.owner.token
        folder = place.results / "checkpoints" / f"{spec.fingerprint[:16]}-{claimed.number}"
        self.checkpoints = Checkpoints(folder)
        self.points: list[MetricPoint] = []
        self.extra: dict[str, float] = {}
        self.peak_known = reset_peak_memory(place.device)

    def execute(self, images: ImageSet) -> State:
        """Train to the end, or to a stop; close the attempt and return its state.

        Raises:
            ClaimLost: another process has taken the run over; nothing more was written.
            StoreError: the database cannot be written.
        """
        store, attempt, observer = self.place.store, self.claimed.attempt_id, self.place.observer
        with Heartbeat(lambda: store.heartbeat(attempt, self.token)):
            try:
                finished = self._train(images)
            except KeyboardInterrupt:  # at once: resumable from the last checkpoint
                store.interrupt(attempt, self.token)
                raise
            except Exception as error:
                if isinstance(error, RanbenchError) and not isinstance(error, Divergence | CheckpointError):
                    raise
                reason = _reason(error)
                text = one_line(error) if isinstance(error, RanbenchError) else _trace(error)
                self._flush(None)
                store.fail(attempt, self.token, reason, text)
                observer.failed(self.spec, self.label, reason, one_line(error))
                return State.FAILED
            if finished is None:
                store.interrupt(attempt, self.token)
                return State.INTERRUPTED
        observer.finished(self.spec, self.label, finished.metrics["error_pct"], finished.metrics["train_seconds"])
        self.checkpoints.clear()
        return State.DONE

    def _train(self, images: ImageSet) -> Finished | None:
        spec, observer = self.spec, self.place.observer
        training = self._prepared(images)
        self._resume(training)
        observer.started(spec, self.label, training.step)
        shown: float | None = None
        for record in training.run():
            if isinstance(record, MetricPoint):
                self.points.append(record)
                shown = record.value if record.name == "test_error_pct" else shown
            elif isinstance(record, Stepped):
                observer.stepped(spec, record.step, shown)
                stopping = self.place.stop.requested
                if stopping or self.checkpoints.due():
                    self._checkpoint(training)
                if stopping:
                    return None
            else:
                self._close(training, record)
                return record
        raise RuntimeError("training ended without a result")

    def _prepared(self, images: ImageSet) -> Training:
        """Build the net and the labels, and record what is known before the first step."""
        spec = self.spec
        labels = images.train_labels
        if spec.noise is not None:
            noisy = flip_labels(labels, spec.noise.rate, images.num_classes, spec.seed)
            labels = noisy.labels
            self.extra["noise_realised_pct"] = noisy.changed_pct
            self.points += [
                MetricPoint(f"confusion_{true}_{label}", 0, float(noisy.confusion[true, label]))
                for true in range(images.num_classes)
                for label in range(images.num_classes)
            ]
        return Training(
            self._net(images),
            images,
            labels,
            spec.protocol,
            seed=spec.seed,
            device=self.place.device,
            foreign=is_foreign(spec.model.name),
        )

    def _net(self, images: ImageSet) -> nn.Module:
        """Build the net; the weights that a foreign one keeps are drawn from the run's own stream."""
        model, form = self.spec.model, dataset_info(self.spec.data.name).form
        trusted = self.place.trust_imports
        with global_stream(self.spec.seed, "init"):
            return build(model.name, model.options, images.shape, images.num_classes, form=form, trusted=trusted)

    def _resume(self, training: Training) -> None:
        """Continue from the newest whole checkpoint, with the thread count that the attempt began with."""
        place, claimed = self.place, self.claimed
        if not claimed.resume:
            self.checkpoints.clear()
            torch.set_num_threads(place.environment.threads)
            return
        torch.set_num_threads(claimed.environment.threads)
        found, notes = self.checkpoints.newest()
        for note in notes:
            place.observer.note(note)
        place.store.forget_after(claimed.attempt_id, self.token, found.step if found else 0)
        if found is None:
            return
        training.load_state(found.tensors, found.values)
        changed = _changed(claimed.environment, place.environment, net_info(self.spec.model.name).library)
        if changed:
            place.store.mark_inexact(claimed.attempt_id, self.token)
            place.observer.note(f"{self.label}: resumed inexactly: {', '.join(changed)} changed since it began")

    def _checkpoint(self, training: Training) -> None:
        self._flush(training.step)
        try:
            self.checkpoints.write(*training.state())
        except CheckpointError as error:  # a full disk costs the checkpoint, not the run
            self.place.observer.note(f"{self.label}: {error}; training goes on without this checkpoint")

    def _keep_weights(self, content: bytes) -> None:
        """Keep the final weights under their hash; a full disk costs them, not the finished run."""
        name = hashlib.sha256(content).hexdigest()
        path = self.place.results / "artefacts" / f"{name}.safetensors"
        try:
            if not _same(path, name):
                write_whole(path, content)
        except CheckpointError as error:
            self.place.observer.note(f"{self.label}: {error}; the run is done, but its weights are not kept")
            return
        self.place.store.record_artefact(
            self.claimed.attempt_id,
            self.token,
            kind="weights",
            path=f"artefacts/{path.name}",
            sha256=name,
            size=len(content),
        )

    def _flush(self, step: int | None) -> None:
        """Write the gathered points; outside the steps, so that no commit stands inside one."""
        if step is None:
            step = max((point.step for point in self.points), default=0)
        if self.points or step:
            self.place.store.append(self.claimed.attempt_id, self.token, self.points, step)
        self.points = []

    def _close(self, training: Training, finished: Finished) -> None:
        """Keep the weights, then close the run with its numbers in one transaction."""
        store, attempt = self.place.store, self.claimed.attempt_id
        self._flush(training.step)
        self._keep_weights(weights_bytes(training.state()[0]))
        metrics = {**finished.metrics, **self.extra}
        if self.peak_known:
            metrics["peak_memory_bytes"] = float(peak_memory_bytes(self.place.device))
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise RuntimeError(f"not finite: {', '.join(bad)}")
        store.finish(attempt, self.token, metrics, finished.predictions, complexity_key=self.spec.complexity_key)


def _same(path: Path, sha256: str) -> bool:
    """Tell whether a file is there with this content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _changed(began: Environment, now: Environment, library: str | None) -> list[str]:
    """What differs between two environments of what the bits of a result depend on; ``library``: of the net."""
    changed = [name for name in EXACT_FIELDS if getattr(began, name) != getattr(now, name)]
    packages = ("torch", library) if library else ("torch",)
    return changed + [name for name in packages if began.versions.get(name) != now.versions.get(name)]


def _reason(error: Exception) -> Reason:
    if isinstance(error, Divergence):
        return Reason.DIVERGED
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return Reason.OUT_OF_MEMORY
    return Reason.ERROR


def _trace(error: Exception) -> str:
    return mask_passwords("".join(traceback.format_exception(error)))
