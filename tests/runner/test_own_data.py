"""A dataset of a user's own, from its factory to a report: trusted, trained on, told apart, refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ranbench.data.own import manifest
from ranbench.environment import code
from ranbench.errors import DataError, SpecError
from ranbench.report import report
from ranbench.runner import How, Prober, Summary, check, masks_of, plan, run
from ranbench.runner.choice import of_other_code
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

MYDATA = """\
import numpy as np
from sklearn.datasets import load_digits


def eights(folder):
    \"\"\"Whether a handwritten digit is an eight.\"\"\"
    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[:, None]
    labels = (digits.target == 8).astype(int)
    return {
        "train_images": images[:200],
        "train_labels": labels[:200],
        "test_images": images[200:300],
        "test_labels": labels[200:300],
    }
"""
MYNET = """\
from torch import nn


def tiny(shape, num_classes):
    channels, height, width = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes))
"""
TRUSTED = How(trust_imports=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder with a user's ``mydata.py`` and ``mynet.py``; both are forgotten afterwards."""
    (tmp_path / "mydata.py").write_text(MYDATA)
    (tmp_path / "mynet.py").write_text(MYNET)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("mydata", "mynet"):
        sys.modules.pop(name, None)


@pytest.fixture
def load(folder: Path, tiny_suite: Path) -> Callable[..., Suite]:
    """Loads the tiny suite on the own dataset with one seed and one of its cells, with changes of its text."""
    facts = manifest("mydata:eights", Path("data"), None, trusted=True)
    sys.modules.pop("mydata")
    entry = (
        f"  mydata:eights: {{checksum: {facts.checksum}, form: digits, shape: [1, 8, 8], classes: 2, "
        "train: 200, test: 100}\n"
    )
    plain = tiny_suite.read_text().replace("  digits: {train: 200, test: 100}\n", entry)
    plain = plain.replace("dataset: digits", "dataset: mydata:eights").split("claims:")[0]

    def make(*pairs: tuple[str, str], seeds: int | None = 1) -> Suite:
        text = plain.replace("learning: [residual, naive]", "learning: [residual]")
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        tiny_suite.write_text(text)
        return load_suite(tiny_suite, seeds=seeds)

    return make


def execute(suite: Suite, store: Store, **options: object) -> Summary:
    return run(suite, store, data=Path("data"), results=Path("results"), **options)  # type: ignore[arg-type]


def forget() -> None:
    """Take the factory away: what comes now works without it."""
    Path("mydata.py").unlink()
    sys.modules.pop("mydata", None)


def test_an_untrusted_dataset_is_refused_before_anything_is_imported_or_recorded(
    load: Callable[..., Suite], store: Store
) -> None:
    with pytest.raises(SpecError) as refused:
        execute(load(), store)

    assert str(refused.value) == (
        "dataset 'mydata:eights' imports 'mydata' and runs its code; --trust-imports allows it, for code that you trust"
    )
    assert (store.runs(), store.suites()) == ([], [])
    assert "mydata" not in sys.modules


def test_another_content_than_the_suite_says_is_refused_before_anything_is_recorded(
    load: Callable[..., Suite], store: Store, folder: Path
) -> None:
    suite = load()
    (folder / "mydata.py").write_text(MYDATA.replace("== 8", "== 9"))

    with pytest.raises(DataError, match="it is another dataset") as refused:
        execute(suite, store, how=TRUSTED)

    assert (refused.value.exit_code, str(refused.value).count("sha256:")) == (7, 2)
    assert (store.runs(), store.suites()) == ([], [])


def test_a_run_on_it_is_trained_counted_and_known_without_its_factory(
    load: Callable[..., Suite], store: Store, folder: Path
) -> None:
    suite = load(("learning: [residual]", "learning: [residual]\n    noise: [0, 0.2]"))
    trained = execute(suite, store, how=TRUSTED)
    forget()

    again = execute(suite, store)
    planned = plan(suite, store.runs())
    store.export(folder / "bundle.zip")
    page = report(suite, store.runs(), {}, out=folder / "reports").read_text()

    plain, noisy = (record.counted for record in store.runs())
    assert plain and noisy
    assert (trained.trained, again.trained, again.already_done) == (2, 0, 2)
    assert [run.state for run in planned.runs] == ["done", "done"]
    assert store.predictions(plain.id) is not None
    assert set(store.predictions(plain.id) or b"") <= {0, 1}
    assert noisy.metrics["noise_realised_pct"] == pytest.approx(20, abs=0.5)
    assert "on mydata:eights: a user's own images of 8x8 in 1 channel, in 2 classes; 200 images for" in page
    assert "--trust-imports" in page
    with Store.open(f"sqlite:///{folder}/other.db") as other:
        other.merge(folder / "bundle.zip")
        assert [record.fingerprint for record in other.runs()] == [record.fingerprint for record in store.runs()]
        stored = RunSpec.stored(other.runs()[0].fingerprint, other.runs()[0].spec)
        assert stored == suite.runs()[0]
    assert "mydata" not in sys.modules


