"""Tables on stdout, short and long."""

from __future__ import annotations

import pytest

from ranbench.cli import output

COLUMNS = ("cell", "seed", "state")
ROWS = [("a|b, ünïcode", 1, None), ("x" * 30, 12345, "done"), ("日本", -3, "failed")]


def cells(text: str) -> list[list[str]]:
    """The words of every line that has any but the rule."""
    return [line.split() for line in text.splitlines() if line.strip(" ─")]


def test_a_long_table_has_the_cells_of_a_short_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.table(COLUMNS, ROWS, right=("seed",))
    short = capsys.readouterr().out

    monkeypatch.setattr(output, "LONG", 2)
    output.table(COLUMNS, ROWS, right=("seed",))

    assert cells(capsys.readouterr().out) == cells(short)


def test_a_long_table_aligns_its_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LONG", 2)

    output.table(COLUMNS, ROWS, right=("seed",))

    assert capsys.readouterr().out == (
        "\n"
        "cell                             seed  state\n"
        "─────────────────────────────────────────────\n"
        "a|b, ünïcode                        1\n"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  12345  done\n"
        "日本                               -3  failed\n"
        "\n"
    )
