"""Attention-56, batch 64, CPU: our engine against the plain reference, and whether both compute the same."""

from __future__ import annotations

import statistics

import torch
from torch import nn
from torch.nn import functional

from common import engine, limits, plain
from common.measure import Options, Result, Target, in_turns, ratio, script, spread
from ranbench.counts import PASSES_OF_A_STEP
from ranbench.data import ImageSet
from ranbench.records import MetricPoint
from ranbench.training import EnginePath, Training

CPU = torch.device("cpu")
# At the rate of 0.1 the first steps are chaotic in float64 as well: a difference of 1e-16 grows by factors of
# 10 to 10,000 a step, so that after ten steps it says nothing of the arithmetic.
CALM_RATE = 1e-4


def main(options: Options) -> Result:
    images, which = engine.images_of(options)
    batch, steps = options.count(64, 4), options.count(3, 1)
    protocol = engine.paper_protocol(batch=batch)
    ours = engine.engine(images, CPU, batch=batch)
    theirs = plain.Plain(engine.new_net(images, protocol), images, protocol, CPU)
    samples = in_turns(
        {"ours_images_per_s": lambda: ours(steps), "plain_images_per_s": lambda: theirs.rate(steps)},
        rounds=options.count(15, 2),
    )
    rates = {name: statistics.median(values) for name, values in samples.items()}
    pair = "ours_images_per_s", "plain_images_per_s"
    shares, facts = share_of_limits(images, rates["ours_images_per_s"], batch, options)
    loss, gradient, rounding = one_step(images, batch)
    series = options.count(50, 2)
    formats = many_steps(images, options.count(16, 2), series)
    return Result(
        targets=[
            Target("training against plain", ratio(samples, *pair), "at least", 1.5),
            Target("loss of one step, float32, relative difference", loss, "at most", 1e-4, ""),
            Target("gradients of one step, float32, relative difference", gradient, "at most", 1e-4, ""),
            Target(
                f"losses of {series} steps, float64, rate {CALM_RATE:g}, between memory formats",
                formats,
                "at most",
                1e-6,
                "",
            ),
        ],
        lines=[
            *(f"{name.split('_')[0]}: {rate:.4g} images/s" for name, rate in rates.items()),
            f"ratio {spread(samples, *pair)}",
            f"{engine.macs():,} multiply-adds an image and forward pass, batch {batch}",
            *shares,
            f"gradients of the plain net itself: {rounding:.1e} away from those in float64",
            which,
        ],
        samples=samples,
        facts={"plain_gradients_to_float64": rounding, **rates, **facts, "macs": engine.macs(), "batch": batch},
    )


def share_of_limits(images: ImageSet, rate: float, batch: int, options: Options) -> tuple[list[str], dict[str, float]]:
    """Compare the rate with what matrix products and memory of this machine allow."""
    peak = limits.matmul_peak(CPU, options.count(2048, 128))
    memory = limits.copy_rate(CPU, options.count(256, 1))
    protocol = engine.paper_protocol(batch=batch)
    net = engine.new_net(images, protocol).to(memory_format=torch.channels_last)
    batches = engine.Batches(images, protocol)
    moved = limits.traffic(net, plain.sgd(net, protocol), batches.images(0), batches.targets(0))
    of_peak = PASSES_OF_A_STEP * engine.macs() * rate / peak
    of_memory = moved / memory * rate / batch
    lines = [
        f"share of the limit: {100 * of_peak:.1f} % of the peak of matrix products, {peak / 1e9:.1f} G multiply-adds/s",
        f"a step's operators read and write {moved / 2**20:,.0f} MiB one by one: a copy of as much, at "
        f"{memory / 1e9:.1f} GB/s, takes {100 * of_memory:.0f} % of the step",
    ]
    return lines, {"matmul_macs_per_s": peak, "copy_bytes_per_s": memory, "step_bytes": float(moved)}


def one_step(images: ImageSet, batch: int) -> tuple[float, float, float]:
    """Compare our engine's first step with the plain net's, from the same weights and in float32.

    Returns the differences of the losses and of the gradients, and how far the plain gradients are from exact ones: an
    input of a ReLU that is zero but for rounding passes its gradient or does not, so no two orders of summation agree
    better than that.
    """
    protocol = engine.paper_protocol(
        batch=batch,
        iterations=1,
        schedule={"kind": "steps", "lr": 0.1, "drops": (), "factor": 0.1},
        evaluation={"every": 1, "images": 1},
    )
    batches = engine.Batches(images, protocol)
    pictures, targets = batches.images(0).contiguous(), batches.targets(0)
    loss, theirs = gradients(engine.new_net(images, protocol), pictures, targets)
    _, exact = gradients(engine.new_net(images, protocol).double(), pictures.double(), targets)
    net = engine.new_net(images, protocol)
    training = Training(net, images, images.train_labels, protocol, seed=engine.SEED, device=CPU)
    points = [record for record in training.run() if isinstance(record, MetricPoint)]
    ours = next(point.value for point in points if point.name == "train_loss")
    return relative(ours, loss), distance(flat_gradients(training.net), theirs), distance(theirs, exact)


def gradients(net: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Return the loss of a batch, and its gradients."""
    loss = functional.cross_entropy(net(images), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), flat_gradients(net)


def flat_gradients(net: nn.Module) -> torch.Tensor:
    """Return the gradients that a net holds, as one vector."""
    return torch.cat([value.grad.flatten().double() for value in net.parameters() if value.grad is not None])


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the length of the difference as a share."""
    return float((ours - theirs).norm() / theirs.norm())


def many_steps(images: ImageSet, batch: int, steps: int) -> float:
    """Return the largest relative difference of losses between the two memory formats, trained in float64."""
    series = [losses(images, batch, steps, channels_last=form) for form in (False, True)]
    return max(relative(ours, theirs) for ours, theirs in zip(*series, strict=True))


def losses(images: ImageSet, batch: int, steps: int, *, channels_last: bool) -> list[float]:
    """Train in float64 and in one memory format; return the loss of each step."""
    protocol = engine.paper_protocol(
        batch=batch,
        iterations=steps,
        schedule={"kind": "steps", "lr": CALM_RATE, "drops": (), "factor": 0.1},
        evaluation={"every": steps, "images": 1},
    )
    training = Training(
        engine.new_net(images, protocol),
        images,
        images.train_labels,
        protocol,
        seed=engine.SEED,
        device=CPU,
        path=EnginePath(channels_last=channels_last),
        dtype=torch.float64,
    )
    points = [record for record in training.run() if isinstance(record, MetricPoint)]
    return [point.value for point in points if point.name == "train_loss"]


def relative(ours: float, theirs: float) -> float:
    """Return the difference as a share."""
    return abs(ours - theirs) / abs(theirs)


if __name__ == "__main__":
    script(main)
