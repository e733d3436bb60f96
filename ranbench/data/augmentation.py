"""Which images a step sees, and how they are changed: drawn per run, applied to whole batches on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ranbench.data.epochs import LastBatch, Part, batch_parts, iterations_per_epoch
from ranbench.data.images import ImageSet
from ranbench.data.lighting import draw_shifts, lit
from ranbench.data.photos import PhotoSet
from ranbench.data.resized_crop import centres, draw_boxes, resized_crops
from ranbench.data.streams import stream
from ranbench.spec import Augmentation, Protocol

PIECE = 1024  # images that are looked at together where all of them are


@dataclass(frozen=True)
class Draw:
    """What is drawn for each image of a batch, (B,), or of the batches of S iterations, (S, B).

    ``index`` of the image, ``top`` and ``left`` corner of its crop in the padded image, whether it is ``mirrored``.
    ``boxes`` (B, 4): the part that is resized, in place of a crop of the image's own size. ``shifts`` (B, 3): of its
    colours. These two are None where a protocol has none. ``labels`` (B,): where those of an epoch are its own.
    ``images`` (B, 3, H, W): where they are in files, cut out and mirrored by those who read them.
    """

    index: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    mirrored: torch.Tensor
    boxes: torch.Tensor | None = None
    shifts: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    images: torch.Tensor | None = None

    @property
    def parts(self) -> dict[str, torch.Tensor]:
        """All its tensors by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Draw:
        """Return a draw whose tensors are changed."""
        return replace(self, **{name: change(value) for name, value in self.parts.items()})


class BatchOrder:
    """Draws the batches of a run; a pure function of seed and step, kept for two epochs at a time.

    Args:
        num_images: training images.
        batch: images of an iteration.
        seed: of the run.
        pad: pixels on each side of which a crop's corner is drawn.
        flip: whether images are mirrored.
        last_batch: what happens to the rest of an epoch that fills no batch.
        boxes: draws the parts of so many images from a generator, where images are resized.
        colour: whether shifts of colours are drawn.
        labels: gives the labels of an epoch, (num_images,), where they are not those of the whole run.
    """

    def __init__(
        self,
        num_images: int,
        batch: int,
        seed: int,
        *,
        pad: int,
        flip: bool,
        last_batch: LastBatch = "run-on",
        boxes: Callable[[np.random.Generator, int], np.ndarray] | None = None,
        colour: bool = False,
        labels: Callable[[int], np.ndarray] | None = None,
    ):
        self.labels = labels
        self.num_images, self.batch, self.seed = num_images, batch, seed
        self.pad, self.flip, self.last_batch, self.boxes, self.colour = pad, flip, last_batch, boxes, colour
        self._epochs: dict[int, dict[str, np.ndarray]] = {}

    @classmethod
    def of(
        cls,
        images: ImageSet | PhotoSet,
        protocol: Protocol,
        seed: int,
        labels: Callable[[int], np.ndarray] | None = None,
    ) -> BatchOrder:
        """Return the order of a run, with the ``labels`` of each epoch where they are drawn anew.

        Of images in files, those who read them draw the boxes, since they alone know their sizes.
        """
        augmentation, (_, height, width) = protocol.augmentation, images.shape
        scale, aspect = augmentation.scale, augmentation.aspect

        def boxes(generator: np.random.Generator, count: int) -> np.ndarray:
            assert scale is not None and aspect is not None
            return draw_boxes(generator, count, height, width, scale=scale, aspect=aspect)

        return cls(
            len(images.train_images),
            protocol.batch,
            seed,
            pad=augmentation.pad,
            flip=augmentation.flip,
            last_batch=protocol.last_batch,
            boxes=boxes if scale and aspect and isinstance(images, ImageSet) else None,
            colour=augmentation.colour == "pca",
            labels=labels,
        )

    def size(self, step: int) -> int:
        """Return the number of images of iteration ``step`` (from 0): ``batch``, or the rest of an epoch."""
        return sum(map(len, self._parts(step)))

    def epochs(self, step: int) -> np.ndarray:
        """Return the epoch of each image of iteration ``step``, (B,)."""
        return np.concatenate([np.full(len(part), part.epoch) for part in self._parts(step)])

    def epoch(self, step: int) -> int:
        """Return the epoch of the last image of iteration ``step`` (both from 0)."""
        return self._parts(step)[-1].epoch

    def seen(self, steps: int) -> int:
        """Return the number of images of the first ``steps`` iterations, each as often as it is seen."""
        if self.last_batch != "partial":
            return steps * self.batch
        epochs, rest = divmod(steps, int(iterations_per_epoch(self.num_images, self.batch, self.last_batch)))
        return epochs * self.num_images + min(rest * self.batch, self.num_images)

    def draw(self, step: int) -> Draw:
        """Return the images of iteration ``step`` (from 0), (B,)."""
        size = self.size(step)
        return self.block(step, 1).map(lambda rows: rows[0][:size])

    def block(self, first: int, count: int) -> Draw:
        """Return the images of ``count`` iterations from ``first`` on, (count, B); a short one is filled with zeros."""
        each = [self._parts(step) for step in range(first, first + count)]
        parts = _joined([part for parts in each for part in parts])
        drawn = [
            {name: rows[part.start : part.stop] for name, rows in self._epoch(part.epoch).items()} for part in parts
        ]
        sizes = np.array([sum(map(len, parts)) for parts in each])
        there = np.arange(self.batch) < sizes[:, None]
        found = {}
        for name in drawn[0]:
            flat = np.concatenate([rows[name] for rows in drawn])
            whole = np.zeros((*there.shape, *flat.shape[1:]), flat.dtype)
            whole[there] = flat
            found[name] = torch.from_numpy(whole)
        return Draw(**found)

    def _parts(self, step: int) -> tuple[Part, ...]:
        return batch_parts(step, self.num_images, self.batch, self.last_batch)

    def _epoch(self, number: int) -> dict[str, np.ndarray]:
        """All that is drawn for an epoch, by the names of ``Draw``, in the order of its images."""
        if number not in self._epochs:
            self._epochs = {key: epoch for key, epoch in self._epochs.items() if key >= number - 1}
            self._epochs[number] = self._drawn(number)
        return self._epochs[number]

    def _drawn(self, number: int) -> dict[str, np.ndarray]:
        n, seed = self.num_images, self.seed
        corner = stream(seed, "crop", number).integers(0, 2 * self.pad + 1, size=(n, 2))
        coin = stream(seed, "flip", number).integers(0, 2, size=n, dtype=np.uint8)
        drawn = {
            "index": stream(seed, "order", number).permutation(n),
            "top": corner[:, 0],
            "left": corner[:, 1],
            "mirrored": coin.astype(bool) if self.flip else np.zeros(n, bool),
        }
        if self.boxes is not None:
            drawn["boxes"] = self.boxes(stream(seed, "scale-crop", number), n)
        if self.colour:
            drawn["shifts"] = draw_shifts(stream(seed, "colour", number), n)
        if self.labels is not None:
            drawn["labels"] = self.labels(number)[drawn["index"]]
        return drawn


