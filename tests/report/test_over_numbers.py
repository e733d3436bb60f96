"""Which pictures of errors over depth, wrong labels and size a suite gives, and what they show."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ranbench.records import State
from ranbench.report import Report, tables, write
from ranbench.report.error_and_size import error_and_size
from ranbench.report.over_numbers import depth, noise
from ranbench.report.shown import Made
from ranbench.report.spots import Lines, Plane, Spot
from ranbench.suite import Suite

from .conftest import SUITE, Load, Recorder, runs_of

MATRIX = "  matrix: {model: [attention-56, attention-92], learning: [residual, naive]}\n"
NOISE = """\
  include:
    - {model: attention-56}
    - {model: attention-56, noise: 0.3, noise_drawn: once}
    - {model: attention-56, noise: 0.3, noise_drawn: each-epoch}
    - {model: resnet-164}
"""
CITED = """\
cited:
  - {name: "WRN|<b>%_28", model: wrn-28-10, metric: error_pct, value: 4.17, unit: percent, where: table 6}
  - {name: nobody knows, metric: error_pct, value: 4.9, unit: percent, where: table 6}
  - {name: counted there, metric: error_pct, value: 4.8, unit: percent, where: table 6}
  - {name: counted there, metric: parameters, value: 9.0e+6, unit: parameters, where: table 6}
