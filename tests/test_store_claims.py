"""Who gets a run: claims, takeovers, processes that die or come at the same time, full and busy disks."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from test_store import HERE, LOSSES, claim, claimed, run

from ranbench.errors import ClaimLost, StoreError
from ranbench.records import MetricPoint, Owner, Purpose, Reason, State
from ranbench.store import Claimed, Refused, Store, claiming, sqlite
from ranbench.store.kind import Away


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'results' / 'ranbench.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def dead(*_: object) -> bool:
    return False


def test_a_new_run_is_claimed_once_and_held_while_its_owner_lives(store: Store) -> None:
    first = claim(store, "me")

    second = claim(store, "you")

    assert first == Claimed(attempt_id=1, number=1, resume=False, step=0, environment=HERE)
    assert second == Refused("held", attempt_id=1, owner=Owner("", "here", 4, 12.25))


def test_whether_an_owner_lives_is_asked_with_its_last_heartbeat(store: Store) -> None:
    attempt = claimed(store, "me")
    store.heartbeat(attempt, "me")
    asked: list[tuple[Owner, datetime]] = []

    claim(store, "you", is_alive=lambda *given: bool(asked.append(given)) or True)

    assert asked == [(Owner("", "here", 4, 12.25), store.find(run().fingerprint).attempts[0].updated)]
    assert datetime.now(UTC) - asked[0][1] < timedelta(seconds=30)


def test_a_dead_owners_run_is_taken_over_and_the_old_owner_can_write_no_more(store: Store) -> None:
    attempt = claimed(store, "old")
    store.append(attempt, "old", LOSSES, 30)
    elsewhere = dataclasses.replace(HERE, host="there", patch=None)

    taken = claim(store, "new", is_alive=dead, environment=elsewhere)

    assert taken == Claimed(attempt, number=1, resume=True, step=30, environment=HERE)
    writes = (
        lambda: store.heartbeat(attempt, "old"),
        lambda: store.append(attempt, "old", [MetricPoint("lr", 40, 0.1)], 40),
        lambda: store.forget_after(attempt, "old", 0),
        lambda: store.mark_inexact(attempt, "old"),
        lambda: store.record_artefact(attempt, "old", kind="weights", path="w", sha256="0" * 64, size=1),
        lambda: store.finish(attempt, "old", {"error_pct": 1.0}),
        lambda: store.fail(attempt, "old", Reason.ERROR, "text"),
        lambda: store.interrupt(attempt, "old"),
    )
    for write in writes:
        with pytest.raises(ClaimLost, match="attempt 1 was taken over by another process"):
            write()
    record = store.find(run().fingerprint).attempts[0]
    assert (record.state, record.step, record.resumes, record.resumed_inexactly) == (State.RUNNING, 30, 1, False)
    assert store.series([attempt], ["lr", "train_loss"])[attempt, "train_loss"][0].tolist() == [10, 20, 30]
    assert store.artefacts([attempt]) == []


def test_an_interrupted_attempt_is_resumed_by_the_same_code_only(store: Store) -> None:
    attempt = claimed(store)
    store.append(attempt, "me", LOSSES, 30)
    store.interrupt(attempt, "me")

    same = claim(store)
    store.interrupt(attempt, "me")
    other = claim(store, code_id="code-2")

    assert same == Claimed(attempt, number=1, resume=True, step=30, environment=HERE)
    assert other == Claimed(2, number=2, resume=False, step=0, environment=HERE)


def test_a_claim_names_the_attempt_as_every_database_does_also_when_it_is_resumed(store: Store) -> None:
    first = claim(store, "old")

    again = claim(store, "new", is_alive=dead)
    other = claim(store, "new", is_alive=dead, code_id="code-2")

    uids = [attempt.uid for attempt in store.find(run().fingerprint).attempts]
    claims = [answer.uid for answer in (first, again, other) if isinstance(answer, Claimed)]
    assert claims == [uids[0], uids[0], uids[1]]
    assert len(set(uids)) == 2


def test_a_dead_owners_attempt_of_other_code_is_marked_interrupted(store: Store) -> None:
    claimed(store, "old")

    answer = claim(store, "new", is_alive=dead, code_id="code-2")

    assert answer == Claimed(2, number=2, resume=False, step=0, environment=HERE)
    old, new = store.find(run().fingerprint).attempts
    assert (old.state, old.owner, old.ended is not None) == (State.INTERRUPTED, None, True)
    assert (new.state, new.code_id) == (State.RUNNING, "code-2")


@pytest.mark.parametrize(
    ("closed_as", "rerun", "code", "opens"),
    [
        ("done", "", "code-1", False),
        ("done", "failed", "code-1", False),
        ("done", "changed", "code-1", False),
        ("done", "changed", "code-2", True),
        ("done", "all", "code-1", True),
        ("failed", "", "code-2", False),
        ("failed", "failed", "code-1", True),
        ("failed", "changed", "code-1", False),
        ("failed", "changed", "code-2", True),
        ("failed", "all", "code-1", True),
    ],
)
def test_a_closed_run_is_opened_again_only_where_asked(
    store: Store, closed_as: str, rerun: str, code: str, opens: bool
) -> None:
    attempt = claimed(store)
    if closed_as == "done":
        store.finish(attempt, "me", {})
    else:
        store.fail(attempt, "me", Reason.TIMEOUT, "too slow")

    answer = claim(store, "you", code_id=code, rerun=frozenset(rerun.split()))

    again = Claimed(2, number=2, resume=False, step=0, environment=HERE)
    assert answer == (again if opens else Refused(closed_as, attempt))  # type: ignore[arg-type]


def check(store: Store, token: str = "me", **changes: Any) -> Claimed | Refused:
    return claim(store, token, purpose=Purpose.CHECK, **changes)


def test_a_check_never_counts_and_hides_no_result(store: Store) -> None:
    store.finish(claimed(store), "me", {"error_pct": 5.0})
    opened = check(store)
    assert isinstance(opened, Claimed)

    before = store.find(run().fingerprint)
    store.finish(opened.attempt_id, "me", {"error_pct": 6.0})
    after = store.find(run().fingerprint)

    assert opened == Claimed(2, number=2, resume=False, step=0, environment=HERE)
    assert [attempt.purpose for attempt in after.attempts] == [Purpose.RESULT, Purpose.CHECK]
    for record in (before, after):
        assert (record.state, record.counted, record.latest) == ("done", record.attempts[0], record.attempts[0])
        assert record.results == record.attempts[:1]


def test_a_run_with_nothing_but_a_check_is_planned(store: Store) -> None:
    opened = check(store)
    assert isinstance(opened, Claimed)
    store.finish(opened.attempt_id, "me", {"error_pct": 6.0})

    record = store.find(run().fingerprint)
    answer = claim(store)

    assert (record.state, record.counted, record.latest) == ("planned", None, None)
    assert store.done([run().fingerprint]) == set()
    assert answer == Claimed(2, number=2, resume=False, step=0, environment=HERE)


def test_a_check_and_a_result_of_one_run_are_claimed_beside_each_other(store: Store) -> None:
    result, first = claim(store, "me"), check(store, "you")

    held, again = claim(store, "third"), check(store, "third")

    here = Owner("", "here", 4, 12.25)
    assert (result, first) == (Claimed(1, 1, False, 0, HERE), Claimed(2, 2, False, 0, HERE))
    assert (held, again) == (Refused("held", 1, here), Refused("held", 2, here))


@pytest.mark.parametrize("code", ["code-1", "code-2"])
@pytest.mark.parametrize("ended", ["done", "failed", "interrupted", "dead"])
def test_an_open_check_of_the_same_code_is_resumed_and_after_a_closed_one_comes_the_next(
    store: Store, ended: str, code: str
) -> None:
    opened = check(store)
    assert isinstance(opened, Claimed)
    store.append(opened.attempt_id, "me", LOSSES, 30)
    if ended == "done":
        store.finish(opened.attempt_id, "me", {})
    elif ended == "failed":
        store.fail(opened.attempt_id, "me", Reason.ERROR, "text")
    elif ended == "interrupted":
        store.interrupt(opened.attempt_id, "me")

    answer = check(store, "you", code_id=code, is_alive=dead)

    resumed = ended in ("interrupted", "dead") and code == "code-1"
    assert answer == (Claimed(1, 1, True, 30, HERE) if resumed else Claimed(2, 2, False, 0, HERE))


def test_a_full_disk_is_one_line_and_loses_nothing(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [MetricPoint("train_loss", step, 0.5) for step in range(100, 50_000)]
    Store.open(file).close()
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "PRAGMAS", (*sqlite.PRAGMAS, ("max_page_count", 60)))
        with Store.open(file) as store:
            attempt = claimed(store)
            store.append(attempt, "me", LOSSES, 30)

            with pytest.raises(StoreError) as caught:
                store.append(attempt, "me", many, 50_000)

    assert str(caught.value).startswith(f"{file}: the disk is full; free some space and repeat the command")
    assert "\n" not in str(caught.value)
    with Store.open(file) as store:
        assert store.series([attempt], ["train_loss"])[attempt, "train_loss"][0].tolist() == [10, 20, 30]
        store.append(attempt, "me", many, 50_000)


def test_a_database_that_another_process_holds_is_one_line(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    with Store.open(file) as store, closing(sqlite3.connect(file.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match=r"another process has been writing for more than 0\.1 s"):
            claim(store)

        assert store.runs() == []


def claim_all(url: str, token: str, start: Any, answers: Any) -> None:
    """Claim twenty runs as soon as all processes are there (runs in a process of its own)."""
    start.wait()
    with Store.open(url) as store:
        answers.put([seed for seed in range(20) if isinstance(claim(store, token, run(seed)), Claimed)])


def test_processes_that_want_the_same_runs_make_one_database_and_get_each_run_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(3), context.Queue()
    workers = [context.Process(target=claim_all, args=(url, name, start, answers)) for name in "ab"]
    for worker in workers:
        worker.start()

    start.wait()
    got = [answers.get(timeout=60) for _ in workers]

    for worker in workers:
        worker.join()
    assert sorted(got[0] + got[1]) == list(range(20))
    with Store.open(url) as store:
        assert [len(record.attempts) for record in store.runs()] == [1] * 20


def write_all(url: str, seed: int, transactions: int, start: Any, answers: Any) -> None:
    """Write to a run of one's own as soon as all processes are there (runs in a process of its own)."""
    start.wait()
    with Store.open(url) as store:
        attempt = claimed(store, spec=run(seed))
        for step in range(1, transactions + 1):
            store.append(attempt, "me", [MetricPoint("lr", step, step / 8), MetricPoint("loss", step, seed)], step)
    answers.put((seed, attempt))


