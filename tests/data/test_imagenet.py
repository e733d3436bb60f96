"""ImageNet: nets are counted on it, and every other use says in one line that it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.catalogue import DATASETS
from ranbench.data import LOADERS, load
from ranbench.data.imagenet import load_imagenet
from ranbench.errors import DataError
from ranbench.spec import DataSpec

SAID = (
    "imagenet: this version cannot load, fetch or train on ImageNet yet; "
    "'ranbench complexity MODEL --dataset imagenet' counts a net on its images"
)


def test_suites_may_train_on_every_dataset_but_those_that_cannot_be_loaded() -> None:
    cannot = [name for name, loader in LOADERS.items() if loader.load is load_imagenet]

    assert [name for name, info in DATASETS.items() if not info.trainable] == cannot


@pytest.mark.parametrize("use", ["load", "verify", "fetch"])
def test_every_use_of_the_images_is_refused_in_one_line(tmp_path: Path, use: str) -> None:
    loader = LOADERS["imagenet"]
    assert loader.fetch is not None
    uses = {
        "load": lambda: load(DataSpec.of("imagenet"), tmp_path),
        "verify": lambda: loader.verify(tmp_path),
        "fetch": lambda: loader.fetch(tmp_path, None),
    }

    with pytest.raises(DataError) as caught:
        uses[use]()

    assert str(caught.value) == SAID
    assert caught.value.exit_code == 7
    assert not loader.is_there(tmp_path)
