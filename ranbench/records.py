"""What a run produces, as plain frozen values. The store keeps them, claims and reports read them."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ranbench.catalogue import ONE_BYTE


class State(StrEnum):
    """Where an attempt stands. A run without an attempt is planned."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Reason(StrEnum):
    """Why an attempt failed."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    ERROR = "error"


class Purpose(StrEnum):
    """What an attempt is for: a result, or a check that a result comes out again, which never counts as one."""

    RESULT = "result"
    CHECK = "check"


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its column heading, unit, meaning, and whether less of it is better.

    ``stage``: which one of a net it is about, 0 where it is about the whole.
    """

    name: str
    label: str
    unit: str
    meaning: str
    lower_is_better: bool = True
    stage: int = 0


STAGES = 3  # with attention modules, on CIFAR and ImageNet


def _modules(stage: int) -> Metric:
    """A fact of the net's plan, which the paper's table 2 prints; a page shows it where a suite speaks of it."""
    name, label = f"modules_{stage}", f"attention modules in stage {stage}"
    return Metric(name, label, "modules", label)


MODULE_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in map(_modules, range(1, STAGES + 1))}

# What is counted of a net itself, exactly, without training.
SIZE_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("parameters", "parameters", "parameters", "values that are trained, BatchNorm scale and shift included"),
        Metric("macs", "multiply-adds", "multiply-adds", "of convolutions and linear layers, forward, one image"),
        Metric("depth", "trunk depth", "layers", "weighted layers on the trunk, without masks and projections"),
        *MODULE_METRICS.values(),
    )
}

# What a net makes of wrong labels, where there are any: series, and what each ends with.
MEMORISATION: Mapping[str, str] = {
    "train_error_clean_pct": "clean_error_pct",
    "train_error_flipped_pct": "flipped_error_pct",
    "train_error_flipped_true_pct": "flipped_true_error_pct",
}


def _noise_metrics() -> Iterator[Metric]:
    """Of wrong labels that are learned less is better, so a high error on them is."""
    seen = "top-1 error in evaluation mode on training images"
    clean, flipped, true = MEMORISATION.values()
    words = (
        (clean, "error on clean labels", f"{seen} whose label is true"),
        (flipped, "error on flipped labels", f"{seen} whose label is wrong, against that label"),
        (true, "error on flipped labels, by true class", f"{seen} whose label is wrong, against their true class"),
    )
    for (name, label, meaning), series in zip(words, MEMORISATION, strict=True):
        lower = name != flipped
        yield Metric(name, label, "percent", f"{meaning}, after the last iteration", lower_is_better=lower)
        yield Metric(series, label, "percent", f"{meaning}, a series", lower_is_better=lower)


# Every metric of a run. Series are kept over iterations, the last three kinds once per attempt.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("error_pct", "test error", "percent", "top-1 test error after the last iteration"),
        Metric("top5_error_pct", "top-5 test error", "percent", "of images in files: not among the five likeliest"),
        Metric("loss", "test loss", "nats", "mean cross-entropy on the test images after the last iteration"),
        Metric("best_error_pct", "best test error", "percent", "lowest of all evaluations (chosen on the test set)"),
        Metric("best_iteration", "iteration of the best", "iterations", "iteration of best_error_pct"),
        Metric("test_error_pct", "test error", "percent", "top-1 test error, a series over iterations"),
        Metric("test_loss", "test loss", "nats", "mean cross-entropy on the test images, a series"),
        Metric("train_loss", "training loss", "nats", "mean cross-entropy since the last point, a series"),
        Metric("train_error_pct", "training error", "percent", "the same for the error, augmented, in training mode"),
        Metric("lr", "learning rate", "1", "learning rate of the step, a series"),
        Metric("noise_realised_pct", "wrong labels", "percent", "share of training labels that were changed"),
        *_noise_metrics(),
        Metric("train_seconds", "training time", "seconds", "time in training steps, without evaluation"),
        Metric("images_per_s", "rate", "images/s", "training images per train_seconds", lower_is_better=False),
        Metric("peak_memory_bytes", "peak memory", "bytes", "largest resident memory of the process"),
        Metric("peak_device_memory_bytes", "peak GPU memory", "bytes", "largest memory of the GPU, or share of it"),
        Metric("energy_joules", "energy", "joules", "taken by the GPU from the first step to the last, by NVML"),
        Metric("runs_at_once", "runs at once", "runs", "runs that shared the device with it at most, itself included"),
    )
}  # fmt: skip


