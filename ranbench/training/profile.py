"""Where the time of a training step goes: by part of the step and by operator, over a few steps after a warm-up."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from ranbench.spec import Protocol
from ranbench.training.loop import Finished, Stepped, Training
from ranbench.training.parts import PREFIX, Part, marked

WARM_UP = 3
STEPS = 5
REST = "rest"  # of a step, outside all marks


@dataclass(frozen=True)
class PartTime:
    """Seconds of one step in a part of it: of the host, and of the kernels that it started (None without a GPU)."""

    name: str
    seconds: float
    device_seconds: float | None


@dataclass(frozen=True)
class OperatorTime:
    """Calls and seconds of one step in an operator itself, without those that it calls."""

    name: str
    calls: float
    seconds: float
    device_seconds: float | None


@dataclass(frozen=True)
class Profile:
    """A step's time, as means over ``steps`` steps.

    Attributes:
        device: cpu or cuda.
        threads: of torch.
        batch: images in a step, as a mean: the rest of an epoch may be a shorter one.
        steps: number of steps that were measured, once without and once with the profiler.
        seconds: a step without the profiler: the figure to trust.
        profiled_seconds: a step under the profiler; parts and operators share this one.
        parts: in the order of the step, with the rest last; only the rest where the engine's steps have no marks.
        operators: those with most time first, on the device where there is one.
    """

    device: str
    threads: int
    batch: float
    steps: int
    seconds: float
    profiled_seconds: float
    parts: tuple[PartTime, ...]
    operators: tuple[OperatorTime, ...]


def measurable(protocol: Protocol, *, warm_up: int = WARM_UP, steps: int = STEPS) -> Protocol:
    """Return the protocol with as many iterations as a profile takes, and without an evaluation between them."""
    iterations = max(protocol.iterations, warm_up + 2 * steps + 1)
    seldom = protocol.evaluation.model_copy(update={"every": iterations})
    return protocol.model_copy(update={"iterations": iterations, "evaluation": seldom})


def profile(training: Training, *, warm_up: int = WARM_UP, steps: int = STEPS, trace: Path | None = None) -> Profile:
    """Take some steps and tell where their time went.

    Args:
        training: a training of its own, at its beginning, of a ``measurable`` protocol: its state goes on by these
            steps, so it is not one whose result is wanted.
        warm_up: steps before anything is measured.
        steps: steps that are measured, first without and then with the profiler.
        trace: a file for the trace, in the format that Chrome and Perfetto show.

    Raises:
        ValueError: the training ended before all steps were taken.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler itself writes lines to stderr
    cuda = training.device.type == "cuda"
    records = training.run()
    _take(records, warm_up)
    seen = training.order.seen(training.step)
    seconds = _timed(records, steps, training.device)
    batch = (training.order.seen(training.step) - seen) / steps
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch_profile(activities=activities) as profiler, marked():
        profiled_seconds = _timed(records, steps, training.device)
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    return Profile(
        device=training.device.type,
        threads=torch.get_num_threads(),
        batch=batch,
        steps=steps,
        seconds=seconds,
        profiled_seconds=profiled_seconds,
        parts=_parts(profiler.events() or [], steps, profiled_seconds, cuda=cuda),
        operators=_operators(profiler.key_averages(), steps, cuda=cuda),
    )


def _timed(records: Iterator[object], steps: int, device: torch.device) -> float:
    """Take ``steps`` steps and return the mean seconds of one, the device's work included."""
    _wait(device)
    began = time.perf_counter()
    _take(records, steps)
    _wait(device)
    return (time.perf_counter() - began) / steps


def _take(records: Iterator[object], steps: int) -> None:
    done = 0
    while done < steps:
        record = next(records)
        if isinstance(record, Finished):
            raise ValueError(f"training ended after {done} of {steps} steps of a profile")
        done += isinstance(record, Stepped)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _parts(events: Sequence[Any], steps: int, total: float, *, cuda: bool) -> tuple[PartTime, ...]:
    """Add up the spans of each part, and the kernels started within them: those of the backward pass are started by
    another thread, so it is the moment that tells."""
    marks = [event for event in events if _is_mark(event)]
    spans = sorted((event.time_range.start, event.time_range.end, event.name) for event in marks)
    starts = [start for start, _, _ in spans]
    host, device = dict.fromkeys((*get_args(Part), REST), 0.0), dict.fromkeys((*get_args(Part), REST), 0.0)
    for start, end, name in spans:
        host[name.removeprefix(PREFIX)] += (end - start) / 1e6 / steps
    for event in events:
        kernels = sum(kernel.duration for kernel in event.kernels) / 1e6 / steps
        if not kernels or _is_mark(event):
            continue
        index = bisect_right(starts, event.time_range.start) - 1
        inside = index >= 0 and event.time_range.start <= spans[index][1]
        device[spans[index][2].removeprefix(PREFIX) if inside else REST] += kernels
    host[REST] = max(0.0, total - sum(host.values()))
    found = {name for _, _, name in spans}
    return tuple(
        PartTime(name, host[name], device[name] if cuda else None)
        for name in host
        if name == REST or PREFIX + name in found
    )


def _is_mark(event: Any) -> bool:
    """Tell whether an event is the host's span of a part; the device's timeline repeats it."""
    return str(event.name).startswith(PREFIX) and "CPU" in str(event.device_type)


def _operators(averages: Sequence[Any], steps: int, *, cuda: bool) -> tuple[OperatorTime, ...]:
    found = [
        OperatorTime(
            event.key,
            event.count / steps,
            event.self_cpu_time_total / 1e6 / steps,
            event.self_device_time_total / 1e6 / steps if cuda else None,
        )
        for event in averages
        if not event.key.startswith(PREFIX)
    ]
    return tuple(sorted(found, key=lambda one: (-(one.device_seconds or 0.0), -one.seconds, one.name)))
