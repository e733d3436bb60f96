"""What a name and its options may be: what is refused, in which words, and what is the same net by another name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ranbench.catalogue import Form
from ranbench.errors import SpecError
from ranbench.models import build
from ranbench.spec import ModelSpec, digest

SIDES: dict[Form, int] = {"cifar": 32, "imagenet": 224, "digits": 8}
HAS = "it has: learning, attention, mask, r_scales, spatial_std, unit_order, p, t, r"


def refusal_of_build(name: str, options: dict[str, Any], form: Form) -> str:
    side = SIDES[form]
    with pytest.raises(SpecError) as refused:
        build(name, options, (3, side, side), 10, form=form)
    return str(refused.value)


def refusal_of_spec(name: str, options: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        ModelSpec.model_validate({"name": name, **options})
    return [error["msg"] for error in refused.value.errors()]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "attention-57",
            {},
            "model 'attention-57': a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92",
        ),
        (
            "attention-20",
            {},
            "model 'attention-20': a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92",
        ),
        (
            "attention-453",
            {"p": 1, "t": 2},
            "model 'attention-453': a depth must be 36m + 20 with m of 1 or more; "
            "nearest: attention-452 or attention-488",
        ),
        (
            "attention-56",
            {"p": 2, "t": 4},
            "model 'attention-56': a depth must be 72m + 20, for p = 2 and t = 4, with m of 1 or more; "
            "nearest: attention-92 or attention-164",
        ),
        (
            "attention-92",
            {"t": 3},
            "model 'attention-92': a depth must be 45m + 20, for p = 1 and t = 3, with m of 1 or more; "
            "nearest: attention-65 or attention-110",
        ),
        (
            "attention-452",
            {"p": 3},
            "model 'attention-452': a depth must be 90m + 20, for p = 3 and t = 4, with m of 1 or more; "
            "nearest: attention-380 or attention-470",
        ),
        ("resnet-164", {"learning": "naive"}, "model 'resnet-164' has no option 'learning' (it has: unit_order)"),
        (
            "wrn-16-8",
            {"unit_order": "pre-activation"},
            "model 'wrn-16-8' has no option 'unit_order' (it has no options)",
        ),
        (
            "resnet-164",
            {"unit_order": "postactivation"},
            "unit_order 'postactivation' is not known; did you mean 'post-activation'? "
            "(allowed: pre-activation, post-activation)",
        ),
        ("resnet-152", {"p": 1}, "model 'resnet-152' has no option 'p' (it has no options)"),
        (
            "attention-56",
            {"learning": "niave"},
            "learning 'niave' is not known; did you mean 'naive'? (allowed: residual, naive)",
        ),
        ("attention-56", {"r_scales": "up"}, "r_scales 'up' is not known (allowed: both-ways, way-down)"),
        ("attention-56", {"p": 0}, "p 0 is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", {"r": 17}, "r 17 is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", {"t": True}, "t True is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", {"p": "2"}, "p '2' is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", {"r": 1.0}, "r 1.0 is not allowed (allowed: whole numbers from 1 to 16)"),
    ],
)
def test_a_name_with_its_options_is_refused_by_net_and_spec_in_the_same_line(
    name: str, options: dict[str, Any], message: str
) -> None:
    form: Form = "imagenet" if name == "resnet-152" else "cifar"

    assert refusal_of_build(name, options, form) == message
    assert refusal_of_spec(name, options) == [f"Value error, {message}"]


def test_an_option_that_no_net_has_is_refused() -> None:
    assert refusal_of_build("attention-56", {"depth": 3}, "cifar") == (
        f"model 'attention-56' has no option 'depth' ({HAS})"
    )


def test_an_unknown_net_is_refused_with_the_nearest_name() -> None:
    message = refusal_of_build("resnet-146", {}, "cifar")

    assert message.startswith("model 'resnet-146' is not known; did you mean 'resnet-164'?")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["mynets.tiny", "mynets/tiny.py:net", "./mynets.py:tiny", "a.b.c"])
def test_what_was_meant_as_an_import_path_is_refused_with_its_right_form(name: str) -> None:
    right = {"mynets/tiny.py:net": "mynets.tiny:net", "a.b.c": "a.b:c"}.get(name, "mynets:tiny")

    message = refusal_of_build(name, {}, "cifar")

    assert message.startswith(f"model {name!r} is not known; did you mean {right!r}? ('ranbench list models'")


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        (
            "attention-128",
            "imagenet",
            "model 'attention-128' has no form for imagenet images (datasets it takes: cifar10, cifar100, digits)",
        ),
        (
            "attention-200",
            "imagenet",
            "model 'attention-200' has no form for imagenet images (datasets it takes: cifar10, cifar100, digits)",
        ),
        (
            "attentionnext-56",
            "cifar",
            "model 'attentionnext-56' has no form for cifar images (datasets it takes: imagenet)",
        ),
        ("resnet-152", "digits", "model 'resnet-152' has no form for digits images (datasets it takes: imagenet)"),
        (
            "wrn-28-10",
            "imagenet",
            "model 'wrn-28-10' has no form for imagenet images (datasets it takes: cifar10, cifar100, digits)",
        ),
    ],
)
def test_a_net_without_a_form_for_the_images_is_refused_with_the_datasets_it_takes(
    name: str, form: Form, message: str
) -> None:
    assert refusal_of_build(name, {}, form) == message


@pytest.mark.parametrize(("p", "t"), [(2, 2), (1, 4), (2, 4)])
@pytest.mark.parametrize("name", ["attention-92", "attentionnext-56"])
def test_on_imagenet_p_and_t_are_those_of_the_table(name: str, p: int, t: int) -> None:
    assert refusal_of_build(name, {"p": p, "t": t}, "imagenet") == (
        f"model '{name}' on imagenet has p = 1 and t = 2, which its depth is made of; "
        f"got p = {p} and t = {t} (r may be chosen)"
    )


def test_on_imagenet_where_bn_and_relu_stand_is_the_authors() -> None:
    assert refusal_of_build("attention-56", {"unit_order": "post-activation"}, "imagenet") == (
        "model 'attention-56' on imagenet has unit_order pre-activation, which its authors define; "
        "got 'post-activation' (it may be chosen in the cifar and digits forms)"
    )


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("attention-56", {"p": 1}),
        ("attention-56", {"unit_order": "pre-activation"}),
        ("resnet-164", {"unit_order": "pre-activation"}),
        ("attention-56", {"p": 1, "t": 2, "r": 1, "r_scales": "both-ways"}),
        ("attention-56", {"r_scales": "way-down"}),  # r is 1: it changes nothing
        ("attention-56", {"r": 1, "r_scales": "way-down"}),
        ("attention-56", {"learning": "residual", "attention": "mixed", "mask": "encoder-decoder"}),
        ("attention-452", {"p": 2, "t": 4, "r": 3, "r_scales": "both-ways"}),
        ("attention-200", {"t": 2}),
        ("attentionnext-92", {"p": 1, "t": 2}),
    ],
)
def test_what_the_name_implies_may_be_spelled_out_and_gives_the_same_cell(name: str, spelled: dict[str, Any]) -> None:
    short, long = ModelSpec(name=name), ModelSpec(name=name, **spelled)

    assert long == short
    assert digest(long) == digest(short)


def test_way_down_is_dropped_where_r_is_set_to_1_on_attention_452() -> None:
    plain = ModelSpec(name="attention-452", r=1)

    assert ModelSpec(name="attention-452", r=1, r_scales="way-down") == plain
    assert plain.options == {"learning": "residual", "attention": "mixed", "mask": "encoder-decoder", "r": 1}


def test_what_makes_another_net_makes_another_cell() -> None:
    specs = [
        ModelSpec(name="attention-452", **options)  # type: ignore[arg-type]
        for options in (
            {},
            {"r_scales": "way-down"},
            {"r": 2},
            {"r": 2, "r_scales": "way-down"},
            {"r": 1},
            {"p": 1, "t": 2},
            {"mask": "local-convolutions"},
            {"learning": "naive"},
            {"unit_order": "post-activation"},
        )
    ]

    assert len({digest(spec) for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("name", "options", "m"),
    [
        ("attention-56", {}, 1),
        ("attention-452", {}, 6),
        ("attention-452", {"p": 1, "t": 2}, 12),
        ("attention-92", {"p": 2, "t": 4}, 1),
        ("attentionnext-56", {}, None),
        ("resnet-164", {}, None),
    ],
)
def test_the_modules_per_stage_follow_from_name_p_and_t(name: str, options: dict[str, int], m: int | None) -> None:
    assert ModelSpec(name=name, **options).modules_per_stage == m  # type: ignore[arg-type]
