"""Residual nets for CIFAR: those that the paper compares with, and two with squeeze and excitation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from ranbench.models.excitation import ExcitedBasicUnit, ExcitedUnit
from ranbench.models.layers import Head, NormReLU, conv3x3
from ranbench.models.units import EXPANSION, OriginalUnit, PreActivationUnit, WideUnit

STEM_CHANNELS = 16
WIDTHS = (16, 32, 64)


class PlainNet(nn.Module):
    """3x3 stem, stages, head: (B, C, H, W) -> (B, classes).

    Pre-activated units bring BN and ReLU for what they read, so the stem is bare and the head has both; with
    post-activated ones the stem has both and the head is bare.
    """

    def __init__(
        self, stages: nn.Sequential, channels: int, outputs: int, num_classes: int, *, preactivated: bool = True
    ):
        super().__init__()
        stem = conv3x3(channels, STEM_CHANNELS)
        self.stem = stem if preactivated else nn.Sequential(stem, NormReLU(STEM_CHANNELS))
        self.stages = stages
        self.head = Head(outputs, num_classes, normalised=not preactivated)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stages(self.stem(x)))
        return logits


def _bottlenecks(unit: type[PreActivationUnit | OriginalUnit], per_stage: int) -> nn.Sequential:
    """Three stages of bottlenecks; the first of a stage strides in its first 1x1."""
    stages: list[nn.Module] = []
    inputs = STEM_CHANNELS
    for index, inner in enumerate(WIDTHS):
        first = unit(inputs, inner, stride=1 if index == 0 else 2, stride_first=True)
        rest = (unit(EXPANSION * inner, inner) for _ in range(per_stage - 1))
        stages.append(nn.Sequential(first, *rest))
        inputs = EXPANSION * inner
    return nn.Sequential(*stages)


class PreActivationResNet(PlainNet):
    """Pre-activation ResNet for 32x32 images (He et al. 2016, "Identity Mappings"): (B, C, H, W) -> (B, classes).

    9n + 2 layers: a 3x3 convolution, three stages of n bottleneck units (inner 16, 32, 64; maps of 32, 16, 8), a
    fully connected layer. Strides and projections stand where the definition published with that paper has them
    (resnet-1k-layers, resnet-pre-act.lua).
    """

    def __init__(
        self,
        units_per_stage: int,
        channels: int,
        num_classes: int,
        unit: type[PreActivationUnit] = PreActivationUnit,
    ):
        super().__init__(_bottlenecks(unit, units_per_stage), channels, EXPANSION * WIDTHS[-1], num_classes)


class PostActivationResNet(PlainNet):
    """The same net of the bottlenecks of He et al. (2015): (B, C, H, W) -> (B, classes).

    The stem ends with BN and ReLU, and after the last unit, which brings its own, neither stands before the average.
    """

    def __init__(self, units_per_stage: int, channels: int, num_classes: int):
        stages = _bottlenecks(OriginalUnit, units_per_stage)
        super().__init__(stages, channels, EXPANSION * WIDTHS[-1], num_classes, preactivated=False)


class WideResNet(PlainNet):
    """Wide ResNet WRN-(6n + 4)-k (Zagoruyko and Komodakis, 2016): (B, C, H, W) -> (B, classes).

    A 3x3 convolution, three stages of n basic units of 16k, 32k and 64k channels (maps of 32, 16, 8), a fully
    connected layer. Its name counts every convolution with the three projections, and not the fully connected layer.
    """

    def __init__(
        self, units_per_stage: int, width: int, channels: int, num_classes: int, unit: type[WideUnit] = WideUnit
    ):
        stages: list[nn.Module] = []
        inputs = STEM_CHANNELS
        for index, base in enumerate(WIDTHS):
            outputs = width * base
            first = unit(inputs, outputs, stride=1 if index == 0 else 2)
            rest = (unit(outputs, outputs) for _ in range(units_per_stage - 1))
            stages.append(nn.Sequential(first, *rest))
            inputs = outputs
        super().__init__(nn.Sequential(*stages), channels, inputs, num_classes)


RESNETS: Mapping[str, Callable[[int, int, int], PlainNet]] = {
    "pre-activation": PreActivationResNet,
    "post-activation": PostActivationResNet,
}


def resnet_164(channels: int, num_classes: int, *, unit_order: str = "pre-activation") -> PlainNet:
    """ResNet-164, 18 units per stage, 1.70 million parameters with ten classes."""
    return RESNETS[unit_order](18, channels, num_classes)


def resnet_1001(channels: int, num_classes: int, *, unit_order: str = "pre-activation") -> PlainNet:
    """ResNet-1001, 111 units per stage, 10.33 million parameters with ten classes."""
    return RESNETS[unit_order](111, channels, num_classes)


def wrn_16_8(channels: int, num_classes: int) -> WideResNet:
    """WRN-16-8, 2 units per stage, 10.96 million parameters with ten classes."""
    return WideResNet(2, 8, channels, num_classes)


def wrn_28_10(channels: int, num_classes: int) -> WideResNet:
    """WRN-28-10, 4 units per stage, 36.48 million parameters with ten classes."""
    return WideResNet(4, 10, channels, num_classes)


def resnet_110(channels: int, num_classes: int) -> WideResNet:
    """Pre-activation ResNet-110, 18 basic units per stage of width 1, 1.73 million parameters with ten classes."""
    return WideResNet(18, 1, channels, num_classes)


def se_resnet_110(channels: int, num_classes: int) -> WideResNet:
    """ResNet-110 with squeeze and excitation in every unit, 1.74 million parameters with ten classes."""
    return WideResNet(18, 1, channels, num_classes, ExcitedBasicUnit)


def se_resnet_164(channels: int, num_classes: int) -> PreActivationResNet:
    """ResNet-164 with squeeze and excitation in every unit, 1.91 million parameters with ten classes."""
    return PreActivationResNet(18, channels, num_classes, ExcitedUnit)
