"""Residual Attention Networks: the CIFAR form of the paper (section 4.1) and a small digits form of the same modules.

What the paper leaves open for CIFAR, and what is built here:

- widths: those of ResNet-164 (the parameter counts of table 6 allow nothing else);
- stem: 3x3 convolution with 16 channels, BN, ReLU (convolution, BN, ReLU as in the authors' ImageNet nets);
- the two units per stage: one before the modules, which changes width and size, and one after them;
- mask poolings: 3, 2, 1, down to 4x4 in every stage;
- head: BN, ReLU, global average, fully connected. There is no closing group of three units as on ImageNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ranbench.catalogue import Modules
from ranbench.errors import SpecError
from ranbench.models.attention import AttentionModule
from ranbench.models.layers import Head, NormReLU, conv3x3
from ranbench.models.units import EXPANSION, PreActivationUnit


@dataclass(frozen=True)
class StagePlan:
    """One stage: inner width of its units, stride of its first unit, poolings of its masks."""

    inner: int
    stride: int
    poolings: int


STEM_CHANNELS = 16
CIFAR = (StagePlan(16, 1, 3), StagePlan(32, 2, 2), StagePlan(64, 2, 1))
DIGITS = (StagePlan(8, 1, 2), StagePlan(16, 2, 1))

# Side of the square image -> stages. 32: maps of 32, 16, 8 pixels. 8: maps of 8 and 4.
FORMS: dict[int, tuple[StagePlan, ...]] = {32: CIFAR, 8: DIGITS}


class Stage(nn.Sequential):
    """A unit that changes width and size, m attention modules, a unit that keeps them."""

    def __init__(self, inputs: int, plan: StagePlan, modules: Modules, *, learning: str, attention: str, mask: str):
        channels = EXPANSION * plan.inner
        super().__init__(
            PreActivationUnit(inputs, plan.inner, plan.stride),
            *(
                AttentionModule(
                    channels,
                    plan.poolings,
                    p=modules.p,
                    t=modules.t,
                    r=modules.r,
                    learning=learning,
                    attention=attention,
                    mask=mask,
                )
                for _ in range(modules.m)
            ),
            PreActivationUnit(channels, plan.inner),
        )


class ResidualAttentionNet(nn.Module):
    """Stem, stages, head: (B, channels, H, W) -> (B, classes)."""

    def __init__(
        self,
        stages: Sequence[StagePlan],
        modules: Modules,
        channels: int,
        num_classes: int,
        *,
        learning: str = "residual",
        attention: str = "mixed",
        mask: str = "encoder-decoder",
    ):
        super().__init__()
        self.stem = nn.Sequential(conv3x3(channels, STEM_CHANNELS), NormReLU(STEM_CHANNELS))
        widths = [STEM_CHANNELS, *(EXPANSION * plan.inner for plan in stages)]
        self.stages = nn.Sequential(
            *(
                Stage(inputs, plan, modules, learning=learning, attention=attention, mask=mask)
                for inputs, plan in zip(widths, stages, strict=False)
            )
        )
        self.head = Head(widths[-1], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stages(self.stem(x)))
        return logits


def attention_net(
    modules: Modules,
    shape: tuple[int, int, int],
    num_classes: int,
    *,
    learning: str,
    attention: str,
    mask: str,
) -> ResidualAttentionNet:
    """Build the form that fits ``shape`` (channels, height, width).

    Raises:
        SpecError: there is no form for images of this size.
    """
    channels, height, width = shape
    if height != width or height not in FORMS:
        sizes = ", ".join(f"{side}x{side}" for side in FORMS)
        raise SpecError(f"attention nets have no form for {height}x{width} images (allowed: {sizes})")
    return ResidualAttentionNet(
        FORMS[height], modules, channels, num_classes, learning=learning, attention=attention, mask=mask
    )
