"""Forward passes over a trained net: its stages' responses, its soft masks. Knows no database and no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ranbench.errors import NothingMeasured, SpecError
from ranbench.models.attention import (
    AttentionModule,
    ChannelAttention,
    MixedAttention,
    SpatialAttention,
    UnbiasedSpatialAttention,
)
from ranbench.models.baselines import PlainNet
from ranbench.models.ran import ResidualAttentionNet
from ranbench.records import response_name

BATCH = 256
KINDS: dict[type[nn.Module], str] = {
    MixedAttention: "mixed",
    ChannelAttention: "channel",
    SpatialAttention: "spatial",
    UnbiasedSpatialAttention: "spatial",
}


def stage_responses(
    net: nn.Module, images: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor], *, batch: int = BATCH
) -> dict[str, float]:
    """Measure how large the features are at the end of each stage, and after each attention module.

    Figure 4 of the paper (section 4.1) shows the "mean absolute response of output features in each stage" for
    Attention-164 with residual and with naive learning and for ResNet-164, each divided by that of the first stage. The
    paper leaves the following open, and it is chosen here; a suite that shows the figure declares it as a deviation:

    - where: what the next stage reads, that is the sum that leaves the stage's last residual unit, before the BN and
      ReLU with which pre-activated units begin, and behind the ReLU with which post-activated ones end. The paper says
      "output features" of a stage; it does not say whether they are taken after an activation, or before the unit that
      follows the attention modules. So the output of every attention module (after its last unit) is measured as well;
    - of what: the mean of |x| over all images, channels and positions;
    - images: the test images that the protocol evaluates on, plain, each once;
    - mode: evaluation, so that BatchNorm uses its running statistics.

    Args:
        net: one whose stages are known; its mode is as before afterwards.
        images: (N, C, H, W), as they are stored.
        prepare: makes of some of them what the net reads.
        batch: images of a forward pass; the values depend on it by the rounding of sums alone.

    Returns:
        ``response_stage1``, ``response_stage1_module1`` and so on, and ``response_stage1_relative`` and so on, which
        are divided by the first stage's.

    Raises:
        SpecError: the stages of the net are not known.
        NothingMeasured: a value is not finite, or the first stage's is zero.
    """
    places = _places(net)
    sums = {name: torch.zeros((), dtype=torch.float64, device=images.device) for name in places}
    counts = dict.fromkeys(places, 0)

    def add(name: str, features: torch.Tensor) -> None:
        sums[name] += features.abs().sum(dtype=torch.float64)
        counts[name] += features.numel()

    with torch.no_grad(), _evaluating(net), _listening(places, add):
        for start in range(0, len(images), batch):
            net(prepare(images[start : start + batch]))
    means = {name: float(sums[name]) / counts[name] for name in places}
    first = means[response_name(1)]
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad or not first:
        raise NothingMeasured(f"{bad[0]} is {means[bad[0]]}" if bad else "the first stage gives nothing but zeros")
    stages = [name for name, module in places.items() if not isinstance(module, AttentionModule)]
    return means | {f"{name}_relative": means[name] / first for name in stages}


def _places(net: nn.Module) -> dict[str, nn.Module]:
    """The modules whose outputs are measured, by the names of their values, in the order of the net."""
    if not isinstance(net, ResidualAttentionNet | PlainNet):
        raise SpecError(
            f"net {type(net).__name__!r}: its stages are not known, so their responses cannot be measured "
            "(they are known of the attention nets, resnet-164, resnet-1001 and wide ResNets)"
        )
    found: dict[str, nn.Module] = {}
    for number, stage in enumerate(net.stages, 1):
        modules = [part for part in stage.modules() if isinstance(part, AttentionModule)]
        found |= {response_name(number, index): module for index, module in enumerate(modules, 1)}
        found[response_name(number)] = stage
    return found


@dataclass(frozen=True)
class MaskNumbers:
    """A mask on one image in numbers, over all its channels and positions.

    ``share_above``: the share of its values above the one that its activation gives for zero, ``ModuleMasks.middle``.
    """

    mean: float
    sd: float
    low: float
    high: float
    share_above: float


@dataclass(frozen=True, eq=False)
class ModuleMasks:
    """What an attention module makes of some images.

    Attributes:
        stage: number of the stage, from 1.
        module: number of the module in its stage, from 1.
        attention: mixed, channel, spatial, or the class of a user's own activation.
        shape: channels, height and width of the mask.
        middle: what the activation gives for zero: 0 in channel attention, 1/2 of a sigmoid.
        before: the features before the mask, |T|, (N, H, W): the mean over the channels, or one of them.
        mask: M, likewise.
        after: the features after the mask, |H|, likewise.
        numbers: M of each image, over all channels.
    """

    stage: int
    module: int
    attention: str
    shape: tuple[int, int, int]
    middle: float
    before: np.ndarray
    mask: np.ndarray
    after: np.ndarray
    numbers: tuple[MaskNumbers, ...]


@dataclass(frozen=True, eq=False)
class Masked:
    """The attention modules of a net in the order of its forward pass, and the class that it gives each image."""

    modules: tuple[ModuleMasks, ...]
    predicted: tuple[int, ...]


def soft_masks(
    net: nn.Module,
    images: torch.Tensor,
    prepare: Callable[[torch.Tensor], torch.Tensor],
    *,
    channel: int | None = None,
) -> Masked:
    """Take the soft masks of every attention module on some images, as figure 1 of the paper shows them.

    M is what the forward pass of the net in evaluation mode combines with its trunk; beside it stand T, what leaves the
    trunk, and H, what the combination gives: (1 + M) * T or M * T. Modules that follow each other with masks of one
    shape are one stage; in the paper's nets these are its stages, and in a user's own net nothing else is known.

    Args:
        net: one with attention modules; its mode is as before afterwards.
        images: (N, C, H, W), as they are stored; they are one batch.
        prepare: makes of them what the net reads.
        channel: the one to look at, from 0; all of them, by their mean, if left out.

    Raises:
        SpecError: the net has no attention modules, or one of them has no such channel.
        NothingMeasured: a mask is not finite.
    """
    modules = [module for module in net.modules() if isinstance(module, AttentionModule)]
    if not modules:
        raise SpecError(f"net {type(net).__name__!r}: has no attention modules, and so no soft masks")
    places = {
        f"{part} {index}": getattr(module, part)
        for index, module in enumerate(modules)
        for part in ("trunk", "mask", "combine")
    }
    maps: dict[str, np.ndarray] = {}
    masks: dict[int, tuple[tuple[int, int, int], tuple[MaskNumbers, ...]]] = {}

    def hear(name: str, features: torch.Tensor) -> None:
        part, index = name.split()
        values = features.to(torch.float64)
        if channel is not None and not 0 <= channel < values.shape[1]:
            raise SpecError(f"channel {channel}: there are {values.shape[1]} (allowed: 0 to {values.shape[1] - 1})")
        if part == "mask":
            masks[int(index)] = (_shape(values), _numbers(values, _middle(modules[int(index)])))
        drawn = values if part == "mask" else values.abs()
        drawn = drawn.mean(dim=1) if channel is None else drawn[:, channel]
        maps[name] = drawn.cpu().numpy()

    with torch.no_grad(), _evaluating(net), _listening(places, hear):
        logits = net(prepare(images))
    found: list[ModuleMasks] = []
    for index, (shape, numbers) in masks.items():
        last = found[-1] if found else None
        stage, number = (0, 0) if last is None else (last.stage, last.module)
        stage, number = (stage, number + 1) if last and last.shape == shape else (stage + 1, 1)
        bad = [one.mean for one in numbers if not math.isfinite(one.mean)]
        if bad:
            raise NothingMeasured(f"the mask of stage {stage}, module {number} is {bad[0]}")
        module = modules[index]
        before, mask, after = (maps[f"{part} {index}"] for part in ("trunk", "mask", "combine"))
        found.append(
            ModuleMasks(stage, number, _kind(module), shape, _middle(module), before, mask, after, tuple(numbers))
        )
    return Masked(tuple(found), tuple(logits.argmax(dim=1).tolist()))


def _kind(module: AttentionModule) -> str:
    activation = type(list(module.mask.children())[-1])
    return KINDS.get(activation, activation.__name__)


def _middle(module: AttentionModule) -> float:
    return 0.0 if _kind(module) == "channel" else 0.5


def _shape(values: torch.Tensor) -> tuple[int, int, int]:
    channels, height, width = values.shape[1:]
    return channels, height, width


def _numbers(values: torch.Tensor, middle: float) -> tuple[MaskNumbers, ...]:
    """Over the channels and positions of each image; the deviation is that of these values, not an estimate."""
    each = values.flatten(1)
    columns = (
        *(each.mean(dim=1), each.std(dim=1, correction=0), each.amin(dim=1), each.amax(dim=1)),
        (each > middle).to(torch.float64).mean(dim=1),
    )
    return tuple(MaskNumbers(*row) for row in torch.stack(columns, dim=1).tolist())


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


@contextmanager
def _listening(places: dict[str, nn.Module], hear: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Tell the outputs of modules as they come."""

    def hook(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        return lambda module, inputs, output: hear(name, output)

    with ExitStack() as stack:
        for name, module in places.items():
            stack.callback(module.register_forward_hook(hook(name)).remove)
        yield
