"""How the runs of a command are shared out: in this process, or to workers; and where those run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ranbench.execution import Executor, Here, LocalPool, Stop


@dataclass(frozen=True)
class Dispatch:
    """The choices of one call.

    Attributes:
        jobs: worker processes; None: one, or on Ray as many as there is room for.
        executor: local: workers on this machine; ray: on a Ray cluster; None: this process itself where there is one
            job, else local.
        address: of a Ray cluster; None: a local one is started.
        gpus_per_run: on Ray, what each worker has of a GPU.
        retries: how often a run is tried again whose worker process died, alone and from its last checkpoint. What a
            run itself comes to is never tried again: divergence, lack of memory, an error, a timeout.
    """

    jobs: int | None = None
    executor: Literal["local", "ray"] | None = None
    address: str | None = None
    gpus_per_run: float = 1.0
    retries: int = 1

    @property
    def in_workers(self) -> bool:
        """Whether runs are trained in other processes than this one."""
        return self.executor is not None or self.processes > 1

    @property
    def processes(self) -> int:
        """Worker processes on this machine."""
        return self.jobs or 1


def make_executor(dispatch: Dispatch, device: str, stop: Stop) -> Executor:
    """Make the executor of a call; no process is started yet."""
    if not dispatch.in_workers:
        return Here(stop)
    return LocalPool(dispatch.processes, environments(dispatch.processes, device))


def environments(jobs: int, device: str) -> list[Mapping[str, str]]:
    """Give each worker a GPU of those that this process sees, in turn."""
    if device != "cuda":
        return [{}]
    import torch

    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    gpus = named or [str(number) for number in range(torch.cuda.device_count())]
    return [{"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} for number in range(jobs)]
