"""Fixtures that tests of several parts need, one for each noun."""

from __future__ import annotations

from pathlib import Path

import pytest

TINY_SUITE = """\
name: tiny
title: Residual against naive learning, a few steps
reference: tiny
protocol: tiny
seeds: 2
datasets:
  digits: {train: 200, test: 100}
cells:
  fixed: {model: attention-56, dataset: digits}
  matrix:
    learning: [residual, naive]
claims:
  - {id: residual-beats-naive, kind: better, a: {learning: residual}, b: {learning: naive}, metric: error_pct}
"""

TINY_PROTOCOL = """\
iterations: 6
batch: 32
schedule: {kind: one-cycle, lr: 0.1, rise: 0.5, start: 0.1, end: 0.0}
optimizer: {momentum: 0.9, nesterov: true, weight_decay: 1e-4}
augmentation: {mean: image, pad: 0, flip: false}
evaluation: {every: 3}
initialisation: he-fan-in
precision: float32
"""


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Path:
    """A suite file that trains two cells with two seeds for six steps, beside its own protocol ``tiny``."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "tiny.yaml").write_text(TINY_PROTOCOL)
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY_SUITE)
    return file
