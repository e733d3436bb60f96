"""What the free layer says of nets: of each something, and of those that a stop left out that it did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ranbench.errors import EnvironmentProblem, NothingMeasured
from ranbench.fixed_values import Context, FixedValues, compare
from ranbench.regression import Baseline, Finding, Header
from ranbench.runner import pace
from ranbench.runner.events import Observer, Stop
from ranbench.runner.free_layer import FreeLayer, _of_net
from ranbench.suite import load_suite

CONTEXT = Context("2.14.1", "AVX2", "EPYC", 1)
WHOLE = FixedValues("k", "net", {}, CONTEXT, {"macs": 10}, (1, 10), "", {"steps.losses": (2.0,)}, {"steps": "ab"})
FOREIGN = replace(WHOLE, values={}, hashes={}, problem="a foreign net has no fixed values")
UNTRUSTED = replace(FOREIGN, counts={}, output=(), problem="is not trusted")


def said(before: FixedValues, after: FixedValues) -> Finding:
    return _of_net(load_suite("quickstart"), compare([before], [after]))


@pytest.mark.parametrize(
    ("before", "after", "kind", "compared"),
    [
        (WHOLE, WHOLE, "unchanged", True),
        (FOREIGN, FOREIGN, "not comparable", True),  # its counts were
        (UNTRUSTED, UNTRUSTED, "not comparable", False),
        (UNTRUSTED, WHOLE, "not comparable", False),
        (UNTRUSTED, FOREIGN, "not comparable", False),
        (FOREIGN, replace(FOREIGN, counts={"macs": 11}), "regressed", True),
        (WHOLE, UNTRUSTED, "failed", False),
    ],
)
def test_a_net_with_a_problem_is_told_and_counts_as_compared_by_its_counts_alone(
    before: FixedValues, after: FixedValues, kind: str, *, compared: bool
) -> None:
    found = said(before, after)

    assert (str(found.kind), found.compared) == (kind, compared)
    assert found.text


def baseline(line: dict[str, object]) -> Baseline:
    return Baseline(Header("c", None, {}, {}), {}, (), (line,), file="baseline.jsonl", fixed_at=(7,))


def test_nets_behind_a_stop_are_neither_measured_nor_gone() -> None:
    stop = Stop()
    stop.request(15)
    line = {"kind": "fixed", "suites": ["quickstart"], **WHOLE.plain()}

    findings, lacking = FreeLayer([load_suite("quickstart")], Observer(), stop=stop).findings(baseline(line))

    stopped = [one for one in findings if one.text == "stopped before it was reached"]
    assert len(stopped) == 4
    assert {str(one.kind) for one in stopped} == {"cannot tell"}
    assert lacking


@pytest.mark.parametrize("change", [{"counts": {"macs": "many"}}, {"values": {"a": [10**400]}}, {"key": 3}, {"odd": 1}])
def test_a_damaged_line_of_fixed_values_is_named(change: dict[str, object]) -> None:
    line = {"kind": "fixed", "suites": ["quickstart"], **WHOLE.plain(), **change}

    with pytest.raises(NothingMeasured, match=r"^baseline\.jsonl:7: "):
        FreeLayer([load_suite("quickstart")], Observer()).findings(baseline(line))


def test_a_job_that_takes_too_long_is_a_problem_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LIMIT_SECONDS", 0.01)

    with pytest.raises(EnvironmentProblem, match=r"took more than 0\.01 seconds, and was ended"):
        pace._answer({})


def test_fixed_values_that_are_not_finite_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = replace(WHOLE, values={"steps.losses": (2.0, float("nan"))})
    monkeypatch.setattr(FreeLayer, "values", (odd,))

    with pytest.raises(NothingMeasured, match=r"fixed values steps\.losses are not finite"):
        FreeLayer([], Observer()).lines()
