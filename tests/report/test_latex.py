"""LaTeX: every character is ASCII and no value a command; compiled where a TeX is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ranbench.report import Report, tables, write
from ranbench.report.document import Table
from ranbench.report.latex import PREAMBLE, table, text
from ranbench.report.layout import Column, Entry, Grid
from ranbench.suite import Suite

from .conftest import Recorder


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("attention-56, naive", "attention-56, naive"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("100 % & #1 $x$ a_b ^ ~", r"100 \% \& \#1 \$x\$ a\_b \textasciicircum{} \textasciitilde{}"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        ("--compare ,,", r"-{}-{}compare ,{},{}"),
        ("^^41", r"\textasciicircum{}\textasciicircum{}41"),
        ("[x] *", "{[}x{]} {*}"),
        ("5.50 ± 1.24 − 2 × 10¹⁵", r"5.50 \ensuremath{\pm} 1.24 \ensuremath{-} 2 \ensuremath{\times} 10"
         r"\ensuremath{^{1}}\ensuremath{^{5}}"),
        ("naïve façade Łódź", r"na\"{\i}ve fa\c{c}ade \L{}\'{o}d\'{z}"),
        ("日本", r"\ranbenchcharacter{65E5}\ranbenchcharacter{672C}"),
        ("line\n\nbreak\u202e", "line break"),
    ],
)  # fmt: skip
def test_text_is_escaped(raw: str, escaped: str) -> None:
    assert text(raw) == escaped


def test_a_table_has_rules_links_and_its_notes_beneath() -> None:
    rows = (
        (Entry("a", anchor="x"), Entry("1", notes=("one", "two"))),
        (Entry("b", code=True), Entry("2", link="x", notes=("two",))),
    )

    drawn = table(Table(Grid((Column("name"), Column("value", "right")), rows), "Some 100 %", "some"))

    assert drawn.splitlines()[0] == r"% A table of a report, made by ranbench: Some 100 \%"
    assert r"\begin{tabular}{@{}lr@{}}" in drawn
    assert r"\hypertarget{x}{a} & 1\textsuperscript{a, b} \\" in drawn
    assert r"\texttt{b} & \hyperlink{x}{2}\textsuperscript{b} \\" in drawn
    assert "\\item[(a)] one\n\\item[(b)] two\n" in drawn


def test_a_long_table_goes_over_pages() -> None:
    rows = tuple((Entry(str(number)),) for number in range(31))

    drawn = table(Table(Grid((Column("n", "right"),), rows), "Numbers", "numbers"))

    assert r"\begin{longtable}{@{}r@{}}" in drawn


def test_files_are_ascii_and_hold_no_command_of_a_value(hostile: Suite, recorder: Recorder, tmp_path: Path) -> None:
    report = Report(hostile, tables(hostile, recorder.records), recorder.series, compare=True)

    (path,) = write(report, tmp_path, ["tex"])

    written = "".join(file.read_text(encoding="ascii") for file in [path, *(tmp_path / "small").glob("*.tex")])
    assert r"\write18" not in written
    assert r"\input{x}" not in written
    assert set(re.findall(r"\\input\{([^}]*)\}", written)) == {
        f"small/{name}.tex" for name in ("verdicts", "results-test-error", "every-run", "cost", "environments")
    }


def test_tables_of_an_earlier_report_go_and_other_files_stay(
    mixed: Suite, hostile: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    write(Report(hostile, tables(hostile, recorder.records), {}, compare=True), tmp_path, ["tex"])
    own = tmp_path / "small" / "own.tex"
    own.write_text("my words")
    (tmp_path / "small" / "claims.pdf").write_bytes(b"of an earlier report")

    write(Report(mixed, tables(mixed, recorder.records), {}, compare=False), tmp_path, ["tex"])

    assert not (tmp_path / "small" / "verdicts.tex").exists()
    assert not (tmp_path / "small" / "claims.pdf").exists()
    assert own.exists()


def pdflatex(file: Path) -> str:
    """Compile a file twice, and return the words of its pages."""
    if not shutil.which("pdflatex"):
        pytest.skip("LATEX NOT COMPILED: no pdflatex here (Debian: texlive-latex-recommended and lmodern)")
    for _ in range(2):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", file.name]
        found = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False, errors="replace")
        assert found.returncode == 0, found.stdout[-2000:]
        assert "Missing character" not in found.stdout
    if not shutil.which("pdftotext"):
        return ""
    shown = subprocess.run(["pdftotext", file.with_suffix(".pdf"), "-"], capture_output=True, text=True, check=True)
    return " ".join(shown.stdout.split())


def test_a_long_table_of_many_columns_fits_the_page(tmp_path: Path) -> None:
    columns = (Column("cell"), *(Column(f"response of stage {index}", "right") for index in range(16)), Column("run"))
    row = (Entry("attention-164, naive"), *[Entry("12,345.678")] * 16, Entry("c0dec0dec0de", code=True))
    made = table(Table(Grid(columns, (row,) * 40), "Every run", "every-run"))
    file = tmp_path / "x.tex"
    geometry = "\\usepackage[landscape,margin=18mm]{geometry}\n"
    head = f"\\documentclass[a4paper,10pt]{{article}}\n{PREAMBLE}{geometry}"
    file.write_text(f"{head}\\begin{{document}}\n{made}\\end{{document}}\n")
    shares = [float(share) for share in re.findall(r"dimexpr ([0-9.]+)", made)]

    pdflatex(file)

    assert len(shares) == len(columns)
    assert sum(shares) == pytest.approx(1, abs=0.001)
    assert "in alignment" not in file.with_suffix(".log").read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("name", ["mixed", "hostile"])
def test_the_file_compiles_by_itself(
    name: str, recorder: Recorder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    suite: Suite = request.getfixturevalue(name)
    (path,) = write(Report(suite, tables(suite, recorder.records), recorder.series, compare=True), tmp_path, ["tex"])

    shown = pdflatex(path)

    assert path.with_suffix(".pdf").stat().st_size > 10_000
    if shown:
        assert ("5.50 ± 1.24" if name == "mixed" else r"\input{x} %{}~^& # 100 % [U+65E5][U+672C] =1+1") in shown


def test_a_table_is_taken_into_another_document(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    write(Report(mixed, tables(mixed, recorder.records), {}, compare=True), tmp_path, ["tex"])
    paper = tmp_path / "paper.tex"
    begin = f"\\documentclass[twocolumn]{{article}}\n{PREAMBLE}\\begin{{document}}\\begin{{table}}\n"
    paper.write_text(f"{begin}\\input{{small/results-test-error}}\\caption{{Ours.}}\\end{{table}}\\end{{document}}")

    shown = pdflatex(paper)

    if shown:
        assert "5.50 ± 1.24" in shown
