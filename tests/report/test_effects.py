"""Forest plots: every kind of claim has its row, comparisons stand beneath their claim, long plots in parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ranbench.report import Report, tables, write
from ranbench.report.effects import effects
from ranbench.report.plots import Effect, forest
from ranbench.report.shown import Made
from ranbench.report.style import png
from ranbench.suite import Suite

from .conftest import SUITE, Load, Recorder, runs_of

KINDS = """\
claims:
  - {id: everywhere, kind: better, over: [model], a: {learning: residual}, b: {learning: naive}, metric: error_pct}
  - {id: depth, kind: trend, along: model, x: depth, cells: {learning: naive}, metric: error_pct, direction: falling}
  - {id: near, kind: value, cell: {model: attention-56, learning: naive}, metric: error_pct, margin: 1.0}
  - {id: half, kind: ratio, a: {model: attention-56, learning: residual}, b: {model: attention-56, learning: naive},
     metric: error_pct, at_most: 0.9}
  - {id: never, kind: better, a: {model: attention-92, learning: residual}, b: {model: attention-92, learning: naive},
     metric: error_pct}
"""


def rows(made: Made) -> list[Effect]:
    how: Any = made[1]
    assert isinstance(how, partial)
    return list(how.args[0])


def judged(suite: Suite, recorder: Recorder) -> tuple[Made, ...]:
    return effects(tables(suite, recorder.records))


def finish(suite: Suite, recorder: Recorder, learning: str, level: float) -> None:
    for spec in runs_of(suite, learning=learning):
        recorder.done(spec, level + spec.seed / 10)


def test_every_kind_of_claim_has_its_row_and_comparisons_stand_beneath(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE + KINDS)
    finish(suite, recorder, "residual", 5.0)
    finish(suite, recorder, "naive", 9.0)

    points, times = judged(suite, recorder)

    assert [(row.label, row.member) for row in rows(points)] == [
        ("everywhere", False),
        *(("attention-56", True), ("attention-92", True)),
        *(("depth", False), ("near", False), ("never", False)),
    ]
    assert [row.label for row in rows(times)] == ["half"]
    assert [row.outcome for row in rows(points)[:3]] == ["reproduced"] * 3
    assert (
        "beneath a claim that must hold in several places stand, smaller, its single comparisons" in points[0].caption
    )
    assert [made[0].file for made in (points, times)] == ["claims.png", "claims-2.png"]
    assert [bool(png(made[1]())) for made in (points, times)] == [True, True]


def test_a_comparison_without_runs_says_so_in_its_own_row(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE + KINDS)
    for learning in ("residual", "naive"):
        for spec in runs_of(suite, model="attention-56", learning=learning):
            recorder.done(spec, 5.0 + spec.seed / 10)

    points, _ = judged(suite, recorder)
    figure = points[1]()

    shown = [(row.label, row.outcome, row.effect is None) for row in rows(points)[:3]]
    assert shown[1] == ("attention-56", "inconclusive", False)
    assert shown[2] == ("attention-92", "not run", True)
    assert [text.get_text() for text in figure.axes[0].texts].count("no effect to show") >= 2


def test_a_long_plot_stands_in_parts_of_one_scale_with_each_claim_whole(load: Load, recorder: Recorder) -> None:
    nets = ", ".join(f"attention-{36 * m + 20}" for m in range(1, 11))
    text = SUITE.split("published:")[0].replace("attention-56, attention-92", nets)
    claims = "".join(
        f"  - {{id: claim-{number}, kind: better, over: [model], a: {{learning: residual}}, b: {{learning: naive}}, "
        f"metric: error_pct, min_effect: {number}}}\n"
        for number in range(5)
    )
    suite = load(f"{text}claims:\n{claims}deviations:\n  - {{id: net, text: two stages}}\n")
    finish(suite, recorder, "residual", 5.0)
    finish(suite, recorder, "naive", 9.0)

    made = judged(suite, recorder)

    assert [[row.label for row in rows(one) if not row.member] for one in made] == [
        *(["claim-0", "claim-1"], ["claim-2", "claim-3"], ["claim-4"]),
    ]
    assert [one[0].title for one in made] == [f"effects of the claims, part {number}" for number in (1, 2, 3)]
    assert len({one[1]().axes[0].get_xlim() for one in made}) == 1


def test_a_claim_with_more_comparisons_than_a_picture_holds_is_named_on_each(load: Load, recorder: Recorder) -> None:
    nets = ", ".join(f"attention-{36 * m + 20}" for m in range(1, 31))
    text = SUITE.split("published:")[0].replace("attention-56, attention-92", nets)
    claim = (
        "  - {id: all, kind: better, over: [model], a: {learning: residual}, b: {learning: naive}, metric: error_pct}\n"
    )
    suite = load(f"{text}claims:\n{claim}deviations:\n  - {{id: net, text: two stages}}\n")
    finish(suite, recorder, "residual", 5.0)
    finish(suite, recorder, "naive", 9.0)

    made = judged(suite, recorder)

    assert [[row.label for row in rows(one) if not row.member] for one in made] == [["all"], ["all"]]
    assert sum(row.member for one in made for row in rows(one)) == 30


def test_the_axis_says_what_lies_to_the_right(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE + KINDS)
    finish(suite, recorder, "residual", 5.0)
    finish(suite, recorder, "naive", 9.0)

    points, times = judged(suite, recorder)

    labels = [one[1]().axes[0].get_xlabel() for one in (points, times)]
    assert labels == ["effect (percentage points): dots as claimed →, squares ours higher →", "effect (times)"]


def test_comparisons_are_smaller_than_their_claim() -> None:
    claim = Effect("a", "better", 0.0, "reproduced", "✓", 2.0, 1.0, 3.0)
    member = Effect("b", "better", 0.0, "reproduced", "✓", 2.0, 1.0, 3.0, member=True)

    dots = [line for line in forest([claim, member], label="x").axes[0].lines if line.get_marker() == "o"]

    assert dots[0].get_markersize() > dots[1].get_markersize()


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_parts_of_an_earlier_report_go(suffix: str, load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load()
    finish(suite, recorder, "residual", 5.0)
    folder = tmp_path / "small"
    folder.mkdir()
    names = ("seeds-2", "claims-3", "depth-9", "seeds", "own-2", "seedsman")
    for name in names:
        (folder / f"{name}{suffix}").write_bytes(b"of an earlier report")

    write(Report(suite, tables(suite, recorder.records), {}, compare=True), tmp_path, ["md", "tex"])

    left = {name for name in names if (folder / f"{name}{suffix}").exists()}
    assert left == {"seeds", "own-2", "seedsman"}


def test_the_caption_says_at_which_levels_bounds_stand(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE + KINDS)
    finish(suite, recorder, "residual", 5.0)
    finish(suite, recorder, "naive", 9.0)
    built = tables(suite, recorder.records)

    levels = {row.id: row.level for row in built.verdicts if row.unit == "percentage points"}
    points, _ = effects(built)

    shares = sorted({f"{100 * (1 - level):.4g} %" for level in levels.values() if level})
    assert all(share in points[0].caption for share in (shares[0], shares[-1]))
