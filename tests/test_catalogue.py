"""What a suite may name: nets by depth, their options, datasets."""

from __future__ import annotations

import pytest

from ranbench.catalogue import (
    ATTENTION_OPTIONS,
    DATASETS,
    NETS,
    Modules,
    attention_modules,
    check_option,
    dataset_info,
    net_info,
)
from ranbench.errors import SpecError


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("attention-56", Modules(m=1)),
        ("attention-92", Modules(m=2)),
        ("attention-128", Modules(m=3)),
        ("attention-164", Modules(m=4)),
        ("attention-236", Modules(m=6)),
        ("attention-452", Modules(m=6, p=2, t=4, r=3)),
        ("attention-200", Modules(m=5)),
        ("resnet-164", None),
    ],
)
def test_a_depth_gives_the_modules_of_the_paper(name: str, modules: Modules | None) -> None:
    assert attention_modules(name) == modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "attention-57",
            "model 'attention-57': a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92",
        ),
        (
            "attention-20",
            "model 'attention-20': a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92",
        ),
        (
            "atention-56",
            "model 'atention-56' is not known; did you mean 'attention-56'? "
            "('ranbench list models' prints all; attention-N takes N = 36m + 20)",
        ),
        (
            "attention-5\u0666",
            "model 'attention-5\u0666' is not known; did you mean 'attention-56'? "
            "('ranbench list models' prints all; attention-N takes N = 36m + 20)",
        ),
    ],
)
def test_a_net_that_does_not_exist_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        net_info(name)

    assert str(refused.value) == message


def test_a_dataset_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as refused:
        dataset_info("cifar-10")

    assert str(refused.value) == ("dataset 'cifar-10' is not known; did you mean 'cifar10'? (allowed: cifar10, digits)")


@pytest.mark.parametrize(
    ("model", "option", "value", "message"),
    [
        ("resnet-164", "learning", "naive", "model 'resnet-164' has no option 'learning' (it has no options)"),
        (
            "attention-56",
            "depth",
            "56",
            "model 'attention-56' has no option 'depth' (it has: learning, attention, mask)",
        ),
        (
            "attention-56",
            "learning",
            "naiv",
            "learning 'naiv' is not known; did you mean 'naive'? (allowed: residual, naive)",
        ),
        ("attention-56", "learning", 5, "learning 5 is not known (allowed: residual, naive)"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(model: str, option: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        check_option(model, option, value)

    assert str(refused.value) == message


def test_every_attention_net_has_the_same_options_with_the_papers_choice_first() -> None:
    names = [name for name in NETS if name.startswith("attention-")]

    assert {name: net_info(name).options for name in names} == dict.fromkeys(names, ATTENTION_OPTIONS)
    assert {option: values[0] for option, values in ATTENTION_OPTIONS.items()} == {
        "learning": "residual",
        "attention": "mixed",
        "mask": "encoder-decoder",
    }


def test_a_net_that_is_not_listed_is_known_by_its_depth() -> None:
    assert net_info("attention-200").summary == "Residual Attention Network, m = 5"


def test_datasets_have_their_sizes() -> None:
    sizes = {name: (info.shape, info.num_classes, info.total_images) for name, info in DATASETS.items()}

    assert sizes == {"cifar10": ((3, 32, 32), 10, 60_000), "digits": ((1, 8, 8), 10, 1_797)}
