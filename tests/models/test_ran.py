"""The attention nets as wholes: depth, shapes, forms, what they refuse."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from ranbench.catalogue import ATTENTION_OPTIONS, DATASETS, NETS
from ranbench.errors import SpecError
from ranbench.models import BASELINES, build, initialise
from ranbench.spec import ModelSpec

COMBINATIONS = [
    dict(zip(ATTENTION_OPTIONS, values, strict=True)) for values in itertools.product(*ATTENTION_OPTIONS.values())
]
DIGITS = DATASETS["digits"]


def on_meta(name: str, dataset: str = "cifar10") -> nn.Module:
    info = DATASETS[dataset]
    with torch.device("meta"):
        return build(name, {}, info.shape, info.num_classes)


def small_net(options: Mapping[str, str] | None = None, name: str = "attention-56", seed: int = 0) -> nn.Module:
    net = build(name, options or {}, DIGITS.shape, DIGITS.num_classes)
    initialise(net, "he-fan-in", torch.Generator().manual_seed(seed))
    return net


def some_digits(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand((count, *DIGITS.shape), generator=torch.Generator().manual_seed(seed))


def trunk_layers(net: nn.Module) -> int:
    """Weighted layers on the trunk path: nothing of a mask, no projection on a shortcut."""
    return sum(
        isinstance(module, nn.Conv2d | nn.Linear)
        for name, module in net.named_modules()
        if "mask" not in name.split(".") and "projection" not in name.split(".")
    )


def test_every_net_without_attention_of_the_catalogue_can_be_built() -> None:
    assert set(BASELINES) == {name for name in NETS if not name.startswith("attention-")}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", NETS)
def test_every_net_gives_one_logit_per_class(name: str, dataset: str) -> None:
    info = DATASETS[dataset]
    net = build(name, {}, info.shape, info.num_classes).eval()

    with torch.no_grad():
        logits = net(torch.zeros((2, *info.shape)))

    assert logits.shape == (2, info.num_classes)


@pytest.mark.parametrize("name", [*NETS, "attention-200"])
def test_the_name_is_the_number_of_weighted_layers_on_the_trunk(name: str) -> None:
    net = on_meta(name)

    assert trunk_layers(net) == int(name.rsplit("-", 1)[1])


def test_attention_452_has_six_modules_a_stage_with_p2_t4_r3() -> None:
    net = on_meta("attention-452")

    for stage in net.get_submodule("stages").children():
        first, *modules, last = stage.children()
        assert [type(first).__name__, type(last).__name__] == ["PreActivationUnit", "PreActivationUnit"]
        assert len(modules) == 6
        for module in modules:
            counts = {part: len(module.get_submodule(part)) for part in ("before", "trunk", "after")}  # type: ignore[arg-type]
            bottom = module.mask[0][0]  # the hourglass
            while bottom.deeper is not None:
                assert (len(bottom.before), len(bottom.skip), len(bottom.after)) == (3, 1, 3)
                bottom = bottom.deeper
            assert counts == {"before": 2, "trunk": 4, "after": 2}
            assert (len(bottom.before), len(bottom.after)) == (3, 3)


@pytest.mark.parametrize(
    ("dataset", "maps"),
    [("cifar10", [(64, 32, 32), (128, 16, 16), (256, 8, 8)]), ("digits", [(32, 8, 8), (64, 4, 4)])],
)
def test_the_stages_have_the_stated_channels_and_sizes(dataset: str, maps: list[tuple[int, ...]]) -> None:
    info = DATASETS[dataset]
    net = on_meta("attention-56", dataset)
    seen: list[tuple[int, ...]] = []
    for stage in net.get_submodule("stages").children():
        stage.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[1:])))

    net(torch.empty((2, *info.shape), device="meta"))

    assert seen == maps


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: "-".join(options.values()))
def test_gradients_reach_every_parameter(options: dict[str, str]) -> None:
    net = small_net(options).train()
    images, labels = some_digits(10), torch.arange(10)

    functional.cross_entropy(net(images), labels).backward()

    without = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


def test_gradients_reach_every_parameter_of_the_resnet() -> None:
    net = small_net(name="resnet-164").train()

    functional.cross_entropy(net(some_digits(10)), torch.arange(10)).backward()

    without = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


@pytest.mark.parametrize("attention", ATTENTION_OPTIONS["attention"])
def test_in_evaluation_an_image_does_not_see_its_neighbours(attention: str) -> None:
    net = small_net({"attention": attention})
    net(some_digits(32))  # running statistics that are not those of the start
    images = some_digits(6, seed=2)

    with torch.no_grad():
        together = net.eval()(images)
        alone = torch.cat([net(image[None]) for image in images])

    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: "-".join(options.values()))
def test_channels_last_gives_the_same_logits(options: dict[str, str]) -> None:
    net = small_net(options).eval()
    images = some_digits(4)

    with torch.no_grad():
        contiguous = net(images)
        channels_last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))

    torch.testing.assert_close(channels_last, contiguous, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "attention-57",
            (3, 32, 32),
            "model 'attention-57': a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92",
        ),
        (
            "attention-20",
            (3, 32, 32),
            "model 'attention-20': a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92",
        ),
        ("attention-56", (3, 64, 64), "attention nets have no form for 64x64 images (allowed: 32x32, 8x8)"),
        ("attention-56", (3, 32, 8), "attention nets have no form for 32x8 images (allowed: 32x32, 8x8)"),
        ("resnet-164", (3, 32, 4), "resnet-164 needs images of at least 8x8, got 32x4"),
    ],
)
def test_a_net_that_cannot_be_is_refused_in_one_line(name: str, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        build(name, {}, shape, 10)

    assert str(caught.value) == message


def test_an_unknown_net_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError) as caught:
        build("resnet-146", {}, (3, 32, 32), 10)

    assert str(caught.value).startswith("model 'resnet-146' is not known; did you mean 'resnet-164'?")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet-164", {"learning": "naive"}, "model 'resnet-164' has no option 'learning' (it has no options)"),
        (
            "attention-56",
            {"learning": "niave"},
            "learning 'niave' is not known; did you mean 'naive'? (allowed: residual, naive)",
        ),
    ],
)
def test_an_option_that_the_net_does_not_have_is_refused(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError) as by_build:
        build(name, options, (3, 32, 32), 10)
    with pytest.raises(ValidationError) as by_spec:
        ModelSpec.model_validate({"name": name, **options})

    assert str(by_build.value) == message
    assert [error["msg"] for error in by_spec.value.errors()] == [f"Value error, {message}"]
