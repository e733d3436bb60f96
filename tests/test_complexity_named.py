"""Nets by name that are not ours, and nets drawn as tables of their layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ranbench.catalogue import DATASETS, NETS
from ranbench.complexity import Row, measure, measure_named, net_of, tree
from ranbench.errors import SpecError
from ranbench.spec import DataSpec, ModelSpec

FACTORIES = """\
import torch
from torch import nn


class Good(nn.Module):
    def __init__(self, shape, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 4, 3)
        self.classifier = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.classifier(self.conv(x).mean((2, 3)))


class Auxiliary(Good):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class Features(Good):
    def forward(self, x):
        return self.conv(x)


class Large(Good):
    def forward(self, x):
        if x.shape[-1] < 16:
            raise RuntimeError("images are\\n too small")
        return super().forward(x)


class Reading(Good):
    def forward(self, x):
        return super().forward(x) * (2 if x.sum().item() > 0 else 1)


def good(shape, num_classes):
    return Good(shape, num_classes)


def drawn(shape, num_classes):
    if torch.rand(()).item() > 2:
        raise AssertionError
    return Good(shape, num_classes)


def auxiliary(shape, num_classes):
    return Auxiliary(shape, num_classes)


def features(shape, num_classes):
    return Features(shape, num_classes)


def large(shape, num_classes):
    return Large(shape, num_classes)


def reading(shape, num_classes):
    return Reading(shape, num_classes)


def double(shape, num_classes):
    return Good(shape, num_classes).double()


def narrow(shape, num_classes):
    return Good(shape, num_classes - 1)
"""
DIGITS = DataSpec.of("digits")


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with factories in the current folder, another one for every test."""
    name = f"factories_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_cited_net_that_cannot_take_the_images_is_refused_whatever_size_the_catalogue_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another version of its library may need larger images."""
    pytest.importorskip("timm")
    monkeypatch.setitem(NETS, "inception-resnet-v2", replace(NETS["inception-resnet-v2"], smallest=1))  # type: ignore[arg-type]

    with pytest.raises(SpecError, match=r"^model 'inception-resnet-v2' cannot take images of 3x50x50: ") as refused:
        measure_named(ModelSpec(name="inception-resnet-v2"), DataSpec.of("imagenet", input=50))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("factory", ["good", "drawn"])
def test_a_users_net_is_counted_without_a_trace_in_the_random_numbers(factories: str, factory: str) -> None:
    model = ModelSpec(name=f"{factories}:{factory}")
    before = torch.get_rng_state()

    found = measure_named(model, DIGITS, trusted=True, backward=True)

    assert torch.equal(torch.get_rng_state(), before)
    assert (found.parameters, found.macs) == (36 + 4 + 40 + 10, 36 * 36 + 40)
    assert (found.backward_macs, found.depth) == (36 * 36 + 2 * 40, None)


