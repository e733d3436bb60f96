"""The files of a report, in every format. Each is made from the same tables, so that the numbers are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ranbench.counts import Counts
from ranbench.records import RunRecord
from ranbench.report import latex, sheets, web
from ranbench.report.composing import compose
from ranbench.report.document import Block, Table
from ranbench.report.inlining import inlined
from ranbench.report.memorisation import Series
from ranbench.report.pages import commands, page, page_name
from ranbench.report.pictures import pictures, remove_stale
from ranbench.report.shown import Made, of_no_paper
from ranbench.report.style import pdf, png, stamped, svg
from ranbench.report.tables import tables
from ranbench.report.values import Tables
from ranbench.suite import Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Characters that cannot be seen, or that turn the direction of what follows: of JSON they stand inside strings alone.
_UNSEEN = re.compile(
    r"[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Report:
    """All that the files of one suite's report are made from."""

    suite: Suite
    tables: Tables
    series: Series
    compare: bool

    @cached_property
    def pictures(self) -> tuple[Made, ...]:
        """The pictures that the runs allow, each with what draws it."""
        made = pictures(self.tables, self.series)
        if self.suite.paper:
            return made
        return tuple(
            (replace(shown, caption=of_no_paper(shown.caption)), partial(_of_no_paper, draw)) for shown, draw in made
        )

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The drawn pictures by their file names: drawn once, and saved in every format."""
        smoke = self.tables.fidelity == "smoke"
        return {picture.file: stamped(make(), "SMOKE") if smoke else make() for picture, make in self.pictures}

    @cached_property
    def document(self) -> tuple[Block, ...]:
        """The page without a format."""
        shown = [picture for picture, _ in self.pictures]
        return compose(self.suite, self.tables, shown, compare=self.compare)

    def as_dict(self) -> dict[str, Any]:
        """Return the tables as plain JSON values, with the commands that make them again."""
        return {**self.tables.as_dict(), "commands": list(commands(self.suite, self.tables, compare=self.compare))}


def write(report: Report, out: Path, formats: Sequence[str] = ("md",)) -> tuple[Path, ...]:
    """Write ``out/NAME.FORMAT`` and what belongs to it, in ``out/NAME/``. Equal records give equal bytes.

    NAME is that of the suite, with the protocol where it is another than the suite's own: ``table3.smoke``.

    Args:
        report: what is written.
        out: folder, made if it is not there.
        formats: of ``FORMATS``.

    Returns:
        The files that a reader opens, in the order of ``formats``.
    """
    out.mkdir(parents=True, exist_ok=True)
    return tuple(path for name in formats for path in FORMATS[name](report, out))


def text_of(report: Report, kind: Literal["md", "json"]) -> str:
    """Return what stands in the file of a format that can be verified."""
    if kind == "md":
        shown = [picture for picture, _ in report.pictures]
        return page(report.suite, report.tables, shown, compare=report.compare)
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    return _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text) + "\n"


def report(
    suite: Suite,
    records: Sequence[RunRecord],
    series: Series,
    measured: Mapping[str, Counts] | None = None,
    predictions: Mapping[int, bytes] | None = None,
    *,
    out: Path,
    compare: bool = True,
) -> Path:
    """Write ``out/NAME.md`` and its pictures ``out/NAME/*.png``. Equal records give equal bytes.

    Args:
        suite: what is reported on.
        records: all runs of the suite's cells, whatever their protocol.
        series: (attempt id, metric) -> iterations and values; ``test_error_pct`` is drawn.
        measured: counts of nets by ``complexity_key``; a net that is not among them is looked up in counts.json.
        predictions: predicted classes by attempt, of those that ``claims.compared`` names.
        out: folder, made if it is not there.
        compare: set the paper's values beside ours and judge the claims.

    Returns:
        The path of the markdown file.

    Raises:
        SpecError: a stored spec that this version cannot read.
    """
    built = tables(suite, records, measured, predictions, compare=compare)
    (path,) = write(Report(suite, built, series, compare), out)
    return path


def _markdown(report: Report, out: Path) -> list[Path]:
    folder = out / page_name(report.suite)
    remove_stale(folder, report.figures, ".png")
    if report.figures:
        folder.mkdir(parents=True, exist_ok=True)
    for name, figure in report.figures.items():
        (folder / name).write_bytes(png(figure))
    return [_written(out / f"{page_name(report.suite)}.md", text_of(report, "md"))]


def _html(report: Report, out: Path) -> list[Path]:
    drawings = {
        picture.file: inlined(svg(report.figures[picture.file]), f"picture-{number}", picture.title)
        for number, (picture, _) in enumerate(report.pictures, 1)
    }
    return [_written(out / f"{page_name(report.suite)}.html", web.page(report.document, drawings))]


def _json(report: Report, out: Path) -> list[Path]:
    return [_written(out / f"{page_name(report.suite)}.json", text_of(report, "json"))]


def _latex(report: Report, out: Path) -> list[Path]:
    folder = out / page_name(report.suite)
    folder.mkdir(exist_ok=True)
    tables_ = {f"{block.name}.tex": latex.table(block) for block in report.document if isinstance(block, Table)}
    drawings = {picture.file: Path(picture.file).with_suffix(".pdf").name for picture, _ in report.pictures}
    remove_stale(folder, drawings.values(), ".pdf")
    for name, figure in report.figures.items():
        (folder / drawings[name]).write_bytes(pdf(figure))
    for old in folder.glob("*.tex"):
        if old.name not in tables_ and latex.is_table(old.read_text(encoding="utf-8", errors="replace")):
            old.unlink()
    for name, text in tables_.items():
        _written(folder / name, text)
    page_ = latex.page(report.document, drawings, page_name(report.suite))
    return [_written(out / f"{page_name(report.suite)}.tex", page_)]


def _csv(report: Report, out: Path) -> list[Path]:
    folder = out / page_name(report.suite)
    folder.mkdir(exist_ok=True)
    texts = sheets.sheets(report.tables)
    for name in sheets.NAMES:
        if name not in texts:
            (folder / f"{name}.csv").unlink(missing_ok=True)
    return [_written(folder / f"{name}.csv", text) for name, text in texts.items()]


def _of_no_paper(draw: Callable[[], Figure]) -> Figure:
    """Draw a picture whose key and axes speak of no paper; names of cells stand in neither."""
    from matplotlib.text import Text

    figure = draw()
    keys = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    words = [text for key in keys if key for text in key.get_texts()]
    for text in (*words, *(ax.xaxis.label for ax in figure.axes)):
        assert isinstance(text, Text)
        text.set_text(of_no_paper(text.get_text()))
    return figure


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


FORMATS: Mapping[str, Callable[[Report, Path], list[Path]]] = {
    "md": _markdown,
    "html": _html,
    "tex": _latex,
    "csv": _csv,
    "json": _json,
}
