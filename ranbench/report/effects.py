"""Verdicts -> forest plots of their effects. What is shown is chosen here, how it looks in ``plots``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from ranbench.report.layout import MARKS, confidence
from ranbench.report.plots import Effect, forest
from ranbench.report.shown import Made, Picture, parts
from ranbench.report.values import Tables, VerdictRow

_MOST_ROWS = 22  # of a picture


def effects(tables: Tables) -> tuple[Made, ...]:
    """Draw one forest plot for each unit of effect; a long one stands in several pictures with one scale."""
    made: list[Made] = []
    for unit in dict.fromkeys(row.unit for row in tables.verdicts):
        rows = [row for row in tables.verdicts if row.unit == unit]
        if not any(row.effect is not None for row in rows):
            continue
        figures = _pages([_effects(row) for row in rows])
        caption, label = _caption(rows, unit)
        drawn = [value for figure in figures for effect in figure for value in effect.drawn]
        nothing = 1.0 if rows[0].kind == "ratio" else 0.0
        limits = (min(nothing, *drawn), max(nothing, *drawn)) if len(figures) > 1 else None
        for index, figure in enumerate(figures):
            name = "claims.png" if not made else f"claims-{len(made) + 1}.png"
            part = f" Part {index + 1} of {len(figures)}." if len(figures) > 1 else ""
            title = f"effects of the claims{f', part {index + 1}' if part else ''}"
            how = partial(forest, figure, label=label, nothing=nothing, limits=limits)
            made.append((Picture(name, title, f"{caption}{part}"), how))
    return tuple(made)


def _effects(row: VerdictRow) -> tuple[Effect, ...]:
    """A claim, and beneath it the comparisons that it is made of where it ranges over a matrix."""
    kind = _kind(row)
    own = Effect(row.id, kind, row.threshold, row.outcome, MARKS[row.outcome], row.effect, row.low, row.high)
    below = (
        Effect(
            one.at, kind, row.threshold, one.outcome.value, MARKS[one.outcome.value], one.effect, one.low, one.high,
            member=True,
        )
        for one in row.members
    )  # fmt: skip
    return (own, *below)


def _pages(claims: Sequence[tuple[Effect, ...]]) -> list[list[Effect]]:
    """Share claims out over pictures; one with more comparisons than a picture holds is named again on each."""
    pieces = [[claim[0], *some] for claim in claims for some in parts(claim[1:], _MOST_ROWS - 1) or [()]]
    pages: list[list[Effect]] = []
    for piece in pieces:
        if pages and len(pages[-1]) + len(piece) <= _MOST_ROWS:
            pages[-1] += piece
        else:
            pages.append(piece)
    return pages


def _caption(rows: Sequence[VerdictRow], unit: str) -> tuple[str, str]:
    """Return the caption of a plot and the label of its axis."""
    said = []
    if any(row.kind == "better" for row in rows):
        said.append("a dot is how much better the first cell of a comparison is, with one-sided bounds")
    if any(row.kind == "trend" for row in rows):
        said.append("of a trend, a dot is the change of the fitted line in the claimed direction")
    if any(row.kind in {"better", "trend"} and row.threshold for row in rows):
        said.append("a dashed tick is the smallest effect that counts")
    if any(row.kind == "ratio" for row in rows):
        said.append("a dot is the mean of the first cell over that of the second, with one-sided bounds")
        said.append("a dashed tick is the bound that is claimed")
    if any(row.kind == "value" for row in rows):
        said.append("a square is ours minus the paper's value, with its interval, and the grey band is the margin")
    if any(row.kind == "complexity" for row in rows):
        said.append("a hollow square is ours minus the paper's count, which is exact, and the grey band the tolerance")
    elif any(row.effect is not None and row.low is None for row in rows):
        said.append("a hollow dot has no interval")
    if any(row.members for row in rows):
        said.append("beneath a claim that must hold in several places stand, smaller, its single comparisons")
    counts = all(row.kind == "complexity" for row in rows)
    in_words = f"{unit} of the paper's count" if counts else unit
    label = "ours − paper (% of the paper's count), ours larger →" if counts else f"effect ({unit}){_direction(rows)}"
    levels = sorted({row.level for row in rows if row.level is not None}, reverse=True)
    ends = " to ".join(dict.fromkeys(confidence(level) for level in (levels[0], levels[-1]))) if levels else ""
    own = ", each as the table of verdicts says" if len(levels) > 1 else ""
    shares = "; of claims over several places the upper bound at its share of the level" if _share(rows) else ""
    at = f" Bounds and intervals stand at {ends}{own}{shares}." if levels else ""
    return f"Effects of the claims, in {in_words}: {'; '.join(said)}.{at}", label


def _direction(rows: Sequence[VerdictRow]) -> str:
    """Say what lies to the right, where it is one thing for all claims of a plot, or by its marks."""
    values = any(row.kind == "value" for row in rows)
    trends = any(row.kind == "trend" for row in rows)
    dots = "as claimed →" if trends else "better →" if any(row.kind == "better" for row in rows) else ""
    if values and dots:
        return f": dots {dots}, squares ours higher →"
    return ", ours higher →" if values else f", {dots}" if dots else ""


def _share(rows: Sequence[VerdictRow]) -> bool:
    return any(len(row.members) > 1 and row.level is not None for row in rows)


def _kind(row: VerdictRow) -> Literal["better", "value"]:
    return "value" if row.kind in {"value", "complexity"} else "better"
