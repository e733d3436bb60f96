"""Fixtures that tests of several parts need, one for each noun."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from postgres import Cluster

ROOT = Path(__file__).resolve().parent.parent

# Tests run beside each other; more threads than cores slow torch down many times.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


@pytest.fixture(scope="session")
def tiny_texts() -> tuple[str, str]:
    """Texts of the tiny suite and of its protocol, for fixtures that need a folder of their own."""
    return TINY_SUITE, TINY_PROTOCOL


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Path:
    """A suite file that trains two cells with two seeds for six steps, beside its own protocol ``tiny``."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "tiny.yaml").write_text(TINY_PROTOCOL)
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY_SUITE)
    return file


@pytest.fixture(scope="session")
def real_cifar10() -> Path:
    """Folder with the official CIFAR-10 files, restored once per machine from packs beside the repository.

    Skips where there are no packs. Safe with several test processes: one restores, the others wait for it.
    """
    restore = ROOT.parent / "shared" / "data" / "restore.py"
    if not restore.is_file():
        pytest.skip("REAL CIFAR-10 NOT TESTED: there are no packs in ../shared/data to restore it from")
    root = Path(tempfile.gettempdir()) / "ranbench-test-cifar10"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # files in place are checked and kept; each is put in place by a rename
        subprocess.run([sys.executable, str(restore), "cifar-10", str(root)], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A private PostgreSQL server, one for each test process; skips where its programs are not installed."""
    import postgres as servers  # only here, for it needs psycopg

    programs = servers.binaries()
    if programs is None:
        pytest.skip("POSTGRESQL NOT TESTED: no initdb in /usr/lib/postgresql or on PATH ('apt install postgresql')")
    with servers.cluster(programs) as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The place of a database without a run: a file that is not there yet, or tables on a server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'results' / 'ranbench.db'}"
        return
    with request.getfixturevalue("postgres").database("TEMPLATE migrated") as place:
        yield place
