"""The attention nets as FACTS.md sections 2 to 4 describe them, written as graphs without the code under test.

The paper's and the authors' words are followed line by line, in another order than the product code: a mask goes down
and up in two loops where the code nests hourglasses.
"""

from __future__ import annotations

from collections.abc import Callable

from layer_graph import (
    Node,
    add,
    classifier,
    concatenate,
    conv,
    image,
    interpolate,
    mul,
    norm,
    norm_relu,
    pool,
    relu,
)

Unit = Callable[[Node, int, int], Node]


def pre_activation(x: Node, outputs: int, stride: int = 1) -> Node:
    """BN, ReLU, 1x1 (w), BN, ReLU, 3x3 (w, carries the stride), BN, ReLU, 1x1 (4w), sum (FACTS 3.1)."""
    activated = norm_relu(x)
    body = conv(activated, outputs // 4, 1)
    body = conv(norm_relu(body), outputs // 4, 3, stride)
    body = conv(norm_relu(body), outputs, 1)
    changes = x.size[0] != outputs or stride != 1
    return add(conv(activated, outputs, 1, stride) if changes else x, body)


def post_activation(x: Node, outputs: int, stride: int = 1) -> Node:
    """1x1-BN-ReLU, 3x3-BN-ReLU (carries the stride), 1x1-BN, sum, ReLU; 1x1-BN of x beside it (He et al. 2015)."""
    body = norm_relu(conv(x, outputs // 4, 1))
    body = norm_relu(conv(body, outputs // 4, 3, stride))
    body = norm(conv(body, outputs, 1))
    changes = x.size[0] != outputs or stride != 1
    return relu(add(norm(conv(x, outputs, 1, stride)) if changes else x, body))


def resnext(x: Node, outputs: int, stride: int = 1) -> Node:
    """1x1-BN-ReLU, 3x3 group 32-BN-ReLU, 1x1-BN, sum, ReLU; inner 128/256/512/1024 for 256/512/1024/2048 (FACTS 3.1).

    Which layer carries the stride is not written there; Xie et al. (2017) and ResNets of that year: the 3x3.
    """
    inner = outputs // 2
    body = norm_relu(conv(x, inner, 1))
    body = norm_relu(conv(body, inner, 3, stride, groups=32))
    body = norm(conv(body, outputs, 1))
    changes = x.size[0] != outputs or stride != 1
    return relu(add(norm(conv(x, outputs, 1, stride)) if changes else x, body))


def inception(x: Node, outputs: int, stride: int = 1) -> Node:
    """The reconstruction as its docstring defines it: 1x1 beside 1x1 3x3, 3/16 of the outputs each, joined, 1x1 BN."""
    inner = 3 * outputs // 16
    short = norm_relu(conv(x, inner, 1, stride))
    long = norm_relu(conv(norm_relu(conv(x, inner, 1)), inner, 3, stride))
    body = norm(conv(concatenate(short, long), outputs, 1))
    changes = x.size[0] != outputs or stride != 1
    return relu(add(norm(conv(x, outputs, 1, stride)) if changes else x, body))


def chain(x: Node, unit: Unit, count: int) -> Node:
    """``count`` units that keep the shape."""
    for _ in range(count):
        x = unit(x, x.size[0], 1)
    return x


def sampled_mask(x: Node, unit: Unit, poolings: int, up: int, down: int) -> Node:
    """{max-pool, units} down, units and {interpolate} up, a unit on each skip, joined by sum (FACTS 2, 3.1)."""
    levels = [x]
    for _ in range(poolings):
        levels.append(chain(pool(levels[-1]), unit, down))
    x = chain(levels[-1], unit, up)
    for level in reversed(levels[1:-1]):
        x = chain(add(interpolate(x, level), unit(level, level.size[0], 1)), unit, up)
    return interpolate(x, levels[0])


def two_1x1(x: Node, unit: Unit) -> Node:
    """BN, ReLU, 1x1, BN, ReLU, 1x1 after pre-activation units; after the others without the first BN and ReLU."""
    first = conv(norm_relu(x) if unit is pre_activation else x, x.size[0], 1)
    return conv(norm_relu(first), x.size[0], 1)


def attention_module(
    x: Node,
    unit: Unit,
    poolings: int,
    *,
    p: int = 1,
    t: int = 2,
    down: int = 1,
    up: int = 1,
    local: bool = False,
) -> Node:
    """p units, t trunk units and the mask, product, sum with the trunk, p units (FACTS 2)."""
    x = chain(x, unit, p)
    trunk = chain(x, unit, t)
    branch = chain(x, unit, 3) if local else two_1x1(sampled_mask(x, unit, poolings, up, down), unit)
    mask = Node("sigmoid", branch.size, (branch,))
    return chain(add(mul(mask, trunk), trunk), unit, p)


def imagenet_stem(side: int) -> Node:
    """conv 7x7/2, 64 -> BN -> ReLU -> max-pool 3x3/2."""
    return pool(norm_relu(conv(image(3, side, side), 64, 7, 2)))


def imagenet_net(unit: Unit, modules: tuple[int, int, int], side: int = 224) -> Node:
    """Unit and modules at 256, 512, 1024 channels, three units at 2048, average, 1000 classes (FACTS 3.1)."""
    x = imagenet_stem(side)
    for outputs, stride, poolings, count in zip((256, 512, 1024), (1, 2, 2), (3, 2, 1), modules, strict=True):
        x = unit(x, outputs, stride)
        for _ in range(count):
            x = attention_module(x, unit, poolings)
    x = chain(unit(x, 2048, 2), unit, 2)
    return classifier(norm_relu(x) if unit is pre_activation else x, 1000)


def cifar_net(m: int, classes: int = 10, side: int = 32, *, unit: Unit = pre_activation, **options: int | bool) -> Node:
    """3x3 stem of 16, unit, m modules, unit at 64, 128, 256 channels, BN, ReLU, average, classes (FACTS 4.2).

    No BN, ReLU before the average after other than pre-activation units, as in the authors' AttentionNeXt.
    """
    x = norm_relu(conv(image(3, side, side), 16, 3))
    for outputs, stride, poolings in ((64, 1, 3), (128, 2, 2), (256, 2, 1)):
        x = unit(x, outputs, stride)
        for _ in range(m):
            x = attention_module(x, unit, poolings, **options)  # type: ignore[arg-type]
        x = unit(x, outputs)
    return classifier(norm_relu(x) if unit is pre_activation else x, classes)
