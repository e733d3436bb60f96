"""A dataset brought onto the device of the runs, or a refusal where there is no room for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.data import Images, load
from ranbench.errors import EnvironmentProblem, one_line
from ranbench.runner.memory import lacks_memory
from ranbench.spec import DataSpec

if TYPE_CHECKING:
    import torch


def load_onto(spec: DataSpec, root: Path, device: torch.device, *, trusted: bool = False) -> Images:
    """Load a dataset from the folder ``root`` onto a device; ``trusted``: the code of a user's own may be run.

    Raises:
        DataError: it is missing or damaged.
        SpecError: a user's own is not trusted, or cannot be imported.
        EnvironmentProblem: the memory of the host or of the device does not suffice.
    """
    try:
        return load(spec, root, trusted=trusted).to(device)
    except (MemoryError, RuntimeError, OSError) as error:
        if not lacks_memory(error):
            raise
        raise EnvironmentProblem(
            f"dataset '{spec.name}': not enough memory to load it ({one_line(error)}); free some and repeat the command"
        ) from None
