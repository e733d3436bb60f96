"""Test images in files look to an evaluation, a probe and a picture as those that lie in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ranbench.data.augmentation import Draw
from ranbench.data.folders import folder_manifest, load_folder
from ranbench.data.photos import PhotoSet
from ranbench.data.squares import PhotoPreparation, Squares, as_test_images, images_to_test, pieces
from ranbench.spec import Protocol
from tests.data.photos import make_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> PhotoSet:
    """A good image folder."""
    root = tmp_path_factory.mktemp("squares")
    make_folder(root)
    return load_folder(folder_manifest(root)[0], root)


@pytest.fixture
def protocol() -> Protocol:
    """With everything that images of many sizes need."""
    return Protocol.model_validate(
        {
            "iterations": 1,
            "batch": 4,
            "schedule": {"kind": "cosine", "lr": 0.1, "end": 0.0},
            "optimizer": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
            "augmentation": {
                "mean": "channel",
                "std": "channel",
                "pad": 0,
                "flip": True,
                "scale": [0.1, 1.0],
                "aspect": [0.8, 1.2],
                "colour": "pca",
            },
            "evaluation": {"every": 1, "resize": 20, "crop": 16, "images": 5},
            "initialisation": "he-fan-in",
            "precision": "float32",
        }
    )


def test_they_are_counted_chosen_and_read_in_pieces(images: PhotoSet, protocol: Protocol) -> None:
    tests = images_to_test(images, protocol, CPU, workers=0)
    assert isinstance(tests, Squares)

    in_pieces = list(pieces(tests, range(1, 5), 3))

    assert len(tests) == 5
    assert [len(piece) for piece in in_pieces] == [3, 1]
    assert torch.equal(torch.cat(in_pieces), tests[1:5])
    assert torch.equal(tests[[4, 2]], torch.stack([tests[4:5][0], tests[2:3][0]]))
    assert torch.equal(tests.index_select(0, torch.tensor([4, 2]))[0:2], tests[[4, 2]])
    assert tests[0:1].shape == (1, 3, 16, 16)


def test_training_images_are_seen_plainly_too(images: PhotoSet, protocol: Protocol) -> None:
    plain = as_test_images(images, protocol, CPU, workers=0)

    assert len(plain) == 12


def test_they_are_prepared_as_the_protocol_says(images: PhotoSet, protocol: Protocol) -> None:
    prepare = PhotoPreparation(images, protocol, CPU)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(2, dtype=torch.int64)
    shifts = torch.tensor([[0.1, 0.0, -0.1], [0.0, 0.0, 0.0]])
    mean, std = (np.array(value)[:, None, None] for value in (images.mean, images.std))

    plain = prepare.plain(pixels)
    lit = prepare.augmented(Draw(none, none, none, none.bool(), shifts=shifts, images=pixels))

    expected = (pixels.numpy() / 255 - mean) / std
    assert np.allclose(plain.numpy(), expected, atol=1e-5)
    assert np.allclose(lit.numpy(), expected + shifts.numpy()[:, :, None, None] / std, atol=1e-5)
    assert plain.is_contiguous(memory_format=torch.channels_last)
