"""Measured counts against closed forms worked out by hand from the architecture, and against the printed figures."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ranbench.catalogue import ATTENTION_OPTIONS, DATASETS, NETS, UNIT_ORDER
from ranbench.complexity import CONVENTION, Memory, measure, measure_named, memory, net_of, trunk_depth, write_counts
from ranbench.counts import COUNTS_FILE, Counts, read_counts
from ranbench.errors import SpecError
from ranbench.models import build
from ranbench.models.attention import AttentionModule
from ranbench.models.units import PreActivationUnit
from ranbench.records import Complexity
from ranbench.spec import DataSpec, ModelSpec

CIFAR10 = DataSpec.of("cifar10")

# --- closed forms, by hand; (parameters, multiply-adds); w inner width, c channels, side: height = width of a map


@dataclass(frozen=True)
class Count:
    parameters: int
    macs: int

    def __add__(self, other: Count) -> Count:
        return Count(self.parameters + other.parameters, self.macs + other.macs)

    def __rmul__(self, times: int) -> Count:
        return Count(times * self.parameters, times * self.macs)


def keeping_unit(w: int, side: int) -> Count:
    """1x1 4w -> w, 3x3 w -> w, 1x1 w -> 4w: 17 w^2 weights; BN of 4w, w and w channels: 12 w."""
    return Count(17 * w**2 + 12 * w, 17 * w**2 * side**2)


def changing_unit(inputs: int, w: int, side_in: int, side_out: int, side_inner: int) -> Count:
    """1x1 inputs -> w, 3x3, 1x1 w -> 4w, projection inputs -> 4w; ``side_inner`` is the map the first 1x1 gives."""
    weights = inputs * w + 9 * w**2 + 4 * w**2 + inputs * 4 * w
    macs = inputs * w * side_inner**2 + (13 * w**2 + inputs * 4 * w) * side_out**2
    assert side_inner in (side_in, side_out)
    return Count(weights + 2 * inputs + 4 * w, macs)


def pre_activation(inputs: int, c: int, before: int, after: int) -> Count:
    """The unit of the attention nets, its stride in the 3x3."""
    return keeping_unit(c // 4, after) if inputs == c else changing_unit(inputs, c // 4, before, after, before)


def bottleneck(inputs: int, w: int, c: int, before: int, after: int, *, groups: int) -> Count:
    """1x1 inputs -> w, 3x3 in groups with the stride, 1x1 w -> c; projection where inputs != c; BN after each."""
    last = 9 * w**2 // groups + w * c + (inputs * c if inputs != c else 0)
    norms = 2 * (w + w + c) + (2 * c if inputs != c else 0)
    return Count(inputs * w + last + norms, inputs * w * before**2 + last * after**2)


def post_activation(inputs: int, c: int, before: int, after: int) -> Count:
    """The bottleneck of He et al. (2015), inner width a quarter of the outputs, its stride in the 3x3."""
    return bottleneck(inputs, c // 4, c, before, after, groups=1)


def resnext(inputs: int, c: int, before: int, after: int) -> Count:
    """Inner width half the outputs, 32 groups."""
    return bottleneck(inputs, c // 2, c, before, after, groups=32)


def inception(inputs: int, c: int, before: int, after: int) -> Count:
    """1x1 -> w with the stride beside 1x1 -> w, 3x3 w -> w with the stride; 1x1 2w -> c; w = 3c / 16; BN after each."""
    w = 3 * c // 16
    last = inputs * w + 9 * w**2 + 2 * w * c + (inputs * c if inputs != c else 0)
    norms = 2 * (3 * w + c) + (2 * c if inputs != c else 0)
    return Count(inputs * w + last + norms, inputs * w * before**2 + last * after**2)


Unit = Callable[[int, int, int, int], Count]
UNITS: dict[str, Unit] = {"attention": pre_activation, "attentionnext": resnext, "attentioninception": inception}


def encoder_decoder(
    c: int, side: int, poolings: int, *, unit: Unit = pre_activation, down: int = 1, up: int = 1
) -> Count:
    """down + up units at each level, one more for the skip above the lowest; then 1x1 c -> c, BN, 1x1 c -> c.

    A BN stands before the pair where the units are pre-activated. A pooling takes a side to its half, rounded down.
    """
    norms = 2 if unit is pre_activation else 1
    total = Count(norms * 2 * c + 2 * c**2, 2 * c**2 * side**2)
    for level in range(1, poolings + 1):
        skip = 1 if level < poolings else 0
        lower = side // 2**level
        total += (down + up + skip) * unit(c, c, lower, lower)
    return total


SETTINGS = {  # m, p, t, r on CIFAR and digits
    "attention-56": (1, 1, 2, 1),
    "attention-92": (2, 1, 2, 1),
    "attention-128": (3, 1, 2, 1),
    "attention-164": (4, 1, 2, 1),
    "attention-236": (6, 1, 2, 1),
    "attention-452": (6, 2, 4, 3),
}
IMAGENET_SETTINGS = {"56": (1, 1, 1), "92": (1, 2, 3)}
STAGES = {  # channels, stride, mask poolings
    "cifar": ((64, 1, 3), (128, 2, 2), (256, 2, 1)),
    "digits": ((32, 1, 2), (64, 2, 1)),
    "imagenet": ((256, 1, 3), (512, 2, 2), (1024, 2, 1)),
}


def classifier(c: int, classes: int = 10, *, norm: bool = True) -> Count:
    """BN, then fully connected with a bias, which costs no multiply-add."""
    return Count((2 * c if norm else 0) + c * classes + classes, c * classes)


def convolution(kernel: int, inputs: int, outputs: int, side: int, *, norm: bool) -> Count:
    weights = kernel**2 * inputs * outputs
    return Count(weights + (2 * outputs if norm else 0), weights * side**2)


def imagenet_stem(side: int) -> tuple[Count, int]:
    """7x7 of stride 2 with BN, max pooling: the side is halved and rounded up, then halved and rounded down."""
    half = -(-side // 2)
    return convolution(7, 3, 64, half, norm=True), half // 2


def attention_by_hand(
    name: str,
    dataset: str,
    side: int,
    mask: str = "encoder-decoder",
    *,
    r: int | None = None,
    r_scales: str = "both-ways",
    unit_order: str = "pre-activation",
) -> Count:
    kind, number = name.split("-")
    unit, info = post_activation if unit_order == "post-activation" else UNITS[kind], DATASETS[dataset]
    if info.form == "imagenet":
        modules, p, t, units_of_mask = IMAGENET_SETTINGS[number], 1, 2, 1
        (total, side), inputs, closing = imagenet_stem(side), 64, 0
    else:
        m, p, t, units_of_mask = SETTINGS[name]
        total, modules = convolution(3, info.shape[0], 16, side, norm=True), (m,) * 3
        inputs, closing = 16, 1
    down = r or units_of_mask
    up = down if r_scales == "both-ways" else 1
    for m, (c, stride, poolings) in zip(modules, STAGES[info.form], strict=False):
        before, side = side, -(-side // stride)
        same = unit(c, c, side, side)
        branch = (
            3 * same if mask != "encoder-decoder" else encoder_decoder(c, side, poolings, unit=unit, down=down, up=up)
        )
        total += unit(inputs, c, before, side) + m * ((2 * p + t) * same + branch) + closing * same
        inputs = c
    if info.form == "imagenet":
        last = -(-side // 2)
        total += unit(inputs, 2048, side, last) + 2 * unit(2048, 2048, last, last)
        inputs = 2048
    return total + classifier(inputs, info.num_classes, norm=unit is pre_activation)


def resnet_by_hand(dataset: str, units: int = 18) -> Count:
    info = DATASETS[dataset]
    side = info.shape[1]
    total = convolution(3, info.shape[0], 16, side, norm=False)
    inputs, before = 16, side
    for w, after in ((16, side), (32, side // 2), (64, side // 4)):
        total += changing_unit(inputs, w, before, after, side_inner=after)  # strides in the first 1x1
        total += (units - 1) * keeping_unit(w, after)
        inputs, before = 4 * w, after
    return total + classifier(inputs, info.num_classes)


def original_resnet_by_hand(dataset: str, units: int) -> Count:
    """Bottlenecks with BN behind each convolution, strides in the first 1x1; BN in the stem, none in the head."""
    info = DATASETS[dataset]
    side = info.shape[1]
    total = convolution(3, info.shape[0], 16, side, norm=True)
    inputs = 16
    for w, after in ((16, side), (32, side // 2), (64, side // 4)):
        total += bottleneck(inputs, w, 4 * w, after, after, groups=1)
        total += (units - 1) * bottleneck(4 * w, w, 4 * w, after, after, groups=1)
        inputs = 4 * w
    return total + classifier(inputs, info.num_classes, norm=False)


def wide_by_hand(dataset: str, units: int, width: int) -> Count:
    """Units of BN, 3x3 with the stride, BN, 3x3; a projection where the width changes; a stem without BN."""
    info = DATASETS[dataset]
    side = info.shape[1]
    total = convolution(3, info.shape[0], 16, side, norm=False)
    inputs = 16
    for base, after in ((16, side), (32, side // 2), (64, side // 4)):
        c = base * width
        first = 9 * inputs * c + 9 * c**2 + (inputs * c if inputs != c else 0)
        total += Count(first + 2 * inputs + 2 * c, first * after**2)
        total += (units - 1) * Count(18 * c**2 + 4 * c, 18 * c**2 * after**2)
        inputs = c
    return total + classifier(inputs, info.num_classes)


def excited(c: int, units: int) -> Count:
    """c -> c/16 -> c with biases, whose multiply-adds are of one pixel: the mean over the map."""
    hidden = c // 16
    return units * Count(2 * c * hidden + hidden + c, 2 * c * hidden)


def excited_by_hand(name: str, dataset: str) -> Count:
    """What squeeze and excitation adds to each of 18 units in three stages."""
    if name == "se-resnet-110":
        return wide_by_hand(dataset, 18, 1) + excited(16, 18) + excited(32, 18) + excited(64, 18)
    return resnet_by_hand(dataset, 18) + excited(64, 18) + excited(128, 18) + excited(256, 18)


def cited_by_hand(units: tuple[int, ...], groups: int, side: int) -> Count:
    """Stem as of the attention nets, its pooling rounded up; bottlenecks with the stride in the 3x3; no last BN."""
    total, _ = imagenet_stem(side)
    side, inputs = (side + 3) // 4, 64
    for index, count in enumerate(units):
        before, side = side, side if index == 0 else -(-side // 2)
        c = 256 * 2**index
        w = c // 4 if groups == 1 else c // 2
        total += bottleneck(inputs, w, c, before, side, groups=groups)
        total += (count - 1) * bottleneck(c, w, c, side, side, groups=groups)
        inputs = c
    return total + classifier(inputs, 1000, norm=False)


def by_hand(entry: str) -> Count | None:
    """Work out an entry of counts.json from its name; None for the one net that is not worked out."""
    net, images = entry.split(" @ ")
    name, *options = net.split()
    dataset, *sides = images.split()
    side = int(sides[0]) if sides else DATASETS[dataset].shape[1]
    known = {
        "resnet-164": lambda: resnet_by_hand(dataset, 18),
        "resnet-1001": lambda: resnet_by_hand(dataset, 111),
        "wrn-16-8": lambda: wide_by_hand(dataset, 2, 8),
        "wrn-28-10": lambda: wide_by_hand(dataset, 4, 10),
        "resnet-110": lambda: wide_by_hand(dataset, 18, 1),
        "se-resnet-110": lambda: excited_by_hand(name, dataset),
        "se-resnet-164": lambda: excited_by_hand(name, dataset),
        "resnet-152": lambda: cited_by_hand((3, 8, 36, 3), 1, side),
        "resnet-200": lambda: cited_by_hand((3, 24, 36, 3), 1, side),
        "resnext-101": lambda: cited_by_hand((3, 4, 23, 3), 32, side),
        "inception-resnet-v2": lambda: None,
    }
    if name in known:
        return known[name]()
    chosen = dict(option.split("=") for option in options)
    r = int(chosen["r"]) if "r" in chosen else None
    assert not {"p", "t"} & chosen.keys(), "a suite names a setting that is not worked out here"
    rest = {option: chosen[option] for option in ("r_scales", "unit_order") if option in chosen}
    return attention_by_hand(name, dataset, side, chosen["mask"], r=r, **rest)


@cache
def measured(name: str, dataset: str = "cifar10", mask: str | None = None, side: int | None = None) -> Complexity:
    return measure_named(ModelSpec(name=name, mask=mask), DataSpec.of(dataset, input=side))


def pair(complexity: Complexity) -> Count:
    return Count(complexity.parameters, complexity.macs)


# --- measured against worked out


@pytest.mark.parametrize(
    ("name", "dataset", "side"),
    [
        ("attention-56", "cifar10", None),
        ("attention-56", "cifar100", None),
        ("attention-56", "digits", None),
        ("attention-56", "imagenet", 224),
        ("attention-56", "imagenet", 299),
        ("attention-92", "imagenet", 224),
        ("attention-92", "imagenet", 320),
        ("attention-452", "digits", None),
        ("attentionnext-56", "imagenet", 224),
        ("attentionnext-92", "imagenet", 224),
        ("attentioninception-56", "imagenet", 224),
        ("attentioninception-56", "imagenet", 299),
    ],
)
@pytest.mark.parametrize("mask", ATTENTION_OPTIONS["mask"])
def test_an_attention_net_has_the_counts_worked_out_by_hand(
    name: str, dataset: str, side: int | None, mask: str
) -> None:
    counts = pair(measured(name, dataset, mask, side))

    assert counts == attention_by_hand(name, dataset, side or DATASETS[dataset].shape[1], mask)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("attention-56", "cifar10"),
        ("attention-92", "cifar100"),
        ("attention-56", "digits"),
        ("attention-452", "digits"),
    ],
)
@pytest.mark.parametrize("mask", ATTENTION_OPTIONS["mask"])
def test_a_post_activated_attention_net_has_the_counts_worked_out_by_hand(name: str, dataset: str, mask: str) -> None:
    model = ModelSpec(name=name, mask=mask, unit_order="post-activation")

    counts = pair(measure_named(model, DataSpec.of(dataset)))

    side = DATASETS[dataset].shape[1]
    assert counts == attention_by_hand(name, dataset, side, mask, unit_order="post-activation")


@pytest.mark.parametrize(("name", "units"), [("resnet-164", 18), ("resnet-1001", 111)])
def test_a_post_activated_resnet_has_the_counts_worked_out_by_hand(name: str, units: int) -> None:
    found = measure_named(ModelSpec(name=name, unit_order="post-activation"), DataSpec.of("cifar10"))

    assert pair(found) == original_resnet_by_hand("cifar10", units)
    assert found.depth == int(name.split("-")[1])


@pytest.mark.parametrize("m", [1, 2, 6])
def test_where_bn_stands_moves_the_parameters_and_no_multiply_add(m: int) -> None:
    """On CIFAR, stages of 64, 128 and 256 channels that read 16, 64 and 128.

    The first unit of a stage has its BN behind itself (twice c more, twice what it reads less) and one on its
    projection (twice c); each mask has one less of c, the head one less of 256.
    """
    before, after = (
        pair(measure_named(ModelSpec(name=f"attention-{36 * m + 20}", unit_order=order, p=1, t=2, r=1), CIFAR10))
        for order in UNIT_ORDER
    )

    widths = sum((2 * c - 2 * reads) + 2 * c for reads, c in ((16, 64), (64, 128), (128, 256)))
    assert after.macs == before.macs
    assert after.parameters - before.parameters == widths - m * 2 * (64 + 128 + 256) - 2 * 256


@pytest.mark.parametrize(("r_scales", "up"), [("both-ways", 3), ("way-down", 1)])
def test_r_enters_the_mask_both_ways_or_on_the_way_down(r_scales: str, up: int) -> None:
    module = AttentionModule(32, 2, r=3, r_scales=r_scales)

    counts = measure(module, (32, 8, 8)).by_module["mask"]

    assert Count(**counts) == encoder_decoder(32, 8, 2, down=3, up=up)


@pytest.mark.parametrize(
    "entry",
    [
        "resnet-164 @ cifar10",
        "resnet-1001 @ digits",
        "wrn-16-8 @ cifar10",
        "wrn-16-8 @ digits",
        "wrn-28-10 @ cifar100",
        "resnet-110 @ cifar10",
        "se-resnet-110 @ cifar100",
        "se-resnet-164 @ cifar10",
        "resnet-152 @ imagenet 224",
        "resnext-101 @ imagenet 224",
        "resnet-152 @ imagenet 227",
    ],
)
def test_a_net_without_attention_has_the_counts_worked_out_by_hand(entry: str) -> None:
    name, images = entry.split(" @ ")
    dataset, *side = images.split()

    assert pair(measured(name, dataset, None, int(side[0]) if side else None)) == by_hand(entry)


def test_a_cited_net_of_timm_has_the_counts_worked_out_by_hand() -> None:
    pytest.importorskip("timm")

    assert pair(measured("resnet-200", "imagenet")) == by_hand("resnet-200 @ imagenet 224")


def test_every_part_of_attention_56_on_imagenet_has_the_counts_worked_out_by_hand() -> None:
    parts = measured("attention-56", "imagenet").by_module

    expected = {"stem": Count(9_408 + 128, 9_408 * 112**2)}
    stages = ((64, 64, 56, 56, 3), (256, 128, 56, 28, 2), (512, 256, 28, 14, 1))
    for index, (inputs, w, before, after, poolings) in enumerate(stages):
        expected |= {
            f"stages.{index}.0": changing_unit(inputs, w, before, after, side_inner=before),
            f"stages.{index}.1.before": keeping_unit(w, after),
            f"stages.{index}.1.trunk": 2 * keeping_unit(w, after),
            f"stages.{index}.1.mask": encoder_decoder(4 * w, after, poolings),
            f"stages.{index}.1.after": keeping_unit(w, after),
        }
    expected |= {
        "stages.3.0": changing_unit(1024, 512, 14, 7, side_inner=14),
        "stages.3.1": keeping_unit(512, 7),
        "stages.3.2": keeping_unit(512, 7),
        "head": Count(2 * 2048 + 2048 * 1000 + 1000, 2048 * 1000),
    }
    assert {name: Count(**entry) for name, entry in parts.items()} == expected


def test_every_part_of_attention_56_has_the_counts_worked_out_by_hand() -> None:
    parts = measured("attention-56").by_module

    expected = {"stem": Count(9 * 3 * 16 + 32, 9 * 3 * 16 * 32**2)}
    stages = ((16, 16, 32, 32, 3), (64, 32, 32, 16, 2), (128, 64, 16, 8, 1))
    for index, (inputs, w, before, after, poolings) in enumerate(stages):
        expected |= {
            f"stages.{index}.0": changing_unit(inputs, w, before, after, side_inner=before),
            f"stages.{index}.1.before": keeping_unit(w, after),
            f"stages.{index}.1.trunk": 2 * keeping_unit(w, after),
            f"stages.{index}.1.mask": encoder_decoder(4 * w, after, poolings),
            f"stages.{index}.1.after": keeping_unit(w, after),
            f"stages.{index}.2": keeping_unit(w, after),
        }
    expected["head"] = classifier(256)
    assert {name: Count(**entry) for name, entry in parts.items()} == expected


@pytest.mark.parametrize("name", ["attention-56", "attention-164", "resnet-164"])
def test_the_parts_sum_to_the_totals(name: str) -> None:
    complexity = measured(name)

    sums = [sum(entry[field] for entry in complexity.by_module.values()) for field in ("parameters", "macs")]

    assert sums == [complexity.parameters, complexity.macs]


@pytest.mark.parametrize(("stage", "ratio"), [(0, 1.05), (1, 1.09), (2, 1.26)])
def test_the_local_mask_costs_what_the_encoder_decoder_costs_by_stage(stage: int, ratio: float) -> None:
    part = f"stages.{stage}.1.mask"

    local = measured("attention-56", mask="local-convolutions").by_module[part]["macs"]
    encoder = measured("attention-56").by_module[part]["macs"]

    assert round(local / encoder, 2) == ratio


def test_the_local_mask_costs_under_4_percent_of_the_net() -> None:
    ratio = measured("attention-56", mask="local-convolutions").macs / measured("attention-56").macs

    assert 1.0 < ratio < 1.04


# --- against the figures that are printed for these nets


@pytest.mark.parametrize(
    ("name", "millions"),
    [("attention-92", 1.84), ("attention-236", 5.08), ("attention-452", 10.18), ("resnet-164", 1.70)],
)
def test_the_parameters_round_to_the_stated_millions(name: str, millions: float) -> None:
    assert round(measured(name).parameters / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("name", "giga"),
    [
        ("attention-56", 0.12),
        ("attention-92", 0.21),
        ("attention-128", 0.30),
        ("attention-164", 0.39),
        ("attention-236", 0.57),
        ("attention-452", 0.98),
    ],
)
def test_the_multiply_adds_round_to_the_stated_billions(name: str, giga: float) -> None:
    assert round(measured(name).macs / 1e9, 2) == giga


def test_a_module_triple_has_the_parameters_that_table_6_allows() -> None:
    triple = (attention_by_hand("attention-236", "cifar10", 32).parameters - measured("attention-92").parameters) / 4

    assert 0.775e6 < triple < 0.825e6


# --- how it is measured


class Odd(nn.Module):
    """A parameter of its own, a shared layer, a frozen layer, an operator that is not counted, work outside parts."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.first = nn.Conv2d(2, 5, kernel_size=1, bias=False)
        self.again = nn.Conv2d(5, 5, kernel_size=1)
        self.shared = self.again
        self.frozen = nn.Linear(5, 4, bias=False).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.again(self.first(x))).transpose(1, 3)  # (B, W, H, 5)
        return self.frozen(x) @ torch.ones(4, 3, device=x.device, dtype=x.dtype) * self.scale[:3]


