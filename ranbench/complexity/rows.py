"""A net as the paper's table 2 prints it: layers, units and modules from input to logits, with sizes and counts.

Our own nets are described by their classes. Others are described by their outermost children: containers of repeated
blocks are opened, a block is named by its class and its convolutions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import cast

from torch import nn
from torch.nn.modules import conv, pooling

from ranbench.complexity.counting import Shape, charge, on_meta, parameters_by_part
from ranbench.complexity.depth import SHORTCUTS
from ranbench.complexity.ledger import REST, Ledger
from ranbench.models.attention import AttentionModule, EncoderDecoder, Hourglass
from ranbench.models.layers import Head, NormReLU
from ranbench.models.units import Branches, PostActivationUnit, PreActivated

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MOST_LAYERS = 6  # a block of more is described by their number
TIMES = {1: "once", 2: "twice"}

Output = tuple[int, ...] | None
Size = int | tuple[int | None, ...] | None  # of a kernel, stride or map, for both sides or for each


@dataclass(frozen=True)
class Row:
    """One line of the table: ``times`` equal layers, units or modules in a row, with their counts together.

    ``output`` is the shape of one image behind it: (channels, height, width), or whatever the layer gives; None where
    it is not one tensor, or where the layer is not used in evaluation.
    """

    layer: str
    details: str
    output: Output
    times: int
    parameters: int
    macs: int


@dataclass(frozen=True)
class _Sketch:
    """A row before it is counted: ``parts`` (path, module) are charged to it, the first one gives its output."""

    layer: str
    module: nn.Module
    parts: tuple[tuple[str, nn.Module], ...]
    details: str = ""


def tree(net: nn.Module, shape: Shape) -> tuple[Row, ...]:
    """Describe ``net`` on one image of ``shape`` (channels, height, width), in the order in which its parts are called.

    The parameters and multiply-adds of the rows sum to those of the net; what belongs to no layer is in the last row.
    """
    net = on_meta(net).eval()
    sketches = list(_joined(chain.from_iterable(_sketches(name, child) for name, child in net.named_children())))
    parts = dict(part for sketch in sketches for part in sketch.parts)
    parameters = parameters_by_part(net, parts)
    texts = [sketch.details or _layers(sketch.module) for sketch in sketches]  # before the parts are charged
    ledger = charge(net, parts, shape)
    called = {name: index for index, name in enumerate(ledger.outputs)}
    rows = []
    for sketch, text in sorted(
        zip(sketches, texts, strict=True), key=lambda pair: called.get(pair[0].parts[0][0], len(called))
    ):
        names = [name for name, _ in sketch.parts]
        counts = (sum(parameters[name] for name in names), sum(ledger.parts[name].flops for name in names) // 2)
        rows.append(_row(sketch, text, ledger, *counts))
    rest = Row("rest", "outside the layers above", None, 1, parameters[REST], ledger.parts[REST].flops // 2)
    return tuple(_merged([*rows, rest] if rest.parameters or rest.macs else rows))


def _row(sketch: _Sketch, text: str, ledger: Ledger, parameters: int, macs: int) -> Row:
    output = ledger.outputs.get(sketch.parts[0][0])
    if isinstance(sketch.module, Head) and output:
        output = (output[0], 1, 1)
    if isinstance(sketch.module, AttentionModule):
        text = _attention(sketch.module, output)
    return Row(sketch.layer, text, output, 1, parameters, macs)


def _merged(rows: Sequence[Row]) -> Iterator[Row]:
    """Join rows that follow each other and are equal."""
    index = 0
    while index < len(rows):
        one = rows[index]
        times = next((n for n in range(1, len(rows) - index) if rows[index + n] != one), len(rows) - index)
        yield replace(one, times=times, parameters=times * one.parameters, macs=times * one.macs)
        index += times


# --- which rows there are


def _sketches(path: str, module: nn.Module) -> Iterator[_Sketch]:
    """Cut ``module`` into rows; one without a name is charged to the layer before it."""
    below = [(f"{path}.{name}", child) for name, child in module.named_children()]
    layer = _layer(module)
    if isinstance(module, Head):
        yield _Sketch("average pooling", module, (below[0],), details="global")
        yield _Sketch("fully connected", module.classifier, (below[1],))
    elif layer is not None:
        yield _Sketch(layer, module, ((path, module),))
    elif isinstance(module, CONTAINERS) or _holds_blocks(module):
        yield from chain.from_iterable(_sketches(*child) for child in below)
    elif not any(True for _ in module.parameters()):
        inside = next((part for part in module.modules() if _layer(part)), None)
        if inside is not None:
            yield _Sketch(_layer(inside) or "", inside, ((path, module),))
    else:
        weighted = _weighted(module)
        alone = _layer(weighted[0]) if len(weighted) == 1 else None
        yield _Sketch(alone or type(module).__name__, module, ((path, module),))


def _layer(module: nn.Module) -> str | None:
    """Return the paper's word for a layer, unit or module; an empty one for a normalisation, None for all else."""
    words: tuple[tuple[str, type | tuple[type, ...]], ...] = (
        ("attention module", AttentionModule),
        ("residual unit", (PreActivated, PostActivationUnit)),
        ("convolution", conv._ConvNd),
        ("fully connected", nn.Linear),
        ("max pooling", (pooling._MaxPoolNd, pooling._AdaptiveMaxPoolNd)),
        ("average pooling", (pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd)),
        ("", (NormReLU, nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)),
    )
    return next((word for word, kinds in words if isinstance(module, kinds)), None)


