"""Copies of a database, made while others write: whole, refused where they would replace something, or not made."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from test_store import claimed, run

from ranbench.errors import RanbenchError, StoreError, UsageError
from ranbench.records import MetricPoint
from ranbench.store import Store
from ranbench.store.backup import backup
from ranbench.store.schema import VERSION_TABLE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database with one run at work, still open."""
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db") as opened:
        claimed(opened)
        yield opened


def test_a_copy_holds_what_was_committed_and_stands_alone(store: Store, tmp_path: Path) -> None:
    store.append(1, "me", [MetricPoint("train_loss", 10, 0.5)], 10)  # still in the write-ahead log

    size = backup(store.url, tmp_path / "copy.db")

    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["copy.db"]
    assert size == (tmp_path / "copy.db").stat().st_size
    with Store.open(f"sqlite:///{tmp_path}/copy.db", create=False) as copy:
        assert copy.runs() == store.runs()
        assert copy.last_points([1], ["train_loss"]) == {1: {"train_loss": MetricPoint("train_loss", 10, 0.5)}}


def test_a_copy_made_while_others_write_is_one_state(store: Store, tmp_path: Path) -> None:
    over = threading.Event()

    def write() -> None:
        with Store.open(store.url) as other:
            step = 0
            while not over.is_set():
                step += 1
                other.append(1, "me", [MetricPoint(name, step, float(step)) for name in ("a", "b")], step)

    thread = threading.Thread(target=write)
    thread.start()
    for number in range(5):
        backup(store.url, tmp_path / f"{number}.db")
    over.set()
    thread.join()

    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as copy:
            (steps,) = copy.execute("SELECT step FROM attempt").fetchone()
            counts = copy.execute("SELECT count(*) FROM metric_point GROUP BY name").fetchall()
        assert counts in ([(steps,), (steps,)], [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.db", "there.db: is there already; name a file that is not"),
        ("link.db", "link.db: is there already"),
        (".", "is there already"),
        ("none/copy.db", "none/copy.db: there is no folder "),
    ],
)
def test_what_would_be_replaced_or_has_no_place_is_refused(
    store: Store, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "there.db").write_text("kept")
    (tmp_path / "link.db").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(UsageError, match=message):
        backup(store.url, tmp_path / name)

    assert (tmp_path / "there.db").read_text() == "kept"
    assert sorted(tmp_path.iterdir()) == before


def test_a_servers_database_is_left_to_its_tools(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        backup("postgresql+psycopg://me:secret@host/db", tmp_path / "copy.db")

    assert "'pg_dump --format=custom --file FILE NAME'" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (f"UPDATE {VERSION_TABLE} SET version_num = '9999'", "newer than"),
        (f"DROP TABLE {VERSION_TABLE}", "is not a database of ranbench"),
    ],
)
def test_what_is_not_ours_is_not_copied(store: Store, tmp_path: Path, statement: str, message: str) -> None:
    with closing(sqlite3.connect(tmp_path / "results" / "ranbench.db")) as connection:
        connection.execute(statement)
        connection.commit()

    with pytest.raises(StoreError, match=message):
        backup(store.url, tmp_path / "copy.db")

    assert not (tmp_path / "copy.db").exists()


def test_a_damaged_database_is_not_copied_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "results" / "ranbench.db"
    with Store.open(f"sqlite:///{path}") as store:
        store.record_suite("s", "S", "x" * 100_000, "a" * 64, [run(seed) for seed in range(50)])
    whole = path.read_bytes()
    middle = len(whole) // 4096 // 2 * 4096
    path.write_bytes(whole[:middle] + b"\xff" * 4096 * 4 + whole[middle + 4096 * 4 :])

    with pytest.raises(RanbenchError) as refused:
        backup(f"sqlite:///{path}", tmp_path / "copy.db")

    assert refused.value.exit_code == 7
    assert "\n" not in str(refused.value)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "from ranbench.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "db", "backup", "copy.db", "--db", store.url]

    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout) == (7, "")
    assert re.fullmatch(r"ranbench: copy\.db: cannot be written: .*\n", found.stderr)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []
