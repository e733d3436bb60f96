"""What the multiply-adds are charged to: torch's counter, kept by part of a net, and equal parts counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from ranbench.models.attention import SoftMask
from ranbench.models.units import PostActivationUnit, PreActivated

REST = "(rest)"  # what belongs to no part, for instance a parameter of the net itself
# Operators that make no values though their schema reads so: a hidden view, and empty room.
VALUELESS = frozenset({"aten._unsafe_view", "aten.empty_like", "aten.new_empty", "aten.new_empty_strided"})
OURS = "ranbench.models."  # where the classes of our own nets lie
PURE = (OURS, "torch.nn.modules.")  # modules whose printed form and input shape say all that counts depend on


@dataclass
class Tally:
    """Floating-point operations, two for a multiply-add, and how often which operator was not counted."""

    flops: int = 0
    uncounted: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add what another part cost."""
        self.flops += other.flops
        self.uncounted += other.uncounted


# Class, printed form and inputs of a part -> what it cost, and its output, which has a shape but no values.
Memo = dict[tuple[Any, ...], tuple[Tally, torch.Tensor]]


def conv_backward_flops(
    grad_out: list[int], image: list[int], weight: list[int], *rest: Any, out_shape: Any = None, **_: Any
) -> int:
    """Count the gradients of input and weight, each as the forward pass; torch's own formula overlooks groups."""
    del out_shape
    transposed, output_mask = rest[4], rest[7]
    wanted = sum(map(bool, output_mask[:2]))
    return wanted * conv_flop_count(image, weight, grad_out, transposed=transposed)


def flop_counter() -> FlopCounterMode:
    """Return torch's counter with the backward pass of grouped convolutions mended."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: conv_backward_flops})


class Ledger(FlopCounterMode):
    """torch's counter, which also writes down in which part an operator ran, and the operators that it does not count.

    Work of a part of our own nets that was met before, with equal inputs, is taken from ``memo`` and not run again.
    """

    def __init__(self, memo: Memo):
        super().__init__(display=False)
        self.memo = memo
        self.parts: dict[str, Tally] = {REST: Tally()}
        self.outputs: dict[str, tuple[int, ...] | None] = {}  # by part, in the order of the first calls, without batch
        self.seen = 0  # operations that were run, not taken from the memo
        self._inside = [self.parts[REST]]
        self._replaced: list[nn.Module] = []

    def follow(self, name: str, part: nn.Module) -> None:
        """Charge to ``name`` what runs while ``part`` is called, without the parts called inside it."""
        for module in part.modules():
            if is_repeatable(module):
                key = (type(module), repr(module))
                module.forward = partial(self._once, key, module.forward)
                self._replaced.append(module)
        self.parts[name] = Tally()
        part.register_forward_pre_hook(lambda *_: self._inside.append(self.parts[name]))
        part.register_forward_hook(lambda _module, _inputs, output: self._leave(name, output))

    def _leave(self, name: str, output: object) -> None:
        self._inside.pop()
        shape = tuple(output.shape[1:]) if isinstance(output, torch.Tensor) else None
        self.outputs.setdefault(name, shape)

    def _once(self, key: tuple[Any, ...], forward: Callable[..., torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        key = (*key, x.shape, x.dtype)
        if key not in self.memo:
            self._inside.append(Tally())
            output = forward(x)
            self.memo[key] = (self._inside.pop(), output)
        tally, output = self.memo[key]
        self._inside[-1].add(tally)
        return output

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        """Let torch count one operator, and charge what its count grew by to the part that is running."""
        total: Mapping[Any, int] = self.flop_counts["Global"]
        before = total.get(func_packet, 0)
        result = super()._count_flops(func_packet, out, args, kwargs)  # type: ignore[no-untyped-call]  # torch's
        flops = total.get(func_packet, 0) - before
        self.seen += flops
        self._inside[-1].flops += flops
        if func_packet not in self.flop_registry and _computes(func_packet):
            self._inside[-1].uncounted[str(func_packet)] += 1
        return result

    def close(self) -> None:
        """Let go of the net, and make sure that every operation that torch counted was charged to a part."""
        for module in self._replaced:
            del module.forward  # else the module holds itself, and lives until the garbage collector comes
        self._replaced.clear()
        assert self.seen == self.get_total_flops(), "torch's counter counts by another way than this ledger reads"


def is_repeatable(module: nn.Module) -> bool:
    """Tell whether ``module`` is a unit or a mask of ours, in which nothing was changed: equal ones cost the same."""
    return isinstance(module, PreActivated | PostActivationUnit | SoftMask) and all(
        type(part).__module__.startswith(PURE)
        and not (part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))
        for part in module.modules()
    )


@cache
def _computes(packet: torch._ops.OpOverloadPacket[Any, Any]) -> bool:
    """Tell whether an operator makes values out of tensors, rather than a view of one, a fact of one, or empty room."""
    if str(packet) in VALUELESS:
        return False
    names: list[str] = packet.overloads()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    schemas = (getattr(packet, name)._schema for name in names)
    return any(_makes_values(schema) for schema in schemas if not any(value.is_out for value in schema.arguments))


def _makes_values(schema: Any) -> bool:
    takes = any("Tensor" in str(argument.type) for argument in schema.arguments)
    makes = any(
        "Tensor" in str(value.type) and (value.alias_info is None or value.alias_info.is_write)
        for value in schema.returns
    )
    return takes and makes
