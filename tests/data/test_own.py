"""A user's own dataset: made where trusted, known by its content, and refused in one line where it is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ranbench.data import load
from ranbench.data.own import checksum, made, manifest, usual_form
from ranbench.errors import DataError, RanbenchError, SpecError
from ranbench.factories import factory_file
from ranbench.spec import DataSpec, Facts

MYDATA = """\
import numpy as np


def small(folder):
    pixels = np.arange(5 * 3 * 4 * 6, dtype=np.uint8).reshape(5, 3, 4, 6)
    labels = np.array([0, 1, 2, 1, 0])
    return {
        "train_images": pixels[:3],
        "train_labels": labels[:3],
        "test_images": pixels[3:],
        "test_labels": labels[3:],
    }


def changed(key, value):
    return {**small(None), key: value}


def without(*keys):
    return {key: value for key, value in small(None).items() if key not in keys}


def from_folder(folder):
    return {**small(folder), "train_labels": np.load(folder / "labels.npy")}


number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a user's ``mydata.py``; it is forgotten afterwards."""
    (tmp_path / "mydata.py").write_text(MYDATA)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mydata", None)


@pytest.fixture
def give(folder: Path) -> Callable[[str], str]:
    """Writes a factory that returns an expression of ``mydata.py``, and returns its name."""

    def write(expression: str) -> str:
        text = f"{MYDATA}\n\nimport torch\n\n\ndef given(folder):\n    return {expression}\n"
        (folder / "mydata.py").write_text(text)
        sys.modules.pop("mydata", None)
        return "mydata:given"

    return write


def refused(call: Callable[[], object], kind: type[RanbenchError] = DataError) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
def test_images_and_labels_are_those_of_the_factory() -> None:
    images = made("mydata:small", Path("data"), trusted=True)

    assert (images.shape, images.num_classes) == ((3, 4, 6), 3)
    assert (images.train_images.dtype, images.train_labels.dtype) == (torch.uint8, torch.int64)
    assert images.train_images.flatten().tolist() == list(range(216))
    assert (images.train_labels.tolist(), images.test_labels.tolist()) == ([0, 1, 2], [1, 0])


@pytest.mark.usefixtures("folder")
def test_a_manifest_holds_all_by_which_the_dataset_is_loaded_again() -> None:
    spec = manifest("mydata:small", Path("data"), None, trusted=True)

    images = load(spec, Path("data"), trusted=True)

    assert spec == DataSpec(
        name="mydata:small",
        checksum="sha256:99c2ed7c18c4a8316bf35967d4353637a8286d4c78c4253a01abdb1cbc77b99e",
        train_images=3,
        test_images=2,
        facts=Facts(form="digits", shape=(3, 4, 6), classes=3),
    )
    assert images.num_classes == 3
    assert checksum(images) == spec.checksum
    assert factory_file("dataset", "mydata:small") == Path.cwd() / "mydata.py"


@pytest.mark.parametrize(
    "expression",
    [
        "{k: torch.from_numpy(np.array(v)) for k, v in small(folder).items()}",  # tensors
        "{k: np.asfortranarray(v) for k, v in small(folder).items()}",  # another order in memory
        "changed('train_labels', np.array([0, 1, 2], dtype='>u2'))",  # other whole numbers
        "changed('num_classes', 3)",
        "{k: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape) for k, v in small(folder).items()}",  # read-only
    ],
)
def test_one_content_has_one_checksum_however_it_lies_in_memory(give: Callable[[str], str], expression: str) -> None:
    plain = made("mydata:small", Path("data"), trusted=True)

    other = made(give(expression), Path("data"), trusted=True)

    assert checksum(other) == checksum(plain)


@pytest.mark.parametrize(
    "expression",
    [
        "changed('train_labels', np.array([0, 2, 1]))",
        "changed('test_images', small(folder)['test_images'] + np.uint8(1))",
        "{'train_images': small(folder)['train_images'][:2], 'train_labels': np.array([0, 1]), "
        "'test_images': np.concatenate([small(folder)['train_images'][2:], small(folder)['test_images']]), "
        "'test_labels': np.array([2, 1, 0])}",  # split elsewhere
        "{k: v.reshape(-1, 3, 6, 4) if v.ndim == 4 else v for k, v in small(folder).items()}",  # another shape
    ],
)
def test_any_other_content_has_another_checksum(give: Callable[[str], str], expression: str) -> None:
    plain = made("mydata:small", Path("data"), trusted=True)

    other = made(give(expression), Path("data"), trusted=True)

    assert checksum(other) != checksum(plain)


