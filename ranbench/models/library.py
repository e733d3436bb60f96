"""Nets that are not written here: the cited ImageNet baselines, and a user's own choice from a library or a module.

Nothing is downloaded: every net starts without pretrained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ranbench.catalogue import net_info
from ranbench.errors import EnvironmentProblem, SpecError, nearest
from ranbench.factories import call_factory, said

Shape = tuple[int, int, int]


def _resnet_152(channels: int, num_classes: int) -> nn.Module:
    """ResNet-152 (He et al. 2016); torchvision's strides stand in the 3x3, not in the first 1x1 as in that paper."""
    from torchvision.models import resnet152

    return _three_channels("resnet-152", channels, resnet152(weights=None, num_classes=num_classes))


def _resnext_101(channels: int, num_classes: int) -> nn.Module:
    """ResNeXt-101 of 32 groups of width 4 (Xie et al. 2017), whose 44 million parameters table 7 lists."""
    from torchvision.models.resnet import Bottleneck, ResNet

    net = ResNet(Bottleneck, [3, 4, 23, 3], num_classes=num_classes, groups=32, width_per_group=4)
    return _three_channels("resnext-101", channels, net)


def _resnet_200(channels: int, num_classes: int) -> nn.Module:
    """ResNet-200; timm's is post-activated where the cited one is pre-activated, with the same convolutions."""
    net: nn.Module = _timm("resnet-200").create_model("resnet200", num_classes=num_classes, in_chans=channels)
    return net


def _inception_resnet_v2(channels: int, num_classes: int) -> nn.Module:
    """Inception-ResNet-v2 (Szegedy et al. 2017)."""
    timm = _timm("inception-resnet-v2")
    net: nn.Module = timm.create_model("inception_resnet_v2", num_classes=num_classes, in_chans=channels)
    return net


# The cited baselines: channels, number of classes -> net. Training initialises them by the protocol, like our own nets.
CITED: Mapping[str, Callable[[int, int], nn.Module]] = {
    "resnet-152": _resnet_152,
    "resnext-101": _resnext_101,
    "resnet-200": _resnet_200,
    "inception-resnet-v2": _inception_resnet_v2,
}


def library_net(name: str, shape: Shape, num_classes: int) -> nn.Module:
    """Build ``timm:NAME`` or ``torchvision:NAME`` without weights.

    Raises:
        SpecError: the library has no such net, or cannot make it for these images.
        EnvironmentProblem: timm is not installed.
    """
    library, wanted = name.split(":")
    make = _from_timm if library == "timm" else _from_torchvision
    return make(name, wanted, shape[0], num_classes)


def factory_net(name: str, shape: Shape, num_classes: int, *, trusted: bool) -> nn.Module:
    """Call ``package.module:factory`` as ``factory(shape=(channels, height, width), num_classes=...)``.

    Raises:
        SpecError: not trusted, or the factory cannot be imported, fails, or makes no module.
    """
    net = call_factory("model", name, trusted=trusted, shape=shape, num_classes=num_classes)
    if not isinstance(net, nn.Module):
        raise SpecError(f"model {name!r}: expected a torch.nn.Module from the factory, got {type(net).__name__}")
    return net


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError:
        info = net_info(name)
        raise EnvironmentProblem(
            f"model {name!r} is taken from {info.library}, which is not installed; pip install 'ranbench[timm]'"
        ) from None
    return timm


def _from_timm(name: str, wanted: str, channels: int, num_classes: int) -> nn.Module:
    timm = _timm(name)
    plain, _, _ = wanted.partition(".")  # what follows a dot names pretrained weights, which are not taken
    if not timm.is_model(plain):
        near = nearest(wanted, timm.list_models())
        raise SpecError(f"model {name!r}: timm {timm.__version__} has no net {wanted!r}{near}")
    try:
        net: nn.Module = timm.create_model(wanted, pretrained=False, num_classes=num_classes, in_chans=channels)
    except Exception as error:
        raise SpecError(f"model {name!r}: timm cannot make it: {said(error)}") from error
    return net


def _from_torchvision(name: str, wanted: str, channels: int, num_classes: int) -> nn.Module:
    import torchvision
    from torchvision import models

    known = models.list_models(module=models)
    if wanted not in known:
        version = torchvision.__version__
        raise SpecError(f"model {name!r}: torchvision {version} has no net {wanted!r}{nearest(wanted, known)}")
    return _three_channels(name, channels, models.get_model(wanted, weights=None, num_classes=num_classes))


def _three_channels(name: str, channels: int, net: nn.Module) -> nn.Module:
    if channels != 3:
        raise SpecError(f"model {name!r} of torchvision takes images of 3 channels, got {channels}")
    return net
