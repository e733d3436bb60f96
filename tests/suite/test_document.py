"""A document's problems: placed, on one line, with the keys that are allowed."""

from __future__ import annotations

import pytest

from ranbench.errors import Problem
from ranbench.suite.document import Document, allowed_keys, clean, say
from ranbench.suite.form import SuiteFile

SCHEMA = SuiteFile.model_json_schema()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as it stands: 'é'", "as it stands: 'é'"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("half \ud800", "half \\ud800"),
        ("a" * 601, "a" * 600 + "..."),
    ],
)
def test_a_message_is_one_short_printable_line(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "nothing"),
        (True, "true"),
        (5, "5"),
        (0.1, "0.1"),
        ("fast", "'fast'"),
        ([], "a list"),
        ({}, "a mapping"),
        ("a" * 100, "'" + "a" * 79 + "..."),
    ],
)
def test_a_value_is_said_as_the_file_has_it(value: object, expected: str) -> None:
    assert say(value) == expected


def test_a_problem_is_placed_at_the_nearest_place_above_that_the_file_has() -> None:
    document = Document("a.yaml", "", {}, {(): (1, 1), ("cells",): (3, 1), ("cells", "matrix"): (4, 3)})

    problem = document.problem(("cells", "matrix", "model", 0), "is\nwrong")

    assert problem == Problem("a.yaml", 4, 3, "cells.matrix.model.0", "is\\nwrong")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (("paper",), ["arxiv", "table", "figure"]),
        (("cells",), ["fixed", "matrix", "include"]),
        (("datasets",), []),
        (("published", 0), ["cell", "metric", "value", "unit", "where", "approximate", "note"]),
        (
            ("claims", 0, "value"),
            ["id", "kind", "says", "where", "cell", "metric", "margin", "allow_scaled"],
        ),
        (("nowhere", 3, "at all"), []),
    ],
)
def test_allowed_keys_are_found_along_a_location(location: tuple[str | int, ...], expected: list[str]) -> None:
    assert allowed_keys(SCHEMA, location) == expected
