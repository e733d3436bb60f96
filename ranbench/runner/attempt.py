"""One attempt of one run: claimed, trained, recorded, closed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ranbench.catalogue import is_foreign, net_info
from ranbench.data import Images
from ranbench.data.noise import NoisyLabels, flip_labels
from ranbench.data.streams import global_stream
from ranbench.environment import energy_joules, peak_device_memory_bytes, peak_memory_bytes, reset_peak_memory
from ranbench.errors import (
    CheckpointError,
    ClaimLost,
    DeviceBroken,
    Divergence,
    NothingMeasured,
    ProcessLost,
    RanbenchError,
    TimedOut,
    forget_frames,
    one_line,
)
from ranbench.masking import mask
from ranbench.models import build
from ranbench.records import Environment, MetricPoint, Owner, Probe, Reason, State, checkpoint_folders
from ranbench.runner.events import Observer, Stop
from ranbench.runner.how import How
from ranbench.runner.memory import broke_device, lacks_memory
from ranbench.runner.probing import probed
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store
from ranbench.store.content import is_whole
from ranbench.training import ALONE, Checkpoints, EnginePath, Finished, Outcome, Ranks, Record, Stepped, Training
from ranbench.training.checkpoint import weights_bytes, write_whole
from ranbench.training.compiler import compiler_fault

HEARTBEAT_SECONDS = 20.0
EXACT_FIELDS = ("device", "device_name", "cpu", "engine_path")  # and the version of torch; threads are kept


@dataclass(frozen=True)
class Place:
    """Where attempts are made: the device, this machine and process, the folder of results, and how they are made.

    ``probes``: what is measured of the final weights, of ``records.PROBES``. ``ranks``: the processes that train each
    run together, which this one leads. ``expendable``: another process takes the runs over where this one cannot go on.
    """

    store: Store
    device: torch.device
    environment: Environment
    owner: Owner
    results: Path
    observer: Observer
    stop: Stop
    how: How
    probes: Sequence[str] = ()
    ranks: Ranks = ALONE
    expendable: bool = False


class Heartbeat:
    """A thread that says, while the attempt lasts, that its owner is alive."""

    def __init__(self, beat: Callable[[], None]):
        self._beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")
        self._thread.start()

    def end(self) -> None:
        """Stop, and wait for a beat that is under way."""
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
    """Trains ``spec`` under a claim; every record goes to the store before the checkpoint that follows it.

    The caller advances the training and hands its records, or its error, to ``take``, until that returns a state.
    Whatever happens, it calls ``end`` at last.
    """

    def __init__(self, place: Place, spec: RunSpec, label: str, claimed: Claimed):
        self.place, self.spec, self.label, self.claimed = place, spec, label, claimed
        self.token = place.owner.token
        folder, older = checkpoint_folders(spec.fingerprint, claimed.uid, claimed.number)
        self.checkpoints = Checkpoints(place.results / "checkpoints" / folder)
        self.older_folder = place.results / "checkpoints" / older
        self.points: list[MetricPoint] = []
        self.extra: dict[str, float] = {}
        self.shown: float | None = None
        self.training: Training | None = None
        self.opened = time.monotonic()
        self.most_at_once: int = 1  # since this command took it up
        self.before: dict[str, float] | None = None  # measured by the commands before, up to the checkpoint
        self.peak_known = reset_peak_memory(place.device)
        self.energy = energy_joules(place.device)
        began = EnginePath.parse(claimed.environment.engine_path)
        path = began if _is_usable(began, place.device) else EnginePath.parse(place.environment.engine_path)
        self.path = path.shared(place.ranks.count)
        self.announced = False
        self.heartbeat = Heartbeat(lambda: place.store.heartbeat(claimed.attempt_id, self.token))

    def open(self, images: Images) -> Training:
        """Build the training, and bring it to where the attempt stands; so do the other processes of it."""
        path, threads = str(self.path), self.claimed.environment.threads
        self.place.ranks.tell(Shared(self.spec.model_dump(mode="json"), path, threads))
        self.announced = True
        self.training = self._prepared(images)
        self._resume(self.training)
        if self.place.ranks.count > 1:
            self.training.share_state()
        self.place.observer.started(self.spec, self.label, self.training.step)
        return self.training

    def take(self, training: Training, outcome: Outcome) -> State | None:
        """Record what one iteration gave; return the state in which the attempt was closed, or None if it goes on.

        Raises:
            ClaimLost: another process has taken the run over; nothing more was written.
            StoreError: the database cannot be written.
        """
        if isinstance(outcome, Exception):
            return self.failed(outcome)
        try:
            return self._record(training, outcome)
        except Exception as error:  # for instance a result that is not finite; the store's own errors are raised again
            return self.failed(error)

    def failed(self, error: Exception) -> State:
        """Close the attempt as failed, with the reason.

        Raises:
            RanbenchError: an error that is not of this run alone, for instance of the database, is raised again.
            DeviceBroken: no run can go on in this process, and others can take them over.
        """
        of_this_run = Divergence | CheckpointError | TimedOut
        if isinstance(error, RanbenchError) and not isinstance(error, of_this_run):
            raise error
        if self.place.expendable and broke_device(error, self.place.device):
            raise DeviceBroken(one_line(error)) from error
        reason = _reason(error)
        self._flush(None)
        text = one_line(error) if isinstance(error, RanbenchError) else _trace(error)
        self.place.store.fail(self.claimed.attempt_id, self.token, reason, text)
        self.place.observer.failed(self.spec, self.label, reason, one_line(error))
        forget_frames(error)
        return State.FAILED

    def interrupt(self) -> State:
        """Checkpoint, and leave the run to be gone on with."""
        if self.training is not None:
            self._checkpoint(self.training)
        return self.abandon()

    def abandon(self) -> State:
        """Leave the run to be gone on with from its last checkpoint."""
        self.place.store.interrupt(self.claimed.attempt_id, self.token)
        self.place.observer.left(self.spec)
        return State.INTERRUPTED

    def beside(self, at_once: int) -> None:
        """Tell that so many runs share the device from here on."""
        self.most_at_once = max(self.most_at_once, at_once)
        self.checkpoints.sharing = at_once

    def end(self) -> None:
        """Let go of the net, and stop saying that the run is worked on."""
        self.heartbeat.end()
        if self.training is not None:
            self.training.close()
        self.training = None
        if self.announced:
            self.announced = False
            with contextlib.suppress(ProcessLost):  # there is nobody left to be told
                self.place.ranks.tell("leave")

    def _record(self, training: Training, records: list[Record]) -> State | None:
        for record in records:
            if isinstance(record, MetricPoint):
                self.points.append(record)
                self.shown = record.value if record.name == "test_error_pct" else self.shown
            elif isinstance(record, Stepped):
                self.place.observer.stepped(self.spec, record.step, self.shown)
                if self.checkpoints.due():
                    self._checkpoint(training)
                self._check_time(training)
            else:
                self._close(training, record)
                return State.DONE
        return None

    def _check_time(self, training: Training) -> None:
        limit, taken = self.place.how.timeout, time.monotonic() - self.opened
        if limit is not None and taken > limit:
            raise TimedOut(training.step, taken, limit)

    def _prepared(self, images: Images) -> Training:
        """Build the net and the labels, and record what is known before the first step."""
        spec = self.spec
        labels, redrawn, noisy = labels_of(spec, images)
        if noisy is not None:
            self.extra["noise_realised_pct"] = noisy.changed_pct
            self.points += [
                MetricPoint(f"confusion_{true}_{label}", 0, float(noisy.confusion[true, label]))
                for true in range(images.num_classes)
                for label in range(images.num_classes)
            ]
        return Training(
            net_of(spec, images, trusted=self.place.how.trust_imports),
            images,
            labels,
            spec.protocol,
            seed=spec.seed,
            device=self.place.device,
            redrawn=redrawn,
            noisy=spec.noise is not None,
            foreign=is_foreign(spec.model.name),
            path=self.path,
            threads=self.claimed.environment.threads,
            workers=self.place.how.workers,
            ranks=self.place.ranks,
        )

    def _resume(self, training: Training) -> None:
        """Continue from the newest whole checkpoint."""
        place, claimed = self.place, self.claimed
        if not claimed.resume:
            return
        refused = self.checkpoints.take_over(self.older_folder, claimed.step)
        found, notes = self.checkpoints.newest(claimed.step)
        for note in [*([refused] if refused else []), *notes]:
            place.observer.note(note)
        place.store.forget_after(claimed.attempt_id, self.token, found.step if found else 0)
        if found is None:
            return
        training.load_state(found.tensors, found.values)
        self.before = found.values.get("measured", {"runs_at_once": 1.0})  # earlier versions kept nothing
        now = replace(place.environment, engine_path=str(self.path))
        changed = _changed(claimed.environment, now, net_info(self.spec.model.name).library)
        if changed:
            place.store.mark_inexact(claimed.attempt_id, self.token)
            place.observer.note(f"{self.label}: resumed inexactly: {', '.join(changed)} changed since it began")

    def _checkpoint(self, training: Training) -> None:
        self._flush(training.step)
        try:
            tensors, values = training.state()
            self.checkpoints.write(tensors, {**values, "measured": self._measured()})
        except CheckpointError as error:  # a full disk costs the checkpoint, not the run
            self.place.observer.note(f"{self.label}: {error}; training goes on without this checkpoint")

    def _measured(self) -> dict[str, float]:
        """The most that the run took of the machine, in all commands that worked on it.

        Of several runs at once, each is told its share of the memory that they took of a GPU, but not the memory of the
        process, since most of it is common to them. What was not measured of each part is not known of the whole.
        """
        found = {"runs_at_once": float(self.most_at_once)}
        if self.peak_known and self.most_at_once == 1:
            found["peak_memory_bytes"] = float(peak_memory_bytes())
        on_device = peak_device_memory_bytes(self.place.device)
        if on_device is not None:
            found["peak_device_memory_bytes"] = float(on_device // self.most_at_once)
        if self.before is None:
            return found
        return {name: max(value, self.before[name]) for name, value in found.items() if name in self.before}

    def _energy(self) -> dict[str, float]:
        """The energy that the device took: of one run in one command, since it is counted for all that it does."""
        energy = energy_joules(self.place.device)
        if self.energy is None or energy is None or self.most_at_once > 1 or self.claimed.resume:
            return {}
        return {"energy_joules": energy - self.energy}

    def _keep_weights(self, content: bytes) -> None:
        """Keep the final weights under their hash; a full disk costs them, not the finished run."""
        name = hashlib.sha256(content).hexdigest()
        path = self.place.results / "artefacts" / f"{name}.safetensors"
        try:
            if not is_whole(path, name):
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

    def _probes(self, training: Training) -> list[Probe]:
        """Measure what is wanted of the final weights; what cannot be measured costs that, not the finished run."""
        found = []
        for kind in self.place.probes:
            try:
                found.append(probed(kind, training, self.place.environment))
            except Exception as error:
                if not (isinstance(error, NothingMeasured) or lacks_memory(error)):
                    raise
                self.place.observer.note(f"{self.label}: {kind} not measured: {one_line(error)}; the run is done")
        return found

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
        metrics = {**finished.metrics, **self.extra, **self._measured(), **self._energy()}
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise RuntimeError(f"not finite: {', '.join(bad)}")
        store.finish(
            attempt,
            self.token,
            metrics,
            finished.predictions,
            complexity_key=self.spec.complexity_key,
            probes=self._probes(training),
        )
        self.place.observer.finished(self.spec, self.label, metrics["error_pct"], metrics["train_seconds"])
        self.checkpoints.clear()


@dataclass(frozen=True)
class Shared:
    """What the processes of a run must know to train it together: its spec as plain values, and how it is executed."""

    spec: dict[str, Any]
    path: str
    threads: int


def net_of(spec: RunSpec, images: Images, *, trusted: bool) -> nn.Module:
    """Build the net of a run; the weights that a foreign one keeps are drawn from the run's own stream."""
    model, form = spec.model, spec.data.info.form
    with global_stream(spec.seed, "init"):
        return build(model.name, model.options, images.shape, images.num_classes, form=form, trusted=trusted)


