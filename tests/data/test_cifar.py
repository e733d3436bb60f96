"""CIFAR-10 and -100: refused before anything is unpickled, fetched whole or not at all, and right where it is there."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR100

from ranbench.data import LOADERS
from ranbench.data.cifar import CIFAR_10, CIFAR_100, Cifar
from ranbench.errors import DataError
from ranbench.spec import DataSpec

SPECS = {CIFAR_10: DataSpec.of("cifar10"), CIFAR_100: DataSpec.of("cifar100")}
NAMES = {
    CIFAR_10: [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"],
    CIFAR_100: ["train", "test", "meta"],
}
FOLDERS = {CIFAR_10: "cifar-10-batches-py", CIFAR_100: "cifar-100-python"}
FIRST_MD5 = {CIFAR_10: "c99cafc152244af753f735de768cd75f", CIFAR_100: "16019d7e3df5f24257cddd939b257f8d"}

both = pytest.mark.parametrize("cifar", [CIFAR_10, CIFAR_100], ids=lambda cifar: cifar.name)


class Creates:
    """A pickle of this makes the folder ``path`` when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL under which this machine serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wrong_archive(served: tuple[Path, str]) -> str:
    """URL of an archive on this machine that is a good tar file, but not the official one."""
    folder, url = served
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    (folder / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not images")
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
    return f"{url}/cifar.tar.gz"


@pytest.fixture
def small_cifar100(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an archive of the form of CIFAR-100, of 200 training and 100 test images, that passes for the official."""
    folder, url = served
    files = folder / "cifar-100-python"
    files.mkdir()
    draw = np.random.default_rng(0)
    for name, count in (("train", 200), ("test", 100)):
        labels = [index % 100 for index in range(count)]
        images = draw.integers(0, 256, size=(count, 3072), dtype=np.uint8)
        content = {"data": images, "fine_labels": labels, "coarse_labels": [label // 5 for label in labels]}
        (files / name).write_bytes(pickle.dumps(content))
    (files / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {label}" for label in range(100)]}))
    archive = folder / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(files, "cifar-100-python")
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5_of(files / "train")]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5_of(files / "test")]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5_of(files / "meta")})
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5_of(archive))
    return f"{url}/cifar-100-python.tar.gz"


def md5_of(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def command(cifar: Cifar, root: Path) -> str:
    return f"'ranbench data fetch {cifar.name} --data {root}' downloads it"


@both
def test_the_files_are_the_official_ones(cifar: Cifar) -> None:
    assert [name for name, _ in cifar.files] == NAMES[cifar]
    assert cifar.files[0][1] == FIRST_MD5[cifar]
    assert f"md5:{cifar.source.tgz_md5}" == SPECS[cifar].checksum


def test_the_last_files_of_cifar_10_are_the_official_ones() -> None:
    assert dict(CIFAR_10.files)["test_batch"] == "40351d587109b95175f43aff81a1287e"


@both
def test_a_damaged_file_is_refused_before_it_is_unpickled(tmp_path: Path, cifar: Cifar) -> None:
    root, trap = tmp_path / "data", tmp_path / "unpickled"
    folder = root / FOLDERS[cifar]
    folder.mkdir(parents=True)
    content = pickle.dumps(Creates(trap))
    for name in NAMES[cifar]:
        (folder / name).write_bytes(content)

    with pytest.raises(DataError) as caught:
        cifar.load(SPECS[cifar], root)

    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert not trap.exists()
    assert caught.value.exit_code == 7
    assert str(caught.value) == (
        f"{cifar.name}: {folder / NAMES[cifar][0]}: damaged: md5 {md5}, expected {FIRST_MD5[cifar]}; "
        f"delete it, then {command(cifar, root)}"
    )
    pickle.loads(content)
    assert trap.exists()  # the trap does work


@both
def test_a_missing_folder_is_refused_with_the_command_that_fetches_it(tmp_path: Path, cifar: Cifar) -> None:
    with pytest.raises(DataError) as caught:
        cifar.load(SPECS[cifar], tmp_path)

    folder = tmp_path / FOLDERS[cifar]
    assert str(caught.value) == f"{cifar.name}: {folder}: no such folder; {command(cifar, tmp_path)}"
    assert caught.value.exit_code == 7
    assert not cifar.is_there(tmp_path)


@both
def test_a_single_missing_file_is_named(tmp_path: Path, cifar: Cifar) -> None:
    folder = tmp_path / FOLDERS[cifar]
    folder.mkdir()
    absent = NAMES[cifar][1]
    for name in NAMES[cifar]:
        if name != absent:
            (folder / name).write_bytes(b"")

    with pytest.raises(DataError) as caught:
        cifar.load(SPECS[cifar], tmp_path)

    assert str(caught.value) == f"{cifar.name}: {folder}: {absent} missing; {command(cifar, tmp_path)}"
    assert cifar.is_there(tmp_path)


def test_an_archive_that_is_not_the_official_one_is_refused_and_nothing_put_in_place(
    tmp_path: Path, wrong_archive: str
) -> None:
    root = tmp_path / "data"

    with pytest.raises(DataError) as caught:
        CIFAR_10.fetch(root, wrong_archive)

    message = str(caught.value)
    assert message.startswith(f"cifar10: cannot fetch {wrong_archive}: ")
    assert "\n" not in message
    assert not (root / "cifar-10-batches-py").exists()


def test_a_second_fetch_after_a_wrong_archive_is_refused_as_well(tmp_path: Path, wrong_archive: str) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="cannot fetch"):
            CIFAR_10.fetch(tmp_path, wrong_archive)

    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_an_address_that_does_not_answer_is_refused_in_one_line(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/cifar.tar.gz"

    with pytest.raises(DataError) as caught:
        CIFAR_10.fetch(tmp_path, url)

    assert str(caught.value) == (
        f"cifar10: cannot fetch {url}: <urlopen error [Errno 111] Connection refused>; fetch the archive by other "
        f"means and put cifar-10-python.tar.gz into {tmp_path}, then try again"
    )


def test_the_real_images_have_their_published_counts(real_cifar10: Path) -> None:
    images = CIFAR_10.load(SPECS[CIFAR_10], real_cifar10)

    assert images.train_images.shape == (50_000, 3, 32, 32)
    assert images.test_images.shape == (10_000, 3, 32, 32)
    assert images.train_images.dtype == images.test_images.dtype == torch.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert torch.bincount(images.train_labels).tolist() == [5_000] * 10
    assert torch.bincount(images.test_labels).tolist() == [1_000] * 10
    # the means that are quoted everywhere for the training set: 0.4914, 0.4822, 0.4465 of red, green, blue
    means = [round(float(channel.double().mean() / 255), 4) for channel in images.train_images.unbind(dim=1)]
    assert means == [0.4914, 0.4822, 0.4465]


def test_cifar_100_is_fetched_verified_and_loaded_with_its_fine_labels(tmp_path: Path, small_cifar100: str) -> None:
    """On a small archive of its form; the official files are not at hand."""
    root = tmp_path / "data"

    fetched = CIFAR_100.fetch(root, small_cifar100)
    images = LOADERS["cifar100"].load(SPECS[CIFAR_100], root)

    assert fetched == CIFAR_100.verify(root) == "3 files, md5 as published"
    assert images.train_images.shape == (200, 3, 32, 32)
    assert images.test_images.shape == (100, 3, 32, 32)
    assert images.train_images.dtype == torch.uint8
    assert images.train_labels.tolist() == [*range(100), *range(100)]
    assert images.test_labels.tolist() == list(range(100))
    assert images.num_classes == 100
    rows = np.random.default_rng(0).integers(0, 256, size=(200, 3072), dtype=np.uint8)
    assert torch.equal(images.train_images, torch.from_numpy(rows.reshape(200, 3, 32, 32)))


def test_a_fetch_leaves_files_in_place_alone(real_cifar10: Path) -> None:
    assert CIFAR_10.verify(real_cifar10) == "7 files, md5 as published"
    assert CIFAR_10.fetch(real_cifar10, "http://127.0.0.1:1/") == "already there: 7 files, md5 as published"
