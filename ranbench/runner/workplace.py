"""Where runs are trained: a process with its device, its database, and the datasets that it has loaded so far.

``train`` is the call that an executor dispatches. Each process claims its runs itself, under its own token, so that
takeovers and heartbeats are the same however many processes a command has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import torch

from ranbench.catalogue import is_foreign
from ranbench.data import Images
from ranbench.environment import describe, is_alive, new_owner
from ranbench.errors import DeviceBroken, EnvironmentProblem
from ranbench.execution import Channel
from ranbench.records import Environment, State
from ranbench.runner.attempt import Attempt, Place
from ranbench.runner.batch import Batch
from ranbench.runner.code import code_of_run
from ranbench.runner.how import How
from ranbench.runner.loading import load_onto
from ranbench.runner.messages import Closed, Ending, Refused, Taken, TakenOver, Telling
from ranbench.spec import DataSpec, RunSpec, is_smoke
from ranbench.store import Claimed, Store
from ranbench.training import ALONE, Ranks, choose_path

Tell = Callable[[object], None]


@dataclass(frozen=True)
class Order:
    """What is the same of all calls of one command. Can be pickled, and is never shown: the URL may hold a password.

    Attributes:
        key: of the command; a process keeps what it has opened for it.
        url: of the database.
        data: folder of the datasets.
        results: folder of checkpoints and artefacts.
        device: cpu or cuda.
        rerun: of "failed", "changed" and "all": which closed runs are trained again.
        how: the choices of the command.
        probes: what is measured of the final weights.
        codes: by the names of net and dataset, the code that the command was begun with.
        since: when it began.
        command: as it was typed.
        threads: of the process on a CPU, shared by its runs at once; None: as PyTorch chooses.
        every: seconds between two messages on the steps of a run.
        expendable: whether the process may end itself where it cannot go on, since another takes over.
    """

    key: str
    url: str = field(repr=False)
    data: Path
    results: Path
    device: str
    rerun: frozenset[str] = frozenset()
    how: How = field(default_factory=How)
    probes: tuple[str, ...] = ()
    codes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    command: str = ""
    threads: int | None = None
    every: float = 0.0
    expendable: bool = False


@dataclass(frozen=True)
class Assignment:
    """The runs of one call, of one architecture, in their order.

    Attributes:
        specs: the runs.
        labels: of their cells, by cell_id.
        seconds_left: until the budget is spent; None where there is none.
        estimates: seconds that each run takes, by fingerprint, where that is known.
    """

    specs: tuple[RunSpec, ...]
    labels: Mapping[str, str]
    seconds_left: float | None = None
    estimates: Mapping[str, float] = field(default_factory=dict)


_open: dict[str, Workplace] = {}  # by the key of an order


def train(channel: Channel, order: Order, assignment: Assignment) -> None:
    """Train runs, and tell of each what became of it.

    Raises:
        StoreError: the database cannot be used; open attempts can be resumed.
        DataError, EnvironmentProblem: this machine lacks a dataset, a device or a library.
    """
    if order.key not in _open:
        _open[order.key] = Workplace(order, Store.join(order.url))
    try:
        _open[order.key].train(channel, assignment)
    except DeviceBroken as error:  # nothing here can use it any more, another process can
        channel.tell(Ending(f"the device no longer answered in its worker process ({error})"))
        os._exit(DeviceBroken.exit_code)


def keep(workplace: Workplace) -> None:
    """Let the calls of this process use a workplace that is there already."""
    _open[workplace.order.key] = workplace


def forget(order: Order) -> None:
    """Let go of the workplace of an order, but not of its store."""
    _open.pop(order.key, None)


class Workplace:
    """What a process has at hand for the runs of one command; ``ranks``: those that train each run together with it."""

    def __init__(self, order: Order, store: Store, ranks: Ranks = ALONE):
        if order.threads is not None:
            torch.set_num_threads(order.threads)
        self.order, self.store, self.ranks, how = order, store, ranks, order.how
        self.device = torch.device(order.device)
        self.at_once = how.at_once
        if self.at_once is None and (self.device.type == "cpu" or ranks.count > 1):
            self.at_once = 1
        self.images: dict[DataSpec, Images] = {}
        threads = how.threads_of_each(self.at_once or 1, torch.get_num_threads())
        self.threads_alone = how.threads_of_each(1, torch.get_num_threads())
        self.environment = replace(describe(self.device, threads, ""), command=order.command)
        self.owner = new_owner()
        self.checked: set[tuple[str, str]] = set()

    def images_of(self, data: DataSpec) -> Images:
        """The dataset on the device; loaded once.

        Raises:
            DataError, EnvironmentProblem, SpecError: as ``load_onto``.
        """
        if data not in self.images:
            self.images[data] = load_onto(data, self.order.data, self.device, trusted=self.order.how.trust_imports)
        return self.images[data]

    def train(self, channel: Channel, assignment: Assignment) -> None:
        """Train what can be claimed of the runs, until a stop is asked for."""
        spec, tell = assignment.specs[0], channel.tell
        images, foreign = self.images_of(spec.data), is_foreign(spec.model.name)
        self._check_code(assignment)
        place = self.place_of(spec, channel)
        end = None if assignment.seconds_left is None else monotonic() + assignment.seconds_left

        def take(spec: RunSpec) -> Attempt | None:
            needed = assignment.estimates.get(spec.fingerprint)
            if end is not None and needed is not None and monotonic() + needed > end:
                tell(Refused(spec.fingerprint, "no time"))
                return None
            return self._take(spec, place, assignment.labels[spec.cell_id], tell)

        batch = Batch(
            place,
            images,
            take=take,
            closed=lambda spec, state: _closed(spec, state, tell),
            lost=lambda spec: tell(TakenOver(spec.fingerprint)),
            at_once=1 if foreign else self.at_once,  # a foreign net draws from generators that all threads share
        )
        batch.through(assignment.specs)

    def place_of(self, spec: RunSpec, channel: Channel) -> Place:
        """Where a run is trained, and who is told of it."""
        return Place(
            self.store,
            self.device,
            self.environment_of(spec),
            self.owner,
            self.order.results,
            Telling(channel.tell, self.order.every),
            channel.stop,
            self.order.how,
            self.order.probes,
            self.ranks,
            self.order.expendable,
        )

    def environment_of(self, spec: RunSpec) -> Environment:
        """Where a run is trained, and which way its steps take; a foreign net, which is alone, has all threads."""
        foreign, how = is_foreign(spec.model.name), self.order.how
        path = choose_path(how.path, self.device, foreign=foreign, deterministic=how.deterministic)
        threads = self.threads_alone if foreign else self.environment.threads
        return replace(self.environment, engine_path=str(path.shared(self.ranks.count)), threads=threads)

    def _take(self, spec: RunSpec, place: Place, name: str, tell: Tell) -> Attempt | None:
        """Claim a run; return None where it is closed, or held by another command."""
        answer = self.store.claim(
            spec,
            code_id=self.order.codes[spec.model.name, spec.data.name],
            environment=place.environment,
            owner=place.owner,
            is_alive=is_alive,
            rerun=self.order.rerun,
            since=self.order.since,
        )
        if isinstance(answer, Claimed):
            tell(Taken(spec.fingerprint, answer.attempt_id, place.owner.token))
            return Attempt(place, spec, label_of(spec, name), answer)
        tell(Refused(spec.fingerprint, answer.reason))
        return None

    def _check_code(self, assignment: Assignment) -> None:
        """Check that this process has the code that the command was begun with.

        Raises:
            EnvironmentProblem: it has not.
        """
        for names, spec in {(spec.model.name, spec.data.name): spec for spec in assignment.specs}.items():
            if names not in self.checked and code_of_run(spec.model, spec.data) != self.order.codes[names]:
                raise EnvironmentProblem(
                    f"the sources that train {names[0]} on {names[1]} are not those that the command was begun with; "
                    "repeat it"
                )
            self.checked.add(names)


def _closed(spec: RunSpec, state: State, tell: Tell) -> None:
    tell(Closed(spec.fingerprint, state))


def label_of(spec: RunSpec, name: str) -> str:
    """Return what a run is called, from the label of its cell."""
    return f"{name}, seed {spec.seed}{' (smoke)' if is_smoke(spec.protocol, spec.data) else ''}"
