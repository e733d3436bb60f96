"""A resolved suite: cells, published values, claims, and the order of its runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ranbench.errors import UsageError, nearest
from ranbench.records import MODULE_METRICS, SIZE_METRICS
from ranbench.spec import DataSpec, Fidelity, ModelSpec, NoiseSpec, Protocol, RunSpec, differences, fidelity
from ranbench.suite.form import CitedEntry, Cycle, DeviationEntry, Paper, Scalar

Axes = Mapping[str, Scalar]
# Axes that the name of a net implies; they tell cells apart only where a suite spells one of them out.
_WORDLESS = ("r_scales", "spatial_std")  # axes whose values say nothing alone
IMPLIED_AXES = ("p", "t", "r", "r_scales", "spatial_std", "unit_order")
MODEL_AXES = ("model", "learning", "attention", "mask", *IMPLIED_AXES)
AXES = (*MODEL_AXES, "dataset", "input", "noise", "noise_drawn")
MOST_FIRST_SEED = 10**9


@dataclass(frozen=True)
class Cell:
    """One configuration without its seed and protocol; ``axes`` holds every axis value, also the default ones.

    ``cycle``: how often the gate for CI trains it; no part of any run's identity.
    """

    axes: Axes
    model: ModelSpec
    data: DataSpec
    noise: NoiseSpec | None
    cycle: Cycle = "nightly"

    def matches(self, selector: Axes) -> bool:
        """Tell whether this cell has all the axis values of ``selector``."""
        return all(self.axes.get(axis) == value for axis, value in selector.items())

    def run(self, protocol: Protocol, seed: int) -> RunSpec:
        """Resolve to a run spec."""
        own = self.resolved(protocol)
        return RunSpec(model=self.model, data=self.data, noise=self.noise, protocol=own, seed=seed)

    def resolved(self, protocol: Protocol) -> Protocol:
        """Return a protocol as runs of this cell have it: a part of the test set that is all of it is no part."""
        evaluation = protocol.evaluation
        if evaluation.images is None or evaluation.images < self.data.test_images:
            return protocol
        return protocol.model_copy(update={"evaluation": evaluation.model_copy(update={"images": None})})


@dataclass(frozen=True)
class Published:
    """A published value with its cell; ``digits`` are the significant ones that the paper prints."""

    cell: Cell
    metric: str
    value: float
    unit: str
    where: str
    approximate: bool
    note: str | None
    digits: int | None


@dataclass(frozen=True)
class Pair:
    """Two cells that are compared; ``at`` names the values of the axes that a claim ranges over, empty for none."""

    a: Cell
    b: Cell
    at: str = ""


@dataclass(frozen=True)
class Better:
    """In every pair, a's metric is better than b's by more than ``min_effect``."""

    id: str
    says: str
    where: str | None
    pairs: tuple[Pair, ...]
    metric: str
    min_effect: float
    allow_scaled: bool
    kind: Literal["better"] = "better"

    @property
    def a(self) -> Cell:
        """The cell that is said to be better, of the first pair."""
        return self.pairs[0].a

    @property
    def b(self) -> Cell:
        """The other cell of the first pair."""
        return self.pairs[0].b


@dataclass(frozen=True)
class Ratio:
    """In every pair, a's metric is at most (or at least) ``bound`` times b's."""

    id: str
    says: str
    where: str | None
    pairs: tuple[Pair, ...]
    metric: str
    side: Literal["at most", "at least"]
    bound: float
    allow_scaled: bool
    kind: Literal["ratio"] = "ratio"


@dataclass(frozen=True)
class Trend:
    """Along an axis the metric of ``cells``, minus that of ``minus`` for a gap, changes in ``direction``.

    ``cells`` (and ``minus``) hold one cell for each value of ``along``, in the order of the suite. ``min_effect``: of
    the fitted change from the lowest x to the highest.
    """

    id: str
    says: str
    where: str | None
    along: str
    x: Literal["order", "depth", "value"]
    cells: tuple[Cell, ...]
    minus: tuple[Cell, ...]
    metric: str
    direction: Literal["rising", "falling"]
    min_effect: float
    allow_scaled: bool
    kind: Literal["trend"] = "trend"


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


@dataclass(frozen=True)
class Counted:
    """The exact count of the cell's net lies within ``tolerance_pct`` percent of ``published``."""

    id: str
    says: str
    where: str | None
    cell: Cell
    metric: str
    published: float
    tolerance_pct: float
    digits: int | None = None
    kind: Literal["complexity"] = "complexity"


Tested = Better | Value | Trend | Ratio  # by runs; a count is exact
Claim = Tested | Counted


