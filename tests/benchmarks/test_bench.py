"""``ranbench bench`` and every benchmark: that they run and say what they should. Never how fast anything is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import ranbench

from ranbench.cli.bench import benchmarks_folder, exit_code, find_scripts, is_of_gpu, keep, page
from ranbench.errors import EnvironmentProblem, UsageError

NAMES = tuple(find_scripts(benchmarks_folder(), ()))
ON_CPU = tuple(name for name in NAMES if not is_of_gpu(name))
FAST = ("decoding",)
FIELDS = {
    *("benchmark", "ratio", "target", "met", "targets", "lines", "text", "samples", "facts", "quick", "measured"),
    *("device", "device_name", "cpu", "threads", "engine_path", "python", "versions", "commit", "dirty"),
}


def bench(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``cwd``."""
    return ranbench("bench", *arguments, cwd=cwd, **environment)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in ON_CPU]
)
def test_a_benchmark_gives_its_targets_samples_and_place(name: str, tmp_path: Path) -> None:
    found = bench(name, "--quick", "--json", cwd=tmp_path)

    assert found.returncode == 0, found.stderr
    (result,) = json.loads(found.stdout)
    assert result.keys() == FIELDS
    assert (result["benchmark"], result["quick"], result["device"]) == (name, True, "cpu")
    assert "torch" in result["versions"]
    assert result["samples"] and all(values for values in result["samples"].values())
    assert all(one["value"] is None or isinstance(one["value"], float) for one in result["targets"])
    assert all(one["value"] is not None or one["why"] for one in result["targets"])
    assert (result["ratio"], result["target"]) == (result["targets"][0]["value"], result["targets"][0]["target"])
    assert {result["met"], *(one["met"] for one in result["targets"])} == {None}  # quick: not judged
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_benchmark_is_a_script_of_its_own(tmp_path: Path) -> None:
    script = benchmarks_folder() / "repeat.py"

    found = subprocess.run(
        [sys.executable, script, "--quick"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stderr
    assert "repeating 10 finished runs" in found.stdout
    assert "counts too small to judge by" in found.stdout


@pytest.mark.parametrize("name", [name for name in NAMES if is_of_gpu(name)])
def test_a_gpu_benchmark_without_a_gpu_says_so_and_exits_7(name: str, tmp_path: Path) -> None:
    found = bench(name, "--quick", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")

    assert (found.returncode, found.stdout) == (7, "")
    assert found.stderr.splitlines() == [
        f"ranbench: bench: {name}",
        f"ranbench: {name}: this machine has no usable CUDA device, and the benchmark is of one",
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in NAMES if is_of_gpu(name)])
def test_a_gpu_benchmark_runs_on_a_gpu(name: str, tmp_path: Path) -> None:
    found = bench(name, "--quick", "--json", cwd=tmp_path)

    assert found.returncode == 0, found.stderr
    (result,) = json.loads(found.stdout)
    assert result.keys() == FIELDS
    assert result["device"] == "cuda"


def test_the_list_names_every_benchmark_with_its_purpose(tmp_path: Path) -> None:
    found = bench("--list", "--json", cwd=tmp_path)

    rows = json.loads(found.stdout)
    assert [row["name"] for row in rows] == list(NAMES)
    assert [row["name"] for row in rows if row["gpu"]] == ["gpu-single", "gpu-suite"]
    assert all(row["measures"].endswith(".") for row in rows)


def test_an_unknown_benchmark_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    found = bench("trainin", cwd=tmp_path)

    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        f"ranbench: bench 'trainin': not known; did you mean 'training'? (allowed: {', '.join(NAMES)})\n"
    )


def test_quick_results_are_not_kept(tmp_path: Path) -> None:
    found = bench("repeat", "--quick", "--write", cwd=tmp_path)

    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == ("ranbench: bench: --quick measures nothing worth keeping; leave out --quick or --write\n")


@pytest.mark.slow
def test_damaged_data_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)

    found = bench("data-path", cwd=tmp_path)

    assert (found.returncode, found.stdout) == (7, "")
    assert found.stderr.splitlines()[1].startswith(
        "ranbench: data-path: cifar10: data/cifar-10-batches-py: data_batch_1"
    )