def test_shared_frozen_and_loose_parameters_and_loose_work_are_counted_once() -> None:
    counts = measure(Odd(), (2, 3, 3))

    # Nine positions: 1x1 convolutions 2 -> 5 and twice 5 -> 5, linear 5 -> 4, product 4 -> 3.
    assert counts == Complexity(
        parameters=5 + 10 + 30,
        macs=9 * (10 + 50 + 20 + 12),
        by_module={
            "first": {"parameters": 10, "macs": 90},
            "again": {"parameters": 30, "macs": 450},
            "frozen": {"parameters": 0, "macs": 180},
            "(rest)": {"parameters": 5, "macs": 108},
        },
        uncounted={"aten.mul": 1},
        convention=CONVENTION,
    )


def test_the_operators_that_were_not_counted_are_named_with_their_number() -> None:
    module = AttentionModule(16, 2)

    uncounted = measure(module, (16, 8, 8)).uncounted

    # Units: 1 before, 2 trunk, 5 mask, 1 after: 9 sums, 3 norms each; 2 norms before the 1x1 pair; 1 sum at the skip.
    assert {name: uncounted[name] for name in ("aten.add", "aten.relu_", "aten.sigmoid", "aten.addcmul")} == {
        "aten.add": 9 + 1,
        "aten.relu_": 3 * 9 + 2,
        "aten.sigmoid": 1,
        "aten.addcmul": 1,
    }
    assert uncounted["aten.max_pool2d_with_indices"] == uncounted["aten.upsample_bilinear2d"] == 2
    assert not {"aten.convolution", "aten.addmm", "aten.view", "aten.detach", "aten.t", "aten.empty"} & set(uncounted)


