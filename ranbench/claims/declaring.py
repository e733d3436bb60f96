"""When a claim was declared as it is now, and seeds were planned, beside when the runs were done.

A claim that is changed after its runs were seen can be made to hold. The verdict stays what the rule says; what is
known of the order of things is said with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ranbench.claims.verdict import DeclaredAfter
from ranbench.records import RunRecord, State
from ranbench.spec import Protocol, canonical
from ranbench.suite import Better, Cell, Claim, Counted, Ratio, Suite, Tested, Trend, Value


@dataclass(frozen=True)
class Version:
    """A version of a suite and when it was first recorded; ``suite`` is None where it cannot be read any more."""

    recorded: datetime
    suite: Suite | None


def done_at(record: RunRecord) -> datetime | None:
    """Return when a run was first done: whoever trains it again has seen what the first attempt gave."""
    ends = [attempt.ended for attempt in record.results if attempt.state is State.DONE and attempt.ended]
    return min(ends, default=None)


def declared_after(
    suite: Suite, claim: Tested, versions: Collection[Version], times: Sequence[datetime]
) -> DeclaredAfter | None:
    """Say what is known where runs were done before their claim was declared as it is now; None where none was.

    Args:
        suite: that the claim is of.
        claim: as it is judged.
        versions: all that is recorded of the suite.
        times: when the runs that the verdict rests on were done.
    """
    own = _terms(suite, claim)
    ordered = sorted(versions, key=lambda version: version.recorded)
    known = [(version.recorded, _terms_in(version.suite, claim.id)) for version in ordered if version.suite]
    first = next((recorded for recorded, terms in known if terms == own), None)
    runs = sum(first is None or moment < first for moment in times)
    if not runs:
        return None
    before = [terms for recorded, terms in known if first is None or recorded < first]
    if first is not None and not before and runs < len(times):
        return None  # its suite was never another; cells that it shares were trained for a suite that was run earlier
    other = next((terms for terms in reversed(before) if terms), None)
    changed = _changed(own, other) if other else ()
    number = other[changed[0]] if other and len(changed) == 1 else None
    until = _until_words(other, changed) if other else _NEVER if before else "the suite was not recorded before"
    unread = any(not version.suite and (first is None or version.recorded < first) for version in ordered)
    doubt = ", as far as its recorded versions can be read" if unread else ""
    return DeclaredAfter(
        runs=runs,
        of=len(times),
        recorded=first.isoformat() if first else None,
        changed=changed,
        before=float(number) if isinstance(number, int | float) else None,
        words=f"declared after {_runs_words(runs, len(times))} done ({until}{doubt})",
    )


def seeds_planned(suite: Suite, versions: Collection[Version], times: Collection[datetime]) -> int:
    """Return how many seeds the suite planned when its first run was done, which came at one of ``times``.

    Where no version was recorded by then, another suite asked for that run: the first version says what was planned.
    """
    readable = sorted(
        ((version.recorded, version.suite) for version in versions if version.suite and version.suite.trains),
        key=lambda item: item[0],
    )
    if not readable or not times:
        return suite.planned_seeds
    first = min(times)
    in_force = [found for recorded, found in readable if recorded <= first]
    return (in_force[-1] if in_force else readable[0][1]).planned_seeds


_NEVER = "no version of the suite made it before"
_Term = str | int | float | bool | Protocol | Collection[object] | None


def _terms_in(suite: Suite, claim_id: str) -> Mapping[str, _Term] | None:
    """Return the terms of the claim of this name; None where the version makes none."""
    return next((_terms(suite, claim) for claim in suite.claims if claim.id == claim_id), None)


def _terms(suite: Suite, claim: Claim) -> Mapping[str, _Term]:
    """Return all of a claim that its verdict depends on, by what it is called: not its words, nor where it stands."""
    if isinstance(claim, Counted):
        return {"kind": claim.kind}
    common: dict[str, _Term] = {
        "kind": claim.kind,
        "metric": claim.metric,
        "allow_scaled": claim.allow_scaled,
        "reference protocol": suite.reference if suite.trains else None,
    }
    if isinstance(claim, Value):
        return {
            **common, "cells": _cell(claim.cell), "margin": claim.margin, "published number": claim.published
        }  # fmt: skip
    if isinstance(claim, Trend):
        cells = tuple(tuple(map(_cell, group)) for group in (claim.cells, claim.minus))
        x = (claim.x, claim.along) if claim.x == "value" else (claim.x,)
        return {**common, "cells": cells, "x": x, "direction": claim.direction, "min_effect": claim.min_effect}
    pairs = frozenset((_cell(pair.a), _cell(pair.b)) for pair in claim.pairs)
    if isinstance(claim, Ratio):
        return {**common, "cells": pairs, "side": claim.side, "bound": claim.bound}
    assert isinstance(claim, Better)
    return {**common, "cells": pairs, "min_effect": claim.min_effect}


def _cell(cell: Cell) -> str:
    return canonical([cell.model, cell.data, cell.noise])


def _changed(own: Mapping[str, _Term], other: Mapping[str, _Term]) -> tuple[str, ...]:
    """Name the terms that differ; of another kind of claim, the kind alone."""
    if own["kind"] != other["kind"]:
        return ("kind",)
    return tuple(name for name in own if own[name] != other[name])


def _until_words(other: Mapping[str, _Term], changed: tuple[str, ...]) -> str:
    if len(changed) > 1:
        return f"until then it differed in {', '.join(changed[:-1])} and {changed[-1]}"
    term = other[changed[0]]
    if isinstance(term, bool):
        return f"until then it {'allowed' if term else 'did not allow'} scaled runs"
    if isinstance(term, int | float):
        return f"until then its {changed[0]} was {term:g}"
    if changed[0] in {"kind", "metric", "side", "direction"}:
        return f"until then its {changed[0]} was '{term}'"
    return f"until then it differed in {changed[0]}"


def _runs_words(runs: int, of: int) -> str:
    """Say how many runs came before: ``4 of its 6 runs were``, ``its one run was``."""
    if of == 1:
        return "its one run was"
    return f"{runs} of its {of} runs {'was' if runs == 1 else 'were'}"
