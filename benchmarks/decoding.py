"""JPEGs of photographs' sizes into training squares, one thread: the data path's decoding against that of PIL."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from common.measure import Options, Result, Target, in_turns, ratio, script, spread
from ranbench.data.decoding import decoded
from ranbench.data.reading import Part

SIZES = (*[(375, 500)] * 16, (1200, 1600))  # height, width; those of ImageNet are mostly such
QUALITY = 92
PART = Part(seed=0, scale=(0.08, 1.0), aspect=(3 / 4, 4 / 3), side=224)


def main(options: Options) -> Result:
    torch.set_num_threads(1)
    files = [jpeg(*size) for size in SIZES[-options.count(len(SIZES), 2) :]]
    if not all(torch.equal(decoded(file), by_pil(file)) for file in files):
        raise RuntimeError("the two ways give different pixels")
    ways = {
        "pil_s": lambda: seconds(files, by_pil),
        "ours_s": lambda: seconds(files, decoded),
        "pil_cut_s": lambda: seconds(files, by_pil, cut=True),
        "ours_cut_s": lambda: seconds(files, decoded, cut=True),
    }
    samples = in_turns(ways, rounds=options.count(15, 1), warm=options.count(2, 1))
    alone, cut = ("pil_s", "ours_s"), ("pil_cut_s", "ours_cut_s")
    return Result(
        targets=[
            Target("decoding by PIL against the data path's", ratio(samples, *alone), "at least", 1),
            Target("decoding and a random part at 224 x 224, likewise", ratio(samples, *cut), "at least", 1),
        ],
        lines=[
            *(f"{name[:-2]}: {1e3 * statistics.median(each):.2f} ms an image" for name, each in samples.items()),
            f"ratio {spread(samples, *alone)}; with a part cut out {spread(samples, *cut)}",
            f"{len(files)} synthetic JPEGs, quality {QUALITY}: {sum(map(len, files)) / len(files) / 1024:.0f} KiB each",
        ],
        samples=samples,
    )


def jpeg(height: int, width: int) -> bytes:
    """Make a file that is about as hard as a photograph: noise on several scales, and some of the finest."""
    draw = np.random.default_rng(height)
    total = np.zeros((height, width, 3))
    for scale in (4, 16, 64, 256):
        coarse = draw.random((max(2, height // scale), max(2, width // scale), 3))
        planes = [Image.fromarray((255 * coarse[..., k]).astype(np.uint8)).resize((width, height)) for k in range(3)]
        total += np.stack([np.asarray(plane, float) for plane in planes], -1) * scale**0.5
    total += draw.normal(0, 0.02 * total.max(), total.shape)
    total = 255 * (total - total.min()) / (total.max() - total.min())
    file = io.BytesIO()
    Image.fromarray(total.astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def by_pil(content: bytes) -> torch.Tensor:
    """uint8 (3, H, W)."""
    pixels: torch.Tensor = functional.pil_to_tensor(Image.open(io.BytesIO(content)).convert("RGB"))
    return pixels


def seconds(files: Sequence[bytes], decode: Callable[[bytes], torch.Tensor], *, cut: bool = False) -> float:
    """Return the time per image."""
    began = perf_counter()
    for number, file in enumerate(files):
        pixels = decode(file)
        if cut:
            PART.of(pixels, 0, number, mirrored=False)
    return (perf_counter() - began) / len(files)


if __name__ == "__main__":
    script(main)
