"""The attention module (section 3): trunk T, soft mask M, and how they combine.

The mask reads what the trunk reads, the output of the module's pre-processing units, and nothing of the trunk itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ranbench.models.interpolation import interpolate
from ranbench.models.layers import NormReLU, conv1x1, max_pool
from ranbench.models.units import PRE_ACTIVATION, Units

LOCAL_UNITS = 3  # section 4.1: the local mask has three residual units


@dataclass(frozen=True)
class MaskUnits:
    """Units of a mask after each pooling (``down``) and before each interpolation (``up``)."""

    down: int
    up: int


def _both_ways(r: int) -> MaskUnits:
    """r after each pooling and before each interpolation, so 2r at the bottom: figure 2 to the letter, the default."""
    return MaskUnits(r, r)


def _way_down(r: int) -> MaskUnits:
    """r after each pooling, one before each interpolation, so r + 1 at the bottom; the same net where r is 1.

    With r = 3 this brings Attention-452 within 2 % of the parameters of table 6, but contradicts figure 2's labels.
    """
    return MaskUnits(r, 1)


MASK_UNITS: Mapping[str, Callable[[int], MaskUnits]] = {"both-ways": _both_ways, "way-down": _way_down}


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


class UnbiasedSpatialAttention(nn.Module):
    """f3 with the unbiased deviation, the sum of squares over one position less; else as ``SpatialAttention``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=1, keepdim=True)
        return torch.sigmoid((x - mean) * torch.rsqrt(variance + 1e-5))


class Hourglass(nn.Module):
    """Pool, ``down`` units, one level deeper beside a skip unit, ``up`` units, interpolate back.

    (B, C, H, W) -> (B, C, H, W), figure 2, where down and up are r: 2r units at the lowest resolution and
    2 * r * poolings + (poolings - 1) in all. A skip is one unit whatever r is, and joins by sum. The
    interpolation is bilinear with corners aligned; its target size is that of the map before the pooling, which is the
    trunk's, and nothing is added there: the authors' layer takes the trunk only to read its size.
    """

    def __init__(self, channels: int, poolings: int, count: MaskUnits, units: Units):
        super().__init__()
        self.pool = max_pool()
        self.before = units.keeping(channels, count.down)
        self.deeper = Hourglass(channels, poolings - 1, count, units) if poolings > 1 else None
        self.skip = units.keeping(channels, 1) if poolings > 1 else None
        self.after = units.keeping(channels, count.up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        down = self.before(self.pool(x))  # (B, C, H // 2, W // 2)
        if self.deeper is not None and self.skip is not None:
            down = self.deeper(down) + self.skip(down)
        return interpolate(self.after(down), (x.shape[2], x.shape[3]))


class EncoderDecoder(nn.Sequential):
    """The hourglass and two 1x1 convolutions that keep the channels, without bias (the authors' definitions).

    BN and ReLU stand between the two, and before the first one where the units are pre-activated.
    """

    def __init__(self, channels: int, poolings: int, count: MaskUnits, units: Units):
        first = (NormReLU(channels),) if units.preactivated else ()
        super().__init__(
            Hourglass(channels, poolings, count, units),
            *first,
            conv1x1(channels, channels),
            NormReLU(channels),
            conv1x1(channels, channels),
        )


class LocalConvolutions(nn.Sequential):
    """Three residual units at full resolution (table 4).

    Without the pair of 1x1 convolutions, since only so do its multiply-adds match the encoder-decoder's, as the paper
    says they do; the paper does not say which units it used.
    """

    def __init__(self, channels: int, poolings: int, count: MaskUnits, units: Units):
        del poolings, count  # no sampling, and three units whatever r is
        super().__init__(*units.keeping(channels, LOCAL_UNITS))


COMBINATIONS: Mapping[str, Callable[[], nn.Module]] = {"residual": ResidualLearning, "naive": NaiveLearning}
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "mixed": MixedAttention,
    "channel": ChannelAttention,
    "spatial": SpatialAttention,
}
UNBIASED: Mapping[str, Callable[[], nn.Module]] = {**ACTIVATIONS, "spatial": UnbiasedSpatialAttention}
BRANCHES: Mapping[str, Callable[[int, int, MaskUnits, Units], nn.Module]] = {
    "encoder-decoder": EncoderDecoder,
    "local-convolutions": LocalConvolutions,
}


class SoftMask(nn.Sequential):
    """The mask branch and its activation: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, branch: nn.Module, activation: nn.Module):
        super().__init__(branch, activation)


class AttentionModule(nn.Module):
    """p units, trunk of t units beside the soft mask, combination, p units: (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: of input and output.
        poolings: of an encoder-decoder mask.
        p, t, r: numbers of units (section 3).
        r_scales: how r enters the mask, a key of ``MASK_UNITS``.
        learning: a key of ``COMBINATIONS``.
        attention: a key of ``ACTIVATIONS``.
        spatial_std: which deviation spatial attention divides by: biased, or a choice from ``UNBIASED``.
        mask: a key of ``BRANCHES``.
        units: the family of units.
    """

    def __init__(
        self,
        channels: int,
        poolings: int,
        *,
        p: int = 1,
        t: int = 2,
        r: int = 1,
        r_scales: str = "both-ways",
        learning: str = "residual",
        attention: str = "mixed",
        spatial_std: str = "biased",
        mask: str = "encoder-decoder",
        units: Units = PRE_ACTIVATION,
    ):
        super().__init__()
        self.before = units.keeping(channels, p)
        self.trunk = units.keeping(channels, t)
        branch = BRANCHES[mask](channels, poolings, MASK_UNITS[r_scales](r), units)
        activations = UNBIASED if spatial_std == "unbiased" else ACTIVATIONS
        self.mask = SoftMask(branch, activations[attention]())
        self.combine = COMBINATIONS[learning]()
        self.after = units.keeping(channels, p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        out: torch.Tensor = self.after(self.combine(self.mask(x), self.trunk(x)))
        return out
