"""A node of a cluster finds its datasets, or is brought those that are small enough."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from ranbench.data.cifar import CIFAR_10
from ranbench.errors import DataError
from ranbench.execution.cluster import Cluster
from ranbench.runner import delivery
from ranbench.runner.delivery import Offer, data_on_node, offered


class Kept:
    """Stands for a cluster: what is put there is what it returns."""

    def put(self, value: object) -> object:
        return value


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder into which datasets are brought."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RANBENCH_DATA", raising=False)
    monkeypatch.setattr(delivery, "received", lambda kept: kept)
    return tmp_path / "cache" / "ranbench" / "data"


def offer(root: Path, *datasets: str) -> Offer:
    return offered(cast("Cluster", Kept()), datasets, root)


def test_a_node_without_the_dataset_is_brought_it_once(real_cifar10: Path, cache: Path, tmp_path: Path) -> None:
    files: Any = offer(real_cifar10, "cifar10", "cifar10")

    assert data_on_node("cifar10", tmp_path / "nowhere", files) == cache
    assert CIFAR_10.verify(cache) == "7 files, md5 as published"
    times = [file.stat().st_mtime_ns for file in sorted(cache.rglob("*"))]
    assert data_on_node("cifar10", tmp_path / "nowhere", files) == cache
    assert [file.stat().st_mtime_ns for file in sorted(cache.rglob("*"))] == times


def test_what_was_brought_and_is_damaged_is_brought_anew(real_cifar10: Path, cache: Path, tmp_path: Path) -> None:
    files = offer(real_cifar10, "cifar10")
    data_on_node("cifar10", tmp_path, files)
    damaged = cache / "cifar-10-batches-py" / "test_batch"
    damaged.write_bytes(damaged.read_bytes()[:-1])

    data_on_node("cifar10", tmp_path, files)

    assert CIFAR_10.verify(cache)
    assert not list(cache.rglob(".*"))


def test_a_dataset_that_the_node_has_is_not_brought(real_cifar10: Path, cache: Path) -> None:
    assert data_on_node("cifar10", real_cifar10, offer(real_cifar10, "cifar10")) == real_cifar10
    assert not cache.exists()


@pytest.mark.parametrize("dataset", ["digits", "imagenet", "imagefolder", "images:make"])
def test_what_is_embedded_or_large_or_of_a_user_is_not_carried(dataset: str, cache: Path, tmp_path: Path) -> None:
    assert not offer(tmp_path, dataset)
    assert data_on_node(dataset, tmp_path, {}) == tmp_path


def test_files_that_are_not_the_official_ones_are_not_carried(real_cifar10: Path, tmp_path: Path) -> None:
    shutil.copytree(real_cifar10 / "cifar-10-batches-py", tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"no")

    assert not offer(tmp_path, "cifar10")
    assert not offer(tmp_path / "nowhere", "cifar10")


def test_a_node_without_room_says_which_folder_and_what_to_do(real_cifar10: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where a folder is needed")

    with pytest.raises(
        DataError, match=r"cifar10: neither in .*nowhere, nor can it be kept in .*RANBENCH_DATA"
    ) as said:
        data_on_node("cifar10", tmp_path / "nowhere", offer(real_cifar10, "cifar10"))

    assert "\n" not in str(said.value)
    assert said.value.exit_code == 7
