"""Datasets for the nodes of a Ray cluster: found there, or brought from the machine of the command."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ranbench.data import LOADERS
from ranbench.errors import DataError, one_line
from ranbench.execution.actor import received
from ranbench.execution.cluster import Cluster

Offer = Mapping[str, Mapping[str, Any]]  # by dataset and path, what the cluster keeps of the file


def offered(cluster: Cluster, datasets: Iterable[str], root: Path) -> Offer:
    """Put the files of those datasets that can be carried, and are good in ``root``, at the nodes' disposal.

    Args:
        cluster: keeps them as long as the offer is held.
        datasets: names; digits, users' own and those of many files are never carried.
        root: folder of the datasets on this machine; what is not there the nodes may have.
    """
    offer = {}
    for name in dict.fromkeys(datasets):
        contents = LOADERS[name].contents if name in LOADERS else None
        if contents is not None:
            with contextlib.suppress(DataError):
                offer[name] = {path: cluster.put(content) for path, content in contents(root)}
    return offer


def data_on_node(dataset: str, root: Path, offer: Offer) -> Path:
    """Return the folder of datasets on this node for runs of one of them.

    It is the command's where that is there, else the one that the node names itself; and where the dataset is not in
    it and is offered, the user's cache on this node, into which it is brought once and checked.

    Raises:
        DataError: it cannot be kept.
    """
    own = os.environ.get("RANBENCH_DATA")
    found = Path(own) if own and not root.is_dir() else root
    if dataset not in offer or LOADERS[dataset].is_there(found):
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ranbench" / "data"
    try:
        LOADERS[dataset].verify(cache)
    except DataError:
        try:
            _bring(cache, offer[dataset])
        except OSError as error:
            raise DataError(
                f"{dataset}: neither in {found}, nor can it be kept in {cache}: {one_line(error)}; make room there, or "
                "name another folder by RANBENCH_DATA or XDG_CACHE_HOME when Ray is started"
            ) from error
    return cache


def _bring(folder: Path, files: Mapping[str, Any]) -> None:
    """Write files as a whole each, since other workers of the node may do the same, or read."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(part, "wb") as file:
                file.write(received(content))
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
