"""Strict YAML 1.2: what is a number, what is text, and every file that is refused."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ranbench.errors import SuiteError
from ranbench.suite.reading import read

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("0", 0),
        ("0.0", 0.0),
        ("+7", 7),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("no", "no"),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("inf", "inf"),
        ("nan", "nan"),
        ("2017-04-23", "2017-04-23"),
        ("12:30", "12:30"),
        ("1\u0662", "1\u0662"),
        ("'5'", "5"),
        ('"1e-4"', "1e-4"),
        ("'007'", "007"),
        ("'true'", "true"),
        ("''", ""),
        ('"<<"', "<<"),
        ("[1, no, 1e1]", [1, "no", 10.0]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("|\n  two\n  lines", "two\nlines\n"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(tmp_path: Path, text: str, value: Any) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"key: {text}\n", encoding="utf-8")

    read_value = read(file).value["key"]

    assert (read_value, type(read_value)) == (value, type(value))


def test_nan_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("key: .nan\n")

    value = read(file).value["key"]

    assert math.isnan(value)


def test_every_key_and_item_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("first: 1\nsecond:\n  - a\n  - {b: c}\n")

    document = read(file)

    assert document.places == {
        (): (1, 1),
        ("first",): (1, 1),
        ("second",): (2, 1),
        ("second", 0): (3, 5),
        ("second", 1): (4, 5),
        ("second", 1, "b"): (4, 6),
    }


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: a\n")

    assert read(file).value == {"name": "a"}


def test_an_alias_stands_for_its_anchors_value_at_its_own_path(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: &x {b: 1}\nc: *x\n")

    document = read(file)

    assert document.value == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.places["c", "b"] == (1, 8)


MANY = "more than 20,000 values (an alias counts as all that it stands for), which no suite has"
REFUSED = {
    "key twice": ("lr: 1\nlr: 2\n", ":2:1: lr: this key stands twice, first in line 1"),
    "key twice, once quoted": ("a: {lr: 1, 'lr': 2}\n", ":1:12: a.lr: this key stands twice, first in line 1"),
    "python object": (
        "a: !!python/object:os.system {}\n",
        ":1:4: a: tag '!!python/object:os.system' is not allowed; a suite holds plain data",
    ),
    "python call": (
        "a: !!python/object/apply:os.system [ls]\n",
        ":1:4: a: tag '!!python/object/apply:os.system' is not allowed; a suite holds plain data",
    ),
    "python name": (
        "- !!python/name:os.system\n",
        ":1:3: 0: tag '!!python/name:os.system' is not allowed; a suite holds plain data",
    ),
    "own tag": ("a: !include b.yaml\n", ":1:4: a: tag '!include' is not allowed; a suite holds plain data"),
    "plain tag": ("a: !!str 5\n", ":1:4: a: tag '!!str' is not allowed; a suite holds plain data"),
    "tag on quoted text": ("a: !!int '5'\n", ":1:4: a: tag '!!int' is not allowed; a suite holds plain data"),
    "binary tag": ("a: !!binary aGk=\n", ":1:4: a: tag '!!binary' is not allowed; a suite holds plain data"),
    "bare tag": ("a: ! 5\n", ":1:4: a: tag '!' is not allowed; a suite holds plain data"),
    "tag on a key": ("!!str a: 5\n", ":1:1: tag '!!str' is not allowed; a suite holds plain data"),
    "tag on a mapping": ("!!omap\na: 5\n", ":1:1: tag '!!omap' is not allowed; a suite holds plain data"),
    "leading zero": (
        "a: 010\n",
        ":1:4: a: number '010' has a leading zero; write it without, or in quotes as text",
    ),
    "leading zero of a fraction": (
        "a: -00.5e1\n",
        ":1:4: a: number '-00.5e1' has a leading zero; write it without, or in quotes as text",
    ),
    "huge whole number": (
        f"a: {'9' * 5000}\n",
        f":1:4: a: number '{'9' * 79}... is longer than 15 digits",
    ),
    "merge key": ("a: {<<: {b: 1}}\n", ":1:5: a.<<: merge keys are not allowed; write the keys out"),
    "number as a key": ("a: {1: 2}\n", ":1:5: a: a key must be text, got 1"),
    "truth as a key": ("true: 2\n", ":1:1: a key must be text, got true"),
    "nothing as a key": ("~: 2\n", ":1:1: a key must be text, got nothing"),
    "list as a key": ("? [a]\n: 2\n", ":1:3: a key must be text, got a list or mapping"),
    "recursive alias": ("a: &a [*a]\n", ":1:4: a.0: an alias stands inside what it names"),
    "recursive mapping": ("a: &a {b: *a}\n", ":1:4: a.b: an alias stands inside what it names"),
    "unknown alias": ("a: *b\n", ":1:4: not YAML: found undefined alias 'b'"),
    "anchor twice": ("a: &x 1\nb: &x 2\n", ":2:4: anchor 'x' stands twice"),
    "alias bomb": (BOMB, f":1:16: e.1.5.2.2.4: {MANY}"),
    "many values": ("[" + "0," * 30_000 + "]", f":1:40000: {MANY}"),
    "deep brackets": ("[" * 100_000, ":1:41: nested more than 40 deep, which no suite is"),
    "deep braces": ("{a: " * 100_000, ":1:161: nested more than 40 deep, which no suite is"),
    "deep dashes": ("- " * 100_000, ":1:81: nested more than 40 deep, which no suite is"),
    "depth by aliases": (
        f"a: &a {'[' * 30}x{']' * 30}\nb: {'[' * 20}*a{']' * 20}\n",
        f":1:27: b{'.0' * 40}: nested more than 40 deep, which no suite is",
    ),
    "empty": ("", ": is empty, expected a mapping"),
    "comment only": ("# nothing\n", ": is empty, expected a mapping"),
    "list at the top": ("- a\n", ":1:1: expected a mapping at the top, got a list"),
    "number at the top": ("5\n", ":1:1: expected a mapping at the top, got 5"),
    "nothing at the top": ("---\n...\n", ":2:1: expected a mapping at the top, got nothing"),
    "two documents": ("a: 1\n---\nb: 1\n", ":2:1: not YAML: but found another document"),
    "directive": ("%YAML 1.1\n---\na: 1\n", ":2:1: directives (%YAML, %TAG) are not allowed"),
    "tab": ("a:\n\tb: 1\n", ":2:1: not YAML: found character '\\t' that cannot start any token"),
    "open quote": ("a: 'b\n", ":2:1: not YAML: found unexpected end of stream"),
    "two keys in a line": ("a: b: c\n", ":1:5: not YAML: mapping values are not allowed here"),
    "surrogate": ('a: "\\ud800"\n', ":1:4: a: half of a surrogate pair is no text"),
    "NUL": ("a: \0\n", ": not text (byte 3 is 0), expected a YAML file"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_not_plain_data_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError) as refused:
        read(file)

    assert str(refused.value) == f"{file}{message}"
    assert refused.value.exit_code == 2


def test_an_escape_for_no_existing_character_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text('a: "\\UFFFFFFFF"\n')

    with pytest.raises(SuiteError, match=r"a\.yaml: not YAML: "):
        read(file)


def test_a_hostile_file_is_refused_in_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("[0," * 200_000)
    start = time.monotonic()

    with pytest.raises(SuiteError):
        read(file)

    assert time.monotonic() - start < 5


def test_ten_megabytes_are_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a" * 10_000_000)

    with pytest.raises(SuiteError) as refused:
        read(file)

    assert str(refused.value) == f"{file}: larger than 1,000,000 bytes, which no suite is"


@pytest.mark.parametrize(
    ("content", "byte"),
    [(b"\x89PNG\r\n", 0), (b"a: \xff\n", 3), ("a: \u00e9\n".encode("latin-1"), 3)],
)
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes, byte: int) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)

    with pytest.raises(SuiteError) as refused:
        read(file)

    assert str(refused.value) == f"{file}: not UTF-8 text (byte {byte}), expected a YAML file"


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as missing:
        read(tmp_path / "no.yaml")
    with pytest.raises(SuiteError) as directory:
        read(tmp_path)

    assert str(missing.value) == f"{tmp_path / 'no.yaml'}: no such file"
    assert str(directory.value) == f"{tmp_path}: is a directory, expected a YAML file"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\0b.yaml", "a\\x00b.yaml: cannot be read: embedded null byte"),
        ("a\nb.yaml", "a\\nb.yaml: no such file"),
        ("a" * 300, f"{'a' * 300}: cannot be read: File name too long"),
    ],
)
def test_a_file_name_that_cannot_exist_is_refused_on_one_line(name: str, message: str) -> None:
    with pytest.raises(SuiteError) as refused:
        read(Path(name))

    assert str(refused.value) == message


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.yaml"
    os.mkfifo(pipe)

    with pytest.raises(SuiteError) as refused:
        read(pipe)

    assert str(refused.value) == f"{pipe}: is not a regular file, expected a YAML file"
