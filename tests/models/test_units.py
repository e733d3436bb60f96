"""Residual units of every family, the head, and the initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from layer_graph import on_meta
from torch import nn
from torch.nn import functional

from ranbench.catalogue import NETS
from ranbench.models import build, initialise
from ranbench.models.excitation import SqueezeExcitation
from ranbench.models.layers import Head, Initialisation, Norm, conv1x1, conv3x3, conv7x7
from ranbench.models.units import (
    INCEPTION,
    PRE_ACTIVATION,
    RESNEXT,
    InceptionUnit,
    OriginalUnit,
    PostActivationUnit,
    PreActivationUnit,
    ResNeXtUnit,
)

OURS = [name for name, info in NETS.items() if info.library is None]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ours() -> dict[str, nn.Module]:
    return {name: on_meta(name, NETS[name].forms[0], (3, 64, 64), 10) for name in OURS}


def digits(name: str) -> nn.Module:
    return build(name, {}, (1, 8, 8), 10, form="digits")


def weights_of_digits_net(seed: int) -> dict[str, torch.Tensor]:
    net = digits("attention-56")
    initialise(net, "he-fan-in", generator(seed))
    return {name: value.clone() for name, value in net.state_dict().items()}


def normalised(x: torch.Tensor) -> torch.Tensor:
    """ReLU of BatchNorm with the batch's statistics and unit scale."""
    return functional.relu(centred(x))


def centred(x: torch.Tensor) -> torch.Tensor:
    """BatchNorm with the batch's statistics and unit scale."""
    return functional.batch_norm(x, None, None, training=True, eps=1e-5)