def test_measuring_leaves_the_net_as_it_was() -> None:
    net = build("attention-56", {}, (1, 8, 8), 10, form="digits").train()
    before = {name: (id(value), value.clone()) for name, value in net.state_dict(keep_vars=True).items()}

    measure(net, (1, 8, 8))

    after = net.state_dict(keep_vars=True)
    assert [(name, id(value)) for name, value in after.items()] == [(name, entry[0]) for name, entry in before.items()]
    assert all(torch.equal(after[name], entry[1]) for name, entry in before.items())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_net_built_and_filled_has_the_counts_of_its_name(dtype: torch.dtype) -> None:
    net = build("attention-56", {}, (1, 8, 8), 10, form="digits").to(dtype)

    assert measure(net, DATASETS["digits"].shape) == measured("attention-56", "digits")


def test_a_single_unit_is_counted_as_well() -> None:
    assert pair(measure(PreActivationUnit(16, 4), (16, 8, 8))) == keeping_unit(4, 8)


def test_a_model_is_counted_without_its_split() -> None:
    model = ModelSpec(name="attention-56")

    assert measure_named(model, DataSpec.of("digits", 100, 50)) == measured("attention-56", "digits")


def test_a_net_without_a_form_for_the_images_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^model 'attention-128' has no form for imagenet images"):
        measure_named(ModelSpec(name="attention-128"), DataSpec.of("imagenet"))


