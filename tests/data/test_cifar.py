"""CIFAR-10: refused before anything is unpickled, fetched whole or not at all, and right where it is there."""

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

import pytest
import torch

from ranbench.data.cifar import FILES, fetch_cifar10, load_cifar10, verify_cifar10
from ranbench.errors import DataError
from ranbench.spec import DataSpec

SPEC = DataSpec.of("cifar10")
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]


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
def wrong_archive(tmp_path: Path) -> Iterator[str]:
    """URL of an archive on this machine that is a good tar file, but not the official one."""
    served = tmp_path / "served"
    (served / "cifar-10-batches-py").mkdir(parents=True)
    (served / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not images")
    with tarfile.open(served / "cifar.tar.gz", "w:gz") as archive:
        archive.add(served / "cifar-10-batches-py", "cifar-10-batches-py")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/cifar.tar.gz"
    server.shutdown()
    thread.join()
    server.server_close()


def command(root: Path) -> str:
    return f"'ranbench data fetch cifar10 --data {root}' downloads it"


def test_the_files_are_the_official_ones() -> None:
    assert [name for name, _ in FILES] == NAMES
    assert dict(FILES)["data_batch_1"] == "c99cafc152244af753f735de768cd75f"
    assert dict(FILES)["test_batch"] == "40351d587109b95175f43aff81a1287e"


def test_a_damaged_file_is_refused_before_it_is_unpickled(tmp_path: Path) -> None:
    root, trap = tmp_path / "data", tmp_path / "unpickled"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    content = pickle.dumps(Creates(trap))
    for name in NAMES:
        (folder / name).write_bytes(content)

    with pytest.raises(DataError) as caught:
        load_cifar10(SPEC, root)

    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert not trap.exists()
    assert caught.value.exit_code == 7
    assert str(caught.value) == (
        f"cifar10: {folder / 'data_batch_1'}: damaged: md5 {md5}, expected c99cafc152244af753f735de768cd75f; "
        f"delete it, then {command(root)}"
    )
    pickle.loads(content)
    assert trap.exists()  # the trap does work


def test_a_missing_folder_is_refused_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_cifar10(SPEC, tmp_path)

    folder = tmp_path / "cifar-10-batches-py"
    assert str(caught.value) == f"cifar10: {folder}: no such folder; {command(tmp_path)}"
    assert caught.value.exit_code == 7


def test_a_single_missing_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in NAMES:
        if name != "data_batch_3":
            (folder / name).write_bytes(b"")

    with pytest.raises(DataError) as caught:
        load_cifar10(SPEC, tmp_path)

    assert str(caught.value) == f"cifar10: {folder}: data_batch_3 missing; {command(tmp_path)}"


def test_an_archive_that_is_not_the_official_one_is_refused_and_nothing_put_in_place(
    tmp_path: Path, wrong_archive: str
) -> None:
    root = tmp_path / "data"

    with pytest.raises(DataError) as caught:
        fetch_cifar10(root, wrong_archive)

    message = str(caught.value)
    assert message.startswith(f"cifar10: cannot fetch {wrong_archive}: ")
    assert "\n" not in message
    assert not (root / "cifar-10-batches-py").exists()


def test_a_second_fetch_after_a_wrong_archive_is_refused_as_well(tmp_path: Path, wrong_archive: str) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="cannot fetch"):
            fetch_cifar10(tmp_path, wrong_archive)

    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_an_address_that_does_not_answer_is_refused_in_one_line(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/cifar.tar.gz"

    with pytest.raises(DataError) as caught:
        fetch_cifar10(tmp_path, url)

    assert str(caught.value) == (
        f"cifar10: cannot fetch {url}: <urlopen error [Errno 111] Connection refused>; fetch the archive by other "
        f"means and put cifar-10-python.tar.gz into {tmp_path}, then try again"
    )


def test_the_real_images_have_their_published_counts(real_cifar10: Path) -> None:
    images = load_cifar10(SPEC, real_cifar10)

    assert images.train_images.shape == (50_000, 3, 32, 32)
    assert images.test_images.shape == (10_000, 3, 32, 32)
    assert images.train_images.dtype == images.test_images.dtype == torch.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert torch.bincount(images.train_labels).tolist() == [5_000] * 10
    assert torch.bincount(images.test_labels).tolist() == [1_000] * 10
    # the means that are quoted everywhere for the training set: 0.4914, 0.4822, 0.4465 of red, green, blue
    means = [round(float(channel.double().mean() / 255), 4) for channel in images.train_images.unbind(dim=1)]
    assert means == [0.4914, 0.4822, 0.4465]


def test_a_fetch_leaves_files_in_place_alone(real_cifar10: Path) -> None:
    assert verify_cifar10(real_cifar10) == "7 files, md5 as published"
    assert fetch_cifar10(real_cifar10, "http://127.0.0.1:1/") == "already there: 7 files, md5 as published"
