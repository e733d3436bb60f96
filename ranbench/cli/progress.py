"""What 'ranbench run' shows while it works: live bars on a terminal, plain lines otherwise; all on stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ranbench.cli.output import duration, note, plural
from ranbench.records import Reason
from ranbench.runner.events import Observer
from ranbench.spec import RunSpec

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY = 30.0  # seconds between plain progress lines


@dataclass
class _Pace:
    """How a run goes: where and when this command took it up, when it was last told, its bar."""

    label: str
    first_step: int
    began: float
    told: float
    bar: TaskID | None = None

    def per_second(self, step: int) -> float:
        """Iterations a second since it was taken up."""
        return (step - self.first_step) / max(time.monotonic() - self.began, 1e-9)


class Lines(Observer):
    """Plain lines, for logs and CI."""

    def __init__(self) -> None:
        self.total = self.ended = 0
        self.open: dict[str, _Pace] = {}
        self.waited = ""

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        """Say how much is done already, and what will be trained."""
        self.total, self.ended = total, done + failed
        before = f", {failed} failed before" if failed else ""
        note(f"{plural(total, 'run')}, {done} done already{before}, {total - self.ended} to do")

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Say what begins."""
        self._open(spec, label, step)
        how = f"goes on after iteration {step:,}" if step else "begins"
        place = self.ended + len(self.open)
        note(f"[{place}/{self.total}] {label}: {how} of {spec.protocol.iterations:,} iterations")

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Say every half minute how far it is."""
        pace, now = self.open[spec.fingerprint], time.monotonic()
        if now - pace.told < LINE_EVERY:
            return
        pace.told = now
        rate = pace.per_second(step)
        left = duration((spec.protocol.iterations - step) / rate)
        which = f"{pace.label}: " if len(self.open) > 1 else ""
        done = f"iteration {step:,} of {spec.protocol.iterations:,}"
        note(f"  {which}{done}, {rate * spec.protocol.batch:,.0f} images/s, {left} left{_error(error_pct)}")

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        """Say the result."""
        self._end(spec)
        note(f"[{self.ended}/{self.total}] {label}: test error {error_pct:.2f} % after {duration(seconds)} of training")

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        """Say why."""
        self._end(spec)
        note(f"[{self.ended}/{self.total}] {label}: failed ({reason.value}): {error}")

    def left(self, spec: RunSpec) -> None:
        """Forget it."""
        self.open.pop(spec.fingerprint, None)

    def _open(self, spec: RunSpec, label: str, step: int) -> _Pace:
        now = time.monotonic()
        self.open[spec.fingerprint] = pace = _Pace(label, step, now, now)
        return pace

    def _end(self, spec: RunSpec) -> None:
        self.ended += 1
        self.left(spec)

    def waiting(self, count: int, whom: str) -> None:
        """Say it once."""
        if whom != self.waited:
            note(f"waiting for {plural(count, 'run')} that {whom} is training; taken over if it dies")
        self.waited = whom

    def note(self, text: str) -> None:
        """Print it."""
        note(text)


class Live(Lines):
    """A bar for the suite and one for each run in hand, with rate and time left."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.suite: TaskID | None = None

    def __enter__(self) -> Live:
        """Begin to draw."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the screen clean."""
        for pace in self.open.values():
            self._drop(pace)
        self.progress.stop()

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        """Draw the suite's bar."""
        self.total, self.ended = total, done + failed
        self.suite = self.progress.add_task("suite", total=total, completed=self.ended, detail="runs")

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Draw the run's bar."""
        self.left(spec)
        total = spec.protocol.iterations
        self._open(spec, label, step).bar = self.progress.add_task(label, total=total, completed=step, detail="")

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Move the run's bar."""
        pace = self.open[spec.fingerprint]
        if pace.bar is not None:
            rate = f"{pace.per_second(step) * spec.protocol.batch:,.0f} images/s"
            self.progress.update(pace.bar, completed=step, detail=rate + _error(error_pct))

    def left(self, spec: RunSpec) -> None:
        """Take the run's bar away."""
        pace = self.open.pop(spec.fingerprint, None)
        if pace is not None:
            self._drop(pace)

    def _end(self, spec: RunSpec) -> None:
        super()._end(spec)
        if self.suite is not None:
            self.progress.update(self.suite, completed=self.ended)

    def _drop(self, pace: _Pace) -> None:
        if pace.bar is not None:
            self.progress.remove_task(pace.bar)
            pace.bar = None


def _error(error_pct: float | None) -> str:
    return "" if error_pct is None else f", test error {error_pct:.2f} %"


def observer() -> Lines:
    """Return what fits: bars on a terminal, lines elsewhere."""
    return Live() if sys.stderr.isatty() else Lines()
