"""What the NVIDIA driver tells: its version, and the energy that a GPU has taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_DRIVER = Path("/proc/driver/nvidia/version")


def driver_version() -> str | None:
    """Return the version of the loaded driver, or None where none is."""
    try:
        found = re.search(r"Kernel Module[^\n]*?\s(\d+(?:\.\d+)+)\s", _DRIVER.read_text())
    except OSError:
        return None
    return found[1] if found else None


def energy_joules(device: torch.device) -> float | None:
    """Return the energy that a GPU has taken since its driver was loaded; a difference of two is that of a stretch.

    None for a CPU, and where NVML, or its Python binding (nvidia-ml-py), is missing or does not tell.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    import torch

    try:
        pynvml.nvmlInit()
        name = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(name))) / 1000.0
    except pynvml.NVMLError:
        return None