def test_what_a_factory_prints_is_no_answer(give: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    made(give("print('loading') or small(folder)"), Path("data"), trusted=True)

    assert capsys.readouterr() == ("", "loading\n")


def test_a_factory_is_given_the_folder_of_the_datasets(folder: Path) -> None:
    (folder / "mine").mkdir()
    np.save(folder / "mine" / "labels.npy", np.array([2, 2, 2]))

    images = made("mydata:from_folder", folder / "mine", trusted=True)

    assert images.train_labels.tolist() == [2, 2, 2]


def test_a_file_of_arrays_is_a_dataset_as_numpy_loads_it(give: Callable[[str], str], folder: Path) -> None:
    plain = made("mydata:small", Path("data"), trusted=True)
    tensors = {
        "train_images": plain.train_images,
        "train_labels": plain.train_labels,
        "test_images": plain.test_images,
        "test_labels": plain.test_labels,
    }
    np.savez_compressed(folder / "all.npz", **{key: tensor.numpy() for key, tensor in tensors.items()})
    name = give("np.load(folder / 'all.npz')")

    loaded = made(name, folder, trusted=True)

    assert checksum(loaded) == checksum(plain)


def test_classes_without_an_image_are_counted_where_the_factory_says_so(give: Callable[[str], str]) -> None:
    assert made(give("changed('num_classes', 26)"), Path("data"), trusted=True).num_classes == 26


# What the factory returns, and what is said of it.
REFUSED = {
    "what cannot be read": (
        "np.load(np.savez(folder.parent / 'o.npz', train_images=np.array([{}])) or folder.parent / 'o.npz')",
        "what the factory gives cannot be read: ValueError: Object arrays cannot be loaded when allow_pickle=False",
    ),
    "nothing": (
        "None",
        "expected a mapping with train_images, train_labels, test_images, test_labels from the factory, got NoneType",
    ),
    "a tuple": (
        "tuple(small(folder).values())",
        "expected a mapping with train_images, train_labels, test_images, test_labels from the factory, got tuple",
    ),
    "an unknown key": (
        "changed('train_image', 1)",
        "unknown key 'train_image'; did you mean 'train_images'? (allowed: "
        "train_images, train_labels, test_images, test_labels, num_classes)",
    ),
    "a part too little": (
        "without('test_images', 'test_labels')",
        "the factory gives no test_images and no test_labels",
    ),
    "a list": (
        "changed('train_labels', [0, 1, 2])",
        "train_labels: expected a numpy array or a torch tensor, got list",
    ),
    "a tensor that no array holds": (
        "changed('train_images', __import__('torch').zeros(3, 3, 4, 6, dtype=__import__('torch').bfloat16))",
        "train_images: a torch tensor that no numpy array holds: TypeError: Got unsupported ScalarType BFloat16",
    ),
    "a masked array": (
        "changed('train_labels', np.ma.masked_array([0, 1, 2], mask=[1, 0, 0]))",
        "train_labels: expected an array without a mask, got a masked one",
    ),
    "a label beyond any number": (
        "changed('train_labels', np.array([0, 1, 2**63], np.uint64))",
        "train_labels: a label of 9223372036854775808 is larger than any number of classes",
    ),
    "pixels as floats": (
        "changed('train_images', small(folder)['train_images'] / 255)",
        "train_images: expected pixels of uint8, from 0 to 255, got float64",
    ),
    "no channel": (
        "changed('train_images', small(folder)['train_images'][:, 0])",
        "train_images: expected N x C x H x W, got 3 x 4 x 6; grey images have one channel: images[:, None]",
    ),
    "flat images": (
        "changed('test_images', small(folder)['test_images'].reshape(2, -1))",
        "test_images: expected N x C x H x W, got 2 x 72",
    ),
    "channels last": (
        "changed('train_images', small(folder)['train_images'].transpose(0, 2, 3, 1))",
        "train_images: "
        "expected N x C x H x W, got 3 x 4 x 6 x 3, whose channels stand last; "
        "images.transpose(0, 3, 1, 2) puts them second",
    ),
    "no images": (
        "changed('test_images', small(folder)['test_images'][:0])",
        "test_images: there are no images, or images without a pixel: 0 x 3 x 4 x 6",
    ),
    "huge images": (
        "changed('train_images', np.zeros((1, 1, 4097, 1), np.uint8))",
        "train_images: 1 x 1 x 4097 x 1: at most 4096 pixels a side are allowed",
    ),
    "labels as floats": (
        "changed('train_labels', np.array([0.0, 1, 2]))",
        "train_labels: expected whole numbers, got float64",
    ),
    "labels as truths": (
        "changed('train_labels', np.array([True, False, True]))",
        "train_labels: expected whole numbers, got bool",
    ),
    "one-hot labels": (
        "changed('train_labels', np.eye(3, dtype=int))",
        "train_labels: expected one label for each image, (N,), got 3 x 3",
    ),
    "a single label": (
        "changed('train_labels', np.array(3))",
        "train_labels: expected one label for each image, (N,), got a single number",
    ),
    "a negative label": ("changed('test_labels', np.array([1, -1]))", "test_labels: expected labels from 0, got -1"),
    "a label out of range": (
        "changed('num_classes', 2)",
        "the largest label is 2, but num_classes is 2; labels are 0 to 1",
    ),
    "too many classes": (
        "changed('test_labels', np.array([0, 65536]))",
        "the largest label is 65536; expected 2 to 65,536 classes (a predicted class is kept in two bytes)",
    ),
    "one class": (
        "{**changed('test_labels', np.array([0, 0])), 'train_labels': np.array([0, 0, 0])}",
        "the largest label is 0; expected 2 to 65,536 classes (a predicted class is kept in two bytes)",
    ),
    "classes as text": (
        "changed('num_classes', '3')",
        "num_classes is '3'; expected 2 to 65,536 classes (a predicted class is kept in two bytes)",
    ),
    "a label too few": ("changed('train_labels', np.array([0, 1]))", "3 train_images and 2 train_labels"),
    "no labels": ("changed('train_labels', np.array([], dtype=int))", "3 train_images and 0 train_labels"),
    "two sizes": (
        "changed('test_images', np.zeros((2, 1, 4, 6), np.uint8))",
        "train_images are 3 x 4 x 6 (channels, height, width), test_images 1 x 4 x 6",
    ),
}


@pytest.mark.parametrize(("expression", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_dataset_is_refused_in_one_line(give: Callable[[str], str], expression: str, said: str) -> None:
    name = give(expression)

    found = refused(lambda: made(name, Path("data"), trusted=True))

    assert found == f"dataset 'mydata:given': {said}"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("open(folder / 'gone.npy')", "FileNotFoundError: [Errno 2] No such file or directory: 'data/gone.npy'"),
        ("exit(3)", "SystemExit: 3"),
    ],
)
def test_a_factory_that_fails_is_missing_data(give: Callable[[str], str], expression: str, said: str) -> None:
    name = give(expression)

    found = refused(lambda: made(name, Path("data"), trusted=True))

    assert found == f"dataset 'mydata:given': the call given(folder='data') failed: {said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mydata:smal", "module 'mydata' ({folder}/mydata.py) has no 'smal'; did you mean 'small'?"),
        ("mydata:number", "expected a callable, got int"),
        ("nowhere:small", "there is no module 'nowhere' where Python finds modules, nor in {folder}"),
    ],
)
def test_a_factory_that_cannot_be_imported_is_refused(folder: Path, name: str, said: str) -> None:
    found = refused(lambda: made(name, Path("data"), trusted=True), SpecError)

    assert found == f"dataset {name!r}: {said.format(folder=folder)}"


