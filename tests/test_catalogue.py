"""What a suite may name: nets by depth, their options, datasets."""

from __future__ import annotations

from typing import Any

import pytest

from ranbench.catalogue import (
    ATTENTION_OPTIONS,
    DATASETS,
    NETS,
    Form,
    Modules,
    attention_modules,
    check_form,
    check_option,
    dataset_info,
    is_factory,
    is_foreign,
    is_library_net,
    net_info,
)
from ranbench.errors import SpecError

HELP = (
    "('ranbench list models' prints all; attention-N takes N = 36m + 20; timm:NAME, torchvision:NAME and "
    "package.module:factory name other nets)"
)


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("attention-56", Modules((1, 1, 1))),
        ("attention-92", Modules((2, 2, 2))),
        ("attention-128", Modules((3, 3, 3))),
        ("attention-164", Modules((4, 4, 4))),
        ("attention-236", Modules((6, 6, 6))),
        ("attention-452", Modules((6, 6, 6), p=2, t=4, r=3)),
        ("attention-200", Modules((5, 5, 5))),
        ("resnet-164", None),
    ],
)
def test_a_depth_gives_the_modules_of_the_paper(name: str, modules: Modules | None) -> None:
    assert attention_modules(name) == modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "atention-56",
            "model 'atention-56' is not known; did you mean 'attention-56'? " + HELP,
        ),
        (
            "attention-5\u0666",
            "model 'attention-5\u0666' is not known; did you mean 'attention-56'? " + HELP,
        ),
        ("attention-056", "model 'attention-056' is not known; did you mean 'attention-56'? " + HELP),
        ("attention-0", "model 'attention-0': a depth must be 36m + 20 with m from 1 to 277; nearest: attention-56"),
        (
            "attention-10001",
            "model 'attention-10001': a depth must be 36m + 20 with m from 1 to 277; nearest: attention-9992",
        ),
    ],
)
def test_a_net_that_does_not_exist_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        net_info(name)

    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
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
            "attention-128",
            {"p": 2, "t": 4},
            "model 'attention-128': a depth must be 72m + 20, for p = 2 and t = 4, with m of 1 or more; "
            "nearest: attention-92 or attention-164",
        ),
    ],
)
def test_a_depth_that_no_number_of_modules_gives_is_refused(name: str, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        attention_modules(name, **sizes)  # type: ignore[arg-type]

    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "form", "sizes", "modules"),
    [
        ("attention-56", "digits", {}, Modules((1, 1))),
        ("attention-56", "imagenet", {}, Modules((1, 1, 1))),
        ("attention-92", "imagenet", {"r": 2}, Modules((1, 2, 3), r=2)),
        ("attentionnext-92", "imagenet", {}, Modules((1, 2, 3))),
        ("attentioninception-56", "imagenet", {}, Modules((1, 1, 1))),
        ("attention-92", "cifar", {"p": 2, "t": 4}, Modules((1, 1, 1), p=2, t=4)),
        ("attention-452", "cifar", {"p": 1, "t": 2, "r": 1}, Modules((12, 12, 12))),
        ("attention-452", "cifar", {"r_scales": "way-down"}, Modules((6, 6, 6), 2, 4, 3, "way-down")),
    ],
)
def test_form_and_sizes_give_the_modules(name: str, form: Form, sizes: dict[str, Any], modules: Modules) -> None:
    assert attention_modules(name, form, **sizes) == modules


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        (
            "attention-128",
            "imagenet",
            "model 'attention-128' has no form for imagenet images (datasets it takes: cifar10, cifar100, digits)",
        ),
        (
            "attentionnext-56",
            "cifar",
            "model 'attentionnext-56' has no form for cifar images (datasets it takes: imagenet)",
        ),
        ("resnet-152", "digits", "model 'resnet-152' has no form for digits images (datasets it takes: imagenet)"),
    ],
)
def test_a_form_that_a_net_does_not_have_is_refused(name: str, form: Form, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        check_form(name, form)

    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("timm:resnet18.a1_in1k", "library"),
        ("torchvision:resnet18", "library"),
        ("mynets:tiny", "factory"),
        ("package.module:make_net", "factory"),
        ("timm:", None),
        ("torch:resnet18:x", None),
        ("mynets:", None),
        ("my-nets:tiny", None),
        ("resnet-164", None),
        ("a.b:c\u0430", None),
    ],
)
def test_foreign_nets_are_known_by_the_form_of_their_name(name: str, kind: str | None) -> None:
    found = ("library" if is_library_net(name) else None) or ("factory" if is_factory(name) else None)

    assert found == kind
    assert is_foreign(name) == (kind is not None)


