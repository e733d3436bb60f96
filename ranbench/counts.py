"""Exact counts of every net that a suite or the catalogue names, read from ``counts.json`` without torch.

The file is made by ``ranbench.complexity.write_counts``; nothing is counted here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ranbench.spec import DataSpec, ModelSpec

COUNTS_FILE = Path(__file__).with_name("counts.json")
# Forward once, and backward counted as two forward passes (gradients of inputs and of weights).
PASSES_OF_A_STEP = 3


@dataclass(frozen=True)
class Counts:
    """Trained ``parameters`` of a net, and ``macs`` (multiply-adds) of one forward pass on one image."""

    parameters: int
    macs: int

    def training_macs(self, images: int) -> int:
        """Return the multiply-adds of training steps over ``images`` images in all."""
        return PASSES_OF_A_STEP * self.macs * images


def key(model: ModelSpec, data: DataSpec) -> str:
    """Name a net with its options on a dataset: ``attention-56 learning=naive ... @ cifar10``.

    The split of a dataset is left out, since no count depends on it.
    """
    options = (f"{option}={value}" for option, value in model.options.items())
    return " ".join((model.name, *options, "@", data.name))


def read_counts(path: Path) -> dict[str, Counts]:
    """Read a file of counts; an empty table where there is none yet."""
    if not path.is_file():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {name: Counts(**entry) for name, entry in entries.items()}


def lookup(model: ModelSpec, data: DataSpec) -> Counts | None:
    """Return the counts of ``model`` on ``data``, or None for a net that the file does not hold."""
    return _shipped().get(key(model, data))


@cache
def _shipped() -> Mapping[str, Counts]:
    return read_counts(COUNTS_FILE)
