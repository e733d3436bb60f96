"""Squeeze and excitation (Hu et al., arXiv 1709.01507): a mask of one value per channel on what a unit adds.

What the paper leaves open for CIFAR stands beside the suite that uses these units.
"""

from __future__ import annotations

import torch
from torch import nn

from ranbench.models.attention import SoftMask
from ranbench.models.units import EXPANSION, PreActivationUnit, WideUnit

REDUCTION = 16  # the paper's r, for all its nets unless it says otherwise


class Squeeze(nn.Module):
    """Global average: (B, C, H, W) -> (B, C), equation 2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class SqueezeExcitation(nn.Module):
    """s * x with s = sigmoid(W2 ReLU(W1 mean(x))), one value per channel: (B, C, H, W) -> (B, C, H, W), section 3.

    W1 gives C / 16 channels, one at least; both layers have biases, as fully connected layers have them in the authors'
    framework. Like the mask of an attention module, s is no part of the trunk, whose layers a net is named for.
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        branch = nn.Sequential(Squeeze(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.mask = SoftMask(branch, nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale: torch.Tensor = self.mask(x)  # (B, C)
        return x * scale[..., None, None]


class ExcitedUnit(PreActivationUnit):
    """The bottleneck of ResNet-164, whose body ends in squeeze and excitation (figure 3)."""

    def __init__(self, inputs: int, inner: int, stride: int = 1, *, stride_first: bool = False):
        super().__init__(inputs, inner, stride, stride_first=stride_first)
        self.body = nn.Sequential(self.body, SqueezeExcitation(EXPANSION * inner))


class ExcitedBasicUnit(WideUnit):
    """The basic unit, two 3x3 convolutions, whose body ends in squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, stride)
        self.body = nn.Sequential(self.body, SqueezeExcitation(outputs))
