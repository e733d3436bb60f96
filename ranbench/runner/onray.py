"""Runs on a Ray cluster: what is asked of it, what is carried to its nodes, and what a node must have for a run."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from ranbench.environment import usable_cores
from ranbench.environment.owner import this_host
from ranbench.errors import CheckpointError, DataError, EnvironmentProblem, SpecError, StoreError
from ranbench.execution import Channel, Resources
from ranbench.execution.actors import RayExecutor
from ranbench.execution.cluster import PACKAGE, Cluster
from ranbench.factories import Kind, factory_file
from ranbench.runner.delivery import Offer, data_on_node, offered
from ranbench.runner.devices import check_device
from ranbench.runner.dispatch import Dispatch
from ranbench.runner.how import How
from ranbench.runner.workplace import Assignment, Order, train
from ranbench.spec import RunSpec

FOLDER_ID = ".folder-id"  # in a folder of results: by its content a node tells whether it sees the same folder
OF_A_NODE = (CheckpointError, DataError, EnvironmentProblem, SpecError, StoreError)


@dataclass(frozen=True)
class RayOrder(Order):
    """An order for the nodes of a cluster.

    Attributes:
        host: of the command.
        folder: where the command works, and its nodes too where they have it.
        folder_id: of the folder of results.
        offer: datasets that a node without them is brought.
    """

    host: str = ""
    folder: Path = Path()
    folder_id: str = ""
    offer: Offer = field(default_factory=dict)


def train_on_node(channel: Channel, order: RayOrder, assignment: Assignment) -> None:
    """Train runs on a node, after a look at what it has; otherwise ``train``.

    Raises:
        RanbenchError: the node lacks something that is no fault of a run; the text names the node.
    """
    try:
        with contextlib.suppress(OSError):
            os.chdir(order.folder)
        _check_node(order, assignment)
        data = data_on_node(assignment.specs[0].data.name, order.data, order.offer)
        # a process keeps by the key what it has opened for a folder
        train(channel, replace(order, key=f"{order.key} {data}", data=data), assignment)
    except OF_A_NODE as error:
        kind = next(each for each in OF_A_NODE if isinstance(error, each))
        raise kind(f"node {this_host()} of the Ray cluster: {error}") from error


def _check_node(order: RayOrder, assignment: Assignment) -> None:
    if order.url.startswith("sqlite") and this_host() != order.host:
        raise StoreError(_NEEDS_A_SERVER)
    if folder_id(order.results) != order.folder_id:
        raise EnvironmentProblem(
            f"its folder {order.results} is not the one of the command's results; call the command in a folder that "
            "all nodes share, under the same path"
        )
    check_device(order.device, order.how, assignment.specs)


_NEEDS_A_SERVER = (
    "runs on several machines need a PostgreSQL server, since SQLite is a file of one machine; "
    "--db postgresql+psycopg://USER@HOST/NAME"
)


def folder_id(results: Path) -> str | None:
    """The content by which a folder of results is known; None where there is none."""
    try:
        return (results / FOLDER_ID).read_text(encoding="utf-8")
    except OSError:
        return None


def modules_of(specs: Sequence[RunSpec]) -> list[Path]:
    """The users' own modules that runs import, by files or folders, but for those that are installed as packages.

    Raises:
        SpecError: one cannot be imported.
    """
    names: dict[tuple[Kind, str], None] = {}
    for spec in specs:
        names |= {("model", spec.model.factory): None} if spec.model.factory else {}
        names |= {("dataset", spec.data.factory): None} if spec.data.factory else {}
    installed = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")]
    found: dict[Path, None] = {}
    for kind, name in names:
        file = factory_file(kind, name).resolve()
        if not any(file.is_relative_to(folder) for folder in installed):
            top = sys.modules[name.partition(":")[0].partition(".")[0]]
            folders = list(getattr(top, "__path__", ()))
            found[Path(folders[0]) if folders else file] = None
    return list(found)


class RaySite:
    """The cluster on which the runs of a command are trained.

    Args:
        dispatch: which cluster, and what a call has of it.
        how: with the threads of a run.
        device: auto, cpu or cuda.
        specs: the runs.
        url: of the database.

    Raises:
        UsageError, EnvironmentProblem: there is no such cluster, or it has no node for such runs.
        StoreError: the database cannot be used from its nodes.
        SpecError: a user's own module cannot be imported.
    """

    def __init__(self, dispatch: Dispatch, how: How, device: str, specs: Sequence[RunSpec], url: str):
        self.dispatch, self.is_local = dispatch, dispatch.address is None
        self.datasets = [spec.data.name for spec in specs]
        threads = (how.threads or 1) * (how.at_once or 1)
        modules = modules_of(specs) + ([] if self.is_local else [PACKAGE])
        if self.is_local:
            self.device = check_device(device, how, specs)
            cores = max(usable_cores(), threads * (dispatch.jobs or 1))
            self.cluster = Cluster(cores=cores, modules=modules)
        else:
            self.cluster = Cluster(dispatch.address, modules=modules)
        try:
            if not self.is_local:
                self.device = self._device(device)
            if url.startswith("sqlite") and (others := self.cluster.elsewhere):
                raise StoreError(
                    f"the Ray cluster has other machines than this one ({', '.join(others)}); {_NEEDS_A_SERVER}"
                )
            share = dispatch.gpus_per_run if self.device.type == "cuda" else 0.0
            self.resources = Resources(cpus=threads, gpus=share)
            self.executor = RayExecutor(self.cluster, self.resources, dispatch.jobs)
        except BaseException:
            self.cluster.close()
            raise

    def order(self, order: Order) -> RayOrder:
        """Make the order of a command one for nodes."""
        return RayOrder(
            **{
                **{each.name: getattr(order, each.name) for each in fields(order)},
                "data": order.data.absolute(),
                "results": order.results.absolute(),
                "threads": int(self.resources.cpus),
            },
            host=this_host(),
            folder=Path.cwd(),
            folder_id=_known(order.results),
            offer={} if self.is_local else offered(self.cluster, self.datasets, order.data),
        )

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster."""
        self.executor.close()

    def _device(self, device: str) -> torch.device:
        if device == "auto":
            has_gpus = any(node.gpus >= self.dispatch.gpus_per_run for node in self.cluster.nodes())
            return torch.device("cuda" if has_gpus else "cpu")
        return torch.device(device)


def _known(results: Path) -> str:
    """The content by which a folder of results is known; it is given one."""
    if (known := folder_id(results)) is None:
        results.mkdir(parents=True, exist_ok=True)
        known = uuid.uuid4().hex
        with contextlib.suppress(FileExistsError), (results / FOLDER_ID).open("x", encoding="utf-8") as file:
            file.write(known)
        known = folder_id(results) or known
    return known
