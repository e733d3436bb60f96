"""The one who hands runs out: decides what comes next, hears what became of it, tries again what was lost.

Trains nothing itself and claims nothing; it writes to the database only for runs whose process is gone.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from ranbench.catalogue import is_foreign
from ranbench.errors import StoreError
from ranbench.execution import Event, Executor, Lost, Raised, Resources, Returned, Stop, Task, Told
from ranbench.records import State
from ranbench.runner import losses, messages
from ranbench.runner.estimates import Estimates
from ranbench.runner.events import Observer
from ranbench.runner.how import by_architecture
from ranbench.runner.losses import Claim, Fate, Losses
from ranbench.runner.workplace import Assignment, Order, label_of, train
from ranbench.spec import RunSpec
from ranbench.store import Store

POLL_SECONDS = 1.0
RUNS_AT_ONCE = 16  # in a batch on a GPU, at most


def batches(specs: Sequence[RunSpec], size: Callable[[int], int]) -> list[tuple[RunSpec, ...]]:
    """Share runs out into batches of one architecture, in the order of their first runs: seed by seed over the cells.

    Args:
        specs: seed by seed.
        size: number of runs of an architecture -> runs of a batch.
    """
    place = {spec.fingerprint: number for number, spec in enumerate(specs)}
    found = []
    for group in by_architecture(specs):
        step = 1 if is_foreign(group[0].model.name) else max(1, size(len(group)))
        found += [tuple(group[at : at + step]) for at in range(0, len(group), step)]
    return sorted(found, key=lambda batch: place[batch[0].fingerprint])


def batch_size(device: str, at_once: int | None, jobs: int) -> Callable[[int], int]:
    """Choose how many runs of an architecture make a batch: one on a CPU, on a GPU an equal share for each process."""
    if at_once is not None:
        return lambda _: at_once
    if device == "cpu":
        return lambda _: 1
    return lambda runs: min(RUNS_AT_ONCE, math.ceil(runs / jobs))


@dataclass
class _Open:
    """An assignment under way: its runs that have not ended, and which of them are claimed."""

    specs: dict[str, RunSpec]
    claims: dict[str, Claim] = field(default_factory=dict)
    ended: int = 0
    overdue: str | None = None  # the run for which it is killed
    ending: str | None = None  # why its process said that it ends
    starting: bool = False  # whether it was killed before it had taken any run


class Driver:
    """Works through the open runs of a command.

    Args:
        todo: the runs, seed by seed.
        labels: of cells, by cell_id.
        order: what every call is told.
        executor: where the calls run.
        store: for what is recorded of runs whose process is gone.
        observer: is told what happens.
        stop: asks for a stop.
        size: see ``batches``.
        retries: how often a run is tried again whose process died.
        estimates: of what runs take, where there is a budget.
        resources: of a call.
        call: what is dispatched.
    """

    def __init__(  # noqa: PLR0917 - called once
        self,
        todo: Sequence[RunSpec],
        labels: Mapping[str, str],
        order: Order,
        executor: Executor,
        store: Store,
        observer: Observer,
        stop: Stop,
        *,
        size: Callable[[int], int] = lambda _: 1,
        retries: int = 1,
        estimates: Estimates | None = None,
        resources: Resources | None = None,
        call: Callable[..., object] = train,
    ):
        self.labels, self.order, self.executor, self.store = labels, order, executor, store
        self.observer, self.stop, self.size = observer, stop, size
        self.estimates, self.resources, self.call = estimates, resources or Resources(), call
        self.queue = deque(batches(todo, size))
        self.open: dict[int, _Open] = {}
        self.keys = itertools.count()
        self.held: list[RunSpec] = []
        self.held_until = 0.0
        self.no_time: list[RunSpec] = []
        self.ended: Counter[str] = Counter()
        self.finished: set[str] = set()
        self.error: BaseException | None = None
        self.losses = Losses(store, order, observer, self._label, retries)

    def through(self) -> Counter[str]:
        """Hand out all runs; return how many were trained, failed, done elsewhere, or unchanged.

        Raises:
            RanbenchError: what is not of one run alone; all others have been left with a checkpoint.
            KeyboardInterrupt: stop at once; open attempts can be resumed from their last checkpoints.
        """
        try:
            with self.executor:
                while self._goes_on():
                    self.executor.poll(self._handle, POLL_SECONDS)
                    self._look_at_limits()
        except BaseException:
            self._abandon()
            raise
        if self.error is not None:
            raise self.error
        return self.ended

    # What comes next.

    def _goes_on(self) -> bool:
        """Hand out what there is room for; tell whether anything is under way or to be waited for."""
        ending = self.stop.requested or self.error is not None
        if ending and not self.losses.stopping:
            self.losses.stopping = True
            self.executor.stop(self.stop.signal)
            self._end_what_only_starts()
        while not ending and self.executor.room > 0 and (specs := self._next()):
            self._submit(specs)
        if self.open or ending:
            return bool(self.open)
        if self.held:
            self.observer.waiting(len(self.held), self._holders())
        return bool(self.held)

    def _end_what_only_starts(self) -> None:
        """End the processes that have taken no run yet: while they load libraries and data, they do not look."""
        for key, open_ in self.open.items():
            if not open_.claims and not open_.ended:
                open_.starting = True
                self.executor.kill(key)

    def _next(self) -> tuple[RunSpec, ...]:
        if not self.queue and self.held and monotonic() >= self.held_until:
            self.queue.extend(batches(self.held, self.size))
            self.held = []
        while self.queue:
            specs = self._in_time(self.queue.popleft())
            if specs:
                return specs
        return ()

    def _in_time(self, specs: tuple[RunSpec, ...]) -> tuple[RunSpec, ...]:
        """Leave out the runs that by measured rates would not end within the budget."""
        left = self.stop.seconds_left
        if left is None or self.estimates is None:
            return specs
        late = {spec.fingerprint for spec in specs if (self.estimates.seconds(spec) or 0.0) > left}
        self.no_time += [spec for spec in specs if spec.fingerprint in late]
        return tuple(spec for spec in specs if spec.fingerprint not in late)

    def _submit(self, specs: tuple[RunSpec, ...]) -> None:
        known = {} if self.estimates is None else {spec.fingerprint: self.estimates.seconds(spec) for spec in specs}
        assignment = Assignment(
            specs,
            {spec.cell_id: self.labels[spec.cell_id] for spec in specs},
            self.stop.seconds_left,
            {run: seconds for run, seconds in known.items() if seconds is not None},
        )
        key = next(self.keys)
        self.open[key] = _Open({spec.fingerprint: spec for spec in specs})
        self.executor.submit(Task(key, self.call, (self.order, assignment), self.resources))

    # What became of it.

    def _handle(self, event: Event) -> None:
        key = event.key
        assert isinstance(key, int)
        if isinstance(event, Told):
            self._told(self.open[key], event.message)
            return
        open_ = self.open.pop(key)
        if isinstance(event, Lost):
            self._recording(lambda: self._lost(open_, event))
            return
        if isinstance(event, Raised):
            self.error = self.error or event.error
        assert isinstance(event, Raised | Returned)
        self._back(list(open_.specs.values()))  # not begun, since the process was asked to end

    def _told(self, open_: _Open, message: object) -> None:
        match message:
            case messages.Noted(text):
                self.observer.note(text)
            case messages.Ending(why):
                open_.ending = why
            case messages.Taken(run, attempt_id, token):
                open_.claims[run] = Claim(attempt_id, token, monotonic())
            case messages.Closed(run, state):
                self._closed(self._out(open_, run), state)
            case messages.Refused(run, why):
                self._refused(self._out(open_, run), why)
            case messages.TakenOver(run):
                spec = self._out(open_, run)
                self.observer.left(spec)
                self._hold(spec)
            case _:
                self._shown(open_, message)

    def _shown(self, open_: _Open, message: object) -> None:
        """Pass on how a run goes, and keep how long it takes."""
        run: str = message.run  # type: ignore[attr-defined]
        spec, claim = open_.specs[run], open_.claims[run]
        match message:
            case messages.Started(_, step):
                claim.first = claim.step = step
                self.observer.started(spec, self._label(spec), step)
            case messages.Stepped(_, step, error_pct):
                claim.step = step
                self.observer.stepped(spec, step, error_pct)
            case messages.Finished(_, error_pct, seconds):
                if self.estimates is not None:
                    self.estimates.learn(spec, spec.protocol.iterations - claim.first, monotonic() - claim.began)
                self.observer.finished(spec, self._label(spec), error_pct, seconds)
            case messages.Failed(_, reason, error):
                self.observer.failed(spec, self._label(spec), reason, error)
            case messages.Left():
                del open_.claims[run]  # its call may claim it again, when there is memory for it
                if self.estimates is not None:
                    self.estimates.reached(spec, claim.step)
                self.observer.left(spec)

    @staticmethod
    def _out(open_: _Open, run: str) -> RunSpec:
        """Take a run out that has ended in its call."""
        open_.claims.pop(run, None)
        open_.ended += 1
        return open_.specs.pop(run)

    def _closed(self, spec: RunSpec, state: State) -> None:
        if state is State.DONE:
            self.ended["trained"] += 1
            self.finished.add(spec.fingerprint)
        elif state is State.FAILED:
            self.ended["failed"] += 1
        else:
            self._again([spec])

    def _refused(self, spec: RunSpec, why: str) -> None:
        if why == "held":
            self._hold(spec)
        elif why == "no time":
            self.no_time.append(spec)
        elif why == "failed":
            self.ended["failed"] += 1
            self.observer.note(f"{self._label(spec)}: failed before; 'ranbench run SUITE --rerun failed' tries again")
        else:
            self.ended["unchanged" if self.order.rerun else "elsewhere"] += 1
            self.finished.add(spec.fingerprint)

    def _hold(self, spec: RunSpec) -> None:
        """Look at a run again, which another process has, when all else is handed out."""
        self.held.append(spec)
        self.held_until = monotonic() + POLL_SECONDS

    def _again(self, specs: Sequence[RunSpec]) -> None:
        """Hand out again, before all others, what a process has left; each run alone."""
        self.queue.extendleft((spec,) for spec in reversed(specs))

    def _back(self, specs: Sequence[RunSpec]) -> None:
        """Hand out again what no process began."""
        self.queue.extendleft(reversed(batches(specs, self.size)))

    # Processes that are gone.

    def _lost(self, open_: _Open, event: Lost) -> None:
        """Record why the runs of a process were left; try them again alone, and fail those that fail again."""
        if open_.starting and event.killed and not open_.claims:
            self._back(list(open_.specs.values()))
            return
        if open_.ending is not None:
            event = replace(event, why=open_.ending)
        lacked = self.losses.lacked_memory(event)
        for run, claim in open_.claims.items():
            spec = open_.specs.pop(run)
            self.observer.left(spec)
            if open_.overdue is None:
                self._fated(spec, self.losses.died(spec, claim, event, lacked_memory=lacked))
            elif run == open_.overdue:
                self._fated(spec, self.losses.overdue(spec, claim, event))
            else:
                self._fated(spec, self.losses.beside(spec, claim, event))
        rest = list(open_.specs.values())
        if open_.claims or open_.ended:
            self._back(rest)
        else:  # it died before it took any
            for spec in rest:
                self._fated(spec, self.losses.died(spec, None, event, lacked_memory=lacked))

    def _fated(self, spec: RunSpec, fate: Fate) -> None:
        if fate is Fate.AGAIN:
            self._again([spec])
        elif fate is Fate.FAILED:
            self.ended["failed"] += 1
        else:
            self._hold(spec)

    def _look_at_limits(self) -> None:
        """Kill the processes that do not end a run whose time is over."""
        limit = self.order.how.timeout
        if limit is None:
            return
        latest = monotonic() - limit - losses.GRACE_SECONDS
        for key, open_ in self.open.items():
            late = [run for run, claim in open_.claims.items() if claim.began < latest]
            if late and open_.overdue is None:
                open_.overdue = late[0]
                self.executor.kill(key)

    def _recording(self, record: Callable[[], None]) -> None:
        """Record; where the database cannot be used, end as the calls would."""
        try:
            record()
        except StoreError as error:
            self.error = self.error or error

    def _abandon(self) -> None:
        """Record that the killed processes left their runs, as far as the database can be used."""
        self.store.hurry()
        for open_ in self.open.values():
            for claim in open_.claims.values():
                try:
                    self.store.interrupt(claim.attempt_id, claim.token)
                except StoreError:
                    continue

    def _label(self, spec: RunSpec) -> str:
        return label_of(spec, self.labels[spec.cell_id])

    def _holders(self) -> str:
        records = self.store.runs([spec.fingerprint for spec in self.held])
        owners = [record.latest.owner for record in records if record.latest]
        return ", ".join(sorted({f"process {owner.pid} on {owner.host}" for owner in owners if owner}))
