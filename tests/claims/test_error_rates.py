"""Error rates and power by simulation with a known truth, through the same code that judges real runs.

``python -m tests.claims.test_error_rates`` from the root prints the rates for the tables in the docs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, stdtr

from ranbench.claims import Outcome
from ranbench.claims.cases import Arm, Case, ClaimCase, Refusal, claim_weights
from ranbench.statistics import LEVEL, POWER, power_beyond, power_within, seeds_needed, welch
from ranbench.suite import Better, Pair, Ratio, Tested, Trend, Value

DOCS = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
REPETITIONS = 2_000  # of every row of the tables in the docs, which were made with DOCUMENTED_REPETITIONS
DOCUMENTED_REPETITIONS = 20_000
BOUND, CENTRE = 0.8, 10.0  # of ratios; 10 is also where all other values lie
FAR = 50.0  # an effect that is always seen

KEPT = {"says": "", "where": None, "metric": "error_pct", "allow_scaled": False}
BLANK = Refusal(Outcome.NOT_RUN, "", "")


def better(id: str, members: int = 1) -> Better:  # noqa: A002
    return Better(id=id, pairs=(Pair(None, None),) * members, min_effect=0.0, **KEPT)


def trend(cells: int, gap: bool = False) -> Trend:
    arms = (None,) * cells
    return Trend(
        id="t",
        along="model",
        x="order",
        cells=arms,
        minus=arms if gap else (),
        direction="rising",
        min_effect=0.0,
        **KEPT,
    )


def ratio() -> Ratio:
    return Ratio(id="r", pairs=(Pair(None, None),), side="at most", bound=BOUND, **KEPT)


def value(margin: float) -> Value:
    return Value(id="v", cell=None, published=CENTRE, margin=margin, **KEPT)


@cache
def weights(claim: Tested) -> tuple[float, ...]:
    """The weights of the arms of a claim, which its runs do not change."""
    return claim_weights(claim, {})


def case(claim: Tested, arms: Sequence[Sequence[float]]) -> Case:
    """One comparison of runs that have these values."""
    made = [Arm("", None, tuple(map(float, one)), (), (), len(one), 0) for one in arms]
    return Case(claim, "", tuple(made), weights(claim), BLANK).with_values(made)


def whole(claim: Tested, members: Sequence[Sequence[Sequence[float]]]) -> ClaimCase:
    """A claim with the values of its comparisons."""
    return ClaimCase(claim, tuple(case(claim, arms) for arms in members), "full", None)


Members = Sequence[tuple[float, ...]]  # of each comparison the true means of its arms


@dataclass(frozen=True)
class Truth:
    """A claim with true means that lie on its edge, or where power is asked for."""

    claim: Tested
    members: Members


def over(members: int, edges: int) -> Truth:
    """A claim over a matrix with so many comparisons on the edge, and the others far on its side."""
    effects = [0.0] * edges + [FAR] * (members - edges)
    return Truth(better("o", members), [(CENTRE, CENTRE + effect) for effect in effects])


ON_THE_EDGE: dict[str, Callable[[], Truth]] = {
    "trend of 3": lambda: Truth(trend(3), [(CENTRE,) * 3]),
    "trend of 4": lambda: Truth(trend(4), [(CENTRE,) * 4]),
    "trend of a gap of 3": lambda: Truth(trend(3, gap=True), [(CENTRE,) * 6]),
    "ratio": lambda: Truth(ratio(), [(BOUND * CENTRE, CENTRE)]),
    "over 2, one on the edge": lambda: over(2, 1),
    "over 2, all on the edge": lambda: over(2, 2),
    "over 4, one on the edge": lambda: over(4, 1),
    "over 4, all on the edge": lambda: over(4, 4),
}


def drawn(truth: Truth, n: Sequence[int], sd: Sequence[float], rng: np.random.Generator) -> ClaimCase:
    """Draw runs: the sizes and spreads are of the arms of each comparison, repeated where there are more arms."""
    members = [
        [rng.normal(mean, sd[i % len(sd)], n[i % len(n)]) for i, mean in enumerate(means)] for means in truth.members
    ]
    return whole(truth.claim, members)


def decided(found: ClaimCase, level: float = LEVEL) -> tuple[bool, bool]:
    """Whether the claim, alone in its suite, is called reproduced, and not reproduced."""
    return found.p_confirming < level, found.p_refuting < level


def rates(truth: Truth, n: Sequence[int], sd: Sequence[float], repetitions: int, level: float = LEVEL) -> np.ndarray:
    """Return how often, in percent, the claim is called reproduced, and not reproduced."""
    rng = np.random.default_rng(0)
    counts = np.zeros(2)
    for _ in range(repetitions):
        counts += decided(drawn(truth, n, sd, rng), level)
    return 100 * counts / repetitions


def rates_with_a_second_look(n: int, repetitions: int) -> np.ndarray:
    """The same for better where as many seeds again are added if the first leave it inconclusive."""
    rng = np.random.default_rng(0)
    counts = np.zeros(2)
    for _ in range(repetitions):
        a, b = rng.normal(CENTRE, 1.0, (2, 2 * n))
        first = decided(whole(better("b"), [(a[:n], b[:n])]))
        counts += first if any(first) else decided(whole(better("b"), [(a, b)]))
    return 100 * counts / repetitions


@dataclass(frozen=True)
class Row:
    """A row of a table in the docs."""

    claim: str
    n: tuple[int, ...]
    sd: tuple[float, ...]
    numbers: tuple[float, float]

    @property
    def name(self) -> str:
        return f"{self.claim}, n {self.n}, sd {self.sd}"


def rows(heading: str, cells: int) -> list[Row]:
    """The rows of the table whose first column has this heading: claim, n, sd, and two numbers last."""
    text = DOCS.read_text(encoding="utf-8")
    table = text.partition(f"| {heading} |")[2].split("\n\n", maxsplit=1)[0]
    found = re.findall(r"^\|" + r" *([^|]+?) *\|" * cells + "$", table, flags=re.MULTILINE)
    return [
        Row(claim, tuple(map(int, n.split(", "))), tuple(map(float, sd.split(", "))), (float(one), float(two)))
        for claim, n, sd, one, two in found
        if n[0].isdigit()
    ]


EDGE_ROWS = rows("claim on the edge", 5)
POWER_ROWS = rows("claim with a true effect", 5)
LOOK_ROWS = rows("better, looked at twice", 5)
FAMILY_ROWS = rows("claims, all on the edge", 5)
GRID_ROWS = rows("better, on a grid", 5)
FAMILY_REPETITIONS = 20_000  # of families, whose rows in the docs were made with DOCUMENTED_FAMILIES
DOCUMENTED_FAMILIES = 100_000
FAMILIES = (
    ((3, 3), (1.0, 1.0)),
    ((3, 3), (1.0, 10.0)),
    ((5, 5), (1.0, 1.0)),
    ((5, 5), (1.0, 3.0)),
    ((10, 10), (1.0, 3.0)),
    ((5, 3), (1.0, 3.0)),
    ((10, 3), (1.0, 1.0)),
    ((10, 3), (1.0, 3.0)),
    ((10, 5), (1.0, 3.0)),
)
GRIDS = ((5, (0.5, 0.5)), (5, (0.1, 0.5)), (5, (0.5, 0.1)), (10, (0.1, 0.5)))


def tolerance(percent: float, *sizes: int) -> float:
    """Four binomial standard errors of a difference of rates, in percent, and what rounding takes."""
    share = min(max(percent, 0.1), 99.9) / 100
    return 400 * math.sqrt(share * (1 - share) * sum(1 / size for size in sizes)) + 0.05


def some(rows: Sequence[Row]) -> list[Any]:
    """Every fourth row among the fast tests, the others among the slow ones."""
    marks: list[list[pytest.MarkDecorator]] = [[], [pytest.mark.slow], [pytest.mark.slow], [pytest.mark.slow]]
    return [pytest.param(row, id=row.name, marks=marks[number % 4]) for number, row in enumerate(rows)]


@pytest.mark.parametrize("row", some(EDGE_ROWS))
def test_the_documented_error_rates_are_measured_again(row: Row) -> None:
    found = rates(ON_THE_EDGE[row.claim](), row.n, row.sd, REPETITIONS)

    for rate, documented in zip(found, row.numbers, strict=True):
        assert abs(rate - documented) <= tolerance(documented, REPETITIONS, DOCUMENTED_REPETITIONS)


def test_error_rates_stay_near_the_level_where_arms_are_of_equal_size() -> None:
    worst = {ratio: max(max(row.numbers) for row in EDGE_ROWS if (row.claim == "ratio") == ratio) for ratio in (0, 1)}

    assert {(row.claim, row.n[0]) for row in EDGE_ROWS} == {(claim, n) for claim in ON_THE_EDGE for n in (3, 5, 10)}
    assert worst[0] <= 5.5  # Welch's price, and the noise of the simulation
    assert worst[1] <= 6.1  # and that of the delta method; the page says where


# --- power


def with_effect(claim: str) -> tuple[Truth, float]:
    """The truth of a power row, and the level at which it is tested."""
    name, _, rest = claim.partition(" by ")
    effect, _, level = rest.partition(" at ")
    size, alpha = float(effect), float(level.removesuffix(" %")) / 100
    truths = {
        "better": lambda: Truth(better("b"), [(CENTRE, CENTRE + size)]),
        "value, margin 1": lambda: Truth(value(1.0), [(CENTRE + size,)]),
        "trend of 3": lambda: Truth(trend(3), [(CENTRE, CENTRE + size / 2, CENTRE + size)]),
        "ratio": lambda: Truth(ratio(), [(size * CENTRE, CENTRE)]),
    }
    return truths[name](), alpha


def promised(truth: Truth, n: Sequence[int], sd: Sequence[float], level: float) -> float:
    """The power in percent, as 'ranbench power' computes it."""
    blank = case(truth.claim, [(mean, mean) for mean in truth.members[0]])
    means = truth.members[0]
    arms = len(means)
    sds, sizes = [sd[i % len(sd)] for i in range(arms)], [n[i % len(n)] for i in range(arms)]
    effect = blank.oriented(means)
    if isinstance(truth.claim, Value):
        return 100 * power_within(effect, truth.claim.margin, sds[0], sizes[0], level)
    return 100 * power_beyond(effect - blank.threshold, blank.spreads(sds, means), sizes, level)


@pytest.mark.parametrize("row", some(POWER_ROWS))
def test_power_is_as_promised(row: Row) -> None:
    truth, level = with_effect(row.claim)

    power = promised(truth, row.n, row.sd, level)
    measured = rates(truth, row.n, row.sd, REPETITIONS, level)[0]

    assert power == pytest.approx(row.numbers[0], abs=0.051)
    assert abs(measured - row.numbers[1]) <= tolerance(row.numbers[1], REPETITIONS, DOCUMENTED_REPETITIONS)
    assert abs(row.numbers[0] - row.numbers[1]) <= (2.8 if row.claim.startswith("ratio") else 0.45)


# --- what is never decided


ALL_KINDS = [better("b"), value(1.0), trend(3), trend(3, gap=True), ratio(), better("o", 2)]


def arms_of(claim: Tested) -> int:
    return len(weights(claim))


@pytest.mark.parametrize("claim", ALL_KINDS, ids=lambda claim: f"{claim.kind}-{claim.id}")
@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(claim: Tested, n: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        members = [rng.normal(CENTRE, 3.0, (arms_of(claim), n)) for _ in range(2)]

        found = whole(claim, members)

        assert (found.p_confirming, found.p_refuting, found.tested) == (1.0, 1.0, ())


@pytest.mark.parametrize("claim", ALL_KINDS, ids=lambda claim: f"{claim.kind}-{claim.id}")
def test_runs_without_any_spread_decide_nothing(claim: Tested) -> None:
    found = whole(claim, [[[mean] * 5 for mean in range(5, 5 + arms_of(claim))]])

    assert (found.p_confirming, found.p_refuting, found.tested) == (1.0, 1.0, ())


@pytest.mark.parametrize("claim", ALL_KINDS, ids=lambda claim: f"{claim.kind}-{claim.id}")
def test_ties_keep_the_level(claim: Tested) -> None:
    """Errors of few test images fall on few values; both kinds of false decision stay under the level."""
    rng = np.random.default_rng(0)
    counts = np.zeros(2)
    for _ in range(REPETITIONS):
        shift = (claim.margin if isinstance(claim, Value) else 0.0, 0.0)
        means = [CENTRE + shift[0]] * arms_of(claim)
        if isinstance(claim, Ratio):
            means = [BOUND * CENTRE, CENTRE]
        several = len(claim.pairs) if isinstance(claim, Better) else 1
        members = [[np.round(rng.normal(mean, 1.0, 5)) for mean in means] for _ in range(several)]
        counts += decided(whole(claim, members))

    assert (100 * counts / REPETITIONS <= 100 * LEVEL + tolerance(100 * LEVEL, REPETITIONS)).all()


def p_right(a: np.ndarray, b: np.ndarray, more: float = 0.0) -> np.ndarray:
    """Welch's p of 'mean(b) exceeds mean(a)' by ``more``, row by row; the same as ``welch(b, a).p_above(more)``."""
    parts = [one.var(axis=1, ddof=1) / one.shape[1] for one in (a, b)]
    total = parts[0] + parts[1]
    df = total**2 / (parts[0] ** 2 / (a.shape[1] - 1) + parts[1] ** 2 / (b.shape[1] - 1))
    p = stdtr(df, (a.mean(axis=1) - b.mean(axis=1) + more) / np.sqrt(total))
    return np.where(total > 0, p, np.nan)  # without any spread there is no test


