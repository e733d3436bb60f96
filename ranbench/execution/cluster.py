"""A Ray cluster: one that the user has, or a local one that is started for a command and ended with it.

Ray is imported only when a cluster is asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import secrets
import signal
import socket
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ranbench.errors import EnvironmentProblem, UsageError, one_line
from ranbench.execution.calls import Resources
from ranbench.execution.scratch import Scratch

OBJECT_STORE_BYTES = 100_000_000  # of a local cluster: calls and messages are small; Ray's own choice is a third of all
ANSWER_SECONDS = 5.0  # within which the head of a cluster takes a connection
SAID_CHARACTERS = 300  # of an error of Ray: they hold tracebacks
LOOPBACK = "127.0.0.1"
PACKAGE = Path(__file__).parents[1]
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default, of which it warns otherwise
    "RAY_enable_metrics_collection": "0",
    "RAY_worker_niceness": "0",  # else other processes of the machine come first
}
# Whoever reaches a cluster can have it run anything. So a local one listens on the loopback address, which Ray does on
# Linux only where it is told that clusters of several machines are not enabled; and versions of Ray that know of tokens
# let it take calls of this process only, by one that is read once.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def check_address(address: str) -> None:
    """Check the form of ``--address``.

    Raises:
        UsageError: it is not of a form that works.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"--address {address}: Ray's client protocol is not supported; call the command on a node of the cluster "
            "with --address auto, or send it there by 'ray job submit'"
        )
    if address != "auto" and not re.fullmatch(r"[\w.-]+:\d{1,5}", address):
        raise UsageError(
            f"--address {address!r}: must be 'auto', for the cluster that this machine belongs to, or HOST:PORT of its "
            "head; without --address a local cluster is started"
        )


def library() -> ModuleType:
    """Import Ray.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        with _variables(QUIET):
            return importlib.import_module("ray")
    except ImportError as error:
        raise EnvironmentProblem(f"--executor ray: {one_line(error)}; pip install 'ranbench[ray]'") from error


@dataclass(frozen=True)
class Node:
    """A node that is there: Ray's name of it, its host, and what calls can have of it."""

    name: str
    host: str
    cpus: float
    gpus: float
    memory_bytes: float

    def places(self, need: Resources) -> int:
        """How many calls it can take at once, when it has no others."""
        wanted = ((self.cpus, need.cpus), (self.gpus, need.gpus), (self.memory_bytes, need.memory_bytes or 0))
        return min((int(there / each + 1e-9) for there, each in wanted if each > 0), default=0)


class Cluster:
    """A connection to a Ray cluster, of which a process has one at a time.

    A local cluster listens on the loopback address only, has no dashboard, sends no usage statistics, keeps its files
    in a folder of its own within the folder for temporary files, and ends with ``close``, or with this process.

    Args:
        address: of a cluster that is there, see ``check_address``; None: a local one is started.
        cores: of a local cluster, that calls can have; None: all of the machine.
        modules: packages and modules, by their files or folders, that every worker imports from copies which Ray
            carries to its node, before all others of their names.

    Raises:
        UsageError: the address has no form that works.
        EnvironmentProblem: Ray is not installed, there is no such cluster, or none can be started.
    """

    def __init__(self, address: str | None = None, *, cores: int | None = None, modules: Sequence[Path] = ()):
        if address is not None:
            check_address(address)
        self._ray, self.address = library(), address
        self._variables = contextlib.ExitStack()
        self._folder: Scratch | None = None
        self._open = True
        if self._ray.is_initialized():
            raise EnvironmentProblem("this process is connected to a Ray cluster already; disconnect by ray.shutdown()")
        carried = {"py_modules": [str(each) for each in modules], "excludes": ["__pycache__", "*.pyc"]}
        if address is None:
            self._start(cores, carried if modules else None)
        else:
            self._connect(address, carried if modules else None)

    @property
    def ray(self) -> Any:
        """The library."""
        return self._ray

    def nodes(self) -> list[Node]:
        """The nodes that are there now."""
        found = []
        for each in self._ray.nodes():
            if each["Alive"]:
                has = each["Resources"]
                amounts = (has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", 0.0))
                found.append(Node(each["NodeID"], each["NodeManagerHostname"], *amounts))
        return found

    def put(self, value: object) -> Any:
        """Keep a value for calls to have, as long as what is returned is held here or on its way to them.

        It can be an argument of a call, where ``actor.received`` returns the value.
        """
        return self._ray.put(value)

    @property
    def elsewhere(self) -> list[str]:
        """The hosts of its nodes that are other machines than this one."""
        return sorted({node.host for node in self.nodes()} - {socket.gethostname()})

    def close(self) -> None:
        """Disconnect, and end a local cluster; nothing more where that is done."""
        if self._open:
            self._open = False
            with _signals_kept():
                self._ray.shutdown()
        self._variables.close()
        if self._folder is not None:
            self._folder.close()

    def _start(self, cores: int | None, carried: dict[str, Any] | None) -> None:
        self._folder = Scratch("ranbench-ray-")
        self._variables.enter_context(alone())
        paths = [str(Path(each).absolute()) for each in sys.path]  # workers find modules where this process does
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
        try:
            self._init(
                address="local",
                num_cpus=cores,
                runtime_env=carried,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address=LOOPBACK,
                _temp_dir=str(self._folder.path),
            )
            addresses = {each["NodeManagerAddress"] for each in self._ray.nodes()}
            if addresses != {LOOPBACK}:
                raise EnvironmentProblem(f"it listens on {', '.join(sorted(addresses))}, not on {LOOPBACK} alone")
        except EnvironmentProblem as error:
            self.close()
            raise EnvironmentProblem(f"no local Ray cluster can be started: {error}") from error
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before

    def _connect(self, address: str, carried: dict[str, Any] | None) -> None:
        if address != "auto":
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
            except (OSError, OverflowError) as error:
                raise EnvironmentProblem(f"--address {address}: no Ray cluster answers: {one_line(error)}") from error
        try:
            self._init(address=address, runtime_env=carried)
        except EnvironmentProblem as error:
            raise EnvironmentProblem(f"--address {address}: {error}") from error

    def _init(self, **choices: Any) -> None:
        from ray._private import worker
        from ray.exceptions import RayError

        worker.print_to_stdstream = _say_nothing
        logging.getLogger("ray").setLevel(logging.ERROR)
        with _signals_kept(), _variables(QUIET):
            try:
                self._ray.init(log_to_driver=False, configure_logging=False, **choices)
            except (OSError, RuntimeError, ValueError, RayError) as error:
                with contextlib.suppress(Exception):
                    self._ray.shutdown()
                raise EnvironmentProblem(textwrap.shorten(str(error), SAID_CHARACTERS)) from error


def _say_nothing(*_: object, **__: object) -> None:
    """Print nothing: Ray prints that a worker died to standard output, which is for data; whoever called tells it."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let nodes that are started meanwhile listen on the loopback address, and take calls of our processes only."""
    from ray._private import ray_constants

    enabled = ray_constants.ENABLE_RAY_CLUSTER  # read from the variable when Ray was imported
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with _variables(QUIET | ALONE):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Leave this process its handlers of signals: Ray sets one of its own."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def _variables(wanted: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for what is started meanwhile; those that the user has set stay."""
    new = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
