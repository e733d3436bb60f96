"""Residual units, the ResNet made of them, and the initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from ranbench.models import build, initialise
from ranbench.models.baselines import PreActivationResNet
from ranbench.models.layers import Head, Initialisation, conv1x1, conv3x3
from ranbench.models.units import PreActivationUnit


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits_net(seed: int) -> dict[str, torch.Tensor]:
    net = build("attention-56", {}, (1, 8, 8), 10)
    initialise(net, "he-fan-in", generator(seed))
    return {name: value.clone() for name, value in net.state_dict().items()}


def normalised(x: torch.Tensor) -> torch.Tensor:
    """ReLU of BatchNorm with the batch's statistics and unit scale."""
    return functional.relu(functional.batch_norm(x, None, None, training=True, eps=1e-5))


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
def test_the_stride_stands_in_the_3x3_or_in_the_first_1x1(stride_first: bool, strides: list[int]) -> None:
    unit = PreActivationUnit(16, 8, 2, stride_first=stride_first)

    convolutions = [module for module in unit.body if isinstance(module, nn.Conv2d)]

    assert [module.kernel_size[0] for module in convolutions] == [1, 3, 1]
    assert [module.stride[0] for module in convolutions] == strides


def test_no_convolution_has_a_bias_and_the_classifier_has_one() -> None:
    nets = [build(name, {}, (1, 8, 8), 10) for name in ("attention-56", "resnet-164")]

    with_bias = [
        name
        for net in nets
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
    ]

    assert with_bias == ["head.classifier", "head.classifier"]


def test_batch_norm_has_the_authors_constants() -> None:
    net = build("attention-56", {}, (1, 8, 8), 10)

    constants = {
        (module.eps, module.momentum, module.affine) for module in net.modules() if isinstance(module, nn.BatchNorm2d)
    }

    assert constants == {(1e-5, 0.1, True)}


def test_the_resnet_has_a_bare_stem_and_eighteen_units_a_stage_that_stride_first() -> None:
    net = build("resnet-164", {}, (3, 32, 32), 10)
    assert isinstance(net, PreActivationResNet)

    units = [[unit for unit in stage.children() if isinstance(unit, PreActivationUnit)] for stage in net.stages]

    assert isinstance(net.stem, nn.Conv2d)
    assert [len(stage) for stage in units] == [18, 18, 18]
    assert [[unit.projection is not None for unit in stage].count(True) for stage in units] == [1, 1, 1]
    assert [stage[0].body[0].stride for stage in units] == [(1, 1), (2, 2), (2, 2)]  # type: ignore[union-attr]


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
    net = build("attention-56", {}, (1, 8, 8), 10)
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
    first = digits_net(seed=5)
    torch.manual_seed(2)
    again, other = digits_net(seed=5), digits_net(seed=6)

    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name, value in first.items() if value.dim() > 1]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_initialisation_leaves_the_global_random_state_alone() -> None:
    net = build("attention-56", {}, (1, 8, 8), 10)
    before = torch.get_rng_state()

    initialise(net, "he-fan-in", generator())

    assert torch.equal(torch.get_rng_state(), before)
