"""Crop, flip and mean of CIFAR images in memory, one thread: ours against torchvision's, in time per image."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import count, islice

import torch

from common import engine, plain
from common.measure import Options, Result, Target, in_turns, ratio, script, seconds, spread


def main(options: Options) -> Result:
    torch.set_num_threads(1)
    images, which = engine.images_of(options)
    protocol = engine.paper_protocol()
    batches = options.count(40, 2)
    numbers = count()
    ours = engine.Batches(images, protocol)
    dataset, loader = plain.Images(images, protocol), plain.batches(plain.loader(images, protocol))
    indices = count()

    def per_image(step: Callable[[], object]) -> float:
        """Return microseconds per image of so many batches."""
        return 1e6 * seconds(lambda: [step() for _ in range(batches)]) / (batches * protocol.batch)

    def one_by_one() -> None:
        for index in islice(indices, protocol.batch):
            dataset[index % len(dataset)]

    samples = in_turns(
        {
            "ours_us_per_image": lambda: per_image(lambda: ours.images(next(numbers))),
            "torchvision_us_per_image": lambda: per_image(one_by_one),
            "loader_us_per_image": lambda: per_image(lambda: next(loader)),
        },
        rounds=options.count(15, 2),
    )
    middle = {name: statistics.median(values) for name, values in samples.items()}
    return Result(
        targets=[
            Target(
                "torchvision's Dataset and DataLoader against ours, per image",
                ratio(samples, "loader_us_per_image", "ours_us_per_image"),
                "at least",
                20,
            ),
        ],
        lines=[
            *(f"{name.removesuffix('_us_per_image')}: {value:.4g} us an image" for name, value in middle.items()),
            f"ratio {spread(samples, 'loader_us_per_image', 'ours_us_per_image')}; without the DataLoader "
            f"{ratio(samples, 'torchvision_us_per_image', 'ours_us_per_image'):.3g}",
            f"batches of {protocol.batch}; {which}",
        ],
        samples=samples,
        facts=middle,
    )


if __name__ == "__main__":
    script(main)
