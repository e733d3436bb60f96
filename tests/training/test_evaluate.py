"""The test error: every image once, in evaluation mode, and no trace left in the net."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from ranbench.errors import SpecError
from ranbench.records import class_width, classes_in
from ranbench.training import evaluate
from ranbench.training.evaluate import BATCH


class Looks(nn.Module):
    """Counts what it sees and gives the first pixel's class, through a BatchNorm that is the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(10)
        self.sizes: list[int] = []
        self.modes: set[bool] = set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(images))
        self.modes.add(self.training)
        found: torch.Tensor = self.norm(functional.one_hot(images[:, 0, 0, 0].long(), 10).float())
        return found


CLASSES = torch.arange(2 * BATCH + 17) % 10
IMAGES = CLASSES.to(torch.uint8)[:, None, None, None]


def plain(images: torch.Tensor) -> torch.Tensor:
    return images.float()


def test_every_image_is_counted_once_with_a_remainder_batch() -> None:
    net = Looks()
    labels = CLASSES.clone()
    labels[[0, 300, -1]] = (labels[[0, 300, -1]] + 1) % 10

    found = evaluate(net, IMAGES, labels, plain)

    assert net.sizes == [BATCH, BATCH, 17]
    assert found.error_pct == 100 * 3 / 529
    assert found.predictions == bytes(CLASSES.tolist())


def test_the_loss_is_the_mean_over_images_not_over_batches() -> None:
    labels = CLASSES.clone()
    labels[-1] = (labels[-1] + 1) % 10  # one wrong image, in the small last batch

    found = evaluate(Looks(), IMAGES, labels, plain)

    logits = Looks().eval()(plain(IMAGES))
    assert found.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize(("classes", "refused"), [(256, False), (257, False), (65_536, False), (65_537, True)])
def test_predictions_take_a_byte_or_two_and_more_classes_are_refused(classes: int, refused: bool) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, classes))
    nn.init.zeros_(net[1].weight)
    with torch.no_grad():
        net[1].bias.copy_(torch.arange(classes))

    with pytest.raises(SpecError) if refused else nullcontext() as caught:
        found = evaluate(net, IMAGES, CLASSES, plain)

    if refused:
        assert str(caught.value) == (
            "65,537 classes: predictions are kept in two bytes an image; at most 65,536 are allowed"
        )
    else:
        assert len(found.predictions) == len(IMAGES) * class_width(classes)
        assert set(classes_in(found.predictions, classes)) == {classes - 1}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_and_the_net_left_as_it_was(training: bool) -> None:
    net = Looks().train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}

    evaluate(net, IMAGES, CLASSES, plain)

    assert net.training is training
    assert net.norm.training is training
    assert net.modes == {False}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_net_that_skips_images_is_never_given_an_error_rate() -> None:
    class Skips(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(images) - 1, 10)

    with pytest.raises((RuntimeError, ValueError)):
        evaluate(Skips(), IMAGES, CLASSES, plain)
