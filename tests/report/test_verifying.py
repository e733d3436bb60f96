"""A committed report is compared number by number with the one that its runs give now."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ranbench.errors import UsageError
from ranbench.report import Report, tables, write
from ranbench.report.formats import text_of
from ranbench.report.verifying import Difference, committed, differences
from ranbench.suite import Suite

from .conftest import Load, Recorder


def made(suite: Suite, recorder: Recorder) -> Report:
    return Report(suite, tables(suite, recorder.records), recorder.series, compare=True)


@pytest.mark.parametrize("kind", ["md", "json"])
def test_a_report_that_was_not_changed_has_no_difference(
    kind: str, mixed: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    report = made(mixed, recorder)
    (path,) = write(report, tmp_path, [kind])

    found = committed(path)

    assert (found.suite, found.compare, found.protocol, found.against) == ("small.yaml", True, None, ())
    assert differences(found, text_of(report, found.kind)) == ()


def test_a_changed_number_of_a_page_is_told_with_its_row_and_column(
    mixed: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    report = made(mixed, recorder)
    (path,) = write(report, tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("5.50 ± 1.24", "5.40 ± 1.24").replace("4 of 12 done", "5 of 12 done"), "utf-8")

    found = differences(committed(path), text_of(report, "md"))

    assert [one.where for one in found] == ["line 7", "line 16, attention-56, residual, ours (%)"]
    assert str(found[1]).endswith("'5.40 ± 1.24' in the file, '5.50 ± 1.24' recomputed")


def test_a_row_that_is_missing_is_told(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    report = made(mixed, recorder)
    (path,) = write(report, tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:15] + lines[16:]), "utf-8")

    (found,) = differences(committed(path), text_of(report, "md"))

    assert (found.where, found.committed) == ("after line 15", None)
    assert (found.recomputed or "").startswith("| attention-56 | residual |")


def test_a_changed_number_of_json_is_told_at_its_place_in_full_precision(
    mixed: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    report = made(mixed, recorder)
    (path,) = write(report, tmp_path, ["json"])
    value = json.loads(path.read_text(encoding="utf-8"))
    value["results"][0]["rows"][0]["ours"]["mean"] += 1e-12
    value["commands"][0] = "ranbench run elsewhere.yaml"
    del value["runs"][11]
    path.write_text(json.dumps(value), encoding="utf-8")

    first, second = differences(committed(path), text_of(report, "json"))

    assert first == Difference("results[0].rows[0].ours.mean", "5.500000000001", "5.5")
    assert (second.where, second.committed) == ("runs[11]", None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        *(
            (f"x.{kind}", "", "(allowed: md, json); 'ranbench report SUITE --format md,json' writes them")
            for kind in ("html", "tex", "csv")
        ),
        ("x.md", "# A page\n", "does not tell the command that made it"),
        ("x.md", "```sh\nranbench report small --comparee\n", "'--comparee' is not known; did you mean '--compare'?"),
        ("x.md", "```sh\nranbench report small --factor\n", "cannot follow its command"),
        ("x.md", "```sh\nranbench report small --seeds two\n", "cannot follow its command"),
        ("x.json", "[1", "cannot be read as a report"),
        ("x.json", "[]", "cannot be read as a report"),
        ("y.md", None, "cannot be read as a report"),
    ],
)
def test_a_file_that_cannot_be_verified_is_refused_in_a_line(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)

    with pytest.raises(UsageError) as refused:
        committed(tmp_path / name)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "added",
    ["ranbench run x and every claim is reproduced at 1.23 % error.", "see `ranbench report small.yaml` for 99 seeds"],
)
def test_words_that_are_added_are_told_also_where_they_look_like_a_command(
    added: str, load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    suite = load()
    recorder.done(suite.cells[0].run(suite.protocol, 0), 5.0)
    (path,) = write(made(suite, recorder), tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\n\n", f"\n\n{added}\n\n", 1), encoding="utf-8")

    found = committed(path)

    assert differences(found, text_of(made(suite, recorder), "md")) != ()


def test_the_command_of_a_page_is_not_taken_from_a_suite_s_own_words(
    load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    suite = dataclasses.replace(load(), about="ranbench report of the first paper, by us.")
    recorder.done(suite.cells[0].run(suite.protocol, 0), 5.0)
    (path,) = write(made(suite, recorder), tmp_path / "out")

    assert committed(path).suite == "small.yaml"


def test_a_key_that_stands_twice_in_json_is_refused(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load()
    recorder.done(suite.cells[0].run(suite.protocol, 0), 5.0)
    (path,) = write(made(suite, recorder), tmp_path / "out", ["json"])
    path.write_text(path.read_text(encoding="utf-8").replace('"suite"', '"suite": "x", "suite"', 1), encoding="utf-8")

    with pytest.raises(UsageError, match="cannot be read as a report: the key 'suite' stands twice"):
        committed(path)


@pytest.mark.parametrize("kind", ["md", "json"])
def test_a_page_of_another_protocol_is_verified_by_its_own_command(
    kind: str, load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    full, smoke = load(), load(protocol="smoke")
    recorder.done(full.cells[0].run(full.protocol, 0), 5.0)
    recorder.done(smoke.cells[0].run(smoke.protocol, 0), 90.0)
    (path,) = write(made(smoke, recorder), tmp_path, [kind])

    found = committed(path)

    assert (path.name, found.protocol) == (f"small.smoke.{kind}", "smoke")
    assert differences(found, text_of(made(smoke, recorder), found.kind)) == ()


def test_where_the_protocol_of_other_runs_is_not_at_hand_no_difference_is_told(
    load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    suite, brief = load(), load(protocol="brief")
    recorder.done(suite.cells[0].run(suite.protocol, 0), 5.0)
    recorder.done(brief.cells[0].run(brief.protocol, 0), 6.0)
    (path,) = write(made(suite, recorder), tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    (tmp_path / "protocols" / "brief.yaml").unlink()

    anew = text_of(made(suite, recorder), "md")

    assert "A page of such runs: `ranbench report small.yaml --protocol brief --compare`" in text
    assert "A page of such runs" not in anew
    assert differences(committed(path), anew) == ()
    assert differences(committed(path), anew.replace("1 scaled run", "2 scaled runs")) != ()
