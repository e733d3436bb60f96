"""Memory and energy that a stretch of work took."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_GROUPS = Path("/sys/fs/cgroup")
_PROCESS_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process since ``reset_peak_memory``."""
    line = next(line for line in _PROCESS_STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def peak_device_memory_bytes(device: torch.device) -> int | None:
    """Return the largest memory taken of a GPU since ``reset_peak_memory``, None for a CPU."""
    import torch

    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def give_back_memory() -> None:
    """Return to the system what nothing in the process needs any more: it lies with Python's and C's allocators."""
    import gc

    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def out_of_memory_kills() -> int:
    """Return how many processes the system has killed for lack of memory: of this control group, else of the machine.

    A number that has grown says that it was one of them, not which.
    """
    with contextlib.suppress(OSError):
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
        for folder in (_GROUPS / group, _GROUPS):
            with contextlib.suppress(OSError):
                return _count((folder / "memory.events").read_text())
    with contextlib.suppress(OSError):
        return _count(Path("/proc/vmstat").read_text())
    return 0


def _count(lines: str) -> int:
    return next((int(line.split()[1]) for line in lines.splitlines() if line.startswith("oom_kill ")), 0)


def reset_peak_memory(device: torch.device) -> bool:
    """Begin a new measurement, so that a small net is not told the memory of a large one before it.

    Returns False where the system cannot do that for the process; then its memory is not to be recorded.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    give_back_memory()  # what earlier runs left
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _PROCESS_STATUS.is_file()
