"""Which way a step takes through a device, and in which arithmetic. Chosen once, recorded with every attempt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import torch

from ranbench.errors import EnvironmentProblem

# What --path may ask for. auto: graph for the nets of the catalogue on a CUDA device, eager for all else.
PATHS = ("auto", "eager", "graph", "compiled")
WORKSPACE = ":4096:8"  # what cuBLAS needs for sums that repeat


@dataclass(frozen=True)
class EnginePath:
    """How a step is dispatched; two attempts give the same bits only if this is equal.

    ``graph``: the whole step (augmentation, forward, backward, update) is recorded once as a CUDA graph and replayed.
    ``compiled``: the net goes through torch.compile. ``deterministic``: only operators that repeat bit for bit; on a
    CPU all that are used here do anyway. ``processes``: that each take a share of every batch.
    """

    graph: bool = False
    compiled: bool = False
    channels_last: bool = True
    deterministic: bool = False
    processes: int = 1

    def __str__(self) -> str:
        """Return the words that are recorded, for instance ``graph, channels_last``."""
        step = {(False, False): "eager", (True, False): "graph", (False, True): "compiled"}
        words = [step.get((self.graph, self.compiled), "compiled graph")]
        words.append("channels_last" if self.channels_last else "contiguous")
        words += ["deterministic"] if self.deterministic else []
        return ", ".join([*words, f"{self.processes} processes"] if self.processes > 1 else words)

    @classmethod
    def parse(cls, text: str) -> EnginePath:
        """Read the words back that ``str`` gives; unknown words are passed over."""
        words = text.replace(",", " ").split()
        count = re.search(r"(\d{1,6}) processes", text)
        return cls(
            "graph" in words,
            "compiled" in words,
            "contiguous" not in words,
            "deterministic" in words,
            int(count[1]) if count else 1,
        )

    def shared(self, processes: int) -> EnginePath:
        """Return the path for so many processes; several take their steps the eager way."""
        if processes == 1:
            return replace(self, processes=1)
        return replace(self, graph=False, compiled=False, processes=processes)

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of weights and images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def possible_on(self, device: torch.device) -> bool:
        """Tell whether this device can go that way."""
        return device.type == "cuda" or not self.graph


def choose_path(wanted: str, device: torch.device, *, foreign: bool, deterministic: bool = False) -> EnginePath:
    """Return the path for a net on a device.

    Args:
        wanted: one of ``PATHS``.
        device: where to train.
        foreign: the net is not one of the catalogue. It is given contiguous images, since a user's ``view`` takes no
            others, and always goes the eager way, since it may draw random numbers or look at values on the host.
        deterministic: only operators that repeat bit for bit.

    Raises:
        EnvironmentProblem: the device cannot go the way that was asked for.
    """
    if foreign:
        return EnginePath(channels_last=False, deterministic=deterministic)
    if wanted == "graph" and device.type != "cuda":
        raise EnvironmentProblem("--path graph: CUDA graphs need a CUDA device; use --path auto, eager or compiled")
    on_cuda = device.type == "cuda"
    return EnginePath(
        graph=on_cuda and wanted in {"auto", "graph", "compiled"},
        compiled=wanted == "compiled",
        deterministic=deterministic,
    )


class Arithmetic:
    """The arithmetic of a precision on a device, as a context around forward passes and steps.

    float32: IEEE single precision everywhere, also in the convolutions of a GPU. tf32: the same weights and sums, but
    the convolutions of a GPU round their factors to 10 bits of mantissa. bf16: autocast, which runs
    convolutions and linear layers in bfloat16, with weights, BatchNorm statistics, loss and update in float32.

    Raises:
        EnvironmentProblem: the device does not have it.
    """

    def __init__(self, precision: str, device: torch.device, *, deterministic: bool = False):
        if precision == "tf32" and device.type != "cuda":
            raise EnvironmentProblem(
                "precision tf32: only CUDA devices have it; use --device cuda, or a protocol of precision float32"
            )
        self.precision, self.device, self.deterministic = precision, device, deterministic
        if deterministic and device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)  # read when cuBLAS is first used

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Set the process-wide switches, and put them back."""
        with ExitStack() as stack:
            if self.deterministic:
                stack.enter_context(_DETERMINISTIC)
            if self.device.type == "cuda":
                stack.enter_context(_products("tf32" if self.precision == "tf32" else "ieee"))
            yield

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass. Casts are not cached: a recorded graph would keep an old weight."""
        on = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on, cache_enabled=False)


class _Deterministic:
    """The switches of a process for operators that repeat; put back once none of its threads needs them any more."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = Lock(), 0, (False, False)

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
                self._set(True, True)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._set(*self._before)

    def _set(self, everywhere: bool, convolutions: bool) -> None:
        torch.use_deterministic_algorithms(everywhere)
        torch.backends.cudnn.deterministic = convolutions


_DETERMINISTIC = _Deterministic()


@contextmanager
def _products(precision: str) -> Iterator[None]:
    """Say how a GPU convolves float32; PyTorch's own default is TF32. Matrix products are few, and always exact."""
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined] # made at import, unknown to mypy
    products: Any = torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision
    convolutions.fp32_precision, products.fp32_precision = precision, "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision, products.fp32_precision = before
