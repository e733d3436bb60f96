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
FEW = 8  # runs at once that have lines of their own


@dataclass
class _Pace:
    """How a run goes: where and when this command took it up, when it was last told, its bar."""

    label: str
    iterations: int
    batch: int
    first_step: int
    began: float
    told: float
    step: int
    bar: TaskID | None = None

    @property
    def images_per_second(self) -> float:
        """Images a second since it was taken up."""
        return self.per_second(self.step) * self.batch

    @property
    def part(self) -> float:
        """Which part of the run was done since it was taken up."""
        return (self.step - self.first_step) / self.iterations

    def per_second(self, step: int) -> float:
        """Iterations a second since it was taken up."""
        return (step - self.first_step) / max(time.monotonic() - self.began, 1e-9)


class Lines(Observer):
    """Plain lines, for logs and CI."""

    def __init__(self) -> None:
        self.total = self.ended = self.not_done = 0
        self.began = self.told = time.monotonic()
        self.worked = 0.0  # runs that were trained since, parts of them counted
        self.open: dict[str, _Pace] = {}
        self.waited = ""

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        """Say how much is done already, and what will be trained."""
        self._begin(total, done, failed)
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
        pace.step = step
        if len(self.open) > 1 and now - self.told >= LINE_EVERY:
            self.told = now
            note(f"{self.ended} of {plural(self.total, 'run')} ended, {len(self.open)} in hand{self._together()}")
        if now - pace.told < LINE_EVERY or len(self.open) > FEW:
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
        self.not_done += 1
        self._end(spec)
        note(f"[{self.ended}/{self.total}] {label}: failed ({reason.value}): {error}")

    def left(self, spec: RunSpec) -> None:
        """Forget it."""
        self._put_down(spec)

    def _open(self, spec: RunSpec, label: str, step: int) -> _Pace:
        now, protocol = time.monotonic(), spec.protocol
        if not self.worked and not self.open:
            self.began = now  # the workers are there: what they took to start says nothing of the runs
        pace = _Pace(label, protocol.iterations, protocol.batch, step, now, now, step)
        self.open[spec.fingerprint] = pace
        return pace

    def _begin(self, total: int, done: int, failed: int) -> None:
        self.total, self.ended, self.not_done = total, done + failed, failed
        self.began = self.told = time.monotonic()
        self.worked = 0.0

    def _end(self, spec: RunSpec) -> None:
        pace = self.open.get(spec.fingerprint)
        if pace is not None:
            pace.step = pace.iterations
        self.ended += 1
        self.left(spec)

    def _put_down(self, spec: RunSpec) -> _Pace | None:
        pace = self.open.pop(spec.fingerprint, None)
        if pace is not None:
            self.worked += pace.part
        return pace

    def _together(self) -> str:
        """How all that are in hand go: rate, time left for the suite if it goes on so, failures."""
        rate = sum(pace.images_per_second for pace in self.open.values())
        worked = self.worked + sum(pace.part for pace in self.open.values())
        rest = self.total - self.ended - sum(pace.step / pace.iterations for pace in self.open.values())
        left = f", {duration((time.monotonic() - self.began) * rest / worked)} left" if worked > 0 else ""
        failed = f", {self.not_done} failed" if self.not_done else ""
        return f": {rate:,.0f} images/s{left}{failed}"

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
        self._begin(total, done, failed)
        self.suite = self.progress.add_task("suite", total=total, completed=self.ended, detail="runs")

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Draw the run's bar."""
        self.left(spec)
        total = spec.protocol.iterations
        self._open(spec, label, step).bar = self.progress.add_task(label, total=total, completed=step, detail="")

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Move the run's bar."""
        pace = self.open[spec.fingerprint]
        pace.step = step
        if pace.bar is not None:
            rate = f"{pace.images_per_second:,.0f} images/s"
            self.progress.update(pace.bar, completed=step, detail=rate + _error(error_pct))
        if self.suite is not None and len(self.open) > 1:
            self.progress.update(self.suite, detail="runs" + self._together())

    def left(self, spec: RunSpec) -> None:
        """Take the run's bar away."""
        pace = self._put_down(spec)
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
