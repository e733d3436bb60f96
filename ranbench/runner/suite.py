"""All runs of a suite: skips what is done, shares the rest with other commands, keeps going when a run fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ranbench.catalogue import is_foreign
from ranbench.environment import command_line
from ranbench.errors import DataError, SpecError
from ranbench.execution import Channel
from ranbench.records import Complexity, RunRecord, State, checkpoint_folders
from ranbench.runner.apart import Apart, count_net, look_at
from ranbench.runner.choice import Choice, choose, other_code_words
from ranbench.runner.code import code_of_net, code_of_run
from ranbench.runner.devices import check_device
from ranbench.runner.dispatch import Dispatch, make_executor
from ranbench.runner.estimates import Estimates
from ranbench.runner.events import Observer, Stop, Summary
from ranbench.runner.how import How
from ranbench.runner.probing import Prober
from ranbench.runner.sizes import count_nets
from ranbench.spec import DataSpec, RunSpec
from ranbench.store import Store
from ranbench.suite import Suite

if TYPE_CHECKING:
    import torch

    from ranbench.data import Images
    from ranbench.runner.onray import RaySite
    from ranbench.runner.workplace import Order, Workplace
    from ranbench.training import Ranks

TOLD_SECONDS = 0.2  # between two messages of a worker on the steps of a run


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
    dispatch: Dispatch | None = None,
    profile: bool = False,
    observer: Observer | None = None,
    stop: Stop | None = None,
    ranks: Ranks | None = None,
    estimates: Estimates | None = None,
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
        dispatch: worker processes, and what becomes of runs whose process dies; None: this process trains.
        profile: measure first where the time of a step of the first open run goes, into the folder of results.
        observer: is told what happens.
        stop: asks for a stop at the next iteration; the runs in hand are checkpointed. With an end, no run is begun
            that by measured rates would come too late.
        ranks: the processes that train each run together, which this one leads.
        estimates: of what runs take, for a stop with an end; what is measured is added to them. None: made of the runs
            of the database.

    Raises:
        SpecError: a net cannot be built or does not fit its images, or a net or dataset is not trusted; nothing was
            recorded.
        DataError, EnvironmentProblem: data, a device or a library is missing; nothing was recorded.
        StoreError: the database cannot be used.
        UsageError: ``only`` names no cell.
        ProcessLost: one of ``ranks`` ended; what was in hand is interrupted.
    """
    observer, stop, how, dispatch = observer or Observer(), stop or Stop(), how or How(), dispatch or Dispatch()
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
    with contextlib.ExitStack() as stack:
        site = None
        if dispatch.executor == "ray":
            from ranbench.runner.onray import RaySite

            site = stack.enter_context(RaySite(dispatch, how, device, todo, store.address))
        # this and the next four refuse before anything is recorded
        chosen = check_device(device, how, todo) if site is None else site.device
        work = _Work(suite, store, data, results, chosen, rerun, how, observer, stop, dispatch, ranks, site)
        with Apart(stop) as apart:
            work.measure_nets(todo, apart)
            work.load_data(todo, apart)
        if stop.signal is not None:  # nothing is in hand yet
            return Summary(len(specs), len(specs) - len(todo), 0, 0, 0, left=len(todo), signal=stop.signal)
        work.identify_code(todo)
        store.record_suite(suite.name, suite.title, suite.text, suite.sha256, specs, suite.protocol_texts)
        for key, net in {spec.complexity_key: spec.model for spec in todo}.items():
            store.record_complexity(key, replace(work.sizes[key], code_id=code_of_net(net)))
        _announce(choice, observer)
        if profile:
            work.profile(todo)
        summary = work.through(specs, todo, estimates)
    return _probed(summary, suite, specs, prober, stop)


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
    """The open runs of one call: what they need is looked at here, then they are handed out."""

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
        dispatch: Dispatch,
        ranks: Ranks | None = None,
        site: RaySite | None = None,
    ):
        self.suite, self.store, self.device, self.how, self.dispatch = suite, store, device, how, dispatch
        self.data, self.results, self.rerun, self.observer, self.stop = data, results, rerun, observer, stop
        self.images: dict[DataSpec, Images] = {}
        self.ranks, self.site = ranks, site
        self.sizes: dict[str, Complexity] = {}
        self.codes: dict[tuple[str, str], str] = {}
        self.began = datetime.now(UTC)

    def measure_nets(self, todo: list[RunSpec], apart: Apart) -> None:
        """Build and measure every net of the open runs without memory; a user's own apart, where workers train it."""
        from ranbench.complexity import measure_named
        from ranbench.complexity.ledger import Memo

        counted: Memo = {}  # parts that our nets share
        for key, spec in {spec.complexity_key: spec for spec in todo}.items():
            name = spec.model.name
            if self.stop.signal is not None:
                return
            if spec.model.factory and self.dispatch.in_workers and self.how.trust_imports:
                code_of_net(spec.model)  # refuse here what cannot be imported
                size = apart.call(f"model {name!r}", SpecError, count_net, spec.model, spec.data)
                if size is None:
                    return
            else:
                memo = None if is_foreign(name) else counted
                size = measure_named(spec.model, spec.data, trusted=self.how.trust_imports, memo=memo)
            if not size.parameters:
                raise SpecError(f"model {name!r} has no parameters to train")
            self.sizes[key] = size

    def load_data(self, todo: list[RunSpec], apart: Apart) -> None:
        """Load every dataset of the open runs onto the device, once for all of them.

        Workers do so themselves; what they load is only looked at here, so that a refusal comes before any record. On
        a cluster that is there, nodes look, for they may have what this machine lacks.
        """
        if self.site is not None and not self.site.is_local:
            return
        import torch

        from ranbench.runner.loading import load_onto

        elsewhere = self.dispatch.in_workers
        for data in {spec.data: None for spec in todo}:
            if self.stop.signal is not None:
                return
            if data.factory and elsewhere and self.how.trust_imports:
                apart.call(f"dataset {data.name!r}", DataError, look_at, data, self.data)
                continue
            device = torch.device("cpu") if elsewhere else self.device
            images = load_onto(data, self.data, device, trusted=self.how.trust_imports)
            if not elsewhere:
                self.images[data] = images

    def identify_code(self, todo: list[RunSpec]) -> None:
        """Identify the code that makes the numbers of every open run; its nets and datasets are imported by now."""
        for spec in todo:
            key = (spec.model.name, spec.data.name)
            if key not in self.codes:
                self.codes[key] = code_of_run(spec.model, spec.data)

    def profile(self, todo: list[RunSpec]) -> None:
        """Measure where the time of a step of the first open run goes."""
        from ranbench.runner.loading import load_onto
        from ranbench.runner.profiling import write_profile

        first = todo[0]
        images = self.images.get(first.data)
        if images is None:
            images = load_onto(first.data, self.data, self.device, trusted=self.how.trust_imports)
        place = self._workplace(self._order()).place_of(first, Channel(lambda _: None, self.stop))
        write_profile(replace(place, observer=self.observer), first, images)

    def through(self, specs: Sequence[RunSpec], todo: list[RunSpec], estimates: Estimates | None) -> Summary:
        """Work through ``todo``; runs that another command holds are looked at again at the end, until they end."""
        from ranbench.runner.driving import Driver, batch_size
        from ranbench.runner.workplace import forget, keep

        order, dispatch = self._order(), self.dispatch
        timed = self.stop.seconds_left is not None
        if timed and estimates is None:
            estimates = Estimates(self.store.runs(), self.device.type, self.sizes)
        size = batch_size(self.device.type, self.how.at_once, dispatch.processes)
        where: dict[str, Any] = {}
        if self.site is None:
            executor = make_executor(dispatch, self.device.type, self.stop)
        else:
            from ranbench.runner.onray import train_on_node

            executor, order = self.site.executor, self.site.order(order)
            size = batch_size(self.device.type, self.how.at_once, self.site.executor.capacity)
            where = {"call": train_on_node, "resources": self.site.resources}
        driver = Driver(
            todo,
            self.suite.labels,
            order,
            executor,
            self.store,
            self.observer,
            self.stop,
            size=size,
            retries=dispatch.retries,
            estimates=estimates if timed else None,
            **where,
        )
        if not dispatch.in_workers:
            keep(self._workplace(order))
        try:
            ended = driver.through()
        finally:
            forget(order)
        closed = ended["trained"] + ended["elsewhere"] + ended["failed"] + ended["unchanged"]
        summary = Summary(
            total=len(specs),
            already_done=len(specs) - len(todo) + ended["unchanged"],
            trained=ended["trained"],
            elsewhere=ended["elsewhere"],
            failed=ended["failed"],
            left=len(todo) - closed,
            signal=self.stop.signal,
        )
        if timed and summary.left and self.stop.signal is None:
            self.observer.note(_spent(specs, {spec.fingerprint for spec in todo} - driver.finished, driver.no_time))
        return summary

    def _order(self) -> Order:
        import torch

        from ranbench.runner.workplace import Order

        dispatch = self.dispatch
        return Order(
            key=uuid4().hex,
            url=self.store.address,
            data=self.data,
            results=self.results,
            device=self.device.type,
            rerun=self.rerun,
            how=self.how,
            probes=self.suite.probes,
            codes=self.codes,
            since=self.began,
            command=command_line(),
            threads=max(1, torch.get_num_threads() // dispatch.processes) if dispatch.in_workers else None,
            every=TOLD_SECONDS if dispatch.in_workers else 0.0,
            expendable=dispatch.in_workers,
        )

    def _workplace(self, order: Order) -> Workplace:
        from ranbench.runner.workplace import Workplace
        from ranbench.training import ALONE

        workplace = Workplace(order, self.store, self.ranks or ALONE)
        workplace.images |= self.images
        return workplace


def _spent(specs: Sequence[RunSpec], open_: set[str], no_time: Sequence[RunSpec]) -> str:
    """Say what a budget was enough for."""
    seeds: dict[int, bool] = {}
    for spec in specs:
        seeds[spec.seed] = seeds.get(spec.seed, True) and spec.fingerprint not in open_
    whole = [str(seed) for seed, done in seeds.items() if done]
    of_all = f"every cell has seed {', '.join(whole)}" if whole else "no seed is complete over all cells"
    late = f"; {len(no_time)} not begun, since by measured rates they end too late" if no_time else ""
    return f"the budget is spent: {of_all}{late}"
