"""What a suite may name: nets with their options, datasets with their facts. Plain data, read without torch.

A guard test keeps these names equal to the dictionaries in ``models`` and ``data``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ranbench.errors import SpecError, nearest

LEARNING = ("residual", "naive")
ATTENTION = ("mixed", "channel", "spatial")
MASK = ("encoder-decoder", "local-convolutions")

ATTENTION_OPTIONS: Mapping[str, tuple[str, ...]] = {"learning": LEARNING, "attention": ATTENTION, "mask": MASK}


@dataclass(frozen=True)
class NetInfo:
    """What is known of a net before it is built; ``options`` maps each option to its values, the default first."""

    summary: str
    options: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Modules:
    """Attention modules per stage (m) and the units inside one: pre/post p, trunk t, mask r (section 3, table 6)."""

    m: int
    p: int = 1
    t: int = 2
    r: int = 1


# The nets that the paper names on CIFAR; any other 36m + 20 is accepted as well.
NETS: Mapping[str, NetInfo] = {
    "attention-56": NetInfo("Residual Attention Network, m = 1 (table 3)", ATTENTION_OPTIONS),
    "attention-92": NetInfo("Residual Attention Network, m = 2 (table 3)", ATTENTION_OPTIONS),
    "attention-128": NetInfo("Residual Attention Network, m = 3 (table 3)", ATTENTION_OPTIONS),
    "attention-164": NetInfo("Residual Attention Network, m = 4 (table 3)", ATTENTION_OPTIONS),
    "attention-236": NetInfo("Residual Attention Network, m = 6 (table 6)", ATTENTION_OPTIONS),
    "attention-452": NetInfo("Residual Attention Network, m = 6, p = 2, t = 4, r = 3 (table 6)", ATTENTION_OPTIONS),
    "resnet-164": NetInfo("pre-activation ResNet of 164 layers (tables 5 and 6, figure 4)", {}),
}

_ATTENTION_NAME = re.compile(r"attention-([1-9][0-9]{0,3})")


def attention_modules(name: str) -> Modules | None:
    """Return the setting of ``attention-N``, or None for a name of another form.

    N = 36m + 20 with p = 1, t = 2, r = 1 (section 4.1); 452 is m = 6, p = 2, t = 4, r = 3 (footnote of table 6).

    Raises:
        SpecError: N is not 36m + 20.
    """
    match = _ATTENTION_NAME.fullmatch(name)
    if match is None:
        return None
    depth = int(match.group(1))
    if depth == 452:
        return Modules(m=6, p=2, t=4, r=3)
    m, rest = divmod(depth - 20, 36)
    if rest or m < 1:
        low = max(m, 1)
        near = " or ".join(f"attention-{36 * k + 20}" for k in (low, low + 1))
        raise SpecError(f"model {name!r}: a depth must be 36m + 20 with m of 1 or more; nearest: {near}")
    return Modules(m=m)


def net_info(name: str) -> NetInfo:
    """Return what is known of the net ``name``.

    Raises:
        SpecError: there is no such net.
    """
    if name in NETS:
        return NETS[name]
    modules = attention_modules(name)
    if modules is not None:
        return NetInfo(f"Residual Attention Network, m = {modules.m}", ATTENTION_OPTIONS)
    raise SpecError(
        f"model {name!r} is not known{nearest(name, NETS)} "
        "('ranbench list models' prints all; attention-N takes N = 36m + 20)"
    )


def check_option(model: str, option: str, value: object) -> None:
    """Check one option of the net ``model``.

    Raises:
        SpecError: no such net, it has no such option, or the option does not take ``value``.
    """
    options = net_info(model).options
    if option not in options:
        has = f"it has: {', '.join(options)}" if options else "it has no options"
        raise SpecError(f"model {model!r} has no option {option!r} ({has})")
    allowed = options[option]
    if value not in allowed:
        hint = nearest(str(value), allowed)
        raise SpecError(f"{option} {value!r} is not known{hint} (allowed: {', '.join(allowed)})")


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a dataset; ``shape`` is (channels, height, width), ``checksum`` identifies the official content."""

    summary: str
    shape: tuple[int, int, int]
    num_classes: int
    train_images: int
    test_images: int
    checksum: str
    splittable: bool = False

    @property
    def total_images(self) -> int:
        """Images of training and test set together."""
        return self.train_images + self.test_images


DATASETS: Mapping[str, DatasetInfo] = {
    "cifar10": DatasetInfo(
        "CIFAR-10: 32x32 colour photographs in 10 classes (Krizhevsky, 2009)",
        shape=(3, 32, 32),
        num_classes=10,
        train_images=50_000,
        test_images=10_000,
        checksum="md5:c58f30108f718f92721af3b95e74349a",
    ),
    "digits": DatasetInfo(
        "8x8 handwritten digits of scikit-learn (UCI ML hand-written digits, test part), embedded, offline",
        shape=(1, 8, 8),
        num_classes=10,
        train_images=1_437,
        test_images=360,
        checksum="sha256:87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
        splittable=True,
    ),
}


def dataset_info(name: str) -> DatasetInfo:
    """Return the facts of the dataset ``name``.

    Raises:
        SpecError: there is no such dataset.
    """
    if name not in DATASETS:
        raise SpecError(f"dataset {name!r} is not known{nearest(name, DATASETS)} (allowed: {', '.join(DATASETS)})")
    return DATASETS[name]
