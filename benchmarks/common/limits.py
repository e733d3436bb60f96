"""What the machine could do at best, measured in the same process: its matrix products, and its memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from common.measure import finish_queue, seconds

ROUNDS = 5
# operators that move no data although they return a tensor
_FREE = ("empty", "detach", "_unsafe_view", "view", "reshape", "expand")


def matmul_peak(device: torch.device, side: int, precision: str = "float32") -> float:
    """Return multiply-adds per second of a product of two ``side`` x ``side`` matrices in a protocol's precision."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    switch: Any = torch.backends.cuda.matmul
    before = switch.fp32_precision

    def product() -> None:
        torch.mm(left, right)
        finish_queue(device)

    try:
        switch.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        product()
        return float(side**3 / statistics.median(seconds(product) for _ in range(ROUNDS)))
    finally:
        switch.fp32_precision = before


def copy_rate(device: torch.device, mebibytes: int) -> float:
    """Return bytes per second, read and written, of a copy far larger than the caches."""
    source = torch.ones(mebibytes * 2**18, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        finish_queue(device)

    copy()
    return 2 * source.numel() * source.element_size() / statistics.median(seconds(copy) for _ in range(ROUNDS))


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operators are given and return; views count nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        views = [value.alias_info is not None and not value.alias_info.is_write for value in func._schema.returns]
        if not (any(views) or func._schema.name.split("::")[1].startswith(_FREE)):
            self.bytes += _size(tree_leaves((args, kwargs))) + _size(tree_leaves(found))
        return found


def _size(values: Iterable[object]) -> int:
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, torch.Tensor))


def traffic(net: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, targets: torch.Tensor) -> int:
    """Return the bytes that one eager step reads and writes, operator by operator, each tensor once per operator.

    Less cannot be moved without fusing operators, unless a cache keeps a tensor from one operator to the next.
    """
    counted = _Traffic()
    with counted:
        loss = nn.functional.cross_entropy(net(images), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return counted.bytes
