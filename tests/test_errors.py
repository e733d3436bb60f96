"""The tree of errors: exit codes, and messages of one line."""

from __future__ import annotations

import weakref

import pytest

from ranbench import errors
from ranbench.errors import (
    Divergence,
    Problem,
    RanbenchError,
    SuiteError,
    chain,
    forget_frames,
    nearest,
    one_line,
)

PROBLEM = Problem("table3.yaml", 4, 9, "seeds", "got 'five'")


def test_every_error_has_the_exit_code_of_the_design() -> None:
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RanbenchError)
    }

    assert found == {
        "RanbenchError": 2,
        "UsageError": 2,
        "SuiteError": 2,
        "SpecError": 2,
        "StoreError": 7,
        "ClaimLost": 7,
        "MergeConflict": 7,
        "StoredSpecError": 7,
        "DataError": 7,
        "EnvironmentProblem": 7,
        "DeviceBroken": 7,
        "CheckpointError": 7,
        "Divergence": 3,
        "ProcessLost": 3,
        "TimedOut": 3,
        "NothingMeasured": 6,
    }


def test_a_problem_names_file_line_column_and_key() -> None:
    assert str(PROBLEM) == "table3.yaml:4:9: seeds: got 'five'"


def test_a_problem_without_a_key_names_the_place() -> None:
    assert str(Problem("a.yaml", 1, 2, "", "not YAML")) == "a.yaml:1:2: not YAML"


def test_a_suite_error_is_one_line_and_keeps_every_problem() -> None:
    error = SuiteError([PROBLEM, PROBLEM])

    assert str(error) == "table3.yaml:4:9: seeds: got 'five' (and 1 more: see 'ranbench validate')"
    assert error.problems == (PROBLEM, PROBLEM)


def test_a_suite_error_without_a_place_has_no_problems() -> None:
    error = SuiteError("no.yaml: no such file")

    assert str(error) == "no.yaml: no such file"
    assert error.problems == ()


def test_divergence_names_its_step() -> None:
    error = Divergence(7, float("nan"))

    assert (error.step, str(error)) == (7, "the training loss became nan at iteration 7")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("naiv", "; did you mean 'naive'?"), ("xyz", ""), ("", "")],
)
def test_the_nearest_name_is_suggested_only_where_there_is_one(name: str, expected: str) -> None:
    assert nearest(name, ("residual", "naive")) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("a\n  b\tc"), "a b c"), (KeyError(), "KeyError"), (ValueError("\n"), "ValueError")],
)
def test_an_exceptions_text_is_put_on_one_line(error: Exception, expected: str) -> None:
    assert one_line(error) == expected


def test_an_error_whose_frames_are_forgotten_keeps_nothing_alive_and_its_text() -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def fail() -> None:
        thing = Held()
        held.append(weakref.ref(thing))
        raise ValueError("first")

    def handle() -> None:
        try:
            fail()
        except ValueError as error:
            thing = Held()
            held.append(weakref.ref(thing))
            raise RuntimeError("second") from error

    with pytest.raises(RuntimeError) as caught:
        handle()
    kept = caught.value
    del caught

    forget_frames(kept)

    assert [thing() for thing in held] == [None, None]
    assert [str(each) for each in chain(kept)] == ["second", "first"]


def test_a_chain_of_errors_that_is_a_ring_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first

    found = list(chain(first))

    assert found == [first, second]
