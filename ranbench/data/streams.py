"""Named random streams of one seed. Changing what one stream is used for never shifts another.

Every draw is a function of (seed, name, numbers), so nothing needs to be saved to resume, and the order in which
streams are used does not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def stream_key(seed: int, name: str, *numbers: int) -> int:
    """Return a 128-bit key for the stream ``name`` (for instance ``order``) and its numbers (for instance an epoch)."""
    text = "/".join(map(str, ("ranbench", seed, name, *numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Return the generator of a stream, at its start; a counter-based one, equal on every machine."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, name, *numbers)))


def torch_seed(seed: int, name: str, *numbers: int) -> int:
    """Return a 63-bit seed for a ``torch.Generator``."""
    return stream_key(seed, name, *numbers) & (2**63 - 1)


@contextmanager
def global_stream(seed: int, name: str, *numbers: int) -> Iterator[None]:
    """Let torch's global generators draw from a stream, for code that takes no generator; then put them back.

    These are the processor's generator and, where CUDA is in use, that of every CUDA device.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    key = torch_seed(seed, name, *numbers)
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(key)
        if devices:
            torch.cuda.manual_seed_all(key)
        yield
