"""Bundles: what goes into one, what comes out of it again, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import sqlite3
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from test_store import HERE as PLACE
from test_store import run

from ranbench.errors import MergeConflict, NothingMeasured, StoreError, UsageError
from ranbench.places import without_paths
from ranbench.records import Complexity, MetricPoint, Owner, Predictions, Probe, Reason
from ranbench.store import Claimed, Store
from ranbench.store import bundle as bundles
from ranbench.store.bundle import MANIFEST, VERSION, line, opened
from ranbench.store.writing import number_or_null

HERE = dataclasses.replace(
    PLACE,
    patch="+ a line that is private\n",
    host="hostname-of-mine",
    user="username-of-mine",
    command="ranbench run table3 --db sqlite:////folder-of-mine/x.db",
    settings={"deterministic_algorithms": False},
)
FINAL = {"error_pct": 5.0, "loss": 0.25, "best_error_pct": 4.5, "best_iteration": 50.0}
ODD = {**FINAL, "error_pct": 0.1 + 0.2, "loss": math.inf, "energy_joules": math.nan, "train_seconds": 5e-324}


def begin(store: Store, seed: int, **changes: Any) -> int:
    asked = {"code_id": "c" * 64, "environment": HERE, "is_alive": lambda *_: True, **changes}
    answer = store.claim(run(seed), owner=Owner("me", "hostname-of-mine", 4, 12.25), **asked)
    assert isinstance(answer, Claimed)
    return answer.attempt_id


def train(store: Store, seed: int, metrics: dict[str, float] | None = None, **changes: Any) -> int:
    """Leave a done attempt with everything that an attempt can have."""
    attempt = begin(store, seed, **changes)
    store.append(attempt, "me", [MetricPoint("train_loss", step, 1 / step) for step in (10, 20)], 100)
    store.append(attempt, "me", [MetricPoint("lr", 10, -math.inf), MetricPoint("lr", 20, math.nan)], 100)
    store.record_complexity("5" * 64, Complexity(10, 20, {"stem": {"macs": 20}}, {}, "words", code_id="c" * 64))
    store.record_artefact(attempt, "me", kind="weights", path=f"artefacts/{seed}.x", sha256="1" * 64, size=1)
    store.finish(attempt, "me", metrics or ODD, Predictions(b"\0\1\xff"), complexity_key="5" * 64)
    return attempt


def record(store: Store, *seeds: int, name: str = "table9", text: str = "name: table9") -> None:
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    protocols = {"smoke": "of: reference", "short": f"batch: {sum(seeds)}"}
    store.record_suite(name, "A table", text, sha256, [run(seed) for seed in seeds], protocols)


Opened = Callable[[str], Store]


@pytest.fixture
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Opened:
    """Opens databases by a name; closed at the end."""

    def opened(name: str) -> Store:
        store = Store.open(f"sqlite:///{tmp_path}/{name}/ranbench.db")
        request.addfinalizer(store.close)
        return store

    return opened


@pytest.fixture
def bundle(database: Opened, tmp_path: Path) -> Path:
    """A bundle with a done and a failed run."""
    store, path = database("first"), tmp_path / "first.zip"
    record(store, 0, 1)
    train(store, 0)
    store.fail(begin(store, 1), "me", Reason.ERROR, 'File "/home/me/net.py", line 3\nno file /data/of mine/x.bin here')
    store.export(path)
    return path


def test_a_run_comes_out_of_a_bundle_as_it_went_in(bundle: Path, database: Opened) -> None:
    first, second = database("first"), database("second")

    merged = second.merge(bundle)

    assert (merged.runs, merged.added, merged.known) == (2, 2, 0)
    for ours in first.runs(suite="table9"):
        (theirs,) = second.runs([ours.fingerprint], suite="table9")
        (one,), (other,) = ours.attempts, theirs.attempts
        private = dataclasses.replace(HERE, host="", user="", command="", patch=None)
        expected = dataclasses.replace(
            one, id=other.id, environment=private, bundle=merged.bundle, updated=one.ended, error=other.error
        )
        assert repr(other) == repr(expected)  # not-a-number is equal to nothing else
        assert (theirs.cell_id, theirs.spec) == (ours.cell_id, ours.spec)
        assert second.suites() == first.suites()
        again = {(one.id, name): points for (_, name), points in second.points([other.id]).items()}
        assert repr(again) == repr(first.points([one.id]))
        assert second.predictions(other.id) == first.predictions(one.id)
        for mine, its in zip(first.artefacts([one.id]), second.artefacts([other.id]), strict=True):
            assert its == dataclasses.replace(mine, attempt_id=other.id)
    assert second.complexity("5" * 64) == first.complexity("5" * 64)
    assert second.suites() == first.suites()


def test_merging_again_changes_nothing(bundle: Path, database: Opened, tmp_path: Path) -> None:
    store = database("second")
    store.merge(bundle)

    again, into_itself = store.merge(bundle), database("first").merge(bundle)

    assert (again.added, again.known) == (into_itself.added, into_itself.known) == (0, 2)
    store.export(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_whatever_the_order_of_merging_the_export_is_the_same_to_the_byte(database: Opened, tmp_path: Path) -> None:
    parts = []
    for name, seeds in (("a", (0, 1)), ("b", (1, 2)), ("c", (0, 3))):
        store = database(name)
        record(store, *seeds)
        for seed in seeds:  # runs that two of them have trained are there twice
            train(store, seed, {**FINAL, "error_pct": float(seed)})
        parts.append(tmp_path / f"{name}.zip")
        store.export(parts[-1])

    whole = set()
    counted = set()
    for order in itertools.permutations(parts):
        store = database("-".join(path.stem for path in order))
        for path in order:
            store.merge(path)
        out = tmp_path / "out.zip"
        store.export(out)
        whole.add(out.read_bytes())
        counted.add(tuple(sorted((found.fingerprint, found.counted.uid) for found in store.runs() if found.counted)))

    assert len(whole) == 1
    assert len(counted) == 1
    (suite,) = store.suites()
    assert suite.protocols == {"smoke": "of: reference", "short": "batch: 3"}  # of c, which was recorded last
    assert sum(len(found.attempts) for found in store.runs()) == 6


def test_of_two_titles_of_one_text_the_same_one_stays_whichever_is_merged_first(
    database: Opened, tmp_path: Path
) -> None:
    text = "name: table9"
    for title in ("A table", "Another title"):
        store = database(title)
        store.record_suite("table9", title, text, hashlib.sha256(text.encode()).hexdigest(), [run(0)])
        store.fail(begin(store, 0), "me", Reason.ERROR, "no")
        store.export(tmp_path / f"{title}.zip")
    exports = []

    for order in (("A table", "Another title"), ("Another title", "A table")):
        merged = database("-".join(order))
        for title in order:
            merged.merge(tmp_path / f"{title}.zip")
        merged.export(tmp_path / "out.zip")
        exports.append((tmp_path / "out.zip").read_bytes())

    assert exports[0] == exports[1]
    assert [suite.title for suite in merged.suites()] == ["A table"]


def test_a_bundle_holds_no_host_user_path_command_or_patch(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        whole = "".join(archive.read(name).decode() for name in archive.namelist())

    for secret in ("of-mine", "private", "/home", "/data", "owner"):
        assert secret not in whole
    assert "net.py" in whole


def test_a_patch_is_added_on_demand_and_kept_whenever_it_comes(database: Opened, tmp_path: Path) -> None:
    store, plain, patched = database("first"), tmp_path / "plain.zip", tmp_path / "patched.zip"
    train(store, 0)
    store.export(plain)
    store.export(patched, with_patch=True)

    found = []
    for order in ((plain, patched), (patched, plain)):
        other = database(order[0].stem)
        for path in order:
            other.merge(path)
        other.export(tmp_path / "out.zip", with_patch=True)
        found.append((tmp_path / "out.zip").read_bytes())

    assert found == [patched.read_bytes()] * 2


def test_secrets_that_were_planted_are_in_no_bundle(database: Opened, tmp_path: Path) -> None:
    store, path = database("first"), tmp_path / "out.zip"
    token, password = "ghp_" + "a1b2c3d4" * 4, "hunter2hunter2"
    where = dataclasses.replace(
        HERE,
        patch=f"+TOKEN = '{token}'\n",
        command=f"ranbench run x --db postgresql://me:{password}@host/db --token {token}",
    )
    train(store, 0, environment=where)
    store.fail(
        begin(store, 1, environment=where), "me", Reason.ERROR, f"cannot reach postgresql://me:{password}@host/db"
    )

    store.export(path, with_patch=True)

    with zipfile.ZipFile(path) as archive:
        whole = "".join(archive.read(name).decode() for name in archive.namelist())
    kept = Path(store.url.removeprefix("sqlite:///"))
    stored = b"".join(file.read_bytes() for file in kept.parent.iterdir())
    assert "+TOKEN" in whole
    for secret in (token, password):
        assert secret not in whole
    assert token.encode() not in stored


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("error:/home/alice/x", "error:..."),
        ("/x:/home/alice/lib", "...:..."),
        ("No such file: /home/alice", "No such file: ..."),
        ("/home/alice.smith: not found", "...: not found"),
        ("file:///home/alice/x", "..."),
        ("C:/Users/alice/x.txt", "x.txt"),
        ("C:\\Users\\alice\\x", "..."),
        ("\\\\server\\share\\alice", "..."),
        ("cc -I/home/alice/inc a.c", "cc -I... a.c"),
        ("<</home/alice/x>>", "<<...>>"),
        ("//home/alice/x.py", "x.py"),
        ("~alice/x", "..."),
        ("ssh://alice@host/home/alice/x", "ssh://..."),
        ("'/home/al ice/x y.txt' and '/home/al ice/x'", "'x y.txt' and '...'"),
        ('File "/home/alice/lib/x.py", line 3', 'File "x.py", line 3'),
        ("(/home/alice/libcuda.so.1)", "(libcuda.so.1)"),
        ("https://example.org/home/x and a/b, 1 / 2, n/a", "https://example.org/home/x and a/b, 1 / 2, n/a"),
        ("--db postgresql://me:pw@host/db", "--db postgresql://..."),
    ],
)
def test_of_a_path_only_the_name_of_its_file_is_kept(text: str, expected: str) -> None:
    assert without_paths(text) == expected
    assert without_paths(expected) == expected


def test_only_closed_attempts_are_exported(database: Opened, tmp_path: Path) -> None:
    store = database("first")
    train(store, 0)
    begin(store, 1)
    store.interrupt(begin(store, 2), "me")
    store.export(tmp_path / "out.zip")

    with Store.of_bundle(tmp_path / "out.zip") as read:
        assert [found.seed for found in read.runs()] == [0]


def test_runs_of_some_suites_are_exported_with_those_suites(database: Opened, tmp_path: Path) -> None:
    store = database("first")
    record(store, 0, 1)
    record(store, 1, 2, name="other", text="name: other")
    for seed in range(3):
        train(store, seed)

    store.export(tmp_path / "out.zip", suites=["other"])

    with Store.of_bundle(tmp_path / "out.zip") as read:
        assert {found.seed: found.suites for found in read.runs()} == {1: ("other",), 2: ("other",)}
    with pytest.raises(UsageError, match=r"suite 'othr': .*did you mean 'other'.*there is: other, table9"):
        store.export(tmp_path / "no.zip", suites=["othr"])
    assert not (tmp_path / "no.zip").exists()


def test_nothing_to_export_is_refused(database: Opened, tmp_path: Path) -> None:
    with pytest.raises(NothingMeasured, match="there is no done or failed run to export"):
        database("first").export(tmp_path / "out.zip")


def test_weights_travel_on_demand_and_only_whole(database: Opened, tmp_path: Path) -> None:
    store, out, weights = database("first"), tmp_path / "out.zip", b"weights" * 1000
    path = "artefacts/some.safetensors"
    attempt = begin(store, 0)
    sha256 = hashlib.sha256(weights).hexdigest()
    store.record_artefact(attempt, "me", kind="weights", path=path, sha256=sha256, size=len(weights))
    store.append(attempt, "me", [], 100)
    store.finish(attempt, "me", FINAL)
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "artefacts").mkdir(parents=True)
    (here / path).write_bytes(weights)

    store.export(out, weights=here)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        database("second").merge(out, there)

    assert (there / path).read_bytes() == weights
    (here / path).write_bytes(weights[:-1])
    with pytest.raises(StoreError, match=r"some\.safetensors: does not have the hash that was recorded"):
        store.export(tmp_path / "no.zip", weights=here)
    (here / path).unlink()
    with pytest.raises(StoreError, match=r"some\.safetensors: cannot be read"):
        store.export(tmp_path / "no.zip", weights=here)
    assert sorted(file.name for file in tmp_path.glob("*.zip*")) == ["out.zip"]


Members = dict[str, bytes]
PROTOCOL = {
    "name": "short",
    "sha256": hashlib.sha256(b"batch: 1").hexdigest(),
    "text": "batch: 1",
    "used": "2026-01-01T00:00:00+00:00",
}


def altered(bundle: Path, change: Callable[[Members], None], *, honest: bool) -> Path:
    """Write the bundle anew with a change; an honest one has a manifest that says what is in it."""
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if honest:
        said = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in members.items()
            if name != MANIFEST
        }
        manifest = json.loads(members[MANIFEST])
        members[MANIFEST] = line({**manifest, "members": said})
    path = bundle.with_name("altered.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def rewrite(part: str, **changes: Any) -> Callable[[Members], None]:
    """Change fields of the first record of a part."""

    def change(members: Members) -> None:
        name = f"{part}.jsonl"
        first, *rest = members[name].splitlines(keepends=True)
        members[name] = line({**json.loads(first), **changes}) + b"".join(rest)

    return change


def put(name: str, content: bytes) -> Callable[[Members], None]:
    return lambda members: members.update({name: content})


def twice(part: str) -> Callable[[Members], None]:
    """Let the first record of a part stand there again."""

    def change(members: Members) -> None:
        first, *rest = members[f"{part}.jsonl"].splitlines(keepends=True)
        members[f"{part}.jsonl"] = b"".join([first, first, *rest])

    return change


def spelled(text: bytes, other: bytes) -> Callable[[Members], None]:
    """Write a text of the suites in another way."""

    def change(members: Members) -> None:
        assert text in members["suites.jsonl"]
        members["suites.jsonl"] = members["suites.jsonl"].replace(text, other, 1)

    return change


DONE = {"state": "done", "reason": None, "metrics": FINAL}
FILE = {"kind": "w", "path": "artefacts/a", "sha256": "1" * 64, "size": 1}


def refuses(database: Opened, path: Path, told: str) -> None:
    """Check that a bundle is refused in one line that names it, and that nothing of it is kept."""
    store = database("refusing")

    with pytest.raises(StoreError, match=told) as caught:
        store.merge(path)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert store.runs() == []
    assert store.suites() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            rewrite("cells", spec={}),
            "cells.jsonl:1: does not hold: this version cannot read its stored spec: model: Field required; nothing",
        ),
        (
            rewrite("runs", seed=7),
            "runs.jsonl:1: does not hold: its fingerprint or cell_id is not the hash of its spec",
        ),
        (rewrite("runs", seed="7"), "runs.jsonl:1: does not hold: seed: Input should be a valid integer"),
        (rewrite("runs", cell_id="a" * 64), "runs.jsonl:1: does not hold: its cell is not in the bundle"),
        (rewrite("suites", text="name: other"), "suites.jsonl:1: does not hold: sha256 is not the hash of its text"),
        (rewrite("suites", runs=["a" * 64]), "suites.jsonl:1: does not hold: names a run that is not in the bundle"),
        (rewrite("suites", used="2026-01-01"), "suites.jsonl:1: does not hold: used: .*has no time zone"),
        (rewrite("environments", cores=3), "environments.jsonl:1: does not hold: key is not the hash of its content"),
        (rewrite("complexity", macs=3), "complexity.jsonl:1: does not hold: key is not the hash of its content"),
        (rewrite("attempts", state="running"), "attempts.jsonl:1: does not hold: state: Input should be 'done' or"),
        (rewrite("attempts", run="a" * 64), "attempts.jsonl:1: does not hold: its run or its environment is not in"),
        (rewrite("attempts", state="done", reason=None, metrics={}), "attempts.jsonl:1: .*is done without error_pct"),
        (rewrite("attempts", state="failed", reason=None), "attempts.jsonl:1: .*is failed with the reason None"),
        (rewrite("attempts", metrics={"error_pct": "low"}), "attempts.jsonl:1: does not hold: metrics.error_pct"),
        (rewrite("attempts", predictions="?"), "attempts.jsonl:1: does not hold: "),
        (rewrite("attempts", step=101), "attempts.jsonl:1: does not hold: is at iteration 101 of 100"),
        (rewrite("attempts", extra=1), "attempts.jsonl:1: does not hold: extra: Extra inputs are not permitted"),
        (
            rewrite("attempts", artefacts=[{"kind": "w", "path": "artefacts/../../x", "sha256": "1" * 64, "size": 1}]),
            "attempts.jsonl:1: does not hold: artefacts.0.path: .*is not a file of the folder of artefacts",
        ),
        (
            rewrite("attempts", artefacts=[{"kind": "w", "path": "/etc/passwd", "sha256": "1" * 64, "size": 1}]),
            "attempts.jsonl:1: does not hold: artefacts.0.path: .*is not a file of the folder of artefacts",
        ),
        (rewrite("series", attempt="unknown"), "series.jsonl:1: does not hold: its attempt is not in the bundle"),
        (rewrite("series", steps=[20, 10]), "series.jsonl:1: does not hold: its steps do not ascend"),
        (rewrite("series", steps=[10, 101]), "series.jsonl:1: does not hold: has a point at 101, beyond the step 100"),
        (rewrite("series", steps=[], values=[]), "series.jsonl:1: does not hold: has no point"),
        (rewrite("series", values=[10**400, 1.0]), "series.jsonl:1: does not hold: values.0: is a number out of range"),
        (rewrite("attempts", seconds=10**400), "attempts.jsonl:1: does not hold: seconds: is a number out of range"),
        (rewrite("attempts", started="0001-01-01T00:00:00+23:59"), "attempts.jsonl:1: .*: started: is out of range"),
        (rewrite("attempts", ended="2026-01-01T02:00:00+02:00"), "attempts.jsonl:1: .*: ended: is not in UTC"),
        (rewrite("attempts", ended="2026-01-01T02:00:00Z"), "attempts.jsonl:1: .*: ended: is not in UTC"),
        (rewrite("attempts", ended="2026-01-01T02:00:00.000000+00:00"), "attempts.jsonl:1: .*: ended: is not in UTC"),
        (
            rewrite("attempts", state="failed", reason="error", metrics={}, predictions=None, iterations=99, step=0),
            "attempts.jsonl:1: .*: is of 99 iterations, its spec of 100",
        ),
        (rewrite("attempts", predictions="AAB="), "attempts.jsonl:1: .*: is not base64 in its canonical form"),
        (rewrite("attempts", code_id="me"), "attempts.jsonl:1: .*: code_id: is not a sha256 in hexadecimal"),
        (rewrite("attempts", resumes=2**31), "attempts.jsonl:1: .*: resumes: Input should be less than"),
        (rewrite("attempts", **DONE, step=99), "attempts.jsonl:1: .*: is done at iteration 99 of 100"),
        (
            rewrite("attempts", **{**DONE, "metrics": {**FINAL, "error_pct": None}}),
            "attempts.jsonl:1: .* done without error",
        ),
        (
            rewrite("attempts", state="failed", reason="error", metrics=FINAL),
            "attempts.jsonl:1: .*: has a result, and is failed",
        ),
        (rewrite("attempts", artefacts=[FILE, FILE]), "attempts.jsonl:1: .*: its artefacts do not ascend"),
        (rewrite("suites", name="a\x1b[31m"), "suites.jsonl:1: does not hold: name: holds a control character"),
        (rewrite("suites", title="a\0"), "suites.jsonl:1: does not hold: title: holds a NUL"),
        (
            rewrite("suites", protocols=[PROTOCOL, PROTOCOL]),
            "suites.jsonl:1: does not hold: .*its protocols do not ascend",
        ),
        (
            rewrite("suites", protocols=[{**PROTOCOL, "text": "b"}]),
            r"suites.jsonl:1: does not hold: protocols.0: .*sha256 is not the hash of its text",
        ),
        (
            rewrite("suites", protocols=[{**PROTOCOL, "name": "../x\n"}]),
            r"suites.jsonl:1: does not hold: protocols.0.name: .*holds a control character",
        ),
        (rewrite("environments", cpu="a\u202e"), "environments.jsonl:1: .*: cpu: holds a control character"),
        (rewrite("environments", settings={"a": ["\x07"]}), "environments.jsonl:1: .*: settings: holds a control"),
        (twice("attempts"), "attempts.jsonl:2: does not hold: stands twice"),
        (twice("series"), "series.jsonl:2: does not hold: stands twice"),
        (spelled(b'"title":"A', b'"title":"\\ud800'), "suites.jsonl:1: is not in canonical form"),
        (spelled(b'"name":', b'"name": '), "suites.jsonl:1: is not in canonical form"),
        (spelled(b'"title":"A table"', b'"title":NaN'), "suites.jsonl:1: is not JSON: NaN is no number of JSON"),
        (put("runs.jsonl", b"[" * 100_000), "runs.jsonl:1: is not JSON: maximum recursion"),
        (put("artefacts/x", b"evil"), "'artefacts/x' is not a file that an attempt of the bundle names"),
        (put("artefacts/0.x", b"evil"), "'artefacts/0.x' is not a file that an attempt of the bundle names"),
        (rewrite("series", steps=[10]), "series.jsonl:1: does not hold: has 1 steps and 2 values"),
        (put("runs.jsonl", b"{"), "runs.jsonl:1: is not JSON"),
        (put("runs.jsonl", b"[]\n"), "runs.jsonl:1: is no JSON object"),
        (put("artefacts/../../x", b""), r"names the file 'artefacts/../../x'; a bundle holds artefacts/NAME"),
        (put("/etc/x", b""), r"names the file '/etc/x'; a bundle holds artefacts/NAME"),
        (put("artefacts/a/b", b""), r"names the file 'artefacts/a/b'; a bundle holds artefacts/NAME"),
        (put("artefacts\\..\\x", b""), "names the file .*; a bundle holds artefacts/NAME"),
        (lambda members: members.pop("series.jsonl"), "its manifest lacks series.jsonl; it is not a whole bundle"),
    ],
)
def test_a_bundle_whose_records_do_not_hold_is_refused_whole(
    change: Callable[[Members], None], told: str, bundle: Path, database: Opened
) -> None:
    refuses(database, altered(bundle, change, honest=True), told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rewrite("runs", seed=7), "'runs.jsonl' does not have the hash that the manifest says"),
        (put("series.jsonl", b""), "'series.jsonl' is not as long as the manifest says"),
        (put("artefacts/x", b""), "holds 'artefacts/x', which its manifest does not name"),
        (lambda members: members.pop("series.jsonl"), "lacks 'series.jsonl', which its manifest names"),
        (lambda members: members.pop(MANIFEST), r"is not a bundle of ranbench \(it has no manifest.json\)"),
        (put(MANIFEST, b"{}"), "is not a bundle of ranbench: its manifest.json does not hold"),
        (put(MANIFEST, b"\xff"), "is not a bundle of ranbench: its manifest.json does not hold"),
        (
            put(MANIFEST, line({"format": "ranbench bundle", "version": VERSION + 1, "members": {}})),
            f"is a bundle of version {VERSION + 1}, newer than {VERSION} of this ranbench; 'pip install --upgrade",
        ),
        *[
            (
                put(MANIFEST, b'{"format":"ranbench bundle","version":%s,"members":{}}' % version),
                "is not a bundle of ranbench: its manifest.json does not hold: .* (is not a whole|is no) number",
            )
            for version in (b"0", b"1.9", b"true", b'"1"', b"Infinity", b"1e400")
        ],
        (
            put(MANIFEST, b'{"format":"ranbench bundle","version":1,"members":{"a":{"sha256":"","bytes":1e400}}}'),
            "its manifest.json does not hold: 'inf' is not a whole number from 0",
        ),
        (put(MANIFEST, b"[" * 100_000), "its manifest.json does not hold: maximum recursion"),
    ],
)
def test_a_bundle_that_is_not_what_its_manifest_says_is_refused(
    change: Callable[[Members], None], told: str, bundle: Path, database: Opened
) -> None:
    refuses(database, altered(bundle, change, honest=False), told)


def test_a_truncated_bundle_is_refused_wherever_it_ends(bundle: Path, database: Opened) -> None:
    content, path = bundle.read_bytes(), bundle.with_name("cut.zip")

    for end in range(0, len(content), len(content) // 20):
        path.write_bytes(content[:end])
        refuses(database, path, "is not a bundle, or is damaged")


def test_a_flipped_byte_is_refused_or_changes_nothing(bundle: Path, database: Opened) -> None:
    content, path = bundle.read_bytes(), bundle.with_name("flipped.zip")
    whole = repr(database("first").export(bundle.with_name("same.zip")))

    for number, place in enumerate(range(0, len(content), len(content) // 60)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        store = database(f"flipped-{number % 2}")
        try:
            with Store.of_bundle(path) as read:
                found = repr(read.export(bundle.with_name("same.zip")))
        except StoreError as error:
            assert str(error).startswith(str(path))
            continue
        assert found == whole, f"byte {place}"
        store.close()


def test_an_attempt_that_is_another_here_is_a_conflict_and_nothing_is_merged(bundle: Path, database: Opened) -> None:
    store = database("second")
    store.merge(bundle)
    before = store.runs()

    def change(members: Members) -> None:
        lines = [json.loads(text) for text in members["attempts.jsonl"].splitlines()]
        for attempt in lines:
            if attempt["state"] == "done":
                attempt["metrics"]["error_pct"] = 0.0
                attempt["code_id"] = "d" * 64
        members["attempts.jsonl"] = b"".join(map(line, lines))
        rewrite("series", values=[9.0, 9.0])(members)

    path = altered(bundle, change, honest=True)

    with pytest.raises(MergeConflict) as caught:
        store.merge(path)

    told = [text.split(": ", 1)[1] for text in caught.value.conflicts]
    assert [text.partition(" differs")[0] for text in told] == ["code_id", "metrics", "series lr"]
    assert str(caught.value).endswith("(and 2 more); one of them was altered; nothing was merged")
    assert repr(store.runs()) == repr(before)


def test_a_bundle_that_lacks_a_run_of_a_merged_suite_leaves_its_link(bundle: Path, database: Opened) -> None:
    store = database("second")
    record(store, 0, 5)

    store.merge(bundle)

    assert {found.seed for found in store.runs(suite="table9")} == {0, 1, 5}


def with_weights(database: Opened, tmp_path: Path, content: bytes) -> Path:
    """Return a bundle with one file, ``artefacts/some.x``."""
    store, out = database(content.decode()), tmp_path / f"{content.decode()}.zip"
    attempt = begin(store, 0)
    sha256 = hashlib.sha256(content).hexdigest()
    store.record_artefact(attempt, "me", kind="weights", path="artefacts/some.x", sha256=sha256, size=len(content))
    store.append(attempt, "me", [], 100)
    store.finish(attempt, "me", FINAL)
    (tmp_path / "made" / "artefacts").mkdir(parents=True, exist_ok=True)
    (tmp_path / "made" / "artefacts" / "some.x").write_bytes(content)
    store.export(out, weights=tmp_path / "made")
    return out


def test_a_file_of_a_bundle_never_replaces_another_that_may_be_good(database: Opened, tmp_path: Path) -> None:
    good, evil = (with_weights(database, tmp_path, content) for content in (b"good", b"evil"))
    store, folder = database("second"), tmp_path / "there"
    store.merge(good, folder)

    with pytest.raises(StoreError, match=r"evil.zip: 'artefacts/some.x' is another file in the database; nothing was"):
        store.merge(evil, folder)
    with pytest.raises(StoreError, match=r"evil.zip: 'artefacts/some.x' is another file than .*some.x, which is there"):
        database("third").merge(evil, folder)  # another database with the same folder

    assert (folder / "artefacts" / "some.x").read_bytes() == b"good"
    assert database("third").runs() == []


def test_a_damaged_file_is_mended_by_a_bundle_that_has_it(database: Opened, tmp_path: Path) -> None:
    good, store, folder = with_weights(database, tmp_path, b"good"), database("second"), tmp_path / "there"
    store.merge(good, folder)
    (folder / "artefacts" / "some.x").write_bytes(b"goo")

    store.merge(good, folder)

    assert (folder / "artefacts" / "some.x").read_bytes() == b"good"


def test_a_line_that_is_too_long_is_refused_before_it_is_read(
    bundle: Path, database: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = altered(bundle, put("cells.jsonl", b" " * 2**20), honest=True)
    monkeypatch.setattr(bundles, "LONGEST_LINE", 2**16)

    refuses(database, path, "cells.jsonl:1: is longer than 65,536 bytes")


def test_an_export_that_cannot_be_written_says_why(database: Opened, tmp_path: Path) -> None:
    store = database("first")
    train(store, 0)
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"out.zip: cannot be written: .*Not a directory"):
        store.export(tmp_path / "file" / "out.zip")  # whose partial file cannot be deleted either


def test_zero_has_one_form(bundle: Path, database: Opened, tmp_path: Path) -> None:
    path = altered(bundle, rewrite("series", values=[-0.0, 1.0]), honest=True)
    store = database("second")

    store.merge(path)

    assert store.merge(path).added == 0
    store.export(tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert b"-0.0" not in archive.read("series.jsonl")
    assert math.copysign(1, number_or_null(-0.0) or 0.0) == 1


def test_an_export_and_a_merge_do_not_depend_on_the_variables_of_who_does_it(
    database: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second, third = database("first"), *(tmp_path / f"{number}.zip" for number in range(3))
    train(store, 0, environment=dataclasses.replace(HERE, patch="+ extraordinary"))
    store.fail(begin(store, 1), "me", Reason.ERROR, "an extraordinary error")
    store.export(first, with_patch=True)

    monkeypatch.setenv("SOME_TOKEN", "extraordinary")
    store.export(second, with_patch=True)
    other = database("second")
    other.merge(first)
    other.export(third, with_patch=True)

    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    store.fail(begin(store, 2), "me", Reason.ERROR, "an extraordinary error")
    assert store.find(run(2).fingerprint).attempts[0].error == "an *** error"


@pytest.mark.parametrize("text", ["see /home/me/x", "/C:\\C: password)'hunter22a", "--token abcdefgh", "a\0b"])
def test_a_text_that_an_export_would_change_is_changed_when_it_comes(
    text: str, database: Opened, tmp_path: Path
) -> None:
    store, path = database("first"), tmp_path / "out.zip"
    store.fail(begin(store, 0), "me", Reason.ERROR, "it")
    store.export(path)
    path = altered(path, rewrite("attempts", error=text, patch=text), honest=True)
    other = database("second")
    other.merge(path)

    assert other.merge(path).known == 1
    other.export(tmp_path / "first.zip", with_patch=True)
    database("third").merge(tmp_path / "first.zip")
    database("third").export(tmp_path / "second.zip", with_patch=True)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE cell SET spec = '{}'", "cells: record 1 cannot be exported: run .*: this version cannot read its"),
        ("UPDATE attempt SET purpose = 'fun'", "attempts: record 1 cannot be exported: purpose: Input should be"),
        ("UPDATE attempt SET step = 99", "attempts: record 1 cannot be exported: is done at iteration 99 of 100"),
        ("DELETE FROM metric", "attempts: record 1 cannot be exported: is done without error_pct, loss"),
    ],
)
def test_what_a_merge_would_refuse_is_not_exported(change: str, told: str, database: Opened, tmp_path: Path) -> None:
    store = database("first")
    train(store, 0)
    altering = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    altering.execute("PRAGMA ignore_check_constraints = ON")
    altering.execute(change)
    altering.commit()
    altering.close()

    with pytest.raises(StoreError, match=told) as caught:
        store.export(tmp_path / "out.zip")

    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("*.zip*")) == []


def test_an_attempt_that_is_under_way_here_is_told(database: Opened, tmp_path: Path) -> None:
    store, path = database("first"), tmp_path / "out.zip"
    train(store, 0)
    store.export(path)
    other = database("second")
    begin(other, 0)
    altering = sqlite3.connect(other.url.removeprefix("sqlite:///"))
    altering.execute("UPDATE attempt SET uid = ?", [store.runs()[0].attempts[0].uid])
    altering.commit()
    altering.close()

    with pytest.raises(StoreError, match=r"attempts.jsonl:1: has the name of an attempt that is not closed here"):
        other.merge(path)


def test_errors_of_whoever_uses_a_bundle_are_not_called_damage(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), opened(bundle):
        raise OSError("disk")
    with pytest.raises(StoreError, match=r"none.zip: cannot be read: No such file"), opened(tmp_path / "none.zip"):
        pass


def measure(store: Store, seed: int, value: float, day: int = 1) -> None:
    """Record a measurement of the counted attempt's weights."""
    (found,) = store.runs([run(seed).fingerprint])
    assert found.counted is not None
    elsewhere = dataclasses.replace(HERE, cpu=f"processor of {value}")
    moment = datetime(2026, 1, day, 12, 30, tzinfo=UTC)
    store.record_probe(found.counted.id, Probe("responses", {"response_stage1": value}, "d" * 64, moment, elsewhere))


