"""What is written to the database and read back, on SQLite and on PostgreSQL; claims stand in test_store_claims."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from ranbench.errors import ClaimLost, StoreError, UsageError
from ranbench.masking import mask_url
from ranbench.records import Calibration, Complexity, Environment, MetricPoint, Owner, Predictions, Probe, Reason, State
from ranbench.spec import (
    Augmentation,
    DataSpec,
    Evaluation,
    ModelSpec,
    NoiseSpec,
    OneCycle,
    Optimizer,
    Protocol,
    RunSpec,
    is_smoke,
)
from ranbench.store import Artefact, Claimed, Refused, Store, claiming, writing
from ranbench.store.connection import make_engine, writing_engine
from ranbench.store.schema import VERSION

HERE = Environment(
    device="cpu",
    device_name="a processor",
    cpu="a processor",
    cores=2,
    memory_bytes=2**34,
    threads=1,
    engine_path="eager",
    python="3.11.7",
    platform="Linux",
    versions={"torch": "2.11.0"},
    commit="c0ffee",
    dirty=True,
    patch="+ a line\n",
    host="here",
    user="someone",
    command="ranbench run table3 --db sqlite:///x.db",
)
LOSSES = [MetricPoint("train_loss", step, 1.0 / step) for step in (10, 20, 30)]


def run(seed: int = 0, noise: float | None = None) -> RunSpec:
    protocol = Protocol(
        iterations=100,
        batch=64,
        schedule=OneCycle(kind="one-cycle", lr=0.1, rise=0.3, start=0.1, end=0.0),
        optimizer=Optimizer(momentum=0.9, nesterov=True, weight_decay=1e-4),
        augmentation=Augmentation(mean="none", pad=0, flip=False),
        evaluation=Evaluation(every=50),
        initialisation="he-fan-in",
        precision="float32",
    )
    model, data = ModelSpec(name="attention-56"), DataSpec.of("digits")
    wrong = None if noise is None else NoiseSpec(rate=noise)
    return RunSpec(model=model, data=data, noise=wrong, protocol=protocol, seed=seed)


def owner(token: str) -> Owner:
    return Owner(token=token, host="here", pid=4, pid_started=12.25)


def claim(store: Store, token: str = "me", spec: RunSpec | None = None, **changes: Any) -> Claimed | Refused:
    asked = {"code_id": "code-1", "environment": HERE, "is_alive": lambda *_: True, **changes}
    return store.claim(spec or run(), owner=owner(token), **asked)


def claimed(store: Store, token: str = "me", spec: RunSpec | None = None, **changes: Any) -> int:
    answer = claim(store, token, spec, **changes)
    assert isinstance(answer, Claimed)
    return answer.attempt_id


@pytest.fixture
def beside(url: str) -> Iterator[Engine]:
    """Another way to the database than the store."""
    engine = writing_engine(make_engine(url, create=True))
    yield engine
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def test_opening_makes_the_folder_and_the_database_and_again_finds_it(url: str) -> None:
    with Store.open(url) as store:
        store.record_suite("table9", "A table", "name: table9", "ab" * 32, [run()])

    with Store.open(url, create=False) as store:
        assert (store.url, store.schema_version(), store.backup) == (mask_url(url), VERSION, None)
        assert [record.fingerprint for record in store.runs(suite="table9")] == [run().fingerprint]


def test_a_done_run_is_read_back_whole(store: Store) -> None:
    store.record_complexity("k" * 64, Complexity(10, 20, {"stem": {"macs": 20}}, {"sigmoid": 3}, "convolutions"))
    attempt = claimed(store)
    store.append(attempt, "me", LOSSES, 100)
    store.mark_inexact(attempt, "me")
    store.record_artefact(attempt, "me", kind="weights", path="a/b", sha256="1" * 64, size=1)
    store.record_artefact(attempt, "me", kind="weights", path="a/b", sha256="2" * 64, size=2)
    store.finish(attempt, "me", {"error_pct": 0.1 + 0.2}, Predictions(b"\0\1\xff"), complexity_key="k" * 64)

    record = store.find(run().fingerprint[:8].upper())

    (found,) = record.attempts
    assert (record.cell_id, record.seed, record.state) == (run().cell_id, 0, "done")
    assert RunSpec.model_validate(dict(record.spec)) == run()
    assert (found.state, found.step, found.iterations, found.owner) == (State.DONE, 100, 100, None)
    assert (found.metrics, found.resumed_inexactly) == ({"error_pct": 0.1 + 0.2}, True)
    assert found.environment == HERE
    assert found.ended is not None
    assert found.started.tzinfo == UTC
    assert found.started <= found.updated <= found.ended + timedelta(seconds=1)
    assert store.predictions(attempt) == b"\0\1\xff"
    assert store.artefacts([attempt]) == [Artefact(attempt, "weights", "a/b", "2" * 64, 2)]


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.INTERRUPTED])
def test_a_closed_attempt_takes_no_more_writes(store: Store, state: State) -> None:
    attempt = claimed(store)
    if state is State.DONE:
        store.finish(attempt, "me", {"error_pct": 5.0})
    elif state is State.FAILED:
        store.fail(attempt, "me", Reason.DIVERGED, "the loss became nan at iteration 7")
    else:
        store.interrupt(attempt, "me")
    before = store.runs()

    for write in (
        lambda: store.append(attempt, "me", LOSSES, 30),
        lambda: store.finish(attempt, "me", {"error_pct": 1.0}),
        lambda: store.fail(attempt, "me", Reason.ERROR, "again"),
    ):
        with pytest.raises(ClaimLost, match=f"attempt 1 is {state.value}; this process wrote nothing to it"):
            write()

    assert store.runs() == before
    assert store.series([attempt], ["train_loss"]) == {}


def test_every_attempt_has_a_name_of_its_own_and_counts_the_time_that_was_worked_on_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    for module in (writing, claiming):
        monkeypatch.setattr(module, "now", lambda: clock[0])

    def later(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)

    attempt = claimed(store)
    later(2)
    store.append(attempt, "me", LOSSES, 10)
    later(1.5)
    store.interrupt(attempt, "me")
    later(1000)  # nobody works on it
    claimed(store)
    later(3)
    store.finish(attempt, "me", {"error_pct": 5.0})
    claimed(store, spec=run(1))

    (first, second) = (record.attempts[0] for record in store.runs())

    assert (first.seconds, second.seconds) == (6.5, 0.0)
    assert len({first.uid, second.uid, ""}) == 3
    assert first.bundle is None


def test_a_run_keeps_the_counts_of_the_code_that_trained_it(store: Store, beside: Engine) -> None:
    ours = Complexity(10, 20, {}, {}, "words", code_id="code-1")
    theirs = dataclasses.replace(ours, macs=21, code_id="code-2")
    attempt = claimed(store, code_id="code-1")
    store.record_complexity("net", ours)
    store.record_complexity("net", theirs)

    store.finish(attempt, "me", {"error_pct": 5.0}, complexity_key="net")

    of_run = "SELECT macs FROM attempt JOIN complexity ON key = complexity_key"
    with beside.connect() as other:
        assert other.execute(text(of_run)).all() == [(20,)]
        assert other.execute(text("SELECT macs FROM complexity WHERE net = 'net' ORDER BY macs")).all() == [
            (20,),
            (21,),
        ]


@pytest.mark.parametrize(("iterations", "images"), [(22, None), (23, None), (100, 359), (100, 360), (22, 359)])
def test_a_record_tells_smoke_as_its_spec_does(store: Store, iterations: int, images: int | None) -> None:
    """It does so without loading the spec; 1,437 training images are 22.5 batches of 64, and 360 are for testing."""
    whole = run()
    evaluation = whole.protocol.evaluation.model_copy(update={"images": images})
    protocol = whole.protocol.model_copy(update={"iterations": iterations, "evaluation": evaluation})
    spec = whole.model_copy(update={"protocol": protocol})
    claimed(store, spec=spec)

    record = store.find(spec.fingerprint)

    assert record.smoke is is_smoke(spec.protocol, spec.data)
    assert record.smoke is not (iterations > 22 and images in (None, 360))


def test_a_failed_attempt_keeps_its_reason(store: Store) -> None:
    store.fail(claimed(store), "me", Reason.OUT_OF_MEMORY, "needs 3 GiB")

    (found,) = store.find(run().fingerprint).attempts

    assert (found.state, found.reason, found.error) == (State.FAILED, Reason.OUT_OF_MEMORY, "needs 3 GiB")


def test_finishing_with_a_complexity_that_was_not_recorded_writes_nothing(store: Store) -> None:
    attempt = claimed(store)

    with pytest.raises(IntegrityError):
        store.finish(attempt, "me", {"error_pct": 5.0}, complexity_key="unknown")

    (found,) = store.find(run().fingerprint).attempts
    assert (found.state, found.metrics) == (State.RUNNING, {})


def test_points_written_again_replace_and_points_beyond_a_step_are_forgotten(store: Store) -> None:
    attempt = claimed(store)
    store.append(attempt, "me", [MetricPoint("lr", 10, 9.0), MetricPoint("lr", 10, 0.5), *LOSSES], 30)
    store.append(attempt, "me", LOSSES[1:], 30)

    store.forget_after(attempt, "me", 20)

    (steps, values), (lr_steps, lr) = (
        store.series([attempt], ["train_loss", "lr"])[attempt, name] for name in ("train_loss", "lr")
    )
    assert (steps.tolist(), values.tolist()) == ([10, 20], [0.1, 0.05])
    assert (lr_steps.tolist(), lr.tolist()) == ([10], [0.5])
    assert store.last_points([attempt, 77], ["lr", "train_loss", "none"]) == {
        attempt: {"lr": MetricPoint("lr", 10, 0.5), "train_loss": MetricPoint("train_loss", 20, 0.05)}
    }
    assert store.find(run().fingerprint).attempts[0].step == 20


def test_values_that_are_not_finite_come_back_as_they_went(store: Store) -> None:
    attempt = claimed(store)
    odd = [math.inf, -math.inf, math.nan, 1.7976931348623157e308, 5e-324]
    store.append(attempt, "me", [MetricPoint("loss", step, value) for step, value in enumerate(odd)], 5)
    store.finish(attempt, "me", {str(step): value for step, value in enumerate(odd)})

    values = store.series([attempt], ["loss"])[attempt, "loss"][1].tolist()
    metrics = list(store.find(run().fingerprint).attempts[0].metrics.values())

    assert repr(values) == repr(metrics) == repr(odd)
    assert math.isnan(store.last_points([attempt], ["loss"])[attempt]["loss"].value) is False


def test_a_heartbeat_from_a_thread_and_points_from_another_do_not_disturb_each_other(store: Store) -> None:
    attempt = claimed(store)
    failures: list[BaseException] = []

    def beat() -> None:
        try:
            for _ in range(50):
                store.heartbeat(attempt, "me")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=beat)
    thread.start()
    for step in range(50):
        store.append(attempt, "me", [MetricPoint("lr", step, 0.1)], step)
    thread.join()

    assert failures == []
    assert store.series([attempt], ["lr"])[attempt, "lr"][0].tolist() == list(range(50))


def test_recording_a_suite_again_changes_nothing_and_a_new_text_is_a_new_version(store: Store) -> None:
    old = ("table9", "A table", "name: table9", "a" * 64)
    new = ("table9", "A table, mended", "name: table9 #", "b" * 64)
    for _ in range(2):
        store.record_suite(*old, [run(0), run(1), run(0, noise=0.1)])
    store.record_suite(*new, [run(1), run(2)])
    store.record_suite("other", "Another", "", "c" * 64, [run(2), run(3)])

    texts = store.suites()
    records = store.runs(suite="table9")

    assert [(s.name, s.title, s.text, s.sha256) for s in texts] == [("other", "Another", "", "c" * 64), new, old]
    wanted = [run(0), run(1), run(0, noise=0.1), run(2)]
    assert [(r.fingerprint, r.state) for r in records] == [(spec.fingerprint, "planned") for spec in wanted]
    assert [r.suites for r in records] == [("table9",), ("table9",), ("table9",), ("other", "table9")]
    assert len(store.runs()) == 5


def test_of_texts_of_suites_and_protocols_all_but_secrets_is_kept(store: Store) -> None:
    title, text, token = "A table of https://me:hunter2hunter2@host/x", "name: table9\n# {}\n", "ghp_" + "a1b2c3d4" * 4
    for _ in range(2):
        store.record_suite("table9", title, text.format(token), "a" * 64, [], {"short": text.format(token)})

    (found,) = store.suites()

    kept = text.format("***")
    assert (found.title, found.text) == ("A table of https://me:***@host/x", kept)
    assert (found.sha256, found.protocols) == (hashlib.sha256(kept.encode()).hexdigest(), {"short": kept})


def test_the_version_used_last_comes_first(store: Store) -> None:
    for sha256 in ("a" * 64, "b" * 64, "a" * 64):
        store.record_suite("table9", "A table", "text", sha256, [])

    texts = store.suites()

    assert [text.sha256 for text in texts] == ["a" * 64, "b" * 64]
    assert texts[0].recorded < texts[1].recorded < texts[0].used


def test_of_the_texts_of_a_protocol_the_one_used_last_is_that_of_the_suite(store: Store, beside: Engine) -> None:
    version = ("table9", "A table", "text", "a" * 64)
    for content in ("batch: 64", "batch: 128", "batch: 64"):
        store.record_suite(*version, [], {"short": content, "long": "batch: 1"})
    store.record_suite("table9", "A table", "other", "b" * 64, [])

    other, one = store.suites()

    assert (one.sha256, one.protocols) == ("a" * 64, {"short": "batch: 64", "long": "batch: 1"})
    assert (other.sha256, other.protocols) == ("b" * 64, {})
    with beside.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM suite_protocol").scalar_one() == 3


def test_the_size_of_a_net_is_kept_by_key(store: Store) -> None:
    first = Complexity(1, 2**40, {"a": {"macs": 1}}, {}, "first")
    second = Complexity(3, 4, {}, {"relu": 1}, "second")

    store.record_complexity("k", first)
    before = store.complexity("k")
    store.record_complexity("k", second)

    assert (before, store.complexity("k"), store.complexity("none")) == (first, second, None)


def test_more_runs_than_a_statement_has_parameters_are_read_in_the_order_asked_for(store: Store) -> None:
    known = [run(seed) for seed in range(3)]
    store.record_suite("s", "S", "", "a" * 64, known)
    store.finish(claimed(store, spec=known[1]), "me", {"error_pct": 1.0})
    asked = [known[2].fingerprint, *(f"{number:064x}" for number in range(40_000)), known[1].fingerprint]

    records, done = store.runs(asked), store.done(asked)

    assert [record.seed for record in records] == [2, 1]
    assert [record.state for record in records] == ["planned", "done"]
    assert done == {known[1].fingerprint}


def test_a_run_is_found_by_a_prefix_that_only_it_has(store: Store, beside: Engine) -> None:
    store.record_suite("s", "S", "", "a" * 64, [run(0)])
    fingerprint = run(0).fingerprint
    twin = fingerprint[:6] + "x" * 58
    with beside.begin() as other:
        copy = "INSERT INTO run (fingerprint, cell_id, seed, added) SELECT :twin, cell_id, 1, added FROM run"
        other.execute(text(copy), {"twin": twin})

    assert store.find(fingerprint[:7]).fingerprint == fingerprint
    several = f"several fingerprints begin so: {fingerprint[:12]}, {twin[:12]}; give more digits"
    for prefix, message in (
        (fingerprint[:6], several),
        ("0" * 64, "no fingerprint begins so; 'ranbench runs' lists them"),
        ("abc", "expected 4 to 64 hexadecimal digits"),
        ("50%_", "expected 4 to 64 hexadecimal digits"),
    ):
        with pytest.raises(UsageError, match=message):
            store.find(prefix)


def test_passwords_in_a_command_line_are_masked_and_an_environment_is_kept_once(store: Store, beside: Engine) -> None:
    secret = dataclasses.replace(HERE, command="ranbench run x --db postgresql://me:pass@word@host/db --seeds 3")
    for seed in range(3):
        claimed(store, spec=run(seed), environment=secret)

    (kept,) = {attempt.environment.command for record in store.runs() for attempt in record.attempts}

    assert kept == "ranbench run x --db postgresql://me:***@host/db --seeds 3"
    with beside.connect() as other:
        assert other.execute(text("SELECT count(*) FROM environment")).scalar() == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE attempt SET state = 'finished'",
        "UPDATE attempt SET state = 'failed', owner_token = NULL, ended = started",
        "UPDATE attempt SET state = 'done'",
        "UPDATE attempt SET reason = 'bad luck'",
        "UPDATE attempt SET purpose = 'fun'",
        "UPDATE attempt SET purpose = NULL",
        "UPDATE attempt SET step = -1",
        "UPDATE attempt SET number = NULL",
        "INSERT INTO metric VALUES (99, 'error_pct', 1.0)",
        "INSERT INTO run SELECT id + 1, fingerprint, cell_id, seed + 1, added FROM run",
    ],
)
def test_the_database_itself_refuses_what_cannot_be(store: Store, beside: Engine, change: str) -> None:
    claimed(store)

    with beside.connect() as other, pytest.raises(IntegrityError):
        other.execute(text(change))


def probe(kind: str = "responses", value: float = 0.1 + 0.2) -> Probe:
    """A measurement of final weights."""
    return Probe(kind, {"response_stage1": value}, "c" * 64, datetime(2026, 1, 1, tzinfo=UTC), HERE)


def test_what_is_measured_of_a_done_attempt_stands_beside_it_and_the_first_stays(store: Store) -> None:
    at_once, later = claimed(store), claimed(store, spec=run(1))
    store.finish(at_once, "me", {"error_pct": 5.0}, probes=[probe()])
    store.finish(later, "me", {"error_pct": 6.0})
    before = store.runs()[1].attempts[0]

    store.record_probe(later, probe(value=0.5))
    store.record_probe(later, probe(value=0.7))

    first, second = (found.attempts[0] for found in store.runs())
    assert first.probes == (probe(),)
    assert second == dataclasses.replace(before, probes=(probe(value=0.5),))
    assert second.measured == {"error_pct": 6.0, "response_stage1": 0.5}


def test_an_attempt_that_is_not_done_is_not_measured(store: Store) -> None:
    attempt = claimed(store)

    with pytest.raises(StoreError, match="attempt 1 is running; only a result is probed"):
        store.record_probe(attempt, probe())
    with pytest.raises(StoreError, match="attempt 7 does not exist"):
        store.record_probe(7, probe())

    assert store.runs()[0].attempts[0].probes == ()


@pytest.mark.parametrize("memory", [None, 2.0**30])
def test_calibrations_come_back_as_they_were_measured_and_stay_beside_later_ones(
    store: Store, memory: float | None
) -> None:
    first = Calibration(
        "ab" * 32, {"batch": 64}, 0.25, 0.001, memory, "cd" * 32, datetime(2026, 1, 1, tzinfo=UTC), HERE
    )
    later = dataclasses.replace(first, step_seconds=0.5, measured=datetime(2026, 1, 2, tzinfo=UTC))

    for one in (first, later):
        store.record_calibration(one)

    assert store.calibrations() == [first, later]


def test_a_calibration_without_its_seconds_is_told_in_one_line(store: Store, beside: Engine) -> None:
    store.record_calibration(
        Calibration("ab" * 32, {"batch": 64}, 0.25, 0.001, None, "cd" * 32, datetime(2026, 1, 1, tzinfo=UTC), HERE)
    )
    with beside.begin() as connection:
        connection.execute(text("UPDATE calibration SET numbers = '{}'"))

    with pytest.raises(StoreError, match="calibration abababababab: holds no seconds"):
        store.calibrations()
