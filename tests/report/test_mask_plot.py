"""Pictures of soft masks: what stands where, which colours can be compared, and how the ends of a bar are written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from ranbench.report.mask_plot import ACROSS, Column, Group, Row, mask_grid
from ranbench.report.style import png

GREY = Row("image 3\nclass 1", np.linspace(0, 1, 64).reshape(8, 8, 1))
COLOURED = Row("image 4\nclass 0", np.full((4, 4, 3), 0.5))
CAPTION = "M of the attention module of each stage on test images of cifar10, the mean over the channels. " * 3


def column(title: str, low: float, high: float, scale: str = "one") -> Column:
    """Maps of two images, from ``low`` to ``high``."""
    return Column(title, np.linspace(low, high, 8).reshape(2, 2, 2), scale, "M")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def shades(figure: Figure) -> list[tuple[float, float]]:
    """Least and largest value of the colours of every map, row by row of each column."""
    images = [image for ax in figure.axes for image in ax.images if image.get_cmap().name == "viridis"]
    return [(image.norm.vmin, image.norm.vmax) for image in images]


def drawn(*groups: Group) -> Figure:
    return mask_grid([GREY, COLOURED], groups, title="masks of $a$", caption=CAPTION)


def test_a_row_shows_an_image_and_every_map_of_it_with_what_it_is() -> None:
    figure = drawn(Group("stage 1", (column("before", 0, 2), column("mask", 0.25, 0.75, "two"))))

    assert texts(figure)[:10] == [
        *(r"masks of \$a\$", "image 3\nclass 1", "image 4\nclass 0", "stage 1"),
        *("before", "0", "2.00", "M", "mask", "0.250"),
    ]
    assert len(figure.axes) == 2 + 2 * 2 + 2  # images, maps, bars
    assert CAPTION.strip() in " ".join(texts(figure))
    assert png(figure) == png(drawn(Group("stage 1", (column("before", 0, 2), column("mask", 0.25, 0.75, "two")))))


def test_an_image_that_has_neither_one_channel_nor_three_is_shown_as_their_mean() -> None:
    row = replace(GREY, pixels=np.linspace(0, 1, 16).reshape(2, 2, 4))

    figure = mask_grid([row, COLOURED], [Group("stage 1", (column("mask", 0, 1),))], title="", caption=CAPTION)

    first, second = [ax.images[0].get_array() for ax in figure.axes[:2]]
    assert np.array_equal(first, row.pixels.mean(axis=2))
    assert second.shape == COLOURED.pixels.shape


def test_colours_are_shared_by_what_can_be_compared_and_by_nothing_else() -> None:
    figure = drawn(
        Group("a", (column("stage 1", 0, 1, "mixed"), column("stage 2", -0.2, 0.2, "channel"))),
        Group("b", (column("stage 1", 0.5, 3, "mixed"),)),
    )

    assert shades(figure) == [(0, 3), (0, 3), (-0.2, 0.2), (-0.2, 0.2), (0, 3), (0, 3)]


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [
        (0.408, 0.54, ["0.408", "0.540", "M"]),
        (-0.0127, 0.0486, ["−12.7", "48.6", "M (10⁻³)"]),
        (0.5, 0.50001, ["0.50000", "0.50001", "M"]),
        (0.0, 0.0, ["0", "0", "M"]),
        (2000.0, 123456.0, ["2.00", "123", "M (10³)"]),
    ],
)
def test_the_ends_of_a_bar_are_short_and_differ(low: float, high: float, written: list[str]) -> None:
    figure = drawn(Group("stage 1", (column("mask", low, high),)))

    at = texts(figure).index("mask")
    assert texts(figure)[at + 1 : at + 4] == written


def test_more_groups_than_fit_across_go_into_a_band_below() -> None:
    three = (column("stage 1", 0, 1), column("stage 2", 0, 1), column("stage 3", 0, 1))

    one, two = (drawn(*(Group(f"run {n}", three) for n in range(count))) for count in (ACROSS // 3, ACROSS // 3 + 1))

    assert texts(one).count("image 3\nclass 1") == 1
    assert texts(two).count("image 3\nclass 1") == 2
    assert two.get_figheight() > 1.7 * one.get_figheight()


def test_nothing_is_cut_off_or_written_over_another_thing() -> None:
    three = tuple(column(f"stage {n}", -0.0123, 0.0456, f"scale {n}") for n in (1, 2, 3))
    names = ("attention-164, residual, local-convolutions", "naive", "日本 $x$ " + "own_nets:net_of_mine " * 4)

    figure = drawn(*(Group(name, three) for name in names))
    png(figure)

    boxes = [text.get_window_extent() for text in figure.texts]
    inside = figure.bbox.padded(1)
    assert [
        text.get_text() for text, box in zip(figure.texts, boxes, strict=True) if not inside.contains(*box.min)
    ] == []
    assert [
        text.get_text() for text, box in zip(figure.texts, boxes, strict=True) if not inside.contains(*box.max)
    ] == []
    assert [
        (figure.texts[i].get_text(), figure.texts[j].get_text())
        for i, first in enumerate(boxes)
        for j, second in enumerate(boxes[:i])
        if first.overlaps(second)
    ] == []
