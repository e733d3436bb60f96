"""One run on several processes: torchrun's agent starts this same command so many times, and rank 0 leads the others.

The command that the user typed is the agent's. It reads no data and no database; what it is told to stop, it hands to
rank 0 alone, which stops at an iteration of its choice and tells the others. Nothing listens on a network: processes
find each other by files, and gloo's and NCCL's sockets are those of the loopback interface.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ranbench.catalogue import is_foreign
from ranbench.environment import usable_cores
from ranbench.errors import Divergence, EnvironmentProblem, ProcessLost, SpecError, UsageError
from ranbench.runner.events import Stop
from ranbench.runner.how import How
from ranbench.spec import DataSpec, RunSpec

if TYPE_CHECKING:
    import torch

    from ranbench.data import Images
    from ranbench.training import Group, Training

MEETING = "RANBENCH_MEETING"  # the folder where the processes of one command find each other
LEADER = "leader"  # the file in it that holds the process number of rank 0
NO_SERVER = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"  # which the agent would make, on every interface
GRACE = "600"  # seconds that a process has to end after another one has failed
# and no warnings of C++, which would tell of every process that unused parameters are looked for and not found
VARIABLES = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
PARENT_POLL = 1.0


def rank_here() -> int | None:
    """Return which of several processes this one is, None where it was not started as one."""
    return int(os.environ["RANK"]) if MEETING in os.environ else None


def check_sharing(specs: Sequence[RunSpec], device: torch.device, how: How) -> None:
    """Check that every run can be trained by so many processes on this machine.

    Raises:
        UsageError: a choice does not go with several processes.
        SpecError: a batch is not divided by them.
        EnvironmentProblem: there are fewer GPUs.
    """
    from ranbench.training import check_shares

    if how.nproc == 1:
        return
    if how.at_once not in {None, 1}:
        raise UsageError(
            f"--nproc {how.nproc}: trains one run at a time, got --at-once {how.at_once}; leave one of them out"
        )
    if how.path not in {"auto", "eager"}:
        raise UsageError(
            f"--nproc {how.nproc}: several processes take eager steps, got --path {how.path}; leave it out"
        )
    if device.type == "cuda":
        import torch

        found = torch.cuda.device_count()
        if found < how.nproc:
            raise EnvironmentProblem(
                f"--nproc {how.nproc}: this machine has {found} CUDA devices, and each process needs one"
            )
    for spec in specs:
        try:
            check_shares(spec.protocol, spec.data.train_images, how.nproc)
        except SpecError as error:
            raise UsageError(f"--nproc {how.nproc}: {error}") from None


def launch(nproc: int, command: Sequence[str]) -> tuple[int, str | None]:
    """Run a command of Python in so many processes; return the exit code and, where a process died, that in words.

    The first Ctrl-C or SIGTERM asks rank 0 for a stop, the second one for a stop at once.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in list(logging.root.manager.loggerDict):  # its own words for what is said in one line here
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory(prefix="ranbench-") as place:
        os.environ.update({MEETING: place, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": GRACE, NO_SERVER: "1"})
        for name, value in {**VARIABLES, "OMP_NUM_THREADS": str(max(1, usable_cores() // nproc))}.items():
            os.environ.setdefault(name, value)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=nproc,
            run_id="ranbench",
            rdzv_backend="c10d",
            rdzv_endpoint=str(Path(place) / "agent"),
            rdzv_configs={"store_type": "file"},
            max_restarts=0,
            local_addr="127.0.0.1",
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(place) / "logs")),
            signals_to_handle="",  # they are handed on here
        )
        with _handing_on(Path(place) / LEADER):
            try:
                elastic_launch(config, sys.executable)(*command)
            except ChildFailedError as error:
                return _told(error.failures, nproc)
    return 0, None


def _told(failures: Any, nproc: int) -> tuple[int, str | None]:
    """The exit code of rank 0 where it has one; else of the process that failed, which has said why itself."""
    codes = {rank: failure.exitcode for rank, failure in failures.items()}
    if codes.get(0, -1) > 0:
        return codes[0], None
    rank, failure = min(failures.items(), key=lambda entry: entry[1].timestamp)
    if failure.exitcode > 0:
        return failure.exitcode, None
    return ProcessLost.exit_code, (
        f"process {rank} of {nproc} was killed by signal {-failure.exitcode}; the same command goes on from the last "
        "checkpoint"
    )


@contextlib.contextmanager
def _handing_on(leader: Path) -> Iterator[None]:
    """Hand Ctrl-C and SIGTERM to rank 0; before it is there, they end the command."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(int(leader.read_text()), number)
        except (OSError, ValueError):
            raise SystemExit(128 + number) from None

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def joined(device: torch.device, how: How, stop: Stop) -> Iterator[Group]:
    """Join the other processes of this command; rank 0 tells them at the end that it is over.

    Raises:
        EnvironmentProblem: this process is not one of as many as ``how`` says.
    """
    import torch

    from ranbench.training import Group

    rank, count, place = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), Path(os.environ[MEETING])
    if count != how.nproc:
        raise EnvironmentProblem(f"--nproc {how.nproc}: started as one of {count} processes")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    group = Group(rank, count, device, place / "ranks")
    if group.leads:
        _announce(place)
        _watch_parent(stop)
    else:
        for number in (signal.SIGINT, signal.SIGTERM):  # rank 0 decides when all of them stop
            signal.signal(number, signal.SIG_IGN)
    try:
        yield group
    finally:
        with contextlib.suppress(ProcessLost):
            group.tell("end")
        group.close()


def _announce(place: Path) -> None:
    partial = place / f"{LEADER}.part"
    partial.write_text(str(os.getpid()))
    partial.replace(place / LEADER)


def _watch_parent(stop: Stop) -> None:
    """Ask for a stop once the agent is gone, as after a kill -9."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL)
        stop.request(signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def follow(group: Group, *, data: Path, device: torch.device, how: How) -> None:
    """Do what rank 0 says until it is over; this process keeps no records.

    Raises:
        RanbenchError: an image is damaged, rank 0 is gone, and so on.
    """
    from ranbench.runner.attempt import Shared

    images: dict[DataSpec, Images] = {}
    training: Training | None = None
    while (told := group.listen()) != "end":
        if isinstance(told, Shared):
            training = _shared(told, images, group, data=data, device=device, how=how)
        elif told == "leave":
            if training is not None:
                training.close()
            training = None
        else:
            assert training is not None
            with contextlib.suppress(Divergence):  # rank 0 meets the same, and records it
                {"step": training.take_step, "look": training.look, "finish": training.finish}[told]()


def _shared(
    told: Any, images: dict[DataSpec, Images], group: Group, *, data: Path, device: torch.device, how: How
) -> Training:
    """Build the training that rank 0 builds, and bring it to where that stands."""
    from ranbench.runner.attempt import labels_of, net_of
    from ranbench.runner.loading import load_onto
    from ranbench.training import EnginePath, Training

    spec = RunSpec.model_validate(told.spec)
    if spec.data not in images:
        images[spec.data] = load_onto(spec.data, data, device, trusted=how.trust_imports)
    found = images[spec.data]
    labels, redrawn, noisy = labels_of(spec, found)
    training = Training(
        net_of(spec, found, trusted=how.trust_imports),
        found,
        labels,
        spec.protocol,
        seed=spec.seed,
        device=device,
        redrawn=redrawn,
        noisy=noisy is not None,
        foreign=is_foreign(spec.model.name),
        path=EnginePath.parse(told.path),
        threads=told.threads,
        workers=how.workers,
        ranks=group,
    )
    training.share_state()
    return training
