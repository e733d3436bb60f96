"""Nights without any change, drawn from the means and spreads that seeds of real runs have shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr

from ranbench.records import RunRecord
from ranbench.regression.results import results_of
from ranbench.regression.rules import ALARMS_A_NIGHT, FAMILY, scaled
from ranbench.regression.shift import p_larger
from ranbench.regression.values import WATCHED, SuiteResult
from ranbench.statistics import LEVEL, holm
from ranbench.store import Store
from ranbench.suite import load_suite

ROOT = Path(__file__).resolve().parent.parent.parent
SHIFTS = tuple(name for name, metric in WATCHED.items() if metric.rule == "shift")
STEP = 100 / 360  # of an error in percent: the digits have 360 test images
Tails = Literal["normal", "heavy", "skewed", "outliers"]
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a metric of a cell on its scale, as five seeds showed them."""

    cell: str
    metric: str
    mean: float
    sd: float


@cache
def published(name: str) -> SuiteResult:
    """The published runs of a suite, of the code that made them."""
    suite = load_suite(ROOT / "suites" / f"{name}.yaml")
    with Store.of_bundle(ROOT / "results" / f"{name}.zip") as store:
        records: list[RunRecord] = store.runs(suite=name)
        attempts = [record.counted.id for record in records if record.counted]
        series = store.series(attempts, ["train_loss"])
    losses = {attempt: values.tolist() for (attempt, _), (_, values) in series.items()}
    return results_of(suite, records, losses, {})


@cache
def measured() -> tuple[Spread, ...]:
    """The spreads of all published cells on digits, each cell once."""
    cells = {cell.cell_id: cell for name in ("quickstart", "figure4-digits") for cell in published(name).cells}
    found = []
    for cell in cells.values():
        for name in SHIFTS:
            values = scaled(WATCHED[name], list(cell.values[name].values()))
            found.append(Spread(cell.label, name, float(values.mean()), float(values.std(ddof=1))))
    return tuple(found)


def draw(rng: np.random.Generator, nights: int, seeds: int, tails: Tails = "normal") -> Array:
    """Draw runs, (nights, comparisons, seeds), with the measured means and spreads; errors fall on their grid."""
    spreads = measured()
    shape = (nights, len(spreads), seeds)
    if tails == "heavy":
        noise = rng.standard_t(5, shape) / np.sqrt(5 / 3)
    elif tails == "skewed":
        noise = (rng.exponential(1.0, shape)) - 1.0
    elif tails == "outliers":  # one seed in forty goes badly
        noise = rng.standard_normal(shape) + 10.0 * (rng.random(shape) < 1 / 40)
    else:
        noise = rng.standard_normal(shape)
    mean, sd = (np.array([getattr(one, name) for one in spreads])[:, None] for name in ("mean", "sd"))
    values = mean + sd * noise
    on_grid = np.array([one.metric == "error_pct" for one in spreads])[:, None]
    return np.asarray(np.where(on_grid, np.clip(np.round(values / STEP), 0, 360) * STEP, values))


def floors(before: Array) -> Array:
    """The floor of each comparison: the median spread of its metric among the cells of its baseline."""
    names = np.array([one.metric for one in measured()])
    spread = before.std(axis=-1, ddof=1)
    found = np.empty_like(spread)
    for name in SHIFTS:
        found[:, names == name] = np.median(spread[:, names == name], axis=1, keepdims=True)
    return found


def alarms(before: Array, now: Array) -> Array:
    """Tell of each night whether any metric is called regressed: Holm's first step, which decides that."""
    p = p_larger(before, now, floors(before))
    return np.asarray(p.min(axis=1) < FAMILY / p.shape[1])


def alarms_kept(before: Array, now: Array, again: Array) -> Array:
    """Tell of each night whether it stays a regression after other seeds, ``again``, of what became worse."""
    floor = floors(before)
    first = p_larger(before, now, floor)
    kept = alarms(before, now)
    for night in np.flatnonzero(kept):
        worse = [index for index, step in enumerate(holm(first[night].tolist(), FAMILY)) if step.rejected]
        second = p_larger(before[night, worse], again[night, worse], floor[night, worse])
        kept[night] = any(step.rejected for step in holm(second.tolist(), ALARMS_A_NIGHT))
    return np.asarray(kept)


def falls(before: Array, now: Array) -> Array:
    """Tell of each night whether a claim of quickstart falls from reproduced to not (Welch, Holm over two)."""
    at = {(one.cell, one.metric): index for index, one in enumerate(measured())}
    pairs = (("attention-164, residual", "attention-164, naive"), ("attention-56, naive", "attention-164, naive"))
    columns = [(at[a, "error_pct"], at[b, "error_pct"]) for a, b in pairs]
    was = np.stack([_welch(before[:, a], before[:, b]) for a, b in columns], axis=1)
    fell = np.stack([_welch(now[:, b], now[:, a]) for a, b in columns], axis=1)
    reproduced = was < np.where(was == was.min(axis=1, keepdims=True), LEVEL / 2, LEVEL)
    return np.asarray((reproduced & (fell < LEVEL / 2)).any(axis=1))


def _welch(a: Array, b: Array) -> Array:
    """One-sided p of 'the mean of a is below that of b', along the last axis."""
    parts = [values.var(axis=-1, ddof=1) / values.shape[-1] for values in (a, b)]
    total = np.maximum(parts[0] + parts[1], 1e-300)
    sizes = (a.shape[-1] - 1, b.shape[-1] - 1)
    df = total**2 / np.maximum(parts[0] ** 2 / sizes[0] + parts[1] ** 2 / sizes[1], 1e-300)
    return np.asarray(stdtr(df, (a.mean(axis=-1) - b.mean(axis=-1)) / np.sqrt(total)))
