"""A run trained again from its stored spec, and compared with what was recorded. The attempt never counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import is_foreign, net_info
from ranbench.environment import choose_device, describe, is_alive, new_owner
from ranbench.errors import NothingMeasured
from ranbench.records import Attempt, Environment, Purpose, RunRecord, State
from ranbench.runner.code import code_of_run
from ranbench.runner.comparison import Change, Comparison, Outcome, changes, compare
from ranbench.runner.events import Observer, Stop
from ranbench.runner.how import How
from ranbench.runner.stored import stored_spec
from ranbench.spec import RunSpec, is_smoke
from ranbench.store import Claimed, Store

if TYPE_CHECKING:
    import torch

    from ranbench.data import Images
    from ranbench.runner import attempt as making

EXIT_CODES = {"identical": 0, "equal metrics": 0, "different": 4}


@dataclass(frozen=True)
class Checked:
    """What came of a check.

    Attributes:
        recorded: the attempt that counts.
        check: the attempt that was made to check it.
        changed: what could not be as it was recorded.
        comparison: None where the check failed or was interrupted.
        signal: number of the signal that interrupted it.
    """

    recorded: Attempt
    check: Attempt
    changed: tuple[Change, ...]
    comparison: Comparison | None
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0 identical or equal metrics, 3 failed, 4 different, 130 or 143 interrupted."""
        if self.comparison is not None:
            return EXIT_CODES[self.comparison.answer]
        return 128 + self.signal if self.signal is not None else 3


def check(
    record: RunRecord,
    store: Store,
    *,
    data: Path = Path("data"),
    results: Path = Path("results"),
    device: str = "auto",
    trust_imports: bool = False,
    observer: Observer | None = None,
    stop: Stop | None = None,
) -> Checked:
    """Train a run again, or go on with a check of it that was interrupted, and compare.

    Args:
        record: the run, of which an attempt counts.
        store: where it was recorded, and where the check is recorded.
        data: folder of the datasets.
        results: folder of checkpoints and artefacts.
        device: cpu, cuda or auto, which here is the recorded kind of device where this machine has it.
        trust_imports: a net and a dataset that are named by an import path may be imported, which runs their code.
        observer: is told what happens.
        stop: asks for a stop at the next iteration; the check is checkpointed.

    Raises:
        NothingMeasured: no attempt counts, or another command is at the same check.
        SpecError: the spec cannot be read or trained by this version, or its net or dataset is not trusted.
        DataError, EnvironmentProblem: data, a device or a library is missing; nothing was recorded.
        StoreError: the database cannot be used.
    """
    observer, stop = observer or Observer(), stop or Stop()
    recorded = record.counted
    if recorded is None:
        option = " --rerun failed" if record.state == State.FAILED else ""  # a failed run is not tried again unasked
        raise NothingMeasured(
            f"run {record.fingerprint[:12]}: nothing is done that could be compared with, it is {record.state}; "
            f"'ranbench run SUITE{option}' trains it"
        )
    spec = stored_spec(record)
    from ranbench.complexity import measure_named
    from ranbench.runner import attempt as making
    from ranbench.runner.loading import load_onto

    size = measure_named(spec.model, spec.data, trusted=trust_imports)  # refuses before anything is recorded
    name = spec.model.name
    chosen = choose_device("cpu" if device == "auto" and recorded.environment.device == "cpu" else device)
    images = load_onto(spec.data, data, chosen, trusted=trust_imports)
    environment = _environment(recorded, spec, chosen)
    place = making.Place(
        store, chosen, environment, new_owner(), results, observer, stop, How(trust_imports=trust_imports)
    )
    if store.complexity(spec.complexity_key) is None:
        store.record_complexity(spec.complexity_key, size)
    claimed = store.claim(
        spec,
        code_id=code_of_run(spec.model, spec.data),
        environment=environment,
        owner=place.owner,
        is_alive=is_alive,
        purpose=Purpose.CHECK,
    )
    if not isinstance(claimed, Claimed):
        whom = f"process {claimed.owner.pid} on {claimed.owner.host}" if claimed.owner else "another command"
        raise NothingMeasured(f"run {record.fingerprint[:12]}: {whom} is checking it now; wait for its answer")
    library = net_info(name).library
    for change in changes(recorded, _attempt(store, spec, claimed.attempt_id), library):
        observer.note(f"not as recorded: {change}")
    state = _trained(making.Attempt(place, spec, _label(spec), claimed), images)
    again = _attempt(store, spec, claimed.attempt_id)
    changed = changes(recorded, again, library)
    if state is not State.DONE:
        return Checked(recorded, again, changed, None, stop.signal if state is State.INTERRUPTED else None)
    return Checked(recorded, again, changed, compare(outcome(store, recorded), outcome(store, again)))


def outcome(store: Store, attempt: Attempt) -> Outcome:
    """Read what an attempt left behind."""
    points = store.points([attempt.id])
    series = {name: dict(zip(steps, values, strict=True)) for (_, name), (steps, values) in points.items()}
    weights = [artefact.sha256 for artefact in store.artefacts([attempt.id]) if artefact.kind == "weights"]
    return Outcome(attempt.metrics, series, store.predictions(attempt.id), weights[0] if weights else None)


def _trained(attempt: making.Attempt, images: Images) -> State:
    """Train an attempt by itself, until it ends or a stop is asked for."""
    from ranbench.runner.batch import Batch

    ended: list[State] = []
    lost: list[RunSpec] = []
    batch = Batch(
        attempt.place,
        images,
        take=lambda _: attempt,
        closed=lambda _, state: ended.append(state),
        lost=lost.append,
        at_once=1,
    )
    batch.through([attempt.spec])
    if lost:
        raise NothingMeasured(f"{attempt.label}: was taken over by another command; wait for its answer")
    if not ended:  # a stop was asked for before it began
        attempt.end()
        return attempt.abandon()
    return ended[0]


def _environment(recorded: Attempt, spec: RunSpec, device: torch.device) -> Environment:
    """This machine, with the recorded number of threads and the recorded path where it can go that way."""
    from ranbench.training import EnginePath, choose_path

    path = EnginePath.parse(recorded.environment.engine_path)
    if not path.possible_on(device):
        path = choose_path("auto", device, foreign=is_foreign(spec.model.name), deterministic=path.deterministic)
    return describe(device, recorded.environment.threads, str(path.shared(1)))


def _attempt(store: Store, spec: RunSpec, attempt_id: int) -> Attempt:
    (record,) = store.runs([spec.fingerprint])
    return next(attempt for attempt in record.attempts if attempt.id == attempt_id)


def _label(spec: RunSpec) -> str:
    options = [str(value) for value in spec.model.options.values()]
    smoke = " (smoke)" if is_smoke(spec.protocol, spec.data) else ""
    return f"check of {spec.fingerprint[:12]}: {', '.join([spec.model.name, *options])}, seed {spec.seed}{smoke}"
