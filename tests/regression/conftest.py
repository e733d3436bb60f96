"""Small baselines and nights, one fixture for each noun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ranbench.regression import Baseline, CellResult, Header, Jobs, Place, SuiteResult, floors_of

PLACE = Place("cpu", "EPYC", "EPYC", 2, 1, "eager, channels_last", "2.14.1")
COUNTS = {"parameters": 62_778, "macs": 1_277_056}


def cell(label: str, errors: list[float], *, first: int = 0, ratios: tuple[float, ...] = ()) -> CellResult:
    """A cell with errors of seeds from ``first`` on, and losses that go with them."""
    seeds = range(first, first + len(errors))
    values = {"error_pct": dict(zip(seeds, errors, strict=True))}
    values["loss"] = {seed: error / 30 for seed, error in values["error_pct"].items()}
    jobs = Jobs({"step_ratio": ratios}, PLACE) if ratios else None
    places = dict.fromkeys(seeds, PLACE)
    return CellResult(f"id-{label}", label, COUNTS, values, {}, places, jobs)


def changed(suite: SuiteResult, label: str, **fields: object) -> SuiteResult:
    """The suite with other fields of one cell."""
    cells = tuple(replace(one, **fields) if one.label == label else one for one in suite.cells)  # type: ignore[arg-type]
    return replace(suite, cells=cells)


@pytest.fixture
def suite() -> SuiteResult:
    """A suite of two cells with five seeds and five jobs each, and a claim that was reproduced."""
    cells = (
        cell("small", [3.6, 4.4, 3.9, 4.1, 4.0], ratios=(1.50, 1.51, 1.49, 1.50, 1.52)),
        cell("large", [2.1, 2.9, 2.4, 2.6, 2.5], ratios=(4.50, 4.53, 4.49, 4.52, 4.55)),
    )
    return SuiteResult("tiny", "0" * 64, True, cells, {"large-wins": "reproduced"}, "suites/tiny.yaml")


@pytest.fixture
def night() -> SuiteResult:
    """The same suite with three other seeds, nothing changed."""
    cells = (
        cell("small", [3.8, 4.2, 4.1], first=50, ratios=(1.50, 1.51)),
        cell("large", [2.3, 2.7, 2.6], first=50, ratios=(4.51, 4.50)),
    )
    return SuiteResult("tiny", "0" * 64, True, cells, {"large-wins": "reproduced"}, "suites/tiny.yaml")


@pytest.fixture
def baseline_of() -> Callable[..., Baseline]:
    """Makes a baseline of suites."""

    def make(*suites: SuiteResult, **more: object) -> Baseline:
        header = Header("c0de", "abc", {"torch": "2.14.1"}, {"device": "cpu"})
        floors = tuple(floor for one in suites for floor in floors_of(one))
        return Baseline(header, {one.name: one for one in suites}, floors, **more)  # type: ignore[arg-type]

    return make
