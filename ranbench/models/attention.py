"""The attention module (section 3): trunk T, soft mask M, and how they combine.

The mask reads what the trunk reads, the output of the module's pre-processing units, and nothing of the trunk itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from ranbench.models.layers import NormReLU, conv1x1, max_pool
from ranbench.models.units import units

LOCAL_UNITS = 3  # section 4.1: the local mask has three residual units


class ResidualLearning(nn.Module):
    """H = (1 + M) * T, attention residual learning (equation 3)."""

    def forward(self, mask: torch.Tensor, trunk: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(trunk, mask, trunk)


class NaiveLearning(nn.Module):
    """H = M * T, naive attention learning (equation 1)."""

    def forward(self, mask: torch.Tensor, trunk: torch.Tensor) -> torch.Tensor:
        return mask * trunk


class MixedAttention(nn.Module):
    """f1: sigmoid at every position and channel (equation 4); in (0, 1)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x)


class ChannelAttention(nn.Module):
    """f2: x / ||x||, the L2 norm over the channels of each position (equation 5); may be negative, no sigmoid.

    The norm is held at 1e-12 or more against division by zero; the paper gives no such constant.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.normalize(x, dim=1, eps=1e-12)


class SpatialAttention(nn.Module):
    """f3: sigmoid((x - mean) / std) over the map of each channel of each image (equation 6); in (0, 1).

    The paper leaves open whether the standard deviation is the biased one and how a flat map is treated: biased here,
    with 1e-5 added to the variance, as in BatchNorm.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(functional.instance_norm(x, eps=1e-5))


class Hourglass(nn.Module):
    """Pool, r units, one level deeper with a skip unit (or r more units at the bottom), r units, interpolate back.

    (B, C, H, W) -> (B, C, H, W), figure 2. Units: 2 * r * poolings + (poolings - 1). A skip is one unit whatever r is,
    and joins by sum. The interpolation is bilinear with corners aligned; its target size is that of the map before
    the pooling, which is the trunk's, and nothing is added there.
    """

    def __init__(self, channels: int, poolings: int, r: int):
        super().__init__()
        self.pool = max_pool()
        self.before = units(channels, r)
        self.deeper = Hourglass(channels, poolings - 1, r) if poolings > 1 else None
        self.skip = units(channels, 1) if poolings > 1 else None
        self.after = units(channels, r)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        down = self.before(self.pool(x))  # (B, C, ~H/2, ~W/2)
        if self.deeper is not None and self.skip is not None:
            down = self.deeper(down) + self.skip(down)
        return functional.interpolate(self.after(down), size=x.shape[2:], mode="bilinear", align_corners=True)


class EncoderDecoder(nn.Sequential):
    """The hourglass and two 1x1 convolutions, BN and ReLU before each, no bias (the authors' definitions)."""

    def __init__(self, channels: int, poolings: int, r: int):
        super().__init__(
            Hourglass(channels, poolings, r),
            NormReLU(channels),
            conv1x1(channels, channels),
            NormReLU(channels),
            conv1x1(channels, channels),
        )


class LocalConvolutions(nn.Sequential):
    """Three residual units at full resolution (table 4).

    Without the pair of 1x1 convolutions, since only so do its multiply-adds match the encoder-decoder's, as the paper
    says they do; the paper does not say which units it used.
    """

    def __init__(self, channels: int, poolings: int, r: int):
        del poolings, r  # no sampling, and three units whatever r is
        super().__init__(*units(channels, LOCAL_UNITS))


COMBINATIONS: Mapping[str, Callable[[], nn.Module]] = {"residual": ResidualLearning, "naive": NaiveLearning}
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "mixed": MixedAttention,
    "channel": ChannelAttention,
    "spatial": SpatialAttention,
}
BRANCHES: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "encoder-decoder": EncoderDecoder,
    "local-convolutions": LocalConvolutions,
}


class SoftMask(nn.Sequential):
    """The mask branch and its activation: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, branch: nn.Module, activation: nn.Module):
        super().__init__(branch, activation)


class AttentionModule(nn.Module):
    """p units, trunk of t units beside the soft mask, combination, p units: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(
        self,
        channels: int,
        poolings: int,
        *,
        p: int = 1,
        t: int = 2,
        r: int = 1,
        learning: str = "residual",
        attention: str = "mixed",
        mask: str = "encoder-decoder",
    ):
        super().__init__()
        self.before = units(channels, p)
        self.trunk = units(channels, t)
        self.mask = SoftMask(BRANCHES[mask](channels, poolings, r), ACTIVATIONS[attention]())
        self.combine = COMBINATIONS[learning]()
        self.after = units(channels, p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        out: torch.Tensor = self.after(self.combine(self.mask(x), self.trunk(x)))
        return out
