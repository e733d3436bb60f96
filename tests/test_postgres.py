"""What is PostgreSQL's own: ways in and out of a server, its rights and locks, and schemas that processes share."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgres import GUEST, PASSWORD, Cluster
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import URL, make_url
from test_migrations import DOCUMENT, LATER, NEXT, migrate_to
from test_store import HERE, LOSSES, claim, claimed, owner, run

import ranbench
from ranbench.cli.options import Settings
from ranbench.errors import StoreError
from ranbench.masking import mask_url
from ranbench.records import MetricPoint, Predictions
from ranbench.spec import RunSpec
from ranbench.store import Claimed, Refused, Store, claiming, connection, merging, upgrade, writing
from ranbench.store import postgres as kind
from ranbench.store.audit import audit
from ranbench.store.bundle import opened
from ranbench.store.connection import make_engine, writing_engine
from ranbench.store.schema import VERSION, VERSION_TABLE, Row
from ranbench.store.values import Merged


@pytest.fixture
def empty(postgres: Cluster) -> Iterator[str]:
    """The place of a database without a table."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def made(postgres: Cluster) -> Iterator[str]:
    """The place of a database of this version, with nothing in it."""
    with postgres.database("TEMPLATE migrated") as url:
        yield url


@pytest.fixture
def beside(made: str) -> Iterator[Engine]:
    """Another way to the database than the store."""
    engine = writing_engine(make_engine(made, create=True))
    yield engine
    engine.dispose()


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A ranbench with one migration more than this one; ``undo`` of the result gives the real one back."""
    migrations = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, migrations)
    (migrations / "versions" / f"{NEXT}_colour.py").write_text(LATER)
    monkeypatch.setattr(upgrade, "MIGRATIONS", migrations)
    monkeypatch.setattr(upgrade, "VERSION", NEXT)
    return monkeypatch


def changed(url: str, **parts: Any) -> str:
    """A URL with other parts, or without some."""
    return URL.create(**{**make_url(url)._asdict(), **parts}).render_as_string(hide_password=False)


def as_guest(url: str) -> str:
    return changed(url, username=GUEST)


def database(url: str) -> str:
    return str(make_url(url).database)


def refused(url: str, do: Callable[[str], object] = Store.open) -> str:
    """The one line with which something is refused, after its place; no part of the password is in it."""
    with pytest.raises(StoreError) as caught:
        do(url)

    said = str(caught.value)
    assert "\n" not in said
    assert not re.search("s3cret|with:signs|s3cret%2F|signs%25", said)
    return said.removeprefix(f"{mask_url(url)}: ")


def in_thread(do: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Begin something beside; what it returns or raises is put into the list."""
    answers: list[object] = []

    def work() -> None:
        try:
            answers.append(do())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, answers


# Its tables.


def test_an_audit_finds_what_only_a_server_keeps(made: str, beside: Engine, tmp_path: Path) -> None:
    with Store.open(made) as store:
        attempt = claimed(store, code_id="c" * 64)
        names = ("train_loss", "test_error_pct", "test_loss")
        store.append(attempt, "me", [MetricPoint(name, 100, 1.0) for name in names], 100)
        final = {"error_pct": 5.0, "loss": 0.1, "best_error_pct": 4.5, "best_iteration": 50.0}
        store.finish(attempt, "me", final)

    sound = audit(made, tmp_path, lambda *_: True)
    with beside.begin() as connection:
        for statement in (
            "UPDATE metric SET value = 'NaN' WHERE name = 'loss'",
            "UPDATE attempt SET updated = '2026-01-01T00:00:00+02:00'",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER t BEFORE INSERT ON metric FOR EACH ROW EXECUTE FUNCTION f()",
            "CREATE RULE r AS ON INSERT TO metric_point DO INSTEAD NOTHING",
            "DROP INDEX ix_attempt_uid",
            "CREATE UNIQUE INDEX ix_attempt_uid ON attempt (uid) WHERE false",
            "CREATE VIEW mine AS SELECT 1",
        ):
            connection.exec_driver_sql(statement)
    found = audit(made, tmp_path, lambda *_: True)

    name = f"run {run().fingerprint[:12]}, attempt 1"
    assert sound == []
    assert [(finding.level, finding.text) for finding in found] == [
        ("fault", "the unique index on attempt (uid) is lacking"),
        ("note", "index ix_attempt_uid is none of ranbench's"),
        ("fault", "trigger r on metric_point acts when rows are written, which nothing may do"),
        ("fault", "trigger t on metric acts when rows are written, which nothing may do"),
        ("note", "view mine is none of ranbench's"),
        ("fault", "attempt 1: column updated is not a time in UTC"),
        ("fault", f"{name}: is done without loss"),
    ]


