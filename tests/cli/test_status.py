"""status, once and --watch: rates, time left and failures of all processes, from the database alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_store import HERE
from typer.testing import CliRunner

from ranbench.cli import app, status
from ranbench.environment import is_alive, new_owner
from ranbench.records import MetricPoint, Reason
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Store
from ranbench.suite import load_suite


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ranbench.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def specs(tiny_suite: Path, store: Store) -> tuple[RunSpec, ...]:
    """The four recorded runs of the tiny suite, of six iterations with 32 images."""
    suite = load_suite(tiny_suite)
    specs = suite.runs()
    store.record_suite("tiny", suite.title, suite.text, suite.sha256, specs)
    return specs


@pytest.fixture
def claim(store: Store) -> Callable[[RunSpec], tuple[int, str]]:
    """Claims a run for this process."""

    def call(spec: RunSpec) -> tuple[int, str]:
        owner = new_owner()
        found = store.claim(spec, code_id="c" * 64, environment=HERE, owner=owner, is_alive=is_alive)
        assert isinstance(found, Claimed)
        return found.attempt_id, owner.token

    return call


def test_a_look_tells_rates_time_left_and_failures(
    store: Store, specs: tuple[RunSpec, ...], claim: Callable[[RunSpec], tuple[int, str]]
) -> None:
    running, failed, lost = claim(specs[0]), claim(specs[1]), claim(specs[2])
    time.sleep(0.05)
    store.append(*running, [MetricPoint("test_error_pct", 2, 90.0)], 2)
    store.fail(*failed, Reason.DIVERGED, "a long trace\nthe training loss became nan at iteration 2")
    store.interrupt(*lost, "its worker process was killed by SIGKILL")

    found = status.look(store, "tiny")

    assert found.states == {"running": 1, "failed": 1, "interrupted": 1, "planned": 1}
    (row,) = found.running
    seconds = store.runs()[0].attempts[0].seconds
    assert seconds is not None
    assert row["images_per_second"] == pytest.approx(2 * 32 / seconds)
    assert row["seconds_left"] == pytest.approx(4 / 2 * seconds)
    assert found.seconds_left is None  # nothing is done that would say how long a planned run takes
    (failure,) = found.failures
    assert failure.endswith("failed (diverged): the training loss became nan at iteration 2")
    assert found.line.startswith("4 runs: 1 failed, 1 interrupted, 1 planned, 1 running; ")


def test_the_time_left_counts_what_waits_at_the_mean_of_what_is_done(
    store: Store, specs: tuple[RunSpec, ...], claim: Callable[[RunSpec], tuple[int, str]]
) -> None:
    done, running = claim(specs[0]), claim(specs[1])
    time.sleep(0.05)
    store.append(*running, [], 3)
    store.append(*done, [], 6)
    store.finish(*done, {"error_pct": 5.0})
    took, so_far = (record.attempts[0].seconds for record in store.runs()[:2])
    assert took is not None
    assert so_far is not None

    assert status.look(store, "tiny").seconds_left == pytest.approx(so_far + 2 * took)


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "terminal"])
def test_watching_goes_on_until_nothing_runs(
    store: Store,
    specs: tuple[RunSpec, ...],
    claim: Callable[[RunSpec], tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    failed, running = claim(specs[0]), claim(specs[1])
    store.append(*running, [], 3)
    store.fail(*failed, Reason.TIMEOUT, "did not answer")
    look, looks = status.look, [0]

    def counted(*given: object) -> status.Look:
        looks[0] += 1
        if looks[0] == 3:
            store.interrupt(*running)
        return look(*given)  # type: ignore[arg-type]

    for name, value in (("LINES_EVERY", 0.0), ("LOOK_EVERY", 0.0), ("SHARE", 1.0), ("look", counted)):
        monkeypatch.setattr(status, name, value)
    monkeypatch.setattr(status, "STARTS_WITHIN", 0.0)
    monkeypatch.setattr(status, "is_terminal", lambda: terminal)

    result = CliRunner().invoke(app, ["status", "tiny", "--watch", "--db", store.address])

    assert result.exit_code == 0, result.output
    assert looks == [3]
    lines = result.stdout.splitlines()
    assert terminal or "1 running" in lines[0]
    assert any("1 interrupted" in line for line in lines)
    assert ("failed (timeout): did not answer" in result.stdout) == terminal


def test_watching_waits_for_a_command_that_is_starting_and_not_for_ever(
    store: Store,
    specs: tuple[RunSpec, ...],
    claim: Callable[[RunSpec], tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look, looks, held = status.look, [0], []

    def counted(*given: object) -> status.Look:
        looks[0] += 1
        if looks[0] == 3:
            held.append(claim(specs[0]))
        if looks[0] == 5:
            store.interrupt(*held[0])
            monkeypatch.setattr(status, "STARTS_WITHIN", 0.0)
        return look(*given)  # type: ignore[arg-type]

    for name, value in (("LINES_EVERY", 0.0), ("LOOK_EVERY", 0.0), ("STARTS_WITHIN", 600.0), ("look", counted)):
        monkeypatch.setattr(status, name, value)

    result = CliRunner().invoke(app, ["status", "tiny", "--watch", "--db", store.address])

    assert result.exit_code == 0, result.output
    assert looks == [5]
    assert "nobody is at work" in result.stdout.splitlines()[0]
    assert any("1 running" in line for line in result.stdout.splitlines())


def test_watching_is_for_reading(store: Store, url: str) -> None:
    result = CliRunner().invoke(app, ["status", "--watch", "--json", "--db", url])

    assert result.exit_code != 0
    assert "leave out --json" in str(result.exception)


@pytest.mark.parametrize("comes", [True, False])
def test_watching_waits_for_the_database_of_a_command_that_is_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    url = f"sqlite:///{tmp_path}/ranbench.db"
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if comes:
            Store.open(url).close()

    monkeypatch.setattr(status, "STARTS_WITHIN", 30.0 if comes else 0.0)
    monkeypatch.setattr(status.time, "sleep", sleep)

    result = CliRunner().invoke(app, ["status", "--watch", "--db", url])

    assert slept == [status.LOOK_EVERY] * comes
    assert (getattr(result.exception, "exit_code", 0) == 7) != comes
    assert "no database there yet; waiting" in result.stderr
