"""Residual Attention Networks: the ImageNet nets of table 2, the CIFAR nets of section 4.1, a small form for digits.

The ImageNet nets follow the authors' published definitions: stem, then per stage one unit that changes width and size
and the attention modules, then three closing units. What the paper leaves open for CIFAR, and what is built here:

- widths: those of ResNet-164 (with the other choices here, the step of table 6 from Attention-92 to Attention-236 needs
  them; other combinations round to its counts too, but stand against the authors' ImageNet nets or the paper's words);
- stem: 3x3 convolution with 16 channels, BN, ReLU (convolution, BN, ReLU as in the authors' ImageNet nets);
- the two units per stage: one before the modules, which changes width and size, and one after them;
- mask poolings: 3, 2, 1, down to 4x4 in every stage;
- head: BN, ReLU, global average, fully connected. There is no closing group of three units as on ImageNet;
- order within a unit: BN and ReLU before each convolution, pre-activation, as in the authors' ImageNet nets. The option
  ``unit_order`` takes the units of He et al. (2015) in trunk and mask alike, which end in the ReLU of the sum. Then, as
  in the authors' AttentionNeXt, the head has no BN and ReLU of its own, nor has a mask before its 1x1 convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ranbench.catalogue import STAGES, Form, Modules, StagePlan
from ranbench.models.attention import AttentionModule
from ranbench.models.layers import Head, NormReLU, conv3x3, conv7x7, max_pool
from ranbench.models.units import PRE_ACTIVATION, Units


@dataclass(frozen=True)
class Plan:
    """What a form consists of. The size of the maps behind the stem is known to ``catalogue.smallest_side`` as well."""

    stem: Callable[[int], nn.Sequential]
    stem_channels: int
    stages: tuple[StagePlan, ...]


def cifar_stem(channels: int) -> nn.Sequential:
    """3x3 convolution, BN, ReLU: (B, channels, H, W) -> (B, 16, H, W)."""
    return nn.Sequential(conv3x3(channels, 16), NormReLU(16))


def imagenet_stem(channels: int) -> nn.Sequential:
    """7x7 convolution of stride 2, BN, ReLU, max pooling: (B, channels, H, W) -> (B, 64, H / 4, W / 4)."""
    return nn.Sequential(conv7x7(channels, 64, stride=2), NormReLU(64), max_pool())


PLANS: Mapping[Form, Plan] = {
    "cifar": Plan(cifar_stem, 16, STAGES["cifar"]),
    "imagenet": Plan(imagenet_stem, 64, STAGES["imagenet"]),
    "digits": Plan(cifar_stem, 16, STAGES["digits"]),
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
        options: ``learning``, ``attention``, ``mask`` and ``spatial_std`` of every attention module.
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
