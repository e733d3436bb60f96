"""YAML text -> plain values with the place of each: strict YAML 1.2, data only.

Refused: duplicate keys, keys that are no text, merge keys, tags, directives, an anchor named twice, aliases that expand
without bound, numbers with a leading zero, deep nesting, files that are no text. The events of the file are looked
through first, since composing a hostile one would take memory, time or the interpreter's stack.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from ranbench.errors import SuiteError
from ranbench.suite.document import Document, Path_, Place, clean, problem_at, say

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 40
MAX_DIGITS = 15  # whole numbers that a float holds exactly

_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_FLOAT = re.compile(_NUMBER + r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"(?=[-+]?0[0-9])" + _NUMBER)
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_TOO_MANY = f"more than {MAX_VALUES:,} values (an alias counts as all that it stands for), which no suite has"
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep, which no suite is"
# Where a node starts and whether it is a scalar: a mapping and its first key may start at the same character.
NodeKey = tuple[int, bool]


def read(path: Path) -> Document:
    """Parse one YAML file.

    Raises:
        SuiteError: see the module's docstring; with line and column where the fault has a place.
    """
    return parse(str(path), read_text(path))


def parse(file: str, text: str) -> Document:
    """Parse the text of a file that is called ``file`` in errors; raises as ``read``."""
    if len(text) > MAX_BYTES:
        raise SuiteError(clean(f"{file}: larger than {MAX_BYTES:,} bytes, which no suite is"))
    try:
        tags = _look_through(file, text)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(file, mark, (), f"not YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError, OverflowError) as error:  # the last two: an escape for no existing character
        raise SuiteError(clean(f"{file}: not YAML: {' '.join(str(error).split())}")) from None
    if node is None:
        raise SuiteError(clean(f"{file}: is empty, expected a mapping"))
    builder = _Builder(file, tags)
    value = builder.build(node, (), frozenset())
    if not isinstance(value, dict):
        raise _refusal(file, node.start_mark, (), f"expected a mapping at the top, got {say(value)}")
    return Document(file, text, value, builder.places, builder.numbers)


def heading(text: str) -> tuple[str, str] | None:
    """Return the name and the title that stand in the text of a suite; None where it is none that can be read."""
    try:
        value = parse("suite", text).value
    except SuiteError:
        return None
    found = (value.get("name"), value.get("title"))
    return found if isinstance(found[0], str) and isinstance(found[1], str) else None  # type: ignore[return-value]


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        SuiteError: missing, not a file, not UTF-8 text, or larger than a suite can be.
    """
    try:
        if path.is_dir():
            raise SuiteError(clean(f"{path}: is a directory, expected a YAML file"))
        if path.exists() and not path.is_file():
            raise SuiteError(clean(f"{path}: is not a regular file, expected a YAML file"))
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SuiteError(clean(f"{path}: no such file")) from None
    except OSError as error:
        raise SuiteError(clean(f"{path}: cannot be read: {error.strerror}")) from None
    except ValueError as error:
        raise SuiteError(clean(f"{path}: cannot be read: {error}")) from None
    if len(content) > MAX_BYTES:
        raise SuiteError(clean(f"{path}: larger than {MAX_BYTES:,} bytes, which no suite is"))
    if b"\0" in content:
        raise SuiteError(clean(f"{path}: not text (byte {content.index(0)} is 0), expected a YAML file"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuiteError(clean(f"{path}: not UTF-8 text (byte {error.start}), expected a YAML file")) from None


def _look_through(file: str, text: str) -> dict[NodeKey, str]:
    """Check size, depth, anchors and directives of a file; return the tags that are written out in it."""
    depth = values = 0
    anchors: set[str] = set()
    tags: dict[NodeKey, str] = {}
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        values += isinstance(event, NodeEvent)
        if depth > MAX_DEPTH:
            raise _refusal(file, event.start_mark, (), _TOO_DEEP)
        if values > MAX_VALUES:
            raise _refusal(file, event.start_mark, (), _TOO_MANY)
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            raise _refusal(file, event.start_mark, (), "directives (%YAML, %TAG) are not allowed")
        if isinstance(event, NodeEvent) and not isinstance(event, AliasEvent):
            if event.anchor in anchors:
                raise _refusal(file, event.start_mark, (), f"anchor {event.anchor!r} stands twice")
            if event.anchor:
                anchors.add(event.anchor)
            tag = _tag(event)
            if tag:
                tags[event.start_mark.index, not isinstance(event, CollectionStartEvent)] = tag
    return tags


def _tag(event: Event) -> str | None:
    tag = getattr(event, "tag", None)
    return None if tag is None else str(tag).replace("tag:yaml.org,2002:", "!!")


def _refusal(file: str, mark: StringMark | None, path: Path_, text: str) -> SuiteError:
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return SuiteError([problem_at(file, place, path, text)])


class _Builder:
    """Turns nodes into values, counting what aliases expand to."""

    def __init__(self, file: str, tags: dict[NodeKey, str]):
        self.file = file
        self.tags = tags
        self.places: dict[Path_, Place] = {(): (1, 1)}
        self.numbers: dict[Path_, str] = {}
        self.count = 0

    def build(self, node: Node, path: Path_, above: frozenset[int]) -> Any:
        self._check(node, path, above)
        self.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, ScalarNode):
            value = self._scalar(node, path)
            if isinstance(value, int | float):
                self.numbers[path] = node.value
            return value
        inside = above | {id(node)}
        if isinstance(node, MappingNode):
            return self._mapping(node, path, inside)
        return [self.build(item, (*path, index), inside) for index, item in enumerate(node.value)]

    def _check(self, node: Node, path: Path_, above: frozenset[int]) -> None:
        self.count += 1
        if id(node) in above:
            raise self._error(node, path, "an alias stands inside what it names")
        if self.count > MAX_VALUES:
            raise self._error(node, path, _TOO_MANY)
        if len(path) > MAX_DEPTH:
            raise self._error(node, path, _TOO_DEEP)
        tag = self.tags.get((node.start_mark.index, isinstance(node, ScalarNode)))
        if tag is not None:
            raise self._error(node, path, f"tag {tag!r} is not allowed; a suite holds plain data")

    def _mapping(self, node: MappingNode, path: Path_, above: frozenset[int]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            here = (*path, key)
            if key in result:
                raise self._error(key_node, here, f"this key stands twice, first in line {self.places[here][0]}")
            self.places[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = self.build(value_node, here, above)
        return result

    def _key(self, node: Node, path: Path_) -> str:
        if not isinstance(node, ScalarNode):
            raise self._error(node, path, "a key must be text, got a list or mapping")
        self._check(node, path, frozenset())
        if node.style is None and node.value == "<<":
            raise self._error(node, (*path, "<<"), "merge keys are not allowed; write the keys out")
        key = self._scalar(node, path)
        if not isinstance(key, str):
            raise self._error(node, path, f"a key must be text, got {say(key)}")
        return key

    def _scalar(self, node: ScalarNode, path: Path_) -> Any:
        text = node.value
        if node.style is not None:  # quoted or block text
            if any("\ud800" <= char <= "\udfff" for char in text):
                raise self._error(node, path, "half of a surrogate pair is no text")
            return text
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _LEADING_ZERO.fullmatch(text):
            raise self._error(
                node, path, f"number {say(text)} has a leading zero; write it without, or in quotes as text"
            )
        if _INT.fullmatch(text):
            if len(text) > MAX_DIGITS:
                raise self._error(node, path, f"number {say(text)} is longer than {MAX_DIGITS} digits")
            return int(text, 0)
        return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text) if _FLOAT.fullmatch(text) else text

    def _error(self, node: Node, path: Path_, text: str) -> SuiteError:
        return _refusal(self.file, node.start_mark, path, text)
