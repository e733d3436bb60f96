"""The page as text: what stands in it, and what may never."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from ranbench.catalogue import DATASETS
from ranbench.counts import Counts
from ranbench.data import LOADERS
from ranbench.report import Report, report, tables, write
from ranbench.report.layout import typeset
from ranbench.report.pages import FETCHED, commands, content
from ranbench.spec import complexity_key
from ranbench.suite import Suite

from .conftest import CLAIM, ENVIRONMENT, SUITE, Load, Recorder, runs_of


def test_equal_records_in_any_order_give_equal_bytes(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    report(mixed, recorder.records, recorder.series, out=tmp_path / "a")
    report(mixed, recorder.records[::-1], dict(reversed(recorder.series.items())), out=tmp_path / "b")

    first = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.*")}
    second = {path.relative_to(tmp_path / "b"): path.read_bytes() for path in (tmp_path / "b").rglob("*.*")}
    assert sorted(map(str, first)) == ["small.md", "small/curves.png", "small/seeds.png"]
    assert first == second


def test_host_user_command_and_patch_stay_out(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    page = report(mixed, recorder.records, {}, out=tmp_path / "out").read_text(encoding="utf-8")

    printed = page + repr(tables(mixed, recorder.records).as_dict())
    assert "secret" not in printed
    assert "/home/" not in printed
    assert str(tmp_path) not in printed


def test_smoke_suite_has_no_paper_column_and_no_verdict(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE + CLAIM, protocol="smoke")
    for spec in suite.runs():
        recorder.done(spec, 80.0 + spec.seed)

    page = report(suite, recorder.records, recorder.series, out=tmp_path / "out").read_text(encoding="utf-8")

    assert page.startswith("# A small suite (smoke)\n")
    assert "\n- **Runs:** " in page
    assert "5.52" not in page
    assert "paper (%)" not in page
    assert "| attention-56 | residual | smoke | 81.00 ± 2.48 | [3 of 3](#cell-1) | 1.00 | 80.75 ± 2.48 |" in page
    assert "No verdict on `helps`: runs of smoke fidelity never count." in page
    assert not any(mark in page for mark in ("✓", "✗", "≠"))
    assert not (tmp_path / "out" / "small" / "claims.png").exists()


def test_smoke_runs_stand_apart_from_full_ones(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    full, smoke = load(), load(protocol="smoke")
    recorder.done(runs_of(full)[0], 5.0)
    recorder.done(runs_of(smoke)[0], 91.0)

    page = report(full, recorder.records, recorder.series, out=tmp_path / "out").read_text(encoding="utf-8")

    main, apart = page.split("## Other runs, smoke: 8 iterations of 64 images")
    assert "91.00" not in main
    assert "| attention-56 | residual | smoke | 91.00 (a) | [1 of 1](#other-1-cell-1) | – | 90.75 |" in apart
    assert "Their fidelity is **smoke**" in apart
    assert "iterations 8 instead of 40" in apart
    assert "5.52" not in apart


def test_scaled_suite_says_so_in_heading_sentence_and_rows(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE + CLAIM, protocol="brief")
    recorder.done(runs_of(suite)[0], 5.0)

    page = report(suite, recorder.records, {}, out=tmp_path / "out").read_text(encoding="utf-8")

    assert "## Results: test error (scaled)" in page
    assert "All of ours are scaled runs" in page
    assert "| attention-56 | residual | scaled | 5.52 | 5.00 (a, b) | [1 of 3](#cell-1) | – | −0.52 | 4.75 |" in page
    assert "| not comparable (scaled) |" in page
    assert "ranbench run small.yaml --protocol brief\n" in page


def test_without_any_run_the_page_says_so(load: Load, tmp_path: Path) -> None:
    old = tmp_path / "out" / "small" / "curves.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier report")

    page = report(load(SUITE + CLAIM), [], {}, out=tmp_path / "out").read_text(encoding="utf-8")

    assert "- **Claims:** – 1 not run.\n- **Checked:** " in page
    assert "- **Runs:** 0 of 12 done, 12 not run.\n- **Device:** none yet.\n" in page
    assert "| attention-56 | residual | 5.52 | not run | 0 of 3 | – | – |" in page
    assert "None of the 12 runs was begun; `ranbench run small.yaml` runs them." in page
    assert not any(f"## {name}" in page for name in ("Pictures", "Cost", "Environments", "Claims in detail"))
    assert not old.exists()


def test_verdicts_stand_at_a_glance_and_in_a_sentence(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE + CLAIM)
    for learning, level in (("residual", 5.0), ("naive", 9.0)):
        for spec in runs_of(suite, model="attention-56", learning=learning):
            recorder.done(spec, level + spec.seed / 10)

    page = report(suite, recorder.records, {}, out=tmp_path / "out").read_text(encoding="utf-8")

    (line,) = [line for line in page.splitlines() if line.startswith("| ✓ |")]
    assert line.split(" | ")[1] == "`helps`"
    assert line.split(" | ")[3:] == [
        "> 0 points".replace(">", "&gt;"),
        "reproduced",
        "+4.00 (+3.83 to +4.17) points",
        "95 %, one-sided",
        "[3 of 3](#cell-1), [3 of 3](#cell-2) |",
    ]
    assert "- **✓ `helps`**: Reproduced" in page
    assert "(small/claims.png)" in page


def test_without_compare_there_is_neither_paper_nor_verdict(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE + CLAIM)
    recorder.done(runs_of(suite)[0], 5.0)

    path = report(suite, recorder.records, {}, out=tmp_path / "out", compare=False)

    page = path.read_text(encoding="utf-8")
    assert "5.52" not in page
    assert "## Verdicts" not in page
    assert "| attention-56 | residual | 5.00 (a, b) | [1 of 3](#cell-1) | – | 4.75 |" in page


def test_hostile_names_break_neither_table_nor_page(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    text = SUITE.replace("title: A small suite", 'title: "<script>|`x`|_y_ $z$\\n# 100 % \\u202e日本"').replace(
        "two stages in place of three", '"a | b\\n| c <img src=x>"'
    )
    suite = load(text)
    hostile = replace(ENVIRONMENT, device_name="GPU|<b>`0`", versions={"torch": "2|<i>\n3"})
    recorder.done(runs_of(suite)[0], 5.0, environment=hostile)
    recorder.failed(runs_of(suite)[1], "oops | <script>\n\n# heading")

    page = report(suite, recorder.records, recorder.series, out=tmp_path / "out").read_text(encoding="utf-8")

    assert page.splitlines()[0] == "# &lt;script&gt;\\|\\`x\\`\\|\\_y\\_ \\$z\\$ \\# 100 % 日本"
    assert "<script" not in page
    assert "<img" not in page
    assert "- (b) seed 1 failed (diverged): oops \\| &lt;script&gt; \\# heading" in page
    assert "GPU\\|&lt;b&gt;\\`0\\`" in page
    for block in page.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1


OVER = """\
claims:
  - {id: everywhere, kind: better, over: [model], a: {learning: residual}, b: {learning: naive}, metric: error_pct}
  - {id: half, kind: ratio, a: {model: attention-56, learning: residual}, b: {model: attention-56, learning: naive},
     metric: error_pct, at_most: 0.9}
  - {id: depth, kind: trend, along: model, cells: {learning: naive}, metric: error_pct, direction: falling}
