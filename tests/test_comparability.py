"""Which fields make two results not comparable: every field of every spec in turn, then all that is recorded."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from test_spec import BASES, CHANGES, SCHEDULE_CHANGES, WARM_UP, run_spec
from test_store import HERE

from ranbench.comparability import PROVENANCE, REASONS, comparability, reason
from ranbench.records import Attempt, RunRecord, State
from ranbench.spec import CELL_FIELDS, RunSpec, Spec, field_differences, spec_fields

# What no cell consists of: two seeds are two samples of one cell.
NOT_OF_THE_CELL = {"seed"}
# What changes only together with the rest of its part, which is then named as a whole.
OF_THE_WHOLE = {"protocol.schedule.kind": "protocol.schedule"}


def attempt(spec: RunSpec, **changes: Any) -> Attempt:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    fields: dict[str, Any] = {
        "id": 1,
        "fingerprint": spec.fingerprint,
        "number": 1,
        "state": State.DONE,
        "reason": None,
        "error": None,
        "code_id": "a" * 64,
        "step": spec.protocol.iterations,
        "iterations": spec.protocol.iterations,
        "resumes": 0,
        "resumed_inexactly": False,
        "started": moment,
        "updated": moment,
        "ended": moment,
        "owner": None,
        "environment": HERE,
        "metrics": {"error_pct": 5.0},
    }
    return Attempt(**{**fields, **changes})


def record(spec: RunSpec, *attempts: Attempt) -> RunRecord:
    stored = spec.model_dump(mode="json")
    return RunRecord(spec.fingerprint, spec.cell_id, spec.seed, stored, attempts or (attempt(spec),))


def named(before: RunSpec, after: RunSpec) -> list[str]:
    return [found.field for found in comparability(record(before), record(after)).forbidding]


ALL_CHANGES = (
    *((BASES.get(path, {}), path, value) for path, value in CHANGES),
    *(
        ({"protocol__schedule": schedule}, f"protocol.schedule.{name}", value)
        for schedule, name, value in SCHEDULE_CHANGES
    ),
)


@pytest.mark.parametrize(("base", "path", "value"), ALL_CHANGES)
def test_every_field_of_a_cell_that_differs_changes_the_cell_and_is_named(
    base: dict[str, Any], path: str, value: Any
) -> None:
    before = run_spec(**base)
    after = run_spec(**base, **{path.replace(".", "__"): value})

    found = comparability(record(before), record(after))

    assert after.cell_id != before.cell_id
    assert (found.answer, path in [each.field for each in found.forbidding]) == ("not comparable", True)
    assert all(each.first != each.second and each.why for each in found.forbidding)


def test_every_field_of_every_spec_is_changed_above_or_listed_as_no_part_of_the_cell() -> None:
    changed = {path for _, path, _ in ALL_CHANGES}

    fields = set(spec_fields(RunSpec))

    assert fields - changed == NOT_OF_THE_CELL | OF_THE_WHOLE.keys()
    assert set(OF_THE_WHOLE.values()) <= changed
    assert changed - fields == {"noise", "protocol.schedule", "protocol.schedule.warm_up"}  # parts as a whole
    assert {path.split(".")[0] for path in fields} - NOT_OF_THE_CELL == set(CELL_FIELDS)


def test_every_field_of_a_cell_has_a_reason_and_one_without_is_noticed() -> None:
    reasons = {path: reason(path) for path in spec_fields(RunSpec) if path not in NOT_OF_THE_CELL}

    assert set(reasons.values()) == set(REASONS.values())
    with pytest.raises(KeyError):
        reason("colour.of.the.cover")


def test_the_fields_of_a_spec_are_those_of_all_its_parts() -> None:
    class Inner(Spec):
        number: float

    class Outer(Spec):
        part: Inner | None
        words: tuple[str, ...]
        truth: bool

    found = spec_fields(Outer)

    assert {path: (field.kind, field.optional) for path, field in found.items()} == {
        "part.number": ("number", True),
        "words": ("list", False),
        "truth": ("truth", False),
    }


def test_two_seeds_of_a_cell_are_two_samples_of_it() -> None:
    found = comparability(record(run_spec(seed=0)), record(run_spec(seed=3)))

    assert (found.answer, found.text) == ("comparable", "comparable: two samples of one cell, seeds 0 and 3")
    assert (found.forbidding, found.beside) == ((), ())


def test_a_run_and_itself_are_one_result() -> None:
    found = comparability(record(run_spec()), record(run_spec()))

    assert found.answer == "same run"
    assert found.text.startswith("the same run: 32e095353a69 is one result")


def test_parts_that_only_one_has_are_named_as_a_whole() -> None:
    plain, other = run_spec(), run_spec(noise={"rate": 0.1}, protocol__schedule__warm_up=WARM_UP)

    found = field_differences(plain, other)

    assert [(each.path, each.words) for each in found] == [
        ("noise", ("none", "rate 0.1")),
        ("protocol.schedule.warm_up", ("none", "iterations 500, start 0.1")),
    ]


def test_a_run_without_a_result_is_not_comparable_though_of_the_same_cell() -> None:
    first, second = run_spec(), run_spec(seed=1)
    failed = record(second, attempt(second, state=State.INTERRUPTED))

    found = comparability(record(first), failed)

    assert found.text == "not comparable, though of one cell, seeds 0 and 1"
    assert [(each.field, each.first, each.second) for each in found.forbidding] == [("state", "done", "interrupted")]
    shown = comparability(record(first), failed, lambda _: "as shown").forbidding[0]
    assert (shown.first, shown.second) == ("as shown", "as shown")


def test_other_code_is_not_comparable() -> None:
    first, second = run_spec(), run_spec(seed=1)

    found = comparability(record(first), record(second, attempt(second, code_id="b" * 64)))

    assert [(each.field, each.first, each.second) for each in found.forbidding] == [("code_id", "a" * 12, "b" * 12)]


def test_a_smoke_run_beside_a_whole_one_is_named_as_such() -> None:
    whole, smoke = run_spec(), run_spec(protocol__evaluation__images=512)

    assert named(whole, smoke) == ["protocol.evaluation.images", "fidelity"]


CHANGED_PLACES: dict[str, Any] = {
    "device": "cuda",
    "device_name": "another",
    "cpu": "another",
    "cores": 64,
    "threads": 8,
    "engine_path": "graph",
    "python": "3.13.0",
    "platform": "another",
    "versions": {"torch": "2.12.0"},
    "settings": {"OMP_NUM_THREADS": "4"},
}


@pytest.mark.parametrize("name", CHANGED_PLACES)
def test_what_differs_in_the_environment_is_told_and_forbids_nothing(name: str) -> None:
    first, second = run_spec(), run_spec(seed=1)
    elsewhere = dataclasses.replace(HERE, **{name: CHANGED_PLACES[name]})

    found = comparability(record(first), record(second, attempt(second, environment=elsewhere)))

    assert found.answer == "comparable"
    inside = {"versions": "versions.torch", "settings": "settings.OMP_NUM_THREADS"}
    assert [each.field for each in found.beside] == [inside.get(name, name)]


def test_where_a_result_comes_from_is_no_difference() -> None:
    first, second = run_spec(), run_spec(seed=1)
    values = {
        "memory_bytes": 1,
        "commit": "c",
        "dirty": not HERE.dirty,
        "patch": "p",
        "host": "h",
        "user": "u",
        "command": "c",
    }
    elsewhere = dataclasses.replace(HERE, **values)

    found = comparability(record(first), record(second, attempt(second, environment=elsewhere)))

    assert set(values) == set(PROVENANCE)
    assert (found.answer, found.beside) == ("comparable", ())


def test_how_it_was_run_is_told_and_forbids_nothing() -> None:
    first, second = run_spec(), run_spec(seed=1)
    other = attempt(second, resumed_inexactly=True, metrics={"error_pct": 5.0, "runs_at_once": 4.0})

    found = comparability(record(first), record(second, other))

    assert found.answer == "comparable"
    assert [(each.field, each.first, each.second) for each in found.beside] == [
        ("resumed_inexactly", "no", "yes"),
        ("runs_at_once", "none", "4"),
    ]
