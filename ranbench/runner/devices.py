"""Whether this machine has the device that is asked for, and whether that can do what runs need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ranbench.environment import choose_device
from ranbench.runner.how import How
from ranbench.runner.processes import check_sharing
from ranbench.spec import RunSpec

if TYPE_CHECKING:
    import torch


def check_device(device: str, how: How, specs: Sequence[RunSpec]) -> torch.device:
    """Return the device that is asked for.

    Raises:
        EnvironmentProblem: this machine has it not, or not the way through the engine that is asked for, or not the
            precision of one of ``specs``.
    """
    from ranbench.training import Arithmetic, choose_path
    from ranbench.training.compiler import check_compiler

    chosen = choose_device(device)
    check_sharing(specs, chosen, how)
    if choose_path(how.path, chosen, foreign=False).compiled:
        check_compiler(chosen)
    for precision in sorted({spec.protocol.precision for spec in specs}):
        Arithmetic(precision, chosen)
    return chosen
