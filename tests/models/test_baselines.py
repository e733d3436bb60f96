"""The residual nets of table 6 and of squeeze and excitation, layer by layer against the papers that define them."""

from __future__ import annotations

import pytest
import torch
from layer_graph import (
    Node,
    add,
    classifier,
    conv,
    differing,
    graph_of,
    image,
    in_order,
    norm,
    norm_relu,
    on_meta,
    relu,
    rows,
    trunk_depth,
)

from ranbench.models.excitation import ExcitedBasicUnit, ExcitedUnit, SqueezeExcitation
from ranbench.models.units import PreActivationUnit, WideUnit

MILLIONS = {"resnet-164": 1.70, "resnet-1001": 10.33, "wrn-16-8": 10.96, "wrn-28-10": 36.48}
EXCITED = ("resnet-110", "se-resnet-110", "se-resnet-164")

IMAGE = (3, 32, 32)


def projected(x: Node, activated: Node, outputs: int, stride: int) -> Node:
    """The raw input where nothing changes, else a 1x1 convolution of the activated one."""
    changes = x.size[0] != outputs or stride != 1
    return conv(activated, outputs, 1, stride) if changes else x


def excited(x: Node) -> Node:
    """Average, C -> C / 16, ReLU, C / 16 -> C, sigmoid, times x (Hu et al., section 3)."""
    c = x.size[0]
    average = Node("average", (c,), (x,))
    hidden = relu(Node(f"linear {c}->{c // 16} bias", (c // 16,), (average,)))
    scale = Node("sigmoid", (c,), (Node(f"linear {c // 16}->{c} bias", (c,), (hidden,)),))
    return Node("mul", x.size, (x, scale))


def bottleneck(x: Node, outputs: int, stride: int, *, se: bool = False) -> Node:
    """BN ReLU 1x1 (with the stride), BN ReLU 3x3, BN ReLU 1x1 (He et al. 2016, resnet-1k-layers)."""
    activated = norm_relu(x)
    body = norm_relu(conv(activated, outputs // 4, 1, stride))
    body = norm_relu(conv(body, outputs // 4, 3))
    last = conv(body, outputs, 1)
    return add(projected(x, activated, outputs, stride), excited(last) if se else last)


def original(x: Node, outputs: int, stride: int) -> Node:
    """1x1 BN ReLU (with the stride), 3x3 BN ReLU, 1x1 BN, sum, ReLU; 1x1 BN of x beside it (He et al. 2015)."""
    body = norm_relu(conv(x, outputs // 4, 1, stride))
    body = norm_relu(conv(body, outputs // 4, 3))
    last = norm(conv(body, outputs, 1))
    changes = x.size[0] != outputs or stride != 1
    return relu(add(norm(conv(x, outputs, 1, stride)) if changes else x, last))


def basic(x: Node, outputs: int, stride: int, *, se: bool = False) -> Node:
    """BN ReLU 3x3 (with the stride), BN ReLU 3x3, no dropout (Zagoruyko and Komodakis, 2016)."""
    activated = norm_relu(x)
    body = norm_relu(conv(activated, outputs, 3, stride))
    last = conv(body, outputs, 3)
    return add(projected(x, activated, outputs, stride), excited(last) if se else last)


def resnet(n: int, classes: int, *, se: bool = False) -> Node:
    x = conv(image(3, 32, 32), 16, 3)
    for outputs, stride in ((64, 1), (128, 2), (256, 2)):
        x = bottleneck(x, outputs, stride, se=se)
        for _ in range(n - 1):
            x = bottleneck(x, outputs, 1, se=se)
    return classifier(norm_relu(x), classes)


def original_resnet(n: int, classes: int) -> Node:
    x = norm_relu(conv(image(3, 32, 32), 16, 3))
    for outputs, stride in ((64, 1), (128, 2), (256, 2)):
        x = original(x, outputs, stride)
        for _ in range(n - 1):
            x = original(x, outputs, 1)
    return classifier(x, classes)


def wide_resnet(n: int, k: int, classes: int, *, se: bool = False) -> Node:
    x = conv(image(3, 32, 32), 16, 3)
    for outputs, stride in ((16 * k, 1), (32 * k, 2), (64 * k, 2)):
        x = basic(x, outputs, stride, se=se)
        for _ in range(n - 1):
            x = basic(x, outputs, 1, se=se)
    return classifier(norm_relu(x), classes)


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("resnet-164", 10, resnet(18, 10)),
        ("resnet-164", 100, resnet(18, 100)),
        ("resnet-1001", 10, resnet(111, 10)),
        ("wrn-16-8", 10, wide_resnet(2, 8, 10)),
        ("wrn-28-10", 10, wide_resnet(4, 10, 10)),
        ("wrn-28-10", 100, wide_resnet(4, 10, 100)),
        ("resnet-110", 10, wide_resnet(18, 1, 10)),
        ("se-resnet-110", 100, wide_resnet(18, 1, 100, se=True)),
        ("se-resnet-164", 10, resnet(18, 10, se=True)),
    ],
    ids=lambda value: "" if isinstance(value, Node) else str(value),
)
def test_every_layer_is_that_of_the_cited_paper(name: str, classes: int, expected: Node) -> None:
    layers = rows(graph_of(name, "cifar", IMAGE, classes))

    assert differing(layers, rows(expected)) == []


@pytest.mark.parametrize(("name", "n"), [("resnet-164", 18), ("resnet-1001", 111)])
def test_every_layer_of_a_post_activated_resnet_is_that_of_units_of_2015(name: str, n: int) -> None:
    layers = rows(graph_of(name, "cifar", IMAGE, 10, unit_order="post-activation"))

    assert differing(layers, rows(original_resnet(n, 10))) == []


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_the_counts_round_to_those_of_table_6(name: str, millions: float) -> None:
    net = on_meta(name, "cifar", IMAGE, 10)

    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("name", "depth"),
    [("resnet-164", 164), ("resnet-1001", 1001), ("resnet-110", 110), ("se-resnet-110", 110), ("se-resnet-164", 164)],
)
def test_a_resnet_is_named_for_the_weighted_layers_of_its_longest_way(name: str, depth: int) -> None:
    assert trunk_depth(graph_of(name, "cifar", IMAGE, 10)) == depth


@pytest.mark.parametrize(("name", "convolutions"), [("wrn-16-8", 16), ("wrn-28-10", 28)])
def test_a_wide_resnet_is_named_for_its_convolutions_with_the_projections(name: str, convolutions: int) -> None:
    layers = [node for node in in_order(graph_of(name, "cifar", IMAGE, 10)) if node.word == "conv"]

    assert len(layers) == convolutions
    assert len([node for node in layers if " 1x1 " in node.op]) == 3


@pytest.mark.parametrize("name", ["resnet-164", "wrn-16-8"])
@pytest.mark.parametrize("side", [1, 4, 33])
def test_images_of_any_size_are_taken(side: int, name: str) -> None:
    assert graph_of(name, "cifar", (3, side, side), 10).size == (10,)


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize("name", [*MILLIONS, *EXCITED])
def test_there_is_one_logit_per_class(name: str, num_classes: int) -> None:
    assert graph_of(name, "cifar", IMAGE, num_classes).size == (num_classes,)


def test_squeeze_and_excitation_of_hand_worked_maps() -> None:
    block = SqueezeExcitation(32).eval()
    first, second = block.mask[0][1], block.mask[0][3]
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, 0] = torch.tensor([1.0, -1.0])  # the mean of channel 0, and its negative, which ReLU cuts off
        first.bias.zero_()
        second.weight.zero_()
        second.weight[:, 0] = 1.0
        second.bias.fill_(-2.0)
    x = torch.ones(1, 32, 2, 2)
    x[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 2.0]])  # mean 2, so s = sigmoid(2 - 2) = 1/2 in every channel

    assert (first.weight.shape, second.weight.shape) == ((2, 32), (32, 2))
    torch.testing.assert_close(block(x), x / 2)


@pytest.mark.parametrize("channels", [1, 8, 15, 16])
def test_few_channels_are_squeezed_to_one_at_least(channels: int) -> None:
    block = SqueezeExcitation(channels)

    assert block.mask[0][1].out_features == 1
    assert block(torch.zeros(2, channels, 3, 3)).shape == (2, channels, 3, 3)


@pytest.mark.parametrize(
    ("excited_unit", "unit"),
    [(ExcitedUnit(32, 8), PreActivationUnit(32, 8)), (ExcitedBasicUnit(32, 32), WideUnit(32, 32))],
)
def test_what_a_unit_adds_is_scaled_and_its_shortcut_is_not(
    excited_unit: ExcitedUnit | ExcitedBasicUnit, unit: PreActivationUnit | WideUnit
) -> None:
    unit.norm, unit.body = excited_unit.norm, excited_unit.body[0]
    block, x = excited_unit.body[1], torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    unit.eval()
    excited_unit.eval()

    added = unit(x) - x

    torch.testing.assert_close(excited_unit(x), x + block(added))