def test_an_empty_database_is_no_database_until_something_is_written(empty: str) -> None:
    before = (Store.exists(empty), refused(empty, lambda url: Store.open(url, create=False)))

    with Store.open(empty) as store:
        found = (store.schema_version(), store.upgrade, Store.exists(empty))

    assert before == (False, "no database there yet; 'ranbench run SUITE' makes one")
    assert found == (VERSION, None, True)


def test_migrations_make_exactly_the_mapped_tables(beside: Engine) -> None:
    with beside.connect() as other:
        context = MigrationContext.configure(other, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, Row.metadata)
        checks = {check["name"] for check in inspect(other).get_check_constraints("attempt")}

    assert differences == []
    assert checks == {
        str(check.name) for check in Row.metadata.tables["attempt"].constraints if "ck_" in str(check.name)
    }


def test_text_is_ordered_byte_by_byte_whatever_the_language_of_the_database(postgres: Cluster) -> None:
    odd = ["a_b", "aB", "a-b", "Z", "ab", "É", "z"]
    with (
        postgres.database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'") as url,
        Store.open(url) as store,
    ):
        store.finish(claimed(store), "me", dict.fromkeys(odd, 1.0))

        (attempt,) = store.find(run().fingerprint).attempts
        postgres.execute(f"ALTER DATABASE {database(url)} SET enable_seqscan = off")
        plan = postgres.execute("EXPLAIN SELECT * FROM run WHERE fingerprint LIKE 'abcd%'", database(url))

    assert list(attempt.metrics) == sorted(odd)
    assert "Index Cond" in str(plan)


def make(url: str, start: Any, answers: Any) -> None:
    """Make the tables as soon as all processes are there (runs in a process of its own)."""
    start.wait()
    with Store.open(url) as store:
        answers.put(store.schema_version())


