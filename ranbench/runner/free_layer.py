"""The free layer of the gate: fixed values of every net, measured now and held against those of a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ranbench.errors import NothingMeasured
from ranbench.fixed_values import Compared, FixedValues, compare, nets_of
from ranbench.regression import Baseline, Finding, Kind
from ranbench.runner.events import Observer
from ranbench.suite import Suite

VALUES, BITS = "fixed values", "fixed bits"
SAID_EVERY = 10  # nets


def fixed_lines(suites: Sequence[Suite], observer: Observer) -> tuple[dict[str, Any], ...]:
    """Measure the nets of suites and return the lines that a baseline keeps of them."""
    from ranbench.fixed_values.measuring import measure

    nets = nets_of(suites)
    found = measure(nets, lambda net, index, total: _say(observer, index, total))
    return tuple(
        {"kind": "fixed", "suites": list(net.suites), **values.plain()} for net, values in zip(nets, found, strict=True)
    )


def _say(observer: Observer, index: int, total: int) -> None:
    if index % SAID_EVERY == 0:
        observer.note(f"fixed values: net {index + 1} of {total}")


def free_findings(suites: Sequence[Suite], baseline: Baseline, observer: Observer) -> tuple[list[Finding], list[str]]:
    """Measure the nets of suites, compare them with a baseline, and say what was not compared at all.

    Raises:
        NothingMeasured: a line of the baseline does not hold.
    """
    from ranbench.fixed_values.measuring import measure

    asked = {suite.name: suite for suite in suites}
    before = _stored(baseline, asked)
    if not before:
        why = "the baseline holds no fixed values of these suites; 'ranbench baseline save' without --layer trained"
        return [], [f"free layer: {why} keeps them"]
    nets = nets_of(suites)
    now = measure(nets, lambda net, index, total: _say(observer, index, total))
    home = {net.key: net.suites[0] for net in nets}
    home |= {values.key: suite for values, suite in before if values.key not in home}
    found: dict[str, list[Compared]] = {}
    for one in compare((values for values, _ in before), now):
        found.setdefault(one.key, []).append(one)
    findings = [_of_net(asked[home[key]], parts) for key, parts in found.items()]
    findings += _bits(asked, home, found)
    if not any(one.compared for one in findings):
        return findings, ["free layer: no net of these suites has fixed values in the baseline"]
    return findings, []


def _stored(baseline: Baseline, asked: Mapping[str, Suite]) -> list[tuple[FixedValues, str]]:
    """The stored values of nets of the suites, each with the first suite that it is of."""
    found = []
    for line in baseline.fixed:
        named = [name for name in line.get("suites", ()) if name in asked]
        if not named:
            continue
        try:
            values = FixedValues.read({key: value for key, value in line.items() if key not in ("kind", "suites")})
        except ValueError as error:
            raise NothingMeasured(f"{baseline.file}: {error}") from None
        found.append((values, named[0]))
    return found


def _of_net(suite: Suite, parts: Sequence[Compared]) -> Finding:
    """Say one thing of a net: where a change shows first, or that all is as it was."""

    def finding(kind: Kind, text: str, *, compared: bool = False) -> Finding:
        file = suite.file
        return Finding(suite.name, parts[0].net, VALUES, kind, text, layer="free", compared=compared, file=file)

    whole = {"failed": Kind.FAILED, "not comparable": Kind.NOT_COMPARABLE, "new": Kind.NEW, "gone": Kind.GONE}
    about = next((one for one in parts if one.field == "net" and one.outcome in whole), None)
    if about is not None:
        return finding(whole[about.outcome], about.reason or f"the net is {about.outcome}")
    differing = [one for one in parts if one.outcome in ("differs", "gone", "new")]
    if differing:
        more = f"; {len(differing) - 1} other fields differ" if len(differing) > 1 else ""
        return finding(Kind.REGRESSED, f"{_difference(differing[0])}{more}", compared=True)
    lacking = next((one for one in parts if one.outcome == "not comparable" and not _is_bits(one)), None)
    if lacking is not None:
        return finding(Kind.NOT_COMPARABLE, lacking.reason)
    equal = [one for one in parts if one.outcome == "equal"]
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
