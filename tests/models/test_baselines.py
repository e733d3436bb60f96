"""The nets without attention of table 6, layer by layer against the papers that define them."""

from __future__ import annotations

import pytest
from layer_graph import (
    Node,
    add,
    classifier,
    conv,
    differing,
    graph_of,
    image,
    in_order,
    norm_relu,
    on_meta,
    rows,
    trunk_depth,
)

MILLIONS = {"resnet-164": 1.70, "resnet-1001": 10.33, "wrn-16-8": 10.96, "wrn-28-10": 36.48}


IMAGE = (3, 32, 32)


def projected(x: Node, activated: Node, outputs: int, stride: int) -> Node:
    """The raw input where nothing changes, else a 1x1 convolution of the activated one."""
    changes = x.size[0] != outputs or stride != 1
    return conv(activated, outputs, 1, stride) if changes else x


def bottleneck(x: Node, outputs: int, stride: int) -> Node:
    """BN ReLU 1x1 (with the stride), BN ReLU 3x3, BN ReLU 1x1 (He et al. 2016, resnet-1k-layers)."""
    activated = norm_relu(x)
    body = norm_relu(conv(activated, outputs // 4, 1, stride))
    body = norm_relu(conv(body, outputs // 4, 3))
    return add(projected(x, activated, outputs, stride), conv(body, outputs, 1))


def basic(x: Node, outputs: int, stride: int) -> Node:
    """BN ReLU 3x3 (with the stride), BN ReLU 3x3, no dropout (Zagoruyko and Komodakis, 2016)."""
    activated = norm_relu(x)
    body = norm_relu(conv(activated, outputs, 3, stride))
    return add(projected(x, activated, outputs, stride), conv(body, outputs, 3))


def resnet(n: int, classes: int) -> Node:
    x = conv(image(3, 32, 32), 16, 3)
    for outputs, stride in ((64, 1), (128, 2), (256, 2)):
        x = bottleneck(x, outputs, stride)
        for _ in range(n - 1):
            x = bottleneck(x, outputs, 1)
    return classifier(norm_relu(x), classes)


def wide_resnet(n: int, k: int, classes: int) -> Node:
    x = conv(image(3, 32, 32), 16, 3)
    for outputs, stride in ((16 * k, 1), (32 * k, 2), (64 * k, 2)):
        x = basic(x, outputs, stride)
        for _ in range(n - 1):
            x = basic(x, outputs, 1)
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
    ],
    ids=lambda value: "" if isinstance(value, Node) else str(value),
)
def test_every_layer_is_that_of_the_cited_paper(name: str, classes: int, expected: Node) -> None:
    layers = rows(graph_of(name, "cifar", IMAGE, classes))

    assert differing(layers, rows(expected)) == []


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_the_counts_round_to_those_of_table_6(name: str, millions: float) -> None:
    net = on_meta(name, "cifar", IMAGE, 10)

    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "depth"), [("resnet-164", 164), ("resnet-1001", 1001)])
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
@pytest.mark.parametrize("name", MILLIONS)
def test_there_is_one_logit_per_class(name: str, num_classes: int) -> None:
    assert graph_of(name, "cifar", IMAGE, num_classes).size == (num_classes,)
