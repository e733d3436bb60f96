"""Named random streams of one seed. Changing what one stream is used for never shifts another.

Every draw is a function of (seed, name, numbers), so nothing needs to be saved to resume, and the order in which
streams are used does not matter.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream_key(seed: int, name: str, *numbers: int) -> int:
    """Return a 128-bit key for the stream ``name`` (for instance ``order``) and its numbers (for instance an epoch)."""
    text = "/".join(map(str, ("ranbench", seed, name, *numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Return the generator of a stream, at its start; a counter-based one, equal on every machine."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, name, *numbers)))


def torch_seed(seed: int, name: str) -> int:
    """Return a 63-bit seed for a ``torch.Generator``."""
    return stream_key(seed, name) & (2**63 - 1)
