"""BatchNorm and ReLU in training, CPU: compiled into one by ``torch.compile`` against PyTorch's own, one thread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import nn

from common.measure import Options, Result, Target, in_turns, ratio, script, spread
from ranbench.training.compiler import compiler_fault

SHAPES = ((64, 64, 32, 32), (64, 128, 16, 16), (64, 256, 8, 8))  # batch, channels, height, width
WHAT = "compiled into one against PyTorch's own"


def main(options: Options) -> Result:
    torch.set_num_threads(1)
    shapes = SHAPES[-options.count(len(SHAPES), 1) :]
    own = [both(shape[1]) for shape in shapes]
    ways: dict[str, Callable[[], float]] = {"own_s": seconds(own, shapes)}
    fault = compiler_fault(torch.device("cpu"))
    if fault is None:
        ways["compiled_s"] = seconds([torch.compile(net, dynamic=False) for net in own], shapes)
    samples = in_turns(ways, rounds=options.count(15, 1), warm=options.count(2, 1))
    pair = "own_s", "compiled_s"
    found = ratio(samples, *pair) if fault is None else None
    return Result(
        targets=[Target(WHAT, found, "at most", 1, why=fault or "")],
        lines=[
            *(f"{name[:-2]}: {1e3 * statistics.median(values):.1f} ms" for name, values in samples.items()),
            *([f"ratio of speeds {spread(samples, *pair)}"] if fault is None else []),
            f"forward and backward, channels last, at {', '.join(' x '.join(map(str, shape)) for shape in shapes)}",
        ],
        samples=samples,
    )


def both(channels: int) -> nn.Module:
    """Return BatchNorm and ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def seconds(nets: Sequence[Callable[..., torch.Tensor]], shapes: tuple[tuple[int, ...], ...]) -> Callable[[], float]:
    """Return what takes the time of a forward and a backward pass of each net on images of its shape."""
    images = [torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_() for shape in shapes]
    gradients = [torch.randn_like(each) for each in images]

    def measure() -> float:
        began = perf_counter()
        for net, each, gradient in zip(nets, images, gradients, strict=True):
            net(each).backward(gradient)  # type: ignore[no-untyped-call]
        return perf_counter() - began

    return measure


if __name__ == "__main__":
    script(main)