def test_an_untrusted_factory_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DataSpec(
        name="trap:data",
        checksum=f"sha256:{'0' * 64}",
        train_images=3,
        test_images=2,
        facts=Facts(form="digits", shape=(1, 8, 8), classes=3),
    )
    monkeypatch.setattr("importlib.import_module", lambda *_: pytest.fail("imported"))

    found = refused(lambda: load(spec, Path("data")), SpecError)

    assert found == (
        "dataset 'trap:data' imports 'trap' and runs its code; --trust-imports allows it, for code that you trust"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_images": 4}, "expected train 4, the factory gives train 3"),
        (
            {"facts": Facts(form="digits", shape=(1, 8, 8), classes=4)},
            "expected shape [1, 8, 8], classes 4, the factory gives shape [3, 4, 6], classes 3",
        ),
        (
            {"checksum": f"sha256:{'0' * 64}"},
            f"expected checksum sha256:{'0' * 64}, the factory gives checksum {{checksum}}",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_another_dataset_than_the_spec_says_is_refused_with_both(changes: dict[str, object], said: str) -> None:
    spec = manifest("mydata:small", Path("data"), None, trusted=True)
    other = spec.model_copy(update=changes)

    found = refused(lambda: load(other, Path("data"), trusted=True))

    assert found == (
        f"dataset 'mydata:small': {said.format(checksum=spec.checksum)}: it is another dataset; "
        "'ranbench data manifest mydata:small --trust-imports' prints what it is now"
    )


def test_the_form_is_that_of_nets_for_images_of_about_the_size() -> None:
    sides = {side: usual_form((3, side, side)) for side in (8, 15, 16, 28, 32, 64, 65, 224)}

    assert sides == {
        **dict.fromkeys((8, 15), "digits"),
        **dict.fromkeys((16, 28, 32, 64), "cifar"),
        **dict.fromkeys((65, 224), "imagenet"),
    }
