"""The test error: every test image once, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ranbench.catalogue import MOST_CLASSES
from ranbench.errors import SpecError

BATCH = 256


@dataclass(frozen=True)
class Evaluated:
    """Top-1 error in percent, mean cross-entropy in nats, predicted class of each image."""

    error_pct: float
    loss: float
    predictions: bytes


def check_classes(count: int) -> None:
    """Check that a prediction of so many classes can be kept.

    Raises:
        SpecError: it cannot.
    """
    if count > MOST_CLASSES:
        raise SpecError(
            f"{count:,} classes: predictions are kept in one byte an image; at most {MOST_CLASSES} are allowed"
        )


@torch.no_grad()
def evaluate(
    net: nn.Module, images: torch.Tensor, labels: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor]
) -> Evaluated:
    """Evaluate ``net`` on ``images`` (N, C, H, W) in their order; the net's mode is as before afterwards.

    Raises:
        SpecError: the net tells more classes apart than a byte does.
        RuntimeError: not every image was counted once (a fault of this function, never of the data).
    """
    training = net.training
    net.eval()
    predicted, losses = [], []
    try:
        for start in range(0, len(images), BATCH):
            logits = net(prepare(images[start : start + BATCH])).float()
            check_classes(logits.shape[1])
            predicted.append(logits.argmax(dim=1))
            losses.append(functional.cross_entropy(logits, labels[start : start + BATCH], reduction="none"))
    finally:
        net.train(training)
    classes, loss = torch.cat(predicted), torch.cat(losses)
    if len(classes) != len(images):
        raise RuntimeError(f"evaluated {len(classes)} of {len(images)} images")
    wrong = int((classes != labels).sum())
    return Evaluated(
        error_pct=100 * wrong / len(images),
        loss=float(loss.double().mean()),
        predictions=bytes(classes.to(torch.uint8).cpu().numpy().tobytes()),
    )
