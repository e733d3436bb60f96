"""Calls on a local Ray cluster keep the contract; nothing listens beyond this machine, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from ranbench.errors import EnvironmentProblem, UsageError
from ranbench.execution import Lost, Raised, Resources, Returned, Task, Told
from ranbench.execution.actors import RayExecutor
from ranbench.execution.cluster import Cluster, Node, check_address, library

from . import calls
from .test_executors import ROOT, ends, through

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="RAY NOT TESTED: it is not installed")


@pytest.fixture(scope="module")
def local() -> Iterator[RayExecutor]:
    """A local cluster with two places, whose actors die in the tests and are replaced."""
    with RayExecutor(Cluster(cores=2), Resources(cpus=1)) as made:
        yield made


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://head:10001", "Ray's client protocol is not supported"),
        ("local", "must be 'auto', for the cluster that this machine belongs to, or HOST:PORT"),
        ("head", "must be 'auto'"),
        ("head:port", "must be 'auto'"),
    ],
)
def test_addresses_of_other_forms_are_refused(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        check_address(address)

    assert "\n" not in str(refused.value)


def test_without_ray_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(EnvironmentProblem, match=r"pip install 'ranbench\[ray\]'") as refused:
        library()

    assert refused.value.exit_code == 7


def test_a_node_has_places_by_what_it_has_least_of() -> None:
    node = Node("a", "host", cpus=8, gpus=2, memory_bytes=100)

    assert node.places(Resources(cpus=1)) == 8
    assert node.places(Resources(cpus=3)) == 2
    assert node.places(Resources(cpus=1, gpus=1)) == 2
    assert node.places(Resources(cpus=1, gpus=0.1)) == 8
    assert node.places(Resources(cpus=0.1, gpus=0.1)) == 20
    assert node.places(Resources(cpus=1, memory_bytes=40)) == 2
    assert node.places(Resources(cpus=9)) == 0


@needs_ray
@pytest.mark.slow
def test_calls_on_ray_keep_the_contract(local: RayExecutor) -> None:
    assert local.room == 2

    (told, returned, *_), other = (
        through(local, Task("a", calls.double, (4,))),
        through(local, Task("b", calls.process)),
    )
    raised = ends(through(local, Task("fails", calls.fail, ("no good",)), Task("lambda", calls.unportable_result)))

    assert (told, returned) == (Told("a", "doubling 4"), Returned("a", 8))
    assert local.room == 2
    assert isinstance(other[-1], Returned)
    assert other[-1].result != os.getpid()
    assert isinstance(raised["fails"], Raised)
    assert (type(raised["fails"].error), str(raised["fails"].error)) == (ValueError, "no good")
    assert isinstance(raised["lambda"], Raised)


@needs_ray
@pytest.mark.slow
def test_an_actor_that_dies_or_is_killed_takes_only_its_own_call_along(
    local: RayExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    events = through(local, Task("bad", calls.die, (signal.SIGKILL,)), Task("good", calls.double, (1,)))
    bad, good = ends(events)["bad"], ends(events)["good"]
    assert isinstance(bad, Lost)
    assert "its Ray worker (process " in bad.why
    assert "is gone (killed" in bad.why
    assert "\n" not in bad.why
    assert not bad.killed
    assert good == Returned("good", 2)

    events = through(local, Task("hangs", calls.hang), until=bool)
    local.kill("hangs")
    lost = ends(through(local, until=lambda found: bool(ends(found))))["hangs"]
    assert isinstance(lost, Lost)
    assert lost.killed
    assert ends(through(local, Task("next", calls.double, (2,)))) == {"next": Returned("next", 4)}
    assert capfd.readouterr().out == ""  # which is for data


@needs_ray
@pytest.mark.slow
def test_nothing_of_a_local_cluster_listens_beyond_this_machine(local: RayExecutor) -> None:
    assert local.room  # so that it is there
    of_ray = psutil.Process().children(recursive=True)

    listening = {
        connection.laddr.ip
        for process in of_ray
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@needs_ray
@pytest.mark.slow
def test_calls_on_ray_are_asked_to_stop(local: RayExecutor) -> None:
    """The last of those that share the cluster: a stop is for good."""
    through(local, Task("a", calls.wait_for_stop), until=bool)
    local.stop(signal.SIGINT)

    found = ends(through(local, Task("b", calls.wait_for_stop), until=lambda found: len(ends(found)) == 2))
    assert found == {key: Returned(key, signal.SIGINT) for key in "ab"}
    assert local.room == 2


OWNER = """
import os, signal, sys
from ranbench.execution import Resources, Task
from ranbench.execution.actors import RayExecutor
from ranbench.execution.cluster import Cluster
from tests.execution import calls

def ask(number, frame):
    print("asked", flush=True)

signal.signal(signal.SIGTERM, ask)
with RayExecutor(Cluster(cores=1), Resources()) as ray:
    assert signal.getsignal(signal.SIGTERM) is ask
    ray.submit(Task("waits", calls.wait_for_stop))
    told = []
    while not told:
        ray.poll(lambda event: told.append(event.message), 0.1)
    print(*told, flush=True)
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_local_cluster_ends_with_its_owner(end: str, tmp_path: Path) -> None:
    place = tempfile.mkdtemp(prefix="rb-")  # short, for the names of sockets
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": place, "HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", OWNER, end], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )

    assert done.returncode == (0 if end == "close" else -signal.SIGKILL), done.stderr
    limit = time.monotonic() + 60.0
    worker = int(done.stdout)
    while left := [each for each in psutil.process_iter() if each.pid == worker or _is_of(each, place)]:
        assert time.monotonic() < limit, left
        time.sleep(0.2)
    assert list(tmp_path.iterdir()) == []  # nothing is written to the user's home
    if end == "close":
        assert list(Path(place).iterdir()) == []
        assert done.stderr == ""


def _is_of(process: psutil.Process, folder: str) -> bool:
    """Whether a process was started for a cluster that has its files there."""
    try:
        return any(folder in word for word in process.cmdline())
    except psutil.Error:
        return False
