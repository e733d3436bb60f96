"""What a comparison says: one finding for each metric of each cell, and the exit code of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Literal


class Kind(StrEnum):
    """What became of a metric."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    CANNOT_TELL = "cannot tell"
    NEW = "new"
    GONE = "gone"
    FAILED = "failed"
    NOT_COMPARABLE = "not comparable"
    EXCUSED = "excused"


def day(text: str) -> date:
    """Read a day as YYYY-MM-DD; other forms of ISO 8601 are none here.

    Raises:
        ValueError: it is not that.
    """
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"expected a day as YYYY-MM-DD, got {text!r}")
    return date.fromisoformat(text)


FIRES = (Kind.REGRESSED, Kind.GONE)
BLOCKS = (*FIRES, Kind.FAILED)  # what an exception may excuse
Layer = Literal["free", "trained"]

REGRESSION, FAILED, NOTHING, UNDECIDED = 4, 3, 6, 5


@dataclass(frozen=True)
class Finding:
    """What is said of one metric of one cell.

    Attributes:
        suite: its name.
        cell: its label, or the id of a claim.
        metric: its name; ``runs`` of what concerns all of them, ``claim`` of a verdict, ``fixed`` of fixed values.
        kind: what became of it.
        text: a sentence without the cell and the metric: before, now, and why.
        layer: in which it was found.
        before: mean of the baseline, in the unit of the metric; None where there is none.
        now: mean of this night.
        p: adjusted for all that was compared; None where nothing was tested.
        compared: whether a value met another: what is undecided counts where a test was made.
        file: of the suite, for annotations.
    """

    suite: str
    cell: str
    metric: str
    kind: Kind
    text: str
    layer: Layer = "trained"
    before: float | None = None
    now: float | None = None
    p: float | None = None
    compared: bool = False
    file: str = ""

    @property
    def fires(self) -> bool:
        """Whether it alone ends a check with the code of a regression."""
        return self.kind in FIRES

    @property
    def line(self) -> str:
        """All of it on one line."""
        return f"{self.kind}: {self.suite} / {self.cell} / {self.metric}: {self.text}"


@dataclass(frozen=True)
class Exempt:
    """A reviewed exception: a line of the baseline with a reason and the last day on which it holds (YYYY-MM-DD).

    ``cell`` and ``metric``: as a finding has them, or ``*`` for all.
    """

    suite: str
    cell: str
    metric: str
    reason: str
    until: str

    def covers(self, finding: Finding) -> bool:
        """Tell whether it is about a finding."""
        asked = ((self.cell, finding.cell), (self.metric, finding.metric))
        return self.suite == finding.suite and all(own in ("*", theirs) for own, theirs in asked)


@dataclass(frozen=True)
class Report:
    """All findings of a check with what else is to be said of it, in lines.

    ``unmeasured``: for each suite and layer of which nothing was compared, why; where there is one, the check measured
    too little to be trusted. ``stopped``: the number of the signal that ended it early.
    """

    findings: tuple[Finding, ...]
    unmeasured: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: int | None = None

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """List the findings of a kind."""
        return tuple(finding for finding in self.findings if finding.kind is kind)

    def exit_code(self, *, strict: bool = False) -> int:
        """Return the first that applies of 130/143 stopped, 6 unmeasured, 4 regression, 3 failed runs, 5 undecided."""
        if self.stopped is not None:
            return 128 + self.stopped
        if self.unmeasured or not self.findings:
            return NOTHING
        if any(finding.fires for finding in self.findings):
            return REGRESSION
        if self.of(Kind.FAILED):
            return FAILED
        return UNDECIDED if strict and self.of(Kind.CANNOT_TELL) else 0


def excused(
    findings: Iterable[Finding], exceptions: Sequence[Exempt], today: str
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Turn what a reviewed exception covers into ``excused``, and tell of exceptions that ended or cover nothing."""
    said: list[str] = []
    changed = list(findings)
    for one in exceptions:
        about = f"exception for {one.suite} / {one.cell} / {one.metric} ({one.reason})"
        if day(one.until) < day(today):
            said.append(f"{about} ended on {one.until} and excuses nothing any more")
            continue
        covered = [index for index, finding in enumerate(changed) if one.covers(finding) and finding.kind in BLOCKS]
        if not covered:
            said.append(f"{about} covers nothing tonight; it ends on {one.until}")
        for index in covered:
            finding = changed[index]
            text = f"{finding.text}; excused until {one.until}: {one.reason}"
            changed[index] = replace(finding, kind=Kind.EXCUSED, text=text)
    return tuple(changed), tuple(said)
