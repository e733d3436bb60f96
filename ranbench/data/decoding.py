"""Image files -> pixels: decoded where that is fastest, which was measured (docs/datasets.md), or named as damaged."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from ranbench.errors import one_line

# Formats that torchvision's own decoders know by their first bytes; all others go through PIL.
_NATIVE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
warnings.filterwarnings("ignore", "The image decoding and encoding capabilities of TorchVision", DeprecationWarning)


class DamagedImage(Exception):
    """A file that is no whole image; the message says what is wrong with it, on one line, without its name."""


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        DamagedImage: it cannot be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedImage(f"cannot be read: {error.strerror or one_line(error)}") from None
    if not content:
        raise DamagedImage("is empty")
    return content


def decoded(content: bytes) -> torch.Tensor:
    """Decode an image, whatever its file is called: uint8 (3, H, W); grey, CMYK and transparent ones become RGB.

    JPEG and PNG are decoded by torchvision, in libjpeg-turbo and libpng, where it has decoders: later versions have
    none. They give the bits of PIL, which does all else, without its way over Python objects. Rotation by EXIF is not
    applied, as in torchvision's datasets.

    Raises:
        DamagedImage: it is damaged, cut off, or no image.
    """
    native = _native_decoder() if content.startswith(_NATIVE) else None
    return _by_pil(content) if native is None else native(content)


@cache
def _native_decoder() -> Callable[[bytes], torch.Tensor] | None:
    try:
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:
        return None

    def decode(content: bytes) -> torch.Tensor:
        try:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            pixels: torch.Tensor = decode_image(data, ImageReadMode.RGB, apply_exif_orientation=False)
        except RuntimeError as error:
            raise DamagedImage(_short(error)) from None
        return pixels

    return decode


def _by_pil(content: bytes) -> torch.Tensor:
    from PIL import Image
    from torchvision.transforms.v2 import functional

    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels: torch.Tensor = functional.pil_to_tensor(image.convert("RGB"))
    except Exception as error:  # PIL's plugins raise whatever they like at what is no image
        raise DamagedImage(_short(error)) from None
    return pixels


def _short(error: Exception) -> str:
    """What a decoder says, without the place in its own source or an object's address."""
    text = one_line(error).split(" <", 1)[0].split("\n")[0]
    return text.rsplit(".cpp:", 1)[-1].partition(", ")[2] or text if ".cpp:" in text else text
