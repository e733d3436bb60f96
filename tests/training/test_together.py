"""Several trainings at once: each gives the bits that it gives alone, and what happens to one touches that one only."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from ranbench.errors import Divergence
from ranbench.models import build
from ranbench.records import MetricPoint
from ranbench.spec import Protocol
from ranbench.training import EnginePath, Finished, Record, Stepped, Together, Training
from ranbench.training.checkpoint import weights_bytes

from .conftest import Start

CPU = torch.device("cpu")
Result = tuple[list[MetricPoint], bytes, bytes]


@pytest.fixture
def begin(start: Start) -> Start:
    """Makes a training that takes one thread, whichever thread takes its steps."""

    def make(seed: int = 0, **changes: object) -> Training:
        training = start(seed, **changes)
        training.threads = 1
        return training

    return make


def result(training: Training, records: list[Record]) -> Result:
    """Points, predictions and weights."""
    (finished,) = [record for record in records if isinstance(record, Finished)]
    points = [record for record in records if isinstance(record, MetricPoint)]
    return points, finished.predictions.classes, weights_bytes(training.state()[0])


def alone(training: Training) -> Result:
    return result(training, list(training.run()))


def shorter(protocol: Protocol, iterations: int) -> Protocol:
    return protocol.model_copy(update={"iterations": iterations})


class Session:
    """Runs rounds and keeps what each training gave."""

    def __init__(self, together: Together, *members: Training):
        self.together = together
        self.records: dict[Training, list[Record]] = {}
        self.errors: dict[Training, Exception] = {}
        for member in members:
            self.join(member)

    def join(self, training: Training) -> None:
        self.together.members.append(training)
        self.records[training] = []

    def round(self) -> None:
        for training, outcome in self.together.round():
            if isinstance(outcome, Exception):
                self.errors[training] = outcome
            else:
                self.records[training] += outcome

    def through(self) -> None:
        while self.together.members:
            self.round()

    def result(self, training: Training) -> Result:
        return result(training, self.records[training])


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_trainings_at_once_give_the_bits_of_each_alone(begin: Start, at_once: int) -> None:
    """With threads for all of them, for one, and for more than there are."""
    expected = [alone(begin(seed)) for seed in (0, 1)]

    with Together(CPU, at_once=at_once) as together:
        session = Session(together, begin(0), begin(1))
        session.through()

    assert [session.result(training) for training in session.records] == expected
    assert not session.errors


def test_one_that_joins_later_and_one_that_ends_earlier_give_the_same_bits(begin: Start, protocol: Protocol) -> None:
    few = shorter(protocol, 4)
    expected = [alone(begin(0)), alone(begin(1, protocol=few)), alone(begin(2))]

    with Together(CPU, at_once=2) as together:
        session = Session(together, begin(0), begin(1, protocol=few))
        sizes = []
        while len(together.members) == 2:
            sizes.append(len(together.members))
            session.round()
        session.join(begin(2))
        session.through()

    assert sizes == [2] * 5  # four steps, and the end
    assert [session.result(training) for training in session.records] == expected


def test_a_round_gives_each_one_iteration_and_then_its_end(begin: Start, protocol: Protocol) -> None:
    with Together(CPU, at_once=2) as together:
        session = Session(together, begin(0, protocol=shorter(protocol, 2)), begin(1))
        steps = []
        for _ in range(3):
            session.round()
            steps.append([training.step for training in session.records])

    first, second = session.records.values()
    assert steps == [[1, 1], [2, 2], [2, 3]]
    assert [record.step for record in second if isinstance(record, Stepped)] == [1, 2, 3]
    assert isinstance(first[-1], Finished)
    assert len(together.members) == 1


def test_evaluations_that_are_due_come_in_the_same_round_in_their_order(begin: Start) -> None:
    with Together(CPU, at_once=2) as together:
        session = Session(together, begin(0), begin(1))
        for _ in range(3):
            session.round()

    names = ["train_loss", "train_error_pct", "lr"]
    for records in session.records.values():
        found = [(record.name if isinstance(record, MetricPoint) else "step", record.step) for record in records]
        expected = [(name, step) for step in (1, 2) for name in (*names, "step")]
        assert found == [*expected, *((name, 3) for name in (*names, "test_error_pct", "test_loss", "step"))]


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("where", ["take_step", "evaluate"])
def test_an_error_of_one_touches_that_one_only(
    begin: Start, monkeypatch: pytest.MonkeyPatch, at_once: int, where: str
) -> None:
    expected = alone(begin(0))
    good, bad = begin(0), begin(1)
    act = getattr(bad, where)

    def lacks(*_: object) -> object:
        if bad.step >= 3:
            raise MemoryError("no room")
        return act()

    if where == "evaluate":
        monkeypatch.setattr(bad, "evaluate", lacks)
    else:
        take_step = Training.take_step
        monkeypatch.setattr(Training, "take_step", lambda self: lacks() if self is bad else take_step(self))

    with Together(CPU, at_once=at_once) as together:
        session = Session(together, bad, good)
        session.through()

    assert session.result(good) == expected
    assert session.errors.keys() == {bad}
    assert isinstance(session.errors[bad], MemoryError)
    assert bad.step == 3


def test_a_divergence_of_one_is_told_with_its_step_and_the_other_goes_on(begin: Start, protocol: Protocol) -> None:
    schedule = {"kind": "steps", "lr": 1e30, "drops": [], "factor": 0.1}
    wild = Protocol.model_validate(protocol.model_dump(mode="json") | {"schedule": schedule})
    expected = alone(begin(0))
    with pytest.raises(Divergence) as caught:
        alone(begin(1, protocol=wild))

    with Together(CPU, at_once=2) as together:
        good, bad = begin(0), begin(1, protocol=wild)
        session = Session(together, good, bad)
        session.through()

    assert session.result(good) == expected
    assert str(session.errors[bad]) == str(caught.value)


def test_the_time_of_a_round_is_shared_equally(begin: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100, 10_000, 7))
    monkeypatch.setattr("ranbench.training.together.time.perf_counter", lambda: float(next(clock)))

    with Together(CPU, at_once=2) as together:
        first, second = begin(0), begin(1)
        session = Session(together, first, second)
        session.round()
        joined = begin(2)
        session.join(joined)
        session.round()

    assert first.seconds == second.seconds == pytest.approx(7 / 2 + 7 / 3)
    assert joined.seconds == pytest.approx(7 / 3)


def test_on_a_cpu_each_takes_its_steps_in_a_thread_beside_the_other(
    begin: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = threading.Barrier(2, timeout=60)  # opens only if both are in their step at once
    take_step: Callable[[Training], object] = Training.take_step

    def meet(training: Training) -> object:
        meeting.wait()
        return take_step(training)

    monkeypatch.setattr(Training, "take_step", meet)
    with Together(CPU, at_once=2) as together:
        session = Session(together, begin(0), begin(1))
        session.round()

    assert not session.errors


def test_threads_end_with_the_session_and_leave_no_switch_set(begin: Start) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with Together(CPU, at_once=2) as together:
        first, second = begin(0), begin(1)
        for training in (first, second):
            training.arithmetic.deterministic = True
        Session(together, first, second).through()

    assert not torch.are_deterministic_algorithms_enabled()
    assert [t.name for t in threading.enumerate() if t.ident not in before and t.name.startswith("training")] == []


def test_deterministic_mode_gives_the_same_bits_on_a_cpu(begin: Start, start: Start) -> None:
    """All that is used here repeats anyway, and the mode changes no number."""
    expected = alone(begin(0))
    plain = begin(0)
    net = build("attention-56", {}, plain.images.shape, 10, form="digits")

    deterministic = Training(
        net,
        plain.images,
        plain.labels,
        plain.protocol,
        seed=0,
        device=CPU,
        path=EnginePath(deterministic=True),
        threads=1,
    )

    assert alone(deterministic) == expected
