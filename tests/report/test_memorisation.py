"""What becomes of wrong labels, in a report: the table, the picture, and what is said where nothing was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.records import MEMORISATION, State
from ranbench.report import report, tables
from ranbench.report.layout import memorised_grid
from ranbench.report.memorisation import memorisation
from ranbench.report.memorised_plot import WORDS, Fate, Sight, fates_over
from ranbench.report.over_numbers import noise
from ranbench.report.style import png
from ranbench.spec import RunSpec
from ranbench.statistics import summarise
from ranbench.suite import Suite, load_suite

from .conftest import SUITE, Load, Recorder, runs_of

CELLS = """\
  fixed: {dataset: digits}
  matrix: {model: [attention-56, resnet-164], noise: [0.0, 0.3, 0.5]}
  include:
    - {model: attention-56, noise: 0.5, noise_drawn: each-epoch}
"""
TEXT = SUITE.split("  fixed:")[0] + CELLS
CLEAN, FLIPPED, TRUE = MEMORISATION.values()


@pytest.fixture
def suite(load: Load) -> Suite:
    return load(TEXT)


def seen(recorder: Recorder, spec: RunSpec, flipped: float) -> None:
    """Add a done run that was seen to err on flipped labels so often, at two evaluations."""
    last = dict(zip(MEMORISATION, (2.0, flipped, 95.0 - flipped), strict=True))
    final = {MEMORISATION[name]: value for name, value in last.items()}
    metrics = {"error_pct": 6.0 + spec.seed, "best_error_pct": 5.0, "best_iteration": 20.0, **final}
    recorder.add(spec, State.DONE, metrics=metrics)
    for name, value in last.items():
        recorder.series[recorder.count, name] = ([20, 40], [90.0, value])


@pytest.fixture
def partly(suite: Suite, recorder: Recorder) -> Suite:
    """Two seeds of a net at 50 %, one of it drawn anew; the other net was trained by an earlier version at 30 %."""
    half = runs_of(suite, model="attention-56", noise="0.5", noise_drawn="once")
    seen(recorder, half[0], 40.0)
    seen(recorder, half[1], 60.0)
    seen(recorder, runs_of(suite, noise_drawn="each-epoch")[0], 90.0)
    recorder.done(runs_of(suite, model="resnet-164", noise="0.3")[0], 7.0)
    return suite


def test_every_cell_with_wrong_labels_has_a_row_with_the_errors_of_last_and_best(
    partly: Suite, recorder: Recorder
) -> None:
    rows = tables(partly, recorder.records).memorised

    found = {row.label: row for row in rows}
    assert [row.standing for row in rows] == ["not run", "measured", "not measured", "not run", "measured"]
    half = found["attention-56, noise 0.5, drawn once"]
    assert (half.clean, half.flipped, half.flipped_true) == (
        summarise([2.0, 2.0]),
        summarise([40.0, 60.0]),
        summarise([55.0, 35.0]),
    )
    assert (half.error, half.best_on_test) == (summarise([6.0, 7.0]), summarise([5.0, 5.0]))
    assert half.planned == 3


def test_the_table_says_why_there_is_nothing_and_of_how_many_seeds_there_is(partly: Suite, recorder: Recorder) -> None:
    grid = memorised_grid(tables(partly, recorder.records).memorised)

    at = {column.heading: index for index, column in enumerate(grid.columns)}
    found = [(line[at["clean labels (%)"]].text, line[at["n"]].text) for line in grid.rows]
    assert found == [
        ("not run", "0 of 3"),
        ("2.00", "2 of 3"),
        ("not measured", "0 of 3"),
        ("not run", "0 of 3"),
        ("2.00", "1 of 3"),
    ]


def test_results_of_earlier_versions_get_neither_table_nor_picture(suite: Suite, recorder: Recorder) -> None:
    recorder.done(runs_of(suite, model="resnet-164", noise="0.3")[0], 7.0)

    built = tables(suite, recorder.records)

    assert built.memorised == ()
    assert memorisation(built, recorder.series) == ()


def test_a_page_shows_table_picture_and_caption(partly: Suite, recorder: Recorder, tmp_path: Path) -> None:
    path = report(partly, recorder.records, recorder.series, out=tmp_path)

    text = path.read_text()
    assert "## What becomes of wrong labels" in text
    assert "those of the epoch that was trained on last" in text
    assert "![memorisation of wrong labels](small/memorisation.png)" in text
    assert (tmp_path / "small" / "memorisation.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_a_panel_for_each_way_that_labels_are_wrong_and_names_what_is_missing(
    partly: Suite, recorder: Recorder
) -> None:
    ((picture, draw),) = memorisation(tables(partly, recorder.records), recorder.series)

    figure = draw()

    assert picture.file == "memorisation.png"
    assert "memorisation" in picture.caption
    titled = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titled == ["50 % wrong labels, drawn once", "50 % wrong labels, drawn each epoch"]
    assert {text.get_text() for legend in figure.legends for text in legend.get_texts()} == {
        "attention-56",
        *WORDS.values(),
    }
    lines = [list(map(float, line.get_ydata())) for line in figure.axes[0].get_lines()]
    assert lines == [[90.0, 2.0], [90.0, 50.0], [90.0, 45.0]]
    beneath = " ".join(text.get_text() for text in figure.texts)
    assert "no series stored: resnet-164, noise 0.3" in beneath
    assert "not run: attention-56, noise 0.3" in beneath


def test_equal_pictures_are_equal_bytes() -> None:
    sight = Sight("50 % wrong labels", (Fate(1, "a net", 0, {"clean": ((1, 50.0, 40.0, 60.0), (2, 4.0, 4.0, 4.0))}),))

    first, again = (png(fates_over([sight, sight, sight], label="error (%)")) for _ in range(2))

    assert first == again


@pytest.mark.parametrize("name", ["table5", "table5-digits"])
def test_error_over_noise_joins_the_clean_cell_to_every_line(name: str, recorder: Recorder) -> None:
    suite = load_suite(name)
    for cell in suite.cells:
        rate = cell.noise.rate if cell.noise else 0.0
        recorder.done(cell.run(suite.protocol, 0), 5.0 + 10 * rate)

    ((picture, draw),) = noise(tables(suite, recorder.records))
    figure = draw()

    assert picture.file == "noise.png"
    (ax,) = [ax for ax in figure.axes if ax.get_xlabel()]
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert ticks == ["0", "10", "30", "50", "70"]
    joined = [list(map(float, line.get_xdata())) for line in ax.get_lines() if len(line.get_xdata()) > 1]
    whole, anew = [0.0, 0.1, 0.3, 0.5, 0.7], [0.0, 0.5]
    published = [whole[1:], whole[1:]] if name == "table5" else []
    assert sorted(joined) == sorted([whole, whole, anew, *([anew] if name == "table5-digits" else []), *published])
