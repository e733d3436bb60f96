"""Layers that fix kernel, padding and bias once, and the initialisation of a whole net.

Legend for shapes in this folder: B batch, C channels, H W space.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Initialisation = Literal["he-fan-in", "he-fan-out"]


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)


def conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size (divided by ``stride``, rounded up), without bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, groups=groups, bias=False)


def conv7x7(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """A 7x7 convolution that keeps the size (divided by ``stride``, rounded up), without bias."""
    return nn.Conv2d(inputs, outputs, kernel_size=7, stride=stride, padding=3, bias=False)


def max_pool() -> nn.MaxPool2d:
    """The authors' max pooling: 3x3, stride 2, no padding, sizes of Caffe: n -> floor(n / 2) (112 -> 56, 75 -> 37).

    Caffe rounds (n - 3) / 2 up before it adds one, as ``ceil_mode`` does. Padding 1 gives the same sizes for even n,
    but other windows.
    """
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=0, ceil_mode=True)


class Norm(nn.BatchNorm2d):
    """BatchNorm; eps 1e-5 and running-average momentum 0.9 (0.1 in PyTorch) as in the authors' nets."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-5, momentum=0.1)


class NormReLU(nn.Sequential):
    """ReLU(BatchNorm(x))."""

    def __init__(self, channels: int):
        super().__init__(Norm(channels), nn.ReLU(inplace=True))


class Head(nn.Module):
    """BN, ReLU (unless the last unit brings its own), global average, fully connected with bias.

    (B, C, H, W) -> (B, classes). The authors' 7x7 average pooling at 224x224 is the global one, which also takes the
    larger maps of larger images.
    """

    def __init__(self, channels: int, num_classes: int, *, normalised: bool = False):
        super().__init__()
        self.norm = nn.Identity() if normalised else NormReLU(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.norm(x).mean(dim=(2, 3))  # (B, C)
        logits: torch.Tensor = self.classifier(pooled)
        return logits


@torch.no_grad()
def initialise(net: nn.Module, kind: Initialisation, generator: torch.Generator) -> None:
    """Set every weight: zero-mean Gaussian of variance 2 / fan (He et al. 2015, the paper's reference [9]).

    Fan-in is what the authors' framework takes for this filler unless told otherwise; the paper does not say which.
    The fully connected layer is drawn by the same rule, so with fan-out its variance is 2 / classes. Biases are zero,
    BatchNorm starts as the identity. Draws come from ``generator`` in the order of ``modules()``.

    As in torch's own functions, fan-out ignores groups: it counts all outputs of a grouped convolution, although an
    input reaches those of its own group only. Fan-in is that of one group.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            fan = fan_in if kind == "he-fan-in" else fan_out
            module.weight.normal_(0.0, math.sqrt(2.0 / fan), generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.weight.fill_(1.0)
            module.bias.zero_()