@pytest.mark.parametrize("transactions", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_eight_processes_write_at_once_and_every_transaction_is_committed(url: str, transactions: int) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(8), context.Queue()
    workers = [context.Process(target=write_all, args=(url, seed, transactions, start, answers)) for seed in range(8)]
    for worker in workers:
        worker.start()

    attempts = dict(answers.get(timeout=240) for _ in workers)

    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    with Store.open(url) as store:
        series = store.series(attempts.values(), ["lr", "loss"])
    committed = [len(series[attempt, name][0]) for attempt in attempts.values() for name in ("lr", "loss")]
    assert committed == [transactions] * 16
    assert {seed: set(series[attempt, "loss"][1]) for seed, attempt in attempts.items()} == {n: {n} for n in range(8)}


WRITER = """
import sys
from test_store import Store, MetricPoint, claimed
with Store.open(sys.argv[1]) as store:
    attempt = claimed(store)
    for step in range(1, 1_000_000):
        store.append(attempt, "me", [MetricPoint("lr", step, step / 8), MetricPoint("loss", step, 1.0)], step)
        print(step, flush=True)
"""


def test_killing_a_writer_loses_no_point_that_it_was_told_is_written(url: str) -> None:
    arguments = [sys.executable, "-c", WRITER, url]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=paths) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(60)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().splitlines(keepends=True)
    last = max(int(line) for line in acknowledged if line.endswith("\n"))

    with Store.open(url, create=False) as store:
        taken = claim(store, "new", is_alive=dead)
        series = store.series([1], ["lr", "loss"])

    assert isinstance(taken, Claimed)
    assert (taken.resume, taken.step in (last, last + 1)) == (True, True)
    assert series[1, "lr"][0].tolist() == series[1, "loss"][0].tolist() == list(range(1, taken.step + 1))
    assert series[1, "lr"][1].tolist() == [step / 8 for step in range(1, taken.step + 1)]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
            assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def bundles(tmp_path: Path) -> dict[str, Path]:
    """Bundles of one run that another database has made later: failed, and done."""
    made = {}
    for state in ("failed", "done"):
        with Store.open(f"sqlite:///{tmp_path}/{state}/ranbench.db") as other:
            attempt = claimed(other, code_id="c" * 64)
            if state == "failed":
                other.fail(attempt, "me", Reason.ERROR, "no luck")
            else:
                metrics = dict.fromkeys(("error_pct", "loss", "best_error_pct", "best_iteration"), 5.0)
                other.append(attempt, "me", [], 100)
                other.finish(attempt, "me", metrics)
            made[state] = tmp_path / f"{state}.zip"
            other.export(made[state])
    return made


