"""The plain reference: the same net in eager NCHW float32, fed by torchvision's transforms and a DataLoader.

It is as good as the ordinary way is: the loss is not read back in each step, images are pinned and copied beside the
work on CUDA. On the CPU the loader has no workers, since they would take cores from the training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from common.measure import finish_queue
from ranbench.data import ImageSet
from ranbench.spec import Protocol
from ranbench.training import Arithmetic

Item = tuple[torch.Tensor, int]


class Images(Dataset[Item]):
    """Images in memory, one by one through PIL and transforms, as torchvision's CIFAR10 gives them."""

    def __init__(self, images: ImageSet, protocol: Protocol):
        self.images = np.ascontiguousarray(images.train_images.permute(0, 2, 3, 1).cpu().numpy())  # (N, H, W, C)
        self.labels: list[int] = images.train_labels.tolist()
        mean = torch.from_numpy(self.images.mean(axis=0, dtype=np.float64) / 255).permute(2, 0, 1).float()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(images.shape[1], padding=protocol.augmentation.pad),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Lambda(lambda image: image - mean),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def loader(images: ImageSet, protocol: Protocol, *, workers: int = 0, pinned: bool = False) -> DataLoader[Item]:
    """Make the ordinary loader of shuffled batches."""
    return DataLoader(
        Images(images, protocol),
        batch_size=protocol.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=pinned,
        persistent_workers=workers > 0,
    )


def batches(source: DataLoader[Item]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give the batches of one epoch after the other."""
    while True:
        yield from source


def sgd(net: nn.Module, protocol: Protocol) -> torch.optim.SGD:
    """Make the protocol's optimiser, as torch makes it unless told otherwise."""
    choice = protocol.optimizer
    return torch.optim.SGD(
        net.parameters(),
        lr=protocol.schedule.lr,
        momentum=choice.momentum,
        nesterov=choice.nesterov,
        weight_decay=choice.weight_decay,
    )


def step(net: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Take one step and return its loss."""
    loss = functional.cross_entropy(net(images), targets)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


class Plain:
    """The plain training of a net; it goes on with every call of ``rate``."""

    def __init__(self, net: nn.Module, images: ImageSet, protocol: Protocol, device: torch.device, *, workers: int = 0):
        self.net, self.device, self.batch = net.to(device).train(), device, protocol.batch
        self.optimizer = sgd(net, protocol)
        self.arithmetic = Arithmetic("float32", device)  # else the convolutions of a GPU would round their factors
        self.batches = batches(loader(images, protocol, workers=workers, pinned=device.type == "cuda"))

    def rate(self, steps: int) -> float:
        """Train ``steps`` steps; return images per second."""
        finish_queue(self.device)
        began = time.perf_counter()
        with self.arithmetic():
            for images, targets in islice(self.batches, steps):
                there = images.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)
                step(self.net, self.optimizer, *there)
        finish_queue(self.device)
        return steps * self.batch / (time.perf_counter() - began)
