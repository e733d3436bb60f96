"""The gate from outside the process: each planted fault gets its finding and its exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from command import ranbench as forked

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = ["--layer", "trained", "--speed-jobs", "0", "--device", "cpu"]


def ranbench(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Call the command as a job of CI does; with another PYTHONPATH, where a fault is planted, in a plain process."""
    if "PYTHONPATH" not in env:
        return forked(*words, cwd=folder, **env)
    return subprocess.run(
        [sys.executable, "-m", "ranbench", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def check(folder: Path, *words: str, suite: str = "tiny.yaml", **env: str) -> tuple[int, dict[str, Any]]:
    """Check against the baseline that was saved; return exit code and report."""
    done = ranbench(folder, "check", suite, "--baseline", "baseline.jsonl", *QUICK, "--json", *words, **env)
    assert done.returncode != 1, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def kinds(report: dict[str, Any], *, without: str = "unchanged") -> set[tuple[str, str, str]]:
    return {(one["cell"], one["metric"], one["kind"]) for one in report["findings"] if one["kind"] != without}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Iterator[Path]:
    """A folder with a suite, three seeds of its runs, and their baseline."""
    place = tmp_path_factory.mktemp("gate")
    suite, protocol = tiny_texts
    (place / "protocols").mkdir()
    (place / "protocols" / "tiny.yaml").write_text(protocol)
    (place / "tiny.yaml").write_text(suite.replace("seeds: 2", "seeds: 3"))
    for words in (("run", "tiny.yaml", "--device", "cpu"), ("baseline", "save", "baseline.jsonl", "tiny.yaml", *QUICK)):
        done = ranbench(place, *words)
        assert done.returncode == 0, done.stderr
    yield place


def test_the_same_code_and_seeds_are_unchanged_and_exit_0(folder: Path) -> None:
    code, report = check(folder)

    assert code == 0
    assert {kind for _, metric, kind in kinds(report) if metric != "claim"} == set()
    assert report["notes"][0].startswith("no new run: 6 runs of 20")  # what was trained for the baseline
    assert {one["metric"] for one in report["findings"]} >= {
        "error_pct",
        "loss",
        "train_loss_end",
        "parameters",
        "macs",
    }


def test_what_cannot_be_written_is_told_beside_the_findings_with_7(folder: Path) -> None:
    words = ("check", "tiny.yaml", "--baseline", "baseline.jsonl", *QUICK, "--no-train", "--github")

    done = ranbench(folder, *words, GITHUB_STEP_SUMMARY=str(folder))

    assert done.returncode == 7
    assert "unchanged" in done.stdout
    assert done.stderr.count("cannot be written") == 1


@pytest.mark.parametrize("target", ["baseline.jsonl", "tiny.yaml", "results/ranbench.db", "tiny.yaml/junit.xml"])
def test_junit_overwrites_nothing_that_is_read_and_is_refused_before_training(folder: Path, target: str) -> None:
    before = {file: file.read_bytes() for file in folder.glob("*.*") if file.is_file()}
    (folder / "results").mkdir(exist_ok=True)

    done = ranbench(
        folder, "check", "tiny.yaml", "--baseline", "baseline.jsonl", *QUICK, "--seeds-from", "500", "--junit", target
    )

    assert done.returncode == 2, done.stderr
    assert f"--junit {target}: " in done.stderr
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.slow
def test_other_seeds_are_trained_and_junit_annotations_and_summary_are_written(folder: Path) -> None:
    summary, junit = folder / "summary.md", folder / "out" / "junit.xml"
    words = ("check", "tiny.yaml", "--baseline", "baseline.jsonl", *QUICK, "--seeds-from", "40")

    done = ranbench(folder, *words, "--junit", str(junit), "--github", GITHUB_STEP_SUMMARY=str(summary))

    assert done.returncode == 0, done.stderr
    assert "seed 42" in done.stderr
    cases = ElementTree.parse(junit).getroot().findall("./testsuite/testcase")
    assert len(cases) == 11
    assert summary.read_text().startswith("## ranbench check: passed (exit 0)")
    commands = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert commands == []


@pytest.mark.slow
def test_a_run_that_diverges_is_failed_with_3_and_all_of_them_with_6(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path)
    planted(broken, "if self.seed in DIVERGE: loss = loss * float('nan')")

    one = check(broken, "--seeds-from", "60", PYTHONPATH=str(broken), DIVERGE="61")
    every = check(broken, "--seeds-from", "70", PYTHONPATH=str(broken), DIVERGE="70,71,72")

    assert one[0] == 3
    assert {("residual", "runs", "failed"), ("naive", "runs", "failed")} <= kinds(one[1])
    assert every[0] == 6
    assert "no run of any was compared" in every[1]["unmeasured"][0]


def copied(folder: Path, place: Path) -> Path:
    """A folder with its own copy of the package, in which a fault can be planted; the baseline is that of the other."""
    shutil.copytree(folder, place, dirs_exist_ok=True)
    shutil.copytree(ROOT / "ranbench", place / "ranbench")
    shutil.copytree(ROOT / "suites", place / "suites")
    return place


def planted(place: Path, line: str, after: str = "loss = functional.cross_entropy(logits, targets)\n") -> None:
    """Plant a line of code into the training step."""
    file = place / "ranbench" / "training" / "loop.py"
    text = file.read_text()
    assert after in text
    text = text.replace(after, f"{after}                {line}\n", 1)
    head = "import os, sys\nDIVERGE = [int(one) for one in os.environ.get('DIVERGE', '').split(',') if one]\n"
    file.write_text(text.replace("import math\n", f"import math\n{head}", 1))


@pytest.mark.slow
def test_a_fault_that_costs_what_was_learned_is_a_regression_with_4(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path)
    planted(broken, "loss = loss + 40.0 * logits.pow(2).mean()")

    code, report = check(broken, PYTHONPATH=str(broken))

    assert code == 4
    assert ("residual", "train_loss_end", "regressed") in kinds(report)


def test_a_deleted_result_is_gone_with_4_where_nothing_is_trained(folder: Path, tmp_path: Path) -> None:
    lost = f"sqlite:///{tmp_path / 'lost.db'}"
    done = ranbench(folder, "run", "tiny.yaml", "--device", "cpu", "--only", "learning=naive", "--db", lost)

    code, report = check(folder, "--no-train", "--db", lost)
    words = ("check", "tiny.yaml", "--baseline", "baseline.jsonl", *QUICK, "--no-train", "--db", lost)
    told = ranbench(folder, *words, "--github").stdout.splitlines()

    assert done.returncode == 0
    assert code == 4
    assert ("residual", "runs", "gone") in kinds(report)
    commands = [line for line in told if line.startswith("::")]
    assert len(commands) == 1
    assert re.fullmatch(r"::error file=tiny\.yaml,title=gone%3A residual%2C runs::tiny: was due, .*", commands[0])


@pytest.mark.slow
def test_what_is_left_undecided_ends_with_5_where_strict_is_asked_for(folder: Path, tmp_path: Path) -> None:
    db = ("--db", f"sqlite:///{tmp_path / 'few.db'}")
    words = ("check", "tiny.yaml", "--baseline", "few.jsonl", *QUICK, "--no-train", "--seeds", "2", *db)
    done = [
        ranbench(folder, "run", "tiny.yaml", "--device", "cpu", "--seeds", "2", *db),
        ranbench(folder, "run", "tiny.yaml", "--device", "cpu", "--only", "learning=naive", *db),
        ranbench(folder, "baseline", "save", "few.jsonl", "tiny.yaml", *QUICK, *db),
    ]

    lenient, strict = ranbench(folder, *words), ranbench(folder, *words, "--strict")

    assert [one.returncode for one in (*done, lenient, strict)] == [0, 0, 0, 0, 5]
    assert "a baseline of 3 or more tells what spread is usual" in strict.stdout


@pytest.mark.slow
def test_twenty_nights_without_any_change_raise_no_alarm_of_note(folder: Path) -> None:
    """Real runs with other seeds each night, against ten of the baseline: 0.1 % of nights err, so one of 20 at most."""
    for words in (("run", "tiny.yaml", "--seeds", "10"), ("baseline", "save", "ten.jsonl", "tiny.yaml", *QUICK[:4])):
        more = ("--device", "cpu") if words[0] == "run" else ("--device", "cpu", "--seeds", "10")
        done = ranbench(folder, *words, *more)
        assert done.returncode == 0, done.stderr
    words = ("check", "tiny.yaml", "--baseline", "ten.jsonl", *QUICK, "--json")

    nights = [ranbench(folder, *words, "--seeds-from", str(1000 + 10 * night)) for night in range(20)]

    assert {done.returncode for done in nights} <= {0, 4}
    compared = [json.loads(done.stdout)["findings"] for done in nights]
    alarms = [[one for one in night if one["kind"] in {"regressed", "gone", "failed"}] for night in compared]
    assert sum(map(bool, alarms)) <= 1, [one for night in alarms for one in night]
    assert [bool(night) for night in alarms] == [done.returncode == 4 for done in nights]
    assert all(sum(one["metric"] == "error_pct" and one["compared"] for one in night) == 2 for night in compared)


@pytest.mark.slow
def test_a_database_without_any_result_measured_nothing_with_6(folder: Path, tmp_path: Path) -> None:
    code, report = check(folder, "--no-train", "--db", f"sqlite:///{tmp_path / 'none.db'}")

    assert code == 6
    assert report["unmeasured"]


@pytest.mark.slow
def test_a_renamed_suite_measured_nothing_with_6(folder: Path) -> None:
    (folder / "other.yaml").write_text((folder / "tiny.yaml").read_text().replace("name: tiny", "name: other"))

    code, report = check(folder, suite="other.yaml")

    assert code == 6
    assert report["unmeasured"] == ["suite 'other' is not in the baseline, which has: tiny"]
    assert kinds(report) == {("residual", "cell", "new"), ("naive", "cell", "new")}


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no such baseline"), ("", "holds no baseline"), ("{}\n", "lacks 'kind'")]
)
@pytest.mark.slow
def test_a_baseline_that_is_missing_empty_or_broken_ends_with_6(
    folder: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "baseline.jsonl"
    if content is not None:
        file.write_text(content)

    done = ranbench(folder, "check", "tiny.yaml", "--baseline", str(file), *QUICK)

    assert done.returncode == 6
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_wrong_usage_ends_with_2_and_an_unknown_suite_too(folder: Path) -> None:
    for words in (
        ("--layer", "fre"),
        ("--cycle", "daily"),
        ("--date", "1.1.2027"),
        ("--budget", "0"),
        ("--speed-jobs", "-1"),
    ):
        assert ranbench(folder, "check", "tiny.yaml", "--baseline", "baseline.jsonl", *words).returncode == 2
    assert ranbench(folder, "check", "no-suite", "--baseline", "baseline.jsonl").returncode == 2


@pytest.mark.slow
def test_a_baseline_of_runs_of_other_code_is_not_saved_with_6(folder: Path, tmp_path: Path) -> None:
    other = copied(folder, tmp_path)
    source = other / "ranbench" / "training" / "graph.py"
    source.write_text(f"{source.read_text()}# another code\n")

    done = ranbench(other, "baseline", "save", "mine.jsonl", "tiny.yaml", *QUICK, PYTHONPATH=str(other))

    assert done.returncode == 6
    assert "suite 'tiny': no done run of the code that is here in the database; " in done.stderr
    assert "'ranbench run tiny.yaml --rerun changed' makes the runs" in done.stderr


@pytest.mark.slow
def test_of_a_suite_without_runs_the_fixed_values_alone_are_kept_beside_the_runs_of_another(folder: Path) -> None:
    words = ("baseline", "save", "two.jsonl", "tiny.yaml", "quickstart", "--speed-jobs", "0", "--device", "cpu")
    saved = ranbench(folder, *words)
    lines = [json.loads(line) for line in (folder / "two.jsonl").read_text().splitlines()]
    nightly = ranbench(folder, "check", "quickstart", "--baseline", "two.jsonl", *QUICK, "--no-train")
    free = ranbench(folder, "check", "tiny.yaml", "quickstart", "--baseline", "two.jsonl", "--layer", "free")

    assert saved.returncode == 0, saved.stderr
    told = "suite 'quickstart': no done run in the database; 'ranbench run "
    assert told in saved.stderr
    assert "its counts and fixed values alone are kept" in saved.stderr
    assert {name for line in lines if line["kind"] == "fixed" for name in line["suites"]} == {"tiny", "quickstart"}
    assert free.returncode == 0, free.stdout
    assert nightly.returncode == 6  # runs were due, and there is nothing to hold them against


def test_no_runs_of_any_suite_are_nothing_to_keep_with_6_and_the_line_says_how_they_are_made(folder: Path) -> None:
    done = ranbench(folder, "baseline", "save", "none.jsonl", "quickstart", *QUICK)

    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert "suite 'quickstart': no done run in the database; 'ranbench run " in done.stderr
    assert "--rerun" not in done.stderr
    assert not (folder / "none.jsonl").exists()


@pytest.mark.slow
def test_a_budget_that_is_spent_leaves_out_and_tells(folder: Path) -> None:
    code, report = check(folder, "--seeds-from", "90", "--budget", "0.0001")

    assert code == 6  # counts alone were compared, and runs were due
    left = [one["text"] for one in report["findings"] if one["metric"] == "runs"]
    assert len(left) == 2
    assert all("minutes, more than all of the budget of 0.0001 minutes" in text for text in left)


def test_a_baseline_loses_nothing_of_suites_and_layers_that_are_not_kept_anew(folder: Path) -> None:
    before = (folder / "baseline.jsonl").read_bytes()
    (folder / "second.yaml").write_text((folder / "tiny.yaml").read_text().replace("name: tiny", "name: second"))
    save = ("baseline", "save", "baseline.jsonl")

    done = [
        ranbench(folder, *save, "second.yaml", "--layer", "free"),
        ranbench(folder, *save, "tiny.yaml", "--layer", "free"),
        ranbench(folder, *save, "tiny.yaml", *QUICK, "--db", f"sqlite:///{folder}/nothing.db"),
    ]

    assert [(one.returncode, one.stderr.count("\n")) for one in done] == [(2, 1), (2, 1), (6, 1)]
    assert "holds tiny as well (6 runs), which would be lost; name all suites" in done[0].stderr
    assert "holds runs, which --layer free would lose" in done[1].stderr
    assert (folder / "baseline.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_baseline_lets_go_of_what_it_held_where_it_is_told_to_and_keeps_exceptions(folder: Path) -> None:
    shutil.copy(folder / "baseline.jsonl", folder / "copy.jsonl")
    with (folder / "copy.jsonl").open("a") as file:
        file.write(json.dumps(EXCEPTION) + "\n")

    done = ranbench(folder, "baseline", "save", "copy.jsonl", "tiny.yaml", "--layer", "free", "--replace")

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "copy.jsonl").read_text().splitlines()]
    assert [line for line in lines if line["kind"] == "exception"] == [EXCEPTION]
    assert "values" not in {line["kind"] for line in lines}


EXCEPTION = {
    "kind": "exception",
    "suite": "tiny",
    "cell": "residual",
    "metric": "*",
    "reason": "a smaller head",
    "until": "2999-12-31",
}


@pytest.mark.slow
def test_an_exception_excuses_what_was_deleted_until_its_day_with_0_and_then_no_more(
    folder: Path, tmp_path: Path
) -> None:
    lost = f"sqlite:///{tmp_path / 'lost.db'}"
    assert (
        ranbench(folder, "run", "tiny.yaml", "--device", "cpu", "--only", "learning=naive", "--db", lost).returncode
        == 0
    )
    text = (folder / "baseline.jsonl").read_text()
    (folder / "excused.jsonl").write_text(text + json.dumps(EXCEPTION) + "\n")
    words = ("check", "tiny.yaml", "--baseline", "excused.jsonl", *QUICK, "--no-train", "--db", lost, "--json")

    held = ranbench(folder, *words)
    (folder / "excused.jsonl").write_text(text + json.dumps({**EXCEPTION, "until": "2026-01-01"}) + "\n")
    ended = ranbench(folder, *words)

    assert (held.returncode, ended.returncode) == (0, 4)
    assert ("residual", "runs", "excused") in kinds(json.loads(held.stdout))
    assert any("ended" in note for note in json.loads(ended.stdout)["notes"])


@pytest.mark.slow
def test_a_weekly_cell_is_trained_on_one_night_of_a_week_and_its_net_is_counted_on_all(
    folder: Path, tmp_path: Path
) -> None:
    weekly = (folder / "tiny.yaml").read_text().partition("claims:")[0].replace("name: tiny", "name: weekly")
    (folder / "weekly.yaml").write_text(f"{weekly}cycles:\n  - {{cell: {{learning: naive}}, cycle: weekly}}\n")
    db = ("--db", f"sqlite:///{tmp_path / 'weekly.db'}")
    assert ranbench(folder, "run", "weekly.yaml", "--device", "cpu", *db).returncode == 0
    assert ranbench(folder, "baseline", "save", "weekly.jsonl", "weekly.yaml", *QUICK, *db).returncode == 0
    words = ("check", "weekly.yaml", "--baseline", "weekly.jsonl", *QUICK, *db, "--cycle", "nightly", "--json")

    nights = [ranbench(folder, *words, "--date", f"2027-03-0{day}") for day in range(1, 8)]

    assert {night.returncode for night in nights} == {0}
    found = [json.loads(night.stdout)["findings"] for night in nights]
    trained = [{one["cell"] for one in night if one["metric"] == "error_pct"} for night in found]
    assert sorted(map(len, trained)) == [1] * 6 + [2]
    assert all({one["cell"] for one in night if one["metric"] == "macs"} == {"residual", "naive"} for night in found)


@pytest.fixture
def long(folder: Path, tmp_path: Path) -> Path:
    """A folder with a suite whose one cell takes minutes, and the baseline of its counts."""
    shutil.copytree(folder / "protocols", tmp_path / "protocols")
    protocol = tmp_path / "protocols" / "tiny.yaml"
    protocol.write_text(
        protocol.read_text().replace("iterations: 6", "iterations: 3000").replace("every: 3", "every: 3000")
    )
    text = (folder / "tiny.yaml").read_text().partition("claims:")[0].replace("[residual, naive]", "[residual]")
    (tmp_path / "long.yaml").write_text(text.replace("name: tiny", "name: long"))
    saved = ranbench(tmp_path, "baseline", "save", "baseline.jsonl", "long.yaml", "--layer", "free", "--device", "cpu")
    assert saved.returncode == 0, saved.stderr
    return tmp_path


def within(long: Path, budget: str, jobs: str) -> tuple[int, dict[str, list[str]]]:
    """Check the long suite within so many minutes; return the exit code and what is said of each metric."""
    words = ("check", "long.yaml", "--baseline", "baseline.jsonl", "--layer", "trained", "--device", "cpu", "--json")
    done = ranbench(long, *words, "--budget", budget, "--speed-jobs", jobs, "--threads", "1")
    said: dict[str, list[str]] = {}
    for one in json.loads(done.stdout)["findings"]:
        said.setdefault(one["metric"], []).append(one["text"])
    return done.returncode, said


@pytest.mark.slow
def test_a_budget_leaves_time_to_the_jobs_that_measure_a_step(long: Path) -> None:
    _, said = within(long, "0.01", "1")  # over with the first of them

    assert "step_ratio" in said
    (left,) = said["runs"]
    assert "was spent before it was its turn" in left


@pytest.mark.slow
def test_the_free_layer_is_held_against_the_baseline_and_a_planted_fault_found(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path)
    free = ("--layer", "free", "--device", "cpu")
    saved = ranbench(broken, "baseline", "save", "free.jsonl", "tiny.yaml", *free, PYTHONPATH=str(broken))
    words = ("check", "tiny.yaml", "--baseline", "free.jsonl", *free, "--json")
    before = ranbench(broken, *words, PYTHONPATH=str(broken))
    planted(broken, "loss = loss * 1.0001")
    after = ranbench(broken, *words, PYTHONPATH=str(broken))

    assert saved.returncode == 0, saved.stderr
    assert (before.returncode, after.returncode) == (0, 4), before.stdout + after.stderr
    assert ("fixed values", "regressed") in {(metric, kind) for _, metric, kind in kinds(json.loads(after.stdout))}


@pytest.mark.slow
def test_a_net_of_one_s_own_is_checked_where_it_is_trusted_and_a_change_of_it_found(
    folder: Path, tmp_path: Path
) -> None:
    made = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))"
    (tmp_path / "mine.py").write_text(f"import torch\n\n\ndef make(shape, num_classes):\n    return {made}\n")
    shutil.copytree(folder / "protocols", tmp_path / "protocols")
    text = (folder / "tiny.yaml").read_text().partition("cells:")[0].replace("name: tiny", "name: own")
    (tmp_path / "own.yaml").write_text(f"{text}cells:\n  fixed: {{model: 'mine:make', dataset: digits}}\n")
    free = ("--layer", "free", "--device", "cpu")
    words = ("check", "own.yaml", "--baseline", "own.jsonl", *free)

    saved = ranbench(tmp_path, "baseline", "save", "own.jsonl", "own.yaml", *free, "--trust-imports")
    same = ranbench(tmp_path, *words, "--trust-imports")
    refused = ranbench(tmp_path, *words)
    file = tmp_path / "mine.py"
    file.write_text(file.read_text().replace("torch.nn.Flatten()", "torch.nn.Flatten(), torch.nn.ReLU()"))
    other = ranbench(tmp_path, *words, "--trust-imports")

    assert [one.returncode for one in (saved, same, refused, other)] == [0, 0, 2, 4], saved.stderr
    assert "--trust-imports allows it" in refused.stderr
    assert "fixed values" in other.stdout


