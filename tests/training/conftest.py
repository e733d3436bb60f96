from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ranbench.data.digits import load_digits
from ranbench.data.images import ImageSet
from ranbench.models import build
from ranbench.spec import DataSpec, Protocol
from ranbench.training import EnginePath, Training

Start = Callable[..., Training]
Begin = Callable[..., Training]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These nets are too small for more threads, and one thread leaves the machine to others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """200 training and 100 test images of the handwritten digits."""
    return load_digits(DataSpec.of("digits", 200, 100), Path())


@pytest.fixture
def protocol() -> Protocol:
    """Nine iterations of 32 images, with every kind of augmentation and an evaluation every three."""
    return Protocol.model_validate(
        {
            "iterations": 9,
            "batch": 32,
            "schedule": {"kind": "one-cycle", "lr": 0.1, "rise": 0.5, "start": 0.1, "end": 0.0},
            "optimizer": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
            "augmentation": {"mean": "image", "pad": 1, "flip": True},
            "evaluation": {"every": 3},
            "initialisation": "he-fan-in",
            "precision": "float32",
        }
    )


@pytest.fixture
def start(digits: ImageSet, protocol: Protocol) -> Start:
    """Makes a training of attention-56 on the digits, with changes where they are given."""

    def make(
        seed: int = 0, *, protocol: Protocol = protocol, images: ImageSet = digits, learning: str = "residual"
    ) -> Training:
        net = build("attention-56", {"learning": learning}, images.shape, images.num_classes, form="digits")
        return Training(net, images, images.train_labels, protocol, seed=seed, device=torch.device("cpu"))

    return make


def noise_images(shape: tuple[int, int, int], count: int) -> ImageSet:
    """Images of random pixels: hard to learn, and of any size."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count + 10, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (count + 10,), generator=generator)
    return ImageSet(pixels[:count], labels[:count], pixels[count:], labels[count:], 10)


@pytest.fixture(scope="session")
def begin(digits: ImageSet) -> Begin:
    """Makes a training of attention-56 over fifty steps, with changes of the protocol where they are given."""
    sets = {"digits": (digits, 16), "cifar": (noise_images((3, 32, 32), 30), 4)}

    def make(
        form: str = "digits",
        path: EnginePath | None = None,
        dtype: torch.dtype = torch.float64,
        *,
        images: ImageSet | None = None,
        device: torch.device | None = None,
        seed: int = 0,
        **changes: object,
    ) -> Training:
        of_form, batch = sets[form]
        images = images or of_form
        content = {
            "iterations": 50,
            "batch": batch,
            "schedule": {"kind": "steps", "lr": 0.1, "drops": [], "factor": 0.1},
            "optimizer": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
            "augmentation": {"mean": "image", "pad": 2, "flip": True},
            "evaluation": {"every": 50},
            "initialisation": "he-fan-in",
            "precision": "float32",
        }
        protocol = Protocol.model_validate(content | changes)
        net = build("attention-56", {}, images.shape, images.num_classes, form=form)
        return Training(
            net,
            images,
            images.train_labels,
            protocol,
            seed=seed,
            device=device or torch.device("cpu"),
            path=path,
            dtype=dtype,
        )

    return make
