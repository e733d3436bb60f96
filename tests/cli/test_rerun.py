"""'rerun --check' from outside: what it answers, refuses, and how it is interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from command import ranbench

from cli.test_cli import ROOT, names

pytestmark = pytest.mark.slow  # each test starts several processes that import torch

MYNET = """\
from torch import nn


def tiny(shape, num_classes):
    channels, height, width = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder in which a net of one's own was trained."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1].replace("iterations: 6", "iterations: 3000"))
    (folder / "mynet.py").write_text(MYNET)
    head = tiny_texts[0].split("cells:")[0].replace("seeds: 2", "seeds: 1")
    cells = "cells:\n  fixed: {dataset: digits, model: 'mynet:tiny'}\n  matrix: {}\n"
    (folder / "tiny.yaml").write_text(head + cells)
    found = ranbench("run", "tiny.yaml", "--trust-imports", cwd=folder)
    assert found.returncode == 0, found.stderr
    return folder


@pytest.fixture(scope="module")
def run(done: Path) -> str:
    """First digits of the done run."""
    listed = json.loads(ranbench("runs", "--json", cwd=done).stdout)
    return str(listed[0]["fingerprint"][:12])


def test_an_interrupted_check_goes_on_and_says_identical(done: Path, run: str) -> None:
    arguments = [sys.executable, "-m", "ranbench", "rerun", run, "--check", "--trust-imports"]
    with subprocess.Popen(arguments, cwd=done, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        time.sleep(0.2)  # some of its iterations
        process.send_signal(signal.SIGSTOP)  # so that it is not done before it is looked at
        during = json.loads(ranbench("status", "--json", cwd=done).stdout)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        rest = process.stderr.read()

    between = ranbench("show", run, cwd=done).stdout
    again = ranbench("rerun", run, "--check", "--trust-imports", cwd=done)

    assert first == f"ranbench: [1/1] check of {run}: mynet:tiny, seed 0: begins of 3,000 iterations\n"
    assert [(row["purpose"], row["attempt"], row["alive"]) for row in during["running"]] == [("check", 2, True)]
    assert during["states"] == {"done": 1}
    assert process.returncode == 130
    assert "; the same command goes on" in rest.splitlines()[-1]
    assert "attempt 1: done (counts)" in between
    assert "attempt 2: interrupted (a check, which never counts)" in between
    assert again.returncode == 0, again.stderr
    assert "goes on after iteration" in again.stderr
    answer = again.stdout.splitlines()
    assert answer[0] == "identical"
    assert answer[1].startswith(f"run {run}, attempt 2 against 1: 4 final metrics, ")
    assert answer[1].endswith(" points of series, predictions and weights are equal bit for bit")
    assert len(answer) == 2


@pytest.mark.slow
def test_a_difference_is_exit_4_with_the_first_loss_that_differs(done: Path, run: str) -> None:
    """The record is changed, as a computer with another arithmetic would have made it."""
    with closing(sqlite3.connect(done / "results" / "ranbench.db")) as database:
        where = "attempt_id = 1 AND name = 'train_loss' AND step = 1500"
        (before,) = database.execute(f"SELECT value FROM metric_point WHERE {where}").fetchone()
        database.execute(f"UPDATE metric_point SET value = 0.5 WHERE {where}")
        database.execute("UPDATE metric SET value = 1.5 WHERE attempt_id = 1 AND name = 'error_pct'")
        database.execute("UPDATE attempt SET code_id = 'old' WHERE id = 1")
        database.commit()

    text = ranbench("rerun", run, "--check", "--trust-imports", cwd=done)
    as_json = ranbench("rerun", run, "--check", "--trust-imports", "--json", cwd=done)

    found = json.loads(as_json.stdout)
    documented = set(re.findall(r"`([a-z0-9_.\[\]]+)`", (ROOT / "docs" / "json.md").read_text()))
    assert text.returncode == as_json.returncode == 4
    lines = text.stdout.splitlines()
    assert lines[0] == "different"
    assert lines[2:] == [
        "differing: error_pct, series train_loss",
        f"first training loss that differs: iterations 1,498 to 1,500, 0.5 then, {before!r} now",
        f"not as recorded: code_id old then, {found['changed'][0]['now']} now",
    ]
    assert found["first_difference"] == {
        "first": 1498,
        "last": 1500,
        "before": 0.5,
        "again": before,
        "series": "train_loss",
    }
    assert (found["run"][:12], found["answer"], found["attempt"]) == (run, "different", 1)
    assert names(found) <= documented


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "rerun: give --check; to train for new results there is 'ranbench run SUITE --rerun all'"),
        (["--check", "--device", "tpu"], 2, "--device 'tpu': not known (allowed: auto, cpu, cuda)"),
        (["--check"], 2, "model 'mynet:tiny' imports 'mynet' and runs its code; --trust-imports allows it"),
    ],
)
def test_a_refusal_is_one_line_and_its_code(done: Path, run: str, arguments: list[str], code: int, text: str) -> None:
    found = ranbench("rerun", run, *arguments, cwd=done)

    assert (found.returncode, found.stdout) == (code, "")
    assert len(found.stderr.splitlines()) == 1, found.stderr
    assert text in found.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
