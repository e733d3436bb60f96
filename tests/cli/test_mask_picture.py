"""What the runs of a picture of masks are called."""

from __future__ import annotations

import pytest

from ranbench.cli.mask_picture import headings

MIXED = {"model": "attention-56", "attention": "mixed", "noise": "", "seed": "seed 0"}
CHANNEL = {**MIXED, "attention": "channel"}
NOISY = {**MIXED, "noise": "noise 0.3"}
FULL, SMOKE = {**MIXED, "smoke": ""}, {**MIXED, "smoke": "smoke"}
OWN = {"model": "own:net", "noise": "", "seed": "seed 0"}


@pytest.mark.parametrize(
    ("said", "title", "names"),
    [
        ([MIXED, CHANNEL], "attention-56, seed 0", ["mixed", "channel"]),
        ([MIXED, NOISY], "attention-56, mixed, seed 0", ["no noise", "noise 0.3"]),
        ([FULL, SMOKE], "attention-56, mixed, seed 0", ["run 00000000", "smoke"]),
        ([SMOKE, SMOKE], "attention-56, mixed, seed 0, smoke", ["run 00000000", "run 11111111"]),
        ([FULL, {**CHANNEL, "smoke": "smoke"}], "attention-56, seed 0", ["mixed", "channel, smoke"]),
        ([MIXED, OWN], "seed 0", ["attention-56, mixed", "own:net"]),
        ([MIXED, MIXED], "attention-56, mixed, seed 0", ["run 00000000", "run 11111111"]),
        ([MIXED, MIXED, CHANNEL], "attention-56, seed 0", ["mixed, run 00000000", "mixed, run 11111111", "channel"]),
    ],
)
def test_runs_are_called_by_what_tells_them_apart(said: list[dict[str, str]], title: str, names: list[str]) -> None:
    found = headings(said, ["0" * 64, "1" * 64, "2" * 64][: len(said)])

    assert found == (title, names)
