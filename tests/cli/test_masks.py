"""'masks' from outside: what it draws and prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import ranbench

from cli.test_cli import names

pytestmark = pytest.mark.slow  # each test starts several processes that import torch

TOLD = {"dataset", "images", "index", "label", "channel", "runs", "run", "attempt", "smoke", "code_id", "device"}
OF_A_MASK = {"stage", "module", "image", "attention", "channels", "height", "width", "mean", "sd", "min", "max"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder in which two nets with masks were trained, and a bundle of both."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    head = tiny_texts[0].split("cells:", maxsplit=1)[0].replace("seeds: 2", "seeds: 1")
    cells = "cells:\n  fixed: {model: attention-92, dataset: digits}\n  matrix: {attention: [mixed, channel]}\n"
    (folder / "tiny.yaml").write_text(head + cells)
    found = ranbench("run", "tiny.yaml", cwd=folder)
    assert found.returncode == 0, found.stderr
    ranbench("export", "all.zip", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def runs(done: Path) -> list[str]:
    """Fingerprints of the two runs, mixed and channel."""
    listed = json.loads(ranbench("runs", "--json", cwd=done).stdout)
    kinds = {run["spec"]["model"]["attention"]: str(run["fingerprint"]) for run in listed}
    return [kinds["mixed"], kinds["channel"]]


def test_the_masks_of_a_run_are_drawn_and_their_numbers_printed(done: Path, runs: list[str]) -> None:
    found = ranbench("masks", runs[0][:12], "--images", "3, 5", "--images", "3,80", cwd=done)

    assert found.returncode == 0, found.stderr
    assert found.stderr == f"ranbench: drawn into reports/masks-{runs[0][:8]}.png\n"
    assert (done / "reports" / f"masks-{runs[0][:8]}.png").read_bytes().startswith(b"\x89PNG")
    title, _, head, _, *rows = found.stdout.splitlines()
    assert title.endswith("attention-92, residual, mixed, encoder-decoder, seed 0 (smoke: the numbers mean nothing)")
    assert head.split() == ["image", "class", "predicted", "stage", "mean", "sd", "min", "max", "above", "0.5"]
    assert [(row.split()[0], row.split()[3]) for row in rows if row] == [
        (image, stage) for image in ("3", "5", "80") for stage in ("1", "2")
    ]


def test_several_runs_stand_side_by_side_and_every_number_is_in_the_json(done: Path, runs: list[str]) -> None:
    options = ("--images", "7", "--module", "2", "--channel", "3", "--json")

    drawn = [
        ranbench("masks", *runs, runs[0], *options, "--out", f"new/masks.{kind}", cwd=done) for kind in ("svg", "pdf")
    ]

    found = json.loads(drawn[0].stdout)
    assert [one.stderr for one in drawn] == [f"ranbench: drawn into new/masks.{kind}\n" for kind in ("svg", "pdf")]
    assert drawn[0].stdout == drawn[1].stdout
    assert "soft masks: attention-92, residual, encoder-decoder, seed 0, smoke" in (done / "new/masks.svg").read_text()
    assert names(found) == TOLD | OF_A_MASK | {
        *("predicted", "masks", "middle", "share_above_middle", "map_min", "map_max")
    }
    assert [run["run"] for run in found["runs"]] == runs
    assert [(one["stage"], one["module"], one["attention"], one["middle"]) for one in found["runs"][1]["masks"]] == [
        (stage, module, "channel", 0.0) for stage in (1, 2) for module in (1, 2)
    ]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--device", "tpu"], 2, "--device 'tpu': not known; did you mean 'cpu'? (allowed: auto, cpu, cuda)"),
        (["--out", "masks.gif"], 2, "--out masks.gif: expected a file name that ends in .png, .svg, .pdf"),
        (
            *(["--images", "3,-1"], 2),
            "--images '3,-1': expected numbers of test images from 0, with commas between, such as 0,5,17",
        ),
        (["--images", "100"], 2, "image 100: is not among the test images of digits (allowed: 0 to 99)"),
        (["--module", "3"], 2, "--module 3: run {run} has at most 2 in a stage (allowed: 1 to 2)"),
        (["--channel", "32"], 2, "run {run}, attention-92: channel 32: there are 32 (allowed: 0 to 31)"),
        (["--out", "tiny.yaml/masks.png"], 2, "--out tiny.yaml/masks.png: cannot be written: "),
        (
            *(["--db", "all.zip"], 6),
            "--db all.zip: masks are made from final weights in the folder of a database; 'ranbench merge' adds a "
            "bundle to one",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    done: Path, runs: list[str], options: list[str], code: int, told: str
) -> None:
    found = ranbench("masks", runs[0], *options, cwd=done)

    assert (found.returncode, found.stdout) == (code, "")
    assert found.stderr.startswith(f"ranbench: {told.format(run=runs[0][:12])}")
    assert found.stderr.count("\n") == 1
