"""What an audit finds: nothing in a sound database, and each kind of damage by name. It never changes anything."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from test_store import claimed, run

from ranbench.errors import NothingMeasured, StoreError
from ranbench.records import Complexity, MetricPoint, Owner, Reason
from ranbench.store import Store
from ranbench.store.audit import Finding, audit
from ranbench.store.schema import VERSION, VERSION_TABLE

FINAL = {"error_pct": 5.0, "loss": 0.1, "best_error_pct": 4.5, "best_iteration": 50.0}
WEIGHTS = b"weights of a net"
DONE, STOPPED, PLANNED = (run(seed).fingerprint[:12] for seed in range(3))
CELL = run().cell_id[:12]
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results: one run done with its weights, one interrupted with a checkpoint, one planned."""
    folder = tmp_path / "results"
    with Store.open(f"sqlite:///{folder}/ranbench.db") as store:
        store.record_suite("s", "S", "", EMPTY, [run(0), run(1), run(2)], {"short": ""})
        store.record_complexity("5" * 64, Complexity(10, 20, {"stem": {"macs": 20}}, {}, "words"))
        done = claimed(store, code_id="c" * 64)
        store.append(done, "me", [MetricPoint("train_loss", step, 1.0) for step in (50, 100)], 100)
        store.append(done, "me", [MetricPoint(name, 50, 1.0) for name in ("test_error_pct", "test_loss")], 100)
        name = hashlib.sha256(WEIGHTS).hexdigest()
        path = f"artefacts/{name}.safetensors"
        store.record_artefact(done, "me", kind="weights", path=path, sha256=name, size=len(WEIGHTS))
        store.finish(done, "me", FINAL, complexity_key="5" * 64)
        stopped = claimed(store, spec=run(1))
        store.append(stopped, "me", [MetricPoint("train_loss", 50, 1.0)], 50)
        store.interrupt(stopped, "me")
    (folder / "artefacts").mkdir()
    (folder / path).write_bytes(WEIGHTS)
    (folder / "checkpoints" / f"{run(1).fingerprint[:16]}-1").mkdir(parents=True)
    return folder


def alive(_owner: Owner, _heartbeat: datetime) -> bool:
    return True


def found(results: Path) -> list[Finding]:
    return audit(f"sqlite:///{results}/ranbench.db", results, alive)


