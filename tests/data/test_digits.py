"""scikit-learn's digits: sizes, split, grey values, checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits as embedded

from ranbench.data import LOADERS, load
from ranbench.data.digits import check_digits
from ranbench.errors import DataError
from ranbench.spec import DataSpec


def test_the_split_has_1437_and_360_images_stratified_by_class() -> None:
    images = load(DataSpec.of("digits"), Path())

    assert images.train_images.shape == (1437, 1, 8, 8)
    assert images.test_images.shape == (360, 1, 8, 8)
    assert (images.shape, images.num_classes) == ((1, 8, 8), 10)
    total = torch.bincount(torch.tensor(embedded().target))
    share = torch.bincount(images.test_labels) - total * 360 / 1797
    assert float(share.abs().max()) < 1.0


def test_train_and_test_together_are_the_embedded_images_once_each() -> None:
    images = load(DataSpec.of("digits"), Path())
    bunch = embedded()

    def rows(pixels: torch.Tensor, labels: torch.Tensor) -> list[tuple[int, ...]]:
        both = torch.cat([pixels.flatten(1).long(), labels[:, None]], 1)
        return sorted(map(tuple, both.tolist()))

    found = rows(
        torch.cat([images.train_images, images.test_images]), torch.cat([images.train_labels, images.test_labels])
    )

    levels = torch.tensor([round(level * 255 / 16) for level in range(17)])
    assert found == rows(levels[torch.tensor(bunch.images).long()], torch.tensor(bunch.target))


def test_grey_values_are_bytes_from_0_to_255() -> None:
    images = load(DataSpec.of("digits"), Path())

    assert images.train_images.dtype == images.test_images.dtype == torch.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert (int(images.train_images.min()), int(images.train_images.max())) == (0, 255)


def test_another_split_has_the_sizes_asked_for() -> None:
    images = load(DataSpec.of("digits", 200, 100), Path())

    assert (len(images.train_images), len(images.train_labels)) == (200, 200)
    assert (len(images.test_images), len(images.test_labels)) == (100, 100)


def test_the_split_is_the_same_every_time() -> None:
    first, again = (load(DataSpec.of("digits"), Path()) for _ in range(2))

    assert torch.equal(first.train_images, again.train_images)
    assert torch.equal(first.test_labels, again.test_labels)


def test_other_content_than_the_checksum_says_is_refused_in_one_line() -> None:
    bunch = embedded()
    images = bunch.images.copy()
    images[0, 0, 0] += 1
    found = "sha256:" + hashlib.sha256(images.astype("u1").tobytes() + bunch.target.astype("u1").tobytes()).hexdigest()
    expected = DataSpec.of("digits").checksum

    with pytest.raises(DataError) as caught:
        check_digits(images, bunch.target, expected)

    assert str(caught.value) == f"digits: the installed scikit-learn has other images: {found}, expected {expected}"


def test_a_spec_with_another_checksum_is_refused() -> None:
    spec = DataSpec.of("digits").model_copy(update={"checksum": "sha256:0"})

    with pytest.raises(DataError, match="expected sha256:0"):
        load(spec, Path())


def test_verification_says_what_was_checked() -> None:
    assert LOADERS["digits"].verify(Path()) == "embedded in scikit-learn, sha256 as expected"
    assert LOADERS["digits"].fetch is None
