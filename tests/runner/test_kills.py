"""Killed with kill -9 before and after every commit and rename, and at random moments: nothing acknowledged is lost.

The killed process notes what the store has acknowledged before it goes on; what it noted must be there afterwards.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ranbench.environment import is_alive
from ranbench.records import State
from ranbench.runner.checking import outcome
from ranbench.runner.comparison import Outcome, compare
from ranbench.store import Store
from ranbench.store.audit import audit

from .conftest import COMMAND
from .test_interruptions import make_suite

# Patches the store and os.replace, so that the process kills itself at the n-th time that a named point is reached.
KILLED = """
import functools, json, os, signal, sys
from contextlib import contextmanager
from ranbench.store import Store

acknowledged = open(os.environ["ACKNOWLEDGED"], "a")
wanted = os.environ.get("KILL_AT", "")
counts = {}

def say(**what):
    acknowledged.write(json.dumps(what) + "\\n")
    acknowledged.flush()

def point(name):
    counts[name] = counts.get(name, 0) + 1
    say(point=f"{name} {counts[name]}")
    if f"{name} {counts[name]}" == wanted:
        os.kill(os.getpid(), 9)

write = Store._write

@contextmanager
def counted_write(self):
    with write(self) as connection:
        yield connection
        point("before commit")
    point("after commit")

def renamed(source, target, *rest, rename=os.replace, **more):
    point("before rename")
    rename(source, target, *rest, **more)
    point("after rename")

def telling(name):
    method = getattr(Store, name)

    @functools.wraps(method)
    def told(self, attempt, token, *given, **more):
        method(self, attempt, token, *given, **more)
        if name == "append":
            points, step = given
            say(attempt=attempt, step=step, points=[(each.name, each.step, each.value) for each in points])
        else:
            say(attempt=attempt, metrics=given[0])

    setattr(Store, name, told)

Store._write, os.replace = counted_write, renamed
telling("append")
telling("finish")
"""


class Killed:
    """'ranbench run' of the tiny suite in a folder of results, perhaps killed at a named point."""

    def __init__(self, folder: Path, results: Path):
        self.folder, self.results = folder, results
        self.notes = results / "acknowledged.jsonl"
        results.mkdir(exist_ok=True)

    def start(self, at: str = "", *more: str) -> subprocess.Popen[str]:
        self.notes.write_text("")
        arguments = ["run", str(self.folder / "tiny.yaml"), "--device", "cpu", "--db", self.url, *more]
        return subprocess.Popen(
            [sys.executable, "-c", KILLED + COMMAND, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "KILL_AT": at, "ACKNOWLEDGED": str(self.notes)},
        )

    def run(self, at: str = "", *more: str) -> int:
        process = self.start(at, *more)
        said = process.communicate()[1]
        assert process.returncode in (0, -signal.SIGKILL), said
        return process.returncode

    @property
    def url(self) -> str:
        return f"sqlite:///{self.results}/ranbench.db"

    def points(self) -> list[str]:
        """The named points that were reached, in their order."""
        told = [json.loads(line) for line in self.notes.read_text().splitlines()]
        return [each["point"] for each in told if "point" in each]

    def check(self) -> None:
        """See that the database is whole and holds what was acknowledged."""
        if not (self.results / "ranbench.db").exists():
            return
        assert [found for found in audit(self.url, self.results, is_alive) if found.level == "fault"] == []
        with Store.open(self.url) as store:
            attempts = {attempt.id: attempt for record in store.runs() for attempt in record.attempts}
            for told in map(json.loads, self.notes.read_text().splitlines()):
                if "metrics" in told:
                    found = attempts[told["attempt"]]
                    assert (found.state, dict(found.metrics)) == (State.DONE, told["metrics"])
                elif "step" in told:
                    assert attempts[told["attempt"]].step >= told["step"]
                    series = store.points([told["attempt"]])
                    for name, step, value in told["points"]:
                        steps, values = series[told["attempt"], name]
                        assert values[steps.index(step)] == value or math.isnan(value)
            for attempt in attempts.values():
                assert attempt.state is not State.DONE or "error_pct" in attempt.metrics

    def outcomes(self) -> dict[str, Outcome]:
        with Store.open(self.url, create=False) as store:
            records = [record for record in store.runs() if record.attempts]
            counted = {record.fingerprint: record.counted for record in records}
            return {name: outcome(store, attempt) for name, attempt in counted.items() if attempt is not None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    make_suite(folder, tiny_texts)
    return folder


ONE = ("--seeds", "1", "--only", "learning=residual")


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> tuple[list[str], dict[str, Outcome]]:
    """The points that an undisturbed run of one net passes, and what it leaves."""
    command = Killed(folder, folder / "undisturbed")
    assert command.run("", *ONE) == 0
    command.check()
    return command.points(), command.outcomes()


def places(points: list[str], kind: str) -> list[str]:
    return [point for point in points if point.startswith(kind)]


KINDS = ("before commit", "after commit", "before rename", "after rename")
# Where among the points of one kind: the first, the last and shares between.
SHARES = (1.0, 0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
FAST = {("before commit", 1.0)}


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        pytest.param(kind, share, marks=[] if (kind, share) in FAST else [pytest.mark.slow])
        for kind in KINDS
        for share in SHARES
    ],
)
def test_a_kill_at_a_commit_or_a_rename_loses_nothing_and_the_next_command_finishes(
    folder: Path, tmp_path: Path, undisturbed: tuple[list[str], dict[str, Outcome]], kind: str, share: float
) -> None:
    points, expected = undisturbed
    mine = places(points, kind)
    place = mine[round(share * (len(mine) - 1))]
    command = Killed(folder, tmp_path / "results")

    command.run(place, *ONE)

    command.check()
    assert command.run("", *ONE) == 0
    command.check()
    found = command.outcomes()
    assert {name: compare(expected[name], each).answer for name, each in found.items()} == dict.fromkeys(
        expected, "identical"
    )
    assert not list(command.results.glob("checkpoints/*/*"))


def strike(process: subprocess.Popen[str], chance: random.Random) -> bool:
    """Kill at a random moment after the start of the work, at once for one in ten; tell whether it was alive."""
    assert process.stderr is not None
    if chance.random() > 0.1:
        wanted = chance.randrange(1, 40)
        for number, line in enumerate(process.stderr):
            if number >= wanted or re.search("trained", line):
                break
    time.sleep(chance.uniform(0.0, 0.05) if chance.random() > 0.1 else chance.uniform(0.0, 3.0))
    process.kill()
    process.stderr.close()
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kills", [pytest.param(100, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing_and_the_next_command_finishes(
    folder: Path, tmp_path: Path, kills: int
) -> None:
    chance, killed, number = random.Random(kills), 0, 0
    fresh: Callable[[], Killed] = lambda: Killed(folder, tmp_path / str(number))  # noqa: E731
    command = fresh()

    while killed < kills:
        killed += strike(command.start(), chance)
        command.check()
        if len(command.outcomes() if (command.results / "ranbench.db").exists() else ()) == 4:
            number += 1
            command = fresh()

    assert command.run() == 0
    command.check()
    assert len(command.outcomes()) == 4