def test_a_net_that_reads_values_while_it_is_built_has_no_memory_afterwards(factories: str) -> None:
    net = net_of(ModelSpec(name=f"{factories}:drawn"), DIGITS, trusted=True)

    assert all(tensor.is_meta for tensor in net.state_dict().values())


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("auxiliary", "gives tuple in training, expected logits of shape (B, 10)"),
        ("features", "gives shape (B, 4, 6, 6) in evaluation, expected logits of shape (B, 10)"),
        ("narrow", "gives shape (B, 9) in evaluation, expected logits of shape (B, 10)"),
        ("double", "has parameters of float64; images are float32, and so must all parameters be"),
        ("large", "cannot take images of 1x8x8: images are too small"),
        (
            "reading",
            "cannot be counted on the meta device with images of 1x8x8: Tensor.item() cannot be called on meta tensors",
        ),
    ],
)
def test_a_users_net_that_gives_no_logits_is_refused(factories: str, factory: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        measure_named(ModelSpec(name=f"{factories}:{factory}"), DIGITS, trusted=True)

    assert str(refused.value) == f"model '{factories}:{factory}' {message}"


def test_a_users_net_is_not_imported_unless_trusted(factories: str) -> None:
    with pytest.raises(SpecError, match="--trust-imports"):
        measure_named(ModelSpec(name=f"{factories}:good"), DIGITS)


def test_a_net_with_a_second_output_in_training_is_refused() -> None:
    with pytest.raises(SpecError) as refused:
        measure_named(ModelSpec(name="torchvision:googlenet"), DataSpec.of("imagenet"))

    assert str(refused.value) == (
        "model 'torchvision:googlenet' gives GoogLeNetOutputs in training, expected logits of shape (B, 1000)"
    )


def test_a_net_of_torchvision_is_counted_on_the_images_of_its_dataset() -> None:
    found = measure_named(ModelSpec(name="torchvision:resnet18"), DataSpec.of("imagenet"))

    assert (found.parameters, found.macs, found.depth) == (11_689_512, 1_814_073_344, None)


# --- tables of layers


def rows(name: str, dataset: str, **options: object) -> tuple[Row, ...]:
    data = DataSpec.of(dataset)
    return tree(net_of(ModelSpec.model_validate({"name": name, **options}), data), data.shape)


def lines(table: tuple[Row, ...]) -> list[tuple[object, ...]]:
    return [(row.layer, row.details, row.output, row.times) for row in table]


def test_attention_56_is_drawn_as_in_table_2() -> None:
    table = rows("attention-56", "imagenet")

    assert lines(table) == [
        ("convolution", "7x7, 64, stride 2", (64, 112, 112), 1),
        ("max pooling", "3x3, stride 2", (64, 56, 56), 1),
        ("residual unit", "1x1, 64 / 3x3, 64 / 1x1, 256 (projection)", (256, 56, 56), 1),
        ("attention module", "p = 1, t = 2, r = 1; mask pools 3 times, to 7x7", (256, 56, 56), 1),
        ("residual unit", "1x1, 128 / 3x3, 128, stride 2 / 1x1, 512 (projection)", (512, 28, 28), 1),
        ("attention module", "p = 1, t = 2, r = 1; mask pools twice, to 7x7", (512, 28, 28), 1),
        ("residual unit", "1x1, 256 / 3x3, 256, stride 2 / 1x1, 1024 (projection)", (1024, 14, 14), 1),
        ("attention module", "p = 1, t = 2, r = 1; mask pools once, to 7x7", (1024, 14, 14), 1),
        ("residual unit", "1x1, 512 / 3x3, 512, stride 2 / 1x1, 2048 (projection)", (2048, 7, 7), 1),
        ("residual unit", "1x1, 512 / 3x3, 512 / 1x1, 2048", (2048, 7, 7), 2),
        ("average pooling", "global", (2048, 1, 1), 1),
        ("fully connected", "1000", (1000,), 1),
    ]
    assert (table[0].parameters, table[0].macs) == (9_408 + 128, 9_408 * 112**2)
    assert (table[9].parameters, table[9].macs) == (2 * (17 * 512**2 + 12 * 512), 2 * 17 * 512**2 * 49)
    assert (table[10].parameters, table[11].parameters) == (2 * 2048, 2_049_000)


@pytest.mark.parametrize(
    ("options", "details"),
    [
        ({"p": 2, "t": 4, "r": 3}, "p = 2, t = 4, r = 3; mask pools twice, to 2x2"),
        ({"r": 2, "r_scales": "way-down"}, "p = 1, t = 2, r = 2 on the way down; mask pools twice, to 2x2"),
        ({"mask": "local-convolutions"}, "p = 1, t = 2; mask of 3 units"),
    ],
)
def test_an_attention_module_says_its_setting(options: dict[str, object], details: str) -> None:
    name = "attention-92" if "p" not in options else "attention-452"

    modules = [row for row in rows(name, "digits", **options) if row.layer == "attention module"]

    assert (modules[0].details, modules[0].times) == (details, 2 if name == "attention-92" else 6)


@pytest.mark.parametrize(
    ("name", "dataset", "details", "times"),
    [
        ("wrn-16-8", "cifar10", "3x3, 256, stride 2 / 3x3, 256 (projection)", 1),
        ("resnet-164", "cifar10", "1x1, 64 / 3x3, 64 / 1x1, 256", 17),
        ("attentionnext-56", "imagenet", "1x1, 128 / 3x3, 128, 32 groups / 1x1, 256 (projection)", 1),
        ("attentioninception-56", "imagenet", "(1x1, 48 | 1x1, 48 / 3x3, 48) / 1x1, 256 (projection)", 1),
    ],
)
def test_a_unit_is_described_by_its_convolutions(name: str, dataset: str, details: str, times: int) -> None:
    units = {row.details: row.times for row in rows(name, dataset) if row.layer == "residual unit"}

    assert units[details] == times


def test_a_net_of_torchvision_is_drawn_by_its_blocks() -> None:
    table = rows("resnext-101", "imagenet")

    assert lines(table)[3:5] == [
        ("Bottleneck", "1x1, 128 / 3x3, 128, 32 groups / 1x1, 256", (256, 56, 56), 2),
        ("Bottleneck", "1x1, 256 / 3x3, 256, stride 2, 32 groups / 1x1, 512 (projection)", (512, 28, 28), 1),
    ]


def test_a_block_with_branches_is_described_by_the_number_of_its_layers() -> None:
    pytest.importorskip("timm")

    blocks = {row.layer: (row.details, row.times) for row in rows("inception-resnet-v2", "imagenet")}

    assert blocks["Block35"] == ("convolution x7", 10)


class Odd(nn.Module):
    """What a foreign net may hold: blocks in a wrapper, branches, parts never called, values of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(8))
        self.unused = nn.Linear(3, 3)
        self.patches = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8))
        self.encoder = Encoder()
        self.mixed = nn.ModuleDict({"branch1": nn.Conv2d(8, 4, 1), "branch2": nn.Conv2d(8, 4, (1, 3), padding=(0, 1))})
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder(self.patches(x)) + self.token[:, None, None]
        x = torch.cat([branch(x) for branch in self.mixed.values()], dim=1)
        logits: torch.Tensor = self.head(self.flatten(self.pool(x)))
        return logits


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.blocks(x))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.second = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.second(self.first(x))
        return out


def test_a_foreign_net_is_drawn_by_its_outermost_children_with_repeated_blocks_opened() -> None:
    table = tree(Odd(), (3, 16, 16))

    assert table == (
        Row("convolution", "4x4, 8, stride 4", (8, 4, 4), 1, 8 * 48 + 8 + 16, 8 * 48 * 16),
        Row("Block", "3x3, 8, depthwise / 1x1, 8", (8, 4, 4), 3, 3 * 152, 3 * 136 * 16),
        Row("normalisation", "GroupNorm", (8, 4, 4), 1, 16, 0),
        Row("convolution", "1x1, 4", (4, 4, 4), 1, 36, 32 * 16),
        Row("convolution", "1x3, 4", (4, 4, 4), 1, 100, 96 * 16),
        Row("average pooling", "global", (8, 1, 1), 1, 0, 0),
        Row("fully connected", "5", (5,), 1, 45, 40),
        Row("fully connected", "3", None, 1, 12, 0),
        Row("rest", "outside the layers above", None, 1, 8, 0),
    )


@pytest.mark.parametrize("name", [name for name in NETS if name not in ("attention-452", "resnet-1001")])
def test_the_rows_sum_to_the_net_and_end_in_its_classes(name: str) -> None:
    if NETS[name].library == "timm":
        pytest.importorskip("timm")
    info = next(info for info in DATASETS.values() if info.form in NETS[name].forms)
    dataset = next(key for key, value in DATASETS.items() if value is info)
    net = net_of(ModelSpec(name=name), DataSpec.of(dataset))

    table = tree(net, info.shape)

    whole = measure(net, info.shape)
    assert sum(row.parameters for row in table) == whole.parameters
    assert sum(row.macs for row in table) == whole.macs
    assert table[-1].output == (info.num_classes,)
    assert all(row.output for row in table)
