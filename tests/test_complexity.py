"""Measured counts against closed forms worked out by hand from the architecture, and against the printed figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from ranbench.catalogue import DATASETS
from ranbench.complexity import CONVENTION, measure, measure_named, write_counts
from ranbench.counts import COUNTS_FILE, Counts, read_counts
from ranbench.errors import SpecError
from ranbench.models import build
from ranbench.models.attention import AttentionModule
from ranbench.models.units import PreActivationUnit
from ranbench.records import Complexity
from ranbench.spec import DataSpec, ModelSpec

# --- closed forms, by hand; (parameters, multiply-adds); w inner width, c = 4w channels, side: height = width of a map


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


def encoder_decoder(w: int, side: int, poolings: int, r: int) -> Count:
    """2r units at each level, one more for the skip above the lowest; then BN, 1x1 c -> c, BN, 1x1 c -> c."""
    c = 4 * w
    total = Count(2 * (2 * c + c**2), 2 * c**2 * side**2)
    for level in range(1, poolings + 1):
        skip = 1 if level < poolings else 0
        total += (2 * r + skip) * keeping_unit(w, side // 2**level)
    return total


def local_convolutions(w: int, side: int) -> Count:
    return 3 * keeping_unit(w, side)


SETTINGS = {
    "attention-56": (1, 1, 2, 1),  # m, p, t, r
    "attention-92": (2, 1, 2, 1),
    "attention-128": (3, 1, 2, 1),
    "attention-164": (4, 1, 2, 1),
    "attention-236": (6, 1, 2, 1),
    "attention-452": (6, 2, 4, 3),
}
STAGES = {  # inner width, side of the map before, side of the map, mask poolings
    "cifar10": ((16, 32, 32, 3), (32, 32, 16, 2), (64, 16, 8, 1)),
    "digits": ((8, 8, 8, 2), (16, 8, 4, 1)),
}
COLOURS = {"cifar10": 3, "digits": 1}


def classifier(c: int, classes: int = 10) -> Count:
    """BN, then fully connected with a bias, which costs no multiply-add."""
    return Count(2 * c + c * classes + classes, c * classes)


def attention_by_hand(name: str, dataset: str, mask: str = "encoder-decoder") -> Count:
    m, p, t, r = SETTINGS[name]
    side = STAGES[dataset][0][1]
    total = Count(9 * COLOURS[dataset] * 16 + 2 * 16, 9 * COLOURS[dataset] * 16 * side**2)  # stem with BN
    inputs = 16
    for w, before, after, poolings in STAGES[dataset]:
        branch = local_convolutions(w, after) if mask != "encoder-decoder" else encoder_decoder(w, after, poolings, r)
        total += changing_unit(inputs, w, before, after, side_inner=before)  # strides in the 3x3
        total += m * ((2 * p + t) * keeping_unit(w, after) + branch)
        total += keeping_unit(w, after)
        inputs = 4 * w
    return total + classifier(inputs)


def resnet_by_hand(dataset: str) -> Count:
    side = STAGES[dataset][0][1]
    total = Count(9 * COLOURS[dataset] * 16, 9 * COLOURS[dataset] * 16 * side**2)  # stem without BN
    inputs, before = 16, side
    for w, after in ((16, side), (32, side // 2), (64, side // 4)):
        total += changing_unit(inputs, w, before, after, side_inner=after)  # strides in the first 1x1
        total += 17 * keeping_unit(w, after)
        inputs, before = 4 * w, after
    return total + classifier(inputs)


def by_hand(entry: str) -> Count:
    """Work out an entry of counts.json from its name."""
    net, dataset = entry.split(" @ ")
    name, *options = net.split()
    if name == "resnet-164":
        return resnet_by_hand(dataset)
    return attention_by_hand(name, dataset, mask=dict(option.split("=") for option in options)["mask"])


def measured(name: str, dataset: str = "cifar10", mask: str | None = None) -> Complexity:
    return measured_once(ModelSpec(name=name, mask=mask), DataSpec.of(dataset))


measured_once = cache(measure_named)


def pair(complexity: Complexity) -> Count:
    return Count(complexity.parameters, complexity.macs)


# --- measured against worked out


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
@pytest.mark.parametrize("name", ["attention-56", "attention-164", "attention-452"])
def test_an_attention_net_has_the_counts_worked_out_by_hand(name: str, dataset: str) -> None:
    assert pair(measured(name, dataset)) == attention_by_hand(name, dataset)


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_local_convolutions_have_the_counts_worked_out_by_hand(dataset: str) -> None:
    counts = pair(measured("attention-56", dataset, mask="local-convolutions"))

    assert counts == attention_by_hand("attention-56", dataset, mask="local-convolutions")


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_the_resnet_has_the_counts_worked_out_by_hand(dataset: str) -> None:
    assert pair(measured("resnet-164", dataset)) == resnet_by_hand(dataset)


def test_every_part_of_attention_56_has_the_counts_worked_out_by_hand() -> None:
    parts = measured("attention-56").by_module

    expected = {"stem": Count(9 * 3 * 16 + 32, 9 * 3 * 16 * 32**2)}
    for index, (inputs, (w, before, after, poolings)) in enumerate(zip((16, 64, 128), STAGES["cifar10"], strict=True)):
        expected |= {
            f"stages.{index}.0": changing_unit(inputs, w, before, after, side_inner=before),
            f"stages.{index}.1.before": keeping_unit(w, after),
            f"stages.{index}.1.trunk": 2 * keeping_unit(w, after),
            f"stages.{index}.1.mask": encoder_decoder(w, after, poolings, r=1),
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
    triple = (attention_by_hand("attention-236", "cifar10").parameters - measured("attention-92").parameters) / 4

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
    net = build("attention-56", {}, (1, 8, 8), 10).train()
    before = {name: (id(value), value.clone()) for name, value in net.state_dict(keep_vars=True).items()}

    measure(net, (1, 8, 8))

    after = net.state_dict(keep_vars=True)
    assert [(name, id(value)) for name, value in after.items()] == [(name, entry[0]) for name, entry in before.items()]
    assert all(torch.equal(after[name], entry[1]) for name, entry in before.items())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_net_built_and_filled_has_the_counts_of_its_name(dtype: torch.dtype) -> None:
    net = build("attention-56", {}, (1, 8, 8), 10).to(dtype)

    assert measure(net, DATASETS["digits"].shape) == measured("attention-56", "digits")


def test_a_single_unit_is_counted_as_well() -> None:
    assert pair(measure(PreActivationUnit(16, 4), (16, 8, 8))) == keeping_unit(4, 8)


def test_a_model_is_counted_without_its_split() -> None:
    model = ModelSpec(name="attention-56")

    assert measure_named(model, DataSpec.of("digits", 100, 50)) == measured("attention-56", "digits")


def test_a_net_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataSpec.of("digits")
    monkeypatch.setattr("ranbench.catalogue.DATASETS", {"digits": replace(DATASETS["digits"], shape=(1, 9, 9))})

    with pytest.raises(SpecError, match=r"^attention nets have no form for 9x9 images"):
        measure_named(ModelSpec(name="attention-56"), data)


# --- the file of counts


def test_every_entry_of_the_file_is_what_is_worked_out_by_hand() -> None:
    entries = read_counts(COUNTS_FILE)

    assert {name: Count(entry.parameters, entry.macs) for name, entry in entries.items()} == {
        name: by_hand(name) for name in entries
    }


def test_writing_says_what_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counts.json"
    counts = {"a @ digits": Counts(1, 2), "b @ digits": Counts(3, 4)}
    monkeypatch.setattr("ranbench.complexity.all_counts", lambda: counts)
    first = write_counts(path)
    counts = {"b @ digits": Counts(3, 5), "c @ digits": Counts(6, 7)}

    second, third = write_counts(path), write_counts(path)

    assert first == ["a @ digits: new", "b @ digits: new"]
    assert second == ["a @ digits: gone", "c @ digits: new", "b @ digits: macs 4 -> 5"]
    assert third == []
    assert read_counts(path) == counts
    assert path.read_text() == (
        '{\n  "b @ digits": {"parameters": 3, "macs": 5},\n  "c @ digits": {"parameters": 6, "macs": 7}\n}\n'
    )
