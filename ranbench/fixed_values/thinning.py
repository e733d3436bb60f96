"""A net made narrow and short in place: fewer channels in every layer, chains of equal blocks cut. No kind is lost.

The net comes from ``models.build`` by its own name and options, so that what builds it is measured too; every
connection, kernel, stride and pooling of it stays, and convolutions in groups stay in groups.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ranbench.errors import SpecError
from ranbench.models import build
from ranbench.spec import DataSpec, ModelSpec

Layer = nn.Conv2d | nn.Linear
Ends = tuple[Layer, Layer]

# Channels of the narrowest layer; of a net whose widest has more than ``WIDE`` still, so many as ``NARROWEST``.
LEAST_WIDTH, NARROWEST, WIDE = 4, 2, 64
LEAST_GROUPS = 2  # of a convolution in groups
MOST_LAYERS = 100  # convolutions and linear layers beyond which chains of equal blocks are cut
KEPT_BLOCKS = 2  # of a chain: what stands behind a block of its own kind stays
# Beyond so many layers even then, one block of a chain is kept where it has more than ``LARGE`` of them: an attention
# module, which stands behind its own kind in the nets for digits still.
MANY_LAYERS, LARGE = 150, 10


@dataclass(frozen=True)
class Thinned:
    """A net with memory, by how much its widths were divided, and how many blocks were left out."""

    net: nn.Module
    divisor: int
    left_out: int


def thinned(model: ModelSpec, data: DataSpec, shape: tuple[int, int, int], num_classes: int) -> Thinned:
    """Build a net of the catalogue for images of ``shape``, short and narrow; its weights have no values yet.

    Raises:
        SpecError: it has weights of layers that cannot be made narrower.
        EnvironmentProblem: its library is not installed.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of a library about its own future
        net = build(model.name, model.options, shape, num_classes, form=data.info.form)
    _check(net)
    left_out = 0
    if len(_weighted(net)) > MOST_LAYERS:
        left_out = _shorten(net, KEPT_BLOCKS, 1)
    if len(_weighted(net)) > MANY_LAYERS:
        left_out += _shorten(net, 1, LARGE)
    layers = _weighted(net)
    ends = (layers[0], layers[-1])  # what reads the images, and what gives the classes
    divisor = _divisor(net, ends)
    for module in net.modules():
        _narrow(module, divisor, ends)
    return Thinned(net, divisor, left_out)


def _weighted(net: nn.Module) -> list[Layer]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _check(net: nn.Module) -> None:
    for module in net.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if own and not isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
            raise SpecError(
                f"a layer of class {type(module).__name__!r} cannot be made narrower "
                "(allowed: Conv2d, Linear and BatchNorm2d hold all weights)"
            )


def _shorten(net: nn.Module, kept: int, layers: int) -> int:
    """Keep the first blocks of every chain of equal ones that have so many layers or more; return how many go."""
    left_out = 0
    for module in list(net.modules()):
        if not isinstance(module, nn.Sequential) or len(module) <= kept:
            continue
        texts = [repr(child) if len(_weighted(child)) >= layers else "" for child in module]
        surplus = [
            index
            for index in range(kept, len(texts))
            if texts[index] and len(set(texts[index - kept : index + 1])) == 1
        ]
        for index in reversed(surplus):
            del module[index]
        left_out += len(surplus)
    return left_out


def _divisor(net: nn.Module, ends: Ends) -> int:
    """Return the power of two that divides every width and leaves the narrowest layer wide enough."""
    widths = {width for module in _weighted(net) for width in _widths(module, ends)}
    groups = {module.groups for module in _weighted(net) if isinstance(module, nn.Conv2d) and module.groups > 1}
    common = math.gcd(*widths, *groups)
    divisor = 1
    while common % (2 * divisor) == 0:
        least = NARROWEST if max(widths) // divisor > WIDE else LEAST_WIDTH
        if min(widths) // (2 * divisor) < least or min(groups, default=4 * divisor) // (2 * divisor) < LEAST_GROUPS:
            break
        divisor *= 2
    return divisor


def _widths(module: Layer, ends: Ends) -> tuple[int, ...]:
    """The channels of a layer that are neither those of the images nor the classes."""
    inputs, outputs = (
        (module.in_features, module.out_features)
        if isinstance(module, nn.Linear)
        else (module.in_channels, module.out_channels)
    )
    return (outputs,) if module is ends[0] else (inputs,) if module is ends[1] else (inputs, outputs)


def _narrow(module: nn.Module, divisor: int, ends: Ends) -> None:
    """Give a layer memory, and its part of the channels; images and classes keep theirs."""
    reading, giving = (1 if module is end else divisor for end in ends)
    if isinstance(module, nn.Conv2d):
        module.in_channels //= reading
        module.out_channels //= giving
        module.groups = max(1, module.groups // divisor)
        _resize(module, "weight", (module.out_channels, module.in_channels // module.groups, *module.kernel_size))
        _resize(module, "bias", (module.out_channels,))
    elif isinstance(module, nn.Linear):
        module.in_features //= reading
        module.out_features //= giving
        _resize(module, "weight", (module.out_features, module.in_features))
        _resize(module, "bias", (module.out_features,))
    elif isinstance(module, _BatchNorm):
        module.num_features //= divisor
        for name in ("weight", "bias", "running_mean", "running_var"):
            _resize(module, name, (module.num_features,))
        _resize(module, "num_batches_tracked", ())


def _resize(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    old = getattr(module, name, None)
    if old is None:
        return
    new = torch.zeros(shape, dtype=old.dtype, device="cpu")
    setattr(module, name, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)
