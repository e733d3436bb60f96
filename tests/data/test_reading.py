"""Batches from files: the same whoever reads them, in whatever order, and from wherever a resume begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ranbench.data.decoding import decoded, read_bytes
from ranbench.data.folders import folder_manifest, load_folder
from ranbench.data.photos import PhotoSet
from ranbench.data.reading import Centre, Part, Wanted, read, read_now
from ranbench.data.resized_crop import draw_boxes
from ranbench.data.streams import stream
from ranbench.errors import DataError
from tests.data.photos import make_folder

PART = Part(seed=3, scale=(0.08, 1.0), aspect=(0.75, 4 / 3), side=32)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> PhotoSet:
    """A good image folder."""
    root = tmp_path_factory.mktemp("reading")
    make_folder(root)
    return load_folder(folder_manifest(root)[0], root)


def wanted(*index: int, epoch: int = 0) -> Wanted:
    count = len(index)
    return Wanted(np.array(index), np.full(count, epoch), np.zeros(count, bool))


def test_a_part_is_that_of_seed_epoch_and_image_alone(images: PhotoSet) -> None:
    together = next(read(images.train_images, PART, [wanted(5, 0, 7)], workers=0))
    alone = next(read(images.train_images, PART, [wanted(7)], workers=0))
    later = next(read(images.train_images, PART, [wanted(7, epoch=1)], workers=0))

    assert torch.equal(together[2], alone[0])
    assert not torch.equal(later[0], alone[0])


def test_a_part_is_what_torchvision_cuts_at_the_drawn_box(images: PhotoSet) -> None:
    pixels = decoded(read_bytes(images.train_images.path(2)))
    box = draw_boxes(stream(3, "scale-crop", 1, 2), 1, *pixels.shape[1:], scale=PART.scale, aspect=PART.aspect)[0]
    expected = functional.resized_crop(pixels, *box.tolist(), [32, 32], antialias=True)

    found = PART.of(pixels, 1, 2, mirrored=False)

    assert torch.equal(found, expected)
    assert torch.equal(PART.of(pixels, 1, 2, mirrored=True), expected.flip(2))


@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (342, 299), (366, 320)])
def test_the_centre_is_that_of_torchvisions_transforms(images: PhotoSet, resize: int, crop: int) -> None:
    pixels = decoded(read_bytes(images.test_images.path(3)))
    transform = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(crop)])

    found = read_now(images.test_images, Centre(resize, crop), np.array([3]))

    assert torch.equal(found[0], transform(pixels))


@pytest.mark.slow
def test_workers_change_nothing(images: PhotoSet) -> None:
    tasks = [wanted(1, 2, 3), wanted(4, 5), wanted(0, 11, epoch=4)]

    alone = list(read(images.train_images, PART, tasks, workers=0))
    by_two = list(read(images.train_images, PART, tasks, workers=2))

    assert all(torch.equal(a, b) for a, b in zip(alone, by_two, strict=True))


def test_reading_draws_nothing_from_torchs_own_stream(images: PhotoSet) -> None:
    before = torch.get_rng_state()

    list(read(images.train_images, PART, [wanted(0)], workers=0))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_image_that_was_damaged_since_is_named(tmp_path: Path, workers: int) -> None:
    folder = make_folder(tmp_path)
    images = load_folder(folder_manifest(tmp_path)[0], tmp_path)
    file = folder / "train" / "class0" / "003.JPEG"
    file.write_bytes(file.read_bytes()[:300])

    with pytest.raises(DataError) as caught:
        list(read(images.train_images, PART, [wanted(0, 3)], workers=workers))

    assert str(caught.value) == (
        f"{file}: Image is incomplete or truncated; mend it, or leave it out by 'skip: [damaged]' in the suite"
    )
