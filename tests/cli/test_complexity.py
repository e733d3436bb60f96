"""The complexity command, run in this process: its answers as text and as JSON, and its refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ranbench.cli import main
from ranbench.counts import COUNTS_FILE, Counts, read_counts

Result = tuple[int, str, str]
Command = Callable[..., Result]

KEYS = {
    "model",
    "options",
    "dataset",
    "input",
    "parameters",
    "macs",
    "depth",
    "by_module",
    "uncounted",
    "convention",
}
FACTORY = """\
from torch import nn


def net(shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def complexity(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run the command in an empty folder and return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["ranbench", "complexity", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, printed.out, printed.err

    return run


def as_json(result: Result) -> Any:
    code, out, err = result
    assert (code, err) == (0, "")
    return json.loads(out)


def test_json_has_the_documented_form(complexity: Command) -> None:
    found = as_json(complexity("attention-56", "--json"))

    assert found.keys() == KEYS
    assert found["parameters"] == sum(part["parameters"] for part in found["by_module"].values())
    assert {key: found[key] for key in ("model", "dataset", "input", "parameters", "macs", "depth")} == {
        "model": "attention-56",
        "dataset": "cifar10",
        "input": [3, 32, 32],
        "parameters": 1_030_394,
        "macs": 122_825_216,
        "depth": 56,
    }
    assert found["options"] == {
        "learning": "residual",
        "attention": "mixed",
        "mask": "encoder-decoder",
        "r_scales": "both-ways",
        "spatial_std": "biased",
        "unit_order": "pre-activation",
        "p": 1,
        "t": 2,
        "r": 1,
    }


def test_json_has_what_was_asked_for_besides(complexity: Command) -> None:
    found = as_json(complexity("attention-56", "--dataset", "digits", "--backward", "--batch", "8", "--tree", "--json"))

    assert found.keys() == KEYS | {"backward_macs", "memory", "tree"}
    assert found["backward_macs"] == 2 * found["macs"] - 9 * 16 * 64
    held = found["memory"]
    assert (held["batch"], held["parameters_bytes"]) == (8, 4 * found["parameters"])
    assert held["total_bytes"] == sum(held.values()) - held["total_bytes"] - 8
    assert found["tree"][0] == {
        "layer": "convolution",
        "details": "3x3, 16",
        "output": [16, 8, 8],
        "times": 1,
        "parameters": 176,
        "macs": 9216,
    }


@pytest.mark.parametrize(
    ("model", "dataset", "shape"),
    [("attention-56", "cifar10", [3, 32, 32]), ("attentionnext-56", "imagenet", [3, 224, 224])],
)
def test_the_dataset_is_the_first_that_the_net_has_a_form_for(
    complexity: Command, model: str, dataset: str, shape: list[int]
) -> None:
    found = as_json(complexity(model, "--json"))

    assert (found["dataset"], found["input"]) == (dataset, shape)


def test_options_and_input_size_reach_the_net(complexity: Command) -> None:
    options = ("--learning", "naive", "--attention", "spatial", "--r", "2", "--r-scales", "way-down")

    found = as_json(complexity("attention-92", "--dataset", "imagenet", "--input", "96", *options, "--json"))

    assert found["input"] == [3, 96, 96]
    assert found["options"] == {
        "learning": "naive",
        "attention": "spatial",
        "mask": "encoder-decoder",
        "r_scales": "way-down",
        "spatial_std": "biased",
        "unit_order": "pre-activation",
        "p": 1,
        "t": 2,
        "r": 2,
    }


def test_p_and_t_reach_the_net(complexity: Command) -> None:
    found = as_json(complexity("attention-92", "--p", "2", "--t", "4", "--mask", "local-convolutions", "--json"))

    assert (found["depth"], found["options"]["p"], found["options"]["t"]) == (92, 2, 4)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [("attention-56", 1_030_362, 122_825_216), ("resnet-164", 1_704_154, 244_500_992)],
)
def test_a_post_activated_net_is_counted(complexity: Command, name: str, parameters: int, macs: int) -> None:
    found = as_json(complexity(name, "--unit-order", "post-activation", "--json"))

    assert (found["parameters"], found["macs"]) == (parameters, macs)
    assert (found["depth"], found["options"]["unit_order"]) == (int(name.split("-")[1]), "post-activation")


def test_the_text_says_size_depth_convention_and_what_was_not_counted(complexity: Command) -> None:
    code, out, _ = complexity("wrn-16-8", "--dataset", "digits")

    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert out.splitlines()[0] == "wrn-16-8 on digits, images of 1x8x8"
    assert ["stem", "144", "9,216"] in rows
    assert ["total", "10,961,082", "96,745,472"] in rows
    assert "parameters:     11 M\nmultiply-adds:  96.7 M\ntrunk depth:    14\nconvention: parameters: all values" in out
    assert "not counted: aten._native_batch_norm_legit_no_training (13x), aten.add (6x)" in out


def test_the_text_of_a_tree_is_the_table_of_the_paper(complexity: Command) -> None:
    _, out, _ = complexity("attention-56", "--dataset", "digits", "--tree", "--backward", "--batch", "2")

    rows = [" ".join(line.split()) for line in out.splitlines()]
    begin = rows.index("layer output times parameters multiply-adds") + 2
    assert (
        rows[0] == "attention-56 (learning residual, attention mixed, mask encoder-decoder) on digits, images of 1x8x8"
    )
    assert rows[begin : begin + 10] == [
        "convolution 8x8 3x3, 16 x1 176 9,216",
        "residual unit 8x8 1x1, 8 / 3x3, 8 / 1x1, 32 (projection) x1 1,536 94,208",
        "attention module 8x8 p = 1, t = 2, r = 1; mask pools twice, to 2x2 x1 12,832 470,528",
        "residual unit 8x8 1x1, 8 / 3x3, 8 / 1x1, 32 x1 1,184 69,632",
        "residual unit 4x4 1x1, 16 / 3x3, 16, stride 2 / 1x1, 64 (projection) x1 6,016 118,784",
        "attention module 4x4 p = 1, t = 2, r = 1; mask pools once, to 2x2 x1 35,712 444,416",
        "residual unit 4x4 1x1, 16 / 3x3, 16 / 1x1, 64 x1 4,544 69,632",
        "average pooling 1x1 global x1 128 0",
        "fully connected 10 10 x1 650 640",
        "total 62,778 1,277,056",
    ]
    assert f"backward pass: 2.54 M ({2 * 1_277_056 - 9_216:,} multiply-adds)" in rows
    assert any(row.startswith("trunk depth: 38 (two stages") for row in rows)
    assert "memory of a training step on 2 images MiB" in rows


def test_a_users_net_is_found_in_the_current_folder_where_it_is_trusted(complexity: Command, tmp_path: Path) -> None:
    (tmp_path / "users_nets.py").write_text(FACTORY)

    found = as_json(complexity("users_nets:net", "--dataset", "digits", "--trust-imports", "--json"))

    assert (found["parameters"], found["macs"], found["depth"], found["options"]) == (650, 640, None, {})


def test_all_nets_are_printed_from_the_file_of_counts(complexity: Command) -> None:
    found = as_json(complexity("--json"))

    assert {name: Counts(**entry) for name, entry in found.items()} == read_counts(COUNTS_FILE)


def test_all_nets_of_a_dataset_are_printed_as_a_table(complexity: Command) -> None:
    code, out, _ = complexity("--dataset", "digits")

    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["net", "images", "parameters", "multiply-adds", "trunk", "depth"] in rows
    assert ["wrn-16-8", "digits", "10,961,082", "96,745,472", "14"] in rows
    assert "cifar" not in out


def test_all_nets_are_printed_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['ranbench', 'complexity']\n"
        "from ranbench.cli import main\n"
        "try: main()\n"
        "except SystemExit as left: print(left.code, 'torch' in sys.modules)"
    )

    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert found.stdout.splitlines()[-1] == "0 False"


def test_the_depth_of_the_digits_form_is_explained(complexity: Command) -> None:
    one, every, cifar = (
        complexity(*arguments)[1]
        for arguments in (["attention-56", "--dataset", "digits"], ["--dataset", "digits"], ["--dataset", "cifar10"])
    )

    why = "two stages in place of three, so the name keeps the modules per stage and not the depth"
    assert f"trunk depth:    38 ({why})\n" in one
    assert f"attention nets on digits: {why}" in " ".join(every.split())
    assert "two stages" not in cifar + complexity("resnet-164", "--dataset", "digits")[1]


def test_an_option_that_changes_nothing_is_said_to_and_not_shown(complexity: Command) -> None:
    code, out, err = complexity("attention-56", "--mask", "local-convolutions", "--r", "3", "--json")

    assert (code, err) == (0, "ranbench: --r changes nothing with local convolutions, which do not sample\n")
    assert json.loads(out)["options"] == {
        "learning": "residual",
        "attention": "mixed",
        "mask": "local-convolutions",
        "spatial_std": "biased",
        "unit_order": "pre-activation",
        "p": 1,
        "t": 2,
    }


def test_nets_of_libraries_are_counted_on_imagenet_unless_told_otherwise(complexity: Command) -> None:
    found = [as_json(complexity(name, "--json")) for name in ("torchvision:resnet18", "resnet-152", "attention-56")]

    assert [one["dataset"] for one in found] == ["imagenet", "imagenet", "cifar10"]


def test_running_text_is_on_lines_that_fit(complexity: Command) -> None:
    out = complexity("attention-56")[1]

    text = out[out.index("convention: ") :]
    assert max(map(len, text.splitlines())) <= 100
    assert "\n  macs: multiply-adds of convolutions" in text


def test_writing_the_counts_says_what_moved(
    complexity: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "counts.json"
    monkeypatch.setattr("ranbench.counts.COUNTS_FILE", path)
    monkeypatch.setattr("ranbench.complexity.registry.all_counts", lambda: ({"a @ digits": Counts(1, 2, 3)}, {}))

    code, out, err = complexity("--write-counts")

    assert (code, out) == (0, "a @ digits: new\n")
    assert err == f"ranbench: counts written to {path}\n"
    assert read_counts(path) == {"a @ digits": Counts(1, 2, 3)}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["atention-56"], "did you mean 'attention-56'?"),
        (["attention-57"], "a depth must be 36m + 20 with m of 1 or more; nearest: attention-56 or attention-92"),
        (["attention-0"], "a depth must be 36m + 20 with m from 1 to 277; nearest: attention-56"),
        (["attention-99999"], "a depth must be 36m + 20 with m from 1 to 277; nearest: attention-9992"),
        (["resnet-164", "--learning", "naive"], "model 'resnet-164' has no option 'learning' (it has: unit_order)"),
        (["resnet-164", "--r", "2"], "model 'resnet-164' has no option 'r'"),
        (["attention-56", "--p", "0"], "p 0 is not allowed (allowed: whole numbers from 1 to 16)"),
        (["attention-56", "--mask", "none"], "mask 'none' is not known"),
        (["attention-56", "--dataset", "imagenet", "--input", "8"], "needs imagenet images of at least"),
        (
            ["inception-resnet-v2", "--input", "50"],
            "needs imagenet images of at least 75x75 for its poolings, got 50x50",
        ),
        (["attention-56", "--input", "64"], "dataset 'cifar10' has images of 32x32, got input 64"),
        (["attention-56", "--dataset", "cfar10"], "did you mean 'cifar10'?"),
        (
            ["attention-56", "--dataset", "imagenet", "--p", "2"],
            "on imagenet has p = 1 and t = 2, which its depth is made",
        ),
        (
            ["attention-56", "--dataset", "imagenet", "--unit-order", "post-activation"],
            "model 'attention-56' on imagenet has unit_order pre-activation, which its authors define",
        ),
        (["--unit-order", "post-activation"], "--unit-order does not go with it"),
        (["attention-128", "--dataset", "imagenet"], "model 'attention-128' has no form for imagenet images"),
        (["users.nets:net"], "--trust-imports"),
        (["torchvision:resnet19"], "did you mean 'resnet"),
        (["attention-56", "--dataset", "digits", "--batch", "0"], "batch 0 is not allowed"),
        (["--tree"], "without MODEL the stored counts are printed; --tree does not go with it"),
        (["--r-scales", "way-down"], "--r-scales does not go with it"),
        (["--dataset", "cfar10"], "did you mean 'cifar10'?"),
        (["attention-56", "--write-counts"], "--write-counts counts every net anew; MODEL does not go with it"),
    ],
    ids=" ".join,
)
def test_a_refusal_is_one_line(complexity: Command, arguments: list[str], text: str) -> None:
    code, out, err = complexity(*arguments)

    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert text in err
