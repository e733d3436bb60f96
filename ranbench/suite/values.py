"""A resolved suite: cells, published values, claims, and the order of its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ranbench.errors import UsageError, nearest
from ranbench.spec import DataSpec, Fidelity, ModelSpec, NoiseSpec, Protocol, RunSpec, differences, fidelity
from ranbench.suite.form import DeviationEntry, Paper, Scalar

Axes = Mapping[str, Scalar]
MODEL_AXES = ("model", "learning", "attention", "mask")
AXES = (*MODEL_AXES, "dataset", "noise")


@dataclass(frozen=True)
class Cell:
    """One configuration without its seed and protocol; ``axes`` holds every axis value, also the default ones."""

    axes: Axes
    model: ModelSpec
    data: DataSpec
    noise: NoiseSpec | None

    def matches(self, selector: Axes) -> bool:
        """Tell whether this cell has all the axis values of ``selector``."""
        return all(self.axes.get(axis) == value for axis, value in selector.items())

    def run(self, protocol: Protocol, seed: int) -> RunSpec:
        """Resolve to a run spec; a part of the test set that is all of it is not called a part."""
        evaluation = protocol.evaluation
        if evaluation.images is not None and evaluation.images >= self.data.test_images:
            protocol = protocol.model_copy(update={"evaluation": evaluation.model_copy(update={"images": None})})
        return RunSpec(model=self.model, data=self.data, noise=self.noise, protocol=protocol, seed=seed)


@dataclass(frozen=True)
class Published:
    """A published value with its cell."""

    cell: Cell
    metric: str
    value: float
    unit: str
    where: str
    approximate: bool
    note: str | None


@dataclass(frozen=True)
class Better:
    """a's metric is better than b's by more than ``min_effect``."""

    id: str
    says: str
    where: str | None
    a: Cell
    b: Cell
    metric: str
    min_effect: float
    allow_scaled: bool
    kind: Literal["better"] = "better"


@dataclass(frozen=True)
class Value:
    """The cell's metric lies within ``margin`` of ``published``."""

    id: str
    says: str
    where: str | None
    cell: Cell
    metric: str
    published: float
    margin: float
    allow_scaled: bool
    kind: Literal["value"] = "value"


Claim = Better | Value


@dataclass(frozen=True)
class Suite:
    """A resolved suite. ``protocol`` is the one to run, ``reference`` the paper's.

    ``varying`` are the axes that tell the cells apart, ``options`` the command-line options that were used to load it.
    """

    name: str
    title: str
    about: str | None
    paper: Paper | None
    file: str
    text: str
    reference_name: str
    reference: Protocol
    protocol_name: str
    protocol: Protocol
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    published: tuple[Published, ...]
    claims: tuple[Claim, ...]
    deviations: tuple[DeviationEntry, ...]
    varying: tuple[str, ...]
    options: str

    @property
    def sha256(self) -> str:
        """Hash of the suite's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def fidelity(self) -> Fidelity:
        """Fidelity of ``protocol``; the least of the datasets where they differ."""
        found = [fidelity(self.protocol, self.reference, cell.data) for cell in self.cells]
        return min(found, key=("smoke", "scaled", "full").index)

    @property
    def differences(self) -> tuple[str, ...]:
        """Where the protocol of any cell differs from the reference, in words."""
        found = (differences(cell.run(self.protocol, 0).protocol, self.reference) for cell in self.cells)
        return tuple(dict.fromkeys(text for texts in found for text in texts))

    def label(self, cell: Cell) -> str:
        """Name a cell by the axes that vary in this suite, for instance ``attention-56, naive``."""
        axes = self.varying
        return ", ".join(_axis_text(axis, cell.axes[axis]) for axis in axes if axis in cell.axes)

    @property
    def labels(self) -> dict[str, str]:
        """The label of every cell by the cell_id of its runs."""
        return {cell.run(self.protocol, 0).cell_id: self.label(cell) for cell in self.cells}

    def runs(self, only: Mapping[str, str] | None = None) -> tuple[RunSpec, ...]:
        """List the run specs, seed by seed (A0 B0 A1 B1 ...), so that a suite stopped early is balanced.

        Args:
            only: axis -> value as text; cells without all of them are left out.

        Raises:
            UsageError: an axis that is not known, or values that no cell has.
        """
        cells = self.select(only or {})
        return tuple(cell.run(self.protocol, seed) for seed in self.seeds for cell in cells)

    def select(self, only: Mapping[str, str]) -> tuple[Cell, ...]:
        """List the cells that have the given axis values, which are text: numbers are compared as numbers.

        Raises:
            UsageError: an axis that is not known, or values that no cell has.
        """
        for axis in only:
            if axis not in AXES:
                raise UsageError(f"--only {axis}: unknown axis{nearest(axis, AXES)} (allowed: {', '.join(AXES)})")
        chosen = tuple(
            cell for cell in self.cells if all(_reads(cell.axes.get(axis), value) for axis, value in only.items())
        )
        if not chosen:
            wanted = ", ".join(f"{axis}={value}" for axis, value in only.items())
            raise UsageError(f"--only {wanted}: no cell of suite {self.name!r} has these values")
        return chosen


def _reads(value: Scalar | None, text: str) -> bool:
    """Tell whether an axis value is what ``text`` says; a cell without the axis has no value to match."""
    if isinstance(value, int | float):
        try:
            return value == float(text)
        except ValueError:
            return False
    return value == text


def _axis_text(axis: str, value: Scalar) -> str:
    return f"noise {value:g}" if axis == "noise" and isinstance(value, float) else str(value)


def words(axes: Axes) -> str:
    """Say axis values in words: ``model attention-56, learning naive``; without any, ``an empty selection``."""
    return ", ".join(f"{axis} {value}" for axis, value in axes.items()) or "an empty selection"