def test_processes_that_make_the_tables_at_once_wait_for_each_other(empty: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(3), context.Queue()
    workers = [context.Process(target=make, args=(empty, start, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()

    versions = [answers.get(timeout=120) for _ in workers]

    for worker in workers:
        worker.join()
    assert versions == [VERSION] * 3


def test_a_database_of_the_first_version_is_upgraded_with_its_content(empty: str) -> None:
    engine = writing_engine(make_engine(empty, create=True))
    migrate_to(engine, "0001", "INSERT INTO complexity VALUES ('aa', 12, 34, '{}', '{}', 'words')")
    engine.dispose()

    with Store.open(empty) as store:
        found = (store.schema_version(), store.backup, store.upgrade)
        claimed(store)

    assert found == (VERSION, None, upgrade.Upgrade("0001", None))
    with Store.open(empty) as store, store._read() as reading:
        assert store.upgrade is None
        assert reading.execute(text("SELECT key, macs FROM complexity")).all() == [("aa", 34)]


def test_whoever_upgrades_is_told_to_have_a_dump(
    made: str, later: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Settings(made, Path("data")).store(create=False):
        pass

    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"ranbench: the database was upgraded from schema {VERSION} in one transaction;")
    assert "have a dump (pg_dump)" in said


def test_files_of_a_database_on_a_server_stand_in_the_folder_results(made: str, empty: str) -> None:
    found, none = Settings(made, Path("data")), Settings(empty, Path("data"))

    assert (found.results, found.exists(), none.exists()) == (Path("results"), True, False)


def test_an_upgrade_that_fails_changes_nothing(made: str, beside: Engine, later: pytest.MonkeyPatch) -> None:
    broken = LATER + '    op.execute("SELECT 1 FROM nowhere")\n'
    (upgrade.MIGRATIONS / "versions" / f"{NEXT}_colour.py").write_text(broken)

    said = refused(made)

    later.undo()
    assert said == (
        f'cannot be upgraded from schema {VERSION} to {NEXT}, and is as it was: relation "nowhere" does not exist; '
        "restore it from a copy, or go on with the ranbench that wrote it"
    )
    assert Store.open(made).close() is None
    with beside.connect() as other:
        assert "colour" not in {column["name"] for column in inspect(other).get_columns("suite")}


def test_a_newer_database_is_refused_with_both_versions(made: str, later: pytest.MonkeyPatch) -> None:
    Store.open(made).close()
    later.undo()

    said = refused(made)

    assert said == (
        f"has schema {NEXT}, newer than {VERSION} of this ranbench {ranbench.__version__}; "
        "'pip install --upgrade ranbench' helps"
    )


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_something_else_is_refused_and_left_alone(postgres: Cluster, empty: str, create: bool) -> None:
    postgres.execute("CREATE TABLE photo (name TEXT)", database(empty))

    said = refused(empty, lambda url: Store.open(url, create=create))

    assert said == "is not a database of ranbench (it has tables photo); name another one"
    assert refused(empty, Store.exists) == said
    tables = postgres.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database(empty))
    assert tables == [("photo",)]


def test_a_schema_of_one_s_own_can_be_named_in_the_url(postgres: Cluster, empty: str) -> None:
    postgres.execute("CREATE TABLE photo (name TEXT)", database(empty))
    postgres.execute("CREATE SCHEMA results", database(empty))
    query = {**make_url(empty).query, "options": "-csearch_path=results"}

    with Store.open(changed(empty, query=query)) as store:
        claimed(store)

    assert postgres.execute("SELECT count(*) FROM results.attempt", database(empty)) == [(1,)]


def test_an_encoding_that_cannot_keep_every_text_is_refused(postgres: Cluster) -> None:
    with postgres.database("TEMPLATE template0 ENCODING 'LATIN1'") as url:
        said = refused(url)

    assert said.startswith("has encoding LATIN1, expected UTF8; 'createdb --template template0 --encoding UTF8 NAME'")


def test_the_query_of_the_document_runs(made: str, beside: Engine) -> None:
    (query,) = re.findall(r'^psql .*?"\n(.*?)"$', DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    with Store.open(made) as store:
        store.finish(claimed(store), "me", {"error_pct": 5.0})

    with beside.connect() as other:
        assert other.execute(text(query)).all() == [("attention-56", "residual", 0, 5.0)]


def test_the_rights_of_the_document_are_enough_to_record(postgres: Cluster, made: str) -> None:
    rights = re.findall(r"`(SELECT, [A-Z, ]+)` on the tables", DOCUMENT.read_text())
    postgres.execute(f"GRANT {rights[0]} ON ALL TABLES IN SCHEMA public TO {GUEST}", database(made))
    postgres.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {GUEST}", database(made))

    with Store.open(as_guest(made)) as store:
        attempt = claimed(store)
        store.append(attempt, "me", LOSSES, 30)
        store.forget_after(attempt, "me", 10)
        store.finish(attempt, "me", {"error_pct": 5.0})

        assert store.done([run().fingerprint]) == {run().fingerprint}


# Ways in.


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"password": "s3cret"},
            r"the server refuses user and password; check both \(without one in the URL, PGPASSWORD",
        ),
        ({"password": None}, "the server refuses user and password"),
        ({"username": "nobody"}, "the server refuses user and password"),
        ({"database": "none"}, "the server has no database 'none'; 'createdb --owner ranbench none' makes one"),
        ({"host": "127.0.0.1", "port": 1, "query": {}}, r"cannot be reached \(.*refused\); check host and port"),
        ({"query": {"host": "/nowhere"}}, r"cannot be reached \(.*No such file or directory\)"),
        ({"query": {"host": "name.invalid"}}, "cannot be reached"),
        ({"query": {"host": "/nowhere", "connect_timeout": "soon"}}, r"cannot be opened: .*connect_timeout: 'soon'"),
    ],
)
def test_a_way_in_that_is_closed_is_one_line_without_the_password(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("PGPASSFILE", os.devnull)

    said = refused(changed(postgres.url("migrated"), **parts))

    assert re.search(message, said), said


def test_a_password_in_a_message_of_the_driver_is_masked(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(**_: object) -> None:
        raise kind.psycopg.OperationalError(
            f"cannot use\n{PASSWORD} or {quote(PASSWORD, safe='')} or {quote(PASSWORD)}"
        )

    monkeypatch.setattr(kind.psycopg, "connect", connect)

    assert refused(made) == "cannot be opened: cannot use *** or *** or ***"


def test_what_is_acknowledged_is_on_disk_also_where_the_server_would_rather_be_quick(
    postgres: Cluster, made: str
) -> None:
    postgres.execute(f"ALTER DATABASE {database(made)} SET synchronous_commit = off")

    with Store.open(made) as store, store._write() as other:
        settings = [other.execute(text(f"SHOW {name}")).scalar() for name in ("synchronous_commit", "lock_timeout")]

    assert settings == ["on", "1min"]


def test_a_password_can_come_from_outside_the_url(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)

    with Store.open(changed(made, password=None)) as store:
        assert store.schema_version() == VERSION


def test_the_short_form_of_the_url_does_as_well(made: str) -> None:
    with Store.open(changed(made, drivername="postgresql")) as store:
        assert store.schema_version() == VERSION


def test_a_password_as_an_option_is_used_and_masked(made: str) -> None:
    query = {**make_url(made).query, "password": PASSWORD}

    with Store.open(changed(made, password=None, query=query)) as store:
        assert store.schema_version() == VERSION
        assert "s3cret" not in store.url


@pytest.mark.parametrize("name", ["password", "sslpassword", "Password", "token"])
def test_secrets_among_the_options_are_masked(name: str) -> None:
    url = f"postgresql+psycopg://me@host/db?a=b&{name}=s3cret&c=d"

    assert mask_url(url) == f"postgresql+psycopg://me@host/db?a=b&{name}=***&c=d"


def test_a_server_that_takes_no_more_connections_is_one_line(postgres: Cluster, made: str) -> None:
    postgres.execute(f"ALTER DATABASE {database(made)} CONNECTION LIMIT 0")

    said = refused(as_guest(made))

    assert said == "the server takes no more connections; try again when others are done, or raise its max_connections"


def test_a_user_who_may_make_no_tables_is_told_who_can_help(empty: str) -> None:
    said = refused(as_guest(empty))

    assert said.startswith(
        "the user lacks rights (permission denied for schema public); its owner can give them (GRANT)"
    )


def test_a_user_who_may_read_only_reads_and_is_refused_to_write(postgres: Cluster, made: str) -> None:
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {GUEST}", database(made))

    with Store.open(as_guest(made)) as store:
        assert store.runs() == []
        with pytest.raises(StoreError, match=r"the user lacks rights \(permission denied for table cell\)"):
            claim(store)


def test_a_server_that_is_read_only_is_one_line(postgres: Cluster, made: str) -> None:
    postgres.execute(f"ALTER DATABASE {database(made)} SET default_transaction_read_only = on")

    with Store.open(made) as store, pytest.raises(StoreError, match="the server or the user is read-only"):
        claim(store)


def test_without_its_driver_one_line_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None; sys.argv[1:] = ['runs', '--db', 'postgresql+psycopg://me@host/db']\n"
        "from ranbench.cli import main; main()"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (7, "")
    (line,) = ended.stderr.splitlines()
    assert 'pip install "ranbench[postgres]"' in line


# Ways out.


@pytest.fixture
def restarted(postgres: Cluster) -> Iterator[Cluster]:
    """The server, which a test may stop; named after every database, so that it runs again before they are dropped."""
    yield postgres
    if not postgres.is_up():
        postgres.start()


def test_a_server_that_is_being_restarted_between_two_writes_is_waited_for(made: str, restarted: Cluster) -> None:
    with Store.open(made) as store:
        attempt = claimed(store)
        store.append(attempt, "me", LOSSES, 30)
        restarted.stop()
        thread, answers = in_thread(
            lambda: store.append(attempt, "me", [MetricPoint("train_loss", 40, 0.5)], 40),
        )
        thread.join(0.3)
        waiting = thread.is_alive()

        restarted.start()
        thread.join()

        assert (waiting, answers) == (True, [None])
        assert store.series([attempt], ["train_loss"])[attempt, "train_loss"][0].tolist() == [10, 20, 30, 40]


def test_a_server_that_stays_away_is_one_line(made: str, restarted: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranbench.store.kind.AWAY_SECONDS", 0.3)
    with Store.open(made) as store:
        attempt = claimed(store)
        restarted.stop()

        said = refused(made, lambda _: store.heartbeat(attempt, "me"))

    assert re.fullmatch(r"the server cannot be reached \(.*\); check host and port, and that it runs", said)


@pytest.fixture
def cut(postgres: Cluster, made: str) -> Callable[..., bool]:
    """Ends all connections to the database, as a server does that is stopped; has the form of ``is_alive``."""

    def end(*_: object) -> bool:
        others = f"datname = '{database(made)}' AND pid <> pg_backend_pid()"
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        return False

    return end


def test_a_transaction_whose_connection_is_cut_is_repeated(made: str, cut: Callable[..., bool]) -> None:
    calls: list[bool] = []

    def once(*_: object) -> bool:
        calls.append(True)
        return cut() if len(calls) == 1 else False

    with Store.open(made) as store:
        claimed(store)

        answer = claim(store, "you", is_alive=once)

        assert isinstance(answer, Claimed)
        assert len(calls) == 2
        assert [attempt.resumes for record in store.runs() for attempt in record.attempts] == [1]


def test_a_connection_that_is_cut_again_and_again_is_one_line_and_writes_nothing(
    made: str, cut: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranbench.store.kind.AWAY_SECONDS", 0.3)
    with Store.open(made) as store:
        claimed(store)

        with pytest.raises(StoreError, match="the connection to the server was lost; repeat the command"):
            claim(store, "you", is_alive=cut)

        assert isinstance(claim(store, "you", is_alive=lambda *_: False), Claimed)


def test_whoever_is_in_a_hurry_does_not_wait_for_a_server(made: str, restarted: Cluster) -> None:
    with Store.open(made) as store:
        attempt = claimed(store)
        restarted.stop()
        thread, answers = in_thread(lambda: store.heartbeat(attempt, "me"))
        thread.join(0.3)
        assert thread.is_alive()

        store.hurry()
        thread.join(10.0)

        assert not thread.is_alive()
        assert [type(answer) for answer in answers] != [type(None)]


def test_a_process_that_joins_the_work_waits_for_a_server_that_is_away(made: str, restarted: Cluster) -> None:
    restarted.stop()
    thread, answers = in_thread(lambda: Store.join(made).close())
    thread.join(0.3)
    waiting = thread.is_alive()

    restarted.start()
    thread.join()

    assert (waiting, answers) == (True, [None])


def test_no_heartbeat_is_missed_while_the_server_is_away(made: str, restarted: Cluster) -> None:
    """Else everybody's runs would be taken over as soon as it is back."""
    heard: list[datetime] = []
    with Store.open(made) as store:
        claimed(store)
        restarted.stop()
        stopped = datetime.now(UTC)
        restarted.start()

        claim(store, "you", is_alive=lambda _, heartbeat: heard.append(heartbeat) is None)

    assert heard > [stopped]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("53100", "the server's disk is full; free some space there and repeat the command, what was recorded is kept"),
        ("53200", "the server is out of memory (as told); try again when others are done"),
        ("XX001", "is damaged (as told); restore it from a dump"),
        ("57014", "the server stopped a statement (as told); raise its limit for this user, then repeat the command"),
        ("58030", "as told"),
    ],
)
def test_what_the_server_says_is_one_line_and_nothing_is_lost(
    made: str, beside: Engine, code: str, message: str
) -> None:
    with Store.open(made) as store:
        attempt = claimed(store)
        store.append(attempt, "me", LOSSES, 30)
        with beside.begin() as other:
            says = f"BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{code}'; END"
            other.execute(text(f"CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ {says} $$"))
            other.execute(text("CREATE TRIGGER say BEFORE INSERT ON metric_point EXECUTE FUNCTION say()"))

        said = refused(made, lambda _: store.append(attempt, "me", [MetricPoint("train_loss", 40, 0.5)], 40))

        assert said == message
        assert store.find(run().fingerprint).attempts[0].step == 30
        assert store.series([attempt], ["train_loss"])[attempt, "train_loss"][0].tolist() == [10, 20, 30]


# Beside others.


def add_run(other: Connection, spec: RunSpec) -> None:
    """Write a run, in the transaction of ``other``."""
    writing.add_runs(other, [spec])


def wait_for_lock(engine: Engine) -> None:
    """Wait until a transaction waits for a lock of another."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        end = time.monotonic() + 30
        while not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar():
            assert time.monotonic() < end, "no transaction waits"
            time.sleep(0.01)


@pytest.mark.parametrize("known", [True, False], ids=["a planned run", "a run that is not there yet"])
def test_of_two_first_claims_at_once_one_opens_an_attempt(made: str, beside: Engine, known: bool) -> None:
    with Store.open(made) as store:
        store.record_suite("s", "S", "", "a" * 64, [run()] if known else [])
        with beside.begin() as other:
            first = claiming.claim(other, claiming.Request(run(), "code-1", HERE, owner("me")), lambda *_: True)
            thread, answers = in_thread(lambda: claim(store, "you"))
            wait_for_lock(beside)
        thread.join()

        assert isinstance(first, Claimed)
        assert answers == [Refused("held", first.attempt_id, owner(""))]
        assert [len(record.attempts) for record in store.runs()] == [1]


def test_an_owner_who_finishes_while_its_run_is_being_taken_over_keeps_its_result(made: str, beside: Engine) -> None:
    with Store.open(made) as store:
        attempt = claimed(store, "old")
        finishing: list[tuple[threading.Thread, list[object]]] = []

        def seems_dead(*_: object) -> bool:
            finishing.append(in_thread(lambda: store.finish(attempt, "old", {"error_pct": 5.0})))
            wait_for_lock(beside)
            return False

        taken = claim(store, "new", is_alive=seems_dead)

        thread, answers = finishing[0]
        thread.join()
        assert isinstance(taken, Claimed)
        assert ["taken over by another process" in str(answer) for answer in answers] == [True]
        assert store.find(run().fingerprint).attempts[0].metrics == {}


def test_transactions_that_wait_for_each_other_are_repeated(
    made: str, beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []
    pause = connection.pause
    monkeypatch.setattr(connection, "pause", lambda attempt: (pauses.append(attempt), pause(attempt)))
    one, two = run(0), run(0, noise=0.1)
    with Store.open(made) as store, beside.connect() as other:
        other.execute(text("SET deadlock_timeout = '1h'"))  # the server then ends the store's transaction
        add_run(other, one)
        thread, answers = in_thread(lambda: store.record_suite("s", "S", "", "a" * 64, [two, one]))
        wait_for_lock(beside)
        add_run(other, two)
        other.commit()
        thread.join()

        assert answers == [None]
        assert pauses != []
        assert {record.fingerprint for record in store.runs(suite="s")} == {one.fingerprint, two.fingerprint}


def test_transactions_that_collide_for_ever_are_one_line(
    made: str, beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAUSE_SECONDS", 0.0)
    with beside.begin() as other:
        says = "BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '40P01'; END"
        other.execute(text(f"CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ {says} $$"))
        other.execute(text("CREATE TRIGGER say BEFORE INSERT ON cell EXECUTE FUNCTION say()"))

    with Store.open(made) as store:
        said = refused(made, lambda _: claim(store))

    assert said == "other processes write the same records (as told); repeat the command"


def test_a_lock_that_another_process_holds_for_long_is_one_line(
    made: str, beside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "LOCK_SECONDS", 0.1)
    with Store.open(made) as store, beside.connect() as other:
        attempt = claimed(store)
        other.execute(text("SELECT id FROM attempt FOR UPDATE"))

        with pytest.raises(StoreError, match=r"another process has held a lock for more than 0\.1 s"):
            store.heartbeat(attempt, "me")

        assert len(store.runs()) == 1


def test_a_read_sees_one_state_while_others_write(made: str) -> None:
    with Store.open(made) as store, Store.open(made) as other:
        attempt = claimed(other)

        with store._read() as reading:
            before = reading.execute(text("SELECT count(*) FROM metric_point")).scalar()
            other.append(attempt, "me", LOSSES, 30)
            after = reading.execute(text("SELECT count(*) FROM metric_point")).scalar()

        assert (before, after) == (0, 0)
        assert store.find(run().fingerprint).attempts[0].step == 30


# Bundles.

FINAL = {"error_pct": 5.0, "loss": 0.25, "best_error_pct": 4.5, "best_iteration": 50.0}


def finished(store: Store) -> None:
    """Leave a done attempt that a bundle takes."""
    attempt = claimed(store, code_id="c" * 64)
    store.append(attempt, "me", [], run().protocol.iterations)
    store.finish(attempt, "me", FINAL)


def test_a_bundle_has_the_same_bytes_from_either_kind_of_database(made: str, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.zip" for name in ("first", "second", "third"))
    odd = FINAL | dict(zip(["a_b", "aB", "a-b", "É"], [math.nan, math.inf, -0.0, 5e-324], strict=True))
    with Store.open(f"sqlite:///{tmp_path}/ranbench.db") as file, Store.open(made) as server:
        for seed in range(3):
            attempt = claimed(file, spec=run(seed), code_id="c" * 64)
            file.append(attempt, "me", LOSSES, run().protocol.iterations)
            file.record_artefact(attempt, "me", kind="weights", path=f"artefacts/{seed}", sha256="0" * 64, size=2**40)
            file.finish(attempt, "me", odd, Predictions(b"\0\1\xff"))
        file.record_suite("s", "S", "text", hashlib.sha256(b"text").hexdigest(), [run(2), run(0)])
        file.export(first)

        merged = server.merge(first)
        again = server.merge(first)
        server.export(second)
        with Store.open(f"sqlite:///{tmp_path}/other.db") as other:
            other.merge(second)
            other.export(third)

    assert (merged.added, again.added, again.known) == (3, 0, 3)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_a_bundle_that_two_merge_at_once_is_there_once(made: str, beside: Engine, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    with Store.open(f"sqlite:///{tmp_path}/ranbench.db") as file:
        finished(file)
        file.export(path)
    with Store.open(made) as store:
        with beside.begin() as other, opened(path) as bundle:
            first = merging.merge(other, bundle)
            thread, answers = in_thread(lambda: store.merge(path))
            wait_for_lock(beside)
        thread.join()

        assert (first.added, [(answer.added, answer.known) for answer in answers if isinstance(answer, Merged)]) == (
            1,
            [(0, 1)],
        )


@pytest.mark.parametrize("trained", [True, False], ids=["a run that is trained", "a run that is planned"])
def test_a_bundle_and_a_claim_of_one_run_wait_for_each_other(
    made: str, beside: Engine, tmp_path: Path, trained: bool
) -> None:
    path = tmp_path / "bundle.zip"
    with Store.open(f"sqlite:///{tmp_path}/ranbench.db") as file:
        finished(file)
        file.export(path)
    with Store.open(made) as store:
        store.record_suite("s", "S", "", "a" * 64, [run()])
        if trained:
            store.finish(claimed(store), "me", {"error_pct": 4.0})
        asked = claiming.Request(run(), "code-1", HERE, owner("me"), frozenset(["all"]))
        with beside.begin() as other:
            claiming.claim(other, asked, lambda *_: True)
            thread, answers = in_thread(lambda: store.merge(path))
            wait_for_lock(beside)
        thread.join()

        assert [getattr(answer, "added", answer) for answer in answers] == [1]
        (record,) = store.runs()
        assert sorted(attempt.number for attempt in record.attempts) == list(range(1, 4 if trained else 3))
