"""A profile of a step: all parts are seen, nothing is lost, marks are nothing outside a profile."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import pytest

from ranbench.records import MetricPoint
from ranbench.spec import Protocol
from ranbench.training import Training
from ranbench.training.parts import Part, part
from ranbench.training.profile import REST, measurable, profile

from .conftest import noise_images


def test_every_part_of_a_step_is_measured_in_its_order(start: Callable[..., Training], protocol: Protocol) -> None:
    found = profile(start(protocol=measurable(protocol, warm_up=1, steps=2)), warm_up=1, steps=2)

    assert [one.name for one in found.parts] == [*get_args(Part), REST]
    assert all(one.seconds > 0 for one in found.parts[:-1])
    assert sum(one.seconds for one in found.parts) == pytest.approx(found.profiled_seconds)
    assert {one.device_seconds for one in (*found.parts, *found.operators)} == {None}
    assert (found.device, found.threads, found.batch, found.steps) == ("cpu", 1, 32, 2)


def test_images_of_a_step_are_a_mean_where_the_rest_of_an_epoch_is_a_short_batch(
    start: Callable[..., Training], protocol: Protocol
) -> None:
    short = protocol.model_copy(update={"batch": 4, "last_batch": "partial"})
    training = start(protocol=measurable(short, warm_up=1, steps=2), images=noise_images((1, 8, 8), 6))

    found = profile(training, warm_up=1, steps=2)

    assert found.batch == 3  # of the rest, 2, and the 4 of the next epoch


def test_operators_are_per_step_and_the_slowest_comes_first(start: Callable[..., Training], protocol: Protocol) -> None:
    found = profile(start(protocol=measurable(protocol, warm_up=1, steps=2)), warm_up=1, steps=2)

    times = [one.seconds for one in found.operators]
    calls = {one.name: one.calls for one in found.operators}
    assert times == sorted(times, reverse=True)
    assert sum(times) < found.profiled_seconds
    assert calls["aten::convolution"] == calls["aten::convolution_backward"] == 64
    assert not [name for name in calls if name.startswith("step/")]


def test_the_trace_holds_every_part(start: Callable[..., Training], protocol: Protocol, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"

    profile(start(protocol=measurable(protocol, warm_up=1, steps=1)), warm_up=1, steps=1, trace=trace)

    names = {event["name"] for event in json.loads(trace.read_text())["traceEvents"]}
    assert {f"step/{name}" for name in get_args(Part)} <= names


def test_no_evaluation_stands_between_the_measured_steps(protocol: Protocol) -> None:
    short, long = measurable(protocol), measurable(protocol.model_copy(update={"iterations": 64_000}))

    assert (short.iterations, short.evaluation.every) == (14, 14)
    assert (long.iterations, long.evaluation.every) == (64_000, 64_000)


def test_a_training_that_ends_too_early_is_refused(start: Callable[..., Training]) -> None:
    with pytest.raises(ValueError, match="training ended after 1 of 5 steps of a profile"):
        profile(start(), warm_up=3, steps=5)


def test_a_mark_outside_a_profile_is_nothing() -> None:
    assert isinstance(part("forward"), nullcontext)
    assert part("forward") is part("update")


def test_after_a_profile_a_training_of_its_own_gives_the_same_numbers(
    start: Callable[..., Training], protocol: Protocol
) -> None:
    def losses() -> list[object]:
        return [record for record in start().run() if isinstance(record, MetricPoint)]

    before = losses()

    profile(start(protocol=measurable(protocol, warm_up=1, steps=1)), warm_up=1, steps=1)

    assert losses() == before
