"""Residual units: x + f(x)."""

from __future__ import annotations

import torch
from torch import nn

from ranbench.models.layers import NormReLU, conv1x1, conv3x3

EXPANSION = 4


class PreActivationUnit(nn.Module):
    """shortcut(x) + f(x), with f = BN ReLU 1x1, BN ReLU 3x3, BN ReLU 1x1.

    (B, inputs, H, W) -> (B, 4 * inner, H / stride, W / stride). Where width or stride changes, the shortcut is a 1x1
    convolution of the BN+ReLU'd input; otherwise it is the raw input (the authors' definitions; He et al. 2016).
    The authors' attention nets stride in the 3x3 convolution, the ResNets of He et al. in the first 1x1
    (``stride_first``).
    """

    def __init__(self, inputs: int, inner: int, stride: int = 1, *, stride_first: bool = False):
        super().__init__()
        outputs = EXPANSION * inner
        self.norm = NormReLU(inputs)
        self.body = nn.Sequential(
            conv1x1(inputs, inner, stride if stride_first else 1),
            NormReLU(inner),
            conv3x3(inner, inner, 1 if stride_first else stride),
            NormReLU(inner),
            conv1x1(inner, outputs),
        )
        self.projection = conv1x1(inputs, outputs, stride) if inputs != outputs or stride != 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.norm(x)
        shortcut = x if self.projection is None else self.projection(activated)
        out: torch.Tensor = shortcut + self.body(activated)
        return out


def units(channels: int, count: int) -> nn.Sequential:
    """``count`` pre-activation units that keep shape: (B, C, H, W) -> (B, C, H, W)."""
    return nn.Sequential(*(PreActivationUnit(channels, channels // EXPANSION) for _ in range(count)))
