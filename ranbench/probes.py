"""Forward passes over a trained net: the response of its stages. Knows no database and no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from ranbench.errors import NothingMeasured, SpecError
from ranbench.models.attention import AttentionModule
from ranbench.models.baselines import PlainNet
from ranbench.models.ran import ResidualAttentionNet
from ranbench.records import response_name

BATCH = 256


def stage_responses(
    net: nn.Module, images: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor], *, batch: int = BATCH
) -> dict[str, float]:
    """Measure how large the features are at the end of each stage, and after each attention module.

    Figure 4 of the paper (section 4.1) shows the "mean absolute response of output features in each stage" for
    Attention-164 with residual and with naive learning and for ResNet-164, each divided by that of the first stage. The
    paper leaves the following open, and it is chosen here; a suite that shows the figure declares it as a deviation:

    - where: what the next stage reads, that is the sum that leaves the stage's last residual unit, before the BN and
      ReLU with which pre-activated units begin. The paper says "output features" of a stage; it does not say whether
      they are taken after an activation, or before the unit that follows the attention modules. So the output of every
      attention module (after its last unit) is measured as well;
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
