"""Wrong training labels: an exact share of each class, drawn once per run."""

from __future__ import annotations

import pytest
import torch

from ranbench.data.noise import flip_labels

LABELS = torch.arange(5_000) % 10


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7])
def test_the_share_is_exact_in_every_class(rate: float) -> None:
    noisy = flip_labels(LABELS, rate, 10, seed=0)

    changed = torch.bincount(LABELS[noisy.labels != LABELS], minlength=10)

    assert changed.tolist() == [round(500 * rate)] * 10
    assert noisy.changed_pct == pytest.approx(100 * rate)


def test_a_share_that_is_no_whole_number_is_rounded_in_each_class() -> None:
    labels = torch.tensor([0] * 7 + [1] * 4)

    noisy = flip_labels(labels, 0.3, 3, seed=0)

    assert noisy.confusion.sum(dim=1).tolist() == [7, 4, 0]
    assert noisy.confusion.diagonal().tolist() == [5, 3, 0]


def test_the_confusion_matrix_counts_true_class_against_label() -> None:
    noisy = flip_labels(LABELS, 0.3, 10, seed=0)

    expected = torch.zeros(10, 10, dtype=torch.int64)
    for true, label in zip(LABELS.tolist(), noisy.labels.tolist(), strict=True):
        expected[true, label] += 1

    assert torch.equal(noisy.confusion, expected)


def test_every_wrong_class_is_about_equally_frequent() -> None:
    labels = torch.arange(50_000) % 10

    confusion = flip_labels(labels, 0.5, 10, seed=0).confusion

    wrong = confusion[~torch.eye(10, dtype=torch.bool)]
    assert confusion.diagonal().tolist() == [2_500] * 10
    assert int(wrong.min()) > 210  # 2,500 / 9 = 278 with a standard deviation of 15.7
    assert int(wrong.max()) < 350


def test_the_same_seed_gives_the_same_set_and_another_seed_another() -> None:
    first, again, other = (flip_labels(LABELS, 0.3, 10, seed=seed).labels for seed in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_epoch_has_a_noise_of_its_own_with_the_same_exact_share() -> None:
    once, *each = (flip_labels(LABELS, 0.3, 10, 0, epoch) for epoch in (None, 0, 1, 0))

    assert {noisy.changed_pct for noisy in (once, *each)} == {30.0}
    assert torch.equal(each[0].labels, each[2].labels)
    assert not torch.equal(each[0].labels, each[1].labels)
    assert not torch.equal(each[0].labels, once.labels)


def test_the_labels_given_are_left_as_they_were() -> None:
    labels = LABELS.clone()

    flip_labels(labels, 0.5, 10, seed=0)

    assert torch.equal(labels, LABELS)
