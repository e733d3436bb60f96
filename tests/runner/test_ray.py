"""Runs on a Ray cluster of two nodes with one PostgreSQL: whatever dies, the same numbers, and every run once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from typer.testing import CliRunner

from ranbench.cli import app
from ranbench.data.cifar import CIFAR_10
from ranbench.environment.owner import this_host
from ranbench.errors import DataError, EnvironmentProblem, StoreError
from ranbench.execution import Channel, Stop
from ranbench.execution.cluster import ALONE, QUIET, alone
from ranbench.records import checkpoint_folders
from ranbench.runner import How
from ranbench.runner.code import code_of_run
from ranbench.runner.onray import RayOrder, modules_of, train_on_node
from ranbench.runner.workplace import Assignment
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

from .test_pool import ITERATIONS, LIMIT_S, Command, equal_to_undisturbed, faults

if TYPE_CHECKING:
    from postgres import Cluster

__all__ = ["faults"]

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="RAY NOT TESTED: it is not installed")
STORE_BYTES = 100_000_000  # of each node
CACHE = "-cache"  # of users on the nodes: beside the cluster's folder

# A net that takes its time in a worker of Ray, with many checkpoints.
PATIENT = """

def patient(shape, num_classes):
    net = Net(shape, num_classes)
    if "RAY_RAYLET_PID" in os.environ:
        from ranbench.training import checkpoint

        checkpoint.FIRST_AFTER, checkpoint.APART, checkpoint.SHARE = 0.05, 0.05, 0.9
        net.register_forward_pre_hook(lambda *_: time.sleep(0.1 * net.training))
    return net
