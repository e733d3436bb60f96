"""Escaping: any text stays text, in a line and in a table."""

from __future__ import annotations

import pytest

from ranbench.report.layout import Column, Entry, Grid, number
from ranbench.report.markdown import code, paragraph, table, text


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("attention-56, naive", "attention-56, naive"),
        ("a | b", "a \\| b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("M * T and error_pct and 5 %", "M * T and error_pct and 5 %"),
        (
            "*bold* _it_ ~no~ `code` [x](y) $z$ #1 \\",
            "\\*bold\\* \\_it\\_ \\~no\\~ \\`code\\` \\[x\\](y) \\$z\\$ \\#1 \\\\",
        ),
        ("line\r\n\tbreak\u2028\u202e\x00end", "line break end"),
        ("naïve 日本 ✓", "naïve 日本 ✓"),
        ("see https://example.org and HTTP://x", "see https\\://example.org and HTTP\\://x"),
        ("www.example.org, ratio 3:1, a: //", "www\\.example.org, ratio 3:1, a: //"),
        ("jane@example.org, @jane/x, 5 @ 3, @", "jane@&#8203;example.org, @&#8203;jane/x, 5 @ 3, @"),
        ("\ufeffa\u200bb\u2066c", "a b c"),
    ],
)
def test_text_is_escaped_only_where_it_would_be_markup(raw: str, escaped: str) -> None:
    assert text(raw) == escaped


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("1. one", "1\\. one"),
        ("- x", "\\- x"),
        ("* x", "\\* x"),
        ("+ x", "\\+ x"),
        ("# x", "\\# x"),
        ("plain", "plain"),
    ],
)
def test_paragraph_opens_no_list_or_heading(raw: str, escaped: str) -> None:
    assert paragraph(raw) == escaped


def test_code_span_cannot_be_left() -> None:
    assert code("a`b|c\nd") == "`a'b¦c d`"


def test_table_puts_each_note_once_beneath_it() -> None:
    rows = (
        (Entry("a", anchor="x"), Entry("1", notes=("one", "two"))),
        (Entry("b", code=True), Entry("2", link="x", notes=("two",))),
    )

    drawn = table(Grid((Column("name"), Column("value", "right")), rows))

    assert drawn == (
        "| name | value |\n"
        "| :--- | ---: |\n"
        '| <a id="x"></a>a | 1 (a, b) |\n'
        "| `b` | [2](#x) (b) |\n"
        "\n"
        "- (a) one\n"
        "- (b) two"
    )


def test_many_notes_go_on_after_z() -> None:
    rows = tuple((Entry("x", notes=(f"note {index}",)),) for index in range(28))

    drawn = table(Grid((Column("c"),), rows)).splitlines()

    assert drawn[-1] == "- (ab) note 27"


def test_numbers_have_fixed_digits_and_no_negative_zero() -> None:
    assert [number(value, "percent", signed=True) for value in (-0.001, 0.0, 1.005, -2.5, None)] == [
        "0.00",
        "0.00",
        "+1.00",
        "−2.50",
        "–",
    ]
