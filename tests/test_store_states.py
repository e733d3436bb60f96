"""The life of attempts as a state machine: whatever owners do in whatever order, the store holds what a model says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from test_store import HERE, run

from ranbench.errors import ClaimLost
from ranbench.records import Attempt, MetricPoint, Owner, Predictions, Purpose, Reason, State
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Refused, Store

RUNS, OWNERS = range(2), range(3)
CODES = ("code-1", "code-2")
RERUNS = (frozenset(), frozenset({"failed"}), frozenset({"changed"}), frozenset({"all"}))
NUMBERS = st.floats(allow_nan=False) | st.just(math.nan)

# One database serves all examples: each has runs of its own.
_EXAMPLES = itertools.count()


@dataclass
class Modelled:
    """What is known of an attempt."""

    identity: int
    number: int
    purpose: Purpose
    code: str
    owner: int | None
    state: State = State.RUNNING
    reason: Reason | None = None
    step: int = 0
    resumes: int = 0
    points: dict[tuple[str, int], float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    predictions: bytes | None = None


class Machine(RuleBasedStateMachine):
    """Owners that claim runs, write, let go, die and come back, against a model in memory."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open(self.url)
        self.attempts: dict[int, list[Modelled]] = {number: [] for number in RUNS}

    @initialize()
    def fresh_runs(self) -> None:
        example = next(_EXAMPLES)
        self.specs: dict[int, RunSpec] = {number: run(example * len(RUNS) + number) for number in RUNS}
        self.pids = {number: example * len(OWNERS) + number + 1 for number in OWNERS}
        self.alive = set(OWNERS)

    def teardown(self) -> None:
        self.store.close()

    # What owners do.

    @rule(
        number=st.sampled_from(RUNS),
        owner=st.sampled_from(OWNERS),
        code=st.sampled_from(CODES),
        rerun=st.sampled_from(RERUNS),
        purpose=st.sampled_from(Purpose),
    )
    def claim(self, number: int, owner: int, code: str, rerun: frozenset[str], purpose: Purpose) -> None:
        self.alive.add(owner)
        expected = self._expected(number, owner, code, rerun, purpose)

        answer = self.store.claim(
            self.specs[number],
            code_id=code,
            environment=HERE,
            owner=Owner(f"token {owner}", "here", self.pids[owner], 1.0),
            is_alive=self._is_alive,
            rerun=rerun,
            purpose=purpose,
        )

        if isinstance(expected, str):
            assert isinstance(answer, Refused)
            assert answer.reason == expected
            return
        assert isinstance(answer, Claimed)
        assert (answer.resume, answer.step) == ((True, expected.step) if expected else (False, 0))
        if expected is None:
            found = Modelled(answer.attempt_id, answer.number, purpose, code, owner)
            assert answer.number == len(self.attempts[number]) + 1
            self.attempts[number].append(found)
            return
        assert answer.attempt_id == expected.identity
        if expected.owner != owner:  # else it was told so before, and asks again since the answer was lost
            expected.state, expected.owner, expected.resumes = State.RUNNING, owner, expected.resumes + 1

    def _expected(
        self, number: int, owner: int, code: str, rerun: frozenset[str], purpose: Purpose
    ) -> Modelled | str | None:
        """Tell what a claim is to give: an attempt to resume, a refusal, or None for a new attempt."""
        mine = [attempt for attempt in self.attempts[number] if attempt.purpose is purpose]
        if not mine:
            return None
        newest = mine[-1]
        if newest.state in (State.DONE, State.FAILED):
            again = (
                purpose is Purpose.CHECK
                or "all" in rerun
                or ("changed" in rerun and newest.code != code)
                or ("failed" in rerun and newest.state is State.FAILED)
            )
            return None if again else newest.state.value
        if newest.code == code and (newest.owner == owner or newest.owner not in self.alive):
            return newest
        if newest.owner in self.alive:
            return "held"
        if newest.state is State.RUNNING:
            newest.state, newest.owner = State.INTERRUPTED, None
        return None

    def _is_alive(self, owner: Owner, heartbeat: datetime) -> bool:
        assert owner.token == ""  # whoever has it can write
        return any(self.pids[number] == owner.pid for number in self.alive)

    @rule(owner=st.sampled_from(OWNERS))
    def die(self, owner: int) -> None:
        self.alive.discard(owner)

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = Store.open(self.url, create=False)

    @rule(
        owner=st.sampled_from(OWNERS),
        number=st.sampled_from(RUNS),
        points=st.dictionaries(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 100)), NUMBERS, max_size=4),
        step=st.integers(0, 100),
    )
    def append(self, owner: int, number: int, points: dict[tuple[str, int], float], step: int) -> None:
        given = [MetricPoint(name, at, value) for (name, at), value in points.items()]
        for attempt in self._write(owner, number, lambda *to: self.store.append(*to, given, step)):
            attempt.points |= points
            attempt.step = step

    @rule(owner=st.sampled_from(OWNERS), number=st.sampled_from(RUNS), step=st.integers(0, 100))
    def forget_after(self, owner: int, number: int, step: int) -> None:
        for attempt in self._write(owner, number, lambda *to: self.store.forget_after(*to, step)):
            attempt.points = {key: value for key, value in attempt.points.items() if key[1] <= step}
            attempt.step = step

    @rule(owner=st.sampled_from(OWNERS), number=st.sampled_from(RUNS))
    def heartbeat(self, owner: int, number: int) -> None:
        list(self._write(owner, number, self.store.heartbeat))

    @rule(
        owner=st.sampled_from(OWNERS),
        number=st.sampled_from(RUNS),
        metrics=st.dictionaries(st.sampled_from(["error_pct", "loss"]), NUMBERS, min_size=1),
        classes=st.none() | st.binary(max_size=3),
    )
    def finish(self, owner: int, number: int, metrics: dict[str, float], classes: bytes | None) -> None:
        predictions = None if classes is None else Predictions(classes)
        for attempt in self._write(owner, number, lambda *to: self.store.finish(*to, metrics, predictions)):
            attempt.state, attempt.owner, attempt.metrics, attempt.predictions = State.DONE, None, metrics, classes

    @rule(owner=st.sampled_from(OWNERS), number=st.sampled_from(RUNS), reason=st.sampled_from(Reason))
    def fail(self, owner: int, number: int, reason: Reason) -> None:
        for attempt in self._write(owner, number, lambda *to: self.store.fail(*to, reason, "words")):
            attempt.state, attempt.owner, attempt.reason = State.FAILED, None, reason

    @rule(owner=st.sampled_from(OWNERS), number=st.sampled_from(RUNS))
    def interrupt(self, owner: int, number: int) -> None:
        for attempt in self._write(owner, number, self.store.interrupt):
            attempt.state, attempt.owner = State.INTERRUPTED, None

    def _write(self, owner: int, number: int, write: Any) -> Iterator[Modelled]:
        """Write to every attempt of a run as one owner; yield those that must have taken it."""
        for attempt in self.attempts[number]:
            if attempt.state is State.RUNNING and attempt.owner == owner:
                write(attempt.identity, f"token {owner}")
                yield attempt
            else:
                with pytest.raises(ClaimLost):
                    write(attempt.identity, f"token {owner}")

    # What holds at any time.

    @invariant()
    def the_store_holds_what_the_model_says(self) -> None:
        if not hasattr(self, "specs"):
            return
        found = {record.fingerprint: record for record in self.store.runs([s.fingerprint for s in self.specs.values()])}
        for number, attempts in self.attempts.items():
            record = found.get(self.specs[number].fingerprint)
            stored = record.attempts if record else ()
            assert [self._seen(attempt) for attempt in stored] == [self._told(attempt) for attempt in attempts]
            done = [each.identity for each in attempts if each.state is State.DONE and each.purpose is Purpose.RESULT]
            counted = record.counted if record else None
            assert (counted.id if counted else None) == (done[-1] if done else None)

    def _seen(self, attempt: Attempt) -> str:
        series = self.store.points([attempt.id])
        points = {
            (name, step): value
            for (_, name), (steps, values) in series.items()
            for step, value in zip(steps, values, strict=True)
        }
        told = Modelled(
            attempt.id,
            attempt.number,
            attempt.purpose,
            attempt.code_id,
            None if attempt.owner is None else (attempt.owner.pid - 1) % len(OWNERS),
            attempt.state,
            attempt.reason,
            attempt.step,
            attempt.resumes,
            points,
            dict(attempt.metrics),
            self.store.predictions(attempt.id),
        )
        return self._told(told)

    @staticmethod
    def _told(attempt: Modelled) -> str:
        """All of an attempt as text: not-a-number is equal to itself there."""
        attempt.points = dict(sorted(attempt.points.items()))
        attempt.metrics = dict(sorted(attempt.metrics.items()))
        return repr(attempt)


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_the_life_of_attempts_is_that_of_the_model(url: str, examples: int) -> None:
    class Here(Machine):
        pass

    Here.url = url
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Here,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=slow, derandomize=True
        ),
    )
