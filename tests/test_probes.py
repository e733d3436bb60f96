"""Responses of stages and soft masks: what is measured where, on our nets as they are built."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from ranbench.errors import NothingMeasured, RanbenchError, SpecError
from ranbench.models import build
from ranbench.models.attention import AttentionModule
from ranbench.models.ran import ResidualAttentionNet
from ranbench.probes import MaskNumbers, soft_masks, stage_responses

STAGES = ["response_stage1", "response_stage2"]


def plain(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255


def made(name: str = "attention-56", **options: str) -> nn.Module:
    torch.manual_seed(0)
    net = build(name, options, (1, 8, 8), 10, form="digits").eval()
    with torch.no_grad():  # running statistics of data, not those of a new net
        net.train()
        net(plain(pictures()))
        net.eval()
    return net


def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.parametrize("options", [{}, {"learning": "naive"}, {"unit_order": "post-activation"}])
def test_the_response_of_a_stage_is_the_mean_of_the_absolute_values_that_the_next_one_reads(
    options: dict[str, str],
) -> None:
    net = made(**options)
    assert isinstance(net, ResidualAttentionNet)
    with torch.no_grad():
        first = net.stages[0](net.stem(plain(pictures())))
        second = net.stages[1](first)

    found = stage_responses(net, pictures(), plain)

    ends = [float(features.double().abs().mean()) for features in (first, second)]
    assert [found[name] for name in STAGES] == pytest.approx(ends, rel=1e-12)
    assert [found[f"{name}_relative"] for name in STAGES] == pytest.approx([1.0, ends[1] / ends[0]], rel=1e-12)


def test_every_attention_module_is_measured_after_its_last_unit() -> None:
    net = made("attention-164")
    assert isinstance(net, ResidualAttentionNet)
    with torch.no_grad():
        after_two = nn.Sequential(net.stem, *list(net.stages[0].children())[:3])(plain(pictures()))

    found = stage_responses(net, pictures(), plain)

    names = [f"{stage}_module{module}" for stage in STAGES for module in (1, 2, 3, 4)]
    assert found.keys() == {*STAGES, *(f"{stage}_relative" for stage in STAGES), *names}
    assert found["response_stage1_module2"] == pytest.approx(float(after_two.double().abs().mean()), rel=1e-12)


def test_a_net_without_attention_has_its_three_stages() -> None:
    found = stage_responses(made("wrn-16-8"), pictures()[:2], plain)

    stages = [f"response_stage{number}" for number in (1, 2, 3)]
    assert list(found) == [*stages, *(f"{stage}_relative" for stage in stages)]


def test_batches_change_nothing_but_rounding_and_the_same_ones_nothing() -> None:
    net = made()

    whole, again, parts = (stage_responses(net, pictures(), plain, batch=size) for size in (5, 5, 2))

    assert whole == again
    assert parts == pytest.approx(whole, rel=1e-5)


def test_the_net_is_left_as_it_was() -> None:
    net = made().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    stage_responses(net, pictures(), plain)

    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [module for module in net.modules() if module._forward_hooks] == []


def test_a_net_whose_stages_are_not_known_is_refused_in_one_line() -> None:
    with pytest.raises(SpecError, match="net 'Sequential': its stages are not known, so their responses") as refused:
        stage_responses(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), pictures(), plain)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("factor", "told"),
    [(0.0, "the first stage gives nothing but zeros"), (float("nan"), "response_stage1 is nan")],
)
def test_what_is_no_response_is_not_reported_as_one(factor: float, told: str) -> None:
    net = made("wrn-16-8")
    net.stages[0].register_forward_hook(lambda module, inputs, output: output * factor)  # type: ignore[index, union-attr, operator]

    with pytest.raises(NothingMeasured, match=told):
        stage_responses(net, pictures(), plain)


def by_hand(**options: str) -> nn.Module:
    """An attention module of two channels whose trunk and mask branch pass on what they are given, and a classifier."""
    module = AttentionModule(4, 1, mask="local-convolutions", **options)  # type: ignore[arg-type]
    module.before, module.trunk, module.after = nn.Sequential(), nn.Sequential(), nn.Sequential()
    module.mask[0] = nn.Identity()
    return nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))


class Spoilt(nn.Module):
    """A net that has diverged."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float("nan")


