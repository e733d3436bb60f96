"""Images in files as a net is given them: what is done to whole batches of squares on the device, and test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from ranbench.data.augmentation import Draw, Preparation
from ranbench.data.images import ImageSet
from ranbench.data.lighting import lit
from ranbench.data.photos import Images, Photos, PhotoSet
from ranbench.data.reading import Centre, Wanted, read, read_now
from ranbench.spec import Protocol


class Squares:
    """The test images of a dataset in files as an evaluation cuts them: uint8 (N, 3, crop, crop), decoded when asked.

    Args:
        photos: the images.
        cut: how each is resized and cut.
        count: how many of them, from the first.
        device: where they are wanted.
        workers: processes that decode ahead.
    """

    def __init__(self, photos: Photos, cut: Centre, count: int, device: torch.device, workers: int):
        self.photos, self.cut, self.count, self.device, self.workers = photos, cut, count, device, workers

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def __getitem__(self, which: slice | Sequence[int]) -> torch.Tensor:
        """Decode some images now."""
        index = np.arange(self.count)[which]
        return read_now(self.photos, self.cut, index).to(self.device)

    def index_select(self, axis: int, index: torch.Tensor) -> Squares:
        """Return some of the images, as of a tensor; the axis is that of the images."""
        assert axis == 0
        chosen = Photos(self.photos.root, self.photos.names[index.cpu().numpy()])
        return Squares(chosen, self.cut, len(chosen), self.device, self.workers)

    def pieces(self, rows: range, size: int) -> Iterator[torch.Tensor]:
        """Yield the images ``rows`` in their order, ``size`` at a time, decoded ahead."""
        tasks = [Wanted(np.array(rows[start : start + size])) for start in range(0, len(rows), size)]
        for batch in read(self.photos, self.cut, tasks, min(self.workers, len(tasks))):
            yield batch.to(self.device)


def pieces(images: torch.Tensor | Squares, rows: range, size: int) -> Iterator[torch.Tensor]:
    """Yield the images ``rows`` in their order, ``size`` at a time."""
    if isinstance(images, Squares):
        yield from images.pieces(rows, size)
    else:
        yield from (images[start : min(start + size, rows.stop)] for start in range(rows.start, rows.stop, size))


class PhotoPreparation:
    """uint8 (B, 3, H, W), cut out already -> float32 (B, 3, H, W), channels last: colour, mean and deviation.

    Pixels are whole numbers once they are resized, as those of image files are; the rest is as in ``Preparation``.
    """

    def __init__(self, images: PhotoSet, protocol: Protocol, device: torch.device):
        augmentation, evaluation = protocol.augmentation, protocol.evaluation
        self.resize, self.crop, self.device = evaluation.resize, evaluation.crop, device
        column = partial(torch.tensor, dtype=torch.float32, device=device)
        self.mean = column(images.mean if augmentation.mean == "channel" else (0.0, 0.0, 0.0))[:, None, None]
        self.std = column(images.std)[:, None, None] if augmentation.std == "channel" else None

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the pixels of test images in [0, 1], as the net sees them but for mean and deviation."""
        return images.to(self.device, torch.float32) / 255

    def plain(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare test images."""
        return self._normal(self.pixels(images))

    def augmented(self, draw: Draw) -> torch.Tensor:
        """Prepare the training images that came with a draw."""
        assert draw.images is not None
        pixels = draw.images.to(torch.float32) / 255
        return self._normal(pixels if draw.shifts is None else lit(pixels, draw.shifts))

    def _normal(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = pixels - self.mean
        return (pixels if self.std is None else pixels / self.std).contiguous(memory_format=torch.channels_last)


def prepare(images: Images, protocol: Protocol, device: torch.device) -> Preparation | PhotoPreparation:
    """Return the preparation of a dataset that lies on the device, or in files."""
    if isinstance(images, PhotoSet):
        return PhotoPreparation(images, protocol, device)
    return Preparation.of(images, protocol)


def images_to_test(images: Images, protocol: Protocol, device: torch.device, workers: int) -> torch.Tensor | Squares:
    """Return the test images of a protocol, on the first ones only where it says so."""
    wanted = protocol.evaluation.images
    if isinstance(images, ImageSet):
        return images.test_images[:wanted]
    count = len(images.test_images) if wanted is None else min(wanted, len(images.test_images))
    return Squares(images.test_images, Centre.of(protocol.evaluation), count, device, workers)


def as_test_images(images: Images, protocol: Protocol, device: torch.device, workers: int) -> torch.Tensor | Squares:
    """Return the training images as an evaluation sees them, without augmentation."""
    if isinstance(images, ImageSet):
        return images.train_images
    return Squares(images.train_images, Centre.of(protocol.evaluation), len(images.train_images), device, workers)
