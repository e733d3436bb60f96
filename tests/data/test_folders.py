"""Images in folders: found, decoded, named where they are damaged, identified by their content."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ranbench.data import PhotoSet, load
from ranbench.data.decoding import DamagedImage, _by_pil, decoded, read_bytes
from ranbench.data.folders import INDEX, folder_manifest, verify_folder
from ranbench.errors import DataError
from ranbench.spec import DataSpec
from tests.data.photos import content, make_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of datasets with a good image folder, which no test changes."""
    root = tmp_path_factory.mktemp("whole")
    make_folder(root)
    return root


@pytest.mark.parametrize("decode", [decoded, _by_pil])
@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGB", "BMP")]
)
def test_every_kind_of_image_has_the_colours_that_pil_gives_it(
    tmp_path: Path, mode: str, kind: str, decode: Callable[[bytes], torch.Tensor]
) -> None:
    file = tmp_path / "named.JPEG"  # whatever it is
    file.write_bytes(content(1, (40, 56), mode, kind))
    expected = np.asarray(Image.open(file).convert("RGB"))

    pixels = decode(read_bytes(file))

    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (content(1, (40, 56))[:600], "Image is incomplete or truncated"),
        (b"", "is empty"),
        (b"<html>not found</html>", "cannot identify image file"),
    ],
)
def test_a_damaged_image_says_what_is_wrong_in_one_line(tmp_path: Path, bad: bytes, said: str) -> None:
    file = tmp_path / "x.jpg"
    file.write_bytes(bad)

    with pytest.raises(DamagedImage) as caught:
        decoded(read_bytes(file))

    assert str(caught.value) == said


def test_the_manifest_states_what_a_suite_needs_and_loading_agrees(whole: Path) -> None:
    spec, left_out = folder_manifest(whole)

    images = load(spec, whole)

    assert isinstance(images, PhotoSet)
    assert (spec.train_images, spec.test_images, left_out) == (12, 6, "")
    assert (len(images.train_images), len(images.test_images), images.num_classes) == (12, 6, 3)
    assert images.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert images.train_images.name(4) == str(Path("class1", "000.png"))
    assert images.shape == (3, 224, 224)


def test_mean_and_deviation_are_those_of_all_training_pixels(whole: Path) -> None:
    spec, _ = folder_manifest(whole)
    files = sorted((whole / "imagefolder" / "train").rglob("*.*"))
    pixels = np.concatenate([np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3) for file in files]) / 255

    assert spec.facts is not None
    assert spec.facts.mean == pytest.approx(tuple(pixels.mean(axis=0)), abs=1e-6)
    assert spec.facts.std == pytest.approx(tuple(pixels.std(axis=0)), abs=1e-6)


def test_a_damaged_image_is_named_and_counted_and_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, damaged=True)

    with pytest.raises(DataError) as caught:
        folder_manifest(tmp_path)

    assert str(caught.value) == (
        f"imagefolder: {folder}: 1 of 13 images cannot be decoded: train/class1/bad.jpg (Image is incomplete or "
        "truncated); mend or delete them, or leave them out by 'skip: [damaged]' in the suite ('ranbench data manifest "
        "imagefolder --skip damaged' prints the facts)"
    )


def test_a_damaged_image_is_left_out_where_the_suite_says_so(tmp_path: Path) -> None:
    make_folder(tmp_path, damaged=True)
    spec, left_out = folder_manifest(tmp_path, skip_damaged=True)

    images = load(spec, tmp_path)

    assert (spec.train_images, spec.skip) == (12, ("damaged",))
    assert left_out == "1 of 13 images cannot be decoded: train/class1/bad.jpg (Image is incomplete or truncated)"
    assert len(images.train_images) == 12
    with pytest.raises(DataError, match="1 of 13 images cannot be decoded"):
        load(spec.model_copy(update={"skip": ()}), tmp_path)


def test_other_images_are_never_taken_for_those_of_the_suite(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    spec, _ = folder_manifest(tmp_path)
    changed = folder / "val" / "class2" / "001.JPEG"
    changed.write_bytes(content(77, (64, 48)))

    with pytest.raises(
        DataError, match="these are other images; 'ranbench data manifest imagefolder' prints what they"
    ):
        load(spec, tmp_path)


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    first = verify_folder(tmp_path)
    file = folder / "train" / "class0" / "002.JPEG"
    state = file.stat()
    file.write_bytes(b"x" * state.st_size)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert verify_folder(tmp_path) == first
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"class0/002\.JPEG \(cannot identify image file\)"):
        verify_folder(tmp_path)


def test_a_damaged_index_costs_time_alone(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    first = verify_folder(tmp_path)
    for text in ("", "{}", json.dumps({"train": {"class0/000.JPEG": {"what": 1}}})):
        (folder / INDEX).write_text(text)

        assert verify_folder(tmp_path) == first


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ("val", "val: no such folder; expected "),
        ("val/class1", "train and val have other classes (class1); each needs a folder for every class"),
    ],
)
def test_a_layout_that_does_not_hold_is_refused_in_one_line(tmp_path: Path, remove: str, said: str) -> None:
    gone = make_folder(tmp_path) / remove
    for file in gone.rglob("*.*"):
        file.unlink()
    for place in sorted([gone, *gone.rglob("*")], reverse=True):
        place.rmdir()

    with pytest.raises(DataError) as caught:
        folder_manifest(tmp_path)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"skip": ("blacklisted",)}, "cannot skip blacklisted images (allowed: damaged)"),
        ({"skipped": f"sha256:{'0' * 64}"}, "skip and skipped belong together for imagenet"),
        ({"input": 128}, None),
    ],
)
def test_what_is_left_out_of_a_folder_is_checked_where_it_is_stated(
    whole: Path, change: dict[str, object], said: str | None
) -> None:
    spec, _ = folder_manifest(whole)

    if said is None:
        assert spec.model_copy(update=change).shape == (3, 128, 128)
    else:
        with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
            spec.model_copy(update=change)


def test_only_datasets_in_folders_leave_images_out() -> None:
    with pytest.raises(ValueError, match="allowed: nothing, only imagenet and imagefolder leave out images"):
        DataSpec.of("digits").model_copy(update={"skip": ("damaged",)})
