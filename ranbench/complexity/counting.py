"""Trained parameters and multiply-adds of a net, by part and in all, and what was not counted."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ranbench.complexity.depth import trunk_depth
from ranbench.complexity.ledger import OURS, REST, Ledger, Memo, flop_counter
from ranbench.models.attention import AttentionModule
from ranbench.records import Complexity

Shape = tuple[int, int, int]

CONVENTION = (
    "parameters: all values that are trained, BatchNorm scale and shift included, running statistics not; "
    "macs: multiply-adds of convolutions and linear layers (matrix products) in one forward pass on one image, "
    "one multiplication with its addition counted once, biases not counted"
)


def measure(net: nn.Module, shape: Shape, *, backward: bool = False) -> Complexity:
    """Count ``net`` on one image of ``shape`` (channels, height, width), in evaluation mode.

    The net itself is left as it is: a copy without memory is counted. The depth is that of nets built of our parts.

    Args:
        net: any net that takes a batch of images.
        shape: of one image.
        backward: count the backward pass as well; the net must then give one tensor.
    """
    depth = trunk_depth(net) if type(net).__module__.startswith(OURS) else None
    return count(on_meta(net), shape, depth=depth, backward=backward)


def count(
    net: nn.Module, shape: Shape, *, depth: int | None = None, backward: bool = False, memo: Memo | None = None
) -> Complexity:
    """Count a net that lies on the meta device and is not used afterwards; ``memo`` carries parts to the next net."""
    net.eval()
    backward_macs = _backward(net, shape) if backward else None
    parts = dict(_parts(net))
    ledger = charge(net, parts, shape, memo)
    parameters = parameters_by_part(net, parts)
    by_module = {
        name: {"parameters": parameters[name], "macs": ledger.parts[name].flops // 2}
        for name in (*parts, REST)
        if parameters[name] or ledger.parts[name].flops
    }
    uncounted = sum((tally.uncounted for tally in ledger.parts.values()), Counter[str]())
    return Complexity(
        parameters=parameters.total(),
        macs=sum(tally.flops for tally in ledger.parts.values()) // 2,
        by_module=by_module,
        uncounted=dict(sorted(uncounted.items())),
        convention=CONVENTION,
        depth=depth,
        backward_macs=backward_macs,
    )


def on_meta(net: nn.Module) -> nn.Module:
    """Copy a net without its memory: the copier finds meta tensors in place of parameters and buffers."""
    memo: dict[int, Any] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in net.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(net, memo)


def images(net: nn.Module, shape: Shape, number: int) -> torch.Tensor:
    """Return ``number`` images without memory, (number, *shape), of the type of the net's parameters."""
    dtype = next((parameter.dtype for parameter in net.parameters()), torch.float32)
    return torch.empty((number, *shape), dtype=dtype, device="meta")


def charge(net: nn.Module, parts: Mapping[str, nn.Module], shape: Shape, memo: Memo | None = None) -> Ledger:
    """Run one image through ``net`` and charge what it costs to ``parts``; the net is not used afterwards."""
    ledger = Ledger({} if memo is None else memo)
    for name, part in parts.items():
        ledger.follow(name, part)
    image = images(net, shape, 1)
    with ledger, torch.no_grad():
        net(image)
    ledger.close()
    return ledger


def parameters_by_part(net: nn.Module, parts: Mapping[str, nn.Module]) -> Counter[str]:
    """Count trained parameters by part; one that several modules share counts once, at its first place."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    for name, module in (*parts.items(), (REST, net)):
        for parameter in module.parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                counts[name] += parameter.numel() if parameter.requires_grad else 0
    return counts


def _parts(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Cut a net into parts of readable size: a stem, a unit, the mask of an attention module, a head.

    The net, its attention modules and chains of larger things (stages, units) are opened; all else is one part.
    """
    children = list(module.named_children())
    is_chain = isinstance(module, nn.Sequential | nn.ModuleList) and all(any(part.children()) for _, part in children)
    if path and not isinstance(module, AttentionModule) and not (children and is_chain):
        yield path, module
        return
    for name, child in children:
        below = f"{path}.{name}" if path else name
        if isinstance(module, AttentionModule):
            yield below, child
        else:
            yield from _parts(child, below)


def _backward(net: nn.Module, shape: Shape) -> int:
    """Count the gradients of weights and of inputs on one image, that of the image itself left out."""
    image = images(net, shape, 1)
    with flop_counter() as counter, torch.enable_grad():
        output = net(image)
        forward = counter.get_total_flops()
        if output.requires_grad:
            output.sum().backward()
        both = counter.get_total_flops()
    net.zero_grad()
    return int(both - forward) // 2
