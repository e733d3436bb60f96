"""What 'ranbench run' shows while it works: live bars on a terminal, plain lines otherwise; all on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ranbench.cli.output import duration, note, plural
from ranbench.records import Reason
from ranbench.runner.events import Observer
from ranbench.spec import RunSpec

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY = 30.0  # seconds between plain progress lines


class Lines(Observer):
    """Plain lines, for logs and CI."""

    def __init__(self) -> None:
        self.total = self.ended = 0
        self.began = self.line = time.monotonic()
        self.first_step = 0
        self.waited = ""

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        """Say how much is done already, and what will be trained."""
        self.total, self.ended = total, done + failed
        before = f", {failed} failed before" if failed else ""
        note(f"{plural(total, 'run')}, {done} done already{before}, {total - self.ended} to do")

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Say what begins."""
        self.began = self.line = time.monotonic()
        self.first_step = step
        how = f"goes on after iteration {step:,}" if step else "begins"
        note(f"[{self.ended + 1}/{self.total}] {label}: {how} of {spec.protocol.iterations:,} iterations")

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Say every half minute how far it is."""
        now = time.monotonic()
        if now - self.line < LINE_EVERY:
            return
        self.line = now
        rate = (step - self.first_step) / (now - self.began)
        left = (spec.protocol.iterations - step) / rate
        error = "" if error_pct is None else f", test error {error_pct:.2f} %"
        pace = f"{rate * spec.protocol.batch:,.0f} images/s"
        note(f"  iteration {step:,} of {spec.protocol.iterations:,}, {pace}, {duration(left)} left{error}")

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        """Say the result."""
        self.ended += 1
        note(f"[{self.ended}/{self.total}] {label}: test error {error_pct:.2f} % after {duration(seconds)} of training")

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        """Say why."""
        self.ended += 1
        note(f"[{self.ended}/{self.total}] {label}: failed ({reason.value}): {error}")

    def waiting(self, count: int, whom: str) -> None:
        """Say it once."""
        if whom != self.waited:
            note(f"waiting for {plural(count, 'run')} that {whom} is training; taken over if it dies")
        self.waited = whom

    def note(self, text: str) -> None:
        """Print it."""
        note(text)


class Live(Lines):
    """A bar for the suite and one for the run in hand, with rate and time left."""

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
        self.run: TaskID | None = None

    def __enter__(self) -> Live:
        """Begin to draw."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the screen clean."""
        self._drop_run()
        self.progress.stop()

    def planned(self, total: int, done: int, failed: int = 0) -> None:
        """Draw the suite's bar."""
        self.total, self.ended = total, done + failed
        self.suite = self.progress.add_task("suite", total=total, completed=self.ended, detail="runs")

    def started(self, spec: RunSpec, label: str, step: int) -> None:
        """Draw the run's bar."""
        self._drop_run()
        self.began, self.first_step = time.monotonic(), step
        total = spec.protocol.iterations
        self.run = self.progress.add_task(label, total=total, completed=step, detail="")

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        """Move the run's bar."""
        if self.run is None:
            return
        rate = (step - self.first_step) * spec.protocol.batch / max(time.monotonic() - self.began, 1e-9)
        error = "" if error_pct is None else f", test error {error_pct:.2f} %"
        self.progress.update(self.run, completed=step, detail=f"{rate:,.0f} images/s{error}")

    def finished(self, spec: RunSpec, label: str, error_pct: float, seconds: float) -> None:
        """Say the result above the bars."""
        super().finished(spec, label, error_pct, seconds)
        self._advance()

    def failed(self, spec: RunSpec, label: str, reason: Reason, error: str) -> None:
        """Say why above the bars."""
        super().failed(spec, label, reason, error)
        self._advance()

    def _advance(self) -> None:
        if self.suite is not None:
            self.progress.update(self.suite, completed=self.ended)
        self._drop_run()

    def _drop_run(self) -> None:
        if self.run is not None:
            self.progress.remove_task(self.run)
            self.run = None


def observer() -> Lines:
    """Return what fits: bars on a terminal, lines elsewhere."""
    return Live() if sys.stderr.isatty() else Lines()
