"""Nets that are not ours, in a suite beside one of ours: refused before anything is recorded, trained, resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import ranbench

from ranbench.errors import EnvironmentProblem, SpecError, SuiteError
from ranbench.records import RunRecord
from ranbench.runner import How, Observer, Stop, Summary, plan, run
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

MYNET = """\
from torch import nn


def tiny(shape, num_classes):
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4 * height * width, num_classes),
    )


def blind(shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))


def short(shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes - 1))


def rigid(shape, num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, num_classes)), nn.Flatten())
"""

SUITE = """\
name: own
title: A net of one's own
reference: tiny
protocol: tiny
seeds: 2
datasets:
  digits: {{train: 200, test: 100}}
cells:
  fixed: {{dataset: digits}}
  matrix:
    model: [{models}]
"""


@pytest.fixture
def write(
    tmp_path: Path, tiny_texts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Writes a suite of some nets into the current folder, which holds ``mynet.py``; imports are undone afterwards."""
    (tmp_path / "mynet.py").write_text(MYNET)
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    monkeypatch.chdir(tmp_path)

    def make(*models: str) -> Path:
        file = tmp_path / "own.yaml"
        file.write_text(SUITE.format(models=", ".join(f'"{model}"' for model in models)))
        return file

    yield make
    sys.modules.pop("mynet", None)


@pytest.fixture
def load(write: Callable[..., Path]) -> Callable[..., Suite]:
    """Loads a suite of some nets."""
    return lambda *models, seeds=1: load_suite(write(*models), seeds=seeds)


class StopAt(Observer):
    """Asks for a stop once a run has done ``steps`` iterations."""

    def __init__(self, stop: Stop, steps: int):
        self.stop, self.steps = stop, steps

    def stepped(self, spec: RunSpec, step: int, error_pct: float | None) -> None:
        if step == self.steps:
            self.stop.request(signal.SIGINT)


def execute(suite: Suite, store: Store, folder: Path = Path("results"), **options: object) -> Summary:
    return run(suite, store, data=Path("data"), results=folder, **options)  # type: ignore[arg-type]


