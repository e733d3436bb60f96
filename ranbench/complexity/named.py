"""Nets by name: built without memory, checked where they are not ours, and counted."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn

from ranbench.catalogue import has_known_depth, is_foreign, net_info
from ranbench.complexity.counting import Shape, count, on_meta
from ranbench.complexity.depth import trunk_depth
from ranbench.complexity.ledger import Memo
from ranbench.errors import SpecError, one_line
from ranbench.models import build
from ranbench.records import Complexity
from ranbench.spec import DataSpec, ModelSpec


def measure_named(
    model: ModelSpec, data: DataSpec, *, trusted: bool = False, backward: bool = False, memo: Memo | None = None
) -> Complexity:
    """Count the net ``model`` on one image of ``data``; nothing is allocated.

    Args:
        model: the net and its options.
        data: the dataset, which the net takes its form and the size of its input from.
        trusted: an import path may be imported.
        backward: count the backward pass as well.
        memo: parts that were counted before; new ones are added to it.

    Raises:
        SpecError: the net has no form for these images, cannot take them, or gives no logits.
        EnvironmentProblem: the library of the net is not installed.
    """
    net = net_of(model, data, trusted=trusted)
    depth = trunk_depth(net) if has_known_depth(model.name) else None
    return count(net, data.shape, depth=depth, backward=backward, memo=memo)


def net_of(model: ModelSpec, data: DataSpec, *, trusted: bool = False) -> nn.Module:
    """Build the net ``model`` for ``data`` on the meta device; torch's random numbers go on as if it had not been.

    A foreign net is tried out on a batch of two, in evaluation and in training mode, and so is a net that the catalogue
    takes from a library, where images have another size than usual.

    Raises:
        SpecError: the net has no form for these images, cannot take them, or gives no logits.
        EnvironmentProblem: the library of the net is not installed.
    """
    info = data.info

    def make() -> nn.Module:
        return build(model.name, model.options, data.shape, info.num_classes, form=info.form, trusted=trusted)

    with torch.random.fork_rng(devices=[]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of a library about its own future
            if is_foreign(model.name):
                net = _foreign(make)
            else:
                with torch.device("meta"):
                    net = make()
            if is_foreign(model.name) or (net_info(model.name).library and data.input):
                _try_out(model.name, net, data.shape, info.num_classes)
        return net


def _foreign(make: Callable[[], nn.Module]) -> nn.Module:
    """Build on the meta device, or with memory where the net reads values while it is built."""
    try:
        with torch.device("meta"):
            net = make()
    except Exception:  # what is wrong with the net itself shows again on the second way
        net = make()
    tensors = (*net.parameters(), *net.buffers())
    return net if all(tensor.is_meta for tensor in tensors) else on_meta(net)


def _try_out(name: str, net: nn.Module, shape: Shape, num_classes: int) -> None:
    """Check that a net turns two images into logits, (2, num_classes), in evaluation and in training mode.

    On the meta device no operator checks that its inputs have one type, so that of the parameters is looked at here.
    """
    types = {parameter.dtype for parameter in net.parameters() if parameter.is_floating_point()} - {torch.float32}
    if types:
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in types))
        raise SpecError(f"model {name!r} has parameters of {found}; images are float32, and so must all parameters be")
    size = "x".join(map(str, shape))
    for training in (False, True):
        net.train(training)
        try:
            with torch.no_grad():
                output = net(torch.empty((2, *shape), device="meta"))
        except (Exception, SystemExit) as error:  # whatever a foreign net raises is the user's to mend
            raise SpecError(f"model {name!r} {_failure(error)} images of {size}: {one_line(error)}") from error
        if not isinstance(output, torch.Tensor) or output.shape != (2, num_classes):
            given = type(output).__name__
            if isinstance(output, torch.Tensor):
                given = f"shape (B{''.join(f', {side}' for side in output.shape[1:])})"
            mode = "training" if training else "evaluation"
            raise SpecError(f"model {name!r} gives {given} in {mode}, expected logits of shape (B, {num_classes})")


def _failure(error: BaseException) -> str:
    """Tell a net that reads values, which cannot be counted without memory, from one that does not take the images."""
    return "cannot be counted on the meta device with" if "meta" in str(error) else "cannot take"
