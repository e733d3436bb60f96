"""Small folders of real image files: JPEGs of several sizes, a grey one, a CMYK one, a PNG, and a damaged one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((40, 56), (64, 48), (33, 90), (120, 80))  # width, height


def picture(number: int, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A slope of colours with some noise, another one for each number."""
    random = np.random.default_rng(number)
    width, height = size
    slope = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None]
    pixels = slope + random.integers(0, 60, 3) + random.normal(0, 5, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def content(number: int, size: tuple[int, int], mode: str = "RGB", kind: str = "JPEG") -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    picture(number, size, mode).save(out, kind)
    return out.getvalue()


def make_folder(root: Path, *, classes: int = 3, train: int = 4, val: int = 2, damaged: bool = False) -> Path:
    """Make ``root/imagefolder`` and return it; the first class has a grey and a CMYK image, the second a PNG.

    ``damaged``: of the second class one training image more, which is cut off in the middle.
    """
    folder = root / "imagefolder"
    number = 0
    for part, count in (("train", train), ("val", val)):
        for label in range(classes):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True)
            for index in range(count):
                number += 1
                mode = {(0, 0): "L", (0, 1): "CMYK"}.get((label, index), "RGB")
                kind = "PNG" if (label, index) == (1, 0) else "JPEG"
                name = f"{index:03d}.{'png' if kind == 'PNG' else 'JPEG'}"
                (place / name).write_bytes(content(number, SIZES[number % len(SIZES)], mode, kind))
    if damaged:
        whole = content(99, SIZES[0])
        (folder / "train" / "class1" / "bad.jpg").write_bytes(whole[: len(whole) // 2])
    return folder