# a fault -> the file of the package in which it lies, what stands there, what it becomes
FAULTS = {
    "mask scaled by 0.98": (
        "models/attention.py",
        "torch.addcmul(trunk, mask, trunk)",
        "torch.addcmul(trunk, 0.98 * mask, trunk)",
    ),
    "corners not aligned": (
        "models/interpolation.py",
        "upsample_bilinear2d(x, size, True)",
        "upsample_bilinear2d(x, size, False)",
    ),
    "one skip left out": ("models/attention.py", "self.deeper(down) + self.skip(down)", "self.deeper(down)"),
    "momentum 0.88": ("training/loop.py", "momentum=optimizer.momentum,", "momentum=0.88,"),
    "no flips": (
        "data/augmentation.py",
        "flip=augmentation.flip,\n            last_batch",
        "flip=False,\n            last_batch",
    ),
    "BatchNorm momentum": ("models/layers.py", "momentum=0.1)", "momentum=0.12)"),
}


@pytest.fixture(scope="module")
def own_copy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with a suite whose images are mirrored, and the baseline of its fixed values."""
    place = copied(folder, tmp_path_factory.mktemp("faults"))
    protocol = place / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("pad: 0, flip: false", "pad: 1, flip: true"))
    suite = place / "tiny.yaml"
    suite.write_text(suite.read_text().partition("claims:")[0].replace("[residual, naive]", "[residual]"))
    words = ("baseline", "save", "free.jsonl", "tiny.yaml", "--layer", "free", "--device", "cpu")
    saved = ranbench(place, *words, PYTHONPATH=str(place))
    assert saved.returncode == 0, saved.stderr
    return place


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_each_fault_of_the_code_is_found_by_the_free_layer_with_4_and_no_fault_is_0(
    own_copy: Path, fault: str | None
) -> None:
    words = ("check", "tiny.yaml", "--baseline", "free.jsonl", "--layer", "free", "--device", "cpu", "--json")
    name, right, wrong = FAULTS[fault] if fault else ("models/attention.py", "mask", "mask")
    file = own_copy / "ranbench" / name
    before = file.read_text()
    assert before.count(right) == 1 or not fault
    file.write_text(before.replace(right, wrong))
    try:
        done = ranbench(own_copy, *words, PYTHONPATH=str(own_copy))
    finally:
        file.write_text(before)

    assert done.returncode == (4 if fault else 0), done.stderr
    found = {(metric, kind) for _, metric, kind in kinds(json.loads(done.stdout))}
    assert {kind for _, kind in found} == ({"regressed"} if fault else set())
    assert not fault or "fixed values" in {metric for metric, _ in found}


@pytest.mark.slow
def test_a_step_that_is_a_fifth_slower_is_a_regression_with_4_and_noise_is_none(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path)
    text = (place / "tiny.yaml").read_text().partition("claims:")[0].replace("[residual, naive]", "[residual]")
    (place / "one.yaml").write_text(text.replace("name: tiny", "name: one"))
    timed = ("--layer", "trained", "--device", "cpu", "--threads", "1")
    own = {"PYTHONPATH": str(place)}
    words = ("check", "one.yaml", "--baseline", "one.jsonl", *timed, "--json")

    trained = ranbench(place, "run", "one.yaml", "--device", "cpu", "--threads", "1", **own)
    saved = ranbench(place, "baseline", "save", "one.jsonl", "one.yaml", *timed, **own)
    before = ranbench(place, *words, **own)
    slowed(place)
    after = ranbench(place, *words, **own)

    assert (trained.returncode, saved.returncode) == (0, 0), saved.stderr
    assert before.returncode == 0, before.stdout
    assert after.returncode == 4, after.stdout
    fired = {(metric, kind) for _, metric, kind in kinds(json.loads(after.stdout)) if kind == "regressed"}
    assert fired == {("step_ratio", "regressed")}


def slowed(place: Path) -> None:
    """Plant a wait of a fifth of its own time into every training step."""
    file = place / "ranbench" / "training" / "loop.py"
    text = file.read_text()
    first, last = "        size = self.order.size(self.step)\n", "        self.step += 1\n"
    assert first in text
    assert last in text
    lines = ("end = began + 1.2 * (time.perf_counter() - began)", "while time.perf_counter() < end:", "    pass")
    wait = "".join(f"        {line}\n" for line in lines)
    text = text.replace(first, f"        began = time.perf_counter()\n{first}", 1)
    file.write_text(text.replace(last, f"{wait}{last}", 1))
