"""status: what is running and how far, once or until nothing runs any more; reads the database only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Db, Json, settings
from ranbench.cli.output import answer, as_json, duration, is_terminal, laid_out, note, plural, table
from ranbench.cli.results import SuiteFilter, cell_of, chosen, state_of
from ranbench.errors import UsageError

if TYPE_CHECKING:
    from ranbench.records import Attempt, MetricPoint, RunRecord
    from ranbench.store import Store

LOOK_EVERY = 2.0  # seconds
SHARE = 0.1  # of its time that watching may spend on reading the database
LINES_EVERY = 30.0  # seconds, where there is no terminal
STARTS_WITHIN = 60.0  # seconds in which a command that has begun takes its first run
FAILURES = 5  # that are shown while watching

_COMMANDS = {"result": "run command", "check": "'rerun --check'"}
_COLUMNS = ("run", "net", "seed", "iteration", "of", "images/s", "left", "test error", "heartbeat", "process")
_RIGHT = ("seed", "iteration", "of", "images/s", "left", "test error")


@dataclass(frozen=True)
class Look:
    """What the database says at one moment; ``seconds_left``: until all runs are closed, None where not known."""

    states: Counter[str]
    running: list[dict[str, Any]]
    failures: list[str]
    seconds_left: float | None

    @property
    def runs(self) -> int:
        """How many there are."""
        return self.states.total()

    @property
    def works(self) -> bool:
        """Whether a process is at work."""
        return any(row["alive"] for row in self.running)

    @property
    def waits(self) -> bool:
        """Whether runs are left, which a command that starts just now may take."""
        return self.states["planned"] + self.states["interrupted"] > 0

    @property
    def line(self) -> str:
        """The counts in one line, with the rate of all and the time left while somebody works."""
        counted = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        said = f"{plural(self.runs, 'run')}: {counted or 'none'}"
        if not self.works:
            return f"{said}; nobody is at work" if self.waits else said
        rate = sum(row["images_per_second"] or 0.0 for row in self.running if row["alive"])
        left = "" if self.seconds_left is None else f", about {duration(self.seconds_left)} left"
        return f"{said}; {rate:,.0f} images/s{left}"


def status(
    context: typer.Context,
    suite: SuiteFilter = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it, from any terminal, until nothing runs any more.")
    ] = False,
    json: Json = False,
    db: Db = None,
) -> None:
    """Show what is running and how far, and how many runs stand where."""
    if watch and json:
        raise UsageError("--watch: is for reading; leave out --json, or call 'ranbench status --json' again and again")
    place = settings(context, db)
    if watch and not place.exists():
        note(f"no database there yet; waiting {STARTS_WITHIN:.0f} s for a command that makes it")
        began = time.monotonic()
        while not place.exists() and time.monotonic() < began + STARTS_WITHIN:
            time.sleep(LOOK_EVERY)
    with place.store(create=False) as store:
        if watch:
            _watch(store, suite)
            return
        found = look(store, suite)
    if json:
        as_json({"runs": found.runs, "states": dict(found.states), "running": found.running})
        return
    answer(found.line)
    if found.running:
        table(_COLUMNS, _rows(found), right=_RIGHT)


def look(store: Store, suite: str | None) -> Look:
    """Look at all runs, or those of a suite.

    Raises:
        UsageError: nothing of the suite is recorded.
    """
    records = chosen(store, suite)
    open_ = [(record, attempt) for record in records for attempt in record.attempts if attempt.owner]
    points = store.last_points([attempt.id for _, attempt in open_], ["test_error_pct"])
    running = [_progress(record, attempt, points) for record, attempt in open_]
    states = Counter(state_of(record) for record in records)
    return Look(states, running, list(_failures(records)), _seconds_left(records, states, running))


def _progress(record: RunRecord, attempt: Attempt, points: dict[int, dict[str, MetricPoint]]) -> dict[str, Any]:
    from ranbench.environment.owner import is_alive

    error = points.get(attempt.id, {}).get("test_error_pct")
    per_second = attempt.step / attempt.seconds if attempt.seconds else 0.0  # of the time up to its last sign of life
    return {
        "fingerprint": record.fingerprint,
        "cell": cell_of(record),
        "seed": record.seed,
        "smoke": record.smoke,
        "attempt": attempt.number,
        "purpose": attempt.purpose.value,
        "step": attempt.step,
        "iterations": attempt.iterations,
        "images_per_second": per_second * record.spec["protocol"]["batch"] if per_second else None,
        "seconds_left": (attempt.iterations - attempt.step) / per_second if per_second else None,
        "test_error_pct": error.value if error else None,
        "heartbeat_seconds": max(0.0, (datetime.now(UTC) - attempt.updated).total_seconds()),
        "alive": attempt.owner is not None and is_alive(attempt.owner, attempt.updated),
    }


def _rows(found: Look) -> list[tuple[object, ...]]:
    return [
        (
            row["fingerprint"][:12],
            row["cell"] + (" (smoke)" if row["smoke"] else "") + (", check" if row["purpose"] == "check" else ""),
            row["seed"],
            f"{row['step']:,}",
            f"{row['iterations']:,}",
            "" if row["images_per_second"] is None else f"{row['images_per_second']:,.0f}",
            "" if row["seconds_left"] is None else duration(row["seconds_left"]),
            "" if row["test_error_pct"] is None else f"{row['test_error_pct']:.2f} %",
            f"{duration(row['heartbeat_seconds'])} ago",
            "" if row["alive"] else f"gone; the next {_COMMANDS[row['purpose']]} resumes it",
        )
        for row in found.running
    ]


def _failures(records: list[RunRecord]) -> Iterator[str]:
    """What failed, the last first, in a line each."""
    from ranbench.records import State

    failed = [(record, record.latest) for record in records if record.state == State.FAILED.value]
    for record, attempt in sorted(failed, key=lambda pair: pair[1].updated.timestamp() if pair[1] else 0, reverse=True):
        if attempt is not None and attempt.reason is not None:
            said = (attempt.error or "").strip().splitlines()
            why = f": {said[-1]}" if said else ""
            yield f"{cell_of(record)}, seed {record.seed}: failed ({attempt.reason.value}){why}"


def _seconds_left(records: list[RunRecord], states: Counter[str], running: list[dict[str, Any]]) -> float | None:
    """Estimate when all are closed: those in hand at their rates, the others at the mean of those that are done."""
    took = [record.counted.seconds for record in records if record.counted and record.counted.seconds]
    waiting = states["planned"] + states["interrupted"]
    at_work: list[float | None] = [row["seconds_left"] for row in running if row["alive"]]
    known = [seconds for seconds in at_work if seconds is not None]
    if not known or len(known) < len(at_work) or (waiting and not took):
        return None
    rest = waiting * sum(took) / len(took) if waiting else 0.0
    return max(*known, (sum(known) + rest) / len(known))


def _watch(store: Store, suite: str | None) -> None:
    """Show it again and again: in place on a terminal, as lines elsewhere."""
    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.text import Text

    def drawn(found: Look) -> RenderableType:
        parts: list[RenderableType] = [Text(found.line)]
        if found.running:
            parts.append(laid_out(_COLUMNS, [[str(cell) for cell in row] for row in _rows(found)], _RIGHT))
        parts += [Text(line) for line in found.failures[:FAILURES]]
        more = len(found.failures) - FAILURES
        return Group(
            *parts, *([Text(f"and {more} more that failed: 'ranbench runs --where state=failed'")] * (more > 0))
        )

    found = look(store, suite)
    quiet = time.monotonic()  # since when nobody has worked

    def goes_on() -> bool:
        nonlocal quiet
        if found.works:
            quiet = time.monotonic()
        return found.works or (found.waits and time.monotonic() < quiet + STARTS_WITHIN)

    if not is_terminal():
        answer(found.line)
        while goes_on():
            time.sleep(LINES_EVERY if found.works else LOOK_EVERY)
            before, found = found, look(store, suite)
            if found.works or found.line != before.line:
                answer(found.line)
        return
    with Live(drawn(found), console=Console(), auto_refresh=False) as live:
        while goes_on():
            began = time.monotonic()
            found = look(store, suite)
            live.update(drawn(found), refresh=True)
            time.sleep(max(LOOK_EVERY, (time.monotonic() - began) / SHARE))
