"""The file of a baseline: what is read is what was written, and whatever does not hold is refused with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ranbench.claims import Outcome
from ranbench.errors import NothingMeasured
from ranbench.regression import Baseline, Exempt, SuiteResult, read_baseline, write_baseline
from ranbench.regression.values import OUTCOMES

Make = Callable[..., Baseline]
EXCEPTION = Exempt("tiny", "small", "error_pct", "being looked into", "2027-03-31")


@pytest.fixture
def file(tmp_path: Path, suite: SuiteResult, baseline_of: Make) -> Path:
    """A baseline of one suite with an exception."""
    path = tmp_path / "baseline.jsonl"
    write_baseline(path, baseline_of(suite, exceptions=(EXCEPTION,)))
    return path


def test_what_is_read_is_what_was_written(file: Path, suite: SuiteResult, baseline_of: Make) -> None:
    found = read_baseline(file)

    by_label = tuple(sorted(suite.cells, key=lambda cell: cell.label))
    expected = baseline_of(replace(suite, cells=by_label, file=""), exceptions=(EXCEPTION,))
    assert found == replace(expected, floors=tuple(sorted(expected.floors, key=lambda floor: floor.metric)))
    assert found.suites["tiny"].cells[0].values["loss"][0] == 2.1 / 30  # every digit


def test_a_value_that_changes_changes_its_line_alone(file: Path, suite: SuiteResult, baseline_of: Make) -> None:
    before = file.read_text().splitlines()
    values = {**suite.cells[0].values, "error_pct": {**suite.cells[0].values["error_pct"], 3: 4.2}}
    cells = (replace(suite.cells[0], values=values), suite.cells[1])
    whole = baseline_of(suite, exceptions=(EXCEPTION,))

    write_baseline(file, replace(whole, suites={"tiny": replace(suite, cells=cells)}))

    after = file.read_text().splitlines()
    differing = [json.loads(now) for was, now in zip(before, after, strict=True) if was != now]
    assert [(line["kind"], line["metric"]) for line in differing] == [("values", "error_pct")]


def test_a_line_that_is_lost_is_told(file: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    kept = ("baseline", "exception")

    for number, line in enumerate(lines):
        if json.loads(line)["kind"] not in kept:
            file.write_text("".join(lines[:number] + lines[number + 1 :]))
            with pytest.raises(NothingMeasured, match=rf"^{file}:\d+: "):
                read_baseline(file)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("suite", {"kind": "siute"}, "kind 'siute' is not known; did you mean 'suite'?"),
        ("baseline", {"form": 2}, "form 2 was written by a newer version of ranbench, this one reads 1"),
        ("values", {"metric": "eror_pct"}, "metric: does not hold here: 'eror_pct'"),
        ("values", {"values": [1.0, 2.0]}, "5 seeds, 2 values and 5 places; one of each a run"),
        ("values", {"values": [1.0, "2", 3.0, 4.0, 5.0]}, "values: does not hold here"),
        ("values", {"seeds": [0, 0, 1, 2, 3]}, "one of each a run"),
        ("values", {"suite": "other"}, "suite 'other' has no line of its own before this one"),
        ("cell", {"extra": 1}, "unknown key 'extra'"),
        ("exception", {"until": "2027-02-30"}, "until: expected a day as YYYY-MM-DD, got '2027-02-30'"),
        ("exception", {"until": "20270331"}, "until: expected a day as YYYY-MM-DD, got '20270331'"),
        ("exception", {"until": "2027-W13-3"}, "until: expected a day as YYYY-MM-DD, got '2027-W13-3'"),
        ("claim", {"outcome": "reproducd"}, "outcome 'reproducd' is not known; did you mean 'reproduced'?"),
        ("cell", {"counts": {"macs": 10**400}}, "which is no measured number"),
        ("cell", {"failed": {"1" * 5000: "diverged"}}, "failed: does not hold here"),
        ("cell", {"failed": {"1": ["diverged"]}}, "failed: does not hold here"),
        ("cell", {"places": [[]]}, "a place: expected exactly"),
        ("values", {"metric": ["loss"]}, "metric: does not hold here"),
        ("baseline", {"lines": {}}, "lines: does not hold here"),
        ("exception", {"reason": " "}, "reason: does not hold here"),
        ("jobs", {"values": {"step_ratio": [-1.0]}}, "expected numbers above zero of a known metric"),
    ],
)
def test_what_does_not_hold_is_refused_with_its_line(
    file: Path, kind: str, change: dict[str, object], said: str
) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    number = next(index for index, line in enumerate(lines) if line["kind"] == kind)
    lines[number] |= change
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    with pytest.raises(NothingMeasured) as refused:
        read_baseline(file)

    assert str(refused.value).startswith(f"{file}:{number + 1}: ")
    assert said in str(refused.value)
    assert refused.value.exit_code == 6
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no baseline"),
        ("\n\n", "holds no baseline"),
        ("[1]\n", "1: expected an object of JSON"),
        ('{"kind": ' + "[" * 100_000 + "\n", "1: is no JSON"),
        ('{"kind": 1e999}\n', "1: holds 1e999, which is no measured number"),
        ('{"kind": NaN}\n', "1: holds NaN, which is no measured number"),
        ('{"kind": "baseline", "kind": "suite"}\n', "1: the key 'kind' stands twice"),
        ("<<<<<<< HEAD\n", "1: is no JSON"),
        ('{"kind": "suite"}\n', "1: expected the head of a baseline first"),
        (
            '{"kind": "baseline", "form": 1, "code_id": "c", "commit": null, "versions": {}, "environment": {}, '
            '"lines": {"suite": 0, "claim": 0, "floor": 0, "cell": 0, "values": 0, "jobs": 0, "fixed": 0}}\n',
            "empty",
        ),
    ],
)
def test_an_empty_or_broken_file_is_no_baseline(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "baseline.jsonl"
    path.write_text(text)

    with pytest.raises(NothingMeasured, match=said):
        read_baseline(path)


def test_a_file_that_is_not_there_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NothingMeasured, match=r"no such baseline; 'ranbench baseline save .* SUITE' makes one"):
        read_baseline(tmp_path / "none.jsonl")


@pytest.mark.parametrize("kind", ["suite", "claim", "floor", "cell", "values", "jobs", "fixed", "exception"])
def test_a_line_that_stands_twice_is_refused(file: Path, suite: SuiteResult, baseline_of: Make, kind: str) -> None:
    fixed = ({"kind": "fixed", "suites": ["tiny"], "key": "a"}, {"kind": "fixed", "suites": ["tiny"], "key": "b"})
    write_baseline(file, baseline_of(suite, exceptions=(EXCEPTION,), fixed=fixed))
    lines = file.read_text().splitlines(keepends=True)
    twice = next(line for line in lines if json.loads(line)["kind"] == kind)
    file.write_text("".join([*lines, twice]))

    with pytest.raises(NothingMeasured, match=rf"^{file}:{len(lines) + 1}: a second line of kind '{kind}'"):
        read_baseline(file)


def test_a_lost_line_of_fixed_values_is_told(file: Path, suite: SuiteResult, baseline_of: Make) -> None:
    fixed = ({"kind": "fixed", "suites": ["tiny"], "key": "a"}, {"kind": "fixed", "suites": ["tiny"], "key": "b"})
    write_baseline(file, baseline_of(suite, fixed=fixed))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))

    with pytest.raises(NothingMeasured, match="says 2 lines of kind 'fixed', but 1 stand in the file"):
        read_baseline(file)


def test_any_value_in_place_of_any_other_is_read_or_refused_in_one_line(file: Path) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    firsts = {line["kind"]: number for number, line in reversed(list(enumerate(lines)))}

    for number in firsts.values():
        for key in lines[number]:
            for odd in (None, -1, 2**62, [[]], {"a": []}):
                changed = [{**line, key: odd} if index == number else line for index, line in enumerate(lines)]
                file.write_text("".join(json.dumps(line) + "\n" for line in changed))
                try:
                    read_baseline(file)
                except NothingMeasured as error:
                    assert str(error).startswith(f"{file}"), (key, odd)
                    assert "\n" not in str(error)


def test_separators_of_unicode_in_a_string_end_no_line(tmp_path: Path, suite: SuiteResult, baseline_of: Make) -> None:
    path = tmp_path / "baseline.jsonl"
    line = replace(EXCEPTION, reason="one\u2028two\u2029three\x85four")
    write_baseline(path, baseline_of(suite, exceptions=(line,)))

    assert read_baseline(path).exceptions == (line,)


def test_outcomes_of_claims_are_those_that_claims_have() -> None:
    assert set(OUTCOMES) == {str(one) for one in Outcome}
