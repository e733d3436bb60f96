"""The nets. ``build`` turns a name and its options into a module; nothing here knows of devices, seeds or suites."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from ranbench.catalogue import (
    Form,
    attention_modules,
    check_form,
    check_images,
    check_option,
    is_factory,
    is_library_net,
    net_info,
)
from ranbench.models.baselines import (
    resnet_110,
    resnet_164,
    resnet_1001,
    se_resnet_110,
    se_resnet_164,
    wrn_16_8,
    wrn_28_10,
)
from ranbench.models.layers import initialise
from ranbench.models.library import CITED, factory_net, library_net
from ranbench.models.ran import PLANS, ResidualAttentionNet
from ranbench.models.units import INCEPTION, POST_ACTIVATION, PRE_ACTIVATION, RESNEXT, Units

__all__ = ["BASELINES", "UNITS", "build", "initialise"]

# Nets without attention modules: channels, number of classes, and the net's options by name -> net.
BASELINES: Mapping[str, Callable[..., nn.Module]] = {
    "resnet-164": resnet_164,
    "resnet-1001": resnet_1001,
    "wrn-16-8": wrn_16_8,
    "wrn-28-10": wrn_28_10,
    "resnet-110": resnet_110,
    "se-resnet-110": se_resnet_110,
    "se-resnet-164": se_resnet_164,
    **CITED,
}
# Nets with attention, by the word before the depth.
UNITS: Mapping[str, Units] = {
    "attention": PRE_ACTIVATION,
    "attentionnext": RESNEXT,
    "attentioninception": INCEPTION,
}


def build(
    name: str,
    options: Mapping[str, str | int],
    shape: tuple[int, int, int],
    num_classes: int,
    *,
    form: Form,
    trusted: bool = False,
) -> nn.Module:
    """Build the net ``name`` for images of ``shape`` (channels, height, width).

    Args:
        name: a name of the catalogue, for instance ``attention-56``, or of a foreign net.
        options: the net's options; those left out take the catalogue's default.
        shape: of the images.
        num_classes: number of logits.
        form: which form of the net, that of the dataset.
        trusted: an import path may be imported.

    Raises:
        SpecError: there is no such net, option or form, the images are too small, or a foreign net cannot be made.
        EnvironmentProblem: the library of the net is not installed.
    """
    if is_factory(name):
        return factory_net(name, shape, num_classes, trusted=trusted)
    if is_library_net(name):
        return library_net(name, shape, num_classes)
    info = net_info(name)
    check_form(name, form)
    for option, value in options.items():
        check_option(name, option, value, form)
    check_images(name, form, shape, options)
    of_modules = (*info.sizes, "r_scales")
    sizes = {option: value for option, value in options.items() if option in of_modules}
    modules = attention_modules(name, form, **sizes)  # type: ignore[arg-type]
    chosen = {
        option: options.get(option, usual) for option, (usual, *_) in info.options.items() if option != "r_scales"
    }
    if modules is None:
        return BASELINES[name](shape[0], num_classes, **chosen)
    order = chosen.pop("unit_order", None)
    units = POST_ACTIVATION if order == "post-activation" else UNITS[name.split("-", maxsplit=1)[0]]
    return ResidualAttentionNet(PLANS[form], modules, shape[0], num_classes, units=units, **chosen)
