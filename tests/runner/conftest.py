from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ranbench.store import Store

# The command line, with some checkpoints in a run of seconds and a line of progress for each iteration.
COMMAND = """
from ranbench.cli import main, progress
from ranbench.training import checkpoint

checkpoint.FIRST_AFTER, checkpoint.APART, checkpoint.SHARE = 0.1, 0.1, 0.5
progress.LINE_EVERY = 0.0
main()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    with Store.open(f"sqlite:///{tmp_path}/results/ranbench.db") as store:
        yield store