deviations:"""


def drawn(made: Made, name: str) -> Any:
    """Return what a picture is given to draw: its first argument, or one of its options."""
    _, how = made
    assert isinstance(how, partial)
    found = {"": how.args[0], **how.keywords}
    while isinstance(how.func, partial):
        how = how.func
        found = {**how.keywords, **found}
    return found[name]


def finish(suite: Suite, recorder: Recorder, **axes: str) -> None:
    for spec in runs_of(suite, **axes):
        recorder.done(spec, 5.0 + spec.seed / 10)


def pictures(
    suite: Suite, recorder: Recorder, of: Callable[..., tuple[Made, ...]], **options: bool
) -> tuple[Made, ...]:
    return of(tables(suite, recorder.records, **options))  # type: ignore[arg-type]


def test_depth_has_a_line_for_each_kind_of_learning_over_the_depth_of_the_nets(load: Load, recorder: Recorder) -> None:
    suite = load()
    finish(suite, recorder)

    (made,) = pictures(suite, recorder, depth)

    (panel,) = drawn(made, "")
    assert isinstance(panel, Lines)
    assert [line.label for line in panel.lines] == ["residual", "naive"]
    assert [spot.x for spot in panel.lines[0].spots] == [38, 62]
    assert [spot.published for spot in panel.lines[0].spots] == [5.52, None]
    assert panel.lines[0].spots[0].half == pytest.approx(0.248, abs=0.001)
    assert made[0].file == "depth.png"
    assert made[0].caption == (
        "Test error over the trunk depth of the nets; a line joins cells that differ in nothing else. Filled marks are "
        "the mean of our seeds, with its 95 % interval as a bar; open marks on a thin line are the paper's values."
    )


def test_a_cell_that_failed_or_was_not_run_is_named_beneath_every_picture(load: Load, recorder: Recorder) -> None:
    suite = load()
    finish(suite, recorder, learning="residual")
    recorder.done(runs_of(suite, model="attention-56", learning="naive")[0], 7.0)
    for spec in runs_of(suite, model="attention-92", learning="naive"):
        recorder.failed(spec, "diverged")

    (over,), (at,) = (pictures(suite, recorder, of) for of in (depth, error_and_size))

    assert drawn(over, "absent") == ("failed: attention-92, naive",)
    assert drawn(at, "absent") == ("failed: attention-92, naive",)
    assert "where there is no bar, there is one seed only or no spread" in over[0].caption


def test_a_result_that_is_not_finite_is_missing_and_not_a_point(load: Load, recorder: Recorder) -> None:
    suite = load()
    finish(suite, recorder, learning="residual")
    for spec in runs_of(suite, learning="naive"):
        recorder.add(spec, State.DONE, metrics={"error_pct": float("nan")})

    (made,) = pictures(suite, recorder, depth)

    (panel,) = drawn(made, "")
    assert [line.label for line in panel.lines] == ["residual", "naive"]
    assert [spot.mean for spot in panel.lines[1].spots] == [None]
    assert drawn(made, "absent") == ("missing: attention-56, naive; attention-92, naive",)


def test_nets_of_one_depth_have_no_picture_of_it_and_without_runs_there_is_none(load: Load, recorder: Recorder) -> None:
    one = load(SUITE.replace(MATRIX, "  matrix: {model: [attention-56], learning: [residual, naive]}\n"
                             ).replace(", cell: {model: attention-92}", ""))  # fmt: skip
    finish(one, recorder)

    assert pictures(one, recorder, depth) == ()
    assert pictures(one, recorder, error_and_size) == ()
    assert [pictures(load(), Recorder(), of) for of in (depth, noise, error_and_size)] == [(), (), ()]


def test_families_of_nets_have_lines_of_their_own(load: Load, recorder: Recorder) -> None:
    cells = "  matrix: {model: [resnet-110, resnet-164, se-resnet-110, se-resnet-164, attention-56]}\n"
    suite = load(_bare(cells))
    finish(suite, recorder)

    (made,) = pictures(suite, recorder, depth)

    (panel,) = drawn(made, "")
    assert [line.label for line in panel.lines] == ["resnet", "se-resnet"]


def test_wrong_labels_have_a_line_for_each_net_and_a_clean_cell_begins_every_one(
    load: Load, recorder: Recorder
) -> None:
    suite = load(_bare(NOISE))
    finish(suite, recorder)

    (made,) = pictures(suite, recorder, noise)

    (panel,) = drawn(made, "")
    assert [line.label for line in panel.lines] == ["drawn once", "drawn each epoch"]
    assert [[spot.x for spot in line.spots] for line in panel.lines] == [[0.0, 0.3], [0.0, 0.3]]
    assert drawn(made, "percent") is True


def test_nets_stand_at_both_counts_with_those_that_the_paper_cites(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE.replace("deviations:", CITED))
    finish(suite, recorder)

    (made,) = pictures(suite, recorder, error_and_size)

    ((macs, parameters),) = drawn(made, "")
    assert isinstance(macs, Plane)
    assert [net.label for net in macs.nets] == ["attention-56", "attention-92", "WRN|<b>%_28"]
    assert [net.label for net in parameters.nets] == ["attention-56", "attention-92", "WRN|<b>%_28", "counted there"]
    assert parameters.nets[2].spots == ((0, Spot(36_478_906, published=4.17)),)
    assert parameters.nets[3].spots == ((0, Spot(9e6, published=4.8)),)
    assert [style for style, _ in parameters.nets[0].spots] == [0, 1]
    assert drawn(made, "names") == ["residual", "naive"]
    assert drawn(made, "absent") == (
        "multiply-adds of one image and parameters not known: nobody knows",
        "multiply-adds of one image not known: counted there",
    )
    assert "Diamonds are nets that are not run here" in made[0].caption


def test_without_compare_and_in_smoke_nothing_of_the_paper_is_shown(load: Load, recorder: Recorder) -> None:
    text = SUITE.replace("deviations:", CITED)
    for suite, compare in ((load(text), False), (load(text, protocol="smoke"), True)):
        finish(suite, recorder)
        (at,), (over,) = (pictures(suite, recorder, of, compare=compare) for of in (error_and_size, depth))

        nets = [net for row in drawn(at, "") for plane in row for net in plane.nets]
        spots = [spot for net in nets for _, spot in net.spots]
        assert not any(net.cited or spot.published for net in nets for spot in spots)
        assert not any(spot.published for line in drawn(over, "")[0].lines for spot in line.spots)


def test_a_suite_that_trains_nothing_shows_what_the_paper_prints(load: Load) -> None:
    text = """\