def test_images_too_small_for_the_poolings_are_refused() -> None:
    with pytest.raises(
        SpecError, match=r"^model 'attention-56' needs imagenet images of at least \d+x\d+ for its pool"
    ):
        measure_named(ModelSpec(name="attention-56"), DataSpec.of("imagenet", input=8))


# --- equal parts are counted once


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("attention-452", "digits"), ("attentioninception-56", "imagenet"), ("resnet-164", "cifar10")],
)
def test_counting_equal_parts_once_gives_what_the_plain_counter_gives(name: str, dataset: str) -> None:
    info = DATASETS[dataset]
    with torch.device("meta"):
        net = build(name, {}, info.shape, info.num_classes, form=info.form).eval()
        image = torch.empty((1, *info.shape))

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(image)

    assert 2 * measured(name, dataset).macs == counter.get_total_flops()


def test_parts_carried_from_net_to_net_change_no_count() -> None:
    memo: dict[object, object] = {}
    nets = [(ModelSpec(name="attention-56", mask=mask), DataSpec.of("digits")) for mask in ATTENTION_OPTIONS["mask"]]

    carried = [measure_named(model, data, memo=memo) for model, data in (*nets, *nets)]  # type: ignore[arg-type]

    assert carried == 2 * [measure_named(model, data) for model, data in nets]
    assert memo


