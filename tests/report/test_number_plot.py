"""Errors over numbers as figures: every case draws, ours and the paper's differ in grey, names cover nothing."""

from __future__ import annotations

import re

import pytest
from matplotlib.figure import Figure

from ranbench.report.number_plot import lines_over, points_at, short_count
from ranbench.report.spots import Line, Lines, Net, Plane, Spot
from ranbench.report.style import pdf, png, svg

OURS = (Spot(56, 5.5, 0.2, 5.52), Spot(92, 5.1, None, 4.99), Spot(164, None, None, 4.31))
NAIVE = (Spot(56, 5.9, 0.1), Spot(92, 5.4, 0.1), Spot(128, 5.6, 0.3))
HOSTILE = "<b>|$x_1$ 100 % \n\\input{y} 日本 \u202e" + "n" * 60


def over(*lines: Line, absent: tuple[str, ...] = ()) -> Figure:
    return lines_over([Lines("cifar10", lines)], axis="trunk depth", label="test error (%)", absent=absent)


def at(*nets: Net, names: tuple[str, ...] = ("",)) -> Figure:
    planes = [tuple(Plane("", axis, nets) for axis in ("multiply-adds", "parameters"))]
    return points_at(planes, names=names, label="test error (%)", absent=())


def words(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_a_line_has_its_name_and_the_key_says_what_is_whose() -> None:
    figure = over(Line("residual", 0, OURS), Line("naive", 1, NAIVE))

    assert words(figure) == ["residual", "naive"]
    assert legend(figure) == ["ours: mean, with its 95 % interval", "the paper"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["56", "92", "128", "164"]


def test_the_paper_is_told_from_ours_and_lines_from_each_other_without_colour() -> None:
    paper, ours, *_ = over(Line("residual", 0, OURS)).axes[0].lines
    _, naive, *_ = over(Line("naive", 1, NAIVE)).axes[0].lines
    marks = [one for one in over(Line("residual", 0, OURS)).axes[0].lines if one.get_marker() == "o"]

    assert paper.get_linewidth() < ours.get_linewidth()
    assert ours.get_linestyle() != naive.get_linestyle()
    assert {one.get_markerfacecolor() == "white" for one in marks} == {True, False}


def test_there_is_no_bar_for_one_seed_and_no_mark_for_what_is_not_there() -> None:
    figure = over(Line("residual", 0, (Spot(1, 5.0), Spot(2, None, None, 4.0))))

    bars = [one for one in figure.axes[0].lines if one.get_marker() == "_"]
    assert bars == []
    assert legend(figure) == ["ours", "the paper"]


def test_what_is_missing_stands_beneath_in_words() -> None:
    figure = over(Line("residual", 0, OURS), absent=("failed: attention-164, naive", "not run: x $"))

    assert [text.get_text() for text in figure.texts][-2:] == [r"not run: x \$", "failed: attention-164, naive"]


def test_errors_that_differ_much_stand_on_a_logarithmic_axis() -> None:
    near, far = over(Line("a", 0, OURS)), over(Line("a", 0, (Spot(1, 5.0), Spot(2, 17.0))))

    assert (near.axes[0].get_yscale(), far.axes[0].get_yscale()) == ("linear", "log")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_number_of_panels_and_of_lines_draws_the_same_bytes(count: int) -> None:
    panels = [Lines(f"set {i}", tuple(Line(f"line {j}", j, OURS) for j in range(14))) for i in range(count)]

    first, second = (lines_over(panels, axis="x", label="y", percent=True) for _ in range(2))

    assert (png(first), svg(first), pdf(first)) == (png(second), svg(second), pdf(second))


@pytest.mark.parametrize(
    "spots",
    [
        (Spot(1, 0.0, 0.0), Spot(2, 0.0, 0.0)),
        (Spot(1, 0.0), Spot(2, 50.0, 60.0)),
        (Spot(1, published=3.0), Spot(2, published=3.0)),
        tuple(Spot(float(x), 5.0) for x in range(200)),
    ],
)
def test_zeros_wide_intervals_and_many_numbers_draw(spots: tuple[Spot, ...]) -> None:
    assert png(over(Line("a", 0, spots)))
    assert png(at(Net("a", tuple((0, spot) for spot in spots))))


def test_a_net_is_named_once_at_one_count_and_shapes_have_a_key() -> None:
    figure = at(
        Net("attention-56", ((0, Spot(1e6, 5.5, 0.1, 5.52)), (1, Spot(1e6, 5.9, 0.1, 5.89)))),
        Net("WRN-28-10", ((0, Spot(36.5e6, published=4.17)),), cited=True),
        names=("residual", "naive"),
    )

    assert words(figure) == ["attention-56", "WRN-28-10"] * 2
    assert legend(figure) == [
        *("ours: mean, with its 95 % interval", "the paper", "the paper, a net that is not run here"),
        *("residual", "naive"),
    ]
    scales = [ax.get_xscale() for ax in figure.axes]
    assert scales[0] == "log"
    assert [ax.get_xlabel() for ax in figure.axes] == [
        f"{name} (log scale)" if scale == "log" else name
        for name, scale in zip(("multiply-adds", "parameters"), scales, strict=True)
    ]


def test_names_lie_inside_the_panel_and_apart() -> None:
    nets = [
        Net(f"attention-{index}", ((0, Spot(1e6 * (1 + index / 50), 5 + index / 40, 0.05)),)) for index in range(14)
    ]
    figure = at(*nets)
    figure.draw_without_rendering()

    for ax in figure.axes:
        panel = ax.get_window_extent()
        boxes = [text.get_window_extent() for text in ax.texts]
        assert all(panel.x0 - 1 <= box.x0 and box.x1 <= panel.x1 + 1 for box in boxes)
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_any_name_draws_as_one_line_of_text_and_never_as_markup() -> None:
    figures = [over(Line(HOSTILE, 0, OURS), absent=(f"failed: {HOSTILE}",)), at(Net(HOSTILE, ((0, OURS[0]),)))]

    for figure in figures:
        (shown, *_) = words(figure)
        drawn = svg(figure)
        assert shown.startswith(r"<b>|\$x_1\$ 100 % \input{y} ")
        assert "<b>" not in drawn
        assert not re.search(r"[\u202e\n]", shown)
        assert png(figure)
        assert pdf(figure)


@pytest.mark.parametrize(
    ("value", "text"), [(800, "800"), (62_500, "62.5 k"), (1.5e6, "1.5 M"), (2e8, "200 M"), (5.2e9, "5.2 G")]
)
def test_counts_are_short(value: float, text: str) -> None:
    assert short_count(value) == text


@pytest.mark.parametrize(("highest", "words"), [(30.0, "test error (%, log scale)"), (6.0, "test error (%)")])
def test_a_logarithmic_axis_of_errors_says_so(highest: float, words: str) -> None:
    figure = points_at(
        [[Plane("", "parameters", (Net("a", ((0, Spot(1e6, 5.0)), (0, Spot(2e6, highest)))),))]],
        names=("",),
        label="test error (%)",
        absent=(),
    )

    assert figure.get_supylabel() == words
