"""What is seen of wrong labels: which images are looked at, what the errors are, and that looking changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ranbench.data.images import ImageSet
from ranbench.data.noise import flip_labels
from ranbench.models import build
from ranbench.records import MEMORISATION, MetricPoint
from ranbench.spec import Protocol
from ranbench.training import Finished, Training
from ranbench.training.checkpoint import weights_bytes
from ranbench.training.memorising import chosen, memorised

TRUE = np.arange(200) % 10


class Says(nn.Module):
    """A net that reads the class it answers out of the only pixel of an image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(images[:, 0, 0, 0].long(), 10).float()


def noisy(rate: float) -> np.ndarray:
    return flip_labels(torch.from_numpy(TRUE), rate, 10, seed=0).labels.numpy()


def test_half_of_what_is_looked_at_is_flipped_where_there_are_enough() -> None:
    given = noisy(0.5)

    clean, flipped = chosen(TRUE, given, seed=0, most=60)

    assert (len(clean), len(flipped)) == (30, 30)
    assert (given[clean] == TRUE[clean]).all()
    assert (given[flipped] != TRUE[flipped]).all()
    assert len({*clean.tolist(), *flipped.tolist()}) == 60


def test_of_a_few_flipped_labels_all_are_looked_at_and_no_more_clean_ones_for_it() -> None:
    clean, flipped = chosen(TRUE, noisy(0.1), seed=0, most=60)

    assert (len(clean), len(flipped)) == (30, 20)


def test_a_seed_chooses_the_same_images_each_time_and_another_seed_chooses_others() -> None:
    given = noisy(0.5)

    first, again, other = (chosen(TRUE, given, seed=seed, most=60) for seed in (0, 0, 1))

    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert first[1].tolist() != other[1].tolist()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("given", (0.0, 0.0, 100.0)),  # wrong labels are memorised
        ("true", (0.0, 100.0, 0.0)),  # they are seen through
    ],
)
def test_what_is_memorised_and_what_is_seen_through(answers: str, expected: tuple[float, ...]) -> None:
    given = noisy(0.5)
    says = given if answers == "given" else TRUE
    images = torch.from_numpy(says).reshape(-1, 1, 1, 1)

    found = memorised(Says(), images, lambda some: some, TRUE, given, seed=0, most=100)

    assert found == dict(zip(MEMORISATION, expected, strict=True))


def test_a_kind_without_an_image_has_no_value() -> None:
    images = torch.from_numpy(TRUE).reshape(-1, 1, 1, 1)

    found = memorised(Says(), images, lambda some: some, TRUE, TRUE, seed=0, most=100)

    assert found == {"train_error_clean_pct": 0.0}


def trained(
    digits: ImageSet, protocol: Protocol, *, noisy: bool, anew: bool = False, foreign: bool = False
) -> tuple[list[MetricPoint], Finished, bytes]:
    """Train on half wrong labels; the points, the result and the weights."""
    true = digits.train_labels

    def labels(epoch: int | None) -> torch.Tensor:
        return flip_labels(true, 0.5, 10, 0, epoch).labels

    options: dict[str, Any] = {"redrawn": lambda epoch: labels(epoch).numpy()} if anew else {}
    torch.manual_seed(0)  # a foreign net keeps the weights that it comes with
    net = build("attention-56", {}, digits.shape, digits.num_classes, form="digits")
    net = nn.Sequential(net, nn.Dropout(0.1)) if foreign else net
    training = Training(
        net,
        digits,
        labels(0 if anew else None),
        protocol,
        seed=0,
        device=torch.device("cpu"),
        noisy=noisy,
        foreign=foreign,
        **options,
    )
    *records, last = training.run()
    assert isinstance(last, Finished)
    return [one for one in records if isinstance(one, MetricPoint)], last, weights_bytes(training.state()[0])


@pytest.mark.parametrize("anew", [False, True], ids=["once", "each-epoch"])
@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
def test_looking_at_wrong_labels_changes_no_number_of_a_training(
    digits: ImageSet, protocol: Protocol, anew: bool, foreign: bool
) -> None:
    points, last, weights = trained(digits, protocol, noisy=True, anew=anew, foreign=foreign)

    plain, plain_last, plain_weights = trained(digits, protocol, noisy=False, anew=anew, foreign=foreign)

    assert weights == plain_weights
    assert [point for point in points if point.name not in MEMORISATION] == plain
    assert last.predictions == plain_last.predictions
    seen = {(point.name, point.step) for point in points if point.name in MEMORISATION}
    assert seen == {(name, step) for name in MEMORISATION for step in (3, 6, 9)}
    final = {point.name: point.value for point in points if point.name in MEMORISATION and point.step == 9}
    assert {last.metrics[MEMORISATION[name]] for name in final} == set(final.values())
    assert not {*MEMORISATION.values()} & plain_last.metrics.keys()


def test_labels_drawn_anew_are_those_of_the_epoch_that_was_trained_on_last(
    digits: ImageSet, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 images at batch 32: iteration 6 ends within epoch 0, iteration 9 within epoch 1."""
    asked: list[list[int]] = []

    def spy(net: nn.Module, images: torch.Tensor, prepare: Any, true: Any, given: Any, **rest: Any) -> dict[str, float]:
        asked.append(given.tolist())
        return {}

    monkeypatch.setattr("ranbench.training.loop.memorised", spy)

    trained(digits, protocol, noisy=True, anew=True)

    wanted = [flip_labels(digits.train_labels, 0.5, 10, 0, epoch).labels.tolist() for epoch in (0, 0, 1)]
    assert asked == wanted
