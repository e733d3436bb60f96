"""Timing in turns, bounds that are judged and never typed, and one form of result for all benchmarks.

A benchmark is a script with ``main(options) -> Result``; ``script(main)`` runs it and prints what it found.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from ranbench.environment import describe
from ranbench.errors import EnvironmentProblem, RanbenchError

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Options:
    """``quick``: counts so small that only the form of the result means something; ``data``: folder of datasets."""

    quick: bool
    data: Path

    def count(self, full: int, quick: int) -> int:
        """Choose a count."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Target:
    """A measured value and the bound that it is held against; value None: not measured, and ``why`` not."""

    what: str
    value: float | None
    bound: Literal["at least", "at most"]
    target: float
    unit: str = "times"
    why: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value keeps to the bound; None where there is no value."""
        if self.value is None:
            return None
        return self.value >= self.target if self.bound == "at least" else self.value <= self.target


@dataclass(frozen=True)
class Result:
    """What a benchmark found; the first target is its headline.

    Args:
        targets: what was measured, with its bounds.
        lines: what else a reader should see, in words.
        samples: single measurements; names carry units.
        facts: further numbers by name, for machines.
        device: what was measured.
        path: the way through the engine, where there is one.
    """

    targets: list[Target]
    lines: list[str] = field(default_factory=list)
    samples: Samples = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    path: str = ""

    def as_dict(self, benchmark: str, quick: bool) -> dict[str, Any]:
        """Return plain JSON values, with the place and the code; a quick result is judged by nothing."""
        place = describe(self.device, torch.get_num_threads(), self.path)
        judged = [None if quick else one.met for one in self.targets]
        known = [met for met in judged if met is not None]
        return {
            "benchmark": benchmark,
            "ratio": self.targets[0].value,
            "target": self.targets[0].target,
            "met": all(known) if known else None,
            "targets": [
                {
                    "what": one.what,
                    "value": one.value,
                    "unit": one.unit,
                    "bound": one.bound,
                    "target": one.target,
                    "met": met,
                    "why": one.why,
                }
                for one, met in zip(self.targets, judged, strict=True)
            ],
            "lines": self.lines,
            "samples": self.samples,
            "facts": dict(self.facts),
            "quick": quick,
            "device": place.device,
            "device_name": place.device_name,
            "cpu": place.cpu,
            "threads": place.threads,
            "engine_path": place.engine_path,
            "python": place.python,
            "versions": dict(place.versions),
            "commit": place.commit,
            "dirty": place.dirty,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def script(main: Callable[[Options], Result]) -> None:
    """Run a benchmark from its own command line; errors that a user can mend are one line and their exit code."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="tiny counts, to see that it works; says nothing of speed")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="datasets (data/)")
    given = parser.parse_args()
    benchmark = Path(sys.argv[0]).stem.replace("_", "-")
    try:
        found = main(Options(quick=given.quick, data=given.data)).as_dict(benchmark, given.quick)
        found["text"] = in_words(found)
    except RanbenchError as error:
        print(f"ranbench: {benchmark}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if given.json:
        print(json.dumps(found, allow_nan=False))
    else:
        print("\n".join(found["text"]))


def in_words(found: Mapping[str, Any]) -> list[str]:
    """Say a result in lines."""
    changed = " with changes" if found["dirty"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return [
        f"{found['benchmark']} on {found['device_name']}, {found['threads']} threads",
        *(f"  {target_in_words(one)}" for one in found["targets"]),
        *(f"  {line}" for line in found["lines"]),
        *(["  quick: counts too small to judge by"] if found["quick"] else []),
        f"  {versions}; commit {(found['commit'] or 'unknown')[:12]}{changed}",
    ]


def target_in_words(one: Mapping[str, Any]) -> str:
    """Say one target: value, bound, and whether it is met."""
    bound = f"{one['bound']} {one['target']:,g} {one['unit']}".rstrip()
    unit = f" {one['unit']}" if one["unit"] else ""
    if one["value"] is None:
        return f"{one['what']}: not measured: {one['why']} (target: {bound})"
    judged = {True: "met", False: "NOT MET", None: "not judged"}[one["met"]]
    return f"{one['what']}: {one['value']:,.4g}{unit} (target: {bound}: {judged})"


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int, *, warm: int = 1) -> Samples:
    """Let each way measure itself once a round, forwards and backwards by turns, after rounds that do not count.

    What else the machine does then meets all ways alike.
    """
    for _ in range(warm):
        for way in ways.values():
            way()
    samples: Samples = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed(list(ways)):
            samples[name].append(ways[name]())
    return samples


def ratio(samples: Samples, over: str, under: str) -> float:
    """Return the median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(samples[over], samples[under], strict=True))


def spread(samples: Samples, over: str, under: str) -> str:
    """Say the smallest and the largest ratio of the rounds."""
    ratios = [a / b for a, b in zip(samples[over], samples[under], strict=True)]
    return f"{min(ratios):.3g} to {max(ratios):.3g} in {len(ratios)} rounds"


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def finish_queue(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cuda() -> torch.device:
    """Return the CUDA device.

    Raises:
        EnvironmentProblem: there is none.
    """
    if not torch.cuda.is_available():
        raise EnvironmentProblem("this machine has no usable CUDA device, and the benchmark is of one")
    return torch.device("cuda")
