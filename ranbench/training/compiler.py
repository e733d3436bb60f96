"""Whether torch.compile works here: it needs a compiler that this machine may not have."""

from __future__ import annotations

import random
from functools import cache

import torch

from ranbench.errors import EnvironmentProblem, one_line


def check_compiler(device: torch.device) -> None:
    """Check that nets can be compiled for a device.

    Raises:
        EnvironmentProblem: they cannot.
    """
    fault = compiler_fault(device)
    if fault is not None:
        raise EnvironmentProblem(
            f"--path compiled: nothing can be compiled on this machine ({fault}); install a C++ compiler, for instance "
            "g++, or use --path auto or eager"
        )


@cache
def compiler_fault(device: torch.device) -> str | None:
    """Return why nothing can be compiled for a device, or None; found out once, by compiling a line, in seconds."""
    own = random.random()  # what was compiled before is kept, and would be found without a compiler

    def line(values: torch.Tensor) -> torch.Tensor:
        return values * own + 1

    try:
        torch.compile(line)(torch.ones(8, device=device))
    except Exception as error:  # of torch's many kinds
        return one_line(Exception(str(error).partition("\n")[0] or type(error).__name__))
    return None
