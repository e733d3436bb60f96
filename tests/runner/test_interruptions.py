"""Interrupted at a random moment, by Ctrl-C, kill -9 or a full disk: the resumed run ends with the very same bits.

Every case is the command line in a process of its own, met from outside: signals, limits and damage come from here.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import Spoken

from ranbench.records import RunRecord
from ranbench.runner.checking import outcome
from ranbench.runner.comparison import Outcome, compare
from ranbench.store import Store

from .conftest import COMMAND

REPETITIONS = 20
KINDS = ("Ctrl-C", "kill -9", "full disk")
ITERATIONS = 60


class Command(Spoken):
    """'ranbench run' of the tiny suite, in a process of its own; ``said`` is what it has said so far."""

    def __init__(self, folder: Path, results: Path):
        arguments = [sys.executable, "-c", COMMAND, "run", str(folder / "tiny.yaml"), "--seeds", "1"]
        self.process = subprocess.Popen(
            [*arguments, "--only", "learning=residual", "--device", "cpu", "--db", f"sqlite:///{results}/ranbench.db"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.said: list[str] = []

    def notes(self, text: str) -> list[str]:
        """What was said that holds ``text``."""
        return [line for line in self.said if text in line]


def make_suite(folder: Path, texts: tuple[str, str]) -> None:
    """Write the tiny suite, long enough for some checkpoints and with every kind of random number in it."""
    suite, protocol = texts
    changes = (
        ("iterations: 6", f"iterations: {ITERATIONS}"),
        ("pad: 0, flip: false", "pad: 1, flip: true"),
        ("every: 3", "every: 20"),
    )
    for old, new in changes:
        assert old in protocol
        protocol = protocol.replace(old, new)
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(protocol)
    (folder / "tiny.yaml").write_text(suite.replace("dataset: digits}", "dataset: digits, noise: 0.2}", 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """Where the suite is."""
    folder = tmp_path_factory.mktemp("interruptions")
    make_suite(folder, tiny_texts)
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Outcome:
    """What the run gives when nothing interrupts it."""
    command = Command(folder, folder / "undisturbed")
    assert command.end() == 0, command.said
    return outcome_of(folder / "undisturbed")[1]


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[[], Command]]:
    """Starts the command in this test's own folder of results; none outlives the test."""
    started: list[Command] = []

    def call() -> Command:
        started.append(Command(folder, tmp_path))
        return started[-1]

    yield call
    for command in started:
        command.process.kill()
        command.process.wait()
        if command.process.stderr is not None:
            command.process.stderr.close()


@contextmanager
def opened(results: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{results}/ranbench.db", create=False) as store:
        yield store


def outcome_of(results: Path) -> tuple[RunRecord, Outcome]:
    """The only run that was trained, and what it left."""
    with opened(results) as store:
        (record,) = [record for record in store.runs() if record.attempts]
        assert record.counted is not None
        return record, outcome(store, record.counted)


def checkpoints(results: Path) -> list[Path]:
    """Oldest first."""
    return sorted(results.glob("checkpoints/*/*.safetensors"))


def interrupt(command: Command, kind: str, chance: random.Random, results: Path) -> None:
    """Let it work to a random iteration of the first two thirds, and a random time longer; then strike."""
    command.until(rf"iteration {chance.randrange(1, 2 * ITERATIONS // 3)} of {ITERATIONS}\b")
    time.sleep(chance.uniform(0.0, 0.1))
    if kind == "full disk":
        fill_disk(command, chance, results)
        kind = "kill -9"
    command.process.send_signal(signal.SIGINT if kind == "Ctrl-C" else signal.SIGKILL)
    code = command.end()
    assert code == (130 if kind == "Ctrl-C" else -signal.SIGKILL), command.said


def fill_disk(command: Command, chance: random.Random, results: Path) -> None:
    """Let no file of the process grow beyond a random part of a checkpoint, until one could not be written.

    The database is smaller than that: its log of the whole run stays under half a megabyte.
    """
    while not checkpoints(results):
        command.until(rf"iteration \d+ of {ITERATIONS}\b")
    size = checkpoints(results)[-1].stat().st_size
    limit = int(size * chance.uniform(0.9, 1.0))
    resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    command.until("training goes on without this checkpoint")
    assert command.notes("cannot be written: [Errno 27] File too large"), command.said
    assert list(results.glob("checkpoints/*/*.part")) == []


def case(kind: str, repetition: int) -> object:
    marks = [pytest.mark.slow] if repetition or kind == "full disk" else []
    return pytest.param(kind, repetition, marks=marks, id=f"{kind}, {repetition}")


@pytest.mark.parametrize(
    ("kind", "repetition"), [case(kind, number) for kind in KINDS for number in range(REPETITIONS)]
)
def test_a_run_interrupted_at_a_random_moment_ends_with_the_bits_of_an_undisturbed_one(
    start: Callable[[], Command], tmp_path: Path, undisturbed: Outcome, kind: str, repetition: int
) -> None:
    chance = random.Random(f"{kind} {repetition}")
    interrupt(start(), kind, chance, tmp_path)

    resumed = start()
    code = resumed.end()

    assert code == 0, resumed.said
    record, result = outcome_of(tmp_path)
    assert result.weights == undisturbed.weights
    assert compare(undisturbed, result).answer == "identical"
    (attempt,) = record.attempts
    assert (attempt.resumes, attempt.resumed_inexactly) == (1, False)
    assert checkpoints(tmp_path) == []


@pytest.mark.parametrize("repetition", [pytest.param(n, marks=[pytest.mark.slow] if n else []) for n in range(5)])
def test_a_damaged_checkpoint_is_named_in_one_line_and_the_one_before_it_is_used(
    start: Callable[[], Command], tmp_path: Path, undisturbed: Outcome, repetition: int
) -> None:
    chance = random.Random(repetition)
    first = start()
    while len(checkpoints(tmp_path)) < 2:
        first.until(rf"iteration \d+ of {ITERATIONS}\b")
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130, first.said
    older, newest = checkpoints(tmp_path)
    content = bytearray(newest.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    newest.write_bytes(content)

    resumed = start()
    code = resumed.end()

    assert code == 0, resumed.said
    assert resumed.notes("damaged") == [
        f"ranbench: {newest.name}: damaged checkpoint, its content does not match its name; the one before it is tried"
    ]
    assert resumed.notes(f"goes on after iteration {int(older.name[:9])} of {ITERATIONS} iterations")
    assert compare(undisturbed, outcome_of(tmp_path)[1]).answer == "identical"
