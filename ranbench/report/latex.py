"""A document -> LaTeX: a file that compiles by itself, and each table in a file of its own for ``\\input``.

Every character that is not ASCII is written as a command, so any engine and any encoding will do; pdflatex is the one
that the tests use. Nothing in a value is a command.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ranbench.report.document import (
    Block,
    Code,
    Heading,
    Illustration,
    Inline,
    Items,
    Listing,
    Paragraph,
    Strong,
    Table,
)
from ranbench.report.layout import Column, Entry, Grid, letter, one_line

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # an optional argument, behind a line's end in a table
    "]": "{]}",
    "*": "{*}",  # the same
}
_SIGNS = {
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "≈": r"\ensuremath{\approx}",
    "≠": r"\ensuremath{\neq}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "→": r"\ensuremath{\rightarrow}",
    "·": r"\ensuremath{\cdot}",
    "°": r"\ensuremath{^{\circ}}",
    "µ": r"\ensuremath{\mu}",
    "μ": r"\ensuremath{\mu}",
    "σ": r"\ensuremath{\sigma}",
    "✓": r"\ensuremath{\checkmark}",
    "✗": r"\ensuremath{\times}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\dots{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "§": r"\S{}",
    "¦": r"\textbrokenbar{}",
    "©": r"\textcopyright{}",
    **{sign: rf"\ensuremath{{^{{{index}}}}}" for index, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "⁻": r"\ensuremath{^{-}}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
    "\u0328": "k",
}
_DOTLESS = {"i": r"\i", "j": r"\j"}
_LONG = 30  # characters of an entry that may be broken into lines
_CHARACTER, _BETWEEN, _ACROSS = 1.3, 2.1, 250.0  # millimetres, of a long table and of the page that it stands on
_PAGE = 30  # rows of a table that stay together
_LEVELS = {2: "section", 3: "subsection"}
# What a table needs from a document that takes it in.
PREAMBLE = r"""\usepackage[T1]{fontenc}
\usepackage{amssymb}
\usepackage{array}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage{longtable}
\usepackage{textcomp}
"""
# Before each table, so that it needs no more: links are words where hyperref is not loaded.
_PROVIDED = r"""\providecommand{\hyperlink}[2]{#2}
\providecommand{\hypertarget}[2]{#2}
\providecommand{\ranbenchcharacter}[1]{[U+#1]}"""
_MADE = "% A table of a report, made by ranbench: "


def page(blocks: Sequence[Block], files: Mapping[str, str], folder: str) -> str:
    """Render a document that takes its tables and pictures from ``folder``.

    Args:
        blocks: the document.
        files: the pictures' files in the folder, by the names of the document.
        folder: name of the folder beside the file, of letters, digits and hyphens.
    """
    title, *rest = blocks
    assert isinstance(title, Heading)
    body = "\n\n".join(_block(block, files, folder) for block in rest)
    return (
        "% Made by ranbench. Compile it with pdflatex, twice for long tables.\n"
        "\\documentclass[a4paper,10pt]{article}\n"
        f"{PREAMBLE}"
        "\\IfFileExists{lmodern.sty}{\\usepackage{lmodern}}{}\n"
        "\\usepackage[landscape,margin=18mm]{geometry}\n"
        "\\usepackage[colorlinks,allcolors=blue]{hyperref}\n"
        f"{_PROVIDED}\n"
        "\\setlength{\\parindent}{0pt}\n"
        "\\setlength{\\parskip}{5pt plus 2pt}\n"
        "\\emergencystretch=3em\n"
        "\\begin{document}\n"
        f"{{\\LARGE\\bfseries {inline(title.parts)}\\par}}\n\n"
        f"{body}\n"
        "\\end{document}\n"
    )


def text(value: str) -> str:
    """Escape words for LaTeX, in ASCII."""
    # Fonts join two hyphens to a dash, and two commas to a quotation mark.
    return "".join(map(_character, one_line(value))).replace("--", "-{}-{}").replace(",,", ",{},{}")


def _character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char in _SIGNS:
        return _SIGNS[char]
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFD", char)
    base, accent = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and accent in _ACCENTS:
        above = accent not in ("\u0327", "\u0328")
        return rf"\{_ACCENTS[accent]}{{{_DOTLESS.get(base, base) if above else base}}}"
    return rf"\ranbenchcharacter{{{ord(char):04X}}}"


def inline(parts: Sequence[Inline]) -> str:
    """Write words with their markup."""
    return "".join(map(_part, parts))


def _part(part: Inline) -> str:
    if isinstance(part, Strong):
        return rf"\textbf{{{inline(part.parts)}}}"
    if isinstance(part, Code):
        return rf"\texttt{{{text(part.text)}}}"
    outer = " " if part.text[:1] == " " else "", " " if part.text.strip() and part.text[-1:] == " " else ""
    return f"{outer[0]}{text(part.text)}{outer[1]}"


def _block(block: Block, files: Mapping[str, str], folder: str) -> str:
    if isinstance(block, Heading):
        return rf"\{_LEVELS.get(block.level, 'subsubsection')}*{{{inline(block.parts)}}}"
    if isinstance(block, Paragraph):
        return inline(block.parts)
    if isinstance(block, Items):
        return _items([f"{inline(one.parts)}{_items([*map(inline, one.below)])}" for one in block.items])
    if isinstance(block, Listing):
        lines = "\\\\\n".join(rf"\texttt{{{text(line)}}}" for line in block.lines)
        return f"\\begin{{quote}}\n\\raggedright\n{lines}\n\\end{{quote}}"
    if isinstance(block, Table):
        return rf"\input{{{folder}/{block.name}.tex}}"
    assert isinstance(block, Illustration)
    return (
        "\\begin{center}\n"
        rf"\includegraphics[width=0.75\linewidth,height=0.8\textheight,keepaspectratio]{{{folder}/{files[block.picture.file]}}}"
        f"\n\n\\small {text(block.picture.caption)}\n\\end{{center}}"
    )


def _items(items: Sequence[str]) -> str:
    """Write a list; nothing where it is empty."""
    lines = [rf"\item {item}" for item in items]
    return "\n".join(["", r"\begin{itemize}", *lines, r"\end{itemize}"]) if lines else ""


def is_table(content: str) -> bool:
    """Tell whether a file is a table that was written here."""
    return content.startswith(_MADE)


def table(block: Table) -> str:
    """Render a table for ``\\input``: at most as wide as the line, or over several pages where it is long."""
    letters: dict[str, str] = {}
    grid = block.grid
    rows = [" & ".join(_entry(entry, letters) for entry in row) + r" \\" for row in grid.rows]
    heads = " & ".join(rf"\textbf{{{text(column.heading)}}}" if column.heading else "" for column in grid.columns)
    shapes = [_shape(column, index, grid) for index, column in enumerate(grid.columns)]
    if len(rows) > _PAGE and (shares := _shares(grid)):
        shapes = [_shared(column, share) for column, share in zip(grid.columns, shares, strict=True)]
    shape = "@{}" + "".join(shapes) + "@{}"
    notes = [rf"\item[({mark})] {text(note)}" for note, mark in letters.items()]
    drawn = (_long if len(rows) > _PAGE else _short)(shape, heads, rows)
    beneath = ["{\\footnotesize", "\\begin{itemize}", *notes, "\\end{itemize}}"] if notes else []
    return "\n".join([f"{_MADE}{text(block.title)}", _PROVIDED, *drawn, *beneath, ""])


def _short(shape: str, heads: str, rows: Sequence[str]) -> list[str]:
    return [
        "{\\small",
        "\\setbox0=\\hbox{%",
        f"\\begin{{tabular}}{{{shape}}}",
        *("\\toprule", f"{heads} \\\\", "\\midrule", *rows, "\\bottomrule"),
        "\\end{tabular}}%",
        "\\noindent\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\box0}\\else\\box0\\fi\\par}",
    ]


def _long(shape: str, heads: str, rows: Sequence[str]) -> list[str]:
    size = r"\tiny\setlength{\tabcolsep}{2pt}" if r"\linewidth" in shape else r"\scriptsize\setlength{\tabcolsep}{3pt}"
    return [
        f"{{{size}\\setlength{{\\LTleft}}{{0pt}}",
        f"\\begin{{longtable}}{{{shape}}}",
        *("\\toprule", f"{heads} \\\\", "\\midrule", "\\endhead", "\\bottomrule", "\\endfoot"),
        *rows,
        "\\end{longtable}}",
    ]


def _shares(grid: Grid) -> list[float]:
    """Divide the line among the columns of a long table, which cannot be made smaller; nothing where all is narrow."""
    needed = []
    for index, column in enumerate(grid.columns):
        words = [word for row in grid.rows for word in (row[index].text if column.align == "left" else "").split()]
        whole = [row[index].text for row in grid.rows]
        longest = max(map(len, (*words, *column.heading.split(), "")))
        needed.append(max(longest, min(max(map(len, (*whole, column.heading))), _LONG)))
    if sum(needed) * _CHARACTER + len(needed) * _BETWEEN <= _ACROSS:
        return []
    return [one / sum(needed) for one in needed]


def _shared(column: Column, share: float) -> str:
    side = "raggedleft" if column.align == "right" else "raggedright"
    return rf">{{\{side}\arraybackslash}}p{{\dimexpr {share:.4f}\linewidth-2\tabcolsep\relax}}"


def _shape(column: Column, index: int, grid: Grid) -> str:
    if column.align == "right":
        return "r"
    return r">{\raggedright\arraybackslash}p{60mm}" if any(len(row[index].text) > _LONG for row in grid.rows) else "l"


def _entry(entry: Entry, letters: dict[str, str]) -> str:
    shown = rf"\texttt{{{text(entry.text)}}}" if entry.code else text(entry.text)
    if entry.parts:
        shown = ", ".join(_entry(part, letters) for part in entry.parts)
    if link := entry.link or entry.runs:
        shown = rf"\hyperlink{{{link}}}{{{shown}}}"
    if entry.anchor:
        shown = rf"\hypertarget{{{entry.anchor}}}{{{shown}}}"
    marks = [letters.setdefault(note, letter(len(letters))) for note in entry.notes]
    return f"{shown}\\textsuperscript{{{', '.join(marks)}}}" if marks else shown