"""


class Nodes:
    """A cluster of a head, which takes no calls, and nodes with one core each; all listen on the loopback address."""

    def __init__(self, folder: Path):
        from ray.cluster_utils import Cluster

        self.folder = str(folder)
        common = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
        self._common = {"object_store_memory": STORE_BYTES, "num_cpus": 1}
        head = {**common, "num_cpus": 0, "temp_dir": str(folder)}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self._add(), self._add()]

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self._cluster.address)

    def _add(self) -> Any:
        return self._cluster.add_node(**self._common)

    def lose(self, raylet: int) -> None:
        """Kill all processes of a node, as a power cut would; another one takes its place."""
        (lost,) = [node for node in self.nodes if node.all_processes["raylet"][0].process.pid == raylet]
        self._cluster.remove_node(lost, allow_graceful=False)
        self.nodes.remove(lost)
        self.nodes.append(self._add())

    def close(self) -> None:
        """End all."""
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """The cluster; one for this module, for it takes long to start."""
    folder = tempfile.mkdtemp(prefix="rb-")  # short, for the names of sockets
    with alone(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder + CACHE)
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()  # where Ray notes the address of a cluster
        made = Nodes(Path(folder))
        try:
            yield made
        finally:
            made.close()
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(folder + CACHE, ignore_errors=True)


class OnRay(Command):
    """'ranbench run --executor ray' in a process of its own, in the folder of the suite and of its net."""

    def __init__(self, folder: Path, url: str, address: str, within: tuple[str, ...] = ()):
        options = ["--executor", "ray", "--address", address, "--device", "cpu", "--trust-imports", "--db", url]
        self.url, self.results = url, folder / "results"
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "ranbench", "run", "faults.yaml", *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **QUIET, **ALONE, "OMP_NUM_THREADS": "1"},
        )

    def worker(self) -> psutil.Process:
        """Wait until a run has come some way, and has a checkpoint; return the process that trains it."""
        end = time.monotonic() + LIMIT_S
        while True:
            assert time.monotonic() < end
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
            with Store.open(self.url, create=False) as store:
                running = [record.latest for record in store.runs() if record.state == "running"]
            for attempt in running:
                name = checkpoint_folders(attempt.fingerprint, attempt.uid, attempt.number)[0] if attempt else ""
                if attempt and attempt.step > 5 and list((self.results / "checkpoints" / name).glob("*")):
                    assert attempt.owner is not None
                    with suppress(psutil.NoSuchProcess):
                        found = psutil.Process(attempt.owner.pid)
                        if found.status() != psutil.STATUS_ZOMBIE:
                            return found


@pytest.fixture
def started(faults: Callable[..., Suite], tmp_path: Path) -> Iterator[Callable[..., OnRay]]:
    """Starts the command on four runs of some seconds each; none outlives the test."""
    faults("patient", seeds=4)
    with (tmp_path / "faults.py").open("a") as file:
        file.write(PATIENT)
    protocol = tmp_path / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("iterations: 6", f"iterations: {ITERATIONS}"))
    commands: list[OnRay] = []

    def call(url: str, address: str, within: tuple[str, ...] = ()) -> OnRay:
        commands.append(OnRay(tmp_path, url, address, within))
        return commands[-1]

    yield call
    for command in commands:
        command.process.kill()
        command.process.communicate()


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_and_a_lost_node_cost_no_run_and_change_no_number(
    started: Callable[..., OnRay], nodes: Nodes, postgres: Cluster, tmp_path: Path
) -> None:
    with postgres.database("TEMPLATE migrated") as url:
        command = started(url, nodes.address)
        victim = command.worker()
        victim.kill()
        victim.wait()
        nodes.lose(command.worker().ppid())

        out, said = command.process.communicate(timeout=LIMIT_S)

        assert (command.process.returncode, out) == (0, ""), said
        assert "its Ray worker (process " in said, said
        assert "is gone (killed, by someone" in said, said
        assert len(re.findall(r"its Ray worker .* it is tried again alone", said)) >= 2, said
        assert len(re.findall(r"goes on after iteration \d+ of 60", said)) >= 2, said
        assert sum(equal_to_undisturbed(tmp_path, url)) >= 2


@needs_ray
@pytest.mark.slow
def test_after_kill_9_of_the_command_the_same_one_goes_on(
    started: Callable[..., OnRay], nodes: Nodes, postgres: Cluster, tmp_path: Path
) -> None:
    with postgres.database("TEMPLATE migrated") as url:
        command = started(url, nodes.address)
        worker = command.worker()
        command.process.kill()
        assert command.end()[0] == -signal.SIGKILL
        worker.wait(60.0)  # Ray ends it

        code, said = started(url, nodes.address).end()

        assert code == 0, said
        assert "goes on after iteration" in said, said
        assert sum(equal_to_undisturbed(tmp_path, url)) >= 1


# Shows a folder in another place to one process alone, and to those that it starts.
SEEN = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@needs_ray
@pytest.mark.slow
def test_nodes_without_the_dataset_are_brought_it(
    started: Callable[..., OnRay], nodes: Nodes, postgres: Cluster, tmp_path: Path, real_cifar10: Path
) -> None:
    within = ("unshare", "--mount", "sh", "-c", SEEN, "sh", str(real_cifar10), str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    if subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("DATASETS OF NODES NOT TESTED: this user may not mount folders")
    suite = tmp_path / "faults.yaml"
    suite.write_text(re.sub(r"datasets:\n.*\n", "", suite.read_text()).replace("dataset: digits", "dataset: cifar10"))
    with postgres.database("TEMPLATE migrated") as url:
        code, said = started(url, nodes.address, within).end()

        assert code == 0, said
        assert not list((tmp_path / "data").iterdir())
        with Store.open(url, create=False) as store:
            assert [record.state for record in store.runs()] == ["done"] * 4
    cache = Path(nodes.folder + CACHE) / "ranbench" / "data"
    assert CIFAR_10.verify(cache)


@pytest.fixture
def order(tmp_path: Path, tiny_suite: Path) -> tuple[RayOrder, Assignment]:
    """An order on a run of the tiny suite, as a command on this host gives it."""
    results = tmp_path / "results"
    url = f"sqlite:///{results}/ranbench.db"
    Store.open(url).close()
    (results / ".folder-id").write_text("this one")
    specs = load_suite(tiny_suite).runs()[:1]
    made = RayOrder(
        key=str(tmp_path),
        url=url,
        data=tmp_path,
        results=results,
        device="cpu",
        rerun=frozenset(),
        how=How(threads=1),
        probes=(),
        codes={(spec.model.name, spec.data.name): code_of_run(spec.model, spec.data) for spec in specs},
        since=datetime.now(UTC),
        command="",
        host=this_host(),
        folder_id="this one",
    )
    return made, Assignment(tuple(specs), {specs[0].cell_id: "residual"})


def channel() -> Channel:
    return Channel(lambda _: None, Stop())


def test_a_node_with_another_folder_of_results_is_refused(order: tuple[RayOrder, Assignment]) -> None:
    with pytest.raises(EnvironmentProblem, match=r"node .* of the Ray cluster: its folder .* is not the one"):
        train_on_node(channel(), replace(order[0], folder_id="another"), order[1])


def test_another_machine_is_refused_the_file_of_a_database(order: tuple[RayOrder, Assignment]) -> None:
    with pytest.raises(StoreError, match="need a PostgreSQL server"):
        train_on_node(channel(), replace(order[0], host="another"), order[1])


def test_a_node_with_other_code_is_refused(order: tuple[RayOrder, Assignment]) -> None:
    codes = dict.fromkeys(order[0].codes, "another")

    with pytest.raises(EnvironmentProblem, match="not those that the command was begun with"):
        train_on_node(channel(), replace(order[0], codes=codes), order[1])


def test_a_node_without_the_data_is_named_and_its_own_folder_is_looked_at(
    order: tuple[RayOrder, Assignment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = order[1].specs[0]
    of_cifar = spec.model_copy(update={"data": type(spec.data).of("cifar10")})
    there = replace(order[1], specs=(of_cifar,))
    monkeypatch.setenv("RANBENCH_DATA", str(tmp_path / "own"))

    with pytest.raises(DataError, match=f"node {this_host()} of the Ray cluster: .*{tmp_path / 'own'}"):
        train_on_node(channel(), replace(order[0], data=tmp_path / "nowhere"), there)


def test_users_modules_are_carried_along_and_installed_ones_are_not(
    faults: Callable[..., Suite],
    tmp_path: Path,
) -> None:
    assert modules_of(faults("good").runs()) == [tmp_path / "faults.py"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--address", "auto"], 2, "--address auto: only with --executor ray"),
        (["--gpus-per-run", "0.5"], 2, "--gpus-per-run 0.5: only with --executor ray"),
        (["--executor", "ray", "--gpus-per-run", "2"], 2, "--gpus-per-run 2: must be above 0, and at most 1"),
        (["--executor", "ray", "--address", "ray://head:10001"], 2, "Ray's client protocol is not supported"),
        (["--executor", "ray"], 7, "pip install 'ranbench[ray]'"),
    ],
)
def test_options_of_a_cluster_are_refused_before_anything_is_made(  # noqa: PLR0917
    options: list[str], code: int, said: str, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    db = tmp_path / "results" / "ranbench.db"

    found = CliRunner().invoke(app, ["run", str(tiny_suite), "--db", f"sqlite:///{db}", *options])

    assert said in str(found.exception) + found.output
    assert getattr(found.exception, "exit_code", found.exit_code) == code
    assert not db.exists()
