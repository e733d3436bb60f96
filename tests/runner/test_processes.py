"""One run on two processes, as a user starts it: stopped, killed, and gone on with to the very same bits.

Every case is the command line, met from outside; its net is a user's own, small one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from command import Spoken
from typer.testing import CliRunner

from ranbench.cli import app
from ranbench.errors import UsageError
from ranbench.records import RunRecord, State
from ranbench.runner.checking import outcome
from ranbench.runner.comparison import compare
from ranbench.store import Store

from .conftest import COMMAND

NET = """\
from torch import nn


def tiny(shape, num_classes):
    channels, height, width = shape
    first = [nn.Conv2d(channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(8 * height * width, num_classes))
"""
ITERATIONS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """The tiny suite of one run of a small net, long enough to be met on its way."""
    folder = tmp_path_factory.mktemp("processes")
    suite, protocol = tiny_texts
    for old, new in (
        ("iterations: 6", f"iterations: {ITERATIONS}"),
        ("pad: 0, flip: false", "pad: 1, flip: true"),
        ("every: 3", "every: 200"),
    ):
        assert old in protocol
        protocol = protocol.replace(old, new)
    suite = suite.split("claims:")[0]
    for old, new in (
        ("model: attention-56", "model: mynet:tiny"),
        ("  matrix:\n    learning: [residual, naive]\n", ""),
    ):
        assert old in suite
        suite = suite.replace(old, new)
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(protocol)
    (folder / "tiny.yaml").write_text(suite)
    (folder / "mynet.py").write_text(NET)
    return folder


class Command(Spoken):
    """'ranbench run tiny.yaml --nproc 2' in the folder; ``said`` is what it has said so far."""

    def __init__(self, folder: Path, results: Path, *options: str):
        self.database = f"sqlite:///{results}/ranbench.db"
        arguments = [sys.executable, "-c", COMMAND, "run", "tiny.yaml", "--seeds", "1", "--trust-imports", *options]
        self.process = subprocess.Popen(
            [*arguments, "--device", "cpu", "--db", self.database],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.said: list[str] = []

    def ranks(self) -> dict[int, psutil.Process]:
        """The processes that train, by their rank."""
        children = psutil.Process(self.process.pid).children()
        return {int(child.environ()["RANK"]): child for child in children if "RANK" in child.environ()}

    def record(self) -> RunRecord:
        """The one run of the database."""
        with Store.open(self.database) as store:
            (record,) = store.runs()
        return record


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts the command in this test's own folder of results; none outlives the test."""
    started: list[Command] = []

    def call(*options: str) -> Command:
        started.append(Command(folder, tmp_path / "results", *(options or ("--nproc", "2"))))
        return started[-1]

    yield call
    for command in started:
        if command.process.poll() is None:
            for process in [*command.ranks().values(), psutil.Process(command.process.pid)]:
                process.kill()
            command.end()


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The run that nothing interrupts."""
    command = Command(folder, tmp_path_factory.mktemp("undisturbed"), "--nproc", "2")
    assert command.end() == 0, command.said
    return command


def differing(first: Command, second: Command) -> tuple[str, ...]:
    """What two commands have recorded otherwise, but for times."""
    outcomes = []
    for command in (first, second):
        with Store.open(command.database) as store:
            (record,) = store.runs()
            assert record.counted is not None, command.said
            outcomes.append(outcome(store, record.counted))
    return compare(*outcomes).differing


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_clean_and_the_run_goes_on_to_the_same_bits(
    start: Callable[..., Command], undisturbed: Command, number: int
) -> None:
    first = start()
    first.until(rf"iteration \d\d+ of {ITERATIONS}\b")
    first.process.send_signal(number)

    assert first.end() == 128 + number, first.said
    assert first.record().state == State.INTERRUPTED
    assert 0 < first.record().latest.step < ITERATIONS
    second = start()
    assert second.end() == 0, second.said
    assert differing(second, undisturbed) == ()
    assert second.record().latest.environment.engine_path == "eager, contiguous, 2 processes"
    assert not second.record().latest.resumed_inexactly


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_command_and_the_run_goes_on(
    start: Callable[..., Command], undisturbed: Command, rank: int
) -> None:
    first = start()
    first.until(rf"iteration \d\d+ of {ITERATIONS}\b")
    time.sleep(0.2)
    first.ranks()[rank].kill()

    assert first.end() == 3, first.said
    assert [line for line in first.said if f"process {rank} of 2 was killed by signal 9" in line], first.said
    assert "Traceback" not in "\n".join(first.said)
    second = start()
    assert second.end() == 0, second.said
    assert differing(second, undisturbed) == ()


@pytest.mark.slow
def test_nothing_listens_but_on_loopback_and_no_process_outlives_the_command(start: Callable[..., Command]) -> None:
    command = start()
    command.until(rf"iteration \d\d+ of {ITERATIONS}\b")
    ranks = command.ranks()
    processes = [psutil.Process(command.process.pid), *ranks.values()]
    listening = {
        each.laddr.ip for one in processes for each in one.net_connections("inet") if each.status == psutil.CONN_LISTEN
    }

    command.process.kill()

    assert listening <= {"127.0.0.1", "::1"}
    assert psutil.wait_procs(list(ranks.values()), timeout=60)[1] == []
    command.end()
    assert command.record().state == State.INTERRUPTED


@pytest.mark.slow
def test_a_run_that_goes_on_in_another_number_of_processes_says_so(start: Callable[..., Command]) -> None:
    first = start()
    first.until(rf"iteration \d\d+ of {ITERATIONS}\b")
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130

    second = start("--nproc", "1")

    assert second.end() == 0, second.said
    assert [line for line in second.said if "resumed inexactly: engine_path changed since it began" in line]
    assert second.record().latest.resumed_inexactly


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nproc", "0"], "--nproc 0: must be 1 or more"),
        (
            ["--nproc", "2", "--jobs", "2"],
            "--nproc 2: its processes train one run together, got --jobs 2; leave one of them out",
        ),
        (
            ["--nproc", "2", "--at-once", "2"],
            "--nproc 2: trains one run at a time, got --at-once 2; leave one of them out",
        ),
        (
            ["--nproc", "2", "--path", "compiled"],
            "--nproc 2: several processes take eager steps, got --path compiled; leave it out",
        ),
        (
            ["--nproc", "3"],
            "--nproc 3: a batch of 32 images is not divided by 3 processes; take a number that divides it, such as "
            "--nproc 2",
        ),
    ],
)
def test_what_does_not_go_with_several_processes_is_refused_in_one_line(
    tiny_suite: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    place = ["--device", "cpu", "--db", f"sqlite:///{tmp_path}/x.db"]

    found = CliRunner().invoke(app, ["run", str(tiny_suite), *options, *place])

    assert isinstance(found.exception, UsageError)
    assert str(found.exception) == said
    assert not (tmp_path / "x.db").exists()