def test_a_dataset_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as refused:
        dataset_info("cifar-10")

    assert str(refused.value) == (
        "dataset 'cifar-10' is not known; did you mean 'cifar10'? "
        "(allowed: cifar10, cifar100, imagenet, digits, imagefolder, package.module:factory)"
    )


@pytest.mark.parametrize(
    ("model", "option", "value", "message"),
    [
        ("wrn-16-8", "learning", "naive", "model 'wrn-16-8' has no option 'learning' (it has no options)"),
        (
            "attention-56",
            "depth",
            "56",
            "model 'attention-56' has no option 'depth' "
            "(it has: learning, attention, mask, r_scales, spatial_std, unit_order, p, t, r)",
        ),
        (
            "attention-56",
            "learning",
            "naiv",
            "learning 'naiv' is not known; did you mean 'naive'? (allowed: residual, naive)",
        ),
        (
            "attentionnext-56",
            "unit_order",
            "post-activation",
            "model 'attentionnext-56' has no option 'unit_order' "
            "(it has: learning, attention, mask, r_scales, spatial_std, p, t, r)",
        ),
        ("attention-56", "learning", 5, "learning 5 is not known (allowed: residual, naive)"),
        ("attention-56", "r", 0, "r 0 is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", "p", 17, "p 17 is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", "t", True, "t True is not allowed (allowed: whole numbers from 1 to 16)"),
        ("attention-56", "r", "2", "r '2' is not allowed (allowed: whole numbers from 1 to 16)"),
        ("resnet-164", "r", 2, "model 'resnet-164' has no option 'r' (it has: unit_order)"),
        ("timm:resnet18", "r", 2, "model 'timm:resnet18' has no option 'r' (it has no options)"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(model: str, option: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        check_option(model, option, value)

    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["attention-56", "attention-92"])
def test_where_bn_and_relu_stand_on_imagenet_is_what_the_authors_define(name: str) -> None:
    with pytest.raises(SpecError) as refused:
        check_option(name, "unit_order", "post-activation", "imagenet")

    check_option(name, "unit_order", "pre-activation", "imagenet")
    check_option(name, "unit_order", "post-activation", "cifar")
    assert str(refused.value) == (
        f"model '{name}' on imagenet has unit_order pre-activation, which its authors define; "
        "got 'post-activation' (it may be chosen in the cifar and digits forms)"
    )


def test_every_attention_net_has_the_same_options_with_the_papers_choice_first() -> None:
    names = [name for name in NETS if name.startswith("attention")]
    options = {
        **ATTENTION_OPTIONS,
        "r_scales": ("both-ways", "way-down"),
        "spatial_std": ("biased", "unbiased"),
    }

    assert len(names) == 9
    order = {"unit_order": ("pre-activation", "post-activation")}
    assert {name: net_info(name).options for name in names} == {
        name: options | (order if name.startswith("attention-") else {}) for name in names
    }
    assert {option: values[0] for option, values in ATTENTION_OPTIONS.items()} == {
        "learning": "residual",
        "attention": "mixed",
        "mask": "encoder-decoder",
    }


def test_a_net_that_is_not_listed_is_known_by_its_depth() -> None:
    info = net_info("attention-200")

    assert (info.forms, info.sizes) == (("cifar", "digits"), {"p": 1, "t": 2, "r": 1})


def test_datasets_have_their_sizes() -> None:
    sizes = {name: (info.shape, info.num_classes, info.total_images) for name, info in DATASETS.items()}

    assert sizes == {
        "cifar10": ((3, 32, 32), 10, 60_000),
        "cifar100": ((3, 32, 32), 100, 60_000),
        "imagenet": ((3, 224, 224), 1000, 1_331_167),
        "digits": ((1, 8, 8), 10, 1_797),
    }