def weights(record: RunRecord, store: Store) -> str:
    """The content hash of the counted attempt's weights."""
    assert record.counted is not None
    (artefact,) = store.artefacts([record.counted.id])
    return artefact.sha256


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run 'ranbench' in a process of its own, in the current folder."""
    return ranbench(*arguments, cwd=Path.cwd())


@pytest.mark.slow
def test_a_user_s_net_is_refused_then_trained_and_trained_again_once_its_file_has_changed(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    suite = str(write("attention-56", "mynet:tiny"))
    rerun = {"only": {"model": "mynet:tiny"}, "rerun": frozenset(["changed"]), "how": How(trust_imports=True)}

    refused = command("run", suite)
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db", create=False) as store:
        recorded = (store.runs(), store.suites())
    trained = command("run", suite, "--seeds", "1", "--trust-imports")
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db", create=False) as store:
        unchanged = execute(load_suite(suite, seeds=1), store, **rerun)
    (tmp_path / "mynet.py").write_text(MYNET.replace("nn.Dropout(0.5)", "nn.Dropout(0.4)"))
    told = command("run", suite, "--seeds", "1")
    reported = command("report", suite, "--seeds", "1")
    changed = command("run", suite, "--seeds", "1", "--trust-imports", "--rerun", "changed")
    settled = [
        command("run", suite, "--seeds", "1", "--rerun", "changed"),
        command("report", suite, "--seeds", "1"),
    ]

    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db", create=False) as store:
        attempts = [[attempt.number for attempt in record.attempts] for record in store.runs()]
        first, second = store.runs()[1].attempts
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "ranbench: model 'mynet:tiny' imports 'mynet' and runs its code; "
        "--trust-imports allows it, for code that you trust\n"
    )
    assert recorded == ([], [])
    assert trained.returncode == 0, trained.stderr
    assert "ranbench: 2 runs (fidelity: smoke): 2 trained, 0 done already" in trained.stderr.splitlines()
    assert (unchanged.trained, unchanged.already_done) == (0, 1)
    other = "1 done run is of other code than is here now; 'ranbench run SUITE --rerun changed' trains again"
    assert told.stderr.splitlines() == [
        "ranbench: 2 runs, 2 done already, 0 to do",
        f"ranbench: {other}",
        "ranbench: 2 runs (fidelity: smoke): 0 trained, 2 done already",
    ]
    assert reported.stderr == f"ranbench: suite own: {other}\n"
    assert changed.stderr.splitlines()[0] == "ranbench: 2 runs, 1 done already, 1 to do"
    assert "ranbench: 2 runs (fidelity: smoke): 1 trained, 1 done already" in changed.stderr.splitlines()
    assert [found.stderr.splitlines() for found in settled] == [
        [
            "ranbench: 2 runs, 2 done already, 0 to do",
            "ranbench: 2 runs (fidelity: smoke): 0 trained, 2 done already",
        ],
        [],
    ]
    assert attempts == [[1], [1, 2]]
    assert first.code_id != second.code_id
    assert first.metrics["loss"] != second.metrics["loss"]
    assert not list(tmp_path.glob("__pycache__"))


@pytest.mark.slow
def test_a_user_s_net_resumes_and_ends_with_the_same_bits(
    load: Callable[..., Suite], store: Store, tmp_path: Path
) -> None:
    suite = load("mynet:tiny", seeds=2)
    stop = Stop()

    stopped = execute(suite, store, observer=StopAt(stop, 4), stop=stop, how=How(trust_imports=True))
    resumed = execute(suite, store, how=How(trust_imports=True))

    with Store.open(f"sqlite:///{tmp_path}/other/ranbench.db") as undisturbed:
        execute(suite, undisturbed, tmp_path / "other", how=How(trust_imports=True))
        expected = [weights(record, undisturbed) for record in undisturbed.runs()]
    records = store.runs()
    assert (stopped.exit_code, resumed.trained, resumed.exit_code) == (130, 2, 0)
    assert [record.attempts[0].resumes for record in records] == [1, 0]
    assert [weights(record, store) for record in records] == expected
    assert expected[0] != expected[1]


def test_a_done_suite_needs_no_trust(load: Callable[..., Suite], store: Store) -> None:
    suite = load("mynet:tiny")
    execute(suite, store, how=How(trust_imports=True))
    Path("mynet.py").unlink()

    again = execute(suite, store)

    assert (again.trained, again.already_done) == (0, 1)


def test_what_is_known_of_a_foreign_net_is_stored_with_it(load: Callable[..., Suite], store: Store) -> None:
    suite = load("attention-56", "mynet:tiny", "timm:test_resnet")

    execute(suite, store, how=How(trust_imports=True))

    sizes = {spec.complexity_key: store.complexity(spec.complexity_key) for spec in suite.runs()}
    planned = plan(suite, [], sizes={key: size for key, size in sizes.items() if size})
    ours, mine, timms = [record.counted for record in store.runs()]
    assert ours and mine and timms
    size = sizes[suite.runs()[1].complexity_key]
    assert size is not None
    assert (size.parameters, size.macs) == (4 * 9 + 4 + 256 * 10 + 10, 64 * 4 * 9 + 256 * 10)
    assert planned.runs[1].macs == 3 * 6 * 32 * size.macs
    assert [attempt.environment.engine_path for attempt in (ours, mine, timms)] == [
        "eager, channels_last",
        "eager, contiguous",
        "eager, contiguous",
    ]
    assert "timm" in timms.environment.versions
    assert ours.code_id == timms.code_id != mine.code_id


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("mynet:tine", r"module 'mynet' \(.*mynet\.py\) has no 'tine'; did you mean 'tiny'\?"),
        ("mynet.py:tiny", r"there is no module 'mynet\.py' where .*; did you mean 'mynet:tiny'\?"),
        ("nowhere:net", "there is no module 'nowhere' where Python finds modules"),
        ("mynet:blind", "cannot take images of 1x8x8: "),
        ("mynet:short", r"gives shape \(B, 9\) in evaluation, expected logits of shape \(B, 10\)"),
        ("mynet:rigid", "has no parameters to train"),
        ("timm:test_resnt", r"timm \S+ has no net 'test_resnt'; did you mean 'test_resnet'\?"),
        ("timm:test_vit", "cannot take images of 1x8x8: Input height"),
        ("torchvision:squeezenet1_1", "of torchvision takes images of 3 channels, got 1"),
    ],
)
def test_a_net_that_cannot_be_trained_is_refused_before_anything_is_recorded(
    load: Callable[..., Suite], store: Store, model: str, said: str
) -> None:
    suite = load("attention-56", model)

    with pytest.raises(SpecError, match=f"^model {model!r}:? {said}") as caught:
        execute(suite, store, how=How(trust_imports=True))

    assert (caught.value.exit_code, "\n" in str(caught.value)) == (2, False)
    assert (store.runs(), store.suites()) == ([], [])


def test_a_missing_library_is_told_before_anything_is_recorded(
    load: Callable[..., Suite], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load("timm:test_resnet")
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(EnvironmentProblem, match=r"pip install 'ranbench\[timm\]'"):
        execute(suite, store)

    assert (store.runs(), store.suites()) == ([], [])


def test_a_suite_on_imagenet_needs_a_protocol_for_it_and_counting_needs_none(write: Callable[..., Path]) -> None:
    file = write("attention-56")
    text = file.read_text().replace("dataset: digits", "dataset: imagenet")
    file.write_text(text.replace("datasets:\n  digits: {train: 200, test: 100}\n", ""))

    with pytest.raises(SuiteError, match=r"does not fit: the images of 'imagenet' have many sizes"):
        load_suite(file)
    lines = file.read_text().replace("seeds: 2", "seeds: 0").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith(("reference", "protocol"))))

    assert not load_suite(file).trains
