"""Making, upgrading and refusing databases: by their place, their content and their schema version."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine
from test_store import run

import ranbench
from ranbench.errors import StoreError
from ranbench.records import Complexity, Purpose
from ranbench.spec import digest
from ranbench.store import Store, file, sqlite, upgrade
from ranbench.store.schema import VERSION, VERSION_TABLE, Row

DOCUMENT = Path(__file__).parent.parent / "docs" / "database.md"

NEXT = f"{int(VERSION) + 1:04}"

# As much of a spec as is read without loading it.
SPEC = json.dumps(
    {
        "model": {"name": "attention-56"},
        "data": {"name": "digits", "train_images": 6, "test_images": 6},
        "protocol": {"iterations": 6, "batch": 1, "evaluation": {}},
    }
)

LATER = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{NEXT}", "{VERSION}"

def upgrade():
    op.add_column("suite", sa.Column("colour", sa.Text()))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of this version with one suite in it."""
    file = tmp_path / "ranbench.db"
    with Store.open(f"sqlite:///{file}") as store:
        store.record_suite("table9", "A table", "name: table9", "ab" * 32, [])
    return file


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A ranbench with one migration more than this one; ``undo`` of the result gives the real one back."""
    migrations = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, migrations)
    (migrations / "versions" / f"{NEXT}_colour.py").write_text(LATER)
    monkeypatch.setattr(upgrade, "MIGRATIONS", migrations)
    monkeypatch.setattr(upgrade, "VERSION", NEXT)
    return monkeypatch


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def definitions(path: Path) -> dict[str, str]:
    """Names and definitions of tables and indexes, without the order of constraints and spaces."""
    found = rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {
        str(name): " ".join(sorted(re.split(r"[\s,()]+", str(sql)))) for name, sql in found if name != VERSION_TABLE
    }


def test_the_newest_migration_has_the_version_of_the_mappings() -> None:
    script = ScriptDirectory(str(upgrade.MIGRATIONS))

    assert script.get_heads() == [VERSION]


def test_migrations_make_exactly_the_mapped_tables(path: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'mapped.db'}")
    Row.metadata.create_all(engine)
    engine.dispose()
    migrated = create_engine(f"sqlite:///{path}")

    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, Row.metadata)
    migrated.dispose()

    assert differences == []
    assert definitions(path) == definitions(tmp_path / "mapped.db")


def test_an_old_database_is_copied_and_then_upgraded_with_its_content(path: Path, later: pytest.MonkeyPatch) -> None:
    before = rows(path, "SELECT * FROM suite")

    with Store.open(f"sqlite:///{path}") as store:
        version, copy = store.schema_version(), store.backup

    assert version == NEXT
    assert copy == path.with_name(f"ranbench.db.schema-{VERSION}")
    assert rows(copy, "SELECT * FROM suite") == before
    assert rows(copy, f"SELECT version_num FROM {VERSION_TABLE}") == [(VERSION,)]
    assert rows(path, "SELECT * FROM suite") == [(*before[0], None)]


def old_database(path: Path, version: str, *statements: str) -> None:
    """Make a database of an older version that holds what the statements write."""
    engine = create_engine(f"sqlite:///{path}")
    migrate_to(engine, version, *statements)
    engine.dispose()


def migrate_to(engine: Engine, version: str, *statements: str) -> None:
    """Make the tables of an older version, and what the statements write."""
    config = Config()
    config.set_main_option("script_location", str(upgrade.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_database_of_the_first_version_keeps_its_counts_and_takes_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "first.db"
    old_database(path, "0001", "INSERT INTO complexity VALUES ('aa', 12, 34, '{}', '{}', 'words')")
    new = Complexity(1, 2, {}, {}, "words", depth=56, backward_macs=4, code_id="c" * 64)

    with Store.open(f"sqlite:///{path}") as store:
        old, copy = store.complexity("aa"), store.backup
        store.record_complexity("bb", new)
        written = store.complexity("bb")

    assert copy == tmp_path / "first.db.schema-0001"
    assert old == Complexity(12, 34, {}, {}, "words")
    assert written == new


def test_every_attempt_of_a_database_without_purposes_is_one_at_a_result(tmp_path: Path) -> None:
    path = tmp_path / "second.db"
    old_database(
        path,
        "0002",
        f"INSERT INTO cell VALUES ('c', '{SPEC}')",
        "INSERT INTO run VALUES (1, 'f', 'c', 0, '2026-01-01T00:00:00.000000+00:00')",
        """INSERT INTO environment VALUES (1, 'e', 'cpu', 'cpu', 'cpu', 1, 1, 1, 'eager', '3', 'Linux', '{}', NULL, 0,
        NULL, 'here', 'me', 'ranbench')""",
        """INSERT INTO attempt VALUES (1, 'f', 1, 'done', NULL, NULL, 'code', 6, 6, 0, 0,
        '2026-01-01T00:00:00.000000+00:00', '2026-01-01T00:00:00.000000+00:00', '2026-01-01T00:00:00.000000+00:00',
        NULL, NULL, NULL, NULL, 1, NULL)""",
        "INSERT INTO metric VALUES (1, 'error_pct', 5.0)",
    )

    with Store.open(f"sqlite:///{path}") as store:
        (record,) = store.runs()

    assert (record.state, record.counted, record.latest) == ("done", record.attempts[0], record.attempts[0])
    assert (record.attempts[0].purpose, record.attempts[0].metrics) == (Purpose.RESULT, {"error_pct": 5.0})


def test_an_attempt_of_an_older_database_has_the_same_name_in_every_copy_of_it(tmp_path: Path) -> None:
    path, copy = tmp_path / "fourth.db", tmp_path / "copy.db"
    old_database(
        path,
        "0004",
        f"INSERT INTO cell VALUES ('c', '{SPEC}')",
        "INSERT INTO run VALUES (1, 'f', 'c', 0, '2026-01-01T00:00:00.000000+00:00')",
        """INSERT INTO environment VALUES (1, 'e', 'cpu', 'cpu', 'cpu', 1, 1, 1, 'eager', '3', 'Linux', '{}', NULL, 0,
        NULL, 'here', 'me', 'ranbench')""",
        "INSERT INTO complexity VALUES ('net', 12, 34, '{}', '{}', 'words', NULL, NULL, 'code')",
        *(
            f"""INSERT INTO attempt VALUES ({number}, 'f', {number}, 'done', NULL, NULL, 'code', 6, 6, 0, 0,
            '2026-01-0{number}T00:00:00.000000+00:00', '2026-01-03T00:00:00.000000+00:00',
            '2026-01-03T00:00:00.000000+00:00', NULL, NULL, NULL, NULL, 1, 'net', 'result')"""
            for number in (1, 2)
        ),
    )
    shutil.copy(path, copy)

    found = []
    for each in (path, copy):
        with Store.open(f"sqlite:///{each}") as store:
            (record,) = store.runs()
            found.append([attempt.uid for attempt in record.attempts])
            counts = store.complexity("net")

    assert found[0] == found[1]
    assert len(set(found[0])) == 2
    assert [attempt.seconds for attempt in record.attempts] == [None, None]
    assert (record.attempts[0].environment.settings, counts) == (
        {},
        Complexity(12, 34, {}, {}, "words", code_id="code"),
    )


def test_secrets_that_an_older_database_kept_are_in_no_export_and_not_in_the_file(tmp_path: Path) -> None:
    path, bundle = tmp_path / "fourth.db", tmp_path / "out.zip"
    spec, secret = run(), "s3cret-of-the-server"
    content = json.dumps(spec.model_dump(mode="json", exclude={"seed"})).replace("'", "''")
    old_database(
        path,
        "0004",
        f"INSERT INTO cell VALUES ('{spec.cell_id}', '{content}')",
        f"INSERT INTO run VALUES (1, '{spec.fingerprint}', '{spec.cell_id}', 0, '2026-01-01T00:00:00.000000+00:00')",
        *(
            f"""INSERT INTO environment VALUES ({number}, '{number}', 'cpu', 'cpu', 'cpu', 1, 1, 1, 'eager', '3',
            'Linux', '{{}}', 'abc', 1, '+PASSWORD={secret}-{number}', 'here', 'me',
            'ranbench run x --token {secret}-{number}')"""
            for number in (1, 2)
        ),
        *(
            f"""INSERT INTO attempt VALUES ({number}, '{spec.fingerprint}', {number}, 'failed', 'error',
            'refused: x://me@corp:{secret}@host', '{"c" * 64}', 6, {spec.protocol.iterations}, 0, 0,
            '2026-01-0{number}T00:00:00.000000+00:00', '2026-01-03T00:00:00.000000+00:00',
            '2026-01-03T00:00:00.000000+00:00', NULL, NULL, NULL, NULL, {number}, NULL, 'result')"""
            for number in (1, 2)
        ),
    )

    with Store.open(f"sqlite:///{path}") as store:
        (record,) = store.runs()
        store.export(bundle, with_patch=True)
        again = store.merge(bundle)
    with Store.open(f"sqlite:///{tmp_path}/new.db") as other:
        merged = [other.merge(bundle).added, other.merge(bundle).added]
        other.export(tmp_path / "again.zip", with_patch=True)

    environment = record.attempts[0].environment
    assert (environment.command, environment.patch) == ("ranbench run x --token ***", "+PASSWORD=***")
    assert record.attempts[1].environment == environment
    assert rows(path, "SELECT sha256 FROM environment") == [(digest(environment.as_dict()),)]
    assert {attempt.error for attempt in record.attempts} == {"refused: x://me@corp:***@host"}
    assert (again.added, merged) == (0, [2, 0])
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        assert not any(secret.encode() in archive.read(name) for name in archive.namelist())
    assert secret.encode() not in path.read_bytes()


def test_a_copy_never_replaces_an_earlier_copy(path: Path, later: pytest.MonkeyPatch) -> None:
    earlier = path.with_name(f"ranbench.db.schema-{VERSION}")
    earlier.write_text("kept")

    with Store.open(f"sqlite:///{path}") as store:
        copy = store.backup

    assert copy == path.with_name(f"ranbench.db.schema-{VERSION}-2")
    assert earlier.read_text() == "kept"


def test_an_upgrade_that_fails_changes_nothing(path: Path, later: pytest.MonkeyPatch) -> None:
    broken = LATER + '    op.execute("SELECT 1 FROM nowhere")\n'
    (upgrade.MIGRATIONS / "versions" / f"{NEXT}_colour.py").write_text(broken)
    before = definitions(path)

    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            Store.open(f"sqlite:///{path}")

    assert str(caught.value) == (
        f"sqlite:///{path}: cannot be upgraded from schema {VERSION} to {NEXT}, and is as it was: no such table: "
        "nowhere; restore it from a copy, or go on with the ranbench that wrote it"
    )
    assert list(path.parent.glob("*.schema-*")) == []
    later.undo()
    assert definitions(path) == before
    with Store.open(f"sqlite:///{path}") as store:
        assert [suite.name for suite in store.suites()] == ["table9"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "versions = '{\"a\": NaN}'",
            "cannot be upgraded from schema 0001 .* Out of range float values .*; restore it",
        ),
        ("versions = '{'", "cannot be upgraded from schema 0001 .* should be JSON is not: .*; restore it from a copy"),
        (
            "cpu = CAST(X'FF41' AS TEXT)",
            "is damaged: holds text that is not UTF-8; see 'ranbench db check', and restore",
        ),
    ],
)
def test_what_no_version_wrote_is_told_in_one_line_and_leaves_no_copy(tmp_path: Path, change: str, told: str) -> None:
    path = tmp_path / "first.db"
    environment = "(1, 'e', 'cpu', 'cpu', 'cpu', 1, 1, 1, 'eager', '3', 'Linux', '{}', NULL, 0, NULL, 'h', 'u', 'c')"
    old_database(path, "0001", f"INSERT INTO environment VALUES {environment}", f"UPDATE environment SET {change}")

    for _ in range(2):
        with pytest.raises(StoreError, match=told) as caught:
            Store.open(f"sqlite:///{path}")

    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("*.schema-*")) == []
    assert rows(path, f"SELECT version_num FROM {VERSION_TABLE}") == [("0001",)]


def test_a_thousand_earlier_copies_are_no_reason_to_fail(path: Path, later: pytest.MonkeyPatch) -> None:
    earlier = f"ranbench.db.schema-{VERSION}"
    for name in (earlier, *(f"{earlier}-{number}" for number in range(2, 1001))):
        path.with_name(name).touch()

    with Store.open(f"sqlite:///{path}") as store:
        assert store.backup == path.with_name(f"{earlier}-1001")


def test_a_newer_database_is_refused_and_left_alone(path: Path, later: pytest.MonkeyPatch) -> None:
    Store.open(f"sqlite:///{path}").close()
    later.undo()
    content = path.read_bytes()

    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{path}")

    assert str(caught.value) == (
        f"sqlite:///{path}: has schema {NEXT}, newer than {VERSION} of this ranbench {ranbench.__version__}; "
        "'pip install --upgrade ranbench' helps"
    )
    assert path.read_bytes() == content


def test_a_version_that_no_migration_starts_from_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0000'")
        connection.commit()

    with pytest.raises(StoreError, match=r"cannot be upgraded: .*'0000'; restore it from a copy$"):
        Store.open(f"sqlite:///{path}")


def test_a_database_without_its_version_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DELETE FROM {VERSION_TABLE}")
        connection.commit()

    with pytest.raises(StoreError, match="has no schema version"):
        Store.open(f"sqlite:///{path}")


def test_only_making_a_database_loads_alembic_and_nothing_loads_pandas(path: Path) -> None:
    heavy = "print(sorted({'alembic', 'pandas', 'torch'} & set(sys.modules)))"
    code = (
        f"import sys, ranbench.store; {heavy}\n"
        f"ranbench.store.Store.open({f'sqlite:///{path}'!r}).close(); {heavy}\n"
        f"ranbench.store.Store.open({f'sqlite:///{path}2'!r}).close(); {heavy}\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["[]", "[]", "['alembic']"]
    assert done.stderr == ""


def test_the_document_names_every_table_and_column_and_no_other(path: Path) -> None:
    sections = re.split(r"^### ", DOCUMENT.read_text().split("## Tables")[1], flags=re.MULTILINE)[1:]

    documented = {part.split()[0]: re.findall(r"^\| `(\w+)` \| .{5,} \|$", part, re.MULTILINE) for part in sections}

    tables = [str(name) for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert documented == {
        table: [column for (column,) in rows(path, f"SELECT name FROM pragma_table_info('{table}')")]
        for table in tables
    }


def test_the_queries_of_the_document_run(path: Path) -> None:
    text = DOCUMENT.read_text()
    shell = re.findall(r'^sqlite3 .*?"\n(.*?)"$', text, re.MULTILINE | re.DOTALL)
    python = re.findall(r'read_sql\(\s*"{3}(.*?)"{3}', text, re.DOTALL)

    assert (len(shell), len(python)) == (1, 1)
    for query in [*shell, *python, 'SELECT "commit", "user" FROM environment']:
        assert rows(path, query) == []


@pytest.mark.parametrize("content", [None, b""], ids=["no file", "an empty file"])
def test_reading_makes_no_database(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "results.db"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{path}", create=False)

    assert str(caught.value) == f"sqlite:///{path}: no database there yet; 'ranbench run SUITE' makes one"
    assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.parametrize("content", [b"x", b"hello", b"%PDF-1.7\n" * 1000], ids=["one byte", "short", "long"])
def test_a_file_that_is_not_sqlite_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thesis.pdf"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"thesis\.pdf: is not a SQLite database; name another file$"):
        Store.open(f"sqlite:///{path}")

    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_database_is_refused_and_left_alone(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "ranbench.db"
    Store.open(f"sqlite:///{path}").close()
    content = path.read_bytes()[: int(path.stat().st_size * kept)]
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"ranbench\.db: is damaged or truncated; restore it from a copy"):
        Store.open(f"sqlite:///{path}")

    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photo (name TEXT)")
    content = path.read_bytes()

    with pytest.raises(StoreError, match=r"is not a database of ranbench \(it has tables photo\)"):
        Store.open(f"sqlite:///{path}")

    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("results/ranbench.db", "'results/ranbench.db': is not a URL"),
        ("", "'': is not a URL"),
        ("mysql://me:sec:ret@host/db", r"'mysql://me:\*\*\*@host/db': 'mysql' is not supported"),
        ("postgres://me@host/db?password=secret", r"\?password=\*\*\*': 'postgres' is not supported; expected sqlite:"),
        ("postgresql+psycopg2://me@host/db", r"'postgresql\+psycopg2' is not supported"),
        ("postgresql+psycopg://me:sec@ret@host/db", r"'postgresql\+psycopg://me:\*\*\*@host/db': write an @ inside"),
        ("postgresql+psycopg://me:secret@host", r"me:\*\*\*@host': names no database"),
        ("postgresql+psycopg://me:secret@host/", "names no database"),
        ("postgresql+psycopg://me:secret@host:port/db", "is not a URL"),
        ("postgresql+psycopg://me@host/db?autocommit=1", "'autocommit' is not an option of such a URL"),
        ("postgresql+psycopg://me@host/db?sslmod=require", "'sslmod' is not an option .*; did you mean 'sslmode'"),
        ("postgresql+psycopg://me@host/db?pwort=secret", r"@host/db\?\.\.\.': 'pwort' is not an option of such a URL"),
        ("postgresql+psycopg://me@/db?host=a&port=x", "the port is not a number"),
        ("no url ://me:secret@host", r"://me:\*\*\*@host': is not a URL"),
        ("sqlite://", "names no plain file"),
        ("sqlite:///:memory:", "names no plain file"),
        ("sqlite:///x.db?mode=ro", "names no plain file"),
        ("sqlite:////proc/none/x.db", "sqlite:////proc/none/x.db: cannot be opened"),
        ("sqlite:////proc/x.db", "sqlite:////proc/x.db: cannot be opened"),
        ("sqlite:////tmp", "sqlite:////tmp: is a directory, expected a file"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_in_one_line_without_passwords(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(url)

    assert "\n" not in str(caught.value)
    assert "ret" not in str(caught.value).replace("directory", "")


def test_a_copy_that_cannot_be_finished_leaves_nothing(path: Path, later: pytest.MonkeyPatch) -> None:
    def full(_source: Path, target: Path) -> None:
        target.touch()
        raise sqlite3.OperationalError("database or disk is full")

    later.setattr(sqlite, "_copy", full)
    with pytest.raises(StoreError, match="the disk is full; free some space"):
        Store.open(f"sqlite:///{path}")

    assert list(path.parent.glob("*.partial*")) == []


@pytest.mark.parametrize("medium", [True, False], ids=["a read-only medium", "no rights"])
def test_a_database_that_cannot_be_written_is_read_without_its_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, medium: bool
) -> None:
    monkeypatch.setattr(sqlite, "on_read_only_medium", lambda _path: medium)
    real = sqlite3.connect

    class Logless(sqlite3.Connection):
        """There is no place for the two files of the log."""

        def execute(self, *_: Any) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("unable to open database file")

    def connect(place: str, **how: Any) -> sqlite3.Connection:
        return real(place, **how) if "immutable=1" in place else real(place, factory=Logless, **how)

    monkeypatch.setattr(file.os, "access", lambda *_: False)
    monkeypatch.setattr(file.sqlite3, "connect", connect)
    for log in path.parent.glob("*.db-*"):
        log.unlink()

    with Store.open(f"sqlite:///{path}", create=False) as store:
        suites = store.suites()
        with pytest.raises(StoreError, match="cannot be written"):
            store.record_suite("s", "S", "", "a" * 64, [])

    assert [suite.name for suite in suites] == ["table9"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(StoreError, match="cannot be opened; check the rights of the file and its folder"):
        Store.open(f"sqlite:///{tmp_path / 'ranbench.db'}")