def test_names_are_taken_in_their_order_and_once() -> None:
    found = find_scripts(benchmarks_folder(), ["training", "repeat", "training"])

    assert list(found) == ["training", "repeat"]
    with pytest.raises(UsageError, match="not known"):
        find_scripts(benchmarks_folder(), ["nothing"])


def test_a_package_without_its_benchmarks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranbench.cli.bench.PACKAGE", tmp_path / "ranbench")

    with pytest.raises(EnvironmentProblem) as caught:
        benchmarks_folder()

    assert caught.value.exit_code == 7
    assert "no benchmarks in" in str(caught.value)


def test_benchmarks_inside_the_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel carries them so; a copy beside an installed package is not ours."""
    for folder in (tmp_path / "benchmarks", tmp_path / "ranbench" / "benchmarks"):
        shutil.copytree(benchmarks_folder() / "common", folder / "common")
    monkeypatch.setattr("ranbench.cli.bench.PACKAGE", tmp_path / "ranbench")

    assert benchmarks_folder() == tmp_path / "ranbench" / "benchmarks"


@pytest.mark.parametrize(
    ("codes", "measured", "expected"),
    [
        ([0, 0], True, 0),
        ([0, 7], True, 7),
        ([7, 1], True, 1),
        ([0, 0], False, 7),  # all were of a device that is not there
    ],
)
def test_the_exit_code_says_a_bug_first_and_is_never_0_for_nothing(
    codes: list[int], measured: bool, expected: int
) -> None:
    assert exit_code(codes, measured=measured) == expected


def result(name: str, value: float | None, met: bool | None) -> dict[str, Any]:
    """A result as a script prints it."""
    target = {
        "what": f"{name} against plain",
        "value": value,
        "unit": "times",
        "bound": "at least",
        "target": 1.5,
        "met": met,
        "why": "" if value else "no such library",
    }
    return {
        "benchmark": name,
        "targets": [target],
        "lines": ["ours: 3 images/s"],
        "device": "cpu",
        "device_name": "a processor",
        "threads": 2,
        "engine_path": "",
        "python": "3.12.1",
        "versions": {"torch": "2.15.0"},
        "commit": "0123456789",
        "dirty": False,
        "measured": "2026-01-02T03:04:05+00:00",
    }


def test_the_page_is_a_row_per_target_and_a_section_per_benchmark() -> None:
    found = page([result("training", 1.634, met=True), result("repeat", None, met=None)])

    assert found == (
        "# Speed, measured\n"
        "\n"
        "Written by `ranbench bench --write`; ratios are against a reference in the same run "
        "([what is measured, and how](../docs/benchmarks.md)).\n"
        "\n"
        "| benchmark | what | measured | target | met |\n"
        "|---|---|---:|---:|---|\n"
        "| training | training against plain | 1.63 times | at least 1.5 times | yes |\n"
        "| repeat | repeat against plain | not measured | at least 1.5 times | no such library |\n"
        "\n"
        "## training\n"
        "\n"
        "- a processor (cpu), 2 threads\n"
        "- measured 2026-01-02T03:04:05+00:00\n"
        "- commit 0123456789; Python 3.12.1, torch 2.15.0\n"
        "- ours: 3 images/s\n"
        "\n"
        "## repeat\n"
        "\n"
        "- a processor (cpu), 2 threads\n"
        "- measured 2026-01-02T03:04:05+00:00\n"
        "- commit 0123456789; Python 3.12.1, torch 2.15.0\n"
        "- ours: 3 images/s\n"
    )


def test_a_new_result_takes_the_place_of_the_old_one_and_leaves_others(tmp_path: Path) -> None:
    keep([result("training", 1.1, met=False), result("repeat", 2.0, met=True)], tmp_path)

    keep([result("training", 1.6, met=True)], tmp_path)

    kept = json.loads((tmp_path / "results.json").read_text())
    assert {name: one["targets"][0]["value"] for name, one in kept.items()} == {"repeat": 2.0, "training": 1.6}
    assert (tmp_path / "RESULTS.md").read_text() == page(list(kept.values()))
