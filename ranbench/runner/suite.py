"""All runs of a suite: skips what is done, shares the rest with other commands, keeps going when a run fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import is_factory, is_foreign
from ranbench.environment import choose_device, code_id, describe, is_alive, new_owner
from ranbench.errors import ClaimLost, SpecError
from ranbench.records import Complexity, State
from ranbench.runner.choice import Choice, choose, other_code_words
from ranbench.runner.events import Observer, Stop, Summary
from ranbench.runner.sizes import count_nets
from ranbench.spec import DataSpec, RunSpec, is_smoke
from ranbench.store import Claimed, Store
from ranbench.suite import Suite

if TYPE_CHECKING:
    from ranbench.runner.attempt import Place

ENGINE_PATH = "eager, channels_last"
FOREIGN_PATH = "eager, contiguous"
POLL_SECONDS = 1.0


def run(
    suite: Suite,
    store: Store,
    *,
    data: Path = Path("data"),
    results: Path = Path("results"),
    only: Mapping[str, str] | None = None,
    device: str = "auto",
    rerun: frozenset[str] = frozenset(),
    trust_imports: bool = False,
    observer: Observer | None = None,
    stop: Stop | None = None,
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
        trust_imports: nets that are named by an import path may be imported, which runs their code.
        observer: is told what happens.
        stop: asks for a stop at the next iteration; the run in hand is checkpointed.

    Raises:
        SpecError: a net cannot be built, is not trusted, or does not fit its images; nothing was recorded.
        DataError, EnvironmentProblem: data, a device or a library is missing; nothing was recorded.
        StoreError: the database cannot be used.
        UsageError: ``only`` names no cell.
    """
    observer, stop = observer or Observer(), stop or Stop()
    if not suite.trains:
        return count_nets(suite, store, only or {}, trust_imports=trust_imports, observer=observer)
    specs = suite.runs(only)
    choice = choose(specs, store.runs([spec.fingerprint for spec in specs]), rerun)
    todo = list(choice.todo)
    if not todo:
        store.record_suite(suite.name, suite.title, suite.text, suite.sha256, specs)
        _announce(choice, observer)
        return Summary(len(specs), len(specs), 0, 0, 0, 0)
    work = _Work(suite, store, data, results, device, rerun, trust_imports, observer, stop)
    work.measure_nets(todo)  # this and the next refuse before anything is recorded
    work.load_data(todo)
    store.record_suite(suite.name, suite.title, suite.text, suite.sha256, specs)
    for key, net in {spec.complexity_key: spec.model.name for spec in todo}.items():
        store.record_complexity(key, replace(work.sizes[key], code_id=work.codes[net]))
    _announce(choice, observer)
    return work.through(len(specs), todo)


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
        device: str,
        rerun: frozenset[str],
        trust_imports: bool,
        observer: Observer,
        stop: Stop,
    ):
        import torch

        from ranbench.data import ImageSet
        from ranbench.runner.attempt import Place

        self.labels = suite.labels
        self.store, self.data, self.rerun, self.observer, self.stop = store, data, rerun, observer, stop
        self.images: dict[DataSpec, ImageSet] = {}
        chosen = choose_device(device)
        environment = describe(chosen, torch.get_num_threads(), ENGINE_PATH)
        self.place = Place(store, chosen, environment, new_owner(), results, observer, stop, trust_imports)
        self.sizes: dict[str, Complexity] = {}
        self.codes: dict[str, str] = {}
        self.ended: Counter[str] = Counter()

    def measure_nets(self, todo: list[RunSpec]) -> None:
        """Build and measure every net of the open runs without memory, and identify the code that makes it."""
        from ranbench.complexity import measure_named
        from ranbench.complexity.ledger import Memo
        from ranbench.models import factory_file

        counted: Memo = {}  # parts that our nets share
        for key, spec in {spec.complexity_key: spec for spec in todo}.items():
            name = spec.model.name
            memo = None if is_foreign(name) else counted
            size = measure_named(spec.model, spec.data, trusted=self.place.trust_imports, memo=memo)
            if not size.parameters:
                raise SpecError(f"model {name!r} has no parameters to train")
            self.sizes[key] = size
            self.codes[name] = code_id(factory_file(name)) if is_factory(name) else code_id()

    def load_data(self, todo: list[RunSpec]) -> None:
        """Load every dataset of the open runs."""
        from ranbench.data import load

        for data in {spec.data: None for spec in todo}:
            self.images[data] = load(data, self.data)

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
        return [spec for spec in specs if not self.stop.requested and not self._take(spec)]

    def _take(self, spec: RunSpec) -> bool:
        """Train a run, or find it closed; return False where another command holds it."""
        from ranbench.runner.attempt import Attempt

        place = self._place(spec)
        answer = self.store.claim(
            spec,
            code_id=self.codes[spec.model.name],
            environment=place.environment,
            owner=place.owner,
            is_alive=is_alive,
            rerun=self.rerun,
        )
        smoke = " (smoke)" if is_smoke(spec.protocol, spec.data) else ""
        label = f"{self.labels[spec.cell_id]}, seed {spec.seed}{smoke}"
        if not isinstance(answer, Claimed):
            if answer.reason == "failed":
                self.ended["failed"] += 1
                self.observer.note(f"{label}: failed before; 'ranbench run SUITE --rerun failed' tries again")
            elif answer.reason == "done":
                self.ended["unchanged" if self.rerun else "elsewhere"] += 1
            return answer.reason != "held"
        try:
            state = Attempt(place, spec, label, answer).execute(self.images[spec.data])
        except ClaimLost:
            self.observer.note(f"{label}: was taken over by another command")
            return False
        self.ended[{State.DONE: "trained", State.FAILED: "failed"}.get(state, "left")] += 1
        return True

    def _place(self, spec: RunSpec) -> Place:
        """Where a run is trained: a foreign net goes another path through the engine."""
        if not is_foreign(spec.model.name):
            return self.place
        return replace(self.place, environment=replace(self.place.environment, engine_path=FOREIGN_PATH))

    def _holders(self, waiting: list[RunSpec]) -> str:
        records = self.store.runs([spec.fingerprint for spec in waiting])
        owners = [record.latest.owner for record in records if record.latest]
        return ", ".join(sorted({f"process {owner.pid} on {owner.host}" for owner in owners if owner}))
