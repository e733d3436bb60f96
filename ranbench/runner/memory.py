"""Lack of memory, told from other errors."""

from __future__ import annotations

import errno

import torch

from ranbench.errors import chain


def lacks_memory(error: BaseException | None) -> bool:
    """Tell whether memory was lacking: of a device, or of the host, for which PyTorch has no class of its own.

    An error counts too that was raised while such a one was handled, as at the end of a recording.
    """
    kinds = torch.OutOfMemoryError | MemoryError
    return any(
        isinstance(each, kinds)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or "can't allocate memory" in str(each)
        for each in chain(error)
    )
