"""The attention module: what the mask reads, its range, its sampling, and how it combines with the trunk."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ranbench.models import build
from ranbench.models.attention import (
    MASK_UNITS,
    AttentionModule,
    ChannelAttention,
    Hourglass,
    MaskUnits,
    MixedAttention,
    NaiveLearning,
    ResidualLearning,
    SpatialAttention,
    UnbiasedSpatialAttention,
)
from ranbench.models.layers import initialise, max_pool
from ranbench.models.units import PRE_ACTIVATION

CHANNELS = 16


def small_module(seed: int = 0, **options: str) -> AttentionModule:
    module = AttentionModule(CHANNELS, 2, **options)  # type: ignore[arg-type]
    initialise(module, "he-fan-in", torch.Generator().manual_seed(seed))
    return module


def tiny_hourglass(channels: int, poolings: int, r: int = 1) -> Hourglass:
    return Hourglass(channels, poolings, MaskUnits(r, r), PRE_ACTIVATION)


def some_maps(size: int = 8, count: int = 2) -> torch.Tensor:
    return torch.randn((count, CHANNELS, size, size), generator=torch.Generator().manual_seed(1))


def outputs_of(module: nn.Module) -> list[torch.Tensor]:
    """Collect what ``module`` gives from now on."""
    seen: list[torch.Tensor] = []
    module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach().clone()))
    return seen


def inputs_of(module: nn.Module) -> list[torch.Tensor]:
    """Collect what ``module`` reads from now on."""
    seen: list[torch.Tensor] = []

    def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].detach().clone())

    module.register_forward_pre_hook(note)
    return seen


def test_mask_and_trunk_read_the_output_of_the_units_before_them() -> None:
    module = small_module()
    before = outputs_of(module.before)
    mask_reads, trunk_reads = inputs_of(module.mask), inputs_of(module.trunk)

    module(some_maps())

    assert torch.equal(mask_reads[0], before[0])
    assert torch.equal(trunk_reads[0], before[0])


def test_the_module_is_the_closing_unit_of_the_combination() -> None:
    module, maps = small_module(), some_maps()
    masks, trunks = outputs_of(module.mask), outputs_of(module.trunk)

    result = module(maps)

    torch.testing.assert_close(result, module.after((1 + masks[0]) * trunks[0]))


def test_the_three_activations_of_a_hand_worked_map() -> None:
    x = torch.tensor([[[[3.0, -3.0]], [[4.0, 0.0]]]])  # (1, 2, 1, 2): channel 0 is 3, -3, channel 1 is 4, 0

    mixed, channel, spatial = MixedAttention()(x), ChannelAttention()(x), SpatialAttention()(x)

    # Channel: norms 5 and 3. Spatial: means 0 and 2, deviations 3 and 2, so +1 and -1 in both channels.
    torch.testing.assert_close(mixed, 1 / (1 + torch.exp(-x)))
    torch.testing.assert_close(channel, torch.tensor([[[[0.6, -1.0]], [[0.8, 0.0]]]]))
    torch.testing.assert_close(spatial, torch.tensor([[[[0.7310586, 0.2689414]] * 2]]).reshape(1, 2, 1, 2))


def test_the_unbiased_deviation_of_a_hand_worked_map_is_larger() -> None:
    x = torch.tensor([[[[3.0, -3.0]], [[4.0, 0.0]]]])

    spatial = UnbiasedSpatialAttention()(x)

    # sums of squares 18 and 8 over one position less than two: +-3 / sqrt(18) and +-2 / sqrt(8), 0.7071068
    torch.testing.assert_close(spatial, torch.tensor([[[[0.6697615, 0.3302385]] * 2]]).reshape(1, 2, 1, 2))


@pytest.mark.parametrize(
    ("options", "activation"),
    [
        ({"attention": "spatial"}, SpatialAttention),
        ({"attention": "spatial", "spatial_std": "biased"}, SpatialAttention),
        ({"attention": "spatial", "spatial_std": "unbiased"}, UnbiasedSpatialAttention),
        ({"attention": "mixed", "spatial_std": "unbiased"}, MixedAttention),
    ],
)
def test_a_net_has_the_deviation_that_is_chosen(options: dict[str, str], activation: type[nn.Module]) -> None:
    net = build("attention-56", options, (1, 8, 8), 10, form="digits")

    found = {type(module.mask[1]) for module in net.modules() if isinstance(module, AttentionModule)}

    assert found == {activation}


@pytest.mark.parametrize("activation", [ChannelAttention(), SpatialAttention(), UnbiasedSpatialAttention()])
def test_a_flat_map_of_zeros_gives_finite_values(activation: nn.Module) -> None:
    result = activation(torch.zeros(1, 3, 4, 4))

    assert torch.isfinite(result).all()


def test_the_combination_rules_of_hand_worked_values() -> None:
    mask, trunk = torch.tensor([0.25, 0.5, 1.0]), torch.tensor([4.0, -2.0, 0.0])

    residual, naive = ResidualLearning()(mask, trunk), NaiveLearning()(mask, trunk)

    assert residual.tolist() == [5.0, -3.0, 0.0]
    assert naive.tolist() == [1.0, -1.0, 0.0]


def test_the_mask_pools_from_32_to_16_to_8_to_4() -> None:
    hourglass = tiny_hourglass(8, 3)
    sizes = [
        outputs_of(module) for name, module in hourglass.named_modules() if name.rsplit(".", maxsplit=1)[-1] == "pool"
    ]

    result = hourglass(torch.zeros(1, 8, 32, 32))

    assert [tuple(seen[0].shape[2:]) for seen in sizes] == [(16, 16), (8, 8), (4, 4)]
    assert result.shape == (1, 8, 32, 32)


def test_the_pooling_windows_start_at_the_border() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)

    pooled = max_pool()(maps)

    # Rows 0-2 and 2-3, columns the same: with padding 1 the first would be 5.
    assert pooled.tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]


@pytest.mark.parametrize(
    ("r_scales", "r", "down", "up"),
    [
        ("both-ways", 1, 1, 1),
        ("both-ways", 2, 2, 2),
        ("both-ways", 3, 3, 3),
        ("way-down", 1, 1, 1),
        ("way-down", 2, 2, 1),
        ("way-down", 3, 3, 1),
    ],
)
def test_r_enters_both_ways_or_the_way_down_only(r_scales: str, r: int, down: int, up: int) -> None:
    assert MASK_UNITS[r_scales](r) == MaskUnits(down, up)


@pytest.mark.parametrize(("poolings", "r", "count"), [(1, 1, 2), (2, 1, 5), (3, 1, 8), (3, 3, 20)])
def test_the_mask_has_2rd_units_and_one_per_skip(poolings: int, r: int, count: int) -> None:
    hourglass = tiny_hourglass(8, poolings, r)

    assert sum(type(module).__name__ == "PreActivationUnit" for module in hourglass.modules()) == count


def test_the_interpolation_aligns_corners() -> None:
    hourglass = tiny_hourglass(4, 1)
    hourglass.before = hourglass.after = nn.Sequential()  # sampling alone
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)

    result = hourglass(maps)

    # The pooled map is 10, 11 / 14, 15: its values stand in the corners, thirds of the steps 4 and 1 between them.
    rows, columns = torch.arange(4.0)[:, None], torch.arange(4.0)[None, :]
    torch.testing.assert_close(result[0, 0], 10 + 4 * rows / 3 + columns / 3)


def test_the_way_up_adds_the_skip_and_nothing_else() -> None:
    hourglass = tiny_hourglass(CHANNELS, 2)
    initialise(hourglass, "he-fan-in", torch.Generator().manual_seed(0))
    assert hourglass.skip is not None
    assert hourglass.deeper is not None
    down, deeper = outputs_of(hourglass.before), outputs_of(hourglass.deeper)
    skip, joined = outputs_of(hourglass.skip), inputs_of(hourglass.after)
    up = outputs_of(hourglass.after)

    result = hourglass(some_maps())

    skip_reads, upsample = hourglass.skip(down[0]), nn.Upsample((8, 8), mode="bilinear", align_corners=True)
    torch.testing.assert_close(skip_reads, skip[0])
    torch.testing.assert_close(joined[0], deeper[0] + skip[0])
    torch.testing.assert_close(result, upsample(up[0]))
