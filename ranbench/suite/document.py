"""YAML text -> plain values with the place of each: strict YAML 1.2, data only.

Refused: duplicate keys, tags, aliases that expand without bound, numbers with a leading zero, files that are no text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ranbench.errors import Problem, SuiteError, nearest

MAX_BYTES = 1_000_000
MAX_NODES = 20_000

Path_ = tuple[str | int, ...]
Place = tuple[int, int]

_CORE = "tag:yaml.org,2002:"
_LEADING_ZERO = re.compile(r"[-+]?0\d+(\.\d*)?")
_INT = re.compile(r"[-+]?(0|[1-9]\d*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True)
class Document:
    """A parsed file: its text, its value, and the place of every key and item in it."""

    file: str
    text: str
    value: Any
    places: Mapping[Path_, Place] = field(repr=False)

    def problem(self, path: Path_, text: str) -> Problem:
        """Describe a fault at ``path``, or at the nearest place above it that the file has."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                line, column = self.places[path[:length]]
                return Problem(self.file, line, column, ".".join(map(str, path)), text)
        return Problem(self.file, 1, 1, ".".join(map(str, path)), text)

    def problems(self, error: ValidationError, known: Mapping[str, Any]) -> list[Problem]:
        """Translate pydantic's findings; ``known`` is the JSON schema, from which allowed keys are suggested."""
        return [self._translate(detail, known) for detail in error.errors(include_url=False)]

    def _translate(self, detail: ErrorDetails, schema: Mapping[str, Any]) -> Problem:
        path, got = self._real_path(detail["loc"]), detail["input"]
        kind, message = detail["type"], detail["msg"]
        if kind == "extra_forbidden":
            keys = allowed_keys(schema, detail["loc"][:-1])
            hint = nearest(str(path[-1]), keys) if path else ""
            return self.problem(path, f"unknown key{hint} (allowed: {', '.join(keys)})")
        if kind == "missing":
            return self.problem(path, "this key is missing")
        if kind == "value_error":
            return self.problem(path, message.removeprefix("Value error, "))
        if isinstance(got, dict | list):
            return self.problem(path, f"{_lower(message)}, got a {'mapping' if isinstance(got, dict) else 'list'}")
        return self.problem(path, f"{_lower(message)}, got {str(got)[:80]!r}")

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
        following: list[Mapping[str, Any]] = []
        for node in nodes:
            if isinstance(part, int):
                following += resolve(node.get("items", {}))
            elif part in node.get("properties", {}):
                following += resolve(node["properties"][part])
            elif isinstance(node.get("additionalProperties"), Mapping):
                following += resolve(node["additionalProperties"])
            elif node.get("properties", {}).get("kind", {}).get("const") == part:
                following.append(node)
        nodes = following
    return list(dict.fromkeys(key for node in nodes for key in node.get("properties", {})))


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        SuiteError: missing, not a file, not UTF-8 text, or larger than a suite can be.
    """
    if path.is_dir():
        raise SuiteError(f"{path}: is a directory, expected a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise SuiteError(f"{path}: larger than {MAX_BYTES:,} bytes, which no suite is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not UTF-8 text (byte {error.start}), expected a YAML file") from None


def read(path: Path) -> Document:
    """Parse one YAML file.

    Raises:
        SuiteError: see the module's docstring; with line and column.
    """
    text = read_text(path)
    parser = YAML(typ="safe", pure=True)
    try:
        node = parser.compose(text)
        if node is None:
            raise SuiteError(f"{path}: is empty, expected a mapping")
        builder = _Builder(str(path))
        value = builder.build(node, (), frozenset())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SuiteError(
            [Problem(str(path), place[0], place[1], "", f"not YAML: {_flat(error.problem or error.context)}")]
        ) from None
    except YAMLError as error:
        raise SuiteError(f"{path}: not YAML: {_flat(error)}") from None
    except RecursionError:
        raise SuiteError(f"{path}: nested too deeply") from None
    if not isinstance(value, dict):
        raise SuiteError(f"{path}: expected a mapping at the top, got a {type(value).__name__}")
    return Document(str(path), text, value, builder.places)


class _Builder:
    """Turns nodes into values, counting what aliases expand to."""

    def __init__(self, file: str):
        self.file = file
        self.places: dict[Path_, Place] = {(): (1, 1)}
        self.count = 0

    def build(self, node: Node, path: Path_, above: frozenset[int]) -> Any:
        self.count += 1
        if self.count > MAX_NODES or id(node) in above:
            raise self._error(node, path, f"aliases expand to more than {MAX_NODES:,} values")
        self.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, SequenceNode):
            self._check_tag(node, path, "seq")
            inside = above | {id(node)}
            return [self.build(item, (*path, index), inside) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            self._check_tag(node, path, "map")
            return self._mapping(node, path, above | {id(node)})
        raise self._error(node, path, f"unexpected {type(node).__name__}")

    def _mapping(self, node: MappingNode, path: Path_, above: frozenset[int]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._error(key_node, path, "a key must be text")
            key = key_node.value
            here = (*path, key)
            if key in result:
                raise self._error(key_node, here, f"key {key!r} stands twice, first in line {self.places[here][0]}")
            self.places[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = self.build(value_node, here, above)
        return result

    def _scalar(self, node: ScalarNode, path: Path_) -> Any:
        text = node.value
        if node.style is not None:  # quoted or block text
            self._check_tag(node, path, "str")
            return text
        if not str(node.tag).startswith(_CORE) or "/" in str(node.tag):
            raise self._error(node, path, f"tag {str(node.tag)!r} is not allowed; a suite holds plain data")
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _LEADING_ZERO.fullmatch(text):
            raise self._error(node, path, f"number {text!r} has a leading zero; write it without, or in quotes as text")
        if _INT.fullmatch(text):
            return int(text, 0)
        return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text) else text

    def _check_tag(self, node: Node, path: Path_, allowed: str) -> None:
        if str(node.tag) != _CORE + allowed:
            raise self._error(node, path, f"tag {str(node.tag)!r} is not allowed; a suite holds plain data")

    def _error(self, node: Node, path: Path_, text: str) -> SuiteError:
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        return SuiteError([Problem(self.file, *place, ".".join(map(str, path)), text)])


def _flat(value: object) -> str:
    return " ".join(str(value).split())


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