name: small
title: Sizes
seeds: 0
cells:
  fixed: {dataset: cifar10}
  matrix: {model: [attention-56, resnet-164]}
published:
  - {cell: {model: resnet-164}, metric: parameters, value: 1.7e+6, unit: parameters, where: table 6}
cited:
  - {name: ResNet-164, model: resnet-164, metric: error_pct, value: 5.46, unit: percent, where: table 6}
  - {name: Attention-56, model: attention-56, metric: error_pct, value: 5.52, unit: percent, where: table 6}
deviations:
  - {id: heads, text: ten classes}
"""

    (made,) = error_and_size(tables(load(text), []))

    ((macs, parameters),) = drawn(made, "")
    assert [spot.x for net in macs.nets for _, spot in net.spots] == [244_500_992, 122_825_216]
    assert [spot.x for net in parameters.nets for _, spot in net.spots] == [1.7e6, 1_030_394]
    assert made[1]()


def test_a_thousand_runs_of_many_cells_are_drawn_in_parts_that_lose_none(load: Load, recorder: Recorder) -> None:
    nets = [f"attention-{36 * m + 20}" for m in range(1, 11)]
    cells = f"  matrix: {{model: [{', '.join(nets)}], learning: [residual, naive], noise: [0.0, 0.3]}}\n"
    suite = load(_bare(cells).replace("seeds: 3", "seeds: 25"))
    finish(suite, recorder)
    report = Report(suite, tables(suite, recorder.records), {}, compare=True)

    files = [picture.file for picture, _ in report.pictures]
    heights = [figure.get_figheight() for figure in report.figures.values()]
    panels = [panel for made in report.pictures if made[0].file.startswith("noise") for panel in drawn(made, "")]

    assert len(recorder.records) == 1000
    assert files == ["depth.png", "noise.png", "sizes.png", "seeds.png", "seeds-2.png"]
    assert max(heights) < 11
    assert sum(len(panel.lines) for panel in panels) == 20


@pytest.mark.parametrize("name", ["md", "html", "tex"])
def test_hostile_names_are_right_in_every_format(name: str, load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE.replace("deviations:", CITED.replace("nobody knows", '"$(x)\\\\input{y}\\n=1 日本"')))
    finish(suite, recorder, model="attention-56")
    recorder.failed(runs_of(suite, model="attention-92")[0], "<script>|%_")
    report = Report(suite, tables(suite, recorder.records), {}, compare=True)

    (path,) = write(report, tmp_path, [name])

    text = path.read_text(encoding="utf-8")
    assert ("sizes.pdf" if name == "tex" else "sizes.png" if name == "md" else "multiply-adds of one image") in text
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.S))
    assert "<b>" not in text
    assert ("<script>|" in svg, "WRN|&lt;b&gt;%_28" in svg) == (False, name == "html")
    assert name != "tex" or r"\input{y}" not in text


def test_pictures_are_the_same_bytes_whatever_formats_are_made_with_them(
    load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    suite = load()
    chance = random.Random(3)
    for spec in suite.runs():
        recorder.done(spec, round(chance.uniform(4, 8), 2))
    built = tables(suite, recorder.records)
    write(Report(suite, built, recorder.series, compare=True), tmp_path / "all", ["tex", "html", "md"])

    for name in ("md", "html", "tex"):
        write(Report(suite, built, recorder.series, compare=True), tmp_path / "one", [name])

    files = sorted(path.relative_to(tmp_path / "all") for path in (tmp_path / "all").rglob("*.*"))
    assert {"depth.png", "depth.pdf", "sizes.png", "sizes.pdf"} <= {path.name for path in files}
    assert [
        path for path in files if (tmp_path / "all" / path).read_bytes() != (tmp_path / "one" / path).read_bytes()
    ] == []


def _bare(cells: str) -> str:
    """The suite with other cells, and nothing of a paper."""
    return SUITE.split("published:")[0].replace(MATRIX, cells) + "deviations:\n  - {id: net, text: two stages}\n"
