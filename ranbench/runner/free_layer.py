"""The free layer of the gate: fixed values of every net, measured now and held against those of a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ranbench.counts import Counts
from ranbench.errors import NothingMeasured
from ranbench.fixed_values import Compared, FixedValues, Net, compare, nets_of
from ranbench.regression import STOPPED, Baseline, Finding, Kind
from ranbench.regression.rules import BITS, VALUES
from ranbench.runner.events import Observer, Stop
from ranbench.spec import complexity_key
from ranbench.suite import Suite

SAID_EVERY = 10  # nets
COMPARED = (Kind.UNCHANGED, Kind.REGRESSED)  # of a net whose values were held against others


class FreeLayer:
    """Fixed values of the nets of suites, measured when they are first asked for, and once.

    Args:
        suites: whose nets are measured.
        observer: is told how far it is.
        trusted: the code of a user's own nets may be run.
        stop: where it asks for a stop, no further net is measured.
        keeping: the values are to be kept: it is measured as well how steady each net is.
    """

    def __init__(
        self,
        suites: Sequence[Suite],
        observer: Observer,
        *,
        trusted: bool = False,
        stop: Stop | None = None,
        keeping: bool = False,
    ):
        self.suites, self.observer, self.trusted, self.keeping = suites, observer, trusted, keeping
        self.stop = stop or Stop()
        self.nets = nets_of(suites)
        self.counts: dict[str, Counts] = {}  # by complexity_key, of what was measured so far

    @cached_property
    def values(self) -> tuple[FixedValues, ...]:
        """Of the nets, in their order; fewer where a stop was asked for."""
        from ranbench.fixed_values.measuring import measure

        found = measure(
            self.nets,
            self._say,
            trusted=self.trusted,
            steadiness=self.keeping,
            stopped=lambda: self.stop.requested,
        )
        for net, one in zip(self.nets, found, strict=False):
            if one.counts:
                self.counts[complexity_key(net.model, net.data)] = Counts(
                    one.counts["parameters"], one.counts["macs"], one.counts.get("depth")
                )
        return found

    def _say(self, net: Net, index: int, total: int) -> None:
        del net
        if index % SAID_EVERY == 0:
            self.observer.note(f"fixed values: net {index + 1} of {total}")

    def lines(self) -> tuple[dict[str, Any], ...]:
        """Return the lines that a baseline keeps.

        Raises:
            NothingMeasured: a value is not finite, so that nothing could be held against it.
        """
        for values in self.values:
            odd = next((name for name, each in values.values.items() if not all(map(math.isfinite, each))), None)
            if odd is not None:
                raise NothingMeasured(
                    f"{values.net}: fixed values {odd} are not finite, so that there is nothing to keep"
                )
        return tuple(
            {"kind": "fixed", "suites": list(net.suites), **values.plain()}
            for net, values in zip(self.nets, self.values, strict=False)
        )

    def findings(self, baseline: Baseline) -> tuple[list[Finding], list[str]]:
        """Compare the nets with a baseline, and say what was not compared at all; of a net behind a stop, that alone.

        Raises:
            NothingMeasured: a line of the baseline does not hold.
        """
        asked = {suite.name: suite for suite in self.suites}
        before = _stored(baseline, asked)
        if not before:
            why = "the baseline holds no fixed values of these suites; 'ranbench baseline save' without --layer trained"
            return [], [f"free layer: {why} keeps them"]
        now = self.values
        unreached = self.nets[len(now) :]
        before = [(values, suite) for values, suite in before if values.key not in {net.key for net in unreached}]
        home = {net.key: net.suites[0] for net in self.nets}
        home |= {values.key: suite for values, suite in before if values.key not in home}
        found: dict[str, list[Compared]] = {}
        for one in compare((values for values, _ in before), now):
            found.setdefault(one.key, []).append(one)
        findings = [_of_net(asked[home[key]], parts) for key, parts in found.items()]
        findings += _bits(asked, home, found)
        for net in unreached:
            name, file = net.suites[0], asked[net.suites[0]].file
            findings.append(Finding(name, net.name, VALUES, Kind.CANNOT_TELL, STOPPED, layer="free", file=file))
        alone = {values.key for values in now if values.problem and values.counts}  # counted, and no more is promised
        if not any(one.kind in COMPARED for one in findings) and not (found and found.keys() <= alone):
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
