"""The attention nets as wholes: depth, forms, structure, and in float32 what test_properties shows in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from layer_graph import graph_of, on_meta, trunk_depth
from torch import nn
from torch.nn import functional

from ranbench.catalogue import ATTENTION_OPTIONS, DATASETS, NETS, UNIT_ORDER, Form, is_attention_net
from ranbench.models import BASELINES, UNITS, build, initialise

DIGITS = DATASETS["digits"]
OURS = [name for name, info in NETS.items() if info.library is None]
ONE_PER_FORM = ("cifar10", "imagenet", "digits")


def on(dataset: str) -> tuple[Form, tuple[int, int, int], int]:
    """What a dataset asks of a net: form, shape, number of classes."""
    info = DATASETS[dataset]
    return info.form, info.shape, info.num_classes


def small_net(options: Mapping[str, str] | None = None, name: str = "attention-56", seed: int = 0) -> nn.Module:
    net = build(name, options or {}, DIGITS.shape, DIGITS.num_classes, form="digits")
    initialise(net, "he-fan-in", torch.Generator().manual_seed(seed))
    return net


def some_digits(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand((count, *DIGITS.shape), generator=torch.Generator().manual_seed(seed))


def test_every_net_of_the_catalogue_can_be_built() -> None:
    families = {name.split("-")[0] for name in NETS if is_attention_net(name)}

    assert set(BASELINES) == {name for name in NETS if not is_attention_net(name)}
    assert set(UNITS) == families


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        *[(name, dataset) for name in OURS for dataset in ONE_PER_FORM if DATASETS[dataset].form in NETS[name].forms],
        ("attention-56", "cifar100"),
    ],
)
def test_every_net_gives_one_logit_per_class(name: str, dataset: str) -> None:
    logits = graph_of(name, *on(dataset))

    assert logits.size == (DATASETS[dataset].num_classes,)


@pytest.mark.parametrize(
    ("name", "dataset", "options"),
    [
        *[(name, "cifar10", {}) for name in NETS if name.startswith("attention-")],
        *[(name, "imagenet", {}) for name in NETS if is_attention_net(name) and "imagenet" in NETS[name].forms],
        ("attention-200", "cifar10", {}),
        ("attention-92", "cifar10", {"p": 2, "t": 4}),  # 72m + 20
        ("attention-47", "cifar10", {"t": 1}),  # 27m + 20
        ("attention-83", "cifar10", {"p": 3, "t": 1}),  # 63m + 20
        ("attention-56", "cifar10", {"mask": "local-convolutions", "learning": "naive"}),
        ("attention-56", "cifar10", {"r": 3, "r_scales": "way-down"}),
        ("attention-56", "cifar10", {"unit_order": "post-activation"}),
        ("resnet-164", "cifar10", {"unit_order": "post-activation"}),
    ],
)
def test_the_name_is_the_number_of_weighted_layers_on_the_trunk(
    name: str, dataset: str, options: dict[str, str | int]
) -> None:
    depth = trunk_depth(graph_of(name, *on(dataset), **options))

    assert depth == int(name.rsplit("-", 1)[1])


def test_attention_452_has_six_modules_a_stage_with_p2_t4_r3() -> None:
    net = on_meta("attention-452", *on("cifar10"))

    for stage in net.get_submodule("stages").children():
        first, *modules, last = stage.children()
        assert [type(first).__name__, type(last).__name__] == ["PreActivationUnit", "PreActivationUnit"]
        assert len(modules) == 6
        for module in modules:
            counts = {part: len(module.get_submodule(part)) for part in ("before", "trunk", "after")}  # type: ignore[arg-type]
            assert counts == {"before": 2, "trunk": 4, "after": 2}


def test_another_number_of_modules_may_be_asked_for_by_p_and_t() -> None:
    net = on_meta("attention-92", *on("cifar10"), p=2, t=4)

    modules = [len(list(stage.children())) - 2 for stage in net.get_submodule("stages").children()]

    assert modules == [1, 1, 1]


@pytest.mark.parametrize(
    ("dataset", "maps"),
    [
        ("cifar10", [(64, 32, 32), (128, 16, 16), (256, 8, 8)]),
        ("imagenet", [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]),
        ("digits", [(32, 8, 8), (64, 4, 4)]),
    ],
)
def test_the_stages_have_the_stated_channels_and_sizes(dataset: str, maps: list[tuple[int, ...]]) -> None:
    form, shape, num_classes = on(dataset)
    with torch.device("meta"):
        net = build("attention-56", {}, shape, num_classes, form=form).eval()
    seen: list[tuple[int, ...]] = []
    for stage in net.get_submodule("stages").children():
        stage.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[1:])))

    net(torch.empty((2, *shape), device="meta"))

    assert seen == maps


@pytest.mark.parametrize("order", UNIT_ORDER)
@pytest.mark.parametrize("name", ["attention-56", "resnet-164"])
def test_gradients_reach_every_parameter(name: str, order: str) -> None:
    net = small_net({"unit_order": order}, name).train()

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


@pytest.mark.parametrize("attention", ATTENTION_OPTIONS["attention"])
def test_channels_last_gives_the_same_logits(attention: str) -> None:
    net = small_net({"attention": attention}).eval()
    images = some_digits(4)

    with torch.no_grad():
        contiguous = net(images)
        channels_last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))

    torch.testing.assert_close(channels_last, contiguous, rtol=1e-4, atol=1e-5)
