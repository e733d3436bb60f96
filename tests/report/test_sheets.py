"""CSV: numbers as they are, words that no spreadsheet computes, and the same numbers as on the page."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from ranbench.report import FORMATS, Report, tables, write
from ranbench.report.formats import text_of
from ranbench.report.frame import harmless
from ranbench.report.layout import number
from ranbench.report.sheets import sheets
from ranbench.suite import Suite, load_suite

from .conftest import CLAIM, SUITE, Load, Recorder

ROOT = Path(__file__).resolve().parents[2]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'=1"),
        ("\t=1", "'=1"),
        ("\ufeff=1", "'=1"),
        ("\u202e+1\n=2", "'+1 =2"),
        ("'=1", "''=1"),
        ("two\r\nlines\u2028and\ufeff more", "two lines and more"),
        ("a;=1; @x;b - c", "a;'=1; '@x;b - c"),
        ("＝1", "'＝1"),
        ("a=1", "a=1"),
        ("", ""),
        (-0.5, -0.5),
        (None, None),
        (True, "true"),
    ],
)
def test_text_that_begins_like_a_formula_is_defused_and_numbers_are_not(value: object, cell: object) -> None:
    assert harmless(value) == cell


def test_numbers_are_those_of_the_page_in_full(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    report = Report(mixed, tables(mixed, recorder.records), recorder.series, compare=True)
    page, *_ = write(report, tmp_path, ["md", "csv"])

    first = rows((tmp_path / "small" / "results.csv").read_bytes().decode())[0]

    shown = [number(float(first[f"ours.{name}"]), "percent") for name in ("mean", "half_interval")]
    assert first["ours.mean"] == "5.5"
    assert " ± ".join(shown) in page.read_text(encoding="utf-8")
    assert number(float(first["difference"]), "percent", signed=True) == "−0.02"


def test_lines_end_as_the_standard_says_and_all_have_the_same_number_of_cells(
    hostile: Suite, recorder: Recorder
) -> None:
    for name, text in sheets(tables(hostile, recorder.records)).items():
        assert text.endswith("\r\n"), name
        assert len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}) == 1, name


def test_hostile_words_come_back_as_text(hostile: Suite, recorder: Recorder) -> None:
    found = sheets(tables(hostile, recorder.records))

    (told,) = [row["text"] for row in rows(found["deviations"]) if row["id"] == "net"]
    assert told == "'=cmd|' /C calc'!A0 | b | c <img src=x onerror=alert(1)> ]]></style>"
    starts = {cell[:1] for text in found.values() for row in csv.reader(io.StringIO(text, newline="")) for cell in row}
    assert starts & set("=+@") == set()


def test_json_holds_no_character_that_cannot_be_seen(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE.replace("title: A small suite", 'title: "a\\u202eb\\ufeffc\\u2066d 日本"'))
    report = Report(suite, tables(suite, recorder.records), recorder.series, compare=True)

    text = text_of(report, "json")

    assert text.isascii() or not re.search("[\u202e\ufeff\u2066]", text)
    assert '"title": "a\\u202eb\\ufeffc\\u2066d 日本"' in text
    assert json.loads(text) == report.as_dict()


def test_runs_of_other_protocols_have_files_of_their_own(load: Load, recorder: Recorder) -> None:
    full, smoke = load(), load(protocol="smoke")
    recorder.done(smoke.runs()[0], 91.0)

    found = sheets(tables(full, recorder.records))

    (row,) = rows(found["other-runs"])
    assert (row["fidelity"], row["label"], row["metrics.error_pct"]) == ("smoke", "attention-56, residual", "91.0")
    assert "attempt_id" not in row


def test_files_of_an_earlier_report_go(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    old = tmp_path / "small" / "verdicts.csv"
    old.parent.mkdir()
    old.write_text("of an earlier report")

    write(Report(mixed, tables(mixed, recorder.records), {}, compare=True), tmp_path, ["csv"])

    assert not old.exists()


def test_a_value_that_is_not_finite_is_missing_in_every_format(
    hostile: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    report = Report(hostile, tables(hostile, recorder.records), recorder.series, compare=True)

    files = write(report, tmp_path, list(FORMATS))

    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    (naive,) = [row for row in json.loads(texts["small.json"])["results"][0]["rows"] if row["cell"] == 2]
    assert (naive["ours"], naive["standing"]) == (None, "missing")
    assert "| attention-56 | naive | 5.89 | missing (" in texts["small.md"]
    assert rows(texts["results.csv"])[1]["ours.mean"] == ""
    assert '<td class="right">missing<sup>' in texts["small.html"]
    assert "missing\\textsuperscript" in (tmp_path / "small" / "results-test-error.tex").read_text()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_a_suite_without_any_run(name: str, load: Load, tmp_path: Path) -> None:
    suite = load(SUITE + CLAIM)

    files = write(Report(suite, tables(suite, []), {}, compare=True), tmp_path, [name])

    together = "".join(file.read_text(encoding="utf-8") for file in [*files, *tmp_path.rglob("*.tex")])
    assert "not run" in together
    assert not re.search(r"\bnan\b", together.partition("<script>")[0], re.IGNORECASE)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=[] if file.stem in ("table2", "table5") else [pytest.mark.slow])
        for file in sorted((ROOT / "suites").glob("*.yaml"))
    ],
)
def test_every_suite_of_the_package_is_written_in_every_format(file: Path, tmp_path: Path) -> None:
    suite = load_suite(file)

    files = write(Report(suite, tables(suite, []), {}, compare=True), tmp_path, [*FORMATS])

    assert {path.suffix for path in files} == {f".{name}" for name in FORMATS}
    assert suite.title.split()[0] in (tmp_path / f"{suite.name}.html").read_text(encoding="utf-8")


def test_a_thousand_runs_are_written_in_every_format(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE.replace("seeds: 3", "seeds: 250"))
    for spec in suite.runs():
        recorder.done(spec, 5.0 + spec.seed / 100)

    files = write(Report(suite, tables(suite, recorder.records), recorder.series, compare=True), tmp_path, [*FORMATS])

    assert len(rows((tmp_path / "small" / "runs.csv").read_bytes().decode())) == 1000
    assert [file.read_text(encoding="utf-8").count("c0dec0de") >= 1000 for file in files[:2]] == [True, True]