@dataclass(frozen=True)
class Protocols:
    """The protocol to run and the paper's, with their names; ``factor``: by which the one is the other made shorter.

    ``texts``: what stands in the files of these two and of the suite's own, by name.
    """

    chosen_name: str
    chosen: Protocol
    reference_name: str
    reference: Protocol
    factor: float | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A resolved suite. ``protocols`` is None where nothing is trained: it has no seeds, and its nets are counted.

    ``probes``: what is measured of final weights, no part of any run's identity.
    ``varying`` are the axes that tell the cells apart, ``options`` the command-line options that were used to load it.
    ``planned_seeds``: how many the file plans, whatever was asked for.
    """

    name: str
    title: str
    about: str | None
    paper: Paper | None
    file: str
    text: str
    protocols: Protocols | None
    seeds: tuple[int, ...]
    planned_seeds: int
    cells: tuple[Cell, ...]
    published: tuple[Published, ...]
    cited: tuple[CitedEntry, ...]
    claims: tuple[Claim, ...]
    deviations: tuple[DeviationEntry, ...]
    varying: tuple[str, ...]
    options: str
    probes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the suite's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def protocol_texts(self) -> Mapping[str, str]:
        """What stands in the files of its protocols, by name; empty where nothing is trained."""
        return {} if self.protocols is None else self.protocols.texts

    @property
    def trains(self) -> bool:
        """Whether anything is trained."""
        return self.protocols is not None

    @property
    def protocol(self) -> Protocol:
        """The protocol to run.

        Raises:
            UsageError: the suite trains nothing.
        """
        return self._protocols().chosen

    @property
    def protocol_name(self) -> str:
        """Name of the protocol to run; raises as ``protocol``."""
        return self._protocols().chosen_name

    @property
    def reference(self) -> Protocol:
        """The protocol of the published numbers; raises as ``protocol``."""
        return self._protocols().reference

    @property
    def reference_name(self) -> str:
        """Name of the protocol of the published numbers; raises as ``protocol``."""
        return self._protocols().reference_name

    @property
    def factor(self) -> float | None:
        """By which the protocol makes the reference shorter, None where it takes no factor; raises as ``protocol``."""
        return self._protocols().factor

    def _protocols(self) -> Protocols:
        if self.protocols is None:
            raise UsageError(f"suite {self.name!r} trains nothing (seeds: 0), so it has no protocol")
        return self.protocols

    @property
    def fidelity(self) -> Fidelity:
        """Fidelity of ``protocol``, the least of the datasets where they differ; full where nothing is trained."""
        if not self.trains:
            return "full"
        found = [fidelity(self.protocol, self.reference, cell.data) for cell in self.cells]
        return min(found, key=("smoke", "scaled", "full").index)

    @property
    def differences(self) -> tuple[str, ...]:
        """Where the protocol of any cell differs from the reference, in words."""
        if not self.trains:
            return ()
        found = (differences(cell.run(self.protocol, 0).protocol, self.reference) for cell in self.cells)
        return tuple(dict.fromkeys(text for texts in found for text in texts))

    def label(self, cell: Cell) -> str:
        """Name a cell by the axes that vary in this suite, for instance ``attention-56, naive``."""
        axes = self.varying
        return ", ".join(axis_text(axis, cell.axes[axis]) for axis in axes if axis in cell.axes)

    def from_seed(self, first: int | None) -> Suite:
        """Return the suite with as many seeds from ``first`` on; as it is for None, and where nothing is trained.

        Raises:
            UsageError: it is below 0, or above what a seed may be.
        """
        if first is None:
            return self
        if not 0 <= first < MOST_FIRST_SEED:
            raise UsageError(f"--seeds-from {first}: must be 0 or more, and below {MOST_FIRST_SEED:,}")
        if not self.trains:
            return self
        seeds = tuple(range(first, first + len(self.seeds)))
        return replace(self, seeds=seeds, options=f"{self.options} --seeds-from {first}" if first else self.options)

    @property
    def labels(self) -> dict[str, str]:
        """The label of every cell by the cell_id of its runs; empty where nothing is trained."""
        if not self.trains:
            return {}
        return {cell.run(self.protocol, 0).cell_id: self.label(cell) for cell in self.cells}

    def runs(self, only: Mapping[str, str] | None = None) -> tuple[RunSpec, ...]:
        """List the run specs, seed by seed (A0 B0 A1 B1 ...), so that a suite stopped early is balanced.

        Args:
            only: axis -> value as text; cells without all of them are left out.

        Raises:
            UsageError: an axis that is not known, or values that no cell has.
        """
        cells = self.select(only or {})
        first = [cell.run(self.protocol, 0) for cell in cells if self.seeds]
        return tuple(run.with_seed(seed) for seed in self.seeds for run in first)

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


def axis_text(axis: str, value: Scalar) -> str:
    """Say an axis value as the label of a cell has it: ``naive``, ``noise 0.3``, ``r = 2``."""
    if axis in {"p", "t", "r"}:
        return f"{axis} = {value}"
    if axis in {"noise", "input"} and not isinstance(value, str):
        return f"{axis} {value:g}"
    if axis == "noise_drawn":
        return f"drawn {str(value).replace('-', ' ')}"
    return f"{axis.split('_')[0 if axis == 'r_scales' else -1]} {value}" if axis in _WORDLESS else str(value)


def words(axes: Axes) -> str:
    """Say axis values in words: ``model attention-56, learning naive``; without any, ``an empty selection``."""
    return ", ".join(f"{axis} {value}" for axis, value in axes.items()) or "an empty selection"


def count_words(count: float, digits: int | None = None) -> str:
    """Say a count with ``digits`` significant digits, else four at most: ``11.0 million``; whole below a million."""
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{scaled(count / size, digits)} {unit}"
    return f"{count:,.0f}"


def size_unit(metric: str, count: float) -> str:
    """Say what is counted: ``parameters``, ``attention modules in stage 2``, of one the singular."""
    if metric not in MODULE_METRICS:
        return SIZE_METRICS[metric].unit
    label = MODULE_METRICS[metric].label
    return label.replace("modules", "module") if count == 1 else label


def as_printed(value: float, digits: int | None) -> str:
    """Write a number with so many significant digits as the paper prints, trailing zeros among them: ``0.30``."""
    if digits is None or not value:
        return f"{value:g}"
    return f"{value:.{max(0, digits - math.floor(math.log10(abs(value))) - 1)}f}"


def scaled(value: float, digits: int | None) -> str:
    """Write a number of 1 or more with so many significant digits, trailing zeros among them; without, four at most."""
    return f"{value:.4g}" if digits is None else f"{value:.{max(0, digits - len(str(int(value))))}f}"