def labels_of(
    spec: RunSpec, images: Images
) -> tuple[torch.Tensor, Callable[[int], np.ndarray] | None, NoisyLabels | None]:
    """Return the training labels of a run, what draws those of an epoch where they are drawn anew, and the noise.

    Where every epoch has its own, the noise is that of the first; the share is the same in all.
    """
    if spec.noise is None:
        return images.train_labels, None, None
    true, rate, classes, seed = images.train_labels.cpu(), spec.noise.rate, images.num_classes, spec.seed
    redrawn = _redrawn(true, rate, classes, seed) if spec.noise.drawn == "each-epoch" else None
    noisy = flip_labels(true, rate, classes, seed, 0 if redrawn else None)
    return noisy.labels, redrawn, noisy


def _redrawn(true: torch.Tensor, rate: float, num_classes: int, seed: int) -> Callable[[int], np.ndarray]:
    """Return what gives the noisy labels of an epoch, drawn for it alone."""

    def labels(epoch: int) -> np.ndarray:
        return flip_labels(true, rate, num_classes, seed, epoch).labels.numpy()

    return labels


def _changed(began: Environment, now: Environment, library: str | None) -> list[str]:
    """What differs between two environments of what the bits of a result depend on; ``library``: of the net."""
    changed = [name for name in EXACT_FIELDS if getattr(began, name) != getattr(now, name)]
    packages = ("torch", library) if library else ("torch",)
    return changed + [name for name in packages if began.versions.get(name) != now.versions.get(name)]


def _is_usable(path: EnginePath, device: torch.device) -> bool:
    """Tell whether this machine can go on the way that an attempt began with, perhaps elsewhere."""
    return path.possible_on(device) and not (path.compiled and compiler_fault(device))


def _reason(error: Exception) -> Reason:
    if isinstance(error, Divergence):
        return Reason.DIVERGED
    if lacks_memory(error):
        return Reason.OUT_OF_MEMORY
    if isinstance(error, TimedOut):
        return Reason.TIMEOUT
    return Reason.ERROR


def _trace(error: Exception) -> str:
    return mask("".join(traceback.format_exception(error)))
