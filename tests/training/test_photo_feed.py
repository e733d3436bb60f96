"""Training on images in files: the same bits after a resume, whose batches are those of the order, decoded anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ranbench.data.decoding import decoded, read_bytes
from ranbench.data.folders import folder_manifest, load_folder
from ranbench.data.photos import PhotoSet
from ranbench.data.reading import Part
from ranbench.errors import DataError
from ranbench.records import MetricPoint
from ranbench.spec import Protocol
from ranbench.training import Finished, Training
from tests.data.photos import make_folder


@pytest.fixture
def images(tmp_path: Path) -> PhotoSet:
    """A good image folder, seen at 16x16."""
    make_folder(tmp_path)
    spec, _ = folder_manifest(tmp_path)
    return load_folder(spec.model_copy(update={"input": 16}), tmp_path)


@pytest.fixture
def photo_protocol(protocol: Protocol) -> Protocol:
    """Nine iterations of five of the twelve images, so that batches run over the end of an epoch."""
    plain = protocol.model_dump(mode="json")
    crop = {"mean": "channel", "std": "channel", "pad": 0, "flip": True, "scale": [0.1, 1.0], "aspect": [0.8, 1.25]}
    square = {"every": 4, "resize": 18, "crop": 16}
    return Protocol.model_validate(
        {**plain, "batch": 5, "augmentation": {**crop, "colour": "pca"}, "evaluation": square}
    )


def begun(images: PhotoSet, protocol: Protocol, seed: int = 0) -> Training:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    return Training(net, images, images.train_labels, protocol, seed=seed, device=torch.device("cpu"), workers=0)


def points(training: Training, steps: int | None = None) -> list[object]:
    """What some steps, or all that are left, give; without times."""
    found: list[object] = []
    for record in training.run():
        if isinstance(record, MetricPoint):
            found.append(record)
        if isinstance(record, Finished):
            found += [record.predictions, record.metrics["error_pct"], record.metrics["top5_error_pct"]]
        if training.step == steps and len(found) and type(record).__name__ == "Stepped":
            return found
    return found


def test_a_resume_goes_on_with_the_very_same_bits(images: PhotoSet, photo_protocol: Protocol) -> None:
    expected = points(begun(images, photo_protocol))
    first = begun(images, photo_protocol)
    before = points(first, 5)
    second = begun(images, photo_protocol)
    second.load_state(*first.state())

    after = points(second)

    assert [*before, *after] == expected
    assert points(begun(images, photo_protocol, seed=1)) != expected


def test_a_step_sees_the_images_of_the_order_with_their_own_draws(images: PhotoSet, photo_protocol: Protocol) -> None:
    training = begun(images, photo_protocol)
    for _ in range(3):
        training.take_step()
    draw, epochs = training.order.draw(2), training.order.epochs(2)  # the last two of epoch 0, three of epoch 1

    seen = training.feed.take(training.rate)

    assert epochs.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(seen.index, draw.index)
    part = Part(0, (0.1, 1.0), (0.8, 1.25), 16)
    for row, index in enumerate(draw.index.tolist()):
        pixels = decoded(read_bytes(images.train_images.path(index)))
        assert seen.images is not None
        expected = part.of(pixels, int(epochs[row]), index, mirrored=bool(draw.mirrored[row]))
        assert torch.equal(seen.images[row], expected)


def test_an_image_that_was_damaged_since_ends_the_step_with_its_name(
    images: PhotoSet, photo_protocol: Protocol
) -> None:
    for index in range(12):
        images.train_images.path(index).write_bytes(b"")

    with pytest.raises(DataError, match=r"class\d/\d\d\d\.(JPEG|png): is empty; mend it"):
        begun(images, photo_protocol).take_step()
