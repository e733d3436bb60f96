"""What the benchmarks share: turns, ratios, bounds that are judged, and the bytes of a step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.limits import traffic
from common.measure import Target, in_turns, ratio, target_in_words


@pytest.mark.parametrize(
    ("value", "bound", "met"),
    [(2.0, "at least", True), (1.0, "at least", False), (1.0, "at most", True), (2.0, "at most", False)],
)
def test_a_target_is_judged_by_its_bound(value: float, bound: str, met: bool) -> None:
    target = Target("speed", value, bound, 1.5)  # type: ignore[arg-type]

    assert target.met is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    target = Target("speed", None, "at least", 1.5, why="no such library")

    assert target.met is None


def test_ways_take_turns_forwards_and_backwards_after_a_warm_up() -> None:
    called: list[str] = []

    def way(name: str) -> float:
        called.append(name)
        return float(len(called))

    samples = in_turns({"a": lambda: way("a"), "b": lambda: way("b")}, rounds=3)

    assert "".join(called) == "ab" + "ab" + "ba" + "ab"
    assert samples == {"a": [3.0, 6.0, 7.0], "b": [4.0, 5.0, 8.0]}


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 1.0, 1.0]}, "a", "b") == 4.0


def test_a_missed_target_is_said_loudly() -> None:
    one = {"what": "training", "value": 1.2, "unit": "times", "bound": "at least", "target": 1.5, "met": False}

    assert target_in_words(one) == "training: 1.2 times (target: at least 1.5 times: NOT MET)"


def test_traffic_counts_each_tensor_of_each_operator_and_no_view() -> None:
    """A step without momentum on one linear layer, 2 inputs and 3 outputs, 4 images."""
    net = nn.Linear(2, 3, bias=False)
    images, targets = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)

    moved = traffic(net, torch.optim.SGD(net.parameters(), lr=0.1), images, targets)

    product = 4 * (8 + 6 + 12)  # images, weight and logits, 4 bytes each
    gradient = 4 * (12 + 8 + 6)  # gradient of logits, images, gradient of the weight
    update = 4 * (6 + 6 + 6)  # weight and gradient read, weight written
    loss = moved - product - gradient - update
    assert 4 * (12 + 12) + 8 * 4 <= loss <= 4 * 12 * 8 + 8 * 4 * 4
