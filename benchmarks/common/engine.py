"""Our engine as the benchmarks use it: the images, the paper's protocol, and rates of training."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from common.measure import Options, finish_queue
from ranbench import counts
from ranbench.data import LOADERS, ImageSet, load
from ranbench.data.augmentation import BatchOrder, Preparation
from ranbench.data.streams import torch_seed
from ranbench.models import build, initialise
from ranbench.spec import DataSpec, ModelSpec, Protocol
from ranbench.suite import load_protocol, protocol_files, shipped_suites
from ranbench.training import Together, Training, choose_path

NET = "attention-56"
SEED = 0
CIFAR_10 = DataSpec.of("cifar10")

Rate = Callable[[int], float]  # number of steps -> images per second


def images_of(options: Options) -> tuple[ImageSet, str]:
    """Return CIFAR-10 where it is at hand, else random images of its shape, and which of the two in words.

    Raises:
        DataError: CIFAR-10 is there but damaged.
    """
    if not options.quick and LOADERS["cifar10"].is_there(options.data):
        images = load(CIFAR_10, options.data)
        assert isinstance(images, ImageSet)
        return images, "images: CIFAR-10"
    train, test = options.count(50_000, 512), options.count(10_000, 64)
    generator = torch.Generator().manual_seed(SEED)

    def some(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.randint(0, 256, (count, *CIFAR_10.shape), dtype=torch.uint8, generator=generator)
        return pixels, torch.randint(0, 10, (count,), generator=generator)

    found = ImageSet(*some(train), *some(test), num_classes=10)
    return found, "images: random ones of CIFAR-10's shape (speed does not depend on what they show)"


def paper_protocol(**changes: object) -> Protocol:
    """Return the paper's protocol for CIFAR with ``changes``, without evaluations on the way."""
    found = load_protocol(protocol_files(shipped_suites())["cifar-paper"])
    assert isinstance(found, Protocol)
    plain = found.model_dump() | {"evaluation": {"every": found.iterations}} | changes
    return Protocol.model_validate(plain)


def new_net(images: ImageSet, protocol: Protocol) -> nn.Module:
    """Build the net with the weights that a run of ``SEED`` begins with."""
    net = build(NET, {}, images.shape, images.num_classes, form="cifar")
    initialise(net, protocol.initialisation, torch.Generator().manual_seed(torch_seed(SEED, "init")))
    return net


def macs() -> int:
    """Return the multiply-adds of one forward pass of the net on one image."""
    found = counts.lookup(ModelSpec(name=NET), CIFAR_10)
    assert found is not None
    return found.macs


class Batches:
    """The batches of a run as the engine makes them on the CPU: images and labels of step 0, 1, ..."""

    def __init__(self, images: ImageSet, protocol: Protocol):
        self.data = images
        self.order = BatchOrder.of(images, protocol, SEED)
        self.prepare = Preparation.of(images, protocol)

    def images(self, step: int) -> torch.Tensor:
        """Return the augmented images of a step, channels last."""
        return self.prepare.augmented(self.order.draw(step))

    def targets(self, step: int) -> torch.Tensor:
        """Return their labels."""
        return self.data.train_labels[self.order.draw(step).index]


def engine(
    images: ImageSet,
    device: torch.device,
    *,
    runs_at_once: int = 1,
    precision: str = "float32",
    path: str = "auto",
    batch: int = 64,
) -> Rate:
    """Set up our engine; the result trains on with every call and returns the images per second of all runs together.

    Raises:
        EnvironmentProblem: the device does not train so.
    """
    protocol = paper_protocol(precision=precision, batch=batch)
    way = choose_path(path, device, foreign=False)
    there = images.to(device)  # once for all runs
    together = Together(device, at_once=runs_at_once)
    for run in range(runs_at_once):
        net = new_net(images, protocol)
        labels = images.train_labels
        together.members.append(Training(net, there, labels, protocol, seed=SEED + run, device=device, path=way))
    return rate_of(together, device, batch)


def rate_of(together: Together, device: torch.device, batch: int) -> Rate:
    """Return what trains so many steps more, and gives the images per second of all together."""

    def rate(steps: int) -> float:
        members = len(together.members)
        finish_queue(device)
        began = time.perf_counter()
        for _ in range(steps):
            for _, outcome in together.round():
                if isinstance(outcome, Exception):
                    raise outcome
        finish_queue(device)
        return steps * members * batch / (time.perf_counter() - began)

    return rate


def fixed(rate: Rate, steps: int) -> Callable[[], float]:
    """Return a measurement of always the same number of steps."""
    return lambda: rate(steps)
