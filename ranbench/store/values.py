"""What the store answers beside records: claims on runs, texts of suites, artefacts. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Literal

from ranbench.records import Complexity, Environment, Owner

# What names the counts of a net: the hash of the net's own name and of what was counted.
COUNTS = ("net", *(counted.name for counted in fields(Complexity)))


@dataclass(frozen=True)
class Claimed:
    """The caller owns the attempt. Where ``resume`` is true, ``step`` iterations are recorded already.

    ``environment`` is the one that the attempt began in: a resume that cannot keep to it is inexact. ``uid`` names the
    attempt in every database.
    """

    attempt_id: int
    number: int
    resume: bool
    step: int
    environment: Environment
    uid: str = field(default="", compare=False)  # two claims of one database are told apart by their attempts


@dataclass(frozen=True)
class Refused:
    """The run is not for the caller; ``attempt_id`` is the newest attempt, ``owner`` who holds it."""

    reason: Literal["done", "failed", "held"]
    attempt_id: int
    owner: Owner | None = None


@dataclass(frozen=True)
class Exported:
    """A bundle that was written: its identity, the runs and files in it, its size in bytes.

    ``left_out``: files that were wanted and are not here, of attempts that came out of bundles.
    """

    bundle: str
    runs: int
    files: int
    size: int
    left_out: int = 0


@dataclass(frozen=True)
class Merged:
    """What a merge did: attempts that were added, and that were there already, of how many runs; files of weights."""

    bundle: str
    runs: int
    added: int
    known: int
    files: int = 0


@dataclass(frozen=True)
class SuiteText:
    """One version of a suite's text; ``recorded`` is when it was first seen, ``used`` when last.

    ``protocols``: the texts of the protocols that it names or was run with, by name; of several, the one used last.
    """

    name: str
    title: str
    text: str
    sha256: str
    recorded: datetime
    used: datetime
    protocols: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Artefact:
    """A file that belongs to an attempt; ``size`` in bytes, ``path`` relative to the folder of artefacts."""

    attempt_id: int
    kind: str
    path: str
    sha256: str
    size: int
