"""What is judged well, a risk or a problem, from values that no single machine has; and this machine as a whole."""

from __future__ import annotations

import os
import sqlite3
import types
from contextlib import closing
from pathlib import Path

import pytest

from ranbench.doctor import examine
from ranbench.doctor.finding import Finding
from ranbench.doctor.libraries import has_wal_fault, library, python, sqlite
from ranbench.doctor.machine import determinism, threads
from ranbench.doctor.places import LITTLE, beside, rights, space, under_database
from ranbench.doctor.records import database, datasets, judged
from ranbench.environment import existing, file_system
from ranbench.store import Store
from ranbench.store.looking import Health
from ranbench.store.schema import VERSION

MOUNTS = r"""
22 27 0:21 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:22 / /proc rw,relatime - proc proc rw
30 22 0:30 / /data rw,relatime shared:1 - nfs4 server:/data rw
31 30 0:31 / /data/fast rw,relatime - xfs /dev/sdb1 rw
32 22 0:32 / /with\040space rw - fuse.sshfs me@host: rw
33 22 0:33 / /twice rw - ext4 /dev/sdc1 rw
34 22 0:34 / /twice rw - cifs //host/share rw
35 22 0:35
"""


def level(finding: Finding) -> str:
    assert (finding.remedy is None) == (finding.level == "ok")
    assert "\n" not in finding.text + (finding.remedy or "")
    return finding.level


@pytest.mark.parametrize(
    ("version", "faulty"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_the_versions_of_sqlite_with_the_wal_reset_fault_are_known(version: tuple[int, ...], faulty: bool) -> None:
    finding = sqlite(version)

    assert has_wal_fault(version) is faulty
    assert level(finding) == ("warning" if faulty else "ok")
    assert ".".join(map(str, version)) in finding.text


@pytest.mark.parametrize(("version", "expected"), [((3, 10, 9), "problem"), ((3, 11, 0), "ok"), ((3, 14, 0), "ok")])
def test_an_old_python_is_a_problem(version: tuple[int, ...], expected: str) -> None:
    assert level(python(version)) == expected


def test_a_library_that_is_missing_broken_or_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    old = types.ModuleType("old")
    old.__version__ = "2.9.1+cu128"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "old", old)

    assert level(library("no_such_library", None)) == "problem"
    assert level(library("old", "2.11")) == "problem"
    assert (level(library("old", "2.9")), library("old", None).text) == ("ok", "2.9.1+cu128")


@pytest.mark.parametrize(
    ("usable", "used", "variables", "expected"),
    [
        (8, 8, {}, "ok"),
        (8, 1, {"OMP_NUM_THREADS": "1"}, "ok"),
        (2, 8, {"OMP_NUM_THREADS": "8"}, "warning"),
        (8, 8, {"OMP_NUM_THREADS": "many"}, "warning"),
        (8, 8, {"OMP_NUM_THREADS": "0"}, "warning"),
    ],
)
def test_more_threads_than_cores_are_a_warning(
    usable: int, used: int, variables: dict[str, str], expected: str
) -> None:
    assert level(threads(usable, 8, used, variables)) == expected


@pytest.mark.parametrize(
    ("variables", "benchmark", "expected"),
    [
        ({}, False, "ok"),
        ({"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}, False, "ok"),
        ({"CUBLAS_WORKSPACE_CONFIG": ":4096:2"}, False, "warning"),
        ({"NVIDIA_TF32_OVERRIDE": "0"}, False, "warning"),
        ({}, True, "warning"),
    ],
)
def test_settings_that_let_equal_runs_differ_are_a_warning(
    variables: dict[str, str], benchmark: bool, expected: str
) -> None:
    assert level(determinism(variables, benchmark=benchmark)) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/none/x.db", "ext4"),
        ("/none", "ext4"),
    ],
)
def test_the_file_system_of_what_is_not_there_is_that_of_the_folder_above(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_the_file_system_is_that_of_the_deepest_and_latest_mount(tmp_path: Path) -> None:
    def kind(*parts: str) -> str | None:
        place = tmp_path.joinpath(*parts)
        place.mkdir(parents=True, exist_ok=True)
        escaped = str(tmp_path).replace(" ", r"\040")
        return file_system(place, MOUNTS.replace(" /", f" {escaped}/").replace(f"{escaped}/ rw", f"{escaped} rw"))

    assert kind() == "ext4"
    assert kind("data", "deep") == "nfs4"
    assert kind("data", "fast", "x") == "xfs"
    assert kind("database") == "ext4"
    assert kind("with space") == "fuse.sshfs"
    assert kind("twice") == "cifs"
    assert file_system(tmp_path, "") is None


@pytest.mark.parametrize(
    ("kind", "database_level", "beside_level"),
    [
        ("ext4", "ok", "ok"),
        ("tmpfs", "ok", "ok"),
        ("overlay", "ok", "ok"),
        (None, "ok", "ok"),
        ("nfs", "problem", "warning"),
        ("nfs4", "problem", "warning"),
        ("cifs", "problem", "warning"),
        ("smb3", "problem", "warning"),
        ("lustre", "problem", "warning"),
        ("fuse.sshfs", "problem", "warning"),
        ("9p", "warning", "warning"),
    ],
)
def test_a_network_file_system_under_the_database_is_a_problem(
    kind: str | None, database_level: str, beside_level: str
) -> None:
    assert level(under_database(Path("x.db"), kind)) == database_level
    assert level(beside("results", Path("results"), kind)) == beside_level


def test_little_space_is_a_warning() -> None:
    assert level(space("results", Path("results"), LITTLE)) == "ok"
    assert level(space("results", Path("results"), LITTLE - 1)) == "warning"


def test_the_nearest_folder_that_is_there_is_judged(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert rights("results", tmp_path / "a" / "b").text == f"{tmp_path}/a/b can be made"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("root may write everywhere")

    assert level(rights("results", tmp_path / "results")) == "problem"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Health(VERSION, (), "wal"), "ok"),
        (Health(VERSION), "ok"),  # of a server
        (Health("0001", (), "wal"), "warning"),
        (Health(VERSION, (), "delete"), "warning"),
        (Health(VERSION, ("row 7 missing from index x",), "wal"), "problem"),
    ],
)
def test_a_database_is_judged_by_what_was_seen_of_it(found: Health, expected: str) -> None:
    assert level(judged("sqlite:///x.db", found)) == expected


