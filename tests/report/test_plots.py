"""Figures: every case draws without a warning, nothing global is touched, the same values give the same bytes."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from ranbench.report.number_plot import lines_over
from ranbench.report.plots import Curve, Effect, Panel, Strip, apart, forest, learning_curves, seeds_strip
from ranbench.report.response_plot import Spread, Trace, stage_lines
from ranbench.report.spots import Line, Lines, Spot
from ranbench.report.style import COLOURS, png

BAND = Curve("residual", 0, (10, 20), (50.0, 0.0), (40.0, 0.0), (60.0, 0.0))
SINGLE = Curve("naive", 1, (20,), (30.0,))
ABSENT = Curve("with $ and 日本 " + "x" * 60, 2, absent="not run")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_curves_label_what_is_there_and_what_is_missing(count: int) -> None:
    panels = [Panel(f"net $ {i}", (BAND, SINGLE, ABSENT)) for i in range(count)]

    figure = learning_curves(panels, label="test error (%)", zero=0.1)

    assert png(figure) == png(learning_curves(panels, label="test error (%)", zero=0.1))
    assert len(texts(figure)) == 3 * count
    assert texts(figure)[:2] == ["residual", "naive"]
    assert texts(figure)[2].startswith("with \\$ and ")
    assert texts(figure)[2].endswith("…")


def test_curves_differ_in_colour_and_in_line_style() -> None:
    other = Curve("naive", 1, (10, 20), (50.0, 20.0))

    first, second = learning_curves([Panel("net", (BAND, other))], label="error", zero=0.1).axes[0].lines

    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def contrast(shade: str) -> float:
    """The contrast of a colour to white, as WCAG 2 has it."""
    parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(shade)]
    return 1.05 / (sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)) + 0.05)


def test_words_of_every_colour_can_be_read_on_white() -> None:
    styles = range(len(COLOURS))
    curves = [Curve(f"cell {style}", style, (10, 20), (50.0, 20.0 + style)) for style in styles]
    point = (Spread(1.0, 2.0, 2.0, 2.0), Spread(2.0, 1.0, 1.0, 1.0))
    traces = [Trace(f"cell {style}", style, point, point) for style in styles]
    absent = [Trace(f"paper {style}", style, published=((1.0, 1.0),), absent="not run") for style in styles]
    ends = (Spot(1.0, mean=5.0), Spot(3.0, mean=4.0))
    lines = [Line(f"cell {style}", style, ends[: 2 - style % 2]) for style in styles]

    figures = [
        learning_curves([Panel("net", tuple(curves))], label="error", zero=0.1),
        stage_lines([*traces, *absent], num_stages=2),
        lines_over([Lines("digits", tuple(lines))], axis="depth", label="error"),
    ]

    shades = {text.get_color() for figure in figures for text in figure.findobj(Text) if text.get_text()}
    assert len(shades) > len(COLOURS)
    assert {shade: contrast(shade) for shade in shades if contrast(shade) < 4.5} == {}


def test_strip_shows_a_missing_cell_as_words_and_not_as_a_point() -> None:
    rows = [
        Strip("a", 0, (5.0, 6.0), 5.5, 6.35, published=5.52),
        Strip("b", 1, (4.0,), 4.0),
        Strip("c", 1, absent="failed"),
    ]

    figure = seeds_strip(rows, label="test error (%)")

    assert png(figure)
    assert texts(figure) == ["failed"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_strip_of_nothing_still_draws() -> None:
    assert png(seeds_strip([Strip("a", 0, absent="not run")], label="test error (%)"))


def test_forest_writes_each_outcome_beside_its_effect() -> None:
    rows = [
        Effect("a", "better", 0.5, "reproduced", "✓", 2.0, 1.0, 3.0),
        Effect("b", "value", 0.5, "inconclusive", "~", 0.2),
        Effect("c", "better", 0.0, "not run", "–"),
    ]

    figure = forest(rows, label="effect (percentage points)")

    assert png(figure)
    assert texts(figure) == ["✓ reproduced", "~ inconclusive", "– not run", "no effect to show"]


def test_forest_without_any_effect_still_draws() -> None:
    assert png(forest([Effect("c", "better", 0.0, "not run", "–")], label="effect"))


def test_user_settings_neither_change_the_figure_nor_are_changed() -> None:
    rows = [Strip("a", 0, (5.0, 6.0), 5.5, 6.35)]
    plain = png(seeds_strip(rows, label="error"))

    with matplotlib.rc_context({"font.size": 30.0, "lines.linewidth": 9.0}):
        styled = png(seeds_strip(rows, label="error"))
        size = matplotlib.rcParams["font.size"]

    assert styled == plain
    assert size == 30.0


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([0.1, 0.9], [0.1, 0.9]),
        ([0.5, 0.5], [0.375, 0.625]),
        ([0.9, 0.5, 0.5, 0.5], [0.975, 0.225, 0.475, 0.725]),
    ],
)
def test_labels_move_apart_in_order(places: list[float], expected: list[float]) -> None:
    assert apart(places, 0.25) == pytest.approx(expected)


def test_importing_the_report_loads_nothing_heavy() -> None:
    code = (
        "import sys, ranbench.report\n"
        "print(*sorted({'torch', 'sqlalchemy', 'matplotlib', 'pandas', 'scipy', 'jinja2'} & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []
