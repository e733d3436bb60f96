"""Residual units, x + f(x), and the families of them that attention nets are built of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ranbench.models.layers import Norm, NormReLU, conv1x1, conv3x3

EXPANSION = 4
CARDINALITY = 32  # groups of the 3x3 convolutions in the authors' AttentionNeXt definitions


class PreActivated(nn.Module):
    """shortcut(x) + body(a), with a = ReLU(BN(x)).

    (B, inputs, H, W) -> (B, outputs, H / stride, W / stride). Where width or stride changes, the shortcut is a 1x1
    convolution of a; otherwise it is the raw x (the authors' definitions; He et al. 2016).
    """

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm = NormReLU(inputs)
        self.body = body
        self.projection = conv1x1(inputs, outputs, stride) if inputs != outputs or stride != 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.norm(x)
        shortcut = x if self.projection is None else self.projection(activated)
        out: torch.Tensor = shortcut + self.body(activated)
        return out


class PreActivationUnit(PreActivated):
    """The bottleneck: BN ReLU 1x1, BN ReLU 3x3, BN ReLU 1x1, with 4 * inner outputs.

    The authors' attention nets stride in the 3x3 convolution, the ResNets of He et al. in the first 1x1
    (``stride_first``).
    """

    def __init__(self, inputs: int, inner: int, stride: int = 1, *, stride_first: bool = False):
        outputs = EXPANSION * inner
        body = nn.Sequential(
            conv1x1(inputs, inner, stride if stride_first else 1),
            NormReLU(inner),
            conv3x3(inner, inner, 1 if stride_first else stride),
            NormReLU(inner),
            conv1x1(inner, outputs),
        )
        super().__init__(body, inputs, outputs, stride)


class WideUnit(PreActivated):
    """The basic unit of wide ResNets: BN ReLU 3x3, BN ReLU 3x3 (Zagoruyko and Komodakis, 2016).

    The first 3x3 carries the stride. Without dropout, as in the rows that table 6 cites.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        body = nn.Sequential(conv3x3(inputs, outputs, stride), NormReLU(outputs), conv3x3(outputs, outputs))
        super().__init__(body, inputs, outputs, stride)


class PostActivationUnit(nn.Module):
    """ReLU(shortcut(x) + body(x)); the body ends in BN.

    (B, inputs, H, W) -> (B, outputs, H / stride, W / stride). Where width or stride changes, the shortcut is a 1x1
    convolution with BN of the plain input, otherwise the input itself.
    """

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = body
        changes = inputs != outputs or stride != 1
        self.projection = nn.Sequential(conv1x1(inputs, outputs, stride), Norm(outputs)) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.projection is None else self.projection(x)
        return functional.relu(shortcut + self.body(x))


class OriginalUnit(PostActivationUnit):
    """The bottleneck of He et al. (2015): 1x1 BN ReLU, 3x3 BN ReLU, 1x1 BN, with 4 * inner outputs.

    It takes its stride where the pre-activated bottleneck of the same net does: the attention nets stride in the 3x3
    convolution, the ResNets in the first 1x1 (``stride_first``), as He et al. do.
    """

    def __init__(self, inputs: int, inner: int, stride: int = 1, *, stride_first: bool = False):
        outputs = EXPANSION * inner
        body = nn.Sequential(
            conv1x1(inputs, inner, stride if stride_first else 1),
            NormReLU(inner),
            conv3x3(inner, inner, 1 if stride_first else stride),
            NormReLU(inner),
            conv1x1(inner, outputs),
            Norm(outputs),
        )
        super().__init__(body, inputs, outputs, stride)


class ResNeXtUnit(PostActivationUnit):
    """Body: 1x1 BN ReLU, 3x3 in groups BN ReLU, 1x1 BN; inner width half the outputs (the authors' definitions).

    The 3x3 carries the stride, as in Xie et al. (2017).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, groups: int = CARDINALITY):
        inner = outputs // 2
        body = nn.Sequential(
            conv1x1(inputs, inner),
            NormReLU(inner),
            conv3x3(inner, inner, stride, groups),
            NormReLU(inner),
            conv1x1(inner, outputs),
            Norm(outputs),
        )
        super().__init__(body, inputs, outputs, stride)


class Branches(nn.Module):
    """Branches side by side, joined along the channels: (B, C, H, W) -> (B, sum of their channels, H', W')."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class InceptionUnit(PostActivationUnit):
    """Body: 1x1 beside 1x1 3x3, each with BN ReLU, joined, then 1x1 BN. A reconstruction of ours, not the authors'.

    The paper says no more than "simplified Inception unit" (section 4.2). This is the residual unit of Inception-ResNet
    (Szegedy et al. 2017, figure 16) without its third branch, so that the longest path has the three weighted layers
    that the name AttentionInception-56 counts. Both branches are 3/16 of the outputs wide, which gives a unit as many
    weights as the pre-activation unit has (17.06 against 17 times the square of a quarter of the outputs), since
    table 7 lists both nets with one size. The layers that end a branch carry the stride.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        inner = 3 * outputs // 16
        body = nn.Sequential(
            Branches(
                nn.Sequential(conv1x1(inputs, inner, stride), NormReLU(inner)),
                nn.Sequential(conv1x1(inputs, inner), NormReLU(inner), conv3x3(inner, inner, stride), NormReLU(inner)),
            ),
            conv1x1(2 * inner, outputs),
            Norm(outputs),
        )
        super().__init__(body, inputs, outputs, stride)


@dataclass(frozen=True)
class Units:
    """A family of units: ``make(inputs, outputs, stride)`` builds one; ``preactivated`` says where BN and ReLU stand.

    After pre-activated units, what reads them normalises first: the pair of 1x1 convolutions of a mask and the head.
    Post-activated units bring their own BN and ReLU, and the authors' definitions of such a net, AttentionNeXt, repeat
    neither. The post-activated nets of CIFAR and digits, which the paper does not describe, follow them in this.
    """

    make: Callable[[int, int, int], nn.Module]
    preactivated: bool

    def keeping(self, channels: int, count: int) -> nn.Sequential:
        """``count`` units that keep shape: (B, C, H, W) -> (B, C, H, W)."""
        return nn.Sequential(*(self.make(channels, channels, 1) for _ in range(count)))


def _pre_activation(inputs: int, outputs: int, stride: int) -> PreActivationUnit:
    return PreActivationUnit(inputs, outputs // EXPANSION, stride)


def _post_activation(inputs: int, outputs: int, stride: int) -> OriginalUnit:
    return OriginalUnit(inputs, outputs // EXPANSION, stride)


PRE_ACTIVATION = Units(_pre_activation, preactivated=True)
POST_ACTIVATION = Units(_post_activation, preactivated=False)
RESNEXT = Units(ResNeXtUnit, preactivated=False)
INCEPTION = Units(InceptionUnit, preactivated=False)
