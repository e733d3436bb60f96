"""What a net makes of wrong labels while it trains: does it learn them, or the classes that the images truly have?

Looked at are training images in evaluation mode and as they are, without augmentation: as many as there are test images
to evaluate, half of them with a true label and half with a wrong one, or all of a kind where there are fewer. They are
the first of their kind in an order that is drawn from the run's seed once, so where labels stay the images stay too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ranbench.data.squares import Squares
from ranbench.data.streams import stream
from ranbench.records import MEMORISATION
from ranbench.training.evaluate import evaluate


def chosen(true: np.ndarray, given: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images that are looked at: those whose label is true, and those whose label is wrong.

    Args:
        true: labels of all training images, (N,).
        given: the labels that are trained on, (N,).
        seed: of the run.
        most: images of both kinds together.
    """
    order = stream(seed, "memorised").permutation(len(true))
    wrong = given[order] != true[order]
    return order[~wrong][: most // 2], order[wrong][: most // 2]


@torch.no_grad()
def memorised(
    net: nn.Module,
    images: torch.Tensor | Squares,
    prepare: Callable[[torch.Tensor], torch.Tensor],
    true: np.ndarray,
    given: np.ndarray,
    *,
    seed: int,
    most: int,
) -> dict[str, float]:
    """Return the errors of ``MEMORISATION``: on true labels, on wrong ones, and on these by the true classes.

    A kind of which there is no image has no value. Arguments as of ``evaluate`` and ``chosen``; ``images`` are all
    training images, (N, C, H, W).
    """
    clean, flipped = chosen(true, given, seed, most)
    both = np.concatenate([clean, flipped])
    if not len(both):
        return {}
    index = torch.from_numpy(both).to(images.device)
    labels = torch.from_numpy(given[both]).to(images.device)
    found = evaluate(net, images.index_select(0, index), labels, prepare)
    predicted = np.frombuffer(found.predictions, np.uint8)
    of_clean, of_flipped = predicted[: len(clean)], predicted[len(clean) :]
    wrong = (of_clean != given[clean], of_flipped != given[flipped], of_flipped != true[flipped])
    return {name: 100 * float(misses.mean()) for name, misses in zip(MEMORISATION, wrong, strict=True) if len(misses)}
