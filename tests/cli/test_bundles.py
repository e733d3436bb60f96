"""'export', 'merge' and bundles in place of a database, from outside."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from command import ranbench

from ranbench.store import Store


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder in which the tiny suite was run and exported with its weights."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "tiny.yaml").write_text(tiny_texts[0])
    assert ranbench("run", "tiny.yaml", cwd=folder).returncode == 0
    found = ranbench("export", "tiny.zip", "tiny.yaml", "--weights", "--json", cwd=folder)
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert (said["file"], said["runs"], said["files"]) == ("tiny.zip", 4, 4)
    return folder


def test_a_report_is_the_same_from_a_database_a_bundle_and_a_database_it_was_merged_into(done: Path) -> None:
    merged = ranbench("merge", "tiny.zip", "--db", "sqlite:///other/ranbench.db", cwd=done)
    assert (merged.returncode, merged.stdout.startswith("tiny.zip: 4 attempts added, 4 files of weights; bundle ")) == (
        0,
        True,
    )
    again = ranbench("merge", "tiny.zip", "--db", "sqlite:///other/ranbench.db", cwd=done)
    assert again.stdout.startswith("tiny.zip: 0 attempts added, 4 attempts there already; bundle ")
    pages = set()

    for number, place in enumerate(("sqlite:///results/ranbench.db", "tiny.zip", "sqlite:///other/ranbench.db")):
        found = ranbench("report", "tiny.yaml", "--compare", "--db", place, "--out", f"out{number}", cwd=done)
        assert found.returncode == 0, found.stderr
        pages.add((done / f"out{number}" / "tiny.md").read_text().replace(f"out{number}", "out"))

    assert len(pages) == 1
    weights = sorted(path.name for path in (done / "other" / "artefacts").iterdir())
    assert weights == sorted(path.name for path in (done / "results" / "artefacts").iterdir())


def test_a_bundle_alone_gives_the_report_claims_and_verification_of_a_suite_that_is_nowhere_else(
    done: Path, tmp_path: Path
) -> None:
    assert ranbench("report", "tiny.yaml", "--compare", cwd=done).returncode == 0
    committed = done / "reports" / "tiny.md"
    at = ("--db", str(done / "tiny.zip"))
    claims = ranbench("claims", "tiny", "--json", cwd=done).stdout

    made = ranbench("report", "--compare", *at, cwd=tmp_path)
    named = ranbench("report", "tiny.yaml", "--compare", "--out", "named", *at, cwd=tmp_path)
    verified = ranbench("report", "--verify", str(committed), *at, cwd=tmp_path)
    judged = ranbench("claims", "tiny", "--json", *at, cwd=tmp_path)
    smoke = ranbench("report", "tiny", "--protocol", "smoke", "--out", "smoke", *at, cwd=tmp_path)

    assert [found.returncode for found in (made, named, verified, smoke)] == [0] * 4, made.stderr + smoke.stderr
    told = "ranbench: suite tiny: there is no file of it here, so the text that was recorded with its runs is taken\n"
    assert {found.stderr for found in (made, named, verified, smoke)} == {told}
    assert (tmp_path / "named" / "tiny.md").read_text() == committed.read_text()
    page = (tmp_path / "reports" / "tiny.md").read_text()
    assert page == committed.read_text()
    assert judged.stdout == claims


def test_a_suite_of_a_bundle_is_taken_as_recorded_unless_its_file_is_given(done: Path, tmp_path: Path) -> None:
    (tmp_path / "suites" / "protocols").mkdir(parents=True)
    text = (done / "tiny.yaml").read_text().replace("title: ", "title: Edited, ")
    (tmp_path / "suites" / "tiny.yaml").write_text(text)
    (tmp_path / "suites" / "protocols" / "tiny.yaml").write_text((done / "protocols" / "tiny.yaml").read_text())
    assert ranbench("merge", str(done / "tiny.zip"), cwd=tmp_path).returncode == 0
    at = ("--db", str(done / "tiny.zip"))
    pages, told = [], []

    for number, words in enumerate((("tiny", *at), ("suites/tiny.yaml", *at), ("tiny",))):
        found = ranbench("report", *words, "--out", str(number), cwd=tmp_path)
        pages.append((tmp_path / str(number) / "tiny.md").read_text())
        told.append(found.stderr)

    assert [page.startswith("# Edited, ") for page in pages] == [False, True, True]
    another = (
        "ranbench: suite tiny: suites/tiny.yaml is another one, so the text that was recorded with its runs is taken\n"
    )
    ours = "ranbench: suite tiny: the text of suites/tiny.yaml is taken; the one that was recorded last is another\n"
    assert told == [another, ours, ours]


def test_a_colleague_writes_out_the_suite_of_a_bundle_and_goes_on(done: Path, tmp_path: Path) -> None:
    bundle = str(done / "tiny.zip")
    merged = ranbench("merge", bundle, cwd=tmp_path)

    written = ranbench("new", "suite", "tiny.yaml", "--recorded", cwd=tmp_path)
    again = ranbench("run", "tiny", cwd=tmp_path)
    named = ranbench("run", "tiny.yaml", cwd=tmp_path)
    absent = ranbench("new", "suite", "tiyn.yaml", "--recorded", "--db", bundle, cwd=tmp_path)

    assert merged.stdout.startswith(f"{bundle}: 4 attempts added, 4 files of weights; bundle ")
    assert written.stdout.splitlines() == ["tiny.yaml", "protocols/tiny.yaml"]
    assert (tmp_path / "tiny.yaml").read_text() == (done / "tiny.yaml").read_text()
    assert "suite 'tiny' is not known; did you mean 'tiny.yaml'?" in again.stderr
    assert (named.returncode, "4 done already" in named.stderr + named.stdout) == (0, True)
    assert absent.stderr == (
        "ranbench: new suite tiyn.yaml: nothing of 'tiyn' is recorded; did you mean 'tiny'? (there: tiny)\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("runs", "--csv", "results/ranbench.db"), "--csv results/ranbench.db: is what is read; name another file"),
        (("export", "results/ranbench.db", "--force"), "results/ranbench.db: is what is read; name another file"),
        (("export", "tiny.zip", "--db", "tiny.zip", "--force"), "tiny.zip: is what is read; name another file"),
        (
            ("runs", "--db", "tiny.zip", "--csv", "results/ranbench.db"),
            "--csv results/ranbench.db: is a database; name",
        ),
        (("export", "results/ranbench.db-wal"), "results/ranbench.db-wal: belongs to a database; name another file"),
        (
            ("runs", "tiny.zip"),
            "tiny.zip: expected the name of a suite, or its file NAME.yaml; a bundle is read by '--db",
        ),
        (("report", "x/tiny.nothing"), "x/tiny.nothing: expected the name of a suite, or its file NAME.yaml"),
    ],
)
def test_no_answer_is_written_over_what_is_read_and_no_other_file_taken_for_a_suite(
    words: tuple[str, ...], told: str, done: Path
) -> None:
    before = [(done / name).read_bytes() for name in ("results/ranbench.db", "tiny.zip")]

    found = ranbench(*words, cwd=done)

    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert found.stderr.startswith(f"ranbench: {told}")
    assert [(done / name).read_bytes() for name in ("results/ranbench.db", "tiny.zip")] == before


def test_a_suite_beside_the_database_is_found_by_the_name_that_is_recorded(done: Path) -> None:
    by_name = ranbench("report", "tiny", "--compare", "--out", "by-name", cwd=done)
    by_file = ranbench("report", "tiny.yaml", "--compare", "--out", "by-file", cwd=done)

    assert (by_name.returncode, by_name.stderr) == (0, "")
    assert (done / "by-name" / "tiny.md").read_text() == (done / "by-file" / "tiny.md").read_text()
    assert by_file.returncode == 0


def test_two_suites_of_one_name_cannot_be_given_together(done: Path, tmp_path: Path) -> None:
    for name, text in (("a", "tiny"), ("b", "tiny, another")):
        (tmp_path / name / "protocols").mkdir(parents=True)
        (tmp_path / name / "protocols" / "tiny.yaml").write_text((done / "protocols" / "tiny.yaml").read_text())
        (tmp_path / name / "tiny.yaml").write_text(
            (done / "tiny.yaml").read_text().replace("title: ", f"title: {text} ")
        )
    files = ("a/tiny.yaml", "b/tiny.yaml")

    validated = ranbench("validate", *files, cwd=tmp_path)
    reported = ranbench("report", *files, "--db", str(done / "tiny.zip"), cwd=tmp_path)

    told = "b/tiny.yaml: 'tiny' is the name of a/tiny.yaml too, which is another suite; rename one of them"
    assert (validated.returncode, told in validated.stdout) == (2, True)
    assert (reported.returncode, reported.stderr.splitlines()[-1]) == (2, f"ranbench: {told}")


def test_commands_that_read_take_a_bundle(done: Path) -> None:
    runs = json.loads(ranbench("runs", "--json", "--db", "tiny.zip", cwd=done).stdout)
    first = runs[0]["fingerprint"]

    shown = ranbench("show", first[:12], "--db", "tiny.zip", cwd=done)
    status = ranbench("status", "--db", "tiny.zip", cwd=done)

    assert first in shown.stdout
    assert "environment.host" not in shown.stdout
    assert status.stdout == "4 runs: 4 done\n"


@pytest.mark.parametrize("command", [["run", "tiny.yaml"], ["rerun", "RUN", "--check"], ["merge", "tiny.zip"]])
def test_commands_that_write_refuse_a_bundle(command: list[str], done: Path) -> None:
    runs = json.loads(ranbench("runs", "--json", cwd=done).stdout)
    words = [runs[0]["fingerprint"][:12] if word == "RUN" else word for word in command]

    found = ranbench(*words, "--db", "tiny.zip", cwd=done)

    told = "ranbench: --db tiny.zip: is a bundle, which is only read; 'ranbench merge' adds it to a database\n"
    assert (found.returncode, found.stderr) == (2, told)


def test_a_file_that_is_there_is_replaced_on_demand_only(done: Path) -> None:
    before = (done / "tiny.zip").read_bytes()

    refused = ranbench("export", "tiny.zip", cwd=done)
    nowhere = ranbench("export", "none/tiny.zip", cwd=done)

    assert refused.returncode == nowhere.returncode == 2
    told = "ranbench: tiny.zip: is there already; name another file, or replace it with --force\n"
    assert refused.stderr == told
    assert nowhere.stderr == "ranbench: none/tiny.zip: there is no folder none; make it, or name another file\n"
    assert (done / "tiny.zip").read_bytes() == before
    assert ranbench("export", "tiny.zip", "tiny", "--weights", "--force", cwd=done).returncode == 0
    assert (done / "tiny.zip").read_bytes() == before


def test_what_is_no_bundle_is_refused_and_the_others_are_merged(done: Path) -> None:
    (done / "text.zip").write_text("not a bundle")
    with zipfile.ZipFile(done / "cut.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")

    found = ranbench(
        "merge", "text.zip", "none.zip", "tiny.zip", "cut.zip", "--db", "sqlite:///third/ranbench.db", cwd=done
    )

    assert found.returncode == 7
    assert found.stdout.startswith("tiny.zip: 4 attempts added")
    lines = found.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["text.zip", "none.zip", "cut.zip"]
    assert "is not a bundle, or is damaged" in lines[0]
    assert "there is no such file" in lines[1]
    assert "its manifest.json does not hold" in lines[2]


def test_exporting_nothing_ends_with_6(done: Path) -> None:
    Store.open(f"sqlite:///{done}/empty/ranbench.db").close()

    found = ranbench("export", "empty.zip", "--db", "sqlite:///empty/ranbench.db", cwd=done)

    assert found.returncode == 6
    assert found.stderr.endswith(": there is no done or failed run to export\n")
    assert not (done / "empty.zip").exists()


def test_a_file_that_cannot_be_merged_makes_no_database(done: Path) -> None:
    (done / "text.zip").write_text("not a bundle")
    with zipfile.ZipFile(done / "tiny.zip") as whole, zipfile.ZipFile(done / "other.zip", "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name) + b" ")

    found = ranbench("merge", "text.zip", "none.zip", "other.zip", "--db", "sqlite:///new/ranbench.db", cwd=done)

    assert found.returncode == 7
    assert len(found.stderr.splitlines()) == 3
    assert not (done / "new").exists()


def test_weights_that_a_bundle_came_without_are_left_out_of_an_export(done: Path) -> None:
    assert ranbench("export", "plain.zip", "tiny", "--force", cwd=done).returncode == 0
    assert ranbench("merge", "plain.zip", "--db", "sqlite:///plain/ranbench.db", cwd=done).returncode == 0

    found = ranbench("export", "again.zip", "--weights", "--db", "sqlite:///plain/ranbench.db", cwd=done)

    assert found.returncode == 0, found.stderr
    assert found.stderr == "ranbench: 4 files of weights left out: of attempts out of bundles, and not here\n"
    assert (done / "again.zip").read_bytes() == (done / "plain.zip").read_bytes()
