"""Exact counts of every net that a suite or the catalogue names, read from ``counts.json`` without torch.

The file is made by ``ranbench.complexity.write_counts``; nothing is counted here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ranbench.catalogue import COUNTED_OPTIONS
from ranbench.records import MODULE_METRICS
from ranbench.spec import DataSpec, ModelSpec

COUNTS_FILE = Path(__file__).with_name("counts.json")
# Forward once, and backward counted as two forward passes (gradients of inputs and of weights).
PASSES_OF_A_STEP = 3


@dataclass(frozen=True)
class Counts:
    """Trained ``parameters`` of a net, and ``macs`` (multiply-adds) of one forward pass on one image.

    ``depth`` is the trunk depth, None where it is not known.
    """

    parameters: int
    macs: int
    depth: int | None

    def training_macs(self, images: int) -> int:
        """Return the multiply-adds of training steps over ``images`` images in all."""
        return PASSES_OF_A_STEP * self.macs * images


@dataclass(frozen=True)
class Recorded(Counts):
    """Counts that a run has made, with the ``code_id`` of the sources that they are of, None where it is not known."""

    code_id: str | None = None


def size_of(metric: str, counts: Counts | None, model: ModelSpec, data: DataSpec) -> int | None:
    """Return a size metric of a net: of its ``counts``, or of its plan where it is the attention modules of a stage."""
    if metric not in MODULE_METRICS:
        value: int | None = getattr(counts, metric) if counts else None
        return value
    modules = model.modules(data.info.form)
    stage = list(MODULE_METRICS).index(metric)
    return modules[stage] if stage < len(modules) else None


def key(model: ModelSpec, data: DataSpec) -> str:
    """Name a net on a dataset with all that its counts depend on: ``attention-56 mask=encoder-decoder @ imagenet 224``.

    Left out are options that change no count (learning, attention) and the split of the dataset; the side of the input
    is given where it is chosen.
    """
    options = (f"{option}={value}" for option, value in model.options.items() if option in COUNTED_OPTIONS)
    side = (str(data.shape[1]),) if data.info.resizable else ()
    return " ".join((model.name, *options, "@", data.name, *side))


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