@pytest.mark.parametrize("state", ["failed", "done"])
def test_a_run_that_is_trained_here_is_held_whatever_a_bundle_says_of_it(
    store: Store, bundles: dict[str, Path], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "now", lambda: datetime.now(UTC) - timedelta(hours=1))
    attempt = claimed(store)
    monkeypatch.undo()
    store.merge(bundles[state])

    answers = [claim(store, "you", rerun=frozenset([wish])) for wish in ("failed", "all")]

    assert [(answer.reason, answer.attempt_id) for answer in answers if isinstance(answer, Refused)] == [
        ("held", attempt)
    ] * 2
    assert store.find(run().fingerprint).latest.id == attempt  # type: ignore[union-attr]


def test_an_interrupted_run_goes_on_after_a_failed_one_was_merged_and_not_after_a_done_one(
    store: Store, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "now", lambda: datetime.now(UTC) - timedelta(hours=1))
    attempt = claimed(store)
    store.append(attempt, "me", LOSSES, 30)
    store.interrupt(attempt, "me")
    monkeypatch.undo()

    store.merge(bundles["failed"])
    resumed = claim(store)
    store.interrupt(attempt, "me")
    store.merge(bundles["done"])
    after = claim(store)
    again = claim(store, rerun=frozenset(["all"]))

    assert isinstance(resumed, Claimed)
    assert (resumed.attempt_id, resumed.step) == (attempt, 30)
    assert isinstance(after, Refused)
    assert after.reason == "done"
    assert isinstance(again, Claimed)
    assert again.attempt_id == attempt


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_a_run_that_another_command_has_trained_again_meanwhile_is_not_trained_a_third_time(
    store: Store, state: State
) -> None:
    def close(attempt: int) -> None:
        if state is State.DONE:
            store.finish(attempt, "me", {"error_pct": 5.0})
        else:
            store.fail(attempt, "me", Reason.DIVERGED, "words")

    wish = frozenset(["all"] if state is State.DONE else ["failed"])
    close(claimed(store))
    began = datetime.now(UTC)
    close(claimed(store, rerun=wish, since=began))

    third = claim(store, "you", rerun=wish, since=began)
    later = claim(store, "you", rerun=wish, since=datetime.now(UTC))

    assert isinstance(third, Refused)
    assert third.reason == state.value
    assert isinstance(later, Claimed)
    assert later.number == 3


