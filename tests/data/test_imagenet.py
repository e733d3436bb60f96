"""ImageNet: counted and read as torchvision unpacks it; what cannot be fetched says what and where in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.catalogue import DATASETS
from ranbench.data import LOADERS, load
from ranbench.data.imagenet import ARCHIVES, BLACKLIST, glance_at_imagenet, imagenet_manifest
from ranbench.errors import DataError, UsageError
from ranbench.spec import DataSpec
from tests.data.photos import content

SMALL = DataSpec.of("imagenet").model_copy(update={"train_images": 1001, "test_images": 1000})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of ImageNet with one image a class; the first has two to train on, one of them damaged."""
    root = tmp_path_factory.mktemp("small")
    whole, number = content(1, (40, 30)), 0
    for label in range(1000):
        for part in ("train", "val"):
            place = root / "imagenet" / part / f"n{label:08d}"
            place.mkdir(parents=True)
            number += part == "val"
            name = f"ILSVRC2012_val_{number:08d}.JPEG" if part == "val" else f"n{label:08d}_1.JPEG"
            (place / name).write_bytes(whole)
    (root / "imagenet" / "train" / "n00000000" / "n00000000_2.JPEG").write_bytes(whole[:200])
    return root


@pytest.fixture
def blacklist(small: Path) -> Path:
    """A blacklist of two images beside it."""
    file = small / "imagenet" / BLACKLIST
    file.write_text("36\n5\n")
    return file


def test_what_must_be_fetched_is_said_in_one_line(tmp_path: Path) -> None:
    loader = LOADERS["imagenet"]
    folder = tmp_path / "imagenet"
    uses = [lambda: load(DataSpec.of("imagenet"), tmp_path), lambda: loader.verify(tmp_path)]

    for use in uses:
        with pytest.raises(DataError) as caught:
            use()

        assert str(caught.value) == (
            f"imagenet: {folder}: no folder train and none val; with an account at https://image-net.org/download "
            f"(ILSVRC2012, task 1 and 2) fetch {', '.join(ARCHIVES)} (138 GB, 6.3 GB, 2.5 MB) into {folder}, then "
            "'ranbench data fetch imagenet' unpacks them; or put the folders train/ and val/, with one folder of JPEGs "
            "for each of the 1,000 classes, there"
        )
        assert caught.value.exit_code == 7
    assert not loader.is_there(tmp_path)


def test_a_fetch_names_the_archives_that_are_missing(tmp_path: Path) -> None:
    fetch = LOADERS["imagenet"].fetch
    assert fetch is not None
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / ARCHIVES[0]).write_bytes(b"not it")

    with pytest.raises(DataError, match=f"{ARCHIVES[1]}, {ARCHIVES[2]} missing, which nobody but you can fetch"):
        fetch(tmp_path, None)
    for name in ARCHIVES[1:]:
        (tmp_path / "imagenet" / name).write_bytes(b"not it")
    with pytest.raises(DataError, match=r"cannot be unpacked: .*fetch the archive again"):
        fetch(tmp_path, None)


def test_the_images_are_those_of_the_folders_with_their_classes(small: Path) -> None:
    images = load(SMALL, small)

    assert (len(images.train_images), len(images.test_images), images.num_classes) == (1001, 1000, 1000)
    assert images.train_labels[:3].tolist() == [0, 0, 1]
    assert images.test_labels.tolist() == list(range(1000))


def test_another_number_of_images_is_refused(small: Path) -> None:
    with pytest.raises(DataError, match="train: 1,001 images, expected 1,281,167"):
        load(DataSpec.of("imagenet"), small)
    with pytest.raises(DataError, match="train: 1,001 images, expected 1,281,167"):
        glance_at_imagenet(small)


def test_blacklisted_images_are_left_out_by_the_numbers_of_the_users_file(small: Path, blacklist: Path) -> None:
    facts, said = imagenet_manifest(small, ["blacklisted"])
    assert (facts["train"], facts["test"], said) == (1001, 998, "0 of train left out; 2 of val left out")

    images = load(SMALL.without(["blacklisted"], str(facts["skipped"]), 1001, 998), small)

    assert len(images.test_images) == 998
    assert {4, 35} == set(range(1000)) - set(images.test_labels.tolist())
    blacklist.write_text("36\n6\n")
    with pytest.raises(DataError, match="skips other images than the suite says: sha256:"):
        load(SMALL.without(["blacklisted"], str(facts["skipped"]), 1001, 998), small)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file; the development kit of ILSVRC2014 "),
        ("", "expected numbers of images from 1 to 50,000, got nothing; "),
        ("36\n50001\n", "expected numbers of images from 1 to 50,000, got '50001'; "),
        ("2000\n", "names ILSVRC2012_val_00002000.JPEG, which is not among the images of "),
    ],
)
def test_a_blacklist_that_is_none_is_refused(small: Path, blacklist: Path, text: str | None, said: str) -> None:
    if text is None:
        blacklist.unlink()
    else:
        blacklist.write_text(text)

    with pytest.raises(DataError) as caught:
        imagenet_manifest(small, ["blacklisted"])

    assert said in str(caught.value)


def test_damaged_images_are_left_out_once_they_are_known(small: Path) -> None:
    skipping = SMALL.without(["damaged"], f"sha256:{'0' * 64}", 1000, 1000)
    with pytest.raises(DataError, match="which images are damaged is not known here; 'ranbench data verify imagenet'"):
        load(skipping, small)

    facts, said = imagenet_manifest(small, ["damaged"])
    images = load(SMALL.without(["damaged"], str(facts["skipped"]), 1000, 1000), small)

    assert said == "1 of train left out; 0 of val left out"
    assert len(images.train_images) == 1000


def test_the_facts_of_all_of_imagenet_are_stated_by_no_suite(small: Path) -> None:
    with pytest.raises(UsageError, match="with --skip blacklisted or --skip damaged it prints"):
        imagenet_manifest(small, [])


def test_every_dataset_of_the_catalogue_can_be_loaded() -> None:
    assert LOADERS.keys() - DATASETS.keys() == {"imagefolder"}