def measured(store: Store, seed: int = 0) -> list[tuple[float, str]]:
    (found,) = store.runs([run(seed).fingerprint])
    return [(one.values["response_stage1"], one.environment.cpu) for one in found.attempts[0].probes]


def test_two_measurements_of_the_same_weights_are_no_conflict_and_the_earlier_one_stays(
    bundle: Path, database: Opened, tmp_path: Path
) -> None:
    parts = [bundle]
    for name, value, day in (("late", 0.5, 3), ("early", 0.25, 2), ("same-day", 0.75, 2)):
        store = database(name)
        store.merge(bundle)
        measure(store, 0, value, day)
        parts.append(tmp_path / f"{name}.zip")
        store.export(parts[-1])

    whole, kept = set(), set()
    for number, order in enumerate(itertools.permutations(parts)):
        store = database(f"order{number}")
        for path in order:
            store.merge(path)
        store.export(tmp_path / "out.zip")
        whole.add((tmp_path / "out.zip").read_bytes())
        kept.update(measured(store))

    assert len(whole) == len(kept) == 1
    assert kept <= {(0.25, "processor of 0.25"), (0.75, "processor of 0.75")}


def test_a_measurement_reaches_a_database_that_has_the_attempt_and_no_private_words_with_it(
    bundle: Path, database: Opened, tmp_path: Path
) -> None:
    first, second, later = database("first"), database("second"), tmp_path / "later.zip"
    second.merge(bundle)
    measure(first, 0, 0.5)
    first.export(later)

    merged, again = second.merge(later), second.merge(later)

    assert (merged.added, merged.known, again.added) == (0, 2, 0)
    assert measured(second) == measured(first) == [(0.5, "processor of 0.5")]
    second.export(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == later.read_bytes()
    with zipfile.ZipFile(later) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert [word for word in (b"hostname", b"username", b"folder-of-mine", b"private") if word in text] == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_bundle_of_an_earlier_version_is_read(version: int, bundle: Path, database: Opened) -> None:
    def older(members: Members) -> None:
        if version < 2:
            members.pop("probes.jsonl")
        suite = json.loads(members["suites.jsonl"])
        suite.pop("protocols")
        members["suites.jsonl"] = line(suite)

    def dated(members: Members) -> None:
        members[MANIFEST] = line({**json.loads(members[MANIFEST]), "version": version})

    path = altered(altered(bundle, older, honest=True), dated, honest=False)
    store = database("second")

    merged = store.merge(path)

    assert (merged.runs, merged.added) == (2, 2)
    assert [suite.protocols for suite in store.suites()] == [{}]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"attempt": "unknown"}, "probes.jsonl:1: does not hold: its attempt or its environment is not in the bundle"),
        ({"environment": "a" * 64}, "probes.jsonl:1: does not hold: its attempt or its environment is not in"),
        ({"numbers": {}}, "probes.jsonl:1: does not hold: numbers: "),
        ({"numbers": {"response_stage1": None}}, "probes.jsonl:1: does not hold: numbers.response_stage1"),
        ({"measured": "2026-01-01"}, "probes.jsonl:1: does not hold: measured: .*has no time zone"),
    ],
)
def test_a_measurement_that_does_not_hold_is_refused(
    changes: dict[str, Any], told: str, bundle: Path, database: Opened
) -> None:
    store = database("first")
    measure(store, 0, 0.5)
    store.export(bundle)

    refuses(database, altered(bundle, rewrite("probes", **changes), honest=True), told)
