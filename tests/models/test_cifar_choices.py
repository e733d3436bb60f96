"""What the counts of table 6 say of the CIFAR nets: the step per module, and other nets that round as printed.

The suites and ``docs/networks.md`` state these numbers; here they are worked out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ranbench.catalogue import STAGES, Modules, StagePlan
from ranbench.models.ran import Plan, ResidualAttentionNet, cifar_stem

ROOT = Path(__file__).parent.parent.parent
OURS = STAGES["cifar"]
ONE_UNIT = (*(replace(stage, closing=0) for stage in OURS), StagePlan(256, 1, closing=2))


def net_of(m: int, stages: tuple[StagePlan, ...] = OURS) -> nn.Module:
    """A net on the meta device with ``m`` modules in each of the first three stages."""
    plan = Plan(cifar_stem, 16, stages)
    with torch.device("meta"):
        return ResidualAttentionNet(
            plan, Modules((m,) * 3), 3, 10, learning="residual", attention="mixed", mask="encoder-decoder"
        )


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def with_biases(m: int) -> int:
    net = net_of(m)
    return parameters(net) + sum(part.out_channels for part in net.modules() if isinstance(part, nn.Conv2d))


def one_unit_without_norms(m: int) -> int:
    net = net_of(m, ONE_UNIT)
    return parameters(net) - sum(parameters(part) for part in net.modules() if isinstance(part, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("stages", "fits"),
    [
        (OURS, True),
        (tuple(replace(stage, outputs=stage.outputs // 2) for stage in OURS), False),
        (tuple(replace(stage, outputs=stage.outputs * 2) for stage in OURS), False),
        (tuple(replace(stage, poolings=n) for stage, n in zip(OURS, (2, 1, 1), strict=True)), False),
        (tuple(replace(stage, poolings=n) for stage, n in zip(OURS, (2, 2, 1), strict=True)), True),
    ],
    ids=["ours", "half as wide", "twice as wide", "poolings 2 1 1", "poolings 2 2 1"],
)
def test_the_step_of_the_printed_counts_needs_these_widths(stages: tuple[StagePlan, ...], fits: bool) -> None:
    """1.9 and 5.1 million, rounded, for two and six modules a stage."""
    step = (parameters(net_of(6, stages)) - parameters(net_of(2, stages))) / 4

    assert ((5.05e6 - 1.95e6) / 4 < step < (5.15e6 - 1.85e6) / 4) is fits


@pytest.mark.parametrize(
    ("counts", "said"),
    [(with_biases, ("1.86", "5.12")), (one_unit_without_norms, ("1.93", "5.13"))],
)
def test_other_nets_round_to_the_printed_counts_and_the_documents_say_so(counts: object, said: tuple[str, str]) -> None:
    assert callable(counts)
    found = [counts(m) / 1e6 for m in (2, 6)]

    texts = [
        (ROOT / name).read_text() for name in ("suites/table3.yaml", "suites/table6-sizes.yaml", "docs/networks.md")
    ]
    assert [f"{value:.1f}" for value in found] == ["1.9", "5.1"]
    assert tuple(f"{value:.2f}" for value in found) == said
    assert all(f"{said[0]} and {said[1]} million" in " ".join(text.split()) for text in texts)
