"""Responses of stages: what is measured where, on our nets as they are built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ranbench.errors import NothingMeasured, SpecError
from ranbench.models import build
from ranbench.models.ran import ResidualAttentionNet
from ranbench.probes import stage_responses

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


@pytest.mark.parametrize("learning", ["residual", "naive"])
def test_the_response_of_a_stage_is_the_mean_of_the_absolute_values_that_the_next_one_reads(learning: str) -> None:
    net = made(learning=learning)
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
