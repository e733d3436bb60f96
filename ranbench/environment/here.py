"""What this machine is, as far as it can be told without torch: enough to tell whether a time was measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ranbench.environment.machine import cpu_name
from ranbench.records import Environment

_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Here:
    """The processor, the names of the GPUs (None where the driver does not tell them), and the version of torch."""

    cpu: str
    gpus: tuple[str, ...] | None
    torch: str | None

    @classmethod
    def look(cls) -> Here:
        """Look at this machine."""
        try:
            torch = version("torch")
        except PackageNotFoundError:
            torch = None
        return cls(cpu_name(), _gpus(), torch)

    def holds(self, environment: Environment) -> bool:
        """Tell whether what was measured there holds here: the same processor, GPU and version of torch."""
        if environment.cpu != self.cpu or environment.versions.get("torch") != self.torch:
            return False
        return environment.device == "cpu" or self.gpus is None or environment.device_name in self.gpus


def _gpus() -> tuple[str, ...] | None:
    """Read the names that the driver gives its GPUs; none where there is no driver."""
    if not _GPUS.is_dir():
        return None if Path("/dev/nvidiactl").exists() else ()
    found = []
    for file in sorted(_GPUS.glob("*/information")):
        lines = file.read_text(errors="replace").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return tuple(found) or None