def family_rates(claims: int, n: Sequence[int], sd: Sequence[float], repetitions: int, seed: int) -> list[float]:
    """How often, in percent, any of independent 'better' claims on the edge is called reproduced, or not reproduced.

    Holm rejects any at all exactly where the smallest p is under the level over the number of claims.
    """
    rng = np.random.default_rng(seed)
    smallest = [np.ones(repetitions), np.ones(repetitions)]
    for _ in range(claims):
        a, b = (rng.normal(0.0, spread, (repetitions, size)) for spread, size in zip(sd, n, strict=True))
        p = p_right(a, b)
        smallest = [np.minimum(found, own) for found, own in zip(smallest, (p, 1 - p), strict=True)]
    return [100 * float((found < LEVEL / claims).mean()) for found in smallest]


def test_the_p_values_of_the_families_are_those_of_the_judge() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.0, 1.0, (50, 5)), rng.normal(0.0, 3.0, (50, 3))

    expected = [welch(values, others).p_above(0.0) for others, values in zip(a, b, strict=True)]

    assert p_right(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("row", FAMILY_ROWS, ids=lambda row: row.name)
def test_the_documented_error_rates_of_whole_families_are_measured_again(row: Row) -> None:
    found = family_rates(int(row.claim), row.n, row.sd, FAMILY_REPETITIONS, seed=1)

    for rate, documented in zip(found, row.numbers, strict=True):
        assert abs(rate - documented) <= tolerance(documented, FAMILY_REPETITIONS, DOCUMENTED_FAMILIES)


def test_families_of_one_five_and_twelve_claims_are_documented() -> None:
    documented = {(int(row.claim), row.n, row.sd) for row in FAMILY_ROWS}

    assert documented == {(claims, n, sd) for n, sd in FAMILIES for claims in (1, 5, 12)}


def grid_rates(n: int, sd: Sequence[float], repetitions: int, seed: int) -> list[float]:
    """False decisions of 'better' in percent, on the edge, where values fall on whole numbers and the truth between."""
    rng = np.random.default_rng(seed)
    steps, off = np.arange(-20, 21), 0.25
    drawn = [np.round(rng.normal(off, spread, (repetitions, n))) for spread in sd]
    true = [float(steps @ np.diff(ndtr((np.append(steps, 21) - 0.5 - off) / spread))) for spread in sd]
    with np.errstate(invalid="ignore", divide="ignore"):  # where no arm has a spread
        p = p_right(*drawn, true[1] - true[0])
    return [100 * float((found < LEVEL).mean()) for found in (p, 1 - p)]


@pytest.mark.parametrize("row", GRID_ROWS, ids=lambda row: row.name)
def test_the_documented_error_rates_on_a_grid_are_measured_again(row: Row) -> None:
    found = grid_rates(row.n[0], row.sd, FAMILY_REPETITIONS, seed=1)

    for rate, documented in zip(found, row.numbers, strict=True):
        assert abs(rate - documented) <= tolerance(documented, FAMILY_REPETITIONS, DOCUMENTED_FAMILIES)


@pytest.mark.slow
def test_the_seeds_promised_from_a_spread_of_five_often_give_less_power_as_documented() -> None:
    [documented] = re.findall(r"and (\d+) % of them had less than 80 %", DOCS.read_text(encoding="utf-8"))
    powers = powers_as_promised(150, seed=1)

    found = 100 * float(np.mean(np.array(powers) < POWER))

    assert abs(found - int(documented)) <= tolerance(int(documented), 150, 400) + 0.5


def powers_as_promised(count: int, seed: int) -> list[float]:
    """The true power at the seeds that would be promised for 'better' by one sd, left inconclusive by five seeds."""
    rng = np.random.default_rng(seed)
    powers: list[float] = []
    while len(powers) < count:
        a, b = rng.normal(0.0, 1.0, 5), rng.normal(1.0, 1.0, 5)
        seen = (float(a.std(ddof=1)), float(b.std(ddof=1)))
        if welch(b, a).p_above(0.0) < LEVEL or power_beyond(1.0, seen, (5, 5), LEVEL) >= POWER:
            continue

        def power_of(size: int, sds: tuple[float, float] = seen) -> float:
            return power_beyond(1.0, sds, (size, size), LEVEL)

        powers.append(power_beyond(1.0, (1.0, 1.0), (seeds_needed(power_of, least=6),) * 2, LEVEL))
    return powers


@pytest.mark.parametrize("row", LOOK_ROWS, ids=lambda row: row.name)
def test_a_second_look_exceeds_the_level_as_documented(row: Row) -> None:
    found = rates_with_a_second_look(row.n[0], REPETITIONS)

    for rate, documented in zip(found, row.numbers, strict=True):
        assert abs(rate - documented) <= tolerance(documented, REPETITIONS, DOCUMENTED_REPETITIONS)
    assert min(row.numbers) > 100 * LEVEL


def printed() -> None:
    """Print the numbers for the tables in the docs."""
    for claim, make in ON_THE_EDGE.items():
        arms = len(make().members[0])
        for n in (3, 5, 10):
            for sd in ((1.0,), tuple([1.0] * (arms - 1) + [3.0]) if claim != "ratio" else (0.5, 2.0)):
                one, two = rates(make(), (n,), sd, DOCUMENTED_REPETITIONS)
                print(f"| {claim} | {n} | {', '.join(f'{s:g}' for s in sd)} | {one:.1f} | {two:.1f} |", flush=True)
    for n in (3, 5):
        one, two = rates_with_a_second_look(n, DOCUMENTED_REPETITIONS)
        print(f"| {n} and {n} more | {n} | 1 | {one:.1f} | {two:.1f} |", flush=True)
    powers = np.array(powers_as_promised(400, seed=0))
    print("power at the seeds promised", np.percentile(powers, (5, 95)), 100 * np.mean(powers < POWER), flush=True)
    for n, sd in FAMILIES:
        for claims in (1, 5, 12):
            one, two = family_rates(claims, n, sd, DOCUMENTED_FAMILIES, seed=0)
            spreads = ", ".join(f"{s:g}" for s in sd)
            print(f"| {claims} | {', '.join(map(str, n))} | {spreads} | {one:.1f} | {two:.1f} |", flush=True)
    for n, sd in GRIDS:
        one, two = grid_rates(n, sd, DOCUMENTED_FAMILIES, seed=0)
        print(f"| better | {n} | {', '.join(f'{s:g}' for s in sd)} | {one:.1f} | {two:.1f} |", flush=True)
    for claim, n, sd in PLANNED:
        truth, level = with_effect(claim)
        power, measured = promised(truth, n, sd, level), rates(truth, n, sd, DOCUMENTED_REPETITIONS, level)[0]
        numbers = f"{power:.1f} | {measured:.1f}"
        print(f"| {claim} | {', '.join(map(str, n))} | {', '.join(f'{s:g}' for s in sd)} | {numbers} |", flush=True)


PLANNED = (
    ("better by 2 at 5 %", (3,), (1.0,)),
    ("better by 2 at 5 %", (5,), (1.0,)),
    ("better by 1 at 5 %", (10,), (1.0,)),
    ("better by 2 at 5 %", (5,), (1.0, 2.0)),
    ("better by 2 at 5 %", (10,), (1.0, 3.0)),
    ("better by 3 at 0.5 %", (5,), (1.0,)),
    ("value, margin 1 by 0 at 5 %", (5,), (0.6,)),
    ("value, margin 1 by 0 at 5 %", (10,), (1.0,)),
    ("value, margin 1 by 0.3 at 0.5 %", (10,), (0.4,)),
    ("trend of 3 by 2 at 5 %", (5,), (1.0,)),
    ("trend of 3 by 2 at 5 %", (5,), (1.0, 1.0, 2.0)),
    ("ratio by 0.7 at 5 %", (5,), (0.5, 0.5)),
    ("ratio by 0.6 at 5 %", (5,), (0.5, 2.0)),
)

if __name__ == "__main__":
    printed()
