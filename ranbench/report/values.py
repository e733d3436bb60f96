"""The values that a report is made of: frozen, in full precision, without any layout. ``tables`` builds them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ranbench.claims import Beside, DeclaredAfter, Member, Need, Sensitivity
from ranbench.report.against import BesideRow, ResultSet
from ranbench.report.collect import EnvironmentRow, RunRow
from ranbench.spec import Fidelity, Protocol
from ranbench.statistics import Summary


@dataclass(frozen=True)
class ResultRow:
    """One cell's line in a results table. Averages are over the seeds that are done with a finite value.

    ``standing`` says why there is no ``ours``: "not run", "failed", "unfinished" or "missing" (done, but without a
    finite value); else it is "done". ``difference`` is ours minus the paper's. ``planned`` counts the suite's seeds,
    or the recorded ones for another protocol.
    """

    cell: int
    label: str
    axes: Mapping[str, str | int | float]
    fidelity: Fidelity
    published: float | None
    published_where: str | None
    ours: Summary | None
    standing: str
    difference: float | None
    best_on_test: Summary | None
    wrong_labels: Summary | None
    planned: int
    failed: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """A table of one metric over cells; ``notes`` hold for the whole table."""

    metric: str
    rows: tuple[ResultRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Response:
    """How large a cell's features are at the end of a stage, or after one of its attention modules (from 1).

    ``ours`` is the mean absolute value over seeds, ``relative`` the same divided by that of stage 1, of each seed (None
    after a module). ``standing`` is "measured", "not measured" (done, but without it), or as of a result.
    """

    cell: int
    label: str
    axes: Mapping[str, str | int | float]
    fidelity: Fidelity
    stage: int
    module: int | None
    metric: str
    published: float | None
    approximate: bool
    ours: Summary | None
    relative: Summary | None
    standing: str
    planned: int
    difference: float | None
    note: str | None


@dataclass(frozen=True)
class Memorised:
    """What the nets of a cell make of wrong labels after the last iteration: errors on training images, in percent.

    ``clean``: of images whose label is true; ``flipped``: of those whose label is wrong, against that label, so that
    what it lacks to 100 is memorised; ``flipped_true``: of the same, against their true class. ``error`` is the test
    error of the same nets, ``best_on_test`` and ``best_iteration`` the best of all evaluations. ``standing`` is
    "measured", "not measured" (done, but without it), or as of a result.
    """

    cell: int
    label: str
    axes: Mapping[str, str | int | float]
    fidelity: Fidelity
    error: Summary | None
    best_on_test: Summary | None
    best_iteration: Summary | None
    clean: Summary | None
    flipped: Summary | None
    flipped_true: Summary | None
    standing: str
    planned: int


@dataclass(frozen=True)
class VerdictRow:
    """A verdict without its cells.

    ``threshold`` is min_effect of a better claim or a trend, the margin of a value claim, the bound of a ratio, the
    tolerance of a complexity claim. The rest is as in ``claims.Verdict``.
    """

    id: str
    kind: str
    says: str
    where: str | None
    metric: str
    threshold: float
    outcome: str
    effect: float | None
    low: float | None
    high: float | None
    unit: str
    n: tuple[int, ...]
    planned: tuple[int, ...]
    failed: int
    level: float | None
    p: float | None
    test: str
    fidelity: Fidelity | None
    sentence: str
    reason: str | None
    need: Need | None
    beside: Beside
    sensitivity: Sensitivity | None
    adaptive: tuple[int, ...]
    declared_after: DeclaredAfter | None
    members: tuple[Member, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Size:
    """One exact count, the paper's, the difference in percent of it, and the verdict on it where there is a claim.

    ``digits`` are the significant ones that the paper prints.
    """

    ours: int | None
    published: float | None
    difference_pct: float | None
    outcome: str | None
    digits: int | None = None


@dataclass(frozen=True)
class SizeRow:
    """The counts of one cell's net on images of a dataset (channels, height, width), by metric.

    ``source``: whether a run counted the net, or its count is the one stored in the package; None without a count.
    ``code_id``: of the sources that a run counted, where it is known. ``cell`` counts the suite's cells from 1.
    """

    cell: int
    label: str
    axes: Mapping[str, str | int | float]
    dataset: str
    shape: tuple[int, int, int]
    sizes: Mapping[str, Size]
    source: Literal["counted", "stored"] | None
    code_id: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CitedRow:
    """A number that the paper cites for a net that is not run here.

    ``model``: the net of the catalogue that it is of. ``parameters`` and ``macs``: the paper's counts of it where it
    prints them, else exact ones; None where there are none.
    """

    name: str
    metric: str
    value: float
    unit: str
    where: str
    note: str | None
    dataset: str | None = None
    approximate: bool = False
    model: str | None = None
    parameters: float | None = None
    macs: float | None = None


@dataclass(frozen=True)
class CostRow:
    """Size of a cell's net and what its runs took on one kind of machine (``environment`` None where none is done).

    ``macs`` is one forward pass on one image; ``train_macs`` a whole run, each step counted as three forward passes;
    ``depth`` the trunk depth, None where it is not known. ``energy_joules`` is the median over the ``energy_runs`` of
    which it was measured: by NVML, of the whole GPU, of runs that had it to themselves.
    """

    cell: int
    label: str
    axes: Mapping[str, str | int | float]
    fidelity: Fidelity
    parameters: int | None
    macs: int | None
    train_macs: int | None
    depth: int | None
    runs: int
    seconds: float | None
    images_per_s: float | None
    peak_memory_bytes: float | None
    energy_joules: float | None
    energy_runs: int
    environment: EnvironmentRow | None


@dataclass(frozen=True)
class DeviationRow:
    """A declared deviation; ``cells`` are the labels of the cells it touches, empty for all."""

    id: str
    text: str
    where: str | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Results of one protocol that is not the suite's; never beside the paper's numbers, never with a verdict."""

    protocol: Protocol
    fidelity: Fidelity
    differences: tuple[str, ...]
    results: Results
    runs: tuple[RunRow, ...]


@dataclass(frozen=True)
class Dataset:
    """A dataset of the suite with its split."""

    name: str
    summary: str
    train_images: int
    test_images: int
    evaluated_images: int


@dataclass(frozen=True)
class Tables:
    """Everything that a report says in numbers. ``protocol`` and ``reference`` are None where nothing is trained."""

    suite: str
    title: str
    protocol: str | None
    reference: str | None
    fidelity: Fidelity
    differences: tuple[str, ...]
    axes: tuple[str, ...]
    datasets: tuple[Dataset, ...]
    seeds: tuple[int, ...]
    states: Mapping[str, int]
    devices: tuple[str, ...]
    verdicts: tuple[VerdictRow, ...]
    claims_without_verdict: tuple[str, ...]
    sizes: tuple[SizeRow, ...]
    cited: tuple[CitedRow, ...]
    results: tuple[Results, ...]
    responses: tuple[Response, ...]
    memorised: tuple[Memorised, ...]
    runs: tuple[RunRow, ...]
    costs: tuple[CostRow, ...]
    deviations: tuple[DeviationRow, ...]
    environments: tuple[EnvironmentRow, ...]
    others: tuple[Section, ...]
    sets: tuple[ResultSet, ...] = ()
    against: tuple[BesideRow, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; what is not finite becomes null."""
        return dict(_json(dataclasses.asdict(self)))


def _json(value: Any) -> Any:
    if isinstance(value, Protocol):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        # An attempt's id is a row of one database; a report is the same from any that holds its runs.
        return {str(key): _json(part) for key, part in value.items() if key != "attempt_id"}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
