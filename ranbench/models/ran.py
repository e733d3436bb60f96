"""Residual Attention Networks: the ImageNet nets of table 2, the CIFAR nets of section 4.1, a small form for digits.

The ImageNet nets follow the authors' published definitions: stem, then per stage one unit that changes width and size
and the attention modules, then three closing units. What the paper leaves open for CIFAR, and what is built here:

- widths: those of ResNet-164 (the parameter counts of table 6 allow nothing else);
- stem: 3x3 convolution with 16 channels, BN, ReLU (convolution, BN, ReLU as in the authors' ImageNet nets);
- the two units per stage: one before the modules, which changes width and size, and one after them;
- mask poolings: 3, 2, 1, down to 4x4 in every stage;
- head: BN, ReLU, global average, fully connected. There is no closing group of three units as on ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ranbench.catalogue import Form, Modules
from ranbench.errors import SpecError
from ranbench.models.attention import AttentionModule
from ranbench.models.layers import Head, NormReLU, conv3x3, conv7x7, max_pool
from ranbench.models.units import PRE_ACTIVATION, Units


@dataclass(frozen=True)
class StagePlan:
    """One stage: channels of its maps, stride of its first unit, poolings of its masks, units after its modules."""

    outputs: int
    stride: int
    poolings: int = 0
    closing: int = 0


@dataclass(frozen=True)
class Plan:
    """What a form consists of; ``stem`` and ``halved`` belong together: whether the stem divides the size by four."""

    stem: Callable[[int], nn.Sequential]
    stem_channels: int
    halved: bool
    stages: tuple[StagePlan, ...]


def cifar_stem(channels: int) -> nn.Sequential:
    """3x3 convolution, BN, ReLU: (B, channels, H, W) -> (B, 16, H, W)."""
    return nn.Sequential(conv3x3(channels, 16), NormReLU(16))


def imagenet_stem(channels: int) -> nn.Sequential:
    """7x7 convolution of stride 2, BN, ReLU, max pooling: (B, channels, H, W) -> (B, 64, H / 4, W / 4)."""
    return nn.Sequential(conv7x7(channels, 64, stride=2), NormReLU(64), max_pool())


PLANS: Mapping[Form, Plan] = {
    # maps of 32, 16 and 8 pixels
    "cifar": Plan(cifar_stem, 16, False, (StagePlan(64, 1, 3, 1), StagePlan(128, 2, 2, 1), StagePlan(256, 2, 1, 1))),
    # table 2, at 224: maps of 56, 28 and 14 pixels, masks down to 7x7, and three closing units without modules at 7
    "imagenet": Plan(
        imagenet_stem,
        64,
        True,
        (StagePlan(256, 1, 3), StagePlan(512, 2, 2), StagePlan(1024, 2, 1), StagePlan(2048, 2, closing=2)),
    ),
    # not of the paper: maps of 8 and 4 pixels
    "digits": Plan(cifar_stem, 16, False, (StagePlan(32, 1, 2, 1), StagePlan(64, 2, 1, 1))),
}


class Stage(nn.Sequential):
    """A unit that changes width and size, attention modules, units that keep them (none on ImageNet's first three)."""

    def __init__(self, inputs: int, plan: StagePlan, modules: Sequence[AttentionModule], units: Units):
        super().__init__(
            units.make(inputs, plan.outputs, plan.stride), *modules, *units.keeping(plan.outputs, plan.closing)
        )


class ResidualAttentionNet(nn.Module):
    """Stem, stages, head: (B, channels, H, W) -> (B, classes).

    Args:
        plan: stem and stages.
        modules: attention modules per stage, p, t and r; stages beyond ``modules.m`` have none.
        channels: of the images.
        num_classes: of the classifier.
        options: ``learning``, ``attention`` and ``mask`` of every attention module.
        units: the family of units, of trunk and masks alike.
    """

    def __init__(
        self,
        plan: Plan,
        modules: Modules,
        channels: int,
        num_classes: int,
        *,
        units: Units = PRE_ACTIVATION,
        **options: Any,
    ):
        super().__init__()
        self.stem = plan.stem(channels)
        stages = []
        inputs = plan.stem_channels
        for index, stage in enumerate(plan.stages):
            count = modules.m[index] if index < len(modules.m) else 0
            attention = [
                AttentionModule(
                    stage.outputs,
                    stage.poolings,
                    p=modules.p,
                    t=modules.t,
                    r=modules.r,
                    r_scales=modules.r_scales,
                    units=units,
                    **options,
                )
                for _ in range(count)
            ]
            stages.append(Stage(inputs, stage, attention, units))
            inputs = stage.outputs
        self.stages = nn.Sequential(*stages)
        self.head = Head(inputs, num_classes, normalised=not units.preactivated)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stages(self.stem(x)))
        return logits


def attention_net(
    name: str,
    form: Form,
    modules: Modules,
    shape: tuple[int, int, int],
    num_classes: int,
    *,
    units: Units,
    **options: Any,
) -> ResidualAttentionNet:
    """Build the net ``name`` for images of ``shape`` (channels, height, width).

    Raises:
        SpecError: the images are too small for the poolings or the masks.
    """
    plan = PLANS[form]
    channels, *sides = shape
    smallest = smallest_side(plan, options.get("mask", "encoder-decoder"), options.get("attention", "mixed"))
    if min(sides) < smallest:
        raise SpecError(
            f"model {name!r} needs {form} images of at least {smallest}x{smallest} for its poolings and masks, "
            f"got {sides[0]}x{sides[1]}"
        )
    return ResidualAttentionNet(plan, modules, channels, num_classes, units=units, **options)


def smallest_side(plan: Plan, mask: str, attention: str) -> int:
    """Return the smallest height and width at which no pooling is left without a map.

    A strided convolution takes n pixels to ceil(n / 2), a pooling to floor(n / 2). Spatial attention needs two
    positions, since one has no deviation.
    """
    side = 1
    while not _fits(plan, side, mask, attention):
        side += 1
    return side


def _fits(plan: Plan, side: int, mask: str, attention: str) -> bool:
    if plan.halved:
        side = -(-side // 2) // 2
    for stage in plan.stages:
        side = -(-side // stage.stride)
        least = 2 if attention == "spatial" and stage.poolings else 1
        if side < (2**stage.poolings if mask == "encoder-decoder" else least):
            return False
    return True