# One image of two channels and two positions.
PIXELS = torch.tensor([[[[0.0, math.log(3)]], [[4.0, -math.log(3)]]]])
SIGMOIDS = [[0.5, 0.75], [1 / (1 + math.exp(-4)), 0.25]]


@pytest.mark.parametrize(("learning", "added"), [("residual", 1), ("naive", 0)])
def test_a_mask_and_the_features_before_and_after_it_are_those_computed_by_hand(learning: str, added: int) -> None:
    trunk = PIXELS[0, :, 0].double().abs()
    mask = torch.tensor(SIGMOIDS, dtype=torch.float64)

    (found,) = soft_masks(by_hand(learning=learning), PIXELS, lambda images: images).modules

    assert (found.stage, found.module, found.attention, found.shape, found.middle) == (1, 1, "mixed", (2, 1, 2), 0.5)
    assert found.before == pytest.approx(trunk.mean(dim=0)[None, None].numpy())
    assert found.mask == pytest.approx(mask.mean(dim=0)[None, None].numpy())
    assert found.after == pytest.approx(((added + mask) * trunk).mean(dim=0)[None, None].numpy())
    assert found.numbers == (
        MaskNumbers(*(pytest.approx(value) for value in (mask.mean(), mask.std(correction=0), 0.25, mask.max())), 0.5),
    )


def test_channel_attention_is_what_is_left_of_each_position_s_length() -> None:
    pixels = torch.tensor([[[[3.0, -1.0]], [[-4.0, 0.0]]]])

    (found,) = soft_masks(by_hand(attention="channel"), pixels, lambda images: images, channel=1).modules

    assert (found.attention, found.middle) == ("channel", 0.0)
    assert found.mask == pytest.approx(np.array([[[-0.8, 0.0]]]))
    assert found.before == pytest.approx(np.array([[[4.0, 0.0]]]))
    (numbers,) = found.numbers
    assert (numbers.low, numbers.high, numbers.share_above) == (-1.0, pytest.approx(0.6), 0.25)


@pytest.mark.parametrize("attention", ["mixed", "channel", "spatial"])
def test_masks_are_those_of_the_forward_pass_in_every_stage(attention: str) -> None:
    net = made("attention-92", attention=attention)
    assert isinstance(net, ResidualAttentionNet)
    second = list(net.stages[1].children())[2]
    assert isinstance(second, AttentionModule)
    with torch.no_grad():
        read = nn.Sequential(net.stem, net.stages[0], *list(net.stages[1].children())[:2], second.before)
        x = read(plain(pictures()))
        mask, predicted = second.mask(x), net(plain(pictures())).argmax(dim=1)

    found = soft_masks(net, pictures(), plain)

    assert [(one.stage, one.module, one.shape) for one in found.modules] == [
        *((1, 1, (32, 8, 8)), (1, 2, (32, 8, 8)), (2, 1, (64, 4, 4)), (2, 2, (64, 4, 4)))
    ]
    assert {one.attention for one in found.modules} == {attention}
    assert np.array_equal(found.modules[3].mask, mask.double().mean(dim=1).numpy())
    assert [one.mean for one in found.modules[3].numbers] == pytest.approx(mask.double().mean(dim=(1, 2, 3)).tolist())
    assert list(found.predicted) == predicted.tolist()


def test_taking_masks_leaves_the_net_as_it_was() -> None:
    net = made().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    soft_masks(net, pictures(), plain)

    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [module for module in net.modules() if module._forward_hooks] == []


@pytest.mark.parametrize(
    ("net", "channel", "kind", "told"),
    [
        (nn.Flatten(), None, SpecError, "net 'Flatten': has no attention modules, and so no soft masks"),
        (by_hand(), 2, SpecError, r"channel 2: there are 2 \(allowed: 0 to 1\)"),
        (nn.Sequential(Spoilt(), by_hand()), None, NothingMeasured, "the mask of stage 1, module 1 is nan"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(
    net: nn.Module, channel: int | None, kind: type[RanbenchError], told: str
) -> None:
    with pytest.raises(kind, match=told) as refused:
        soft_masks(net, PIXELS, lambda images: images, channel=channel)

    assert "\n" not in str(refused.value)
