"""Memory that one training step on a batch holds, worked out on the meta device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from ranbench.complexity.counting import Shape, images, on_meta
from ranbench.errors import SpecError, one_line


@dataclass(frozen=True)
class Memory:
    """Bytes that a training step on ``batch`` images holds between its forward and its backward pass.

    ``momentum_bytes`` are those of SGD; ``buffers_bytes`` mostly running statistics. ``activations_bytes`` is what is
    kept for the backward pass: inputs of layers, indices of poolings, the images themselves, the loss. What an operator
    needs only while it runs (workspace of convolutions, gradients of activations) comes on top.
    """

    batch: int
    parameters_bytes: int
    gradients_bytes: int
    momentum_bytes: int
    buffers_bytes: int
    activations_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it together."""
        return sum(getattr(self, field.name) for field in fields(self) if field.name != "batch")


def memory(net: nn.Module, shape: Shape, batch: int) -> Memory:
    """Work out the memory of one step on ``batch`` images of ``shape`` (channels, height, width); allocates nothing.

    Raises:
        SpecError: a batch of less than one image, or the net cannot train on this one.
    """
    if batch < 1:
        raise SpecError(f"batch {batch!r} is not allowed (allowed: whole numbers of 1 or more)")
    net = on_meta(net).train()
    parameters = list(net.parameters())
    trained = _bytes(parameter for parameter in parameters if parameter.requires_grad)
    try:
        activations = _kept(net, images(net, shape, batch))
    except (RuntimeError, ValueError) as error:
        size = "x".join(map(str, (batch, *shape)))
        raise SpecError(f"batch {batch}: the net cannot train on {size}: {one_line(error)}") from error
    return Memory(
        batch=batch,
        parameters_bytes=_bytes(parameters),
        gradients_bytes=trained,
        momentum_bytes=trained,
        buffers_bytes=_bytes(net.buffers()),
        activations_bytes=activations,
    )


def _kept(net: nn.Module, batch: torch.Tensor) -> int:
    """Sum the storages kept by a forward pass and its loss, each once, without parameters and buffers."""
    owned = {tensor.untyped_storage()._cdata for tensor in (*net.parameters(), *net.buffers())}
    # The storages are held here, since the name of one that is gone may be given to the next.
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage

    def never(_: None) -> torch.Tensor:
        raise AssertionError("nothing is taken back: there is no backward pass")

    with saved_tensors_hooks(keep, never), torch.enable_grad():
        logits = net(batch)
        labels = torch.zeros(len(batch), dtype=torch.int64, device="meta")
        functional.cross_entropy(logits, labels)
    return sum(storage.nbytes() for name, storage in kept.items() if name not in owned)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