def test_a_check_needs_trust_again_and_gives_the_same_bits(load: Callable[..., Suite], store: Store) -> None:
    execute(load(), store, how=TRUSTED)
    (record,) = store.runs()

    with pytest.raises(SpecError, match="--trust-imports allows it"):
        check(record, store, results=Path("results"))
    checked = check(record, store, results=Path("results"), trust_imports=True)

    assert checked.comparison is not None
    assert checked.comparison.answer == "identical"
    assert checked.recorded.code_id == checked.check.code_id


def test_a_probe_and_the_masks_of_done_runs_need_trust_again(load: Callable[..., Suite], store: Store) -> None:
    suite = load()
    execute(suite, store, how=TRUSTED)
    (record,) = store.runs()

    with pytest.raises(SpecError, match="--trust-imports allows it"):
        Prober(store, data=Path("data"), results=Path("results")).measure(record, ["responses"])
    with pytest.raises(SpecError, match="--trust-imports allows it"):
        masks_of([record], store)
    (masks,) = masks_of([record], store, trust_imports=True)
    prober = Prober(store, data=Path("data"), results=Path("results"), trust_imports=True)
    (probe,) = prober.measure(record, ["responses"])

    assert probe.values["response_stage1"] > 0
    assert [image.label for image in masks.images] == [0, 1]
    assert masks.code_id == record.attempts[0].code_id


@pytest.mark.slow
def test_the_code_of_net_and_dataset_is_that_of_both_files(
    load: Callable[..., Suite], store: Store, folder: Path
) -> None:
    suite = load(
        ("model: attention-56, dataset: mydata:eights", "learning: residual"),
        ("learning: [residual]", "dataset: [digits, 'mydata:eights']"),
        ("datasets:\n", "datasets:\n  digits: {train: 200, test: 100}\n"),
        (
            "  matrix:\n",
            "  include: [{model: 'mynet:tiny', dataset: 'mydata:eights'}]\n  matrix:\n    model: [attention-56]\n",
        ),
        ("  fixed: {learning: residual}\n", ""),
    )
    execute(suite, store, how=TRUSTED)
    codes = [record.counted.code_id for record in store.runs() if record.counted]

    unchanged = execute(suite, store, rerun=frozenset(["changed"]))
    (folder / "mydata.py").write_text(MYDATA + "\n# a word more\n")
    code._digest.cache_clear()  # as in another process, which has imported nothing

    assert len(set(codes)) == 3
    assert (unchanged.trained, unchanged.already_done) == (0, 3)
    assert of_other_code(store.runs()) == 2


def test_a_foreign_net_is_given_the_shape_and_the_classes_of_the_dataset(
    load: Callable[..., Suite], store: Store
) -> None:
    suite = load(("model: attention-56", "model: mynet:tiny"), ("learning: [residual]", "noise: [0]"))

    execute(suite, store, how=TRUSTED)

    size = store.complexity(suite.runs()[0].complexity_key)
    assert size is not None
    assert size.parameters == 64 * 2 + 2


PHOTOS = """\
import numpy as np


def photos(folder):
    pixels = np.arange(60 * 3 * 8 * 12, dtype=np.uint8).reshape(60, 3, 8, 12)
    labels = np.arange(60) % 5
    return {
        "train_images": pixels[:40],
        "train_labels": labels[:40],
        "test_images": pixels[40:],
        "test_labels": labels[40:],
    }
"""


def test_colour_images_that_are_not_square_are_padded_cropped_mirrored_and_trained_on(
    tiny_suite: Path, store: Store, folder: Path
) -> None:
    (folder / "mydata.py").write_text(PHOTOS)
    protocol = folder / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("pad: 0, flip: false", "pad: 4, flip: true, colour: pca"))
    facts = manifest("mydata:photos", Path("data"), "cifar", trusted=True)
    text = tiny_suite.read_text().split("claims:")[0].replace("dataset: digits", "dataset: mydata:photos")
    entry = f"checksum: {facts.checksum}, form: cifar, shape: [3, 8, 12], classes: 5, train: 40, test: 20"
    tiny_suite.write_text(text.replace("digits: {train: 200, test: 100}", f"mydata:photos: {{{entry}}}"))

    done = execute(load_suite(tiny_suite, seeds=1), store, how=TRUSTED)

    assert (done.trained, done.failed) == (2, 0)
    assert [record.smoke for record in store.runs()] == [False, False]


def test_nets_on_it_are_counted_without_its_factory(load: Callable[..., Suite], store: Store) -> None:
    suite = load(("reference: tiny\nprotocol: tiny\n", ""), ("seeds: 2", "seeds: 0"), seeds=None)
    forget()

    counted = execute(suite, store)

    assert counted.counted == 1
    assert "mydata" not in sys.modules
