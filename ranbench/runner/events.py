"""What the runner tells while it works, and what it says at the end."""

from __future__ import annotations

from dataclasses import dataclass

from ranbench.execution import Stop
from ranbench.records import Reason
from ranbench.spec import RunSpec

__all__ = ["Observer", "Stop", "Summary"]


class Observer:
    """Is told what happens; this one keeps silent. The command line shows it."""

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        """Tell that ``done`` of ``total`` runs need nothing, and ``failed`` failed before and are not tried again."""

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Tell that a run begins, or goes on after ``step`` iterations."""

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Tell that ``step`` iterations are done; ``error_pct`` is the last test error."""

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        """Tell that a run is done."""

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        """Tell that a run failed."""

    def left(self, spec: RunSpec) -> None:
        """Tell that a run was left to be gone on with later."""

    def waiting(self, count: int, whom: str) -> None:
        """Tell that ``count`` runs are being trained by another command."""

    def note(self, text: str) -> None:
        """Tell something in one line."""


@dataclass(frozen=True)
class Summary:
    """Runs of the suite by what became of them in this call; together they are all runs asked for.

    ``counted``: the nets of a suite that trains nothing; ``without_count``: those of which no count is stored either.
    ``probed``: runs that were done before, and whose final weights were measured now; ``without_probe``: those of which
    that could not be done.
    """

    total: int
    already_done: int
    trained: int
    elsewhere: int
    failed: int
    left: int
    signal: int | None = None
    counted: int = 0
    without_count: int = 0
    probed: int = 0
    without_probe: int = 0

    @property
    def exit_code(self) -> int:
        """0 done, 3 failed runs, 7 nets without a count or weights that cannot be measured, 130 or 143 interrupted."""
        if self.without_count or self.without_probe:
            return 7
        if self.signal is not None:
            return 128 + self.signal
        return 3 if self.failed else 0
