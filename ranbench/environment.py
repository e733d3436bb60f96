"""What is known of the machine, the code and this process. The only module that looks at them."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ranbench.catalogue import is_factory
from ranbench.errors import EnvironmentProblem, one_line
from ranbench.records import Environment, Owner

if TYPE_CHECKING:
    import torch

# The sources that make numbers; a change in any of them gives another code_id.
NUMBER_SOURCES = ("catalogue.py", "spec", "data", "models", "training")
PACKAGES = ("ranbench", "torch", "torchvision", "timm", "numpy", "scikit-learn", "scipy", "safetensors", "sqlalchemy")
_PROCESS_STATUS = Path("/proc/self/status")
SILENT_SECONDS = 120.0  # an owner on another host is taken for dead after so long without a heartbeat

_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)(?!\d+/)[^@\s]*@")  # a password may hold a slash; a port is none
_QUERY_PASSWORD = re.compile(r"([?&](?:(?:ssl)?password|passwd|pwd|token)=)[^&\s'\"]+", re.IGNORECASE)


@cache  # one answer in one process, as a module is imported only once: the id is that of the code that is run
def code_id(factory: Path | None = None) -> str:
    """Return the sha256 of the sources that make numbers, computed without git.

    Args:
        factory: the file of a foreign factory, whose content is covered as well (not where it lies, and not what it
            imports).

    Raises:
        EnvironmentProblem: that file cannot be read.
    """
    root = Path(__file__).resolve().parent
    files = [file for part in NUMBER_SOURCES for file in sorted([root / part, *(root / part).rglob("*.py")])]
    total = hashlib.sha256()
    for file in files:
        if file.is_file():
            total.update(f"{file.relative_to(root).as_posix()}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    if factory is not None:
        try:
            total.update(b"factory\0" + hashlib.sha256(factory.read_bytes()).digest())
        except OSError as error:
            raise EnvironmentProblem(f"{factory}: cannot be read: {one_line(error)}") from None
    return total.hexdigest()


def code_of(net: str) -> str | None:
    """Return the code_id that a run of ``net`` would have now, or None where a user's module is not found or read.

    Nothing is imported, so that a user's net need not be trusted for it.
    """
    if not is_factory(net):
        return code_id()
    file = _source_of(net.partition(":")[0])
    try:
        return None if file is None else code_id(file)
    except EnvironmentProblem:
        return None


def _source_of(module: str) -> Path | None:
    """Find the file of a module as the import would, at last in the current folder, without running any code."""
    parts = module.split(".")
    places: Iterable[str] | None = None
    found: ModuleSpec | None = None
    try:
        for depth in range(1, len(parts) + 1):
            if depth > 1 and places is None:
                return None  # a module, which holds no others
            found = _spec_of(".".join(parts[:depth]), None if places is None else list(places))
            if found is None:
                return None
            places = found.submodule_search_locations
    except Exception:  # a finder of some package that fails: its module is not known then
        return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def _spec_of(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, places) for finder in sys.meta_path)
    first = next((spec for spec in found if spec), None)
    return first if first or places is not None else PathFinder.find_spec(name, [str(Path.cwd())])


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
    """Describe this machine, process and code. Passwords in URLs are masked."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    commit, patch = _git()
    return Environment(
        device=device.type,
        device_name=name,
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        threads=threads,
        engine_path=engine_path,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=_versions(),
        commit=commit,
        dirty=bool(patch),
        patch=patch or None,
        host=socket.gethostname(),
        user=_user(),
        command=mask_passwords(shlex.join(sys.argv)),
    )


def mask_passwords(text: str) -> str:
    """Replace the password of every URL in ``text`` by ``***``."""
    return _QUERY_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1***@", text))


def new_owner() -> Owner:
    """Return this process as the owner of an attempt, with a fresh token."""
    process = psutil.Process()
    return Owner(uuid.uuid4().hex, socket.gethostname(), process.pid, process.create_time())


def is_alive(owner: Owner, heartbeat: datetime) -> bool:
    """Tell whether ``owner`` still works: on this host by pid and start time, elsewhere by its last heartbeat."""
    if owner.host != socket.gethostname():
        return (datetime.now(UTC) - heartbeat).total_seconds() < SILENT_SECONDS
    try:
        process = psutil.Process(owner.pid)
        # start times are rounded differently from call to call on some systems
        same = abs(process.create_time() - owner.pid_started) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def peak_memory_bytes(device: torch.device) -> int:
    """Return the largest memory since ``reset_peak_memory``: of the device, or resident in this process."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    line = next(line for line in _PROCESS_STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def reset_peak_memory(device: torch.device) -> bool:
    """Begin a new measurement, so that a small net is not told the memory of a large one before it.

    Returns False where the system cannot do that; then nothing is to be recorded.
    """
    import gc

    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier runs left in the allocator goes back first
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return False
    return _PROCESS_STATUS.is_file()


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def _git() -> tuple[str | None, str]:
    """Commit and uncommitted changes of the repository that this package stands in; (None, '') outside one."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", "--", str(here / "environment.py"))
    commit = git("rev-parse", "HEAD") if tracked else None
    return (commit.strip(), mask_passwords(git("diff", "HEAD") or "")) if commit else (None, "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
