"""``plan`` and the summary of ``run``: what a suite would cost on this machine, and how far off that was."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import ranbench

WITHOUT_TORCH = """
import sys
from ranbench.cli import main
sys.argv = ["ranbench", "plan", "tiny.yaml", "--jobs", "2", "--json"]
try:
    main()
finally:
    assert "torch" not in sys.modules
"""


def test_a_plan_knows_the_runs_before_it_and_says_afterwards_how_far_off_it_was(tiny_suite: Path) -> None:
    folder, one = tiny_suite.parent, ("tiny.yaml", "--seeds", "1")

    first = ranbench("run", *one, "--only", "learning=naive", cwd=folder)
    planned = json.loads(ranbench("plan", *one, "--json", "--jobs", "2", cwd=folder).stdout)
    second = ranbench("run", *one, cwd=folder)
    after = ranbench("plan", *one, cwd=folder).stdout
    light = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=folder, capture_output=True, check=False)

    assert (first.returncode, second.returncode, light.returncode) == (0, 0, 0), first.stderr + second.stderr
    assert "nothing was known of the time of these runs before they began" in first.stderr
    assert [run["state"] for run in planned["runs"]] == ["planned", "done"]
    assert planned["runs"][0]["source"] in ("runs", "smoke runs")
    assert planned["elapsed_seconds"] == planned["seconds"] > 0
    assert planned["memory_bytes"] == planned["memory_of_workers_bytes"]
    assert (planned["measured_on"]["device"], planned["last_plan"]["runs"]) == ("cpu", 0)
    assert re.search(r"the plan was (\d+ % too (short|long)|right to 1 %): 1 run took \d+ s, \d+ s were", second.stderr)
    assert re.search(r"^on .* \(1 thread, eager, channels_last, torch ", after, re.MULTILINE)


@pytest.mark.slow
def test_a_calibration_makes_a_database_and_gives_every_run_a_time(tiny_suite: Path) -> None:
    found = ranbench("plan", "tiny.yaml", "--calibrate", "--threads", "1", "--json", cwd=tiny_suite.parent)

    planned = json.loads(found.stdout)
    assert found.returncode == 0, found.stderr
    assert "ms a step" in found.stderr
    assert {run["source"] for run in planned["runs"]} == {"calibration"}
    assert planned["seconds"] > 0
    assert planned["basis"] == "measured rates of calibrated steps of the same net"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "--jobs 0: must be 1 or more"),
        (["--device", "tpu"], "--device"),
        (["--threads", "0"], "--threads 0: must be 1 or more"),
    ],
)
def test_what_a_plan_cannot_be_made_for_is_refused_in_one_line(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    found = ranbench("plan", "quickstart", *arguments, cwd=tmp_path)

    assert found.returncode == 2
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1
