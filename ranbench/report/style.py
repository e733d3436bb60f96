"""The one visual language of all pictures: colours, lines, type, canvas, text that always draws."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito (2008), told apart with defective colour vision; line style and marker repeat what colour says.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# The same hues for words, dark enough on white: a contrast of 4.5 at least (WCAG 2 AA).
TEXTS = ("#0072B2", "#A84A00", "#00704F", "#9C4674", "#8A5F00", "#1F6F9E", "#000000")
LINES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1, 1, 1)),
    (0, (7, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    "-",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OUTCOME_COLOURS = {"reproduced": COLOURS[0], "not reproduced": COLOURS[1]}
GREY, PALE, INK = "#767676", "#E4E4E4", "#222222"
DPI = 150
NOTE = 0.17  # inches of a line of what is missing, beneath a picture
WIDTH = 7.0
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.axisbelow": True,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ranbench",  # names inside depend on nothing but the figure
    "pdf.fonttype": 42,
}


def colour(style: int) -> str:
    """Return the colour of a style, of which there may be more than colours."""
    return COLOURS[style % len(COLOURS)]


def text_colour(style: int) -> str:
    """Return the colour of words about a style: that of its line, darker where it could not be read on white."""
    return TEXTS[style % len(TEXTS)]


def line(style: int) -> Any:
    """Return the line of a style; where colours come again, they come with another line."""
    return LINES[(style + style // len(COLOURS)) % len(LINES)]


def marker(style: int) -> str:
    """Return the marker of a style; where colours come again, they come with another marker."""
    return MARKERS[(style + style // len(COLOURS)) % len(MARKERS)]


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style, whatever the user's matplotlibrc says, and undo it afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """Make a figure of ``height`` inches in the house style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure


def png(figure: Figure) -> bytes:
    """Render a figure in the house style; without date, name and version inside, equal figures are equal bytes.

    Ticks are made only now, so the style must hold here as well.
    """
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """Render a figure as SVG; equal figures are equal texts."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    return buffer.getvalue()


def pdf(figure: Figure) -> bytes:
    """Render a figure as PDF with its fonts inside, without date and versions."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="pdf", metadata={"Creator": None, "CreationDate": None, "Producer": None})
    return buffer.getvalue()


def margins(figure: Figure, *, left: float, right: float, top: float, bottom: float, **gaps: float) -> None:
    """Set margins in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, **gaps)


def label_width(labels: Sequence[str]) -> float:
    """Return inches for row labels, about 0.066 a character of 8.5 points."""
    return min(3.0, max(1.0, 0.25 + 0.068 * max((len(safe(label, 40)) for label in labels), default=0)))


def safe(text: str, limit: int) -> str:
    """Make text that draws without warnings or mathematics: one line, known glyphs, at most ``limit`` characters."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    line = " ".join(text.split())
    line = line if len(line) <= limit else f"{line[: limit - 1]}…"
    known = (char if char.isprintable() and font.get_char_index(ord(char)) else "\ufffd" for char in line)
    return "".join(known).replace("$", r"\$")


def stamped(figure: Figure, word: str) -> Figure:
    """Write a word large over a picture, through which all can be read."""
    width, height = figure.get_size_inches()
    size = min(0.2 * width, 0.6 * height) * 72
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "fontweight": "bold"}
    figure.text(0.5, 0.5, word, color=GREY, alpha=0.22, zorder=10, **look)
    return figure


def notes(figure: Figure, lines: Sequence[str]) -> None:
    """Write lines at the lower edge, in grey: what is missing. They take ``NOTE`` inches each."""
    for row, words in enumerate(reversed(lines)):
        height = (0.07 + NOTE * row) / figure.get_figheight()
        figure.text(0.08 / WIDTH, height, safe(words, 120), style="italic", fontsize=8, color=GREY)
