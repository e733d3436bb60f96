"""The ImageNet nets layer by layer, against lists worked out from the authors' definitions (FACTS.md 3.1)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from layer_graph import Node, differing, graph_of, image, in_order, on_meta, rows, traced
from paper_nets import (
    Unit,
    attention_module,
    imagenet_net,
    imagenet_stem,
    inception,
    post_activation,
    pre_activation,
    resnext,
)
from torch import nn

from ranbench.models.attention import AttentionModule
from ranbench.models.units import INCEPTION, POST_ACTIVATION, PRE_ACTIVATION, RESNEXT, Units

WRITTEN_OUT = Path(__file__).with_name("attention_56_stage_1.txt")
ONE_EACH, ONE_TWO_THREE = (1, 1, 1), (1, 2, 3)
FAMILIES = [
    (PRE_ACTIVATION, pre_activation),
    (POST_ACTIVATION, post_activation),
    (RESNEXT, resnext),
    (INCEPTION, inception),
]
FAMILY_NAMES = ["pre-activation", "post-activation", "resnext", "inception"]


def photograph(side: int) -> tuple[int, int, int]:
    return (3, side, side)


def module_rows(units: Units, **options: str) -> list[Node]:
    """The operators of one attention module of 256 channels at 28x28, with two poolings."""
    with torch.device("meta"):
        module = AttentionModule(256, 2, units=units, **options)  # type: ignore[arg-type]
    return list(in_order(traced(module, (256, 28, 28))))


def test_the_first_stage_of_attention_56_is_the_list_written_out() -> None:
    net = on_meta("attention-56", "imagenet", photograph(224), 1000)
    lines = [line for line in WRITTEN_OUT.read_text().splitlines() if not line.startswith("#")]

    found = rows(traced(nn.Sequential(net.get_submodule("stem"), net.get_submodule("stages.0")), (3, 224, 224)))

    assert differing(found, lines) == []


def test_the_description_of_the_first_stage_is_the_list_written_out_too() -> None:
    lines = [line for line in WRITTEN_OUT.read_text().splitlines() if not line.startswith("#")]

    described = attention_module(pre_activation(imagenet_stem(224), 256), pre_activation, 3)

    assert differing(rows(described), lines) == []


@pytest.mark.parametrize(
    ("name", "unit", "modules", "side"),
    [
        ("attention-56", pre_activation, ONE_EACH, 224),
        ("attention-92", pre_activation, ONE_TWO_THREE, 224),
        ("attention-92", pre_activation, ONE_TWO_THREE, 320),
        ("attentionnext-56", resnext, ONE_EACH, 224),
        ("attentionnext-92", resnext, ONE_TWO_THREE, 224),
        ("attentioninception-56", inception, ONE_EACH, 299),
        ("attention-56", pre_activation, ONE_EACH, 225),
    ],
)
def test_every_layer_is_that_of_the_definition(name: str, unit: Unit, modules: tuple[int, int, int], side: int) -> None:
    layers = rows(graph_of(name, "imagenet", photograph(side), 1000))

    assert differing(layers, rows(imagenet_net(unit, modules, side))) == []


@pytest.mark.parametrize(
    ("name", "side", "last"),
    [("attention-56", 224, 7), ("attention-92", 320, 10), ("attentioninception-56", 299, 10)],
)
def test_the_average_is_taken_over_the_whole_last_map(name: str, side: int, last: int) -> None:
    average = [node for node in in_order(graph_of(name, "imagenet", photograph(side), 1000)) if node.op == "average"]

    assert [(node.size, node.inputs[0].size) for node in average] == [((2048,), (2048, last, last))]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        # one mask in every stage, each down to 7x7 and back: the target of every interpolation
        ("attention-56", [14, 28, 56, 14, 28, 14]),
        ("attention-92", [14, 28, 56, *[14, 28] * 2, *[14] * 3]),
        ("attentionnext-56", [14, 28, 56, 14, 28, 14]),
    ],
)
def test_masks_go_down_to_seven_and_back_to_the_size_of_the_trunk(name: str, sizes: list[int]) -> None:
    nodes = list(in_order(graph_of(name, "imagenet", photograph(224), 1000)))
    ups = [node for node in nodes if node.word == "interpolate"]

    assert [node.size[1] for node in ups] == sizes
    assert {node.op for node in ups} == {"interpolate bilinear corners aligned"}
    assert {node.size[1] // node.inputs[0].size[1] for node in ups} == {2}
    assert min(node.size[1] for node in nodes if node.word == "max-pool") == 7


@pytest.mark.parametrize(("units", "unit"), FAMILIES, ids=FAMILY_NAMES)
def test_the_mask_reads_what_the_pre_processing_unit_gives_and_nothing_else(units: Units, unit: Unit) -> None:
    nodes = module_rows(units)
    given = rows(unit(image(256, 28, 28), 256, 1))

    first_pool = next(node for node in nodes if node.word == "max-pool")

    assert differing(rows(first_pool.inputs[0]), given) == []


@pytest.mark.parametrize(("units", "unit"), FAMILIES, ids=FAMILY_NAMES)
def test_nothing_is_added_to_the_map_that_goes_to_the_two_convolutions(units: Units, unit: Unit) -> None:
    nodes = module_rows(units)
    up = [node for node in nodes if node.word == "interpolate"][-1]
    readers = [node for node in nodes if up in node.inputs]

    expected = "bn-relu 256 eps 1e-05 momentum 0.1" if unit is pre_activation else "conv 256->256 1x1 /1 pad 0"

    assert [node.op for node in readers] == [expected]


@pytest.mark.parametrize(("units", "unit"), FAMILIES, ids=FAMILY_NAMES)
def test_what_follows_the_combination_is_a_unit_of_the_family_on_its_raw_sum(units: Units, unit: Unit) -> None:
    nodes = module_rows(units)
    product = next(node for node in nodes if node.op == "mul")
    combined = next(node for node in nodes if product in node.inputs)

    closing = unit(combined, 256, 1)

    assert combined.op == "add"
    assert differing(rows(nodes[-1]), rows(closing)) == []


@pytest.mark.parametrize(("units", "unit"), FAMILIES, ids=FAMILY_NAMES)
def test_naive_learning_leaves_out_the_sum_alone(units: Units, unit: Unit) -> None:
    residual, naive = module_rows(units), module_rows(units, learning="naive")
    product = next(node for node in naive if node.op == "mul")

    assert differing(rows(naive[-1]), rows(unit(product, 256, 1))) == []
    assert len(residual) == len(naive) + 1