# Kept over iterations: a suite judges what a run ends with.
SERIES = ("test_error_pct", "test_loss", "train_loss", "train_error_pct", "lr", *MEMORISATION)


def response_name(stage: int, module: int | None = None) -> str:
    """Name the mean absolute response at the end of a stage, or after one of its attention modules; from 1."""
    return f"response_stage{stage}" + ("" if module is None else f"_module{module}")


def response_place(name: str) -> tuple[int, int | None] | None:
    """Read the stage and the module out of a name that ``response_name`` made; None for another name."""
    match = re.fullmatch(r"response_stage(\d+)(?:_module(\d+))?", name)
    return None if match is None else (int(match[1]), int(match[2]) if match[2] else None)


MOST_STAGES = 4  # of the ImageNet nets


def _responses() -> Iterator[Metric]:
    """Large is better, since the paper reads a small response as features that vanish."""
    for stage in range(1, MOST_STAGES + 1):
        name, at = response_name(stage), f"at the end of stage {stage}"
        meaning = f"mean absolute value of the features {at}, over the test images"
        yield Metric(name, f"response of stage {stage}", "1", meaning, lower_is_better=False, stage=stage)
        label, meaning = f"relative response of stage {stage}", f"{meaning}, divided by that of stage 1"
        yield Metric(f"{name}_relative", label, "ratio", meaning, lower_is_better=False, stage=stage)


# What the probe ``responses`` measures of the final weights. There is also ``response_stage1_module2``, the same after
# the second attention module of the first stage, and so on: they are stored, but no suite speaks of them.
RESPONSE_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _responses()}
METRICS = {**METRICS, **RESPONSE_METRICS}
# What can be measured of the final weights of a run, by the name that a suite gives it.
PROBES = ("responses",)

ALL_METRICS: Mapping[str, Metric] = {**METRICS, **SIZE_METRICS}


