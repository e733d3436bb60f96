"""'report' from outside: formats, other results, and committed reports made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command import ranbench

from ranbench.cli.reports import _label

pytestmark = pytest.mark.slow  # each test starts several processes that import torch


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder with two databases of the tiny suite, trained apart, and a bundle of the second."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "tiny.yaml").write_text(tiny_texts[0])
    assert ranbench("run", "tiny.yaml", cwd=folder).returncode == 0
    other = "sqlite:///other/ranbench.db"
    assert ranbench("run", "tiny.yaml", "--seeds", "1", "--db", other, cwd=folder).returncode == 0
    assert ranbench("export", "other.zip", "tiny.yaml", "--db", other, cwd=folder).returncode == 0
    return folder


def test_every_format_is_written_and_printed_once(done: Path) -> None:
    found = ranbench("report", "tiny.yaml", "--format", "json,html,md, csv,tex,html", "--out", "all", cwd=done)

    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert [line for line in lines if not line.endswith(".csv")] == [
        f"all/tiny.{kind}" for kind in ("json", "html", "md", "tex")
    ]
    assert "all/tiny/results.csv" in lines
    assert [line for line in lines if not (done / line).is_file()] == []


def test_json_of_the_file_and_of_the_option_are_the_same(done: Path) -> None:
    ranbench("report", "tiny.yaml", "--compare", "--format", "json", "--out", "one", cwd=done)
    printed = ranbench("report", "tiny.yaml", "--compare", "--json", cwd=done)

    assert [json.loads((done / "one" / "tiny.json").read_text())] == json.loads(printed.stdout)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--format", "md,htm"],
            2,
            "--format 'htm': not known; did you mean 'html'? (allowed: md, html, tex, csv, json)",
        ),
        (["--format", ""], 2, "--format '': not known"),
        (["--against", "nowhere.zip"], 2, "--against nowhere.zip: there is no such file"),
        (["--against", "other.zip", "--against", "other.zip"], 2, "--against other.zip: a name that is taken"),
        (["--verify", "nowhere.md"], 2, "--verify nowhere.md: cannot be read as a report"),
        (["tiny.yaml", "--verify", "a.md", "--verify", "b.md"], 2, "--verify: expected one SUITE for each file"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(options: list[str], code: int, message: str, done: Path) -> None:
    suite = [] if "--verify" in options else ["tiny.yaml"]

    found = ranbench("report", *suite, *options, cwd=done)

    assert found.returncode == code
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_other_results_stand_beside_ours_from_a_bundle_and_a_database(done: Path) -> None:
    places = ["--against", "other.zip", "--against", "sqlite:///other/ranbench.db", "--against", "other/ranbench.db"]

    found = ranbench("report", "tiny.yaml", *places, "--out", "beside", cwd=done)

    page = (done / "beside" / "tiny.md").read_text(encoding="utf-8")
    assert found.returncode == 0, found.stderr
    assert "| other.zip | 2 of 4 |" in page
    assert r"| sqlite\:///other/ranbench.db | 2 of 4 |" in page  # no link of its own
    assert "| other/ranbench.db | 2 of 4 |" in page
    assert page.count("a test needs three seeds on each side") == 6
    assert "--against other.zip --against sqlite:///other/ranbench.db --against other/ranbench.db" in page


@pytest.mark.parametrize(
    ("place", "label"),
    [
        ("other.zip", "other.zip"),
        ("results/other.db", "results/other.db"),
        ("sqlite:///results/other.db", "sqlite:///results/other.db"),
        ("/home/jane/other.db", "other.db"),
        ("sqlite:////home/jane/other.db", "other.db"),
        ("sqlite+pysqlite:////home/jane/other.db", "other.db"),
        (r"C:\Users\jane\other.db", "other.db"),
        ("postgresql+psycopg://jane:hunter22@db7.corp:5432/runs", "postgresql+psycopg://.../runs"),
        ("postgresql://jane@/runs?host=/home/jane/socket&password=x", "postgresql://.../runs"),
    ],
)
def test_other_results_are_named_without_folders_from_the_root_server_and_user(place: str, label: str) -> None:
    assert _label(place) == label


@pytest.mark.slow
def test_a_committed_report_is_verified_from_its_bundle(done: Path) -> None:
    assert ranbench("export", "ours.zip", "tiny.yaml", cwd=done).returncode == 0
    made = ["report", "tiny.yaml", "--compare", "--against", "other.zip", "--format", "md,json", "--out", "kept"]
    assert ranbench(*made, cwd=done).returncode == 0
    files = ["--verify", "kept/tiny.md", "--verify", "kept/tiny.json"]

    same = ranbench("report", *files, "--db", "ours.zip", cwd=done)
    page = done / "kept" / "tiny.md"
    page.write_text(page.read_text(encoding="utf-8").replace("| 1 of 2 |", "| 2 of 2 |").replace("0 to 1", "0 to 2"))
    other = ranbench("report", *files, "--db", "other.zip", "--json", cwd=done)

    assert (same.returncode, same.stdout) == (0, "kept/tiny.md: comes out again\nkept/tiny.json: comes out again\n")
    assert other.returncode == 4
    assert [bool(answer["differences"]) for answer in json.loads(other.stdout)] == [True, True]


def test_runs_of_other_seeds_have_a_page_whose_commands_make_it_again(done: Path) -> None:
    night = ("--seeds-from", "100", "--db", "sqlite:///night/ranbench.db")
    assert ranbench("run", "tiny.yaml", "--seeds", "1", *night, cwd=done).returncode == 0
    made = ranbench("report", "tiny.yaml", "--seeds", "1", *night, "--out", "night", cwd=done)
    same = ranbench("report", "--verify", "night/tiny.md", *night[2:], cwd=done)
    others = ranbench("report", "tiny.yaml", "--seeds-from", "-1", cwd=done)

    page = (done / "night" / "tiny.md").read_text(encoding="utf-8")
    assert made.returncode == 0, made.stderr
    assert "2 cells, seed 100," in page
    assert "2 of 2 done" in page
    assert "ranbench run tiny.yaml --seeds 1 --seeds-from 100\n" in page
    assert (same.returncode, same.stdout) == (0, "night/tiny.md: comes out again\n")
    assert (others.returncode, others.stderr.count("\n")) == (2, 1)
    assert "--seeds-from -1: must be 0 or more" in others.stderr


def test_a_report_that_is_verified_opens_no_server(done: Path) -> None:
    (done / "server.md").write_text(
        "```sh\nranbench report tiny.yaml --against postgresql+psycopg://someone@127.0.0.1:9/x\n```\n"
    )

    found = ranbench("report", "--verify", "server.md", cwd=done)

    assert found.returncode == 2
    assert "names the server postgresql+psycopg://someone@127.0.0.1:9/x; --against on the command line" in found.stderr


def test_a_report_of_no_run_verifies_nothing(done: Path) -> None:
    shutil.copytree(done / "protocols", done / "bare" / "protocols")
    (done / "bare" / "tiny.yaml").write_text((done / "tiny.yaml").read_text())
    options = ["tiny.yaml", "--protocol", "smoke"]
    assert ranbench("report", *options, "--db", "../other.zip", cwd=done / "bare").returncode == 0

    found = ranbench("report", "--verify", "reports/tiny.smoke.md", "--db", "../other.zip", cwd=done / "bare")

    said = "reports/tiny.smoke.md: holds no number of a run, so nothing was verified\n"
    assert (found.returncode, found.stdout, found.stderr) == (6, said, "")