def change(results: Path, *statements: str) -> None:
    """Write to the database past ranbench, and past its constraints."""
    with closing(sqlite3.connect(results / "ranbench.db")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def content(folder: Path) -> dict[str, bytes]:
    """All files but the two, empty or not, with which SQLite coordinates those who have a database open."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(("-shm", "-wal")))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_sound_database_has_no_findings_and_is_left_as_it_is(results: Path) -> None:
    before = content(results)

    assert found(results) == []
    assert content(results) == before


def test_an_attempt_at_work_is_no_finding_and_a_dead_owner_is_a_note(results: Path) -> None:
    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        claimed(store, spec=run(2))

    working, dead = found(results), audit(f"sqlite:///{results}/ranbench.db", results, lambda *_: False)

    assert working == []
    text = f"run {PLANNED}, attempt 1: its process is gone; the next run command resumes it"
    assert dead == [Finding("note", "attempts", text)]


@pytest.mark.parametrize(
    ("statement", "about", "text"),
    [
        (
            "DELETE FROM metric WHERE name IN ('error_pct', 'loss')",
            "attempts",
            f"run {DONE}, attempt 1: is done without error_pct, loss",
        ),
        (
            "UPDATE metric SET value = NULL WHERE name = 'loss'",
            "attempts",
            f"run {DONE}, attempt 1: is done without loss",
        ),
        (
            "UPDATE attempt SET step = 100 - 1, iterations = 100 WHERE state = 'interrupted'; "
            "INSERT INTO metric_point VALUES (2, 'lr', 99, 1), (2, 'train_loss', 120, 1)",
            "attempts",
            f"run {STOPPED}, attempt 1: has a point of train_loss at 120, beyond its step 99",
        ),
        (
            "INSERT INTO metric VALUES (2, 'error_pct', 1.0)",
            "attempts",
            f"run {STOPPED}, attempt 1: has a result, and is interrupted",
        ),
        (
            "UPDATE attempt SET iterations = 90 WHERE state = 'interrupted'",
            "identity",
            f"run {STOPPED}, attempt 1: is of 90 iterations, its spec of 100",
        ),
        ("UPDATE cell SET spec = '{'", "JSON", f"cell {CELL}: column spec is not JSON"),
        (
            "UPDATE cell SET spec = replace(spec, '\"batch\": 64', '\"batch\": 32')",
            "identity",
            f"cell {CELL}: its spec gives ",
        ),
        ("UPDATE cell SET spec = '{}'", "identity", f"cell {CELL}: this version cannot read its stored spec: "),
        ("UPDATE suite SET text = 'x'", "identity", f"suite 's', version {EMPTY[:12]}: its text gives 2d711642b726"),
        (
            "UPDATE suite_protocol SET text = 'x'",
            "identity",
            f"protocol 'short', text {EMPTY[:12]}: its text gives 2d711642b726",
        ),
        ("UPDATE run SET seed = 77 WHERE seed = 2", "identity", f"run {PLANNED}: its spec and seed give "),
        ("UPDATE run SET seed = -1 WHERE seed = 2", "identity", f"run {PLANNED}: this version cannot read "),
        (
            "INSERT INTO metric VALUES (99, 'error_pct', 1.0), (98, 'error_pct', 1.0)",
            "orphans",
            "metric: 2 rows name a row of attempt that is not there",
        ),
        ("DELETE FROM environment", "orphans", "attempt: 2 rows name a row of environment that is not there"),
        (
            "UPDATE attempt SET state = 'finished' WHERE id = 2",
            "constraints",
            "attempt: 1 row breaks the check ck_attempt_state_known",
        ),
        (
            "UPDATE attempt SET started = '2026-13-01' WHERE id = 1",
            "values",
            "attempt 1: column started is not a time",
        ),
        ("UPDATE metric SET value = 'x' WHERE name = 'loss'", "values", "metric 1: its value is 'x'"),
        ("UPDATE attempt SET step = 'x' WHERE id = 2", "values", "attempt 2: its step is 'x'"),
        ("UPDATE suite SET title = CAST(X'FF' AS TEXT)", "values", "Could not decode to UTF-8 column "),
        ("DROP INDEX ix_attempt_state", "tables", "the index on attempt (state) is lacking"),
        ("DROP TABLE prediction", "tables", "table prediction is lacking"),
        ("ALTER TABLE suite DROP COLUMN title", "tables", "column suite.title is lacking"),
        ("UPDATE environment SET cpu = 'other'", "identity", "environment 1: its content gives "),
        ("UPDATE environment SET sha256 = 'x'", "identity", "environment 1: its content gives "),
        (
            "UPDATE environment SET settings = '{\"a\": NaN}'",
            "identity",
            "environment 1: has no hash: Out of range float",
        ),
        ("UPDATE complexity SET macs = 5, parameters = 7", "identity", "its content gives "),
        ("INSERT INTO prediction VALUES (1, X'00')", "identity", "has 1 predictions, its spec 360 images"),
        (
            "UPDATE attempt SET error = 'e' WHERE id = 1",
            "attempts",
            f"run {DONE}, attempt 1: has an error, and is done",
        ),
        (
            "UPDATE attempt SET owner_pid = 1 WHERE id = 1",
            "attempts",
            f"run {DONE}, attempt 1: has an owner, and is done",
        ),
        (
            "INSERT INTO prediction VALUES (2, X'00')",
            "attempts",
            f"run {STOPPED}, attempt 1: has predictions, and is interrupted",
        ),
        (
            f"INSERT INTO probe VALUES (2, 'r', '{{\"a\": 1}}', '{64 * 'c'}', '2026-01-01T00:00:00.000000+00:00', 1)",
            "attempts",
            f"run {STOPPED}, attempt 1: has measurements of its weights, and is interrupted",
        ),
        (
            "DELETE FROM metric_point WHERE name != 'train_loss'",
            "attempts",
            f"run {DONE}, attempt 1: is done without a point of test_error_pct, test_loss",
        ),
        (
            "UPDATE attempt SET updated = '2026-01-01T00:00:00.000000+02:00' WHERE id = 2",
            "values",
            "attempt 2: column updated is not a time in UTC",
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON metric BEGIN SELECT raise(IGNORE);END",
            "tables",
            "trigger t on metric acts when rows are written",
        ),
        (
            "DROP INDEX ix_attempt_uid; CREATE UNIQUE INDEX ix_attempt_uid ON attempt (uid) WHERE 0",
            "tables",
            "the unique index on attempt (uid) is lacking",
        ),
        ("UPDATE artefact SET size = 3", "files", ".safetensors: has 16 bytes, recorded are 3"),
        ("UPDATE artefact SET sha256 = 'abc'", "files", ".safetensors: its content is not what was recorded "),
        ("UPDATE artefact SET path = '../secret'", "files", "../secret: leaves the folder of results"),
        ("UPDATE artefact SET path = '/etc/passwd'", "files", "/etc/passwd: leaves the folder of results"),
        ("UPDATE artefact SET path = 'artefacts/x'", "files", "artefacts/x: is recorded, and is not there"),
    ],
)
def test_a_fault_is_found_and_named(results: Path, statement: str, about: str, text: str) -> None:
    change(results, *statement.split("; "))
    before = content(results)

    faults = [finding for finding in found(results) if finding.level == "fault"]

    assert [finding.text for finding in faults if finding.about == about and text in finding.text] != [], faults
    assert all("\n" not in finding.text for finding in faults)
    assert content(results) == before


# What a flipped bit or a careless hand leaves: every check meets it, and none may break off the others.
DAMAGED = [
    ("PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = replace(sql, 'fingerprint VARCHAR(64) NOT NULL', "
     "'fingerprint VARCHAR(64)') WHERE name = 'attempt'", "UPDATE attempt SET fingerprint = NULL WHERE id = 1"),
    ("UPDATE attempt SET uid = CAST(uid AS BLOB)",),
    ("UPDATE attempt SET fingerprint = CAST(fingerprint AS BLOB)",),
    ("UPDATE artefact SET path = X'00'",),
    ("UPDATE artefact SET path = char(0) || char(27)",),
    ("UPDATE cell SET cell_id = X'00'",),
    ("UPDATE suite SET text = X'00'",),
    ("UPDATE metric SET name = X'00' WHERE name = 'loss'",),
    ("UPDATE metric_point SET name = X'00' WHERE name = 'test_loss'",),
    ("UPDATE metric_point SET step = 'x' WHERE name = 'test_loss'",),
    ("UPDATE environment SET versions = '[]', settings = '{\"a\": NaN}'",),
    ("UPDATE cell SET spec = '" + 2000 * "[" + "'",),
    ("UPDATE attempt SET updated = 5, started = ''",),
]  # fmt: skip


def damage(results: Path, *statements: str) -> None:
    """Write past everything that a database has against it; SQLite reads a definition again when it is opened."""
    for statement in statements:
        with closing(sqlite3.connect(results / "ranbench.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(statement)


@pytest.mark.parametrize("statements", DAMAGED)
def test_whatever_a_record_holds_an_audit_comes_to_its_end(results: Path, statements: tuple[str, ...]) -> None:
    damage(results, *statements, "DELETE FROM suite_protocol", "UPDATE suite SET sha256 = 'x'")

    findings = found(results)

    assert [finding for finding in findings if finding.level == "fault" and finding.text.startswith("suite ")] != []
    assert len([finding for finding in findings if finding.level == "fault"]) > 1
    assert all(finding.text.isprintable() for finding in findings)


@pytest.mark.parametrize("statements", DAMAGED)
def test_an_export_of_a_damaged_record_is_one_line(results: Path, statements: tuple[str, ...]) -> None:
    damage(results, *statements)

    try:
        with Store.open(f"sqlite:///{results}/ranbench.db") as store:
            store.export(results / "x.zip")
    except StoreError as refused:
        assert "\n" not in str(refused)
    else:
        assert "artefact" in statements[0]  # a path outside of the folder is left out


def test_what_goes_wrong_in_a_check_is_a_fault_and_keeps_what_was_found(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_connection: object, results: Path) -> Iterator[Finding]:
        yield Finding("note", "files", "found before")
        raise KeyError(str(results.name))

    monkeypatch.setattr("ranbench.store.audit.files", breaks)

    assert found(results) == [
        Finding("note", "files", "found before"),
        Finding("fault", "files", "could not be checked to its end: KeyError: 'results'"),
    ]


def test_a_measurement_that_is_no_number_is_refused_in_one_line(results: Path) -> None:
    moment = "2026-01-01T00:00:00.000000+00:00"
    change(results, f"INSERT INTO probe VALUES (1, 'responses', '{{\"a\": \"x\"}}', '{64 * 'c'}', '{moment}', 1)")

    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        with pytest.raises(StoreError, match="attempt 1, its responses: its 'a' is 'x'; see 'ranbench db check'"):
            store.runs()
        with pytest.raises(StoreError, match=r"numbers\.a.*: Input should be a valid number"):
            store.export(results / "x.zip")


MOMENT = "2026-01-01T00:00:00.000000+00:00"

# What every table takes and no bundle does.
NOT_EXPORTED = [
    ("UPDATE attempt SET uid = 'not-hex!' WHERE id = 1", f"run {DONE}, attempt 1: uid: "),
    ("UPDATE attempt SET code_id = 'short'", f"run {DONE}, attempt 1: code_id: is not a sha256 in hexadecimal"),
    ("UPDATE attempt SET seconds = -1", f"run {DONE}, attempt 1: seconds: "),
    ("UPDATE attempt SET seconds = 9e999", f"run {DONE}, attempt 1: seconds"),
    ("UPDATE attempt SET started = '2026-01-01T00:00:00.000000+02:00'", f"run {DONE}, attempt 1: started: is not"),
    ("UPDATE environment SET cpu = 'a' || char(9)", ": cpu: holds a control character"),
    ("UPDATE environment SET \"commit\" = 'a' || char(10)", ": commit: holds a control character"),
    ("UPDATE environment SET versions = '{\"torch\": 3}'", ": versions.torch: "),
    ("UPDATE suite SET name = char(27)", r"suite '\x1b', version e3b0c44298fc: name: holds a control character"),
    ("INSERT INTO metric VALUES (1, '', 1)", f"run {DONE}, attempt 1: metrics."),
    ("UPDATE artefact SET kind = char(10)", f"run {DONE}, attempt 1: artefacts.0.kind: holds a control character"),
    ("UPDATE complexity SET macs = -5", ": macs: "),
    (f"INSERT INTO probe VALUES (1, 'r', '{{}}', '{64 * 'c'}', '{MOMENT}', 1)", f"run {DONE}, attempt 1, its 'r': "),
    ("INSERT INTO metric_point VALUES (1, '', 1, 1)", f"run {DONE}, attempt 1, series '': name: "),
    ("INSERT INTO metric_point VALUES (1, 'lr', -5, 1)", f"run {DONE}, attempt 1, series 'lr': steps.0: "),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "text"), NOT_EXPORTED)
def test_what_an_export_refuses_an_audit_finds(results: Path, statement: str, text: str) -> None:
    change(results, statement)

    findings = found(results)

    with Store.open(f"sqlite:///{results}/ranbench.db") as store, pytest.raises(StoreError, match="cannot be exported"):
        store.export(results / "x.zip")
    faults = [finding.text for finding in findings if (finding.level, finding.about) == ("fault", "export")]
    assert [fault for fault in faults if text in fault] == faults != [], findings


def test_every_record_that_an_export_refuses_is_named_and_no_record_only_for_the_lack_of_another(results: Path) -> None:
    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        store.fail(claimed(store, spec=run(2), code_id="c" * 64), "me", Reason.ERROR, "")
    change(results, "UPDATE attempt SET uid = 'x' || id", "UPDATE environment SET cpu = char(9)")

    faults = [finding.text for finding in found(results) if finding.about == "export"]

    assert [fault.partition(": ")[2].partition(":")[0] for fault in faults] == ["cpu", "uid", "uid"]


@pytest.mark.parametrize(
    ("heading", "told"),
    [
        (("s", "S"), []),
        (None, []),
        (("t", "S"), [f"suite 's', version {EMPTY[:12]}: its name is 's', in its text 't'"]),
        (("s", "T\n"), [f"suite 's', version {EMPTY[:12]}: its title is 'S', in its text 'T\\n'"]),
    ],
)
def test_a_suite_is_called_as_its_text_says(results: Path, heading: tuple[str, str] | None, told: list[str]) -> None:
    findings = audit(f"sqlite:///{results}/ranbench.db", results, alive, lambda _text: heading)

    assert [finding.text for finding in findings] == told


def test_a_done_attempt_that_stopped_early_is_a_fault(results: Path) -> None:
    change(results, "UPDATE attempt SET step = 50 WHERE state = 'done'")

    texts = [finding.text for finding in found(results)]

    assert texts == [
        f"run {DONE}, attempt 1: is done at iteration 50 of 100",
        f"run {DONE}, attempt 1: has a point of train_loss at 100, beyond its step 50",
    ]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            "purpose IN ('result', 'check')",
            "purpose IN ('result', 'check', 'fun')",
            "the check ck_attempt_purpose_known on attempt says \"purpose IN ('result', 'check', 'fun')\", expected ",
        ),
        (
            "CONSTRAINT ck_attempt_counts CHECK (number >= 1 AND step >= 0 AND iterations >= 1 AND resumes >= 0), \n\t",
            "",
            "the check ck_attempt_counts on attempt is lacking",
        ),
        ("number INTEGER NOT NULL", "number INTEGER", "column attempt.number takes NULL, which it must not"),
        ("error TEXT", "error BLOB", "column attempt.error has type BLOB, expected TEXT"),
        (
            "CONSTRAINT uq_attempt_fingerprint_number UNIQUE (fingerprint, number)",
            "CHECK (1)",
            "attempt (fingerprint, number) is not unique in the database",
        ),
        (
            "REFERENCES environment (id)",
            "REFERENCES suite (id)",
            "attempt.environment_id does not refer to environment.id",
        ),
        (
            "CONSTRAINT pk_attempt PRIMARY KEY (id)",
            "CONSTRAINT pk_attempt PRIMARY KEY (number)",
            "the primary key of attempt is (number), expected (id)",
        ),
    ],
)
def test_a_table_that_was_made_in_another_way_is_a_fault(tmp_path: Path, old: str, new: str, text: str) -> None:
    """A table cannot be altered so; it is made anew, empty, from its changed definition."""
    folder = tmp_path / "results"
    Store.open(f"sqlite:///{folder}/ranbench.db").close()
    with closing(sqlite3.connect(folder / "ranbench.db")) as connection:
        (definition,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'attempt'").fetchone()
    assert old in definition
    indexes = ("CREATE INDEX a ON attempt (state)", "CREATE UNIQUE INDEX b ON attempt (uid)")
    change(folder, "DROP TABLE attempt", definition.replace(old, new), *indexes)

    faults = [finding.text for finding in found(folder) if finding.level == "fault"]

    assert [fault for fault in faults if text in fault] != [], faults


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("CREATE TABLE mine (x)", "table mine is none of ranbench's"),
        ("CREATE VIEW mine AS SELECT 1", "view mine is none of ranbench's"),
        ("CREATE INDEX mine ON attempt (started)", "index mine is none of ranbench's"),
        ("ALTER TABLE suite ADD COLUMN mine TEXT", "column suite.mine is none of ranbench's"),
        ("INSERT INTO cell SELECT 'abc', spec FROM cell", "cell abc: has no run"),
    ],
)
def test_what_a_user_has_added_is_a_note(results: Path, statement: str, text: str) -> None:
    change(results, statement)

    notes = [finding.text for finding in found(results) if finding.level == "note"]

    assert notes == [text]


def test_files_that_no_row_names_are_notes(results: Path) -> None:
    (results / "artefacts" / "old.safetensors").write_bytes(b"x")
    (results / "checkpoints" / f"{run(0).fingerprint[:16]}-1").mkdir()
    (results / "checkpoints" / "mine").mkdir()

    findings = found(results)

    assert {finding.level for finding in findings} == {"note"}
    assert [finding.text.removeprefix(f"{results}/") for finding in findings] == [
        "artefacts/old.safetensors: belongs to no attempt of this database, and can be deleted",
        f"checkpoints/{run(0).fingerprint[:16]}-1: are checkpoints of a done attempt, and can be deleted",
        "checkpoints/mine: belongs to no attempt of this database, and can be deleted "
        "unless another one keeps its results here",
    ]


def test_a_database_without_its_folder_of_artefacts_is_told_once(results: Path) -> None:
    (results / "artefacts").rename(results / "elsewhere")

    (finding,) = found(results)

    assert (finding.level, finding.text) == (
        "note",
        f"{results}/artefacts: is not there; 1 recorded file is not checked",
    )


def test_weights_that_a_bundle_came_without_are_told_once(results: Path) -> None:
    change(results, "UPDATE attempt SET bundle = 'b'")
    for file in (results / "artefacts").iterdir():
        file.unlink()

    (finding,) = found(results)

    assert finding.level == "note"
    assert finding.text == "1 recorded file is not here: bundles came without weights"


def test_an_older_database_is_not_upgraded_and_its_content_is_left_to_the_upgrade(results: Path) -> None:
    change(results, f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    before = content(results)

    (finding,) = found(results)

    assert finding.level == "note"
    assert finding.text.startswith(f"schema 0001 is older than {VERSION}")
    assert content(results) == before


def test_text_that_is_not_utf8_is_named_in_an_older_database_too(results: Path) -> None:
    change(
        results, f"UPDATE {VERSION_TABLE} SET version_num = '0001'", "UPDATE suite SET title = CAST(X'FF41' AS TEXT)"
    )

    damaged, version = found(results)

    text = r"suite: column title holds b'\xffA' once, which is not UTF-8; restore the database from a copy"
    assert (damaged.level, damaged.text) == ("fault", text)
    assert version.text == f"schema 0001 is older than {VERSION}, so the content was not checked"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no database there yet"),
        (b"", "no database there yet"),
        (b"%PDF-1.7\n" * 1000, "is not a SQLite database"),
    ],
    ids=["no file", "an empty file", "another file"],
)
def test_what_is_no_database_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "ranbench.db"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(StoreError, match=message) as refused:
        found(tmp_path)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6])
def test_a_truncated_file_is_told_in_one_line(results: Path, kept: float) -> None:
    path = results / "ranbench.db"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    with pytest.raises(StoreError, match="is damaged or truncated; restore it from a copy") as refused:
        found(results)

    assert "\n" not in str(refused.value)


def test_a_cut_inside_the_last_page_is_a_fault(results: Path) -> None:
    path = results / "ranbench.db"
    change(results, f"UPDATE suite SET text = '{20_000 * 'x'}'")  # the last page holds rows, not the tables themselves
    path.write_bytes(path.read_bytes()[:-100])

    texts = [finding.text for finding in found(results)]

    assert texts[0] == "the file is truncated, 100 bytes are lacking; restore it from a copy"


def test_flipped_bytes_anywhere_are_found_or_harmless(results: Path) -> None:
    """Each page in turn is overwritten in its first bytes, where SQLite keeps its structure."""
    path = results / "ranbench.db"
    whole = path.read_bytes()
    unnoticed = []
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\xff" * 64 + whole[page * 4096 + 64 :])
        try:
            levels = [finding.level for finding in found(results)]
        except StoreError as refused:
            assert "\n" not in str(refused)
            continue
        if "fault" not in levels:
            unnoticed.append(page)

    assert unnoticed == []


def test_a_new_state_of_the_database_during_an_audit_is_not_seen(results: Path) -> None:
    """All checks see one state: a run that is closed between two of them is no run without its result."""

    def close_meanwhile(_owner: Owner, _heartbeat: datetime) -> bool:
        change(results, "UPDATE attempt SET state = 'done', owner_token = NULL, ended = started, step = 100")
        return True

    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        claimed(store, spec=run(2))

    findings = audit(f"sqlite:///{results}/ranbench.db", results, close_meanwhile)

    assert findings == []


def test_a_database_on_a_read_only_medium_is_checked_too(results: Path) -> None:
    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        store.runs()
    results.chmod(0o500)
    if os.access(results, os.W_OK):
        pytest.skip("root may write everywhere")

    try:
        assert found(results) == []
    finally:
        results.chmod(0o700)


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("UPDATE attempt SET started = '2026-13-01' WHERE id = 1", "a record: '2026-13-01' is not a time in UTC"),
        ("UPDATE attempt SET ended = 5 WHERE id = 1", "a record: '5' is not a time in UTC"),
        ("UPDATE attempt SET state = 'dome', ended = NULL WHERE id = 1", f"run {DONE}, attempt 1: its state is 'dome'"),
        ("UPDATE attempt SET purpose = 'x' WHERE id = 1", f"run {DONE}, attempt 1: its purpose is 'x'"),
        ("UPDATE attempt SET step = 'x' WHERE id = 1", "attempt 1: its step is 'x'"),
        ("UPDATE attempt SET error = CAST(X'FF' AS TEXT) WHERE id = 1", "holds text that is not UTF-8"),
        ("UPDATE metric SET value = X'00' WHERE name = 'loss'", "metric 1: its value is b'\\x00'"),
        ("UPDATE environment SET versions = '[]'", "environment 1: its versions is []"),
        ("UPDATE environment SET versions = '{'", "a record that should be JSON is not: "),
        ("DELETE FROM environment", f"run {DONE}, attempt 1: names an environment that is not there"),
        ("UPDATE cell SET spec = '[]'", f"run {DONE}: its spec is []"),
        (
            "UPDATE cell SET spec = replace(spec, '\"batch\"', '\"batcj\"')",
            f"cell {CELL}: its spec has no protocol.batch that can be read",
        ),
        ("ALTER TABLE attempt DROP COLUMN error", "no such column: attempt.error"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line_with_its_name(results: Path, statement: str, text: str) -> None:
    change(results, statement)

    with pytest.raises(StoreError) as caught, Store.open(f"sqlite:///{results}/ranbench.db") as store:
        store.runs()

    assert text in str(caught.value)
    assert str(caught.value).startswith(f"sqlite:///{results}/ranbench.db: ")
    assert "\n" not in str(caught.value)
    assert [finding for finding in found(results) if finding.level == "fault"] != []


def test_a_point_that_is_no_number_and_a_done_attempt_without_its_end_are_refused(results: Path) -> None:
    change(results, "UPDATE metric_point SET value = 'x' WHERE attempt_id = 1 AND name = 'train_loss'")
    change(results, "UPDATE attempt SET ended = NULL WHERE id = 1", "DELETE FROM suite_run", "DELETE FROM suite")

    with Store.open(f"sqlite:///{results}/ranbench.db") as store:
        with pytest.raises(StoreError, match="attempt 1: its series 'train_loss' has a point that is no number"):
            store.points([1])
        with pytest.raises(StoreError, match=f"run {DONE}, attempt 1: is done and has no end"):
            store.export(results / "x.zip")


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_is_harmless_or_refused(results: Path, seed: int) -> None:
    url, copy = f"sqlite:///{results}/copy.db", results / "copy.db"
    with closing(sqlite3.connect(results / "ranbench.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
    whole, chosen = copy.read_bytes(), random.Random(seed)
    places = [place for place, byte in enumerate(whole) if byte]

    for _ in range(20):
        place = chosen.choice(places)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chosen.randrange(8)
        for rest in results.glob("copy.db*"):
            rest.unlink()
        copy.write_bytes(flipped)
        for look in (Store.runs, Store.suites, lambda store: store.export(results / "x.zip")):
            with contextlib.suppress(StoreError, NothingMeasured), Store.open(url, create=False) as store:
                look(store)
        with contextlib.suppress(StoreError):
            audit(url, results, alive)
