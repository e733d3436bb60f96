"""Secrets that a user's command line, environment and changed code hold are planted, and looked for everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command import ranbench

from cli.test_cli import ROOT

TOKEN = "ghp_" + "A1b2C3d4" * 4  # in a comment of changed code
KEY = "plainlookingvalue"  # of an environment variable, and in changed code
PASSWORD = "s3cret-of-the-server"
ARGUMENT = "given-by-hand-77"
SECRETS = (TOKEN, KEY, PASSWORD, ARGUMENT)


def changed_checkout(folder: Path) -> Path:
    """A git repository with the package in it, and changes with secrets that are not committed."""
    package = folder / "ranbench"
    shutil.copytree(ROOT / "ranbench", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "suites", folder / "suites")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    with (package / "errors.py").open("a") as file:
        file.write(f"\n# {TOKEN}\n# call({KEY!r})\nDB_PASSWORD = '{PASSWORD}'\n")
    return folder


def test_planted_secrets_are_in_no_output_no_database_and_no_bundle(
    tmp_path: Path, tiny_suite: Path, tiny_texts: tuple[str, str]
) -> None:
    checkout = changed_checkout(tmp_path / "checkout")
    for file in (tiny_suite, tiny_suite.parent / "protocols" / "tiny.yaml"):
        file.write_text(f"{file.read_text()}# https://bob:{PASSWORD}@intra.example/x\n# token: {TOKEN}\n")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout), "SOME_API_KEY": KEY}
    # a wrapper takes what ranbench does not know off its command line, as a job script might
    wrapper = (
        "import sys; from ranbench.cli import main; known = list(sys.argv); sys.argv += ['--token', sys.argv.pop(1)]\n"
        "import ranbench.environment.machine as machine; kept = list(sys.argv); sys.argv = sys.argv[:-2]\n"
        "class Whole: argv = kept\n"
        "machine.sys = Whole; main()"
    )

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        found = subprocess.run(
            [sys.executable, "-c", wrapper, ARGUMENT, *words],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return found

    said = call("run", str(tiny_suite), "--seeds", "1", "--only", "learning=naive")
    run = call("runs", "--json").stdout.split('"fingerprint": "')[1][:12]
    shown = call("show", run, "--json")
    call("export", "out.zip", "--with-patch")
    report = call("report", str(tiny_suite))

    assert "recorded last is another" not in report.stderr  # masked as it is, the file's text is the recorded one
    assert "--token ***" in shown.stdout
    assert "DB_PASSWORD" in shown.stdout  # the patch itself is kept
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        bundle = "".join(archive.read(name).decode() for name in archive.namelist())
    assert "DB_PASSWORD" in bundle
    assert bundle.count("# https://bob:***@intra.example/x\\n# token: ***") == 2
    database = b"".join(file.read_bytes() for file in (tmp_path / "results").glob("ranbench.db*"))
    for secret in SECRETS:
        for text in (said.stdout, said.stderr, shown.stdout, bundle):
            assert secret not in text
        assert secret.encode() not in database


def test_a_password_in_a_url_is_in_no_refusal(tmp_path: Path, tiny_suite: Path) -> None:
    urls = (
        f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/results",
        f"postgresql+psycopg://127.0.0.1:1/results?user=me&password={PASSWORD}",
        f"mysql://me:{PASSWORD}@host/results",
        f"postgresql+psycopg://me:{PASSWORD}@host:port/results",
        f"me:{PASSWORD}://",
    )

    for url in urls[:-1]:
        for words in (("runs", "--db", url), ("run", str(tiny_suite), "--db", url)):
            found = ranbench(*words, cwd=tmp_path)

            assert found.returncode == 7, found.stderr
            assert len(found.stderr.splitlines()) == 1
            assert PASSWORD not in found.stdout + found.stderr


@pytest.mark.parametrize(("words", "code"), [(("validate",), 2), (("validate", "--json"), 2), (("plan",), 2)])
def test_a_url_that_was_given_in_place_of_a_suite_is_refused_without_its_password(
    tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    found = ranbench(*words, f"postgresql+psycopg://me:{PASSWORD}@h/db", cwd=tmp_path)

    assert found.returncode == code
    assert PASSWORD not in found.stdout + found.stderr
    assert "/me:***@h/db: no such file" in found.stdout + found.stderr
