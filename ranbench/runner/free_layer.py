"""The free layer of the gate: fixed values of every net, measured now and held against those of a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ranbench.errors import NothingMeasured
from ranbench.fixed_values import Compared, FixedValues, Net, compare, nets_of
from ranbench.regression import STOPPED, Baseline, Finding, Kind
from ranbench.runner.events import Observer, Stop
from ranbench.suite import Suite

VALUES, BITS = "fixed values", "fixed bits"
SAID_EVERY = 10  # nets


def fixed_lines(
    suites: Sequence[Suite], observer: Observer, *, trusted: bool = False, stop: Stop | None = None
) -> tuple[dict[str, Any], ...]:
    """Measure the nets of suites and return the lines that a baseline keeps of them.

    Raises:
        NothingMeasured: a value is not finite, so that nothing could be held against it.
    """
    nets, found = _measured(suites, observer, trusted, stop or Stop())
    for values in found:
        odd = next((name for name, each in values.values.items() if not all(map(math.isfinite, each))), None)
        if odd is not None:
            raise NothingMeasured(f"{values.net}: fixed values {odd} are not finite, so that there is nothing to keep")
    return tuple(
        {"kind": "fixed", "suites": list(net.suites), **values.plain()}
        for net, values in zip(nets, found, strict=False)  # fewer where a stop was asked for
    )


def _measured(
    suites: Sequence[Suite], observer: Observer, trusted: bool, stop: Stop
) -> tuple[tuple[Net, ...], tuple[FixedValues, ...]]:
    from ranbench.fixed_values.measuring import measure

    def say(net: Net, index: int, total: int) -> None:
        del net
        _say(observer, index, total)

    nets = nets_of(suites)
    return nets, measure(nets, say, trusted=trusted, stopped=lambda: stop.requested)


def _say(observer: Observer, index: int, total: int) -> None:
    if index % SAID_EVERY == 0:
        observer.note(f"fixed values: net {index + 1} of {total}")


def free_findings(
    suites: Sequence[Suite], baseline: Baseline, observer: Observer, *, trusted: bool = False, stop: Stop | None = None
) -> tuple[list[Finding], list[str]]:
    """Measure the nets of suites, compare them with a baseline, and say what was not compared at all.

    Args:
        suites: whose nets are measured.
        baseline: what they are held against.
        observer: is told how far it is.
        trusted: the code of a user's own nets may be run, to count them.
        stop: where it asks for a stop, no further net is measured, and nothing is said of those but that.

    Raises:
        NothingMeasured: a line of the baseline does not hold.
    """
    asked = {suite.name: suite for suite in suites}
    before = _stored(baseline, asked)
    if not before:
        why = "the baseline holds no fixed values of these suites; 'ranbench baseline save' without --layer trained"
        return [], [f"free layer: {why} keeps them"]
    nets, now = _measured(suites, observer, trusted, stop or Stop())
    unreached = nets[len(now) :]
    before = [(values, suite) for values, suite in before if values.key not in {net.key for net in unreached}]
    home = {net.key: net.suites[0] for net in nets}
    home |= {values.key: suite for values, suite in before if values.key not in home}
    found: dict[str, list[Compared]] = {}
    for one in compare((values for values, _ in before), now):
        found.setdefault(one.key, []).append(one)
    findings = [_of_net(asked[home[key]], parts) for key, parts in found.items()]
    findings += _bits(asked, home, found)
    findings += [
        Finding(
            net.suites[0], net.name, VALUES, Kind.CANNOT_TELL, STOPPED, layer="free", file=asked[net.suites[0]].file
        )
        for net in unreached
    ]
    if not any(one.compared for one in findings):
        return findings, ["free layer: no net of these suites could be held against fixed values in the baseline"]
    return findings, []


def _stored(baseline: Baseline, asked: Mapping[str, Suite]) -> list[tuple[FixedValues, str]]:
    """The stored values of nets of the suites, each with the first suite that it is of."""
    found = []
    at = baseline.fixed_at or (0,) * len(baseline.fixed)
    for number, line in zip(at, baseline.fixed, strict=True):
        named = [name for name in line.get("suites", ()) if name in asked]
        if not named:
            continue
        try:
            values = FixedValues.read({key: value for key, value in line.items() if key not in ("kind", "suites")})
        except ValueError as error:
            raise NothingMeasured(f"{baseline.file}:{number}: {error}") from None
        found.append((values, named[0]))
    return found


def _of_net(suite: Suite, parts: Sequence[Compared]) -> Finding:
    """Say one thing of a net: where a change shows first, or that all is as it was."""

    def finding(kind: Kind, text: str, *, compared: bool = False) -> Finding:
        file = suite.file
        return Finding(suite.name, parts[0].net, VALUES, kind, text, layer="free", compared=compared, file=file)

    whole = {"failed": Kind.FAILED, "not comparable": Kind.NOT_COMPARABLE, "new": Kind.NEW, "gone": Kind.GONE}
    about = next((one for one in parts if one.field == "net" and one.outcome in whole), None)
    if about is not None and about.outcome != "not comparable":
        return finding(whole[about.outcome], about.reason or f"the net is {about.outcome}")
    if about is not None:  # of its counts there is something to be said, where they were taken both times
        parts = [one for one in parts if one is about or (one.before is not None and one.after is not None)]
    differing = [one for one in parts if one.outcome in ("differs", "gone", "new")]
    if differing:
        more = f"; {len(differing) - 1} other fields differ" if len(differing) > 1 else ""
        return finding(Kind.REGRESSED, f"{_difference(differing[0])}{more}", compared=True)
    equal = [one for one in parts if one.outcome == "equal"]
    lacking = next((one for one in parts if one.outcome == "not comparable" and not _is_bits(one)), None)
    if lacking is not None:
        counts = f"; {len(equal)} counts and shapes are equal" if equal else ""
        return finding(Kind.NOT_COMPARABLE, f"{lacking.reason}{counts}", compared=bool(equal))
    worst = max((one.relative or 0.0 for one in equal), default=0.0)
    return finding(Kind.UNCHANGED, f"{len(equal)} fields are equal, to {worst:.1g} at worst", compared=bool(equal))


def _difference(one: Compared) -> str:
    where = "" if one.at is None else f" value {one.at}"
    apart = "" if one.relative is None else f", {one.relative:.2g} of the largest"
    values = one.reason or f"{one.before} to {one.after}"
    return f"{one.field}{where}: {values}{apart}" if one.outcome == "differs" else f"{one.field} is {one.outcome}"


def _bits(
    asked: Mapping[str, Suite], home: Mapping[str, str], found: Mapping[str, Iterable[Compared]]
) -> list[Finding]:
    """Say once for each suite that bits could not be compared, and why."""
    why: dict[str, list[str]] = {}
    for key, parts in found.items():
        reasons = [one.reason for one in parts if _is_bits(one) and one.outcome == "not comparable"]
        if reasons:
            why.setdefault(home[key], []).extend(reasons)
    return [
        Finding(
            name, f"{len(reasons)} nets", BITS, Kind.NOT_COMPARABLE, reasons[0], layer="free", file=asked[name].file
        )
        for name, reasons in why.items()
    ]


def _is_bits(one: Compared) -> bool:
    return one.field.startswith("hashes")
