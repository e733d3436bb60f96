"""How runs are executed: choices of a call that change no number by intent, and are recorded where they matter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ranbench.spec import ModelSpec, RunSpec

COSTLESS = frozenset({"learning", "attention"})  # options of a net that change no cost


@dataclass(frozen=True)
class How:
    """The choices of one call.

    ``path``: which way a step takes, of ``training.paths.PATHS``. ``deterministic``: only operators that repeat bit for
    bit. ``at_once``: runs of one architecture that this process trains at once; None: the engine's choice.
    ``threads``: of each run on a CPU; None: all that PyTorch takes, shared by the runs at once. ``timeout``: seconds by
    the clock, from when this call takes a run up, after which the run is failed. ``trust_imports``: nets and datasets
    named by an import path may be imported. ``workers``: processes that decode the images of a run, where they are in
    files; None: the cores, shared by the processes that train. ``nproc``: processes that train each run together, each
    on its share of every batch; on GPUs each has one.
    """

    path: str = "auto"
    deterministic: bool = False
    at_once: int | None = None
    threads: int | None = None
    timeout: float | None = None
    trust_imports: bool = False
    workers: int | None = None
    nproc: int = 1

    def threads_of_each(self, at_once: int, available: int) -> int:
        """Threads of each process of a run, so that all at once take no more than there are."""
        return self.threads or max(1, available // (at_once * self.nproc))


def workers_of_each(processes: int) -> int:
    """Processes that decode for each of so many that train, so that all together take the cores."""
    return max(1, len(os.sched_getaffinity(0)) // processes)


def by_architecture(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """Group runs that cost the same step: equal nets but for learning and attention, equal images and batches.

    Groups stand in the order of their first run, runs in their order.
    """
    groups: dict[object, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(architecture(spec), []).append(spec)
    return list(groups.values())


def architecture(spec: RunSpec) -> object:
    """Return what the cost of a step depends on; equal ones cost the same."""
    model = [(name, getattr(spec.model, name)) for name in ModelSpec.model_fields if name not in COSTLESS]
    return (*model, spec.data, spec.protocol.batch, spec.protocol.precision)
