"""Learning rates by iteration."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.spec import Cosine, OneCycle, Protocol, Steps, WarmUp
from ranbench.suite import load_protocol
from ranbench.training import learning_rate

PROTOCOLS = Path(__file__).resolve().parents[2] / "suites" / "protocols"
CYCLE = OneCycle(kind="one-cycle", lr=0.2, rise=0.25, start=0.1, end=0.01)
COSINE = Cosine(kind="cosine", lr=0.2, end=0.01)
WARM_UP = WarmUp(iterations=20, start=0.25)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (63_999, 0.1), (64_000, 0.01), (95_999, 0.01), (96_000, 0.001), (159_999, 0.001)],
)
def test_the_papers_rate_drops_at_64000_and_96000(step: int, expected: float) -> None:
    protocol = load_protocol(PROTOCOLS / "cifar-paper.yaml")
    assert isinstance(protocol, Protocol)

    rate = learning_rate(protocol.schedule, protocol.iterations, step)

    assert rate == pytest.approx(expected, rel=1e-12)


def test_one_cycle_goes_from_its_start_to_its_peak_to_its_end() -> None:
    found = [learning_rate(CYCLE, 101, step) for step in (0, 25, 100)]

    assert found == pytest.approx([0.02, 0.2, 0.002], rel=1e-12)


def test_one_cycle_is_half_way_up_and_down_in_the_middle() -> None:
    cycle = CYCLE.model_copy(update={"rise": 0.5})

    found = [learning_rate(cycle, 101, step) for step in (25, 75)]

    assert found == pytest.approx([0.11, 0.101], rel=1e-12)


def test_one_cycle_rises_to_its_peak_and_falls_from_there() -> None:
    rates = [learning_rate(CYCLE, 101, step) for step in range(101)]

    assert all(rates[step] < rates[step + 1] for step in range(25))
    assert all(rates[step] > rates[step + 1] for step in range(25, 100))


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_one_cycle_holds_for_very_short_trainings(iterations: int) -> None:
    rates = [learning_rate(CYCLE, iterations, step) for step in range(iterations)]

    assert all(0.002 <= rate <= 0.2 for rate in rates)


def test_a_cosine_goes_from_its_rate_to_its_end() -> None:
    found = [learning_rate(COSINE, 101, step) for step in (0, 50, 100)]

    assert found == pytest.approx([0.2, 0.101, 0.002], rel=1e-12)


def test_a_cosine_is_a_quarter_of_its_height_above_its_end_after_two_thirds() -> None:
    rate = learning_rate(COSINE.model_copy(update={"end": 0.0}), 301, 200)

    assert rate == pytest.approx(0.05, rel=1e-12)


@pytest.mark.parametrize(("iterations", "expected"), [(1, [0.2]), (2, [0.2, 0.002])])
def test_a_cosine_holds_for_very_short_trainings(iterations: int, expected: list[float]) -> None:
    found = [learning_rate(COSINE, iterations, step) for step in range(iterations)]

    assert found == pytest.approx(expected, rel=1e-12)


def test_a_warm_up_rises_in_a_straight_line_and_leaves_the_drops_where_they_are() -> None:
    steps = Steps(kind="steps", lr=0.2, drops=(50,), factor=0.1, warm_up=WARM_UP)

    found = [learning_rate(steps, 101, step) for step in (0, 1, 10, 19, 20, 49, 50, 100)]

    assert found == pytest.approx([0.05, 0.0575, 0.125, 0.1925, 0.2, 0.2, 0.02, 0.02], rel=1e-12)


def test_a_warm_up_leads_to_what_a_cosine_says_at_its_end() -> None:
    warmed = COSINE.model_copy(update={"warm_up": WARM_UP})
    there = learning_rate(COSINE, 101, 20)

    found = [learning_rate(warmed, 101, step) for step in (0, 10, 20, 21, 100)]

    assert found == pytest.approx([0.05, (0.05 + there) / 2, there, learning_rate(COSINE, 101, 21), 0.002], rel=1e-12)


def test_a_drop_within_the_warm_up_is_what_it_rises_to() -> None:
    steps = Steps(kind="steps", lr=0.2, drops=(10,), factor=0.5, warm_up=WARM_UP)

    found = [learning_rate(steps, 101, step) for step in (0, 10, 20, 21)]

    assert found == pytest.approx([0.05, 0.075, 0.1, 0.1], rel=1e-12)
