"""Lack of memory, and a device that no longer answers, told from other errors."""

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


def broke_device(error: BaseException, device: torch.device) -> bool:
    """Tell whether nothing in this process can use its GPU any more, as after an access to memory that is not there."""
    if lacks_memory(error):
        return False
    if any(isinstance(each, torch.AcceleratorError) for each in chain(error)):
        return True
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False
