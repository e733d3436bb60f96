"""Datasets of a user's own in a suite: known by what the suite states, refused at the place of the fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ranbench.errors import SuiteError, UsageError
from ranbench.spec import DataSpec, Facts
from ranbench.suite import load_suite

LEARNING = "learning: [residual, naive]"
CLAIM = """\
claims:
  - {id: residual-beats-naive, kind: better, a: {learning: residual}, b: {learning: naive}, metric: error_pct}
"""
CHECKSUM = f"sha256:{'5' * 64}"
ENTRY = f"""\
  nowhere.data:faces:
    checksum: {CHECKSUM}
    form: digits
    shape: [1, 8, 8]
    classes: 10
    train: 200
    test: 100
"""
PRINTS = "'ranbench data manifest nowhere.data:faces --trust-imports' prints"


@pytest.fixture
def own(tiny_suite: Path) -> Path:
    """The tiny suite on a user's own dataset, whose module is nowhere."""
    text = tiny_suite.read_text().replace("  digits: {train: 200, test: 100}\n", ENTRY)
    tiny_suite.write_text(text.replace("dataset: digits", "dataset: nowhere.data:faces"))
    return tiny_suite


def change(file: Path, *pairs: tuple[str, str]) -> Path:
    text = file.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return file


def told(file: Path) -> list[str]:
    """The problems of a suite, without its folder."""
    with pytest.raises(SuiteError) as refused:
        load_suite(file)
    return [str(problem).replace(f"{file.parent}/", "") for problem in refused.value.problems]


def test_a_suite_states_all_that_is_needed_without_the_factory(own: Path) -> None:
    suite = load_suite(own)

    expected = DataSpec(
        name="nowhere.data:faces",
        checksum=CHECKSUM,
        train_images=200,
        test_images=100,
        facts=Facts(form="digits", shape=(1, 8, 8), classes=10),
    )
    assert {cell.data for cell in suite.cells} == {expected}
    assert {cell.axes["dataset"] for cell in suite.cells} == {"nowhere.data:faces"}
    assert suite.fidelity == "smoke"
    assert expected.shape == (1, 8, 8)
    assert expected.info.summary == "nowhere.data:faces: a user's own images of 8x8 in 1 channel, in 10 classes"
    assert "nowhere" not in sys.modules


def test_own_datasets_stand_beside_others_on_the_axis(own: Path) -> None:
    change(
        own,
        ("dataset: nowhere.data:faces", "learning: residual"),
        ("learning: [residual, naive]", "dataset: [digits, 'nowhere.data:faces']"),
        ("a: {learning: residual}", "a: {dataset: digits}"),
        ("b: {learning: naive}", "b: {dataset: nowhere.data:faces}"),
        ("datasets:\n", "datasets:\n  digits: {train: 200, test: 100}\n"),
    )

    suite = load_suite(own)

    assert [suite.label(cell) for cell in suite.cells] == ["digits", "nowhere.data:faces"]
    assert suite.select({"dataset": "nowhere.data:faces"}) == suite.cells[1:]
    assert len({cell.run(suite.protocol, 0).cell_id for cell in suite.cells}) == 2


def test_a_part_of_the_test_set_and_less_than_a_pass_are_smoke(own: Path) -> None:
    assert load_suite(change(own, ("train: 200", "train: 192"))).fidelity == "full"
    assert load_suite(change(own, ("train: 192", "train: 193"))).fidelity == "smoke"


