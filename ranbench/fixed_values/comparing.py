"""Fixed values before and after a change: what is equal, what differs, by how much, and where it shows first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from ranbench.fixed_values.nets import STEPS
from ranbench.fixed_values.record import LOSSES, Context, FixedValues, Values

TOLERANCE = 1e-6  # of values, relative to the largest of their kind
Outcome = Literal["equal", "differs", "not comparable", "failed", "new", "gone"]
Making = Callable[..., "Compared"]
WHOLE = "net"  # the field of a result about a net as a whole


@dataclass(frozen=True)
class Compared:
    """What became of one field of a net.

    Attributes:
        key: identity of the net.
        net: its name in words.
        field: for instance ``counts.macs``, ``values.steps.losses``, ``hashes.steps``; ``net`` for all of it.
        outcome: of the comparison. ``failed``: the net could be measured before, and cannot be now.
        relative: by how much it differs, relative to the largest of the field's values; None where there is none.
        at: index of the first value that differs, from 0.
        before: that value, or the whole field.
        after: likewise.
        reason: in words, why it is not comparable, or what failed.
    """

    key: str
    net: str
    field: str
    outcome: Outcome
    relative: float | None = None
    at: int | None = None
    before: float | str | None = None
    after: float | str | None = None
    reason: str = ""


def compare(before: Iterable[FixedValues], after: Iterable[FixedValues]) -> tuple[Compared, ...]:
    """Compare net by net and field by field: nets in the order of ``after``, then those that are gone.

    Fields come in the order in which they arise in a net and a run, so the first of a net that differs is where the
    change shows first (``first_differences``).
    """
    old = {each.key: each for each in before}
    new = {each.key: each for each in after}
    found: list[Compared] = []
    for key, now in new.items():
        found += _of_net(old[key], now) if key in old else [Compared(key, now.net, WHOLE, "new", reason=now.problem)]
    found += [Compared(key, then.net, WHOLE, "gone") for key, then in old.items() if key not in new]
    return tuple(found)


def first_differences(compared: Iterable[Compared]) -> tuple[Compared, ...]:
    """Return of each net the first field that differs or failed; hashes only where no value does."""
    first: dict[str, Compared] = {}
    for each in compared:
        if each.outcome in ("differs", "failed"):
            first.setdefault(each.key, each)
    return tuple(first.values())


def _of_net(before: FixedValues, after: FixedValues) -> Iterator[Compared]:
    def result(field: str, outcome: Outcome, **more: object) -> Compared:
        return Compared(after.key, after.net, field, outcome, **more)  # type: ignore[arg-type]

    for one in (after, before):
        if one.problem and one.absent:
            yield result(WHOLE, "not comparable", reason=one.problem)
            return
    if after.problem and not before.problem:
        yield result(WHOLE, "failed", reason=after.problem)
    elif before.problem and not after.problem:
        yield result(WHOLE, "not comparable", reason=f"could not be measured before: {before.problem}")
    elif before.problem != after.problem:
        reason = f"could not be measured before ({before.problem}), nor now ({after.problem})"
        yield result(WHOLE, "not comparable", reason=reason)
    yield from _exactly(result, "counts", _texts(before.counts), _texts(after.counts))
    shapes = [{"": "x".join(map(str, one.output))} if one.output else {} for one in (before, after)]
    yield from _exactly(result, "output", *shapes)
    if before.problem or after.problem:
        if before.problem == after.problem:
            yield result("values", "not comparable", reason=after.problem)
        return
    if before.procedure != after.procedure:
        reason = f"taken in another way, {before.procedure} before and {after.procedure} now"
        yield result("values", "not comparable", reason=reason)
        return
    yield from _exactly(result, "reduced", {"": before.reduced}, {"": after.reduced})
    then, now = _steady(before, after)
    for name in _names(then, now):
        yield _values(result, f"values.{name}", then.get(name), now.get(name))
    other = _other_context(before.context, after.context)
    if other:
        yield result("hashes", "not comparable", reason=other)
    else:
        yield from _exactly(result, "hashes", before.hashes, after.hashes)


def _steady(before: FixedValues, after: FixedValues) -> tuple[Mapping[str, Values], Mapping[str, Values]]:
    """Leave out what another processor's rounding drives apart: losses behind the steady ones, and what follows."""
    steady = min((one.steady for one in (before, after) if one.steady is not None), default=STEPS)
    if steady >= STEPS:
        return before.values, after.values
    then, now = (
        {
            name: each[:steady] if name == LOSSES else each
            for name, each in one.values.items()
            if name == LOSSES or not name.startswith(("steps.", "after."))
        }
        for one in (before, after)
    )
    return then, now


def _exactly(result: Making, field: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Compared]:
    for name in _names(before, after):
        then, now = before.get(name), after.get(name)
        place = f"{field}.{name}" if name else field
        if then is None or now is None:
            yield result(place, "new" if then is None else "gone", before=then, after=now)
        else:
            relative = _relative(then, now) if field == "counts" and then != now else None
            outcome: Outcome = "equal" if then == now else "differs"
            yield result(place, outcome, before=then, after=now, relative=relative)


def _values(result: Making, field: str, before: Values | None, after: Values | None) -> Compared:
    """Compare numbers one by one, relative to the largest of them all."""
    if before is None or after is None:
        outcome: Outcome = "new" if before is None else "gone"
        return result(field, outcome)
    if len(before) != len(after):
        text = f"{len(before)} values before and {len(after)} now"
        return result(field, "differs", before=float(len(before)), after=float(len(after)), reason=text)
    largest = max((abs(value) for value in (*before, *after) if math.isfinite(value)), default=0.0)
    apart = [_apart(then, now, largest) for then, now in zip(before, after, strict=True)]
    worst = max(apart, default=0.0)
    at = next((index for index, each in enumerate(apart) if each > TOLERANCE), None)
    if at is None:
        return result(field, "equal", relative=worst)
    return result(field, "differs", relative=worst, at=at, before=before[at], after=after[at])


def _apart(before: float, after: float, largest: float) -> float:
    """Return how far two numbers are apart; what is not finite equals nothing, not even itself."""
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.inf
    if before == after:
        return 0.0
    return abs(after - before) / largest


def _relative(before: str, after: str) -> float | None:
    then, now = int(before), int(after)
    return abs(now - then) / abs(then) if then else None


def _other_context(before: Context, after: Context) -> str:
    """Say in words what of the context differs, nothing where it is equal."""
    pairs = ((each.name, getattr(before, each.name), getattr(after, each.name)) for each in fields(Context))
    differing = [
        f"{name.replace('_', ' ')} {then!s} before and {now!s} now" for name, then, now in pairs if then != now
    ]
    return f"other bits may be expected: {'; '.join(differing)}" if differing else ""


def _names(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """The names of both, those of ``after`` in their order first."""
    return tuple(dict.fromkeys((*after, *before)))


def _texts(counts: Mapping[str, int]) -> dict[str, str]:
    return {name: str(value) for name, value in counts.items()}
