"""All runs of a suite: skips what is done, shares the rest with other commands, keeps going when a run fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import is_foreign
from ranbench.environment import choose_device, describe, is_alive, new_owner
from ranbench.errors import SpecError
from ranbench.records import Complexity, RunRecord, State, checkpoint_folders
from ranbench.runner.choice import Choice, choose, other_code_words
from ranbench.runner.code import code_of_net, code_of_run
from ranbench.runner.events import Observer, Stop, Summary
from ranbench.runner.how import How, by_architecture
from ranbench.runner.probing import Prober
from ranbench.runner.processes import check_sharing
from ranbench.runner.sizes import count_nets
from ranbench.spec import DataSpec, RunSpec, is_smoke
from ranbench.store import Claimed, Store
from ranbench.suite import Suite

if TYPE_CHECKING:
    import torch

    from ranbench.data import Images
    from ranbench.runner.attempt import Attempt, Place
    from ranbench.training import Ranks

POLL_SECONDS = 1.0


def check_device(device: str, how: How, specs: Sequence[RunSpec]) -> torch.device:
    """Return the device that is asked for.

    Raises:
        EnvironmentProblem: this machine has it not, or not the way through the engine that is asked for, or not the
            precision of one of ``specs``.
    """
    from ranbench.training import Arithmetic, choose_path
    from ranbench.training.compiler import check_compiler

    chosen = choose_device(device)
    check_sharing(specs, chosen, how)
    if choose_path(how.path, chosen, foreign=False).compiled:
        check_compiler(chosen)
    for precision in sorted({spec.protocol.precision for spec in specs}):
        Arithmetic(precision, chosen)
    return chosen


def run(
    suite: Suite,
    store: Store,
    *,
    data: Path = Path("data"),
    results: Path = Path("results"),
    only: Mapping[str, str] | None = None,
    device: str = "auto",
    rerun: frozenset[str] = frozenset(),
    how: How | None = None,
    profile: bool = False,
    observer: Observer | None = None,
    stop: Stop | None = None,
    ranks: Ranks | None = None,
) -> Summary:
    """Execute what is missing of ``suite``; safe to repeat, and to call in several processes at once.

    Args:
        suite: what to run.
        store: where records go.
        data: folder of the datasets.
        results: folder of checkpoints and artefacts.
        only: axis -> value; other cells are left alone.
        device: auto, cpu or cuda.
        rerun: of "failed", "changed" and "all": which closed runs are trained again.
        how: the way through the engine, runs at once, threads, time limit, whether nets and datasets that are named
            by an import path may be imported.
        profile: measure first where the time of a step of the first open run goes, into the folder of results.
        observer: is told what happens.
        stop: asks for a stop at the next iteration; the run in hand is checkpointed.
        ranks: the processes that train each run together, which this one leads.

    Raises:
        SpecError: a net cannot be built or does not fit its images, or a net or dataset is not trusted; nothing was
            recorded.
        DataError, EnvironmentProblem: data, a device or a library is missing; nothing was recorded.
        StoreError: the database cannot be used.
        UsageError: ``only`` names no cell.
        ProcessLost: one of ``ranks`` ended; what was in hand is interrupted.
    """
    observer, stop, how = observer or Observer(), stop or Stop(), how or How()
    if not suite.trains:
        return count_nets(suite, store, only or {}, trust_imports=how.trust_imports, observer=observer)
    specs = suite.runs(only)
    records = store.runs([spec.fingerprint for spec in specs])
    clear_checkpoints(records, results)
    choice = choose(specs, records, rerun)
    todo = list(choice.todo)
    trusted = how.trust_imports
    prober = Prober(store, data=data, results=results, device=device, trust_imports=trusted, observer=observer)
    if not todo:
        store.record_suite(suite.name, suite.title, suite.text, suite.sha256, specs, suite.protocol_texts)
        _announce(choice, observer)
        if profile:
            observer.note("nothing is left to train, so no step was profiled; '--rerun all' trains again")
        return _probed(Summary(len(specs), len(specs), 0, 0, 0, 0), suite, specs, prober, stop)
    chosen = check_device(device, how, todo)  # this and the next four refuse before anything is recorded
    work = _Work(suite, store, data, results, chosen, rerun, how, observer, stop, ranks)
    work.measure_nets(todo)
    work.load_data(todo)
    work.identify_code(todo)
    store.record_suite(suite.name, suite.title, suite.text, suite.sha256, specs, suite.protocol_texts)
    for key, net in {spec.complexity_key: spec.model for spec in todo}.items():
        store.record_complexity(key, replace(work.sizes[key], code_id=code_of_net(net)))
    _announce(choice, observer)
    if profile:
        from ranbench.runner.profiling import write_profile

        write_profile(work.place_of(todo[0]), todo[0], work.images[todo[0].data])
    return _probed(work.through(len(specs), todo), suite, specs, prober, stop)


def clear_checkpoints(records: Iterable[RunRecord], results: Path) -> None:
    """Delete the checkpoints of done attempts: a process that was killed just after it closed one left them."""
    folder = results / "checkpoints"
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    attempts = [attempt for record in records for attempt in record.attempts if attempt.state is State.DONE]
    for attempt in attempts if there else ():
        name, _ = checkpoint_folders(attempt.fingerprint, attempt.uid, attempt.number)
        if name in there:
            from ranbench.training import Checkpoints

            Checkpoints(folder / name).clear()


def _probed(summary: Summary, suite: Suite, specs: Sequence[RunSpec], prober: Prober, stop: Stop) -> Summary:
    """Measure what the suite asks for of the final weights of done runs that were closed without it."""
    if not suite.probes or stop.requested:
        return summary
    probed, failed = prober.complete(specs, suite.probes, stop)
    return replace(summary, probed=probed, without_probe=failed, signal=stop.signal)


def _announce(choice: Choice, observer: Observer) -> None:
    observer.planned(choice.done + len(choice.todo), choice.done, choice.failed)
    if choice.of_other_code:
        observer.note(f"{other_code_words(choice.of_other_code)}; 'ranbench run SUITE --rerun changed' trains again")


class _Work:
    """The open runs of one call."""

    def __init__(  # noqa: PLR0917 - private, called once
        self,
        suite: Suite,
        store: Store,
        data: Path,
        results: Path,
        device: torch.device,
        rerun: frozenset[str],
        how: How,
        observer: Observer,
        stop: Stop,
        ranks: Ranks | None,
    ):
        import torch

        from ranbench.runner.attempt import Place
        from ranbench.training import ALONE

        self.labels = suite.labels
        self.store, self.data, self.rerun, self.observer, self.stop = store, data, rerun, observer, stop
        self.how = how
        self.images: dict[DataSpec, Images] = {}
        self.device = device
        self.at_once = how.at_once
        if self.at_once is None and (self.device.type == "cpu" or ranks is not None):
            self.at_once = 1
        threads = how.threads_of_each(self.at_once or 1, torch.get_num_threads())
        environment = describe(self.device, threads, "")
        self.threads_alone = how.threads_of_each(1, torch.get_num_threads())
        self.place = Place(
            store,
            self.device,
            environment,
            new_owner(),
            results,
            observer,
            stop,
            how,
            suite.probes,
            ranks or ALONE,
        )
        self.sizes: dict[str, Complexity] = {}
        self.codes: dict[tuple[str, str], str] = {}
        self.held: list[RunSpec] = []
        self.ended: Counter[str] = Counter()
        self.began = datetime.now(UTC)

    def measure_nets(self, todo: list[RunSpec]) -> None:
        """Build and measure every net of the open runs without memory."""
        from ranbench.complexity import measure_named
        from ranbench.complexity.ledger import Memo

        counted: Memo = {}  # parts that our nets share
        for key, spec in {spec.complexity_key: spec for spec in todo}.items():
            name = spec.model.name
            memo = None if is_foreign(name) else counted
            size = measure_named(spec.model, spec.data, trusted=self.how.trust_imports, memo=memo)
            if not size.parameters:
                raise SpecError(f"model {name!r} has no parameters to train")
            self.sizes[key] = size

    def load_data(self, todo: list[RunSpec]) -> None:
        """Load every dataset of the open runs onto the device, once for all of them."""
        from ranbench.runner.loading import load_onto

        for data in {spec.data: None for spec in todo}:
            self.images[data] = load_onto(data, self.data, self.device, trusted=self.how.trust_imports)

    def identify_code(self, todo: list[RunSpec]) -> None:
        """Identify the code that makes the numbers of every open run; its nets and datasets are imported by now."""
        for spec in todo:
            key = (spec.model.name, spec.data.name)
            if key not in self.codes:
                self.codes[key] = code_of_run(spec.model, spec.data)

    def through(self, total: int, todo: list[RunSpec]) -> Summary:
        """Work through ``todo``; runs that another command holds are looked at again at the end, until they end."""
        waiting = self._pass(todo)
        while waiting and not self.stop.requested:
            self.observer.waiting(len(waiting), self._holders(waiting))
            self.stop.wait(POLL_SECONDS)
            waiting = self._pass(waiting)
        ended = self.ended
        closed = ended["trained"] + ended["elsewhere"] + ended["failed"] + ended["unchanged"]
        return Summary(
            total=total,
            already_done=total - len(todo) + ended["unchanged"],
            trained=ended["trained"],
            elsewhere=ended["elsewhere"],
            failed=ended["failed"],
            left=len(todo) - closed,
            signal=self.stop.signal,
        )

    def _pass(self, specs: list[RunSpec]) -> list[RunSpec]:
        """Try each run once, until a stop is asked for; return those that another command holds."""
        from ranbench.runner.batch import Batch

        self.held = []
        groups = [[spec] for spec in specs] if self.at_once == 1 else by_architecture(specs)
        for group in groups:
            place, foreign = self.place_of(group[0]), is_foreign(group[0].model.name)
            at_once = 1 if foreign else self.at_once  # a foreign net draws from generators that all threads share
            batch = Batch(
                place,
                self.images[group[0].data],
                take=lambda spec, place=place: self._take(spec, place),  # type: ignore[misc]
                closed=self._closed,
                lost=self.held.append,
                at_once=at_once,
            )
            batch.through(group)
        return self.held

    def _take(self, spec: RunSpec, place: Place) -> Attempt | None:
        """Claim a run; return None where it is closed, or held by another command."""
        from ranbench.runner.attempt import Attempt

        answer = self.store.claim(
            spec,
            code_id=self.codes[spec.model.name, spec.data.name],
            environment=place.environment,
            owner=place.owner,
            is_alive=is_alive,
            rerun=self.rerun,
            since=self.began,
        )
        smoke = " (smoke)" if is_smoke(spec.protocol, spec.data) else ""
        label = f"{self.labels[spec.cell_id]}, seed {spec.seed}{smoke}"
        if isinstance(answer, Claimed):
            return Attempt(place, spec, label, answer)
        if answer.reason == "held":
            self.held.append(spec)
        elif answer.reason == "failed":
            self.ended["failed"] += 1
            self.observer.note(f"{label}: failed before; 'ranbench run SUITE --rerun failed' tries again")
        elif answer.reason == "done":
            self.ended["unchanged" if self.rerun else "elsewhere"] += 1
        return None

    def _closed(self, spec: RunSpec, state: State) -> None:
        del spec
        self.ended[{State.DONE: "trained", State.FAILED: "failed"}.get(state, "left")] += 1

    def place_of(self, spec: RunSpec) -> Place:
        """Where a run is trained, and which way its steps take; a foreign net, which is alone, has all threads."""
        from ranbench.training import choose_path

        foreign, began = is_foreign(spec.model.name), self.place.environment
        path = choose_path(self.how.path, self.device, foreign=foreign, deterministic=self.how.deterministic)
        path = path.shared(self.place.ranks.count)
        threads = self.threads_alone if foreign else began.threads
        return replace(self.place, environment=replace(began, engine_path=str(path), threads=threads))

    def _holders(self, waiting: list[RunSpec]) -> str:
        records = self.store.runs([spec.fingerprint for spec in waiting])
        owners = [record.latest.owner for record in records if record.latest]
        return ", ".join(sorted({f"process {owner.pid} on {owner.host}" for owner in owners if owner}))