"""


def test_a_claim_over_a_matrix_lists_its_comparisons_and_what_stands_beside(
    load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    suite = load(SUITE + OVER)
    for learning, level in (("residual", 5.0), ("naive", 9.0)):
        for spec in runs_of(suite, learning=learning):
            recorder.done(spec, level + spec.seed / 10)

    page = report(suite, recorder.records, {}, out=tmp_path / "out").read_text(encoding="utf-8")

    shown = page.split("## Verdicts")[1].split("\n## ")[0]
    told = page.split("## Claims in detail")[1].split("\n## ")[0]
    levels = "98.33 %, the upper 99.17 %, one-sided"
    assert f"| reproduced | +4.00 (+3.74 to +4.32) points | {levels} | 3 of 3, in each of 4 cells |" in shown
    assert "\n  - ✓ attention-92: reproduced, +4.00 (+3.74 to +4.32) points\n" in told
    assert (
        "| reproduced | 0.56 (0.54 to 0.58) times | 97.5 %, one-sided | [3 of 3](#cell-1), [3 of 3](#cell-2) |" in shown
    )
    assert told.count("test images alone") == 1
    assert told.startswith(
        "\n\nThe 360 test images alone, whatever the seeds, leave the error of a cell open within (95 % binomial "
        "intervals, in percent): 'attention-56, residual' at 3.26 to 7.88; "
    )
    assert "(small/claims.png)" in page
    assert "a dot is the mean of the first cell over that of the second" in page
    assert "of a trend, a dot is the change of the fitted line in the claimed direction" in page


def test_the_head_says_which_runs_of_other_protocols_there_are_and_how_to_see_them(
    load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    full, smoke, brief = load(), load(protocol="smoke"), load(protocol="brief")
    for spec in runs_of(smoke)[:2]:
        recorder.done(spec, 91.0)
    recorder.failed(runs_of(smoke)[3], "diverged")
    recorder.done(runs_of(brief)[0], 6.0)
    unknown = full.protocol.model_copy(update={"iterations": 35})
    recorder.done(full.cells[0].run(unknown, 0), 7.0)

    head = report(full, recorder.records, {}, out=tmp_path).read_text(encoding="utf-8").split("\n## ")[0]

    assert "- **Runs:** 0 of 12 done, 12 not run.\n- **Other runs:** " in head
    found = [line.removeprefix("- **Other runs:** ") for line in head.splitlines() if "**Other runs:**" in line]
    where = "of 64 images, evaluated on all test images"
    alone, several = (
        f"{where}, stands at the end and enters no other number.",
        f"{where}, stand at the end and enter no",
    )
    page = "A page of such runs: `ranbench report small.yaml --protocol"
    assert sorted(found) == [
        f"1 scaled run (1 done) of another protocol, 30 iterations {alone} {page} brief --compare`.",
        f"1 scaled run (1 done) of another protocol, 35 iterations {alone}",
        f"3 smoke runs (2 done, 1 failed) of another protocol, 8 iterations {several} other number. "
        f"{page} smoke --compare`.",
    ]


def test_a_page_of_another_protocol_takes_the_place_of_none(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    full, smoke = load(), load(protocol="smoke")
    recorder.done(runs_of(full)[0], 5.0)
    recorder.done(runs_of(smoke)[0], 91.0)
    first = report(full, recorder.records, {}, out=tmp_path)
    before = first.read_bytes()

    second = report(smoke, recorder.records, {}, out=tmp_path)

    assert (first.name, second.name) == ("small.md", "small.smoke.md")
    assert first.read_bytes() == before
    page = second.read_text(encoding="utf-8")
    assert "(small.smoke/seeds.png)" in page
    assert (tmp_path / "small.smoke" / "seeds.png").is_file()
    assert "- **Other runs:** 1 full run (1 done) of another protocol, 40 iterations" in page
    assert "`ranbench report small.yaml --protocol short --compare`" in page


def test_full_runs_of_another_protocol_are_said_to_be_judged_on_their_own_page(
    load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    other, suite = load(), load(protocol="smoke")
    recorder.done(runs_of(other)[0], 5.0)

    page = report(suite, recorder.records, recorder.series, out=tmp_path / "out").read_text(encoding="utf-8")

    apart = page.split("## Other runs, full: ")[1]
    assert "on this page they stand beside none of the paper's numbers and get no verdict; a page under their" in apart


def test_a_suite_without_a_paper_speaks_of_what_was_published(load: Load, tmp_path: Path) -> None:
    head, rest = SUITE.split("paper:")
    text = head + rest.split("\n", 1)[1].split("deviations:")[0]

    page = report(load(text), [], {}, out=tmp_path / "out").read_text(encoding="utf-8")

    assert "| published (%) |" in page
    assert "| ours − published |" in page
    assert "Published is one number a cell, without a spread." in page
    assert "## Deviations\n\n\nNone is declared." in page or "## Deviations\n\nNone is declared." in page
    assert "the paper" not in page.lower()


def test_pictures_of_smoke_runs_say_so_large(load: Load, recorder: Recorder) -> None:
    suite = load(protocol="smoke")
    recorder.done(runs_of(suite)[0], 91.0)
    full = load()
    recorder.done(runs_of(full)[0], 5.0)

    def words(suite: Suite) -> list[list[str]]:
        made = Report(suite, tables(suite, recorder.records), recorder.series, compare=True)
        return [[text.get_text() for text in figure.texts] for figure in made.figures.values()]

    assert words(suite) and all("SMOKE" in some for some in words(suite))
    assert words(full) and not any("SMOKE" in some for some in words(full))


def test_numbers_of_every_table_lead_to_the_runs_behind_them(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    cell = "{model: attention-56, learning: naive}"
    suite = load(
        SUITE.replace(
            "published:\n", f"published:\n  - {{cell: {cell}, metric: depth, value: 56, unit: layers, where: t}}\n"
        )
        + CLAIM
    )
    for spec in suite.runs():
        recorder.done(spec, 5.0 + spec.seed)
    net = suite.cells[1]
    counted = {complexity_key(net.model, net.data): Counts(1_020_000, 122_000_000, 56)}
    built = tables(suite, recorder.records, counted, against={"their.zip": recorder.records[:3]})

    page, html, tex = write(Report(suite, built, {}, compare=True), tmp_path, ["md", "html", "tex"])

    text = page.read_text(encoding="utf-8")
    verdict = next(line for line in text.splitlines() if line.startswith("| – |") or "`helps`" in line)
    assert verdict.endswith("| [3 of 3](#cell-1), [3 of 3](#cell-2) |")
    assert "| attention-56 | residual | 6.00 ± 2.48 | [3](#cell-1) | 5.00 | 1 | +1.00 |" in text
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= set(re.findall(r'<a id="([^"]*)"', text))
    shown = html.read_text(encoding="utf-8")
    assert '<a href="#cell-1">3 of 3</a>, <a href="#cell-2">3 of 3</a>' in shown
    assert '<a href="#cell-2">1,020,000</a>' in shown
    printed = {file.stem: file.read_text(encoding="ascii") for file in (tmp_path / "small").glob("*.tex")}
    assert r"\hyperlink{cell-1}{3 of 3}, \hyperlink{cell-2}{3 of 3}" in printed["verdicts"]
    assert r"\hyperlink{cell-2}{1,020,000}" in printed["size-of-the-nets"]
    assert tex.is_file()


def test_pictures_of_a_suite_without_a_paper_speak_of_none(load: Load, recorder: Recorder) -> None:
    head, rest = SUITE.split("paper:")
    suite = load(head + rest.split("\n", 1)[1])
    for spec in suite.runs():
        recorder.done(spec, 5.0 + spec.seed)

    made = Report(suite, tables(suite, recorder.records), recorder.series, compare=True)

    captions = " ".join(picture.caption for picture, _ in made.pictures)
    words = [text.get_text() for figure in made.figures.values() for text in figure.findobj(Text)]
    assert "published value" in captions
    assert "published" in words
    assert not [said for said in (captions, *words) if "paper" in said]


def test_a_page_without_runs_has_no_link_to_them(load: Load, tmp_path: Path) -> None:
    built = tables(load(SUITE + CLAIM), [])

    page, html, _ = write(Report(load(SUITE + CLAIM), built, {}, compare=True), tmp_path, ["md", "html", "tex"])

    assert "0 of 3" in page.read_text(encoding="utf-8")
    assert "(#cell" not in page.read_text(encoding="utf-8")
    assert "#cell" not in html.read_text(encoding="utf-8")
    assert [file for file in (tmp_path / "small").glob("*.tex") if "{cell-" in file.read_text()] == []


def test_what_is_claimed_stands_beside_every_verdict(load: Load, recorder: Recorder) -> None:
    arms = "a: {model: attention-56, learning: residual}, b: {model: attention-56, learning: naive}, metric: error_pct"
    claims = (
        f"claims:\n  - {{id: one, kind: better, {arms}, min_effect: 0.5}}\n"
        f"  - {{id: two, kind: ratio, {arms}, at_most: 0.9}}\n  - {{id: three, kind: ratio, {arms}, at_least: 0.2}}\n"
        "  - {id: four, kind: value, cell: {model: attention-56, learning: naive}, metric: error_pct, margin: 1.0}\n"
    )
    suite = load(SUITE + claims)

    grid = content(suite, tables(suite, recorder.records), [], compare=True)["verdicts"]

    place = [column.heading for column in grid.columns].index("claimed")
    assert [(row[1].text, row[place].text) for row in grid.rows] == [
        ("one", "> 0.5 points"), ("two", "≤ 0.9 times"), ("three", "≥ 0.2 times"), ("four", "± 1 points"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("is -0.278 points (-3.1 to +3)", "is −0.278 points (−3.1 to +3)"),
        ("'attention-56' of 2026-01-01 at 1e-4", "'attention-56' of 2026-01-01 at 1e-4"),
    ],
)
def test_minus_signs_of_sentences_are_those_of_tables(sentence: str, shown: str) -> None:
    assert typeset(sentence) == shown


def test_datasets_that_are_fetched_are_named_before_the_run(load: Load) -> None:
    text = SUITE.replace("datasets: {digits: {train: 1437, test: 360}}\n", "")
    suite = load(text.replace("fixed: {dataset: digits}", "fixed: {dataset: cifar10}"))

    found = commands(suite, tables(suite, []), compare=True)

    assert found[:2] == ("ranbench data fetch cifar10", "ranbench run small.yaml")
    assert set(FETCHED) == {name for name in DATASETS if LOADERS[name].fetch}