def _joined(parts: list[Part]) -> list[Part]:
    """Join parts that follow one another in an epoch: slices are dear, and there are many steps in a block."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and (last.epoch, last.stop) == (part.epoch, part.start):
            joined[-1] = Part(part.epoch, last.start, part.stop)
        else:
            joined.append(part)
    return joined


_SHARED: WeakKeyDictionary[ImageSet, dict[tuple[object, ...], Preparation]] = WeakKeyDictionary()
_SHARING = Lock()


class Preparation:
    """uint8 (N, C, H, W) -> float32 (B, C, H, W), channels last, as a protocol's ``Augmentation`` says.

    By default: pixels in [0, 1], minus the mean, zero padding, crop. The mean is subtracted before the padding, so that
    the border is the mean image's zero. The paper gives neither this order nor the meaning of its "per-pixel RGB mean":
    here it is the C x H x W mean of the training images, as the protocol that it cites has it.

    The training images are held once more with their padding, and once mirrored where there are flips, so that a crop
    is one gather of whole rows of pixels. Nothing here depends on a run: all runs of a process share one of these.

    Args:
        train_images: on the device where batches are wanted.
        augmentation: how they are changed.
        resize: pixels of the shorter side of images to evaluate on; None: as it is.
        crop: side of their central square; None: the whole image.
    """

    def __init__(
        self,
        train_images: torch.Tensor,
        augmentation: Augmentation,
        *,
        resize: int | None = None,
        crop: int | None = None,
    ):
        self.images, self.pad, self.resize, self.crop = train_images, augmentation.pad, resize, crop
        self.scaled = augmentation.scale is not None
        self.mean = _mean(train_images, augmentation.mean)
        self.std = _std(train_images) if augmentation.std == "channel" else None
        self._shifted = augmentation.order == "subtract-then-pad"
        if self.scaled:
            return
        self._windows = _Windows(train_images, self.pad, flip=augmentation.flip)
        # the mean, and what is not border, as each crop sees them: small tables over mirrored, top and left
        whole = self.mean.expand(train_images.shape[1:])
        self._means = _Windows(whole.unsqueeze(0), self.pad, flip=augmentation.flip).all()
        self._inside = _Windows(torch.ones_like(whole).unsqueeze(0), self.pad, flip=augmentation.flip).all()

    @classmethod
    def of(cls, images: ImageSet, protocol: Protocol) -> Preparation:
        """Return the preparation of a dataset that all runs on its device share; made once, kept with the images."""
        augmentation, evaluation = protocol.augmentation, protocol.evaluation
        key = (augmentation, evaluation.resize, evaluation.crop)
        with _SHARING:
            made = _SHARED.setdefault(images, {})
            if key not in made:
                made[key] = cls(images.train_images, augmentation, resize=evaluation.resize, crop=evaluation.crop)
                if images.train_images.is_cuda:  # runs with other queues of the device may read it at once
                    torch.cuda.synchronize(images.train_images.device)
            return made[key]

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the pixels of whole images in [0, 1], as an evaluation sees them but for mean and deviation."""
        if self.resize is None and self.crop is None:
            return images.to(torch.float32) / 255
        return centres(images, self.resize, self.crop)

    def plain(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare whole images for evaluation."""
        return self._divided(self.pixels(images) - self.mean).contiguous(memory_format=torch.channels_last)

    def augmented(self, draw: Draw) -> torch.Tensor:
        """Prepare the training images of a draw that lies on their device."""
        if self.scaled:
            assert draw.boxes is not None
            side = self.images.shape[2]
            pixels = resized_crops(self.images.index_select(0, draw.index), draw.boxes, draw.mirrored, side)
            pixels = pixels if draw.shifts is None else lit(pixels, draw.shifts)
            return self._divided(pixels - self.mean).contiguous(memory_format=torch.channels_last)
        pixels = self._windows.take(draw).to(torch.float32).div_(255)  # (B, H, W, C)
        side = 2 * self.pad + 1
        window = (draw.mirrored * side + draw.top) * side + draw.left
        if draw.shifts is not None:  # colours come before the border
            pixels += draw.shifts[:, None, None, :] * self._inside.index_select(0, window)
        if self._shifted:
            pixels = pixels.sub_(self._means.index_select(0, window))
            return self._divided(pixels.permute(0, 3, 1, 2))  # channels last in memory
        return self._divided(pixels.permute(0, 3, 1, 2) - self.mean)

    def _divided(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels if self.std is None else pixels / self.std


def _mean(images: torch.Tensor, kind: str) -> torch.Tensor:
    """Return what is subtracted from pixels in [0, 1]: (C, H, W), (C, 1, 1) for ``channel``."""
    if kind == "none":
        return torch.zeros(images.shape[1:], device=images.device)
    whole = torch.zeros(images.shape[1:], dtype=torch.int64, device=images.device)
    for piece in torch.split(images, PIECE):  # to add up, the bytes become integers eight times as large
        whole += piece.sum(dim=0, dtype=torch.int64)
    total = whole.to(torch.float64)
    mean = total / len(images) if kind == "image" else total.mean(dim=(1, 2), keepdim=True) / len(images)
    return (mean / 255).to(torch.float32)


def _std(images: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of each channel over all pixels in [0, 1], (C, 1, 1), from counts of values."""
    values = torch.arange(256, dtype=torch.float64, device=images.device)
    found = []
    for channel in images.unbind(dim=1):
        pieces = [torch.bincount(piece.flatten(), minlength=256) for piece in torch.split(channel, PIECE)]
        share = torch.stack(pieces).sum(dim=0).to(torch.float64) / channel.numel()
        mean = (share * values).sum()
        found.append((share * (values - mean) ** 2).sum().sqrt() / 255)
    return torch.stack(found).to(torch.float32)[:, None, None]


class _Windows:
    """Every crop of padded images, as rows of pixels that lie one after the other in memory."""

    def __init__(self, images: torch.Tensor, pad: int, *, flip: bool):
        self.count, self.channels, self.height, self.width = images.shape
        self.pad, self.flip = pad, flip
        self.down, self.across = self.height + 2 * pad, self.width + 2 * pad
        copies = 2 if flip else 1  # the second one is mirrored
        held = images.new_zeros(copies, self.count, self.down, self.across, self.channels)
        inner = (slice(None), slice(pad, pad + self.height), slice(pad, pad + self.width))
        held[0][inner] = images.permute(0, 2, 3, 1)
        if flip:
            held[1] = held[0].flip(2)
        self._lines = torch.arange(self.height, device=images.device) * self.across
        # row p: the W pixels that begin at pixel p of the whole; these rows overlap
        starts = copies * self.count * self.down * self.across - self.width + 1
        self._rows = held.flatten().as_strided((starts, self.width * self.channels), (self.channels, 1))

    def take(self, draw: Draw) -> torch.Tensor:
        """Return the crops of a draw, (B, H, W, C); a mirrored one is read from the mirrored images."""
        left = torch.where(draw.mirrored, 2 * self.pad - draw.left, draw.left)
        image = draw.mirrored * self.count + draw.index
        first = (image * self.down + draw.top) * self.across + left
        rows = (first.unsqueeze(1) + self._lines).flatten()
        return self._rows.index_select(0, rows).view(len(first), self.height, self.width, self.channels)

    def all(self) -> torch.Tensor:
        """Return all crops of the first image, in the order of mirrored, top and left: (windows, H, W, C)."""
        side = torch.arange(2 * self.pad + 1, device=self._lines.device)
        mirrored = torch.tensor([False, True] if self.flip else [False], device=self._lines.device)
        coins, top, left = torch.cartesian_prod(mirrored.long(), side, side).unbind(1)
        return self.take(Draw(torch.zeros_like(top), top, left, coins.bool()))
