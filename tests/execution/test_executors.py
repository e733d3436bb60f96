"""Every executor keeps the contract; a pool's workers die alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import psutil
import pytest

from ranbench.errors import EnvironmentProblem
from ranbench.execution import (
    CallFailed,
    Event,
    Executor,
    Here,
    LocalPool,
    Lost,
    Raised,
    Returned,
    Task,
    Told,
)
from ranbench.execution import pool as pool_module

from . import calls

LIMIT_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["here", "local"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with Here() if request.param == "here" else LocalPool(1) as made:
        yield made


@pytest.fixture(scope="module")
def kept() -> Iterator[LocalPool]:
    """A pool of two, whose workers die in the tests and are replaced."""
    with LocalPool(2, [{"PLACE": "first"}, {"PLACE": "second"}]) as made:
        yield made


def through(executor: Executor, *tasks: Task, until: Callable[[list[Event]], bool] | None = None) -> list[Event]:
    """Submit tasks and gather what happens, until each has ended."""
    for task in tasks:
        executor.submit(task)
    keys, found = {task.key for task in tasks}, list[Event]()
    end = time.monotonic() + LIMIT_S
    wanted = until or (lambda found: {each.key for each in found if not isinstance(each, Told)} >= keys)
    while not wanted(found):
        assert time.monotonic() < end, found
        executor.poll(found.append, 0.2)
    return found


def ends(events: list[Event]) -> dict[Hashable, Event]:
    return {event.key: event for event in events if not isinstance(event, Told)}


def test_a_call_tells_and_returns(executor: Executor) -> None:
    assert through(executor, Task("a", calls.double, (4,))) == [Told("a", "doubling 4"), Returned("a", 8)]
    assert executor.room == 1


def test_what_a_call_raises_comes_out_as_it_is(executor: Executor) -> None:
    (event,) = through(executor, Task("a", calls.fail, ("no good",)))

    assert isinstance(event, Raised)
    assert type(event.error) is ValueError
    assert str(event.error) == "no good"


def test_there_is_room_for_no_more_calls_than_can_begin(executor: Executor) -> None:
    assert executor.room == 1

    executor.submit(Task("a", calls.double, (1,)))

    assert executor.room == 0


def test_a_call_is_asked_to_stop_with_the_signal(executor: Executor) -> None:
    executor.submit(Task("a", calls.wait_for_stop))
    executor.stop(signal.SIGINT)

    assert ends(through(executor, until=lambda found: bool(ends(found)))) == {"a": Returned("a", signal.SIGINT)}


def test_a_poll_without_calls_waits_no_longer_than_it_is_told(executor: Executor) -> None:
    found: list[Event] = []
    began = time.monotonic()

    executor.poll(found.append, 0.05)

    assert found == []
    assert 0.04 < time.monotonic() - began < LIMIT_S


def test_workers_stay_from_call_to_call_and_have_their_own_environment(kept: LocalPool) -> None:
    first = ends(through(kept, *(Task(f"a{n}", calls.process) for n in range(2))))
    again = ends(through(kept, *(Task(f"b{n}", calls.process) for n in range(2))))
    places = ends(through(kept, *(Task(n, calls.variable, ("PLACE",)) for n in range(2))))

    pids = [{event.result for event in each.values() if isinstance(event, Returned)} for each in (first, again)]
    assert pids[0] == pids[1]
    assert len(pids[0] - {os.getpid()}) == 2
    assert {event.result for event in places.values() if isinstance(event, Returned)} == {"first", "second"}


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (Task("bad", calls.die, (signal.SIGKILL,)), "was killed by SIGKILL (by someone, or by the system for lack of"),
        (Task("bad", calls.crash), "was killed by SIGSEGV (a crash in native code)"),
        (Task("bad", calls.leave, (5,)), "ended with exit code 5"),
    ],
    ids=["kill -9", "crash", "exit"],
)
def test_a_worker_that_dies_takes_only_its_own_call_along(kept: LocalPool, task: Task, why: str) -> None:
    events = through(kept, task, Task("good", calls.double, (1,)))

    lost = ends(events)["bad"]
    assert isinstance(lost, Lost)
    assert why in lost.why
    assert ("string_at" in lost.detail) == (task.call is calls.crash)
    assert not lost.killed
    assert ends(events)["good"] == Returned("good", 2)
    assert any(event.key == "bad" and isinstance(event, Told) for event in events)
    assert ends(through(kept, Task("next", calls.double, (2,)), Task("another", calls.double, (3,)))) == {
        "next": Returned("next", 4),
        "another": Returned("another", 6),
    }


def test_a_call_that_hangs_is_killed_alone(kept: LocalPool) -> None:
    events = through(kept, Task("hangs", calls.hang), until=bool)
    kept.kill("hangs")
    events += through(kept, Task("good", calls.double, (1,)), until=lambda found: len(ends(found)) == 2)

    lost = ends(events)["hangs"]
    assert isinstance(lost, Lost)
    assert lost.killed
    assert ends(events)["good"] == Returned("good", 2)


def test_errors_and_results_that_cannot_travel_are_failures_of_their_call(kept: LocalPool) -> None:
    found = ends(through(kept, Task("error", calls.fail_unportably), Task("result", calls.unportable_result)))

    for event in found.values():
        assert isinstance(event, Raised)
    assert isinstance(found["error"].error, CallFailed)  # type: ignore[union-attr]
    assert "cannot travel" in str(found["error"].error)  # type: ignore[union-attr]


def test_a_worker_that_is_asked_to_end_lets_its_call_stop_and_another_takes_its_place(kept: LocalPool) -> None:
    (told,) = through(kept, Task("a", calls.wait_for_stop), until=bool)
    assert isinstance(told, Told)
    assert isinstance(told.message, int)
    os.kill(told.message, signal.SIGTERM)

    assert ends(through(kept, until=lambda found: bool(ends(found)))) == {"a": Returned("a", signal.SIGTERM)}
    assert ends(through(kept, Task("b", calls.double, (2,)))) == {"b": Returned("b", 4)}


def test_ctrl_c_at_the_terminal_does_not_reach_a_worker(kept: LocalPool) -> None:
    (told,) = through(kept, Task("a", calls.wait_for_stop), until=bool)
    assert isinstance(told, Told)
    assert isinstance(told.message, int)
    os.kill(told.message, signal.SIGINT)
    found: list[Event] = []
    kept.poll(found.append, 0.2)
    assert found == []
    os.kill(told.message, signal.SIGTERM)
    through(kept, until=lambda found: bool(ends(found)))


def test_closing_ends_everything_at_once() -> None:
    with LocalPool(1) as pool:
        (told,) = through(pool, Task("a", calls.wait_for_stop), until=bool)

    assert isinstance(told, Told)
    assert isinstance(told.message, int)
    assert not psutil.pid_exists(told.message)


def test_workers_that_never_come_up_are_an_error_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "work", calls.leave)  # called with a pipe in place of a channel: it fails

    with LocalPool(1) as pool, pytest.raises(EnvironmentProblem, match="3 worker processes in a row ended before"):
        for number in range(3):
            through(pool, Task(number, calls.double, (1,)))


def test_a_call_whose_caller_was_killed_puts_its_things_in_order(tmp_path: Path) -> None:
    file = tmp_path / "written"
    command = [sys.executable, "-c", calls.OWNER, str(file)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}
    )

    assert done.returncode == -signal.SIGKILL
    worker, end = int(done.stdout), time.monotonic() + LIMIT_S
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert file.read_text() == "in order"