def test_a_unit_that_keeps_width_and_size_adds_to_the_raw_input() -> None:
    unit = PreActivationUnit(16, 4)
    maps = torch.randn((3, 16, 8, 8), generator=generator())
    first, second, third = (module for module in unit.body if isinstance(module, nn.Conv2d))

    result = unit(maps)

    inner = first(normalised(maps))
    expected = maps + third(normalised(second(normalised(inner))))
    assert unit.projection is None
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (8, 2), (16, 2)])
def test_a_unit_that_changes_width_or_size_projects_the_activated_input(inputs: int, stride: int) -> None:
    unit = PreActivationUnit(inputs, 4, stride)
    maps = torch.randn((3, inputs, 8, 8), generator=generator())
    assert unit.projection is not None

    result = unit(maps)

    activated = normalised(maps)
    assert result.shape == (3, 16, 8 // stride, 8 // stride)
    torch.testing.assert_close(result, unit.projection(activated) + unit.body(activated))


@pytest.mark.parametrize(("stride_first", "strides"), [(False, [1, 2, 1]), (True, [2, 1, 1])])
@pytest.mark.parametrize("kind", [PreActivationUnit, OriginalUnit])
def test_the_stride_stands_in_the_3x3_or_in_the_first_1x1(
    kind: type[PreActivationUnit | OriginalUnit], stride_first: bool, strides: list[int]
) -> None:
    unit = kind(16, 8, 2, stride_first=stride_first)

    convolutions = [module for module in unit.body if isinstance(module, nn.Conv2d)]

    assert [module.kernel_size[0] for module in convolutions] == [1, 3, 1]
    assert [module.stride[0] for module in convolutions] == strides


def test_no_convolution_has_a_bias_and_fully_connected_layers_have_one() -> None:
    with_bias = {
        (name, part)
        for name, net in ours().items()
        for part, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
    }
    excitation = {
        (name, f"{part}.mask.0.{layer}")
        for name, net in ours().items()
        for part, module in net.named_modules()
        for layer in (1, 3)
        if isinstance(module, SqueezeExcitation)
    }

    assert len(excitation) == 2 * 2 * 54
    assert with_bias - excitation == {(name, "head.classifier") for name in OURS}


def test_every_batch_norm_of_every_net_has_the_authors_constants() -> None:
    constants = {
        (type(module), module.eps, module.momentum, module.affine, module.track_running_stats)
        for net in ours().values()
        for module in net.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }

    assert constants == {(Norm, 1e-5, 0.1, True, True)}


@pytest.mark.parametrize("stride", [1, 2])
def test_a_resnext_unit_ends_in_the_relu_of_the_sum_and_projects_the_plain_input(stride: int) -> None:
    unit = ResNeXtUnit(8, 16, stride, groups=2)
    maps = torch.randn((3, 8, 8, 8), generator=generator())
    first, second, third, shortcut = (module for module in unit.modules() if isinstance(module, nn.Conv2d))

    result = unit(maps)

    body = centred(third(normalised(second(normalised(first(maps))))))
    assert result.shape == (3, 16, 8 // stride, 8 // stride)
    assert (second.groups, second.in_channels, second.stride) == (2, 8, (stride, stride))
    torch.testing.assert_close(result, functional.relu(centred(shortcut(maps)) + body))


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (8, 2), (16, 2)])
def test_a_bottleneck_of_2015_ends_in_the_relu_of_the_sum_and_projects_the_plain_input(
    inputs: int, stride: int
) -> None:
    unit = OriginalUnit(inputs, 4, stride)
    maps = torch.randn((3, inputs, 8, 8), generator=generator())
    first, second, third, shortcut = (module for module in unit.modules() if isinstance(module, nn.Conv2d))

    result = unit(maps)

    body = centred(third(normalised(second(normalised(first(maps))))))
    assert result.shape == (3, 16, 8 // stride, 8 // stride)
    torch.testing.assert_close(result, functional.relu(centred(shortcut(maps)) + body))


@pytest.mark.parametrize(
    "unit",
    [OriginalUnit(16, 4), ResNeXtUnit(16, 16, groups=2), InceptionUnit(16, 16)],
    ids=["original", "resnext", "inception"],
)
def test_a_post_activated_unit_that_keeps_width_and_size_adds_to_its_plain_input(unit: PostActivationUnit) -> None:
    maps = torch.randn((3, 16, 8, 8), generator=generator())

    result = unit(maps)

    assert unit.projection is None
    torch.testing.assert_close(result, functional.relu(maps + unit.body(maps)))


def test_an_authors_resnext_unit_has_32_groups_and_half_the_outputs_inside() -> None:
    layers = [module for module in RESNEXT.make(64, 256, 1).modules() if isinstance(module, nn.Conv2d)]

    shapes = [(layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.groups) for layer in layers]

    assert shapes == [(64, 128, 1, 1), (128, 128, 3, 32), (128, 256, 1, 1), (64, 256, 1, 1)]


def test_a_unit_of_the_inception_reconstruction_weighs_as_much_as_a_pre_activation_unit() -> None:
    weights = [
        sum(layer.weight.numel() for layer in unit.modules() if isinstance(layer, nn.Conv2d))
        for unit in (INCEPTION.make(256, 256, 1), PRE_ACTIVATION.make(256, 256, 1))
    ]

    # 1x1 and 1x1 3x3, 48 wide, joined, 1x1 to 256; bottleneck of 64
    assert weights == [2 * 256 * 48 + 9 * 48 * 48 + 2 * 48 * 256, 256 * 64 + 9 * 64 * 64 + 64 * 256]
    assert weights[0] / weights[1] == pytest.approx(17.0625 / 17)


def test_the_head_averages_over_the_whole_map() -> None:
    head = Head(2, 3)
    maps = torch.randn((4, 2, 5, 7), generator=generator())

    logits = head(maps)

    pooled = normalised(maps).reshape(4, 2, 35).mean(dim=2)
    torch.testing.assert_close(logits, head.classifier(pooled))


@pytest.mark.parametrize(
    ("kind", "layer", "variance"),
    [
        ("he-fan-in", conv3x3(32, 64), 2 / (9 * 32)),
        ("he-fan-out", conv3x3(32, 64), 2 / (9 * 64)),
        # grouped: fan-in is what one output reads, fan-out counts all outputs, as in the authors' framework
        ("he-fan-in", conv3x3(64, 128, groups=32), 2 / (9 * 2)),
        ("he-fan-out", conv3x3(64, 128, groups=32), 2 / (9 * 128)),
        ("he-fan-in", conv7x7(3, 64, 2), 2 / (49 * 3)),
        ("he-fan-in", conv1x1(64, 256), 2 / 64),
        ("he-fan-out", conv1x1(64, 256), 2 / 256),
        ("he-fan-in", nn.Linear(256, 100), 2 / 256),
        ("he-fan-out", nn.Linear(256, 100), 2 / 100),
    ],
)
def test_weights_have_mean_zero_and_variance_2_over_fan(
    kind: Initialisation, layer: nn.Module, variance: float
) -> None:
    initialise(layer, kind, generator())

    weights = next(layer.parameters()).detach().double()

    # Five standard errors of the mean and of the variance of a Gaussian sample.
    assert abs(weights.mean()) < 5 * math.sqrt(variance / weights.numel())
    assert float(weights.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / weights.numel()))


def test_biases_start_at_zero_and_batch_norm_as_the_identity() -> None:
    net = digits("attention-56")
    net(torch.rand((4, 1, 8, 8), generator=generator()))  # running statistics that are to be set back
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(9.0)

    initialise(net, "he-fan-in", generator())

    state = {name: set(value.flatten().tolist()) for name, value in net.state_dict().items()}
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert state["head.classifier.bias"] == {0.0}
    assert norms
    for name in norms:
        start = [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        assert start == [{1.0}, {0.0}, {0.0}, {1.0}]


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = weights_of_digits_net(seed=5)
    torch.manual_seed(2)
    again, other = weights_of_digits_net(seed=5), weights_of_digits_net(seed=6)

    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name, value in first.items() if value.dim() > 1]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_initialisation_leaves_the_global_random_state_alone() -> None:
    net = digits("attention-56")
    before = torch.get_rng_state()

    initialise(net, "he-fan-in", generator())

    assert torch.equal(torch.get_rng_state(), before)
