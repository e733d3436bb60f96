"""Wrong training labels (section 4.1, table 5), after Sukhbaatar et al. (arXiv 1406.2080).

The confusion matrix has r, the clean ratio, on the diagonal and (1 - r) / (classes - 1) elsewhere, so a changed label
is never its own class. Open in the paper, and chosen here: the share is exact in every class (to one image), and the
noise is drawn once per run unless a cell says that it is drawn anew for each epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ranbench.data.streams import stream


@dataclass(frozen=True)
class NoisyLabels:
    """Labels after the noise, (N,), and the realised confusion matrix of counts, (true class, label)."""

    labels: torch.Tensor
    confusion: torch.Tensor

    @property
    def changed_pct(self) -> float:
        """Share of labels that are wrong, in percent."""
        total = self.confusion.sum()
        return float(100 * (total - self.confusion.diagonal().sum()) / total)


def flip_labels(
    labels: torch.Tensor, rate: float, num_classes: int, seed: int, epoch: int | None = None
) -> NoisyLabels:
    """Change ``rate`` of the labels of each class to another class, drawn evenly from the run's noise stream.

    Args:
        labels: the true ones, (N,).
        rate: share of them to change.
        num_classes: that a label may name.
        seed: of the run.
        epoch: for which the noise is drawn; None where it is drawn once for all.
    """
    draw = stream(seed, "noise") if epoch is None else stream(seed, "noise", epoch)
    noisy = labels.clone()
    for true in range(num_classes):
        members = torch.nonzero(labels == true).flatten().numpy()
        count = round(rate * len(members))
        chosen = draw.permutation(members)[:count]
        step = draw.integers(1, num_classes, size=count)  # 1 .. classes - 1: never its own class
        noisy[torch.from_numpy(chosen)] = torch.from_numpy((true + step) % num_classes)
    pairs = labels * num_classes + noisy
    confusion = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return NoisyLabels(noisy, confusion)
