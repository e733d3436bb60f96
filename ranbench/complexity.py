"""Parameters and multiply-adds, measured from the module, and what was not counted; makes ``counts.json``.

Everything runs on the meta device: shapes only, no memory, no arithmetic. Reading the counts without torch is in
``ranbench.counts``.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ranbench.catalogue import DATASETS, NETS, dataset_info
from ranbench.counts import Counts, key, read_counts
from ranbench.errors import SpecError
from ranbench.models import build
from ranbench.models.attention import AttentionModule
from ranbench.records import Complexity
from ranbench.spec import DataSpec, ModelSpec
from ranbench.suite import load_suite, shipped_suites

CONVENTION = (
    "parameters: all values that are trained, BatchNorm scale and shift included, running statistics not; "
    "macs: multiply-adds of convolutions and linear layers (matrix products) in one forward pass on one image, "
    "one multiplication with its addition counted once, biases not counted"
)
HIDDEN_VIEWS = frozenset({"aten._unsafe_view"})  # a view whose schema does not say so
REST = "(rest)"  # what belongs to no part, for instance a parameter of the net itself


def measure(net: nn.Module, shape: tuple[int, int, int]) -> Complexity:
    """Count ``net`` on one image of ``shape`` (channels, height, width), in evaluation mode.

    The net itself is left as it is: a copy without memory is counted.
    """
    return _count(_on_meta(net), shape)


def measure_named(model: ModelSpec, data: DataSpec) -> Complexity:
    """Count the net ``model`` on one image of ``data``; nothing is allocated.

    Raises:
        SpecError: the net has no form for these images.
    """
    info = dataset_info(data.name)
    with torch.device("meta"):
        net = build(model.name, model.options, info.shape, info.num_classes)
    return _count(net, info.shape)


def all_counts() -> dict[str, Counts]:
    """Count every net of the catalogue with all its options on every dataset it fits, and every cell of a suite.

    Raises:
        SuiteError: a shipped suite does not hold.
        SpecError: a suite names a net that does not fit its dataset.
    """
    counts: dict[str, Counts] = {}
    for model, data in _catalogue():
        with suppress(SpecError):  # a net without a form for this dataset
            counts[key(model, data)] = _counts(model, data)
    for model, data in _suite_cells():
        if key(model, data) not in counts:
            counts[key(model, data)] = _counts(model, data)
    return counts


def write_counts(path: Path) -> list[str]:
    """Count everything anew, write it to ``path`` and say entry by entry what moved."""
    before, after = read_counts(path), all_counts()
    lines = (f"  {json.dumps(name)}: {json.dumps(asdict(entry))}" for name, entry in after.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return _changes(before, after)


def _changes(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> list[str]:
    gone = [f"{name}: gone" for name in before if name not in after]
    new = [f"{name}: new" for name in after if name not in before]
    moved = [
        f"{name}: {field} {old} -> {getattr(after[name], field)}"
        for name, entry in before.items()
        if name in after
        for field, old in asdict(entry).items()
        if old != getattr(after[name], field)
    ]
    return gone + new + moved


def _catalogue() -> Iterator[tuple[ModelSpec, DataSpec]]:
    for (name, info), dataset in itertools.product(NETS.items(), DATASETS):
        for values in itertools.product(*info.options.values()):
            options = dict(zip(info.options, values, strict=True))
            yield ModelSpec.model_validate({"name": name, **options}), DataSpec.of(dataset)


def _suite_cells() -> Iterator[tuple[ModelSpec, DataSpec]]:
    for file in sorted(shipped_suites().glob("*.yaml")):
        for cell in load_suite(file).cells:
            yield cell.model, cell.data


def _counts(model: ModelSpec, data: DataSpec) -> Counts:
    measured = measure_named(model, data)
    return Counts(measured.parameters, measured.macs)


def _on_meta(net: nn.Module) -> nn.Module:
    """Copy a net without its memory: the copier finds meta tensors in place of parameters and buffers."""
    memo: dict[int, Any] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in net.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(net, memo)


def _count(net: nn.Module, shape: tuple[int, int, int]) -> Complexity:
    """Count a net that lies on the meta device and belongs to us."""
    parts = dict(_parts(net))
    macs, uncounted = _forward(net.eval(), parts, shape)
    parameters = _parameters(net, parts)
    by_module = {
        name: {"parameters": parameters[name], "macs": macs[name]}
        for name in (*parts, REST)
        if parameters[name] or macs[name]
    }
    return Complexity(
        parameters=parameters.total(),
        macs=macs.total(),
        by_module=by_module,
        uncounted=dict(sorted(uncounted.items())),
        convention=CONVENTION,
    )


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


def _parameters(net: nn.Module, parts: Mapping[str, nn.Module]) -> Counter[str]:
    """Count trained parameters by part; one that several modules share counts once, at its first place."""
    counts: Counter[str] = Counter()
    for name, parameter in net.named_parameters():
        part = next((part for part in parts if name.startswith(f"{part}.")), REST)
        counts[part] += parameter.numel() if parameter.requires_grad else 0
    return counts


def _forward(
    net: nn.Module, parts: Mapping[str, nn.Module], shape: tuple[int, int, int]
) -> tuple[Counter[str], Counter[str]]:
    """Run one image through ``net``; return multiply-adds by part, and how often which operator was not counted."""
    dtype = next((parameter.dtype for parameter in net.parameters()), torch.float32)
    image = torch.empty((1, *shape), dtype=dtype, device="meta")
    with FlopCounterMode(display=False) as counter, _Ledger(counter) as ledger, torch.no_grad():
        for name, part in parts.items():
            ledger.follow(name, part)
        net(image)
    macs = Counter({name: flops // 2 for name, flops in ledger.flops.items()})
    return macs, ledger.uncounted


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Writes down, operator by operator, in which part it ran and whether the counter knew it."""

    def __init__(self, counter: FlopCounterMode):
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.counter = counter
        self.inside: list[str] = [REST]
        self.flops: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()

    def follow(self, name: str, part: nn.Module) -> None:
        """Charge to ``name`` what runs while ``part`` is called, without the parts called inside it."""
        part.register_forward_pre_hook(lambda *_: self.inside.append(name))
        part.register_forward_hook(lambda *_: self._leave())

    def _leave(self) -> None:
        self.inside.pop()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload[Any, Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        before = self.counter.get_total_flops()
        result = func(*args, **(kwargs or {}))
        flops = self.counter.get_total_flops() - before
        self.flops[self.inside[-1]] += flops
        operator = func._overloadpacket
        if not flops and operator not in self.counter.flop_registry and _computes(func):
            self.uncounted[str(operator)] += 1
        return result


def _computes(func: torch._ops.OpOverload[Any, Any]) -> bool:
    """Tell whether an operator makes values out of tensors, rather than a view of one, a fact of one, or empty room."""
    if str(func._overloadpacket) in HIDDEN_VIEWS:
        return False
    schema = func._schema
    takes = any("Tensor" in str(argument.type) for argument in schema.arguments)
    makes = any(
        "Tensor" in str(value.type) and (value.alias_info is None or value.alias_info.is_write)
        for value in schema.returns
    )
    return takes and makes
