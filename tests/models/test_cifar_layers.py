"""The CIFAR nets layer by layer, against the reconstruction of FACTS.md 4.2 and the local mask of 4.3."""

from __future__ import annotations

import pytest
from layer_graph import differing, graph_of, in_order, on_meta, rows, traced
from paper_nets import cifar_net, post_activation
from torch import nn

IMAGE = (3, 32, 32)


def trained(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("name", "m", "options", "sizes"),
    [
        ("attention-56", 1, {}, {}),
        ("attention-92", 2, {}, {}),
        ("attention-236", 6, {}, {}),
        ("attention-452", 6, {}, {"p": 2, "t": 4, "down": 3, "up": 3}),
        ("attention-56", 1, {"r": 3, "r_scales": "way-down"}, {"down": 3, "up": 1}),
        ("attention-92", 1, {"p": 2, "t": 4}, {"p": 2, "t": 4}),
        ("attention-56", 1, {"mask": "local-convolutions"}, {"local": True}),
        ("attention-92", 2, {"mask": "local-convolutions"}, {"local": True}),
    ],
)
def test_every_layer_is_that_of_the_reconstruction(
    name: str, m: int, options: dict[str, str | int], sizes: dict[str, int | bool]
) -> None:
    layers = rows(graph_of(name, "cifar", IMAGE, 10, **options))

    assert differing(layers, rows(cifar_net(m, **sizes))) == []


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, {}),
        ({"r": 2}, {"down": 2, "up": 2}),
        ({"mask": "local-convolutions"}, {"local": True}),
    ],
)
def test_every_layer_of_a_post_activated_net_is_that_of_units_of_2015(
    options: dict[str, str | int], sizes: dict[str, int | bool]
) -> None:
    layers = rows(graph_of("attention-92", "cifar", IMAGE, 10, unit_order="post-activation", **options))

    assert differing(layers, rows(cifar_net(2, unit=post_activation, **sizes))) == []


@pytest.mark.parametrize(("num_classes", "side"), [(100, 32), (10, 33)])
def test_other_classes_and_sizes_change_only_what_they_must(num_classes: int, side: int) -> None:
    layers = rows(graph_of("attention-92", "cifar", (3, side, side), num_classes))

    assert differing(layers, rows(cifar_net(2, num_classes, side))) == []


def test_the_outline_of_attention_56_written_out() -> None:
    marks = ("max-pool", "interpolate", "sigmoid", "average", "linear")

    nodes = list(in_order(graph_of("attention-56", "cifar", IMAGE, 10)))

    assert [(node.word, node.size) for node in nodes if node.word in marks] == [
        *[("max-pool", (64, side, side)) for side in (16, 8, 4)],
        *[("interpolate", (64, side, side)) for side in (8, 16, 32)],
        ("sigmoid", (64, 32, 32)),
        *[("max-pool", (128, side, side)) for side in (8, 4)],
        *[("interpolate", (128, side, side)) for side in (8, 16)],
        ("sigmoid", (128, 16, 16)),
        ("max-pool", (256, 4, 4)),
        ("interpolate", (256, 8, 8)),
        ("sigmoid", (256, 8, 8)),
        ("average", (256,)),
        ("linear", (10,)),
    ]


def test_a_local_mask_is_three_units_and_the_sigmoid_without_sampling_or_1x1_pair() -> None:
    net = on_meta("attention-56", "cifar", IMAGE, 10, mask="local-convolutions")

    masks = [module.get_submodule("mask") for name, module in net.named_modules() if name.endswith("stages.0.1")]

    (mask,) = masks
    words = [node.word for node in in_order(traced(mask, (64, 32, 32)))]
    unit = ["bn-relu", "conv", "bn-relu", "conv", "bn-relu", "conv", "add"]
    assert words == ["image", *unit * 3, "sigmoid"]


@pytest.mark.parametrize(
    ("name", "options", "num_classes", "millions"),
    [
        # FACTS.md 4.2, both tables
        ("attention-92", {}, 10, 1.84),
        ("attention-92", {}, 100, 1.86),
        ("attention-236", {}, 10, 5.08),
        ("attention-236", {}, 100, 5.11),
        ("attention-452", {}, 10, 10.18),
        ("attention-452", {}, 100, 10.20),
        ("attention-452", {"r_scales": "way-down"}, 10, 8.75),
        ("attention-452", {"r": 2}, 10, 8.75),
        ("attention-452", {"p": 1, "t": 2, "r": 1}, 10, 9.95),
    ],
)
def test_the_counts_are_those_of_the_reconstruction(
    name: str, options: dict[str, str | int], num_classes: int, millions: float
) -> None:
    net = on_meta(name, "cifar", IMAGE, num_classes, **options)

    assert round(trained(net) / 1e6, 2) == millions


def test_three_units_on_the_way_down_count_as_two_on_both_ways() -> None:
    way_down = on_meta("attention-452", "cifar", IMAGE, 10, r_scales="way-down")  # its r is 3
    both_ways = on_meta("attention-452", "cifar", IMAGE, 10, r=2)

    assert trained(way_down) == trained(both_ways)


def test_the_way_r_enters_changes_nothing_where_r_is_1() -> None:
    both_ways = graph_of("attention-56", "cifar", IMAGE, 10)

    way_down = graph_of("attention-56", "cifar", IMAGE, 10, r_scales="way-down")

    assert differing(rows(way_down), rows(both_ways)) == []


@pytest.mark.parametrize("r_scales", ["both-ways", "way-down"])
@pytest.mark.parametrize("r", [1, 2, 3])
def test_r_counts_the_units_down_at_the_bottom_up_and_never_on_a_skip(r: int, r_scales: str) -> None:
    net = on_meta("attention-56", "cifar", IMAGE, 10, r=r, r_scales=r_scales)
    up = r if r_scales == "both-ways" else 1

    hourglass = net.get_submodule("stages.0.1.mask.0.0")
    units = {
        name: len(list(hourglass.get_submodule(name)))  # type: ignore[call-overload]
        for name, module in hourglass.named_modules()
        if isinstance(module, nn.Sequential) and name.rsplit(".", maxsplit=1)[-1] in {"before", "skip", "after"}
    }

    assert units == {
        "before": r,
        "skip": 1,
        "after": up,
        "deeper.before": r,
        "deeper.skip": 1,
        "deeper.after": up,
        "deeper.deeper.before": r,  # with the next, 2r at the bottom (r + 1 on the way down only)
        "deeper.deeper.after": up,
    }