def _holds_blocks(module: nn.Module) -> bool:
    """Tell whether a module has a chain of alike blocks among its children, each of several weighted layers."""
    for child in module.children():
        blocks = list(child.children()) if isinstance(child, CONTAINERS) else []
        if len(blocks) > 1 and len({type(block) for block in blocks}) == 1 and len(_weighted(blocks[0])) > 1:
            return True
    return False


def _weighted(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, conv._ConvNd | nn.Linear)]


def _joined(sketches: Iterator[_Sketch]) -> Iterator[_Sketch]:
    """Charge a normalisation to the convolution before it; elsewhere it is a row of its own."""
    last: _Sketch | None = None
    for sketch in sketches:
        if sketch.layer == "" and last is not None and last.layer == "convolution":
            last = replace(last, parts=(*last.parts, *sketch.parts))
            continue
        if last is not None:
            yield last
        last = sketch
        if sketch.layer == "":
            last = replace(sketch, layer="normalisation", details=type(sketch.module).__name__)
    if last is not None:
        yield last


# --- what stands in a row


def _layers(module: nn.Module) -> str:
    """Describe a layer by its sizes, a unit or block by its convolutions: ``1x1, 64 / 3x3, 64 / 1x1, 256``."""
    if isinstance(module, pooling._MaxPoolNd | pooling._AvgPoolNd):
        kernel, stride = cast("tuple[Size, Size]", (module.kernel_size, module.stride))
        return f"{_sides(kernel)}, stride {_one(stride)}"
    if isinstance(module, pooling._AdaptiveAvgPoolNd | pooling._AdaptiveMaxPoolNd):
        return "global" if _one(module.output_size) == 1 else f"to {_sides(module.output_size)}"
    if isinstance(module, nn.Linear):
        return f"{module.out_features}"
    if isinstance(module, conv._ConvNd):
        return _convolution(module)
    weighted = _weighted(module)
    is_branched = any("branch" in name for name, _ in module.named_children())
    if len(weighted) > MOST_LAYERS or is_branched:
        words = Counter(_layer(layer) for layer in weighted)
        return ", ".join(f"{word} x{number}" for word, number in words.items())
    projected = any(
        name in SHORTCUTS and any(True for _ in child.parameters()) for name, child in module.named_children()
    )
    return _chain(module) + (" (projection)" if projected else "")


def _chain(module: nn.Module) -> str:
    if isinstance(module, conv._ConvNd | nn.Linear):
        return _layers(module)
    if isinstance(module, Branches):
        return f"({' | '.join(_chain(branch) for branch in module.branches)})"
    inside = (_chain(child) for name, child in module.named_children() if name not in SHORTCUTS)
    return " / ".join(text for text in inside if text)


def _convolution(module: conv._ConvNd) -> str:
    depthwise = module.groups > 1 and module.groups == module.in_channels
    facts = [_sides(module.kernel_size), f"{module.out_channels}"]
    if _one(module.stride) != 1:
        facts.append(f"stride {_one(module.stride)}")
    if module.groups > 1:
        facts.append("depthwise" if depthwise else f"{module.groups} groups")
    return ", ".join(facts)


def _attention(module: AttentionModule, output: Output) -> str:
    """Say p, t, r of an attention module and what its mask does: ``p = 1, t = 2, r = 1; mask pools once, to 7x7``."""
    sizes = f"p = {len(module.before)}, t = {len(module.trunk)}"
    branch = module.mask[0]
    if not isinstance(branch, EncoderDecoder):
        return f"{sizes}; mask of {len(branch)} units" if isinstance(branch, nn.Sequential) else sizes
    level = branch[0]
    assert isinstance(level, Hourglass)
    r, up, poolings = len(level.before), len(level.after), 1
    while level.deeper is not None:
        level, poolings = level.deeper, poolings + 1
    way = "" if up == r else " on the way down"
    bottom = f", to {'x'.join(str(side // 2**poolings) for side in output[1:])}" if output else ""
    return f"{sizes}, r = {r}{way}; mask pools {TIMES.get(poolings, f'{poolings} times')}{bottom}"


def _sides(size: Size) -> str:
    """Write a kernel or map: ``3x3``; a single number stands for both sides."""
    return "x".join(map(str, size)) if isinstance(size, tuple) else f"{size}x{size}"


def _one(size: Size) -> int | str | None:
    """Return the number that all sides have, or all of them as text."""
    if not isinstance(size, tuple):
        return size
    return size[0] if len(set(size)) == 1 else _sides(size)
