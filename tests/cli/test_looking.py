"""Looking at a database and caring for it, from outside: runs --where and --why-not, db, doctor."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command import ranbench

from cli.test_cli import ROOT, names
from ranbench.store.schema import VERSION, VERSION_TABLE


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder in which the tiny suite was run."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "tiny.yaml").write_text(tiny_texts[0])
    found = ranbench("run", "tiny.yaml", cwd=folder)
    assert found.returncode == 0, found.stderr
    return folder


@pytest.fixture(scope="module")
def runs(done: Path) -> dict[tuple[str, int], str]:
    """First digits of the runs, by learning and seed."""
    listed = json.loads(ranbench("runs", "--json", cwd=done).stdout)
    return {(run["spec"]["model"]["learning"], run["seed"]): run["fingerprint"][:10] for run in listed}


def documented() -> set[str]:
    return set(re.findall(r"`([a-z0-9_.\[\]]+)`", (ROOT / "docs" / "json.md").read_text()))


def test_runs_are_chosen_by_conditions(done: Path) -> None:
    where = ("--where", "learning=naive", "--where", "seed>0", "--where", "fidelity=smoke")

    found = ranbench("runs", "tiny", *where, "--json", cwd=done)

    (run,) = json.loads(found.stdout)
    assert (run["spec"]["model"]["learning"], run["seed"]) == ("naive", 1)
    assert found.stderr == "ranbench: 1 of 4 runs\n"


def test_only_the_chosen_runs_are_written_as_csv(done: Path) -> None:
    found = ranbench("runs", "--where", "learning=naive", "--csv", "naive.csv", cwd=done)

    assert found.returncode == 0
    assert len((done / "naive.csv").read_text().splitlines()) == 3


def test_two_cells_are_not_comparable_and_the_field_is_named(done: Path, runs: dict[tuple[str, int], str]) -> None:
    first, second = runs["residual", 0], runs["naive", 0]

    text = ranbench("runs", "--why-not", first, second, cwd=done)
    found = json.loads(ranbench("runs", "--why-not", first, second, "--json", cwd=done).stdout)

    assert (text.returncode, text.stdout.splitlines()[0]) == (0, "not comparable")
    assert re.search(r"model\.learning +residual +naive +another net, or another form of it", text.stdout)
    assert (found["answer"], [each["field"] for each in found["forbidding"]]) == ("not comparable", ["model.learning"])
    assert found["first"].startswith(first)
    assert names(found) <= documented()


def test_two_seeds_are_comparable_and_a_run_is_itself(done: Path, runs: dict[tuple[str, int], str]) -> None:
    first, second = runs["residual", 0], runs["residual", 1]

    seeds = ranbench("runs", "--why-not", first, second, cwd=done).stdout
    itself = ranbench("runs", "--why-not", first, first[:6], cwd=done).stdout

    smoke = "(both are smoke: their numbers mean nothing)"
    assert seeds == f"comparable: two samples of one cell, seeds 0 and 1 {smoke}\n"
    assert itself.startswith("the same run: ")


def test_a_sound_database_is_checked_copied_and_has_nothing_to_upgrade(done: Path) -> None:
    url = "sqlite:///results/ranbench.db"

    check = ranbench("db", "check", cwd=done)
    whole = json.loads(ranbench("db", "check", "--json", cwd=done).stdout)
    copied = json.loads(ranbench("db", "backup", "copy.db", "--json", cwd=done).stdout)
    upgrade = ranbench("db", "upgrade", cwd=done)

    assert (check.returncode, check.stdout, check.stderr) == (0, f"{url}: no fault, 0 notes\n", "")
    assert whole == {"database": url, "findings": []}
    assert copied == {"database": url, "copy": "copy.db", "bytes": (done / "copy.db").stat().st_size}
    assert upgrade.stdout == f"{url}: has schema {VERSION}, that of this ranbench; nothing to do\n"
    assert copied.keys() | whole.keys() <= documented()


def test_faults_are_one_line_each_and_exit_7(done: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/copy.db"
    assert ranbench("db", "backup", f"{tmp_path}/copy.db", cwd=done).returncode == 0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        copy.execute("DELETE FROM metric WHERE attempt_id = 1 AND name = 'error_pct'")
        copy.commit()

    text = ranbench("db", "check", "--db", url, cwd=done)
    found = json.loads(ranbench("db", "check", "--db", url, "--json", cwd=done).stdout)

    lines = text.stdout.splitlines()
    assert (text.returncode, text.stderr) == (7, "")
    assert re.fullmatch(r"fault: attempts: run [0-9a-f]{12}, attempt 1: is done without error_pct", lines[0])
    assert lines[1].startswith("note: files: ")
    assert lines[2:] == [f"{url}: 1 fault, 1 note"]
    assert [(one["level"], one["about"]) for one in found["findings"]] == [("fault", "attempts"), ("note", "files")]
    assert names(found) <= documented()


def test_an_older_database_is_upgraded_on_demand_with_a_copy(tmp_path: Path) -> None:
    from test_migrations import old_database

    (tmp_path / "results").mkdir()
    old_database(tmp_path / "results" / "ranbench.db", "0001")

    check = ranbench("db", "check", cwd=tmp_path)
    upgrade = ranbench("db", "upgrade", "--json", cwd=tmp_path)
    again = ranbench("db", "upgrade", cwd=tmp_path)

    assert (check.returncode, check.stdout.splitlines()[1].split(": ")[-1]) == (0, "no fault, 1 note")
    found = json.loads(upgrade.stdout)
    assert (found["from"], found["to"], found["copy"]) == ("0001", VERSION, "results/ranbench.db.schema-0001")
    assert (tmp_path / found["copy"]).is_file()
    assert found.keys() <= documented()
    assert again.stdout.endswith("nothing to do\n")


@pytest.mark.parametrize("command", [["db", "check"], ["db", "upgrade"], ["db", "backup", "x.db"]])
def test_a_newer_or_damaged_or_missing_database_is_one_line_and_exit_7(
    done: Path, tmp_path: Path, command: list[str]
) -> None:
    ranbench("db", "backup", f"{tmp_path}/newer.db", cwd=done)
    with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        newer.commit()
    (tmp_path / "damaged.db").write_bytes((done / "results" / "ranbench.db").read_bytes()[:9000])

    said = {}
    for name in ("newer", "damaged", "missing"):
        found = ranbench(*command, "--db", f"sqlite:///{tmp_path}/{name}.db", cwd=tmp_path)
        assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (7, "", 1), found.stderr
        said[name] = found.stderr

    assert "'pip install --upgrade ranbench' helps" in said["newer"]
    assert "is damaged or truncated; restore it from a copy" in said["damaged"]
    assert "no database there yet" in said["missing"]
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["runs", "--where", "modle=x"], 2, "--where modle: unknown key; did you mean 'model'? (allowed: model, "),
        (["runs", "--where", "model"], 2, "expected KEY=VALUE"),
        (["runs", "--why-not", "abcd"], 2, "--why-not"),
        (["runs", "--why-not", "abc", "abcd"], 2, "expected 4 to 64 hexadecimal digits"),
        (["runs", "tiny", "--why-not", "abcd", "abcd"], 2, "--why-not: takes two runs, and goes with --json only"),
        (["db", "backup", "tiny.yaml"], 2, "tiny.yaml: is there already; name a file that is not"),
        (["db", "backup", "no/x.db"], 2, "there is no folder no; make it first"),
        (["db", "backup", "x.db", "--db", "postgresql+psycopg://me:secret@h/x"], 2, "pg_dump"),
        (["db", "backup"], 2, "Missing argument"),
        (
            ["db", "check", "--db", "bundle.zip"],
            2,
            "--db bundle.zip: is a bundle, which is checked whenever it is read",
        ),
        (["db", "upgrade", "--db", "bundle.zip"], 2, "--db bundle.zip: is a bundle"),
        (["doctor", "--db", "bundle.zip"], 2, "--db bundle.zip: is a bundle"),
        (["doctor", "--db", "mysql://me:secret@h/x"], 7, "mysql"),
        (["db", "chek"], 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_refusal_is_one_line_and_its_code(done: Path, arguments: list[str], code: int, text: str) -> None:
    (done / "bundle.zip").write_bytes(b"PK\x03\x04")

    found = ranbench(*arguments, cwd=done)

    assert (found.returncode, found.stdout) == (code, "")
    assert len(found.stderr.splitlines()) == 1, found.stderr
    assert text in found.stderr
    assert "secret" not in found.stderr


def test_doctor_says_what_is_well_and_makes_nothing(tmp_path: Path) -> None:
    text = ranbench("doctor", cwd=tmp_path)
    found = json.loads(ranbench("doctor", "--json", cwd=tmp_path).stdout)

    lines = text.stdout.splitlines()
    assert (text.returncode, text.stderr) == (0, "")
    assert "ok: database: sqlite:///results/ranbench.db: not there yet; the first 'ranbench run' makes it" in lines
    assert re.fullmatch(r"0 problems, \d+ warnings?", lines[-1])
    assert all(re.match(r"(ok|warning): [a-z0-9 ]+: .", line) for line in lines[:-1])
    assert len(found["findings"]) == len(lines) - 1
    assert names(found) <= documented()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_doctor_exits_7_on_a_problem_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "x.db").write_bytes(b"%PDF-1.7\n" * 1000)

    found = ranbench("doctor", "--db", "sqlite:///x.db", cwd=tmp_path)

    problems = [line for line in found.stdout.splitlines() if line.startswith("problem: ")]
    assert found.returncode == 7
    assert problems[0] == "problem: database: sqlite:///x.db: is not a SQLite database; name another file"
    assert problems[1].startswith("problem: dataset cifar10: data/cifar-10-batches-py: data_batch_1, ")
    assert problems[1].endswith("; 'ranbench data fetch cifar10 --data data' downloads it")
    assert found.stdout.splitlines()[-1].startswith("2 problems, ")


@pytest.mark.parametrize("command", ["runs", "status"])
def test_a_suite_of_which_nothing_is_recorded_is_refused(done: Path, command: str) -> None:
    found = ranbench(command, "tinny", cwd=done)

    told = "ranbench: suite 'tinny': nothing of it is recorded; did you mean 'tiny'? (recorded: tiny)\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", told)
