"""What all pictures share: parts, names of lines, and what is said to be missing."""

from __future__ import annotations

import pytest

from ranbench.report.shown import line_names, missing, numbered, parts, styles_of
from ranbench.report.tables import tables
from ranbench.report.values import ResultRow

from .conftest import SUITE, Load

CELLS = "  matrix: {model: [attention-56, attention-92], learning: [residual, naive]}\n"
SCREWS = """\
  include:
    - {model: attention-56}
    - {model: attention-56, learning: naive}
    - {model: attention-56, attention: channel}
    - {model: attention-56, mask: local-convolutions}
    - {model: attention-56, r: 3}
    - {model: attention-56, noise: 0.3, noise_drawn: each-epoch}
    - {model: resnet-164}
"""


def rows(load: Load, cells: str = CELLS) -> tuple[ResultRow, ...]:
    text = SUITE.split("published:")[0].replace(CELLS, cells) + "deviations:\n  - {id: net, text: two stages}\n"
    return tables(load(text), []).results[0].rows


@pytest.mark.parametrize(("number", "most", "sizes"), [(0, 3, []), (3, 3, [3]), (4, 3, [2, 2]), (40, 24, [20, 20])])
def test_parts_are_of_about_equal_length_and_lose_nothing(number: int, most: int, sizes: list[int]) -> None:
    found = parts(range(number), most)

    assert [len(part) for part in found] == sizes
    assert [item for part in found for item in part] == list(range(number))


def test_the_first_of_several_parts_keeps_the_name_and_all_are_counted() -> None:
    one, (first, second) = numbered("x", "t", "c.", 0, 1), [numbered("x", "t", "c.", index, 2) for index in (0, 1)]

    assert (one.file, one.title, one.caption) == ("x.png", "t", "c.")
    assert (first.file, first.title, first.caption) == ("x.png", "t, part 1", "c. Part 1 of 2.")
    assert second.file == "x-2.png"


def test_a_line_is_named_by_what_tells_cells_apart(load: Load) -> None:
    names = line_names(rows(load), "model")

    assert names == {1: "residual", 2: "naive", 3: "residual", 4: "naive"}
    assert styles_of(names.values()) == {"residual": 0, "naive": 1}


def test_long_names_say_what_differs_from_most_cells_and_stay_distinct(load: Load) -> None:
    found = rows(load, SCREWS)

    names = list(line_names(found, "model").values())

    assert names[1:6] == ["naive", "channel", "local-convolutions", "r = 3", "noise 0.3"]
    assert names[0].startswith("residual, mixed, encoder-decoder")
    assert len(set(names)) == len(names)


def test_of_two_axes_a_name_says_both_and_not_the_attention_that_all_attention_nets_have_alike(load: Load) -> None:
    found = rows(load, "  matrix: {model: [resnet-164, attention-92], noise: [0.3], noise_drawn: [once, each-epoch]}\n")

    assert list(line_names(found, "noise").values()) == [
        f"{net}, drawn {how}" for net in ("resnet-164", "attention-92") for how in ("once", "each epoch")
    ]


def test_an_axis_on_which_all_agree_is_in_no_name(load: Load) -> None:
    found = [row for row in rows(load) if row.axes["learning"] == "naive"]

    assert set(line_names(found, "model").values()) == {""}


def test_what_is_missing_is_told_by_its_reason() -> None:
    found = missing([("a", "failed"), ("b\n|<%_", "not run"), ("c", "not run"), ("c", "not run")])

    assert found == ("failed: a", "not run: b |<%_; c")


def test_of_much_that_is_missing_the_number_is_told() -> None:
    found = missing((f"attention-{number}, residual", "not run") for number in range(1000))

    assert len(found) == 4
    assert found[-1] == "… in all not run: 1000"
