"""What holds for attention nets of every option, on random weights and images, in float64 so that rounding is small."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ranbench.catalogue import ATTENTION_OPTIONS, R_SCALES, Modules, StagePlan
from ranbench.models.attention import AttentionModule
from ranbench.models.layers import initialise
from ranbench.models.ran import Plan, ResidualAttentionNet, cifar_stem
from ranbench.models.units import INCEPTION, POST_ACTIVATION, PRE_ACTIVATION, ResNeXtUnit, Units

CHANNELS = 16
FAMILIES = {
    "pre-activation": PRE_ACTIVATION,
    "post-activation": POST_ACTIVATION,
    # the authors' 32 groups need 64 channels or more
    "resnext": Units(lambda inputs, outputs, stride: ResNeXtUnit(inputs, outputs, stride, groups=2), False),
    "inception": INCEPTION,
}
TINY = Plan(cifar_stem, 16, (StagePlan(CHANNELS, 1, 2, 1), StagePlan(2 * CHANNELS, 2, 1, 1)))
NAMES = (*ATTENTION_OPTIONS, "r_scales", "units")
EVERYTHING = [
    dict(zip(NAMES, values, strict=True))
    for values in itertools.product(*ATTENTION_OPTIONS.values(), R_SCALES, FAMILIES)
]
# An attention module alone: how it combines is another test's matter.
EVERY_MASK = [options for options in EVERYTHING if options["learning"] == "residual"]

for_everything = pytest.mark.parametrize("options", EVERYTHING, ids=lambda options: "-".join(options.values()))
for_every_mask = pytest.mark.parametrize("options", EVERY_MASK, ids=lambda options: "-".join(options.values()))


def chosen(options: Mapping[str, str]) -> dict[str, Any]:
    return {**options, "units": FAMILIES[options["units"]]}


def tiny_module(options: Mapping[str, str], seed: int = 0, **others: str) -> AttentionModule:
    module = AttentionModule(CHANNELS, 2, r=2, **chosen({**options, **others})).double()
    initialise(module, "he-fan-in", torch.Generator().manual_seed(seed))
    return module


def tiny_net(options: Mapping[str, str], seed: int = 0) -> ResidualAttentionNet:
    """Two stages with one module each, r = 2, whose running statistics are not those of the start."""
    rest = chosen(options)
    modules = Modules((1, 1), r=2, r_scales=rest.pop("r_scales"))
    net = ResidualAttentionNet(TINY, modules, 3, 10, **rest).double()
    initialise(net, "he-fan-in", torch.Generator().manual_seed(seed))
    net.train()(some_images(16, seed=3))
    return net


def some_images(count: int, side: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_maps(height: int = 8, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn((3, CHANNELS, height, width), generator=generator, dtype=torch.float64)


def outputs_of(module: nn.Module) -> list[torch.Tensor]:
    """Collect what ``module`` gives from now on."""
    seen: list[torch.Tensor] = []
    module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach().clone()))
    return seen


@for_every_mask
def test_a_mask_keeps_its_range_at_even_and_odd_sizes(options: dict[str, str]) -> None:
    module = tiny_module(options)
    masks, branches = outputs_of(module.mask), outputs_of(module.mask[0])

    for size in ((8, 8), (9, 7)):
        module(some_maps(*size))

    for mask, branch in zip(masks, branches, strict=True):
        assert mask.shape == branch.shape
        if options["attention"] == "channel":
            zero = (branch == 0).all(dim=1)  # a zero vector has no direction: the mask is zero there
            torch.testing.assert_close(mask.norm(dim=1), (~zero).double())
            assert zero.double().mean() < 0.1
        else:
            assert 0 <= mask.min() < mask.max() <= 1


@for_every_mask
def test_naive_is_residual_minus_trunk_at_the_combination(options: dict[str, str]) -> None:
    residual, naive = tiny_module(options), tiny_module(options, learning="naive")
    trunks, with_trunk = outputs_of(residual.trunk), outputs_of(residual.combine)
    without_trunk = outputs_of(naive.combine)

    residual(some_maps())
    naive(some_maps())

    assert without_trunk[0].abs().max() > 0.01
    torch.testing.assert_close(without_trunk[0], with_trunk[0] - trunks[0], rtol=1e-12, atol=1e-12)


@for_every_mask
def test_other_trunk_weights_leave_the_mask_as_it_is_bit_for_bit(options: dict[str, str]) -> None:
    module, maps = tiny_module(options), some_maps()
    masks, results = outputs_of(module.mask), outputs_of(module)

    module(maps)
    initialise(module.trunk, "he-fan-in", torch.Generator().manual_seed(7))
    initialise(module.after, "he-fan-in", torch.Generator().manual_seed(8))
    module(maps)

    assert torch.equal(masks[0], masks[1])
    assert not torch.allclose(results[0], results[1])


@for_everything
def test_gradients_reach_every_parameter(options: dict[str, str]) -> None:
    net = tiny_net(options)

    functional.cross_entropy(net.train()(some_images(20)), torch.arange(20) % 10).backward()

    without = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@for_everything
def test_in_evaluation_an_image_does_not_see_its_neighbours(options: dict[str, str]) -> None:
    net = tiny_net(options).eval()
    images, others = some_images(4), some_images(4, seed=2)

    with torch.no_grad():
        together = net(images)
        among_others = net(torch.cat([images[:1], others[1:]]))
        alone = net(images[:1])

    assert not torch.allclose(together[1:], among_others[1:])
    torch.testing.assert_close(among_others[:1], together[:1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(alone, together[:1], rtol=1e-9, atol=1e-12)


@for_everything
def test_channels_last_equals_contiguous(options: dict[str, str]) -> None:
    net = tiny_net(options).eval()
    images = some_images(4)

    with torch.no_grad():
        contiguous = net(images)
        channels_last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))

    torch.testing.assert_close(channels_last, contiguous, rtol=1e-9, atol=1e-12)


@for_everything
def test_odd_sizes_work_and_every_mask_has_the_size_of_its_trunk(options: dict[str, str]) -> None:
    net = tiny_net(options).eval()
    modules = [module for module in net.modules() if isinstance(module, AttentionModule)]
    masks = [outputs_of(module.mask) for module in modules]
    trunks = [outputs_of(module.trunk) for module in modules]

    with torch.no_grad():
        logits = net(torch.zeros((1, 3, 9, 11), dtype=torch.float64))

    assert logits.shape == (1, 10)
    assert torch.isfinite(logits).all()
    assert [seen[0].shape for seen in masks] == [seen[0].shape for seen in trunks]
    assert [tuple(seen[0].shape[2:]) for seen in trunks] == [(9, 11), (5, 6)]
