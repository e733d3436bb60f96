"""A parsed file with the place of everything in it, and pydantic's findings told in its terms. No parsing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ranbench.errors import Problem, nearest

Path_ = tuple[str | int, ...]
Place = tuple[int, int]


def clean(text: str, limit: int = 600) -> str:
    """Return ``text`` on one line of at most ``limit`` characters, with what a terminal cannot print escaped."""
    head = text[:limit]
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in head)
    return f"{line}..." if len(text) > limit else line


def say(value: Any) -> str:
    """Say a value as the file has it: ``'fast'``, ``5``, ``true``, ``nothing``, ``a list``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return clean(repr(value), 80)


def problem_at(file: str, place: Place, path: Path_, text: str) -> Problem:
    """Describe a fault on one line, whatever characters the file's keys and values hold."""
    return Problem(clean(file), *place, clean(".".join(map(str, path)), 120), clean(text))


@dataclass(frozen=True)
class Document:
    """A parsed file: its text, its value, the place of every key and item in it, and the text of its numbers."""

    file: str
    text: str
    value: dict[str, Any]
    places: Mapping[Path_, Place] = field(repr=False)
    numbers: Mapping[Path_, str] = field(default_factory=dict, repr=False)

    def digits(self, path: Path_) -> int | None:
        """Count the significant digits of the number at ``path`` as it is written: 3 in ``11.0e6``, 2 in ``5600``."""
        mantissa, exponent, _ = self.numbers.get(path, "").lower().lstrip("+-").partition("e")
        figures = mantissa.replace(".", "").lstrip("0")
        if not figures.isdigit():
            return None
        return len(figures if exponent or "." in mantissa else figures.rstrip("0"))

    def problem(self, path: Path_, text: str) -> Problem:
        """Describe a fault at ``path``, or at the nearest place above it that the file has."""
        held = next(path[:length] for length in range(len(path), -1, -1) if path[:length] in self.places)
        return problem_at(self.file, self.places[held], path, text)

    def problems(self, error: ValidationError, schema: Mapping[str, Any]) -> list[Problem]:
        """Translate pydantic's findings; ``schema`` is the JSON schema, from which allowed keys are suggested.

        Unknown keys come first: a misspelt key is missing under its right name as well.
        """
        details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
        return [self._translate(detail, schema) for detail in details]

    def _translate(self, detail: ErrorDetails, schema: Mapping[str, Any]) -> Problem:
        path, got, kind = self._real_path(detail["loc"]), detail["input"], detail["type"]
        context: dict[str, Any] = detail.get("ctx", {})
        if kind == "extra_forbidden":
            keys = allowed_keys(schema, detail["loc"][:-1])
            return self.problem(path, f"unknown key{nearest(str(path[-1]), keys)} (allowed: {', '.join(keys)})")
        if kind == "missing":
            return self.problem(path, "this key is missing")
        if kind == "union_tag_not_found":
            return self.problem((*path, "kind"), "this key is missing")
        if kind == "union_tag_invalid":
            allowed = context["expected_tags"].replace("'", "")
            return self.problem((*path, "kind"), f"{say(context['tag'])} is not known (allowed: {allowed})")
        if kind == "value_error":
            whole = path if path in self.places else path[:-1]  # of a union member, whose name stands last
            return self.problem(whole, detail["msg"].removeprefix("Value error, "))
        if kind == "string_type":
            quotes = "" if got is None or isinstance(got, dict | list) else "; put it in quotes"
            return self.problem(path, f"expected text, got {say(got)}{quotes}")
        if kind == "string_pattern_mismatch":
            return self.problem(path, f"expected small letters, digits and hyphens, got {say(got)}")
        if kind == "too_short":
            return self.problem(path, "expected at least one value")
        if kind in ("model_type", "model_attributes_type", "dict_type"):
            return self.problem(path, f"expected a mapping, got {say(got)}")
        return self.problem(path, f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {say(got)}")

    def _real_path(self, location: tuple[str | int, ...]) -> Path_:
        """Drop the names of union members, which pydantic puts into a location but the file does not have."""
        path: Path_ = ()
        for position, part in enumerate(location):
            last = position == len(location) - 1
            if last or (*path, part) in self.places:
                path = (*path, part)
        return path


def allowed_keys(schema: Mapping[str, Any], location: tuple[str | int, ...]) -> list[str]:
    """Walk a JSON schema along ``location`` and list the keys it allows there."""
    definitions = schema.get("$defs", {})

    def resolve(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if "$ref" in node:
            return resolve(definitions[node["$ref"].rsplit("/", 1)[1]])
        options = [*node.get("anyOf", []), *node.get("oneOf", [])]
        return [found for option in options for found in resolve(option)] if options else [node]

    nodes = resolve(schema)
    for part in location:
        nodes = [found for node in nodes for following in _below(node, part) for found in resolve(following)]
    return list(dict.fromkeys(key for node in nodes for key in node.get("properties", {})))


def _below(node: Mapping[str, Any], part: str | int) -> list[Mapping[str, Any]]:
    """The schemas that ``part`` of a location leads to; the name of a union member leads to that member."""
    if isinstance(part, int):
        return [node.get("items", {})]
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    if node.get("properties", {}).get("kind", {}).get("const") == part:
        return [node]
    return []
