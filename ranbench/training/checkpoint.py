"""Checkpoints on disk: safetensors, named by step and content hash, written whole or not at all; two are kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ranbench.errors import CheckpointError, one_line

KEEP = 2
FIRST_AFTER = 2.0  # seconds of a command's work on a run
APART = (
    10.0  # seconds between later ones at least: records are written with each, and may cost a thousandth of the time
)
SHARE = 0.01  # of the time may go into checkpoints

_NAME = re.compile(r"(\d{9})-([0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A state that was read back: tensors and plain values as ``Training.state`` gave them."""

    step: int
    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


class Checkpoints:
    """The checkpoints of one attempt, in one folder.

    ``sharing``: how many runs wait while one of them writes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.sharing = 1
        self._last = time.monotonic()
        self._cost: float | None = None  # of the last one written here

    def due(self) -> bool:
        """Tell whether it is time: soon, then seldom, and so rarely that all runs write in under 1 % of the time."""
        apart = FIRST_AFTER if self._cost is None else max(APART, self.sharing * self._cost / SHARE)
        return time.monotonic() - self._last >= apart

    def write(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> Path:
        """Write a state, then delete all but the newest two.

        Raises:
            CheckpointError: it cannot be written (full disk, read-only folder); older ones are untouched.
        """
        began = time.monotonic()
        held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        content = save(held, metadata={"values": json.dumps(values)})
        name = f"{values['step']:09d}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        path = self.folder / name
        try:
            write_whole(path, content)
            for _, old in self._found()[KEEP:]:
                old.unlink(missing_ok=True)
        finally:  # a full disk is not tried again at every iteration
            self._last = time.monotonic()
            self._cost = self._last - began
        return path

    def take_over(self, older: Path, recorded: int) -> str | None:
        """Take what lies in a folder of an older name, unless there is something of this name; say why not.

        The older name may be that of another database's attempt too. Where that one is further than the ``recorded``
        iterations, the folder is its own.
        """
        if self.folder.exists() or not older.is_dir():
            return None
        steps = [step for step, _ in Checkpoints(older)._found()]
        if not steps:
            return None
        if steps[0] > recorded:
            return f"{older.name}: {_ahead(steps[0], recorded)}, so these are another attempt's; training begins anew"
        try:
            older.rename(self.folder)
        except OSError as error:
            return f"{older.name}: cannot be taken over: {one_line(error)}; training begins anew"
        return None

    def newest(self, recorded: int | None = None) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest state that is whole, and one line for each other that was passed over.

        Passed over is a damaged one, and one beyond the ``recorded`` iterations where they are given, as beside a
        database that was set back to an older copy: what was measured up to there is not known. Such files are put
        aside as ``*.damaged`` and ``*.ahead``, so that they do not push out those that follow.
        """
        notes: list[str] = []
        found = self._found()
        for index, (step, path) in enumerate(found):
            then = "the one before it is tried" if index + 1 < len(found) else "training begins anew"
            if recorded is not None and step > recorded:
                path.replace(path.with_name(path.name + ".ahead"))
                notes.append(f"{path.name}: {_ahead(step, recorded)}; {then}")
                continue
            try:
                return read_checkpoint(path), notes
            except CheckpointError as error:
                path.replace(path.with_name(path.name + ".damaged"))
                notes.append(f"{error}; {then}")
        return None, notes

    def clear(self) -> None:
        """Delete all checkpoints of the attempt."""
        for _, path in self._found():
            path.unlink(missing_ok=True)
        for pattern in ("*.part", "*.damaged", "*.ahead"):
            for rest in self.folder.glob(pattern):
                rest.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not there, or something else was put inside
            self.folder.rmdir()

    def _found(self) -> list[tuple[int, Path]]:
        """All checkpoints, newest first."""
        matches = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("*.safetensors"))
        return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _ahead(step: int, recorded: int) -> str:
    return f"holds iteration {step:,}, beyond the {recorded:,} that are recorded"


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint, after its content hash was compared with its name.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        content = path.read_bytes()
        name = _NAME.fullmatch(path.name)
        if name is None or hashlib.sha256(content).hexdigest()[:16] != name[2]:
            raise CheckpointError(f"{path.name}: damaged checkpoint, its content does not match its name")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        values = json.loads(header["__metadata__"]["values"])
        if values["step"] != int(name[1]):
            raise CheckpointError(f"{path.name}: damaged checkpoint, it holds iteration {values['step']}")
        return Checkpoint(int(name[1]), load(content), values)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{path.name}: damaged checkpoint: {one_line(error)}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut: sync, rename, sync the folder.

    Raises:
        CheckpointError: it cannot be written.
    """
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written: {one_line(error)}") from None


def weights_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the net's weights alone, as a safetensors file's content; equal weights give equal bytes."""
    kept = {name[4:]: value.detach().cpu().contiguous() for name, value in tensors.items() if name.startswith("net/")}
    return save(kept)
