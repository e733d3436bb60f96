"""Two outcomes of one run side by side: which answer they get, and from which iteration on they differ."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from ranbench.records import Attempt, Environment, State
from ranbench.runner.comparison import Change, FirstDifference, Outcome, changes, compare

LOSSES = {160: 2.5, 320: 1.25, 400: 1.0}
OUTCOME = Outcome(
    metrics={"error_pct": 12.5, "loss": 0.75, "train_seconds": 60.0, "peak_memory_bytes": 1e9},
    series={"train_loss": LOSSES, "test_error_pct": {400: 12.5}},
    predictions=b"\0\1\2",
    weights="ab" * 32,
)
NEXT = math.nextafter(1.25, 2.0)


def changed(**parts: Any) -> Outcome:
    """The outcome with other metrics, series, predictions or weights; metrics and series are added to those there."""
    for name in ("metrics", "series"):
        if name in parts:
            parts[name] = {**getattr(OUTCOME, name), **parts[name]}
    return dataclasses.replace(OUTCOME, **parts)


@pytest.mark.parametrize(
    ("again", "answer", "differing"),
    [
        (changed(), "identical", ()),
        (changed(metrics={"train_seconds": 70.0, "peak_memory_bytes": 2e9, "images_per_s": 3.0}), "identical", ()),
        (changed(weights="cd" * 32), "equal metrics", ("weights",)),
        (changed(predictions=b"\0\1\3"), "equal metrics", ("predictions",)),
        (changed(series={"test_error_pct": {400: 13.0}}), "equal metrics", ("series test_error_pct",)),
        (changed(series={"test_error_pct": {399: 12.5}}), "equal metrics", ("series test_error_pct",)),
        (changed(metrics={"loss": math.nextafter(0.75, 1.0)}), "different", ("loss",)),
        (changed(metrics={"error_pct": 12.0}, weights="cd" * 32), "different", ("error_pct", "weights")),
        (changed(metrics={"loss": math.nan}), "different", ("loss",)),
    ],
)
def test_the_answer_rests_on_bits_and_on_what_says_something_about_the_net(
    again: Outcome, answer: str, differing: tuple[str, ...]
) -> None:
    found = compare(OUTCOME, again)

    assert (found.answer, found.differing, found.unknown) == (answer, differing, ())
    assert found.metrics == ("error_pct", "loss")
    assert (found.first is not None) == any(name.startswith("series") for name in differing)


@pytest.mark.parametrize(
    ("before", "again", "answer", "unknown"),
    [
        (OUTCOME, changed(weights=None), "equal metrics", ("weights",)),
        (changed(weights=None), changed(weights=None), "equal metrics", ("weights",)),
        (changed(predictions=None), OUTCOME, "equal metrics", ("predictions",)),
        (OUTCOME, changed(metrics={"new": 1.0}), "equal metrics", ("new",)),
        (changed(series={"old": {1: 1.0}}), OUTCOME, "equal metrics", ("series old",)),
        (dataclasses.replace(OUTCOME, metrics={}), OUTCOME, "different", ("error_pct", "loss")),
    ],
)
def test_what_was_not_kept_of_both_is_never_called_identical(
    before: Outcome, again: Outcome, answer: str, unknown: tuple[str, ...]
) -> None:
    found = compare(before, again)

    assert (found.answer, found.differing, found.unknown) == (answer, (), unknown)


@pytest.mark.parametrize(
    ("again", "first"),
    [
        ({160: 2.5, 320: NEXT, 400: 9.0}, FirstDifference(161, 320, 1.25, NEXT)),
        ({160: 2.25, 320: 1.25, 400: 1.0}, FirstDifference(1, 160, 2.5, 2.25)),
        ({160: 2.5, 320: 1.25, 400: -1.0}, FirstDifference(321, 400, 1.0, -1.0)),
        ({160: 2.5, 400: 1.0}, FirstDifference(161, 320, 1.25, None)),
        ({160: 2.5, 161: 2.0, 320: 1.25, 400: 1.0}, FirstDifference(161, 161, None, 2.0)),
    ],
)
def test_the_first_point_of_the_training_loss_that_differs_names_the_iterations_it_covers(
    again: dict[int, float], first: FirstDifference
) -> None:
    found = compare(OUTCOME, changed(series={"train_loss": again}))

    assert (found.answer, found.differing, found.first) == ("equal metrics", ("series train_loss",), first)


def test_not_a_number_equals_itself_and_zero_does_not_equal_minus_zero() -> None:
    before = changed(series={"odd": {1: math.nan, 2: 0.0}})
    other = changed(series={"odd": {1: math.nan, 2: -0.0}})

    assert compare(before, before).answer == "identical"
    assert compare(before, other).differing == ("series odd",)


def test_points_of_both_are_counted_once() -> None:
    found = compare(OUTCOME, changed(series={"train_loss": {400: 1.0, 500: 1.0}, "alone": {1: 1.0}}))

    assert found.points == 5


HERE = Environment(
    device="cpu",
    device_name="a processor",
    cpu="a processor",
    cores=2,
    memory_bytes=2**34,
    threads=1,
    engine_path="eager",
    python="3.11.7",
    platform="Linux",
    versions={"torch": "2.11.0", "numpy": "2.0"},
    commit=None,
    dirty=False,
    patch=None,
    host="here",
    user="someone",
    command="ranbench run table3",
)


def attempt(*, code_id: str = "a" * 64, inexact: bool = False, **environment: Any) -> Attempt:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Attempt(
        id=1,
        fingerprint="f" * 64,
        number=1,
        state=State.DONE,
        reason=None,
        error=None,
        code_id=code_id,
        step=6,
        iterations=6,
        resumes=0,
        resumed_inexactly=inexact,
        started=moment,
        updated=moment,
        ended=moment,
        owner=None,
        environment=dataclasses.replace(HERE, **environment),
    )


@pytest.mark.parametrize(
    ("again", "library", "found"),
    [
        (attempt(), None, ()),
        (attempt(host="there", user="other", command="x", cores=64, versions={"torch": "2.11.0"}), None, ()),
        (attempt(device="cuda", device_name="a card"), None, ("device", "device_name")),
        (attempt(threads=2, engine_path="graph", cpu="another"), None, ("cpu", "engine_path", "threads")),
        (attempt(versions={"torch": "2.12.0", "timm": "1.0"}), None, ("torch",)),
        (attempt(versions={"torch": "2.11.0", "timm": "1.0"}), "timm", ("timm",)),
        (attempt(code_id="b" * 64), None, ("code_id",)),
        (attempt(inexact=True), None, ("resumed inexactly",)),
    ],
)
def test_what_could_not_be_as_it_was_recorded_is_named(
    again: Attempt, library: str | None, found: tuple[str, ...]
) -> None:
    assert tuple(change.what for change in changes(attempt(), again, library)) == found


def test_a_change_is_said_with_both_values() -> None:
    (change,) = changes(attempt(), attempt(code_id="b" * 64), None)

    assert change == Change("code_id", "a" * 12, "b" * 12)
    assert str(change) == "code_id aaaaaaaaaaaa then, bbbbbbbbbbbb now"


def test_where_no_training_loss_differs_the_earliest_point_of_another_series_is_told() -> None:
    def outcome(error: float, loss: float) -> Outcome:
        series = {"train_loss": {10: 1.0}, "test_error_pct": {5: 9.0, 10: error}, "test_loss": {5: loss, 10: 2.0}}
        return Outcome({"error_pct": 8.0}, series, b"1", "w")

    found = compare(outcome(8.0, 3.0), outcome(8.5, 3.5))

    assert found.first == FirstDifference(5, 5, 3.0, 3.5, "test_loss")
    assert found.answer == "equal metrics"
