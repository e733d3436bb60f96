"""Sizes of images and maps: what a pooling gives, the smallest image of every form, odd sizes."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import torch
from layer_graph import graph_of, in_order, traced
from torch import nn

from ranbench.catalogue import ATTENTION_OPTIONS, NETS, STAGES, Form, Modules, smallest_side
from ranbench.errors import SpecError
from ranbench.models import build, initialise
from ranbench.models.layers import max_pool
from ranbench.models.library import CITED
from ranbench.models.ran import PLANS, ResidualAttentionNet

MODULES = Modules((1, 1, 1))


def test_a_pooling_gives_the_half_rounded_down_of_every_size_and_none_of_one_pixel() -> None:
    pool = max_pool()

    sizes = {n: tuple(pool(torch.zeros(1, 1, n, n)).shape[2:]) for n in range(2, 65)}

    assert sizes == {n: (n // 2, n // 2) for n in range(2, 65)}
    with pytest.raises(RuntimeError, match="Output size is too small"):
        pool(torch.zeros(1, 1, 1, 1))


@pytest.mark.parametrize("n", range(2, 33))
def test_every_pixel_lies_in_a_window_and_no_window_reaches_beyond_what_there_is(n: int) -> None:
    line = torch.arange(1.0, n + 1).expand(1, 1, n, n)

    largest = max_pool()(line)[0, 0, 0]

    # windows start at 0, 2, 4, ... and are three wide or end at the border: the last sees the last pixel, but for odd
    # sizes it ends there by itself
    assert largest.tolist() == [min(2 * index + 3, n) for index in range(n // 2)]
    assert largest[-1] == n


def bare_net(form: Form, mask: str, attention: str) -> ResidualAttentionNet:
    """A net on the meta device, made without any check of its own."""
    with torch.device("meta"):
        return ResidualAttentionNet(PLANS[form], MODULES, 3, 10, mask=mask, attention=attention).eval()


def works(net: nn.Module, height: int, width: int) -> bool:
    """Tell whether ``net`` gives logits of images of this size, and no map on the way is empty."""
    try:
        nodes = list(in_order(traced(net, (3, height, width))))
    except (RuntimeError, ValueError):  # of torch itself
        return False
    return nodes[-1].size == (10,) and all(math.prod(node.size) for node in nodes)


@pytest.mark.parametrize("mask", ATTENTION_OPTIONS["mask"])
@pytest.mark.parametrize("form", STAGES)
def test_the_smallest_side_is_the_smallest_at_which_torch_itself_has_a_map_everywhere(form: Form, mask: str) -> None:
    smallest, net = smallest_side(form, mask, "mixed"), bare_net(form, mask, "mixed")

    sides = range(max(smallest - 3, 0), smallest + 4)

    assert [works(net, side, side) for side in sides] == [side >= smallest for side in sides]
    assert works(net, smallest, 64)
    assert not works(net, 64, smallest - 1)


@pytest.mark.parametrize("form", STAGES)
def test_the_smallest_side_of_local_spatial_masks_is_the_smallest_with_a_deviation_in_every_mask(form: Form) -> None:
    smallest = smallest_side(form, "local-convolutions", "spatial")
    net = bare_net(form, "local-convolutions", "spatial")
    sides = range(1, smallest + 4)

    found = []
    for side in sides:
        with suppress(RuntimeError, ValueError):  # of torch itself, which refuses one position
            net(torch.empty((1, 3, side, side), device="meta"))
            found.append(side)

    assert found == [side for side in sides if side >= smallest]


@pytest.mark.parametrize(
    ("form", "mask", "attention", "smallest"),
    [
        ("cifar", "encoder-decoder", "mixed", 8),
        ("imagenet", "encoder-decoder", "mixed", 31),
        ("digits", "encoder-decoder", "mixed", 4),
        ("cifar", "local-convolutions", "mixed", 1),
        ("imagenet", "local-convolutions", "mixed", 3),
        ("cifar", "local-convolutions", "spatial", 5),
        ("imagenet", "local-convolutions", "spatial", 19),
    ],
)
def test_smaller_images_are_refused_with_the_size_allowed(form: Form, mask: str, attention: str, smallest: int) -> None:
    options = {"mask": mask, "attention": attention}

    def make(height: int, width: int) -> nn.Module:
        with torch.device("meta"):
            return build("attention-56", options, (3, height, width), 10, form=form)

    allowed = make(smallest, smallest)
    with pytest.raises(SpecError) as refused:
        make(smallest + 9, smallest - 1)

    assert isinstance(allowed, ResidualAttentionNet)
    assert str(refused.value) == (
        f"model 'attention-56' needs {form} images of at least {smallest}x{smallest} for its poolings and masks, "
        f"got {smallest + 9}x{smallest - 1}"
    )


@pytest.mark.parametrize("mask", ATTENTION_OPTIONS["mask"])
@pytest.mark.parametrize(
    ("form", "shape"), [("cifar", (3, 33, 33)), ("cifar", (3, 31, 35)), ("digits", (1, 9, 9)), ("digits", (1, 5, 7))]
)
def test_odd_images_give_logits(form: Form, shape: tuple[int, int, int], mask: str) -> None:
    net = build("attention-56", {"mask": mask}, shape, 10, form=form).eval()
    initialise(net, "he-fan-in", torch.Generator().manual_seed(0))

    with torch.no_grad():
        logits = net(torch.rand((2, *shape), generator=torch.Generator().manual_seed(1)))

    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["attention-56", "attentionnext-56", "attentioninception-56"])
def test_odd_photographs_give_maps_of_the_sizes_worked_out(name: str) -> None:
    nodes = list(in_order(graph_of(name, "imagenet", (3, 225, 227), 1000)))

    # 225x227 -> stem 113x114 -> pooled 56x57 -> 28x29 -> 14x15 -> 7x8
    assert [node.size for node in nodes if node.op == "sigmoid"] == [(256, 56, 57), (512, 28, 29), (1024, 14, 15)]
    assert next(node.inputs[0].size for node in nodes if node.op == "average") == (2048, 7, 8)
    # 57 goes down to 28, 14, 7 and back
    assert [node.size[1:] for node in nodes if node.word == "interpolate"][:3] == [(14, 14), (28, 28), (56, 57)]


@pytest.mark.parametrize("name", ["attention-56", "attentionnext-56", "attentioninception-56"])
def test_the_smallest_photograph_is_the_same_for_every_family_of_units(name: str) -> None:
    with torch.device("meta"):
        net = build(name, {}, (3, 31, 31), 10, form="imagenet").eval()

    assert tuple(net(torch.empty((1, 3, 31, 31), device="meta")).shape) == (1, 10)


@pytest.mark.parametrize("name", CITED)
def test_the_smallest_photograph_of_a_cited_net_is_the_smallest_that_its_library_takes(name: str) -> None:
    if NETS[name].library == "timm":
        pytest.importorskip("timm")
    with torch.device("meta"):
        net = CITED[name](3, 10).eval()

    taken = []
    for side in {NETS[name].smallest, NETS[name].smallest - 1} - {0}:
        with suppress(RuntimeError):  # of torch itself
            net(torch.empty((1, 3, side, side), device="meta"))
            taken.append(side)

    assert taken == [NETS[name].smallest]


def test_photographs_that_are_too_small_for_a_cited_net_are_refused_with_the_size_allowed() -> None:
    said = "^model 'inception-resnet-v2' needs imagenet images of at least 75x75 for its poolings, got 75x50$"

    with pytest.raises(SpecError, match=said):
        build("inception-resnet-v2", {}, (3, 75, 50), 10, form="imagenet")
