"""The nets. ``build`` turns a name and its options into a module; nothing here knows of devices, seeds or suites."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from ranbench.catalogue import attention_modules, check_option, net_info
from ranbench.models.baselines import resnet_164
from ranbench.models.layers import initialise
from ranbench.models.ran import attention_net

__all__ = ["BASELINES", "build", "initialise"]

BASELINES: Mapping[str, Callable[[tuple[int, int, int], int], nn.Module]] = {"resnet-164": resnet_164}


def build(name: str, options: Mapping[str, str], shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Build the net ``name`` for images of ``shape`` (channels, height, width).

    Args:
        name: a name of the catalogue, for instance ``attention-56``.
        options: the net's options; those left out take the catalogue's default.

    Raises:
        SpecError: there is no such net or option, or the net has no form for images of this size.
    """
    info = net_info(name)
    for option, value in options.items():
        check_option(name, option, value)
    chosen = {option: options.get(option, values[0]) for option, values in info.options.items()}
    modules = attention_modules(name)
    if modules is None:
        return BASELINES[name](shape, num_classes)
    return attention_net(modules, shape, num_classes, **chosen)
