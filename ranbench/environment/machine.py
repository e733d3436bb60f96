"""What is known of this machine, its libraries and this process."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import socket
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from ranbench.environment.code import commit_and_patch
from ranbench.environment.gpu import driver_version
from ranbench.errors import EnvironmentProblem
from ranbench.masking import mask
from ranbench.records import Environment

if TYPE_CHECKING:
    import torch

PACKAGES = ("ranbench", "torch", "torchvision", "timm", "numpy", "scikit-learn", "scipy", "safetensors", "sqlalchemy")
# On these it depends, beside the engine path, whether results repeat.
VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_CBWR")


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        EnvironmentProblem: there is no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem("--device cuda: this machine has no usable CUDA device; use --device cpu or auto")
    return torch.device(name)


def describe(device: torch.device, threads: int, engine_path: str) -> Environment:
    """Describe this machine, process and code. Secrets in command line and patch are masked."""
    import torch

    on_gpu = device.type == "cuda"
    commit, patch = commit_and_patch()
    return Environment(
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if on_gpu else cpu_name(),
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        threads=threads,
        engine_path=engine_path,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions={**_versions(), **(_versions_of_gpu() if on_gpu else {})},
        commit=commit,
        dirty=bool(patch),
        patch=patch or None,
        host=socket.gethostname(),
        user=_user(),
        command=command_line(),
        settings=_settings(on_gpu),
    )


def command_line() -> str:
    """Return the command that this process was called with; secrets are masked."""
    return mask(shlex.join(sys.argv))


def _settings(on_gpu: bool) -> dict[str, Any]:
    """What the process has set, apart from what a training sets for itself and its engine path names."""
    import torch

    found: dict[str, Any] = {"deterministic_algorithms": torch.are_deterministic_algorithms_enabled()}
    if on_gpu:
        found["cudnn_benchmark"] = torch.backends.cudnn.benchmark
        found["cudnn_deterministic"] = torch.backends.cudnn.deterministic
    return {**found, **{name: os.environ[name] for name in VARIABLES if name in os.environ}}


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cudnn() -> str | None:
    import torch

    found = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return None if found is None else str(found)


def _versions_of_gpu() -> dict[str, str]:
    import torch

    found = {"cuda": torch.version.cuda, "cudnn": _cudnn(), "driver": driver_version()}
    return {name: text for name, text in found.items() if text}


@cache
def cpu_name() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