# A commit whose answer is lost: the server has carried it out, and the caller asks again.


@pytest.fixture
def lose_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the next write be committed and its answer be lost."""
    write, lost = Store._write, [False]

    @contextmanager
    def losing(self: Store) -> Iterator[Connection]:
        with write(self) as connection:
            yield connection
        if lost[0]:
            lost[0] = False
            raise Away("the connection to the server was lost")

    monkeypatch.setattr(Store, "_write", losing)
    return lambda: lost.__setitem__(0, True)


def test_a_claim_whose_answer_was_lost_is_given_again(store: Store, lose_answers: Callable[[], None]) -> None:
    lose_answers()

    answer = claim(store, "me")

    assert isinstance(answer, Claimed)
    assert claim(store, "you") == Refused("held", answer.attempt_id, owner=Owner("", "here", 4, 12.25))
    assert [attempt.resumes for attempt in store.runs()[0].attempts] == [0]


def test_an_end_whose_answer_was_lost_is_written_once(store: Store, lose_answers: Callable[[], None]) -> None:
    attempt = claimed(store, "me")
    store.append(attempt, "me", LOSSES, 100)
    lose_answers()

    store.finish(attempt, "me", {"error_pct": 5.0})

    found = store.runs()[0].attempts[0]
    assert (found.state, found.metrics) == (State.DONE, {"error_pct": 5.0})
    with pytest.raises(ClaimLost, match="is done"):
        store.finish(attempt, "me", {"error_pct": 5.0})


@pytest.mark.parametrize("end", ["fail", "interrupt"])
def test_a_failure_or_interruption_whose_answer_was_lost_stands(
    store: Store, lose_answers: Callable[[], None], end: str
) -> None:
    attempt = claimed(store, "me")
    lose_answers()

    if end == "fail":
        store.fail(attempt, "me", Reason.ERROR, "why")
    else:
        store.interrupt(attempt, "me", "why")

    found = store.runs()[0].attempts[0]
    assert (found.state, found.error) == (State.FAILED if end == "fail" else State.INTERRUPTED, "why")