@dataclass(frozen=True)
class MetricPoint:
    """One value of a series: ``step`` is the number of iterations done."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class Predictions:
    """Predicted class of every test image of the final evaluation, in the dataset's order.

    One byte an image, two (the lower first) where the net tells more than 256 classes apart.
    """

    classes: bytes


def class_width(num_classes: int) -> int:
    """Return in how many bytes the predicted class of an image is kept."""
    return 1 if num_classes <= ONE_BYTE else 2


def class_bytes(classes: Sequence[int], num_classes: int) -> bytes:
    """Return predicted classes as they are kept, of a net that tells so many apart."""
    return bytes(classes) if num_classes <= ONE_BYTE else struct.pack(f"<{len(classes)}H", *classes)


def classes_in(kept: bytes, num_classes: int) -> tuple[int, ...]:
    """Return the classes that ``class_bytes`` made bytes of; an odd byte at the end is passed over."""
    return tuple(kept) if num_classes <= ONE_BYTE else struct.unpack(f"<{len(kept) // 2}H", kept[: len(kept) // 2 * 2])


@dataclass(frozen=True)
class Complexity:
    """Size of a net: ``parameters`` that are trained, ``macs`` of one forward pass on one image.

    ``depth``: weighted layers on the longest path from image to logits, without masks and projections; None where it
    is not known. ``backward_macs``: of the backward pass on one image; None where it was not asked for. ``code_id``: of
    the sources that a run counted, None where it is not known.
    """

    parameters: int
    macs: int
    by_module: Mapping[str, Mapping[str, int]]
    uncounted: Mapping[str, int]
    convention: str
    depth: int | None = None
    backward_macs: int | None = None
    code_id: str | None = None


@dataclass(frozen=True)
class Environment:
    """Where an attempt ran.

    ``versions``: of packages, and of CUDA, cuDNN and the driver where a GPU was used. ``settings``: of the libraries,
    on which it depends whether results repeat. Host, user, command and patch are provenance only and are never
    exported; they are empty where the attempt came out of a bundle.
    """

    device: str
    device_name: str
    cpu: str
    cores: int
    memory_bytes: int
    threads: int
    engine_path: str
    python: str
    platform: str
    versions: Mapping[str, str]
    commit: str | None
    dirty: bool
    patch: str | None
    host: str
    user: str
    command: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Owner:
    """Who works on an attempt: ``token`` is secret to the process, ``pid_started`` guards against reused pids."""

    token: str
    host: str
    pid: int
    pid_started: float


@dataclass(frozen=True)
class Probe:
    """What was measured of an attempt's final weights, with its result or later: ``values`` by name.

    ``kind`` is one of ``PROBES``; ``code_id`` and ``environment`` are those of the measurement, which need not be those
    of the training.
    """

    kind: str
    values: Mapping[str, float]
    code_id: str
    measured: datetime
    environment: Environment


CALIBRATED = ("step_seconds", "image_seconds", "memory_bytes")  # numbers of a calibration


@dataclass(frozen=True)
class Calibration:
    """What a few steps of a net took on a machine, for plans; no result of any run.

    ``key`` is of all that a step depends on, which ``about`` says as plain values: model, data, batch, precision.
    ``step_seconds`` of one training step, ``image_seconds`` of one image that is evaluated, ``memory_bytes`` the most
    that a run takes, None where that cannot be measured.
    """

    key: str
    about: Mapping[str, Any]
    step_seconds: float
    image_seconds: float
    memory_bytes: float | None
    code_id: str
    measured: datetime
    environment: Environment


@dataclass(frozen=True)
class Attempt:
    """One execution of a run from its first step; a resume continues it, a rerun opens the next.

    ``uid`` names it in every database that holds it. ``seconds`` is how long processes have worked on it, None where
    that is not known. ``bundle`` is the hash of the bundle that it came out of. ``probes`` are not a part of it: they
    may come when it is long closed.
    """

    id: int
    fingerprint: str
    number: int
    state: State
    reason: Reason | None
    error: str | None
    code_id: str
    step: int
    iterations: int
    resumes: int
    resumed_inexactly: bool
    started: datetime
    updated: datetime
    ended: datetime | None
    owner: Owner | None
    environment: Environment
    metrics: Mapping[str, float] = field(default_factory=dict)
    purpose: Purpose = Purpose.RESULT
    uid: str = ""
    seconds: float | None = None
    bundle: str | None = None
    probes: tuple[Probe, ...] = ()

    def probe(self, kind: str) -> Probe | None:
        """Return what was measured of this kind, or None."""
        return next((probe for probe in self.probes if probe.kind == kind), None)

    @property
    def measured(self) -> Mapping[str, float]:
        """The final metrics and the values of all probes."""
        return {**{name: value for probe in self.probes for name, value in probe.values.items()}, **self.metrics}


@dataclass(frozen=True)
class RunRecord:
    """A run with its attempts, oldest first.

    Checks stand among ``attempts`` and nowhere else: ``results``, ``counted``, ``latest`` and ``state`` know none.
    ``counted`` is the latest done one, the others are superseded.
    """

    fingerprint: str
    cell_id: str
    seed: int
    spec: Mapping[str, Any]
    attempts: tuple[Attempt, ...]
    suites: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Attempt, ...]:
        """The attempts that were made for a result, oldest first."""
        return tuple(attempt for attempt in self.attempts if attempt.purpose is Purpose.RESULT)

    @property
    def smoke(self) -> bool:
        """Whether the run only shows that it can be made, as ``spec.is_smoke`` says; read off without loading specs."""
        protocol, data = self.spec["protocol"], self.spec["data"]
        evaluated = protocol["evaluation"].get("images")
        part_of_test = evaluated is not None and evaluated < data["test_images"]
        return bool(part_of_test or protocol["iterations"] * protocol["batch"] < data["train_images"])

    @property
    def counted(self) -> Attempt | None:
        """The attempt whose numbers count, or None."""
        return next((attempt for attempt in reversed(self.results) if attempt.state is State.DONE), None)

    @property
    def latest(self) -> Attempt | None:
        """The newest attempt at a result, or None where none was started.

        One that is open here comes before closed ones of a bundle, which began later elsewhere.
        """
        here = [attempt for attempt in self.results if attempt.bundle is None]
        if here and here[-1].state in (State.RUNNING, State.INTERRUPTED):
            return here[-1]
        return self.results[-1] if self.results else None

    @property
    def state(self) -> str:
        """``done`` where an attempt counts, else the newest attempt's state, else ``planned``."""
        if self.counted:
            return State.DONE.value
        return self.latest.state.value if self.latest else "planned"


def checkpoint_folders(fingerprint: str, uid: str, number: int) -> tuple[str, str]:
    """Name an attempt's folder of checkpoints, and the one that earlier versions gave it.

    Several databases may share a folder of results: the older name is not of one attempt alone.
    """
    return f"{fingerprint[:16]}-{uid[:12]}", f"{fingerprint[:16]}-{number}"