def test_a_database_is_looked_at_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ranbench.db"
    url = f"sqlite:///{path}"
    before = database(url, path)
    made = path.exists()
    Store.open(url).close()
    sound = database(url, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE ranbench_version")
    foreign = database(url, path)
    path.write_bytes(path.read_bytes()[:9000])
    damaged = database(url, path)

    assert [level(each) for each in (before, sound, foreign, damaged)] == ["ok", "ok", "problem", "problem"]
    assert not made
    assert "journal wal, quickly checked: sound" in sound.text
    assert "is not a database of ranbench" in foreign.text
    assert "is damaged or truncated" in damaged.text


def test_a_damaged_dataset_is_a_problem_and_a_missing_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()

    found = {finding.about: level(finding) for finding in datasets(tmp_path)}

    assert found == {
        "dataset cifar10": "problem",
        "dataset cifar100": "ok",
        "dataset imagenet": "ok",
        "dataset imagefolder": "ok",
        "dataset digits": "ok",
    }


def test_everything_is_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/results/ranbench.db"
    results = tmp_path / "results"

    found = list(examine(url, results / "ranbench.db", results, tmp_path / "data"))
    of_a_server = [finding.about for finding in examine("postgresql://host/x", None, results, tmp_path / "data")]

    about = {finding.about for finding in found}
    assert {"python", "torch", "torchvision", "sqlalchemy", "sqlite", "code", "threads", "gpu", "determinism"} <= about
    assert {"database", "database place", "database rights", "results space", "data place", "dataset digits"} <= about
    assert [level(finding) for finding in found if level(finding) == "problem"] == []
    assert list(tmp_path.iterdir()) == []
    assert not {"sqlite", "database place", "database rights"} & set(of_a_server)
    assert "database" in of_a_server
