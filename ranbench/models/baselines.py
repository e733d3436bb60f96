"""Nets without attention that the paper compares with."""

from __future__ import annotations

import torch
from torch import nn

from ranbench.errors import SpecError
from ranbench.models.layers import Head, conv3x3
from ranbench.models.units import EXPANSION, PreActivationUnit

STEM_CHANNELS = 16
RESNET_WIDTHS = (16, 32, 64)


class PreActivationResNet(nn.Module):
    """Pre-activation ResNet for 32x32 images (He et al. 2016, "Identity Mappings"): (B, C, H, W) -> (B, classes).

    9n + 2 layers: a 3x3 convolution, three stages of n bottleneck units (inner 16, 32, 64; maps of 32, 16, 8), a
    fully connected layer. The stem has no BN: the first unit brings its own. Strides and projections stand where the
    definition published with that paper has them (resnet-1k-layers, resnet-pre-act.lua).
    """

    def __init__(self, units_per_stage: int, channels: int, num_classes: int):
        super().__init__()
        self.stem = conv3x3(channels, STEM_CHANNELS)
        stages: list[nn.Module] = []
        inputs = STEM_CHANNELS
        for index, inner in enumerate(RESNET_WIDTHS):
            first = PreActivationUnit(inputs, inner, stride=1 if index == 0 else 2, stride_first=True)
            rest = (PreActivationUnit(EXPANSION * inner, inner) for _ in range(units_per_stage - 1))
            stages.append(nn.Sequential(first, *rest))
            inputs = EXPANSION * inner
        self.stages = nn.Sequential(*stages)
        self.head = Head(inputs, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stages(self.stem(x)))
        return logits


def resnet_164(shape: tuple[int, int, int], num_classes: int) -> PreActivationResNet:
    """Pre-activation ResNet-164, 18 units per stage, 1.70 million parameters with ten classes.

    Raises:
        SpecError: the images are smaller than 8x8, which two halvings would leave without a map.
    """
    channels, height, width = shape
    if min(height, width) < 8:
        raise SpecError(f"resnet-164 needs images of at least 8x8, got {height}x{width}")
    return PreActivationResNet(18, channels, num_classes)
