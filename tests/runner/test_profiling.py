"""'run --profile': a table and a trace beside the results, of which the results know nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ranbench.runner import Observer, run
from ranbench.store import Store
from ranbench.suite import Suite, load_suite
from ranbench.training.profile import OperatorTime, PartTime, Profile

ONLY = {"learning": "naive"}


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    """Two cells, one seed, six steps."""
    return load_suite(tiny_suite, seeds=1)


class Notes(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_first_run_is_profiled_and_has_the_bits_of_one_that_is_not(
    suite: Suite, store: Store, tmp_path: Path
) -> None:
    told = Notes()

    run(suite, store, results=tmp_path / "results", only=ONLY, profile=True, observer=told)
    with Store.open(f"sqlite:///{tmp_path}/other/ranbench.db") as plain:
        run(suite, plain, results=tmp_path / "other", only=ONLY)

    (spec,) = suite.runs(ONLY)
    text, trace = (tmp_path / "results" / "profiles" / f"{spec.fingerprint[:12]}{end}" for end in (".txt", ".json"))
    lines = text.read_text().splitlines()
    assert lines[0] == f"run {spec.fingerprint}"
    assert re.fullmatch(r"attention-56, batch 32, on cpu with \d+ threads", lines[1])
    parts = ["part", "draw", "augmentation", "forward", "backward", "update", "rest"]
    assert [line.split()[0] for line in lines[7:14]] == parts
    assert any(line.startswith("aten::convolution_backward ") for line in lines)
    assert json.loads(trace.read_text())["traceEvents"]
    assert len(told.notes) == 1 and str(text) in told.notes[0] and str(trace) in told.notes[0]
    hashes = [sorted(file.name for file in (tmp_path / name / "artefacts").iterdir()) for name in ("results", "other")]
    assert hashes[0] == hashes[1]
    assert [len(record.attempts) for record in store.runs() if record.fingerprint == spec.fingerprint] == [1]


def test_a_profile_that_cannot_be_made_is_told_and_the_run_is_trained(
    suite: Suite, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "results" / "profiles").write_text("a file where the folder would be")
    told = Notes()

    summary = run(suite, store, results=tmp_path / "results", only=ONLY, profile=True, observer=told)

    assert (summary.trained, summary.exit_code) == (1, 0)
    assert len(told.notes) == 1
    assert re.match(r"no profile of run [0-9a-f]{12}: .*File exists", told.notes[0])


def test_where_nothing_is_left_to_train_no_step_is_profiled(suite: Suite, store: Store, tmp_path: Path) -> None:
    run(suite, store, results=tmp_path / "results", only=ONLY)
    told = Notes()

    run(suite, store, results=tmp_path / "results", only=ONLY, profile=True, observer=told)

    assert told.notes == ["nothing is left to train, so no step was profiled; '--rerun all' trains again"]
    assert not (tmp_path / "results" / "profiles").exists()


def test_the_table_of_a_device_has_its_time_and_says_how_much_is_left_out(suite: Suite) -> None:
    from ranbench.runner.profiling import as_text

    many = tuple(OperatorTime(f"operator {number}", 2.5, 0.001, 0.002) for number in range(32))
    found = Profile("cuda", 4, 64, 5, 0.01, 0.02, (PartTime("forward", 0.015, 0.004),), many)

    text = as_text(found, suite.runs()[0])

    assert text.splitlines()[2:11] == [
        "step: 10.000 ms, 6,400 images/s; under the profiler 20.000 ms (means of 5 steps)",
        "",
        "What follows is of one step under the profiler. ms: of the host; a part holds all that it calls, an operator",
        "only itself. device: of the kernels that were started there.",
        "",
        "part         ms  share  device ms",
        "forward  15.000  75.0%      4.000",
        "",
        "operator        ms  share  device ms  calls",
    ]
    assert text.splitlines()[11] == "operator 0   1.000   5.0%      2.000    2.5"
    assert text.endswith("and 2 operators with less\n")
