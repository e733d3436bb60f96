"""Reports in the forms of CI, read back: JUnit by an XML parser, annotations by the rules of GitHub's runner."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from ranbench.regression import Finding, Kind, Report
from ranbench.regression.outputs import as_dict, github, harmless, junit, markdown

ODD = 'a <b> & "c", 100 %: 50\nnext\x00 line | end'


@pytest.fixture
def report() -> Report:
    """One finding of every kind, one of them with text that every format must escape."""
    findings = [Finding("tiny", f"cell {kind}", "error_pct", kind, "4 to 9", file="suites/tiny.yaml") for kind in Kind]
    return Report((*findings, Finding("tiny", ODD, "loss", Kind.REGRESSED, ODD, file="a,b:c.yaml")))


def test_junit_is_xml_with_a_case_for_each_finding_and_numbers_that_add_up(report: Report) -> None:
    root = ElementTree.fromstring(junit(report))

    cases = root.findall("./testsuite/testcase")
    inside = {tag: len(root.findall(f".//{tag}")) for tag in ("failure", "error", "skipped")}
    assert len(cases) == len(report.findings) == int(root.attrib["tests"])
    assert inside == {"failure": 3, "error": 1, "skipped": 4}
    assert [int(root.attrib[key]) for key in ("failures", "errors", "skipped")] == list(inside.values())
    assert cases[-1].attrib["classname"] == 'tiny.a <b> & "c", 100 %: 50\nnext? line | end'.replace("\n", "\n")


def test_junit_has_an_error_where_nothing_was_measured() -> None:
    root = ElementTree.fromstring(junit(Report((), ("suite 'x' is not in the baseline",))))

    assert root.attrib["errors"] == "1"
    assert "not in the baseline" in root.findall(".//error")[0].attrib["message"]


def test_annotations_are_read_by_the_rules_of_github(report: Report) -> None:
    lines = list(github(report))

    read = [re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line) for line in lines]
    assert all(read)
    levels = [match[1] for match in read if match]
    assert (levels.count("error"), levels.count("warning"), levels.count("notice")) == (4, 2, 1)
    odd = next(match for match in read if match and "100" in match[3])
    properties = dict(part.split("=", 1) for part in odd[2].split(","))
    decoded = {key: unescaped(value) for key, value in properties.items()}
    assert decoded == {"file": "a,b:c.yaml", "title": f"regressed: {ODD}, loss"}
    assert unescaped(odd[3]) == f"tiny: {ODD}"


def unescaped(text: str) -> str:
    """As the runner of GitHub reads a property or a message."""
    for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_the_page_shows_what_needs_a_look_first_and_unchanged_metrics_as_a_number(report: Report) -> None:
    page = markdown(report, 4)

    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert page.startswith("## ranbench check: regression (exit 4)\n\n2 regressed, 1 gone, 1 failed, 1 excused, ")
    assert [row.split(" | ")[0] for row in rows[1:4]] == ["| regressed", "| regressed", "| gone"]
    assert "| unchanged" not in page
    assert r"a \<b\> & \"c\"".replace(r"\"", '"') in page


def test_json_holds_all_of_every_finding(report: Report) -> None:
    found = as_dict(report, 4)

    assert found["exit_code"] == 4
    assert {one["kind"] for one in found["findings"]} == {str(kind) for kind in Kind}
    assert set(found["findings"][0]) == set(Finding.__dataclass_fields__)


def test_a_report_without_findings_is_no_success() -> None:
    assert Report(()).exit_code() == 6
    assert Report((), stopped=15).exit_code() == 143


@pytest.mark.parametrize(
    "text",
    ["::set-output name=a::b", "  ::error::b", "one\n::stop-commands::x", "one\r\n##[error]x", "one ##[add-mask]x"],
)
def test_no_text_can_be_a_command_of_github(text: str) -> None:
    found = harmless(text)

    assert not re.match(r"\s*::", found)
    assert "##[" not in found
    assert len(found.splitlines()) == 1


def test_junit_tells_the_notes() -> None:
    finding = Finding("tiny", "small", "loss", Kind.UNCHANGED, "as before")

    root = ElementTree.fromstring(junit(Report((finding,), notes=("no new run: 6 runs of 2026-12-01",))))

    assert root.findtext("./testsuite/system-out") == "no new run: 6 runs of 2026-12-01"
    assert root.attrib["tests"] == "1"
