"""The command line with a database on a server: work that two commands share, and passwords that appear nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Cluster

from ranbench.store import Store


@pytest.fixture
def empty(postgres: Cluster) -> Iterator[str]:
    """The place of a database without a table."""
    with postgres.database() as url:
        yield url


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command in ``folder``."""
    command = [sys.executable, "-m", "ranbench", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a command: exit code, answer, notes. No part of the password is in them."""
    answer, notes = command.communicate()
    assert "s3cret" not in answer + notes
    return command.returncode, answer, notes


@pytest.mark.slow  # two processes that load torch and train
def test_two_commands_on_one_suite_share_the_work_and_do_every_run_once(empty: str, tiny_suite: Path) -> None:
    folder = tiny_suite.parent
    both = [
        start(folder, "run", "tiny.yaml", "--device", "cpu", "--db", empty),
        start(folder, "run", "tiny.yaml", "--device", "cpu", RANBENCH_DB=empty),
    ]

    codes, _, notes = zip(*map(ended, both), strict=True)

    assert codes == (0, 0), notes
    assert sum(int(re.findall(r"(\d+) trained", said)[-1]) for said in notes) == 4
    with Store.open(empty) as store:
        records = store.runs()
    assert [[attempt.state.value for attempt in record.attempts] for record in records] == [["done"]] * 4
    assert "s3cret" not in str(records)
    assert len(list((folder / "results" / "artefacts").iterdir())) == 4


def test_an_empty_database_is_planned_for_and_read_by_no_other_command(empty: str, tiny_suite: Path) -> None:
    both = [
        start(tiny_suite.parent, "plan", "tiny.yaml", "--json", "--db", empty),
        start(tiny_suite.parent, "status", RANBENCH_DB=empty),
    ]

    planned, status = map(ended, both)

    assert planned[0] == 0, planned[2]
    assert [run["state"] for run in json.loads(planned[1])["runs"]] == ["planned"] * 4
    assert (status[0], status[1]) == (7, "")
    assert "no database there yet; 'ranbench run SUITE' makes one" in status[2]


def test_a_place_that_cannot_be_used_ends_with_code_7_and_one_line(empty: str, tmp_path: Path) -> None:
    code, answer, notes = ended(start(tmp_path, "runs", "--db", f"{empty}&sslmode=maybe"))

    assert (code, answer, len(notes.splitlines())) == (7, "", 1)
    assert "***" in notes
