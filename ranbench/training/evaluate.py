"""The test error: every test image once, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ranbench.catalogue import MOST_CLASSES
from ranbench.data.squares import Squares, pieces
from ranbench.errors import SpecError
from ranbench.records import class_bytes
from ranbench.training.ranks import ALONE, Ranks

BATCH = 256
TOP = 5


@dataclass(frozen=True)
class Evaluated:
    """Top-1 and top-5 error in percent, mean cross-entropy in nats, predicted class of each image."""

    error_pct: float
    loss: float
    predictions: bytes
    top5_error_pct: float


def check_classes(count: int) -> None:
    """Check that a prediction of so many classes can be kept.

    Raises:
        SpecError: it cannot.
    """
    if count > MOST_CLASSES:
        raise SpecError(
            f"{count:,} classes: predictions are kept in two bytes an image; at most {MOST_CLASSES:,} are allowed"
        )


@torch.no_grad()
def evaluate(
    net: nn.Module,
    images: torch.Tensor | Squares,
    labels: torch.Tensor,
    prepare: Callable[[torch.Tensor], torch.Tensor],
    ranks: Ranks = ALONE,
) -> Evaluated:
    """Evaluate ``net`` on ``images`` (N, C, H, W) in their order; the net's mode is as before afterwards.

    Several processes each look at their share, and all get the whole.

    Raises:
        SpecError: the net tells more classes apart than two bytes do.
        RuntimeError: not every image was counted once (a fault of this function, never of the data).
    """
    training, count, own = net.training, 1, ranks.share(len(images))
    net.eval()
    # of each image: how often it was seen, class, loss, whether its label is not among the five; all exact as float64
    found = torch.zeros(4, len(images), dtype=torch.float64, device=labels.device)
    start = own.start
    try:
        for piece in pieces(images, own, BATCH):
            logits = net(prepare(piece)).float()
            count = logits.shape[1]
            check_classes(count)
            rows = found[:, start : start + len(piece)]
            true = labels[start : start + len(piece)]
            rows[0] += 1
            rows[1] = logits.argmax(dim=1)
            rows[2] = functional.cross_entropy(logits, true, reduction="none")
            rows[3] = (logits.topk(min(TOP, count), dim=1).indices != true[:, None]).all(dim=1)
            start += len(piece)
    finally:
        net.train(training)
    ranks.add(found)
    seen, classes, losses, beyond = found.unbind()
    if not bool((seen == 1).all()):
        raise RuntimeError(f"evaluated {int(seen.sum())} of {len(images)} images, each must be seen once")
    wrong = int((classes != labels).sum())
    return Evaluated(
        error_pct=100 * wrong / len(images),
        loss=float(losses.mean()),
        predictions=class_bytes(classes.long().tolist(), count),
        top5_error_pct=100 * int(beyond.sum()) / len(images),
    )