class Doubled(PreActivationUnit):
    """A user's unit, printed like ours, that runs its body twice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(super().forward(x))


def test_a_unit_that_was_changed_is_not_taken_for_an_equal_one() -> None:
    Doubled.__name__ = "PreActivationUnit"
    hooked, replaced = PreActivationUnit(16, 4), PreActivationUnit(16, 4)
    hooked.register_forward_hook(lambda module, _, output: (output, module.body[0](output))[0])
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    net = nn.Sequential(PreActivationUnit(16, 4), Doubled(16, 4), hooked, replaced, PreActivationUnit(16, 4))
    unit = keeping_unit(4, 8).macs

    macs = [part["macs"] for part in measure(net, (16, 8, 8)).by_module.values()]

    assert macs == [unit, 2 * unit, unit + 16 * 4 * 64, 0, unit]


def test_a_counter_that_counts_by_another_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranbench.complexity.ledger.Ledger._count_flops", FlopCounterMode._count_flops)

    with pytest.raises(AssertionError, match=r"^torch's counter counts by another way"):
        measure(nn.Sequential(nn.Conv2d(1, 1, 1)), (1, 2, 2))


# --- what counts depend on


def test_learning_and_attention_change_no_count() -> None:
    nets = [
        ModelSpec(name="attention-56", learning=learning, attention=attention, mask=mask)
        for mask, learning, attention in itertools.product(
            *(ATTENTION_OPTIONS[option] for option in ("mask", "learning", "attention"))
        )
    ]

    counts = [pair(measure_named(model, DataSpec.of("digits"))) for model in nets]

    assert len(counts) == 12
    assert [len(set(counts[:6])), len(set(counts[6:])), len(set(counts))] == [1, 1, 2]


# --- trunk depth

DEPTHS = {
    **{name: int(name.split("-")[-1]) for name in NETS if not name.startswith(("wrn", "inception"))},
    "wrn-16-8": 14,  # the name counts three projections and not the classifier
    "wrn-28-10": 26,
    "inception-resnet-v2": None,
}


@pytest.mark.parametrize("name", NETS)
def test_the_depth_computed_from_the_built_net_is_that_of_its_name(name: str) -> None:
    if NETS[name].library == "timm":
        pytest.importorskip("timm")
    datasets = [dataset for dataset in ("cifar10", "imagenet") if DATASETS[dataset].form in NETS[name].forms]

    depths = [measured(name, dataset).depth for dataset in datasets]

    assert depths == [DEPTHS[name]] * len(datasets)


@pytest.mark.parametrize("mask", ATTENTION_OPTIONS["mask"])
def test_the_depth_does_not_depend_on_the_mask(mask: str) -> None:
    assert measured("attention-56", mask=mask).depth == 56


def test_the_small_form_has_one_stage_less_of_depth() -> None:
    assert measured("attention-56", "digits").depth == 56 - 18


def test_the_depth_of_another_net_is_not_known() -> None:
    assert measure(Odd(), (2, 3, 3)).depth is None


def test_branches_count_as_deep_as_the_deepest_and_shortcuts_not_at_all() -> None:
    net = build("attentioninception-56", {}, (3, 64, 64), 10, form="imagenet")

    depths = [trunk_depth(unit) for unit in net.get_submodule("stages.3")]  # type: ignore[union-attr]

    assert depths == [3, 3, 3]


# --- the backward pass: gradients of weights and of inputs, each as the forward pass; none of the image


@pytest.mark.parametrize(
    ("name", "dataset", "first"),
    [
        ("attention-56", "digits", 9 * 16 * 8**2),
        ("attention-56", "imagenet", 49 * 3 * 64 * 112**2),
        ("attentionnext-56", "imagenet", 49 * 3 * 64 * 112**2),
        ("wrn-16-8", "cifar10", 9 * 3 * 16 * 32**2),
    ],
)
def test_the_backward_pass_costs_two_forward_passes_less_the_gradient_of_the_image(
    name: str, dataset: str, first: int
) -> None:
    forward = measured(name, dataset)

    both = measure_named(ModelSpec(name=name), DataSpec.of(dataset), backward=True)

    assert both == replace(forward, backward_macs=2 * forward.macs - first)


def test_frozen_layers_cost_no_gradient_of_weights() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 4, 5))
    net[1].requires_grad_(False)

    found = measure(net, (2, 2, 2), backward=True)

    assert found.macs == 4 * (6 + 12) + 80
    assert found.backward_macs == 4 * (6 + 12) + 2 * 80  # of the first its weights, of the second its inputs


def test_a_net_without_trained_values_has_no_backward_pass() -> None:
    net = nn.Conv2d(2, 3, 1).requires_grad_(False)

    assert measure(net, (2, 2, 2), backward=True).backward_macs == 0


# --- memory of a training step


def small_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3)
    )


def test_the_memory_of_a_small_net_is_what_is_worked_out_by_hand() -> None:
    found = memory(small_net(), (2, 3, 3), 5)

    trained = 4 * (2 * 4 + 2 * 4 + 36 * 3 + 3)
    maps = 4 * 5 * 4 * 9  # of four channels, five images
    kept = {
        "images, for the weights of the convolution": 4 * 5 * 2 * 9,
        "its output, for BN": maps,
        "mean and deviation of the batch": 2 * 4 * 4,
        "ReLU's output, in place of BN's, for itself and the linear layer": maps,
        "loss: logarithms of probabilities, labels, sum of weights": 4 * 5 * 3 + 8 * 5 + 4,
    }
    assert found == Memory(
        batch=5,
        parameters_bytes=trained,
        gradients_bytes=trained,
        momentum_bytes=trained,
        buffers_bytes=2 * 4 * 4 + 8,
        activations_bytes=sum(kept.values()),
    )
    assert found.total_bytes == 3 * trained + 40 + sum(kept.values())


def test_the_memory_worked_out_is_what_a_real_step_keeps() -> None:
    net = build("attention-56", {}, (1, 8, 8), 10, form="digits").train()
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        nn.functional.cross_entropy(net(torch.zeros(4, 1, 8, 8)), torch.zeros(4, dtype=torch.int64))

    for tensor in (*net.parameters(), *net.buffers()):
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    assert memory(net, (1, 8, 8), 4).activations_bytes == sum(storage.nbytes() for storage in kept.values())


def test_what_is_frozen_has_neither_gradient_nor_momentum() -> None:
    net = small_net()
    net[4].requires_grad_(False)  # type: ignore[index]

    found = memory(net, (2, 3, 3), 5)

    assert (found.parameters_bytes, found.gradients_bytes, found.momentum_bytes) == (508, 64, 64)


def test_half_the_precision_is_half_the_memory_of_parameters() -> None:
    assert memory(small_net().to(torch.bfloat16), (2, 3, 3), 5).parameters_bytes == 508 // 2


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (0, "batch 0 is not allowed (allowed: whole numbers of 1 or more)"),
        (1, "batch 1: the net cannot train on 1x4x1x1: Expected more than 1 value per channel"),
    ],
)
def test_a_batch_that_cannot_be_trained_on_is_refused(batch: int, message: str) -> None:
    net = nn.Sequential(nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))

    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        memory(net, (4, 1, 1), batch)


# --- nets by name


@pytest.mark.parametrize("name", ["attention-56", "torchvision:resnet18"])
def test_measuring_a_name_leaves_the_random_numbers_as_they_were(name: str) -> None:
    before = torch.get_rng_state()

    measure_named(ModelSpec(name=name), DataSpec.of("cifar10"))

    assert torch.equal(torch.get_rng_state(), before)


def test_a_named_net_has_no_memory() -> None:
    net = net_of(ModelSpec(name="attention-56"), DataSpec.of("digits"))

    assert all(tensor.is_meta for tensor in net.state_dict().values())


# --- against the paper's figures


@pytest.mark.parametrize(
    ("name", "millions", "giga"),
    [("attention-56", 31.9, 6.2), ("attention-92", 51.3, 10.4), ("attentionnext-56", 31.9, 6.3)],
)
def test_the_imagenet_nets_lie_within_3_percent_of_tables_2_and_7(name: str, millions: float, giga: float) -> None:
    found = measured(name, "imagenet")

    assert found.parameters / 1e6 == pytest.approx(millions, rel=0.03)
    assert found.macs / 1e9 == pytest.approx(giga, rel=0.03)


# --- the file of counts


def test_every_entry_of_the_file_is_what_is_worked_out_by_hand() -> None:
    entries = read_counts(COUNTS_FILE)

    expected = {name: by_hand(name) for name in entries}

    known = {name for name, count in expected.items() if count is not None}
    assert {name.split(" @ ")[0] for name in entries.keys() - known} == {"inception-resnet-v2"}
    assert {name: Count(entries[name].parameters, entries[name].macs) for name in known} == {
        name: expected[name] for name in known
    }


def test_the_one_net_not_worked_out_has_the_size_that_is_published() -> None:
    entry = read_counts(COUNTS_FILE)["inception-resnet-v2 @ imagenet 224"]

    assert round(entry.parameters / 1e6, 2) == 55.84


def test_writing_says_what_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counts.json"
    counts = {"a @ digits": Counts(1, 2, None), "b @ digits": Counts(3, 4, 5)}
    monkeypatch.setattr("ranbench.complexity.registry.all_counts", lambda: (counts, {}))
    first = write_counts(path)
    counts = {"b @ digits": Counts(3, 5, None), "c @ digits": Counts(6, 7, 8)}

    second, third = write_counts(path), write_counts(path)

    assert first == ["a @ digits: new", "b @ digits: new"]
    assert second == [
        "a @ digits: gone",
        "c @ digits: new",
        "b @ digits: macs 4 -> 5",
        "b @ digits: depth 5 -> unknown",
    ]
    assert third == []
    assert read_counts(path) == counts
    assert path.read_text() == (
        '{\n  "b @ digits": {"parameters": 3, "macs": 5, "depth": null},\n'
        '  "c @ digits": {"parameters": 6, "macs": 7, "depth": 8}\n}\n'
    )


def test_a_net_whose_library_is_missing_keeps_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = {name: NETS[name] for name in ("resnet-200", "inception-resnet-v2", "wrn-16-8")}
    path = tmp_path / "counts.json"
    path.write_text('{"resnet-200 @ imagenet 224": {"parameters": 1, "macs": 2, "depth": 200}}')
    monkeypatch.setattr("ranbench.complexity.registry.NETS", nets)
    monkeypatch.setattr("ranbench.complexity.registry.shipped_suites", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "timm", None)

    said = write_counts(path)

    assert said == [
        "wrn-16-8 @ cifar10: new",
        "wrn-16-8 @ cifar100: new",
        "wrn-16-8 @ digits: new",
        "resnet-200 @ imagenet 224: kept as it was: timm is not installed",
        "inception-resnet-v2 @ imagenet 224: not counted: timm is not installed",
    ]
    entries = read_counts(path)
    assert list(entries) == [
        "resnet-200 @ imagenet 224",
        *(f"wrn-16-8 @ {name}" for name in ("cifar10", "cifar100", "digits")),
    ]
    assert entries["resnet-200 @ imagenet 224"] == Counts(1, 2, 200)
