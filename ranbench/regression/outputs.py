"""A report in the forms that CI reads: JUnit, annotations and step summary of GitHub, markdown, JSON. Returns text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from ranbench.regression.findings import Finding, Kind, Report

# In the order in which a reader wants them.
ORDER = (
    Kind.REGRESSED,
    Kind.GONE,
    Kind.FAILED,
    Kind.EXCUSED,
    Kind.CANNOT_TELL,
    Kind.NOT_COMPARABLE,
    Kind.NEW,
    Kind.IMPROVED,
    Kind.UNCHANGED,
)
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def ordered(report: Report) -> list[Finding]:
    """List the findings, the most urgent first."""
    return sorted(report.findings, key=lambda finding: ORDER.index(finding.kind))


def headline(report: Report) -> str:
    """Say in a line how many findings there are of each kind."""
    counts = [(kind, len(report.of(kind))) for kind in ORDER]
    return ", ".join(f"{number} {kind}" for kind, number in counts if number) or "no findings"


def as_dict(report: Report, exit_code: int) -> dict[str, Any]:
    """Return the report as plain values for JSON."""
    return {
        "exit_code": exit_code,
        "unmeasured": list(report.unmeasured),
        "notes": list(report.notes),
        "findings": [{**asdict(one), "kind": str(one.kind)} for one in ordered(report)],
    }


def markdown(report: Report, exit_code: int) -> str:
    """Return the report as a page: what needs a look as a table, and the rest in numbers."""
    lines = [f"## ranbench check: {_verdict(exit_code)}", "", f"{headline(report)}.", ""]
    lines += [f"- **nothing measured**: {_cell(text)}" for text in report.unmeasured]
    lines += [f"- {_cell(text)}" for text in report.notes]
    shown = [one for one in ordered(report) if one.kind is not Kind.UNCHANGED]
    if shown:
        lines += ["", "| | suite | cell | metric | |", "|---|---|---|---|---|"]
        lines += [
            f"| {one.kind} | {_cell(one.suite)} | {_cell(one.cell)} | {_cell(one.metric)} | {_cell(one.text)} |"
            for one in shown
        ]
    return "\n".join(lines).rstrip() + "\n"


def _verdict(exit_code: int) -> str:
    words: Mapping[int, str] = {
        0: "passed",
        3: "runs failed",
        4: "regression",
        5: "undecided",
        6: "nothing measured",
        7: "not all could be written",
        130: "interrupted",
        143: "interrupted",
    }
    return f"{words.get(exit_code, 'ended')} (exit {exit_code})"


def _cell(text: str) -> str:
    """Keep a text within its cell of a table, and from being read as markup."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def github(report: Report) -> Iterator[str]:
    """Yield a command of GitHub for each finding that somebody should look at, in the format of its runner."""
    for one in ordered(report):
        level = {Kind.REGRESSED: "error", Kind.GONE: "error", Kind.FAILED: "error", Kind.EXCUSED: "notice"}.get(
            one.kind
        )
        if one.kind in (Kind.CANNOT_TELL, Kind.NOT_COMPARABLE):
            level = "warning"
        if level is not None:
            place = [f"file={_property(one.file)}"] if one.file else []
            title = f"title={_property(f'{one.kind}: {one.cell}, {one.metric}')}"
            yield f"::{level} {','.join([*place, title])}::{_data(f'{one.suite}: {one.text}')}"
    for text in report.unmeasured:
        yield f"::error title=nothing measured::{_data(text)}"


def harmless(text: str) -> str:
    """Keep a text on one line, and from being a command to GitHub's runner.

    The runner takes ``::`` at the beginning of a line, and the older ``##[`` anywhere in it.
    """
    flat = " ".join(text.split()).replace("##[", "## [")
    return f"- {flat}" if flat.startswith("::") else flat


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def junit(report: Report) -> str:
    """Return the report as JUnit XML: a suite for each suite, a case for each metric of a cell.

    What fires is a failure, failed runs and what was not measured are errors, what is undecided or cannot be compared
    is skipped; so a reader of the file fails where the command ends with 3, 4
    or 6. Signals, --strict and files that cannot be written are told by the exit code alone.
    """
    root = ElementTree.Element("testsuites", name="ranbench check")
    names = dict.fromkeys(one.suite for one in report.findings)
    totals = [0, 0, 0, 0]
    for name in names:
        own = [one for one in report.findings if one.suite == name]
        added = _junit_suite(root, name, [(one.cell, one.metric, one.kind, one.text) for one in own])
        totals = [total + more for total, more in zip(totals, added, strict=True)]
    if report.notes:
        element = ElementTree.SubElement(root, "testsuite", name="ranbench notes", tests="0", failures="0", errors="0")
        ElementTree.SubElement(element, "system-out").text = _xml("\n".join(report.notes))
    if report.unmeasured:
        cases = [("all", "measured", Kind.FAILED, text) for text in report.unmeasured]
        added = _junit_suite(root, "ranbench", cases)
        totals = [total + more for total, more in zip(totals, added, strict=True)]
    for key, number in zip(("tests", "failures", "errors", "skipped"), totals, strict=True):
        root.set(key, str(number))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _junit_suite(root: ElementTree.Element, name: str, cases: list[tuple[str, str, Kind, str]]) -> list[int]:
    """Add a suite, and return its numbers of cases, failures, errors and skipped ones."""
    element = ElementTree.SubElement(root, "testsuite", name=_xml(name))
    numbers = {"tests": len(cases), "failure": 0, "error": 0, "skipped": 0}
    for cell, metric, kind, text in cases:
        case = ElementTree.SubElement(element, "testcase", classname=_xml(f"{name}.{cell}"), name=_xml(metric))
        tag = {Kind.REGRESSED: "failure", Kind.GONE: "failure", Kind.FAILED: "error"}.get(kind)
        if kind in (Kind.CANNOT_TELL, Kind.NOT_COMPARABLE, Kind.EXCUSED, Kind.NEW):
            tag = "skipped"
        if tag is None:
            ElementTree.SubElement(case, "system-out").text = _xml(f"{kind}: {text}")
            continue
        numbers[tag] += 1
        ElementTree.SubElement(case, tag, message=_xml(f"{kind}: {text}"))
    counted = [numbers[key] for key in ("tests", "failure", "error", "skipped")]
    for key, number in zip(("tests", "failures", "errors", "skipped"), counted, strict=True):
        element.set(key, str(number))
    return counted


def _xml(text: str) -> str:
    """Leave out what XML has no way to write."""
    return _NO_XML.sub("?", text)
