"""'response' from outside: what it prints and draws, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import ranbench

from cli.test_cli import names
from cli.test_rerun import MYNET

pytestmark = pytest.mark.slow  # each test starts several processes that import torch


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder in which one of our nets and one of a user's own were trained, and a bundle of both, without probes."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "mynet.py").write_text(MYNET)
    head = tiny_texts[0].split("cells:")[0].replace("seeds: 2", "seeds: 1")
    cells = "cells:\n  fixed: {dataset: digits}\n  matrix: {model: [attention-56, 'mynet:tiny']}\n"
    (folder / "tiny.yaml").write_text(head + cells)
    found = ranbench("run", "tiny.yaml", "--trust-imports", cwd=folder)
    assert found.returncode == 0, found.stderr
    ranbench("export", "before.zip", cwd=folder)
    return folder


def run_of(folder: Path, net: str) -> str:
    """First digits of a net's run."""
    listed = json.loads(ranbench("runs", "--json", cwd=folder).stdout)
    return next(str(run["fingerprint"][:12]) for run in listed if run["spec"]["model"]["name"] == net)


def test_responses_are_measured_once_printed_and_drawn(done: Path) -> None:
    run = run_of(done, "attention-56")

    first = ranbench("response", run, "--json", cwd=done)
    again = ranbench("response", run, "--json", "--out", "stages.png", cwd=done)
    text = ranbench("response", run, cwd=done).stdout

    found = json.loads(first.stdout)
    assert again.stdout == first.stdout
    assert again.stderr == "ranbench: drawn into stages.png\n"
    assert (done / "stages.png").read_bytes().startswith(b"\x89PNG")
    assert names(found) == {"run", "attempt", "smoke", "code_id", "measured", "device", "responses"} | {
        *("stage", "module", "response", "relative")
    }
    assert [(row["stage"], row["module"]) for row in found["responses"]] == [(1, 1), (1, None), (2, 1), (2, None)]
    assert [row["relative"] for row in found["responses"]][1] == 1.0
    assert "attention-56, residual, seed 0 (smoke: the numbers mean nothing)" in text
    assert [line.split()[:4] for line in text.splitlines()[4:6]] == [
        ["stage", "1,", "module", "1"],
        ["stage", "1", f"{found['responses'][1]['response']:.4g}", "1.000"],
    ]


def test_a_net_whose_stages_are_not_known_is_refused(done: Path) -> None:
    found = ranbench("response", run_of(done, "mynet:tiny"), cwd=done)

    assert (found.returncode, found.stdout) == (2, "")
    assert "the stages of 'mynet:tiny' are not known, so nothing can be measured of them\n" in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_bundle_without_responses_is_not_written_to(done: Path) -> None:
    found = ranbench("response", run_of(done, "attention-56"), "--db", "before.zip", cwd=done)

    assert (found.returncode, found.stdout) == (6, "")
    assert "and a bundle is only read; 'ranbench merge' adds it to a database" in found.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--device", "tpu"], "--device 'tpu': not known (allowed: auto, cpu, cuda)"),
        (["--out", "stages.pdf"], "--out stages.pdf: expected a file name that ends in .png"),
    ],
)
def test_options_that_do_not_hold_are_refused(done: Path, options: list[str], told: str) -> None:
    found = ranbench("response", "aaaa", *options, cwd=done)

    assert (found.returncode, found.stderr) == (2, f"ranbench: {told}\n")
