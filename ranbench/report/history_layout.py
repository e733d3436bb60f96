"""A history as a table of text, and as pictures with their words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.report.history import Change, History, Line, Point
from ranbench.report.history_plot import Panel, Step, Track, over_code
from ranbench.report.layout import NONE, Column, Entry, Grid, number
from ranbench.report.shown import parts
from ranbench.report.style import pdf, png, stamped, svg
from ranbench.statistics import LEVEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES: Mapping[str, Callable[[Figure], bytes]] = {
    "svg": lambda figure: svg(figure).encode(),
    "png": png,
    "pdf": pdf,
}
_MOST_PANELS, _MOST_CODES = 8, 60  # of a picture; what is older stands in the table
_SIZES = {"bytes": (2**20, "MiB")}
_SIGNS = {"percent": "%", "seconds": "s"}
_DIGITS = {"MiB": 1, "images/s": 1, "runs": 0}


def grid(history: History) -> Grid:
    """Lay out a history: a row for each version in each cell."""
    unit = _unit(history)
    several = len(history.places) > 1
    columns = [
        Column("cell"),
        Column("version"),
        Column("begun"),
        Column("n", "right"),
        Column(f"mean ({unit})", "right"),
        Column("sd", "right"),
        Column("95 % interval", "right"),
        Column("change (95 % interval)", "right"),
        *([Column("failed", "right")] if _any(history, lambda point: point.failed) else []),
        *([Column("not measured", "right")] if _any(history, lambda point: point.unmeasured) else []),
        *([Column("where")] if several else []),
    ]
    rows = [_row(history, line, point, columns) for line in history.lines for point in line.points]
    return Grid(tuple(columns), tuple(rows))


def _any(history: History, of: Callable[[Point], int]) -> bool:
    return any(of(point) for line in history.lines for point in line.points)


def _row(history: History, line: Line, point: Point, columns: list[Column]) -> tuple[Entry, ...]:
    code = history.codes[point.code - 1]
    bounds = "" if point.low is None else f"{_value(history, point.low)} to {_value(history, point.high)}"
    texts = {
        "cell": line.label,
        "version": code.label,
        "begun": f"{code.began:%Y-%m-%d}",
        "n": str(point.n),
        f"mean ({_unit(history)})": _value(history, point.mean),
        "sd": "" if point.sd is None else _value(history, point.sd),
        "95 % interval": bounds,
        "change (95 % interval)": _change(history, point.change),
        "failed": str(point.failed or ""),
        "not measured": str(point.unmeasured or ""),
        "where": ", ".join(map(str, point.places)),
    }
    return tuple(Entry(texts[column.heading]) for column in columns)


def sentences(history: History) -> tuple[str, ...]:
    """Say what a table of a history shows, and what is to be known to read it."""
    better = "less" if history.metric.lower_is_better else "more"
    fidelity = {"full": "", "smoke": ", smoke: the numbers mean nothing"}.get(history.fidelity, f", {history.fidelity}")
    said = [
        f"{history.suite}: {history.metric.meaning}; {better} is better; protocol {history.protocol}{fidelity}",
        *_places(history),
    ]
    changes = [point.change for line in history.lines for point in line.points if point.change]
    if any(change.low is not None for change in changes):
        same = "cell and place" if history.of_machine else "cell"
        chance = f"of {round(1 / LEVEL)} without any change about one leaves out 0"
        said.append(f"change: to the version before in the same {same}; each interval stands alone, so {chance}")
    whys = dict.fromkeys(change.why for change in changes if change.why and change.low is None)
    said += [f"change without an interval: {why}" for why in whys]
    shared = [f"{code.label} ({code.commits} commits)" for code in history.codes if code.commits > 1]
    if shared:
        said.append(f"of equal sources, so one version under its first commit: {', '.join(shared)}")
    return tuple(said)


def _places(history: History) -> list[str]:
    """Say where runs ran, by the numbers that a table has where there are several places."""
    several = len(history.places) > 1
    return [f"where {place.number}: {place.words}" if several else f"where: {place.words}" for place in history.places]


def _unit(history: History) -> str:
    unit = history.metric.unit
    return _SIZES[unit][1] if unit in _SIZES else _SIGNS.get(unit, unit)


def _scaled(history: History, value: float) -> float:
    return value / _SIZES[history.metric.unit][0] if history.metric.unit in _SIZES else value


def _value(history: History, value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return NONE
    scaled, unit = _scaled(history, value), _unit(history)
    if unit not in _DIGITS:
        return number(scaled, history.metric.unit, signed=signed)
    digits = _DIGITS[unit]
    rounded = round(scaled, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}".replace("-", "−")


def _change(history: History, change: Change | None) -> str:
    if change is None:
        return ""
    if change.low is None:
        return _value(history, change.difference, signed=True)
    low, high = (_value(history, bound, signed=True) for bound in (change.low, change.high))
    return f"{_value(history, change.difference, signed=True)} ({low} to {high})"


def figures(history: History) -> tuple[Callable[[], Figure], ...]:
    """Return what draws a history, a panel for each cell, in as many pictures as it takes."""
    apart = len({line.place for line in history.lines}) > 1
    panels = []
    for cell in dict.fromkeys(line.cell for line in history.lines):
        lines = [line for line in history.lines if line.cell == cell]
        tracks = tuple(_track(history, line, f"where {line.place}" if apart else "") for line in lines)
        panels.append(Panel(lines[0].label, tracks))
    fidelity = "" if history.fidelity == "full" else f", {history.fidelity}"
    label = f"{history.metric.label} ({_unit(history)}){fidelity}"
    codes = [code.label for code in history.codes][-_MOST_CODES:]
    older = len(history.codes) - len(codes)
    below = [
        *(_places(history) if apart else []),
        *([f"the newest {len(codes)} of {older + len(codes)} versions"] if older else []),
    ]
    draw = partial(over_code, codes=codes, label=label, below=below)
    smoke = history.fidelity == "smoke"
    return tuple(partial(_drawn, partial(draw, some), smoke=smoke) for some in parts(panels, _MOST_PANELS))


def write_pictures(history: History, out: Path, formats: Sequence[str]) -> tuple[Path, ...]:
    """Write ``out/SUITE.history.METRIC.FORMAT``, further parts with a number, and return the files.

    The name of the protocol stands behind the suite's where it is another than its own.
    """
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{history.page}.history.{history.metric.name}"
    written = []
    for part, draw in enumerate(figures(history), 1):
        figure = draw()
        for name in formats:
            file = out / f"{stem}{f'-{part}' if part > 1 else ''}.{name}"
            file.write_bytes(PICTURES[name](figure))
            written.append(file)
    for old in out.glob(f"{stem}*"):
        if old not in written and re.fullmatch(rf"{re.escape(stem)}-\d+\.({'|'.join(formats)})", old.name):
            old.unlink()
    return tuple(written)


def _drawn(draw: Callable[[], Figure], *, smoke: bool) -> Figure:
    figure = draw()
    return stamped(figure, "SMOKE") if smoke else figure


def _track(history: History, line: Line, label: str) -> Track:
    older = max(0, len(history.codes) - _MOST_CODES)
    steps = [
        Step(
            at=point.code - 1 - older,
            values=tuple(_scaled(history, value) for value in point.values),
            mean=None if point.mean is None else _scaled(history, point.mean),
            half=None if point.low is None or point.mean is None else _scaled(history, point.mean - point.low),
            failed=point.failed,
        )
        for point in line.points
        if point.code > older
    ]
    return Track(label, (line.place or 1) - 1, tuple(steps))
