"""A run on images in folders: from a suite to a report, stopped and gone on with, refused where an image is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ranbench.cli import app
from ranbench.data.folders import folder_manifest
from ranbench.errors import DataError, SuiteError
from ranbench.records import State
from ranbench.runner import How, Observer, Stop, run
from ranbench.runner.checking import outcome
from ranbench.runner.comparison import compare
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import Suite, load_suite
from tests.data.photos import make_folder

PROTOCOL = """\
iterations: 12
batch: 4
schedule: {kind: one-cycle, lr: 0.05, rise: 0.5, start: 0.1, end: 0.0}
optimizer: {momentum: 0.9, nesterov: true, weight_decay: 1e-4}
augmentation: {mean: channel, std: channel, pad: 0, flip: true, scale: [0.08, 1.0], aspect: [0.75, 1.333], colour: pca}
evaluation: {every: 5, resize: 18, crop: 16}
initialisation: he-fan-in
precision: float32
norm_batch: 2
"""
SUITE = """\
# Images in folders.
name: photos
title: Images in folders
reference: photos
protocol: photos
seeds: 1
datasets:
  imagefolder: {FACTS}
cells:
  fixed: {model: attention-56, dataset: imagefolder, input: 16}
"""
WORKERS = How(workers=0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of datasets with an image folder."""
    make_folder(tmp_path / "data")
    return tmp_path / "data"


def written(place: Path, data: Path, *changes: tuple[str, str]) -> Path:
    """Write the suite with the facts of the images."""
    spec, _ = folder_manifest(data)
    assert spec.facts is not None
    facts = {
        "checksum": spec.checksum,
        "form": "digits",
        "shape": "[3, 224, 224]",
        "classes": spec.facts.classes,
        "mean": list(spec.facts.mean or ()),
        "std": list(spec.facts.std or ()),
        "train": spec.train_images,
        "test": spec.test_images,
    }
    text = SUITE.replace("{FACTS}", "{" + ", ".join(f"{key}: {value}" for key, value in facts.items()) + "}")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (place / "protocols").mkdir(exist_ok=True)
    (place / "protocols" / "photos.yaml").write_text(PROTOCOL)
    (place / "photos.yaml").write_text(text)
    return place / "photos.yaml"


class AfterFive(Observer):
    """Asks for a stop after five iterations."""

    def __init__(self, stop: Stop):
        self.stop = stop

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        if step == 5:
            self.stop.request(2)


def executed(suite: Suite, place: Path, data: Path, *, stopping: bool = False) -> Store:
    """Run the suite in a place of its own; the store is the caller's to close."""
    store = Store.open(f"sqlite:///{place}/ranbench.db")
    stop = Stop()
    observer = AfterFive(stop) if stopping else Observer()
    run(suite, store, data=data, results=place, device="cpu", how=WORKERS, observer=observer, stop=stop)
    return store


@pytest.mark.slow
def test_a_run_is_trained_and_a_stop_on_its_way_changes_no_bit(tmp_path: Path, data: Path) -> None:
    suite = load_suite(written(tmp_path, data))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    with executed(suite, tmp_path / "a", data) as whole:
        (expected,) = whole.runs()
        assert expected.counted is not None
        before = outcome(whole, expected.counted)
    with executed(suite, tmp_path / "b", data, stopping=True) as stopped:
        assert stopped.runs()[0].state == State.INTERRUPTED
    with executed(suite, tmp_path / "b", data) as again:
        (found,) = again.runs()
        assert found.counted is not None
        after = outcome(again, found.counted)

    assert compare(before, after).answer == "identical"
    assert len(before.predictions or b"") == 6
    assert before.metrics["top5_error_pct"] == 0.0  # of three classes


def test_an_image_that_is_damaged_ends_the_command_with_its_name(tmp_path: Path, data: Path) -> None:
    suite = load_suite(written(tmp_path, data))
    file = data / "imagefolder" / "val" / "class2" / "001.JPEG"
    file.write_bytes(file.read_bytes()[:200])

    with pytest.raises(DataError, match=r"1 of 6 images cannot be decoded: val/class2/001\.JPEG"):
        executed(suite, tmp_path, data)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (", mean: [", ", middle: [", "datasets.imagefolder.middle: unknown key"),
        ("train: 12", "train: 12, skip: [blacklisted]", "cannot skip blacklisted images (allowed: damaged)"),
        (
            "form: digits, ",
            "",
            "form missing, which a dataset of a user's own needs; 'ranbench data manifest imagefolder'",
        ),
        ("input: 16", "input: 0", "input 0 is not allowed (allowed: 1 to 4096 pixels)"),
        ("dataset: imagefolder", "dataset: imagefolders", "is not known; did you mean 'imagefolder'?"),
    ],
)
def test_what_a_suite_states_wrongly_is_told_at_its_place(
    tmp_path: Path, data: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(SuiteError) as refused:
        load_suite(written(tmp_path, data, (old, new)))

    assert any(said in str(problem) for problem in refused.value.problems), refused.value.problems


def test_the_manifest_of_the_command_line_is_what_a_suite_takes(tmp_path: Path, data: Path) -> None:
    found = CliRunner().invoke(app, ["data", "manifest", "imagefolder", "--form", "digits", "--data", str(data)])
    assert found.exit_code == 0
    entry = found.stdout.removeprefix("datasets:\n")
    text = SUITE.replace("  imagefolder: {FACTS}\n", entry)
    file = written(tmp_path, data)

    file.write_text(text)

    assert load_suite(file).cells[0].data.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fetch", "imagefolder"], 7, "train/CLASS/FILE and val/CLASS/FILE"),
        (["verify", "imagefolder"], 7, "train: no such folder"),
        (["fetch", "imagenet"], 7, "which nobody but you can fetch"),
        (["manifest", "imagenet"], 2, "with --skip blacklisted or --skip damaged"),
        (["manifest", "imagenet", "--skip", "grey"], 2, "damaged, blacklisted"),
        (["manifest", "imagefolder", "--skip", "blacklisted"], 2, "blacklisted"),
        (["manifest", "digits", "--skip", "damaged"], 2, "--skip is for imagenet and imagefolder"),
    ],
)
def test_what_is_missing_or_asked_wrongly_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    found = CliRunner().invoke(app, ["data", *arguments, "--data", str(tmp_path)])

    error = found.exception
    told = str(error) if not isinstance(error, SystemExit) else found.stdout
    assert said in told
    assert getattr(error, "exit_code", None) == code or found.exit_code == code