@pytest.mark.parametrize(
    ("pairs", "problems"),
    {
        "no entry": (
            [(ENTRY, "  digits: {train: 200, test: 100}\n")],
            [
                "tiny.yaml:9:32: cells.fixed.dataset: 'nowhere.data:faces' is a dataset of a user's own, of which "
                f"nothing stands under 'datasets'; {PRINTS} what does",
                "tiny.yaml:7:3: datasets.digits: no cell of the suite has this dataset",
            ],
        ),
        "facts left out": (
            [("    form: digits\n", ""), ("    classes: 10\n", "")],
            [
                "tiny.yaml:7:3: datasets.nowhere.data:faces: form, classes missing, which a dataset of a user's own "
                f"needs; {PRINTS} all"
            ],
        ),
        "facts of a known dataset": (
            [
                ("nowhere.data:faces:", "digits:"),
                ("nowhere.data:faces", "digits"),
                ("train: 200", "train: 100"),
                (f"    checksum: {CHECKSUM}\n    form: digits\n", ""),
            ],
            [
                "tiny.yaml:8:5: datasets.digits.shape: 'digits' has its own shape, which is stated only of "
                "a user's own dataset, package.module:factory or imagefolder",
                "tiny.yaml:9:5: datasets.digits.classes: 'digits' has its own classes, which is stated only of "
                "a user's own dataset, package.module:factory or imagefolder",
            ],
        ),
        "no checksum": (
            [(CHECKSUM, "md5:0")],
            [
                "tiny.yaml:8:5: datasets.nowhere.data:faces.checksum: expected sha256: and 64 digits from 0 to f, got "
                "'md5:0'"
            ],
        ),
        "an unknown form": (
            [("form: digits", "form: mnist")],
            [
                "tiny.yaml:9:5: datasets.nowhere.data:faces.form: input should be 'cifar', 'imagenet' or 'digits', "
                "got 'mnist'"
            ],
        ),
        "two numbers as a shape": (
            [("[1, 8, 8]", "[8, 8]")],
            ["tiny.yaml:10:5: datasets.nowhere.data:faces.shape: expected three numbers: channels, height and width"],
        ),
        "a side of nothing": (
            [("[1, 8, 8]", "[1, 0, 8]")],
            ["tiny.yaml:10:16: datasets.nowhere.data:faces.shape.1: input should be greater than or equal to 1, got 0"],
        ),
        "too many classes": (
            [("classes: 10", "classes: 65537")],
            [
                "tiny.yaml:11:5: datasets.nowhere.data:faces.classes: input should be less than or equal to 65536, "
                "got 65537"
            ],
        ),
        "images that are too small for the net": (
            [("[1, 8, 8]", "[1, 3, 3]")],
            [
                "tiny.yaml:14:1: cells: model 'attention-56' needs digits images of at least 4x4 for its "
                "poolings and masks, got 3x3"
            ],
        ),
        "a net without this form": (
            [("model: attention-56", "model: resnet-152"), (LEARNING, "noise: [0, 0.1]"), (CLAIM, "")],
            [
                "tiny.yaml:15:11: cells.fixed.model: model 'resnet-152' has no form for digits images (datasets it "
                "takes: imagenet)"
            ],
        ),
        "an input of another size": (
            [("dataset: nowhere.data:faces", "dataset: nowhere.data:faces, input: 16")],
            ["tiny.yaml:15:61: cells.fixed.input: dataset 'nowhere.data:faces' has images of 8x8, got input 16"],
        ),
        "an input as text": (
            [("dataset: nowhere.data:faces", "dataset: nowhere.data:faces, input: big")],
            ["tiny.yaml:15:61: cells.fixed.input: expected the side of the input in pixels, got 'big'"],
        ),
        "a path with a dot": (
            [("dataset: nowhere.data:faces", "dataset: nowhere.data.faces")],
            [
                "tiny.yaml:15:32: cells.fixed.dataset: dataset 'nowhere.data.faces' is not known; did you mean "
                "'nowhere.data:faces'? (allowed: cifar10, cifar100, imagenet, digits, imagefolder, "
                "package.module:factory)",
                "tiny.yaml:7:3: datasets.nowhere.data:faces: no cell of the suite has this dataset; did you mean "
                "'nowhere.data.faces'?",
            ],
        ),
    }.values(),
)
def test_what_does_not_hold_is_told_at_its_place(own: Path, pairs: list[tuple[str, str]], problems: list[str]) -> None:
    found = told(change(own, *pairs))

    assert found == problems


@pytest.mark.parametrize(
    ("shape", "augmentation", "said"),
    [
        (
            "[1, 8, 8]",
            "mean: channel, pad: 0, flip: false, colour: pca",
            "augmentation.colour pca needs images of three channels, and those of 'nowhere.data:faces' have 1",
        ),
        (
            "[1, 8, 9]",
            "mean: channel, pad: 0, flip: false, scale: [0.5, 1], aspect: [1, 1]",
            "augmentation.scale makes square images, and those of 'nowhere.data:faces' are 8x9; leave it out",
        ),
    ],
)
def test_a_protocol_that_does_not_fit_the_images_is_refused(
    own: Path, shape: str, augmentation: str, said: str
) -> None:
    change(own.parent / "protocols" / "tiny.yaml", ("mean: image, pad: 0, flip: false", augmentation))

    found = told(change(own, ("[1, 8, 8]", shape)))

    assert found == [f"tiny.yaml:4:1: protocol: 'tiny' does not fit: {said}"]


def test_images_that_are_not_square_are_padded_cropped_and_mirrored_like_any(own: Path) -> None:
    change(own.parent / "protocols" / "tiny.yaml", ("pad: 0, flip: false", "pad: 4, flip: true"))

    suite = load_suite(change(own, ("[1, 8, 8]", "[3, 8, 12]")))

    assert suite.cells[0].data.shape == (3, 8, 12)


def test_a_cited_number_may_be_of_an_own_dataset(own: Path) -> None:
    entry = "{name: x, dataset: 'nowhere.data:faces', metric: error_pct, value: 1, unit: percent, where: here}"
    change(own, ("claims:", f"cited:\n  - {entry}\nclaims:"))

    assert load_suite(own).cited[0].dataset == "nowhere.data:faces"


def test_a_cell_that_is_asked_for_must_exist(own: Path) -> None:
    with pytest.raises(UsageError, match=r"--only dataset=digits: no cell of suite 'tiny' has these values"):
        load_suite(own).select({"dataset": "digits"})
