"""What is said of a claim: values, all frozen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ranbench.spec import Fidelity
from ranbench.statistics import Disagreement, Permutation
from ranbench.suite import Claim


class Outcome(StrEnum):
    """What the runs say about a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Need:
    """Seeds that would decide: ``more`` in each arm give ``power`` for the true ``effect``; None: more than a thousand.

    ``effect`` is in the unit of the verdict's: the paper's own, or the one seen. ``outcome``: what it is power for.
    """

    more: int | None
    power: float
    effect: float
    basis: Literal["paper", "seen"]
    outcome: Outcome


@dataclass(frozen=True)
class NewRun:
    """95 % interval in which one new run of a cell would lie, and whether the published number does."""

    low: float
    high: float
    published: float
    holds_published: bool


@dataclass(frozen=True)
class Sampled:
    """95 % binomial interval of a cell's mean error, in percent, from the size of its test set; no spread of seeds."""

    label: str
    images: int
    low: float
    high: float


@dataclass(frozen=True)
class NetPair:
    """The nets of one seed of both arms, on the same test images."""

    seed: int
    found: Disagreement


@dataclass(frozen=True)
class Imputed:
    """The effect of one comparison with its failed runs counted, and whether it speaks for the claim or against it.

    ``at`` names the comparison, as that of a ``Member``. ``spoke``: the same without them; None where an arm had no
    other run. An effect that just reaches the threshold speaks against.
    """

    at: str
    effect: float
    speaks: Literal["for", "against"]
    spoke: Literal["for", "against"] | None


@dataclass(frozen=True)
class Sensitivity:
    """The effects if the failed runs, ``failed`` of them, were counted with the value ``worst``; nothing is tested.

    ``effects``: of the comparisons that have failed runs.
    """

    failed: int
    worst: float
    effects: tuple[Imputed, ...]


@dataclass(frozen=True)
class DeclaredAfter:
    """A claim was declared as it is now after runs of its verdict were done: ``runs`` of them, ``of`` how many.

    ``recorded``: when it was (ISO 8601), None where no recorded version of the suite has it yet. ``changed``: in what
    it differs from what was declared before, empty where nothing was. ``before``: the former value, where one number
    changed. ``words`` say all of it.
    """

    runs: int
    of: int
    recorded: str | None
    changed: tuple[str, ...]
    before: float | None
    words: str


@dataclass(frozen=True)
class Beside:
    """What is printed beside an outcome and decides nothing; None or empty where it can mean nothing.

    ``lines`` say it in words.
    """

    permutation: Permutation | None = None
    new_run: NewRun | None = None
    sampling: tuple[Sampled, ...] = ()
    nets: NetPair | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """One of the comparisons of a claim that ranges over a matrix; ``at`` names its axis values.

    ``low``, ``high``: one-sided bounds, the lower at the claim's level, the upper at the level over the number of
    comparisons (Bonferroni), as the claim's own are. ``outcome`` is that of these bounds.
    """

    at: str
    outcome: Outcome
    effect: float | None
    low: float | None
    high: float | None
    n: tuple[int, ...]
    failed: int
    reason: str | None
    beside: Beside


@dataclass(frozen=True)
class Verdict:
    """A claim with its outcome. ``n`` and ``planned`` hold one number per arm; ``unit`` is that of the effect.

    A claim of kind complexity is exact: it has no arms, no bounds and no p, and its effect is in percent of the
    published number; ``test`` says whether a run counted the net or its count is the package's stored one.

    ``effect``: for ``better`` how much better a is than b; for ``value`` our mean minus the published number; for
    ``trend`` the change of the fitted line, from the lowest x to the highest, in the claimed direction; for ``ratio``
    a's mean over b's. A claim that ranges over a matrix has effect and bounds of the comparison that decides: of those
    that were tested the one that is least sure to hold. ``p`` is None where others keep the claim from being tested.
    ``low``, ``high``: for ``value`` the two-sided interval of the effect at ``level``; else the two one-sided bounds,
    each at ``level``, over a matrix the upper one at its share of it. ``level``: Holm's for the direction that was
    decided, else the smaller of both directions', so that the bounds always agree with the outcome. ``p``:
    Holm-adjusted, of the decided direction, else of 'reproduced'. ``failed``: runs of all arms that failed or ended
    without a finite metric. ``reason``: why the claim as a whole is not tested, else None. ``adaptive``: counted seeds
    beyond those that the suite planned before its first run was done. ``declared_after``: what is known where runs were
    done before the claim was declared, else None. ``members``: the comparisons of a claim that ranges over a matrix,
    which have their own ``beside``. ``lines``: what stands beside it, in words.
    """

    claim: Claim
    outcome: Outcome
    effect: float | None
    low: float | None
    high: float | None
    n: tuple[int, ...]
    planned: tuple[int, ...]
    failed: int
    level: float | None
    p: float | None
    test: str
    fidelity: Fidelity
    unit: str
    sentence: str
    reason: str | None
    need: Need | None = None
    beside: Beside = Beside()
    sensitivity: Sensitivity | None = None
    adaptive: tuple[int, ...] = ()
    declared_after: DeclaredAfter | None = None
    members: tuple[Member, ...] = ()
    lines: tuple[str, ...] = ()
