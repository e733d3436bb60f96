"""The processes that train one net together, each on its share of every batch; usually there is one, alone.

The gradients are averaged by torch's DistributedDataParallel. Here stands what a training needs besides: which rows of
a batch are a process's own, sums over all processes, and how rank 0 leads the others. It has the database and the
checkpoints; the others do what it tells them, iteration by iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from ranbench.errors import ProcessLost, SpecError
from ranbench.spec import Protocol

# torch 2.14 has another name for it
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(nn.parallel.DistributedDataParallel.__init__).parameters
)
_LOST = ("gloo/transport", "Connection closed by peer", "Connection reset", "Broken pipe", "NCCL", "Socket Timeout")
PATIENCE = timedelta(days=30)  # that the others wait for rank 0, which may wait for another command


class Ranks:
    """One process of several; ``rank`` of ``count``. This one is alone: nothing is shared, every sum is its own."""

    rank = 0
    count = 1

    @property
    def leads(self) -> bool:
        """Whether this process keeps the records."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """Return which of ``total`` rows are this process's own: the rows in their order, cut as evenly as may be."""
        return range(total * self.rank // self.count, total * (self.rank + 1) // self.count)

    def add(self, tensor: torch.Tensor) -> None:
        """Put the sum over all processes into ``tensor``."""

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the mean over all processes into ``tensors``, of one kind."""
        if self.count > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            self.add(flat)
            flat /= self.count
            parts = torch.split(flat, [tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def spread(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put rank 0's values into ``tensors``."""

    def tell(self, message: Any) -> None:
        """Tell the others something, as rank 0; nothing where this process is not that."""

    def watch(self) -> AbstractContextManager[None]:
        """Turn what torch raises when another process is gone into what it is."""
        return nullcontext()

    def listen(self) -> Any:
        """Return what rank 0 told, as one of the others."""
        raise RuntimeError("alone, there is nobody to listen to")

    def parallel(self, net: nn.Module) -> nn.Module:
        """Return what runs the net forward, and averages the gradients of a backward pass."""
        return net


ALONE = Ranks()


class Group(Ranks):
    """The processes of one machine, found by a file that all can read: nothing listens on a network.

    Args:
        rank: of this process.
        count: of processes.
        device: that this process trains on; gloo joins processors, NCCL GPUs.
        meeting: a file that does not exist yet, the same for all.
    """

    def __init__(self, rank: int, count: int, device: torch.device, meeting: Path):
        self.rank, self.count, self.device = rank, count, device
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = distributed.FileStore(str(meeting), count)  # type: ignore[attr-defined] # exported, unknown to mypy
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
        self._leading: Any = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def close(self) -> None:
        """Leave the others."""
        distributed.destroy_process_group()

    def add(self, tensor: torch.Tensor) -> None:
        """Put the sum over all processes into ``tensor``."""
        with self.watch():
            distributed.all_reduce(tensor)

    def spread(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put rank 0's values into ``tensors``."""
        for tensor in tensors:
            dense = tensor.contiguous()
            with self.watch():
                distributed.broadcast(dense, src=0)
            tensor.copy_(dense)

    def tell(self, message: Any) -> None:
        """Tell the others something, as rank 0; nothing where this process is not that."""
        if self.leads:
            with self.watch():
                distributed.broadcast_object_list([message], src=0, group=self._leading, device=torch.device("cpu"))

    def listen(self) -> Any:
        """Return what rank 0 told, as one of the others."""
        heard = [None]
        with self.watch():
            distributed.broadcast_object_list(heard, src=0, group=self._leading, device=torch.device("cpu"))
        return heard[0]

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Turn what torch raises when another process is gone into what it is.

        Raises:
            ProcessLost: it is.
        """
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, distributed.DistError) and not any(sign in str(error) for sign in _LOST):
                raise
            raise ProcessLost(
                f"another of the {self.count} processes of this run ended; the same command goes on from the last "
                "checkpoint"
            ) from None

    def parallel(self, net: nn.Module) -> nn.Module:
        """Return what runs the net forward, and averages the gradients of a backward pass."""
        # Buckets are never made anew after the first step, as they are by default: the order of additions, and with it
        # the last bit, would be another one in the first step after a resume.
        kept: Any = {_SYNC_BUFFERS: False}  # those of norms are averaged, or equal
        return nn.parallel.DistributedDataParallel(
            net,
            device_ids=[torch.cuda.current_device()] if self.device.type == "cuda" else None,
            find_unused_parameters=True,
            **kept,
        )


def check_shares(protocol: Protocol, num_images: int, count: int) -> None:
    """Check that every process has the same number of whole groups of every batch.

    Raises:
        SpecError: it has not.
    """
    batch, group = protocol.batch, protocol.norm_batch
    if count == 1:
        return
    if batch % count:
        raise SpecError(
            f"a batch of {batch} images is not divided by {count} processes; take a number that divides it, such as "
            f"--nproc {max(n for n in range(1, count + 1) if batch % n == 0)}"
        )
    share = batch // count
    if group and share % group and group % share:
        raise SpecError(
            f"norm_batch {group} and the {share} images of each of {count} processes do not divide each other; take "
            "another --nproc"
        )
    rest = num_images % batch
    if protocol.last_batch == "partial" and rest and (rest % count or (group and (rest // count) % group)):
        raise SpecError(
            f"the last batch of an epoch (last_batch partial) has {rest} images, which {count} processes cannot share "
            "in whole groups; take another --nproc"
        )
