"""What a killed command leaves in the folder for temporary files is cleared by the next, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ranbench.execution.scratch import Scratch

HOLDS = "import sys, time; from ranbench.execution.scratch import Scratch; held = Scratch('rb-test-'); "


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_folder_goes_when_it_is_closed_once_or_twice(temporary: Path) -> None:
    scratch = Scratch("rb-test-")
    (scratch.path / "file").write_text("content")

    scratch.close()
    scratch.close()

    assert names(temporary) == set()


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_holds_stays(temporary: Path) -> None:
    words = [sys.executable, "-c", HOLDS + "print(held.path.name, flush=True); time.sleep(600)"]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, living = ((process.stdout.readline().strip() if process.stdout else "") for process in processes)
    (temporary / "rb-test-of-others").mkdir()
    processes[0].kill()
    processes[0].communicate()

    mine = Scratch("rb-test-")

    assert names(temporary) == {living, mine.path.name, "rb-test-of-others"}
    assert killed not in names(temporary)
    mine.close()
    processes[1].kill()
    processes[1].communicate()


def test_a_link_to_a_folder_elsewhere_is_left_alone(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "lock").touch()
    (temporary / "rb-test-link").symlink_to(elsewhere)

    Scratch("rb-test-").close()

    assert names(temporary) == {"rb-test-link"}
    assert names(elsewhere) == {"lock"}
