"""Values -> tables of text with fixed precision. No markup: a renderer escapes and draws what stands here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from ranbench.claims import Member
from ranbench.records import METRICS, RESPONSE_METRICS, SIZE_METRICS
from ranbench.report.against import BesideRow, ResultSet
from ranbench.report.collect import EnvironmentRow, RunRow
from ranbench.report.values import CostRow, Memorised, Response, ResultRow, Results, Size, SizeRow, Tables, VerdictRow
from ranbench.statistics import Summary, summarise
from ranbench.suite import scaled

MARKS: Mapping[str, str] = {
    "reproduced": "✓",
    "not reproduced": "✗",
    "inconclusive": "~",
    "not comparable": "≠",
    "not run": "–",
}
NONE = "–"
_SHORT_UNITS = {"percentage points": "points", "percent": "%"}
_DIGITS = {
    "percent": 2,
    "percentage points": 2,
    "nats": 4,
    "seconds": 1,
    "iterations": 0,
    "images/s": 0,
    "1": 4,
    "ratio": 3,
}
_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\d)")
_T = TypeVar("_T")
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class Entry:
    """One entry of a table: ``anchor`` names it for links, ``link`` leads to an anchor, ``notes`` go beneath.

    ``runs`` is the anchor of the runs that a number rests on; formats where links do not disturb reading lead there.
    ``parts``: the pieces of ``text``, joined by commas, where each leads somewhere else.
    """

    text: str
    code: bool = False
    link: str | None = None
    anchor: str | None = None
    notes: tuple[str, ...] = ()
    runs: str | None = None
    parts: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Column:
    """A heading and the side on which its entries line up."""

    heading: str
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class Grid:
    """A table of text, ready to be rendered."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]


def one_line(value: str) -> str:
    """Put words on one line, without characters that cannot be seen, as every format shows them."""
    return " ".join("".join(ch if ch.isprintable() else " " for ch in value).split())


def typeset(sentence: str) -> str:
    """Write the minus signs of a sentence as tables do; hyphens in names stay."""
    return _MINUS.sub("−", sentence)


def letter(index: int) -> str:
    """Count a, b, ..., z, aa, ab, ..."""
    rest, last = divmod(index, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("a") + last)


def number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Write a value with the digits of its unit, and a dash for None; a rounded zero has no sign."""
    if value is None:
        return NONE
    digits = _DIGITS.get(unit, 2)
    rounded = round(value, digits) + 0.0
    text = f"{rounded:+,.{digits}f}" if signed and rounded else f"{rounded:,.{digits}f}"
    return text.replace("-", "−")


def spread(value: Summary, unit: str) -> str:
    """Write ``mean ± half interval``; without a half interval the mean alone."""
    mean = number(value.mean, unit)
    return mean if value.half_interval is None else f"{mean} ± {number(value.half_interval, unit)}"


def verdict_mark(row: VerdictRow) -> Entry:
    """Write a verdict with its mark."""
    entry = _outcome(row)
    return replace(entry, text=f"{MARKS[row.outcome]} {entry.text}")


def _outcome(row: VerdictRow) -> Entry:
    """Write a verdict in words; of a claim that was declared after its runs were done, with a note that says so."""
    late = row.declared_after
    aside = ", ".join([*["scaled"] * (row.fidelity == "scaled"), *["declared after looking"] * (late is not None)])
    return Entry(f"{row.outcome} ({aside})" if aside else row.outcome, notes=(late.words,) if late else ())


def verdict_grid(
    rows: Sequence[VerdictRow],
    at_least: Collection[str] = (),
    cells: Mapping[str, Sequence[int]] | None = None,
    prefix: str | None = None,
) -> Grid:
    """Lay out the verdicts at a glance.

    Args:
        rows: the verdicts.
        at_least: the claims of a ratio that must not be lower than their bound.
        cells: by claim, the numbers of the cells of its arms, in their order.
        prefix: of the anchors of the runs of a cell; None where a page holds no runs.
    """
    arms = cells or {}
    columns: list[tuple[Column, Callable[[VerdictRow], Entry]]] = [
        (Column(""), lambda row: Entry(MARKS[row.outcome])),
        (Column("id"), lambda row: Entry(row.id, code=True)),
        (Column("claim"), lambda row: Entry(row.says)),
        (Column("claimed", "right"), lambda row: Entry(_claimed(row, at_least))),
        (Column("verdict"), _outcome),
        (Column("effect (bounds)", "right"), lambda row: Entry(effect(row))),
    ]
    if any(row.level is not None for row in rows):
        columns.append((Column("bounds at"), lambda row: Entry(_level(row))))
    columns.append((Column("n of planned", "right"), lambda row: _seeds_of(row, arms.get(row.id, ()), prefix)))
    return _grid(columns, rows)


def _claimed(row: VerdictRow, at_least: Collection[str]) -> str:
    """Write what an effect is held against: the least that counts, a margin, a bound or a tolerance."""
    if row.kind == "complexity":
        return f"± {row.threshold:g} %"
    unit = _SHORT_UNITS.get(row.unit, row.unit)
    least = "≥" if row.id in at_least else "≤"
    sign = {"value": "±", "ratio": least}.get(row.kind, ">")
    return f"{sign} {row.threshold:g} {unit}"


def _level(row: VerdictRow) -> str:
    """Say at what level the bounds of a claim stand, and whether each is a bound by itself."""
    if row.level is None:
        return NONE
    if row.kind == "value":
        return f"{confidence(row.level)}, two-sided"
    several = len(row.members)
    upper = f", the upper {confidence(row.level / several)}" if several > 1 else ""
    return f"{confidence(row.level)}{upper}, one-sided"


def confidence(level: float) -> str:
    """Write the confidence of a level: 0.0125 is ``98.75 %``."""
    return f"{100 * (1 - level):.4g} %"


def _seeds_of(row: VerdictRow, cells: Sequence[int], prefix: str | None) -> Entry:
    """Say how many of the planned seeds each arm has, which lead to its runs; of many arms that are alike, once."""
    arms = [f"{n} of {of}" for n, of in zip(row.n, row.planned, strict=True)]
    if len(arms) > 2 and len(set(arms)) == 1:
        return Entry(f"{arms[0]}, in each of {len(arms)} cells")
    if not arms:
        return Entry(row.test.removesuffix(" count"))
    if len(cells) != len(arms):
        return Entry(", ".join(arms))
    links = [Entry(arm, link=runs_of(prefix, cell)) for arm, cell in zip(arms, cells, strict=True)]
    return Entry(", ".join(arms), parts=tuple(links)) if len(links) > 1 else links[0]


def runs_of(prefix: str | None, cell: int) -> str | None:
    """Name the place of a cell's runs on a page, None where it holds no runs."""
    return f"{prefix}-{cell}" if prefix else None


def effect(row: VerdictRow) -> str:
    """Write an effect with its bounds and unit, or a dash."""
    return _effect(row.effect, row.low, row.high, row.unit)


def member_words(member: Member, unit: str) -> str:
    """Say what one comparison of a claim over a matrix gives: ``attention-56: reproduced, +2.00 (...) points``."""
    found = member.reason or _effect(member.effect, member.low, member.high, unit)
    return "; ".join((f"{member.at}: {member.outcome}, {found}", *member.beside.lines))


def _effect(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    if value is None:
        return NONE
    signed = unit != "times"
    text = number(value, unit, signed=signed)
    if low is not None and high is not None:
        text += f" ({number(low, unit, signed=signed)} to {number(high, unit, signed=signed)})"
    return f"{text} {_SHORT_UNITS.get(unit, unit)}"


def result_grid(
    results: Results, prefix: str | None = "cell", marks: Mapping[int, Entry] | None = None, *, source: str = "paper"
) -> Grid:
    """Lay out a results table; n links to the rows of ``run_grid`` with the same ``prefix``, None for no rows.

    Columns that no row fills are left out: the paper's for a suite without published values, best-on-test for other
    metrics, wrong labels without noise, fidelity where all is full. ``marks``: the verdict on a cell's value, where a
    claim is about it, with its mark. ``source``: what the values beside ours are called.
    """
    marks = marks or {}
    unit = METRICS[results.metric].unit
    head = f" ({'%' if unit == 'percent' else unit})"
    rows = results.rows
    scale = {row.fidelity for row in rows} - {"full"}
    ours = f"ours, {' and '.join(sorted(scale))}" if scale else "ours"
    columns: list[tuple[Column, Callable[[ResultRow], Entry]]] = _axis_columns(rows)
    if scale:
        columns.append((Column("fidelity"), lambda row: Entry(row.fidelity)))
    if any(row.published is not None for row in rows):
        columns.append((Column(f"{source}{head}", "right"), lambda row: Entry(number(row.published, unit))))
    columns.append((Column(f"{ours}{head}", "right"), lambda row: _rests(row, prefix, _ours(row, unit))))
    columns.append((Column("n", "right"), lambda row: _count(row, prefix)))
    columns.append((Column("sd", "right"), lambda row: Entry(number(row.ours.sd if row.ours else None, unit))))
    if any(row.published is not None for row in rows):
        columns.append((Column(f"ours − {source}", "right"), lambda row: _rests(row, prefix, _difference(row, unit))))
    if any(row.cell in marks for row in rows):
        columns.append((Column("verdict"), lambda row: marks.get(row.cell, Entry(NONE))))
    if any(row.best_on_test for row in rows):
        columns.append((Column(f"best on test{head}", "right"), lambda row: _spread_entry(row.best_on_test, unit)))
    if any("noise" in row.axes or row.wrong_labels for row in rows):
        columns.append((Column("wrong labels (%)", "right"), lambda row: _spread_entry(row.wrong_labels, "percent")))
    return _grid(columns, rows)


def set_grid(rows: Sequence[ResultSet]) -> Grid:
    """Lay out what each set of results was made with."""
    columns: list[tuple[Column, Callable[[ResultSet], Entry]]] = [
        (Column("results"), lambda row: Entry(row.name)),
        (Column("runs done", "right"), lambda row: Entry(f"{row.done} of {row.planned}")),
        (Column("code"), lambda row: Entry(", ".join(row.code) or NONE)),
        (Column("device"), lambda row: Entry(", ".join(row.devices) or NONE)),
        (Column("torch"), lambda row: Entry(", ".join(row.torch) or NONE)),
        (Column("commit"), lambda row: Entry(", ".join(row.commits) or NONE)),
    ]
    return _grid(columns, rows)


def beside_grid(rows: Sequence[BesideRow], unit: str, prefix: str | None = "cell") -> Grid:
    """Lay out one metric of our cells beside those of other sets: one line per cell and set, whose name a page says."""
    head = f" ({'%' if unit == 'percent' else unit})"
    columns: list[tuple[Column, Callable[[BesideRow], Entry]]] = _axis_columns(rows)
    columns += [
        *([(Column("beside"), _name)] if len({row.name for row in rows}) > 1 else []),
        (Column(f"ours{head}", "right"), lambda row: _led(_side(row.ours, row.our_standing, unit), prefix, row.cell)),
        (
            Column("n", "right"),
            lambda row: replace(_number(row.ours, row.our_failed), link=runs_of(prefix, row.cell)),
        ),
        (Column(f"theirs{head}", "right"), lambda row: _side(row.theirs, row.their_standing, unit)),
        (Column("their n", "right"), lambda row: _number(row.theirs, row.their_failed)),
        (Column("ours − theirs (bounds)", "right"), lambda row: _led(Entry(_bounded(row, unit)), prefix, row.cell)),
        (
            Column("p", "right"),
            lambda row: Entry(NONE if row.p is None else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"),
        ),
        (Column("can the data tell"), lambda row: Entry(row.answer)),
    ]
    return _grid(columns, rows)


def _side(value: Summary | None, standing: str, unit: str) -> Entry:
    """Write one side's result, or why there is none."""
    return Entry(spread(value, unit) if value else standing)


def _number(value: Summary | None, failed: int) -> Entry:
    """Write how many seeds a result rests on, and how many more have failed."""
    notes = (f"{failed} more failed",) if value and failed else ()
    return Entry(str(value.n if value else 0), notes=notes)


def _name(row: BesideRow) -> Entry:
    return Entry(row.name)


def _bounded(row: BesideRow, unit: str) -> str:
    text = number(row.difference, unit, signed=True)
    if row.low is None or row.high is None:
        return text
    return f"{text} ({number(row.low, unit, signed=True)} to {number(row.high, unit, signed=True)})"


def response_grid(rows: Sequence[Response], prefix: str | None = "cell") -> Grid:
    """Lay out the responses at the ends of stages: as measured, and divided by that of the first stage."""
    ends = [row for row in rows if row.module is None]
    scale = {row.fidelity for row in ends} - {"full"}
    ours = f"ours, {' and '.join(sorted(scale))}" if scale else "ours"
    columns: list[tuple[Column, Callable[[Response], Entry]]] = _axis_columns(ends)
    columns.append((Column("stage", "right"), lambda row: Entry(str(row.stage))))
    columns.append(
        (Column(f"mean absolute response, {ours}", "right"), lambda row: _led(_response(row), prefix, row.cell))
    )
    if any(row.published is not None for row in ends):
        columns.append((Column("relative, paper", "right"), _published_response))
    columns.append((Column(f"relative, {ours}", "right"), lambda row: _led(_relative(row), prefix, row.cell)))
    columns.append((Column("n", "right"), lambda row: _measured_seeds(row, prefix)))
    columns.append(
        (
            Column("sd", "right"),
            lambda row: Entry(number(row.relative.sd if row.relative and row.stage > 1 else None, "ratio")),
        )
    )
    if any(row.published is not None for row in ends):
        columns.append(
            (Column("ours − paper", "right"), lambda row: Entry(number(row.difference, "ratio", signed=True)))
        )
    return _grid(columns, ends)


def memorised_grid(rows: Sequence[Memorised], prefix: str | None = "cell") -> Grid:
    """Lay out what the nets make of wrong labels, beside the test errors of the last and of the best iteration."""
    columns: list[tuple[Column, Callable[[Memorised], Entry]]] = _axis_columns(rows)

    def spread_of(name: str) -> Callable[[Memorised], Entry]:
        return lambda row: _led(_spread_entry(getattr(row, name), "percent"), prefix, row.cell)

    columns.append((Column("clean labels (%)", "right"), lambda row: _led(_seen(row), prefix, row.cell)))
    columns.append((Column("flipped labels (%)", "right"), spread_of("flipped")))
    columns.append((Column("flipped, by true class (%)", "right"), spread_of("flipped_true")))
    columns.append((Column("test, last iteration (%)", "right"), spread_of("error")))
    columns.append((Column("test, best on test (%)", "right"), spread_of("best_on_test")))
    columns.append((Column("best iteration", "right"), lambda row: Entry(_middle_iteration(row.best_iteration))))
    columns.append((Column("n", "right"), lambda row: _memorised_seeds(row, prefix)))
    return _grid(columns, rows)


def _seen(row: Memorised) -> Entry:
    return Entry(row.standing) if row.clean is None and row.flipped is None else _spread_entry(row.clean, "percent")


def _middle_iteration(value: Summary | None) -> str:
    return number(value.mean if value else None, "iterations")


def _memorised_seeds(row: Memorised, prefix: str | None) -> Entry:
    seen = row.flipped or row.clean
    return Entry(f"{seen.n if seen else 0} of {row.planned}", link=runs_of(prefix, row.cell))


def _response(row: Response) -> Entry:
    if row.ours is None:
        return Entry(row.standing)
    return Entry(_rounded_spread(row.ours), notes=("one seed only: no spread",) if row.ours.n == 1 else ())


def _rounded_spread(value: Summary) -> str:
    """Write a mean of any size with four significant digits, and its half interval with as many after the point."""
    digits = max(0, 3 - math.floor(math.log10(abs(value.mean)))) if value.mean else 4
    half = "" if value.half_interval is None else f" ± {value.half_interval:,.{digits}f}"
    return f"{value.mean:,.{digits}f}{half}"


def _relative(row: Response) -> Entry:
    return Entry(NONE if row.relative is None else spread(row.relative, "ratio") if row.stage > 1 else "1")


def _published_response(row: Response) -> Entry:
    if row.published is None:
        return Entry(NONE)
    note = row.note or "the paper's value is read off a plot"
    mark = "≈ " if row.approximate else ""
    return Entry(f"{mark}{row.published:g}", notes=(note,) if row.approximate or row.note else ())


def _measured_seeds(row: Response, prefix: str | None) -> Entry:
    return Entry(f"{row.ours.n if row.ours else 0} of {row.planned}", link=runs_of(prefix, row.cell))


def run_grid(tables: Tables, runs: Sequence[RunRow], metrics: Sequence[str], prefix: str = "cell") -> Grid:
    """Lay out every run with its raw values: one line per cell and seed."""
    labels = {row.cell: row.label for row in tables.results[0].rows}
    first: dict[int, RunRow] = {}
    for run in runs:
        first.setdefault(run.cell, run)

    def cell(run: RunRow) -> Entry:
        return Entry(labels[run.cell], anchor=f"{prefix}-{run.cell}" if first[run.cell] is run else None)

    columns: list[tuple[Column, Callable[[RunRow], Entry]]] = [
        (Column("cell"), cell),
        (Column("seed", "right"), lambda run: Entry(str(run.seed))),
        (Column("state"), lambda run: Entry(f"failed: {run.reason}" if run.reason else run.state)),
    ]
    columns += [(_metric_column(metric), partial(_raw, metric)) for metric in metrics]
    columns.append((Column("attempt", "right"), lambda run: Entry(str(run.attempt) if run.attempt else NONE)))
    columns.append((Column("code"), lambda run: _code(run.code_id, 8)))
    columns.append((Column("environment", "right"), lambda run: _machine(run.environment)))
    columns.append((Column("run"), lambda run: Entry(run.fingerprint[:12], code=True)))
    return _grid(columns, runs)


def size_grid(rows: Sequence[SizeRow], prefix: str | None = None, *, with_code: bool = False) -> Grid:
    """Lay out exact counts beside the paper's; a count that the paper prints for no row has no columns for it.

    ``prefix``: a count that a run made leads to the runs of its cell, where a page holds them. ``with_code``: say which
    code was counted.
    """
    columns: list[tuple[Column, Callable[[SizeRow], Entry]]] = _axis_columns(rows)
    for metric in dict.fromkeys(metric for row in rows for metric in row.sizes):
        heading = SIZE_METRICS[metric].label
        if any(row.sizes[metric].published is not None for row in rows):
            columns.append((Column(f"{heading}, paper", "right"), partial(_printed_size, metric)))
            columns.append((Column("ours", "right"), partial(_our_size, metric, prefix)))
            columns.append((Column("ours − paper (%)", "right"), partial(_size_difference, metric)))
        else:
            columns.append((Column(heading, "right"), partial(_our_size, metric, prefix)))
    if with_code:
        columns.append((Column("code"), lambda row: _code(row.code_id, 8)))
    grid = _grid(columns, rows)
    noted = [row.notes for row in rows]
    return Grid(
        grid.columns, tuple((replace(line[0], notes=n), *line[1:]) for line, n in zip(grid.rows, noted, strict=True))
    )


def _printed_size(metric: str, row: SizeRow) -> Entry:
    size = row.sizes[metric]
    return Entry(NONE if size.published is None else _short_count(size.published, size.digits))


def _our_size(metric: str, prefix: str | None, row: SizeRow) -> Entry:
    ours = row.sizes[metric].ours
    if ours is None:  # a net that was counted may still have no depth that is known
        return Entry(NONE if any(row.sizes[name].ours for name in ("parameters", "macs")) else "not counted")
    return Entry(f"{ours:,}", runs=runs_of(prefix, row.cell) if row.source == "counted" else None)


def _size_difference(metric: str, row: SizeRow) -> Entry:
    size: Size = row.sizes[metric]
    if size.difference_pct is None:
        return Entry(NONE)
    mark = f"{MARKS[size.outcome]} " if size.outcome else ""
    return Entry(f"{mark}{number(size.difference_pct, 'percent', signed=True)}")


def _short_count(value: float, digits: int | None) -> str:
    """Write a count as papers do, with the digits that they print: ``11.0 M``, ``6.2 G``, ``56``."""
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{scaled(value / size, digits)} {unit}"
    return f"{value:,.0f}"


def cost_grid(rows: Sequence[CostRow]) -> Grid:
    """Lay out sizes and measured times, each beside its machine; where that is one, a page says it in words."""
    size, unit = _unit([row.macs for row in rows])
    columns: list[tuple[Column, Callable[[CostRow], Entry]]] = [
        *_axis_columns(rows),
        (Column("parameters", "right"), lambda row: Entry(_integer(row.parameters))),
        (Column(f"multiply-adds per image{unit}", "right"), lambda row: Entry(_in_units(row.macs, size))),
        (Column("multiply-adds of a run", "right"), lambda row: Entry(_scientific(row.train_macs))),
        (Column("runs", "right"), lambda row: Entry(str(row.runs), link=f"cell-{row.cell}" if row.runs else None)),
        (Column("training (s)", "right"), lambda row: Entry(number(row.seconds, "seconds"))),
        (Column("images/s", "right"), lambda row: Entry(number(row.images_per_s, "images/s"))),
        (Column("peak memory (MiB)", "right"), lambda row: Entry(_mebibytes(row.peak_memory_bytes))),
    ]
    if any(row.energy_joules is not None for row in rows):
        joules, name = _unit_of_energy([row.energy_joules for row in rows])
        columns.append((Column(f"energy ({name})", "right"), lambda row: _energy(row, joules)))
    if len({cost_place(row.environment) for row in rows if row.environment}) > 1:
        columns += [
            (Column("device"), lambda row: _fact(row.environment, device)),
            (Column("CPU"), lambda row: _fact(row.environment, lambda at: at.cpu)),
            (Column("threads", "right"), lambda row: _fact(row.environment, lambda at: str(at.threads))),
            (Column("torch"), lambda row: _fact(row.environment, lambda at: at.versions.get("torch", NONE))),
        ]
    if len({row.environment.engine_path for row in rows if row.environment}) > 1:
        columns.append((Column("engine path"), lambda row: _fact(row.environment, lambda at: at.engine_path)))
    if any(row.fidelity != "full" for row in rows):
        columns.insert(len(rows[0].axes), (Column("fidelity"), lambda row: Entry(row.fidelity)))
    return _grid(columns, rows)


def cost_place(row: EnvironmentRow) -> str:
    """Name what times depend on: device, CPU, threads and torch."""
    cpu = [] if row.device_name == row.cpu else [row.cpu]
    threads = f"{row.threads} {'thread' if row.threads == 1 else 'threads'}"
    return ", ".join([f"{row.device_name} ({row.device})", *cpu, threads, f"torch {row.versions.get('torch', NONE)}"])


def environment_grid(rows: Sequence[EnvironmentRow]) -> Grid:
    """Lay out the distinct environments."""
    columns: list[tuple[Column, Callable[[EnvironmentRow], Entry]]] = [
        (Column("environment", "right"), lambda row: Entry(str(row.number), anchor=f"environment-{row.number}")),
        (Column("device"), lambda row: Entry(device(row))),
        (Column("CPU"), lambda row: Entry(row.cpu)),
        (Column("cores", "right"), lambda row: Entry(str(row.cores))),
        (Column("memory (GiB)", "right"), lambda row: Entry(f"{row.memory_bytes / 2**30:.1f}")),
        (Column("threads", "right"), lambda row: Entry(str(row.threads))),
        (Column("engine path"), lambda row: Entry(row.engine_path)),
        (Column("Python"), lambda row: Entry(row.python)),
        (Column("platform"), lambda row: Entry(row.platform)),
        (Column("versions"), lambda row: Entry(", ".join(f"{k} {v}" for k, v in row.versions.items()) or NONE)),
        (Column("commit"), lambda row: Entry(_commit(row))),
    ]
    return _grid(columns, rows)


def device(row: EnvironmentRow) -> str:
    """Name a device; a CPU, which has a column of its own, by its kind alone."""
    return row.device if row.device_name == row.cpu else f"{row.device_name} ({row.device})"


def _grid(columns: Sequence[tuple[Column, Callable[[_T], Entry]]], rows: Sequence[_T]) -> Grid:
    return Grid(tuple(column for column, _ in columns), tuple(tuple(make(row) for _, make in columns) for row in rows))


def _axis_columns(
    rows: Sequence[ResultRow | CostRow | SizeRow | Response | Memorised | BesideRow],
) -> list[tuple[Column, Callable[[Any], Entry]]]:
    axes = dict.fromkeys(axis for row in rows for axis in row.axes)
    return [(Column(axis), partial(_axis_entry, axis)) for axis in axes]


def _axis_entry(axis: str, row: ResultRow | CostRow | SizeRow | Response | BesideRow) -> Entry:
    value = row.axes.get(axis)
    return Entry(NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value))


def _ours(row: ResultRow, unit: str) -> Entry:
    if row.ours is None:
        return Entry(row.standing, notes=row.notes)
    notes = row.notes
    if row.ours.n == 1:
        notes = ("one seed only: no spread", *notes)
    elif row.ours.half_interval is None:
        notes = ("all seeds have the same value: no interval can be formed", *notes)
    return Entry(spread(row.ours, unit), notes=notes)


def _difference(row: ResultRow, unit: str) -> Entry:
    return Entry(number(row.difference, unit, signed=True))


def _rests(row: ResultRow, prefix: str | None, entry: Entry) -> Entry:
    """Lead from a number to its runs."""
    return entry if row.ours is None else _led(entry, prefix, row.cell)


def _led(entry: Entry, prefix: str | None, cell: int) -> Entry:
    """Lead from a number, where there is one, to the runs of its cell."""
    return entry if not re.search(r"\d", entry.text) else replace(entry, runs=runs_of(prefix, cell))


def _count(row: ResultRow, prefix: str | None) -> Entry:
    return Entry(f"{row.ours.n if row.ours else 0} of {row.planned}", link=runs_of(prefix, row.cell))


def _spread_entry(value: Summary | None, unit: str) -> Entry:
    return Entry(spread(value, unit) if value else NONE)


def _metric_column(name: str) -> Column:
    metric = METRICS[name]
    label = "best on test" if name == "best_error_pct" else metric.label
    unit = {"percent": " (%)", "1": ""}.get(metric.unit, f" ({metric.unit})")
    return Column(f"{label}{unit}", "right")


def _raw(metric: str, run: RunRow) -> Entry:
    if run.state != "done":
        return Entry(NONE)
    value = (run.metrics or {}).get(metric)
    if metric in RESPONSE_METRICS:  # their own table says where one is lacking; not every net has every stage
        return Entry(NONE if value is None else _rounded_spread(summarise([value])))
    return Entry("missing") if value is None else Entry(number(value, METRICS[metric].unit))


def _code(text: str | None, length: int) -> Entry:
    return Entry(text[:length], code=True) if text else Entry(NONE)


def _machine(environment: int | None) -> Entry:
    return Entry(str(environment), link=f"environment-{environment}") if environment else Entry(NONE)


def _fact(row: EnvironmentRow | None, of: Callable[[EnvironmentRow], str]) -> Entry:
    return Entry(of(row) if row else NONE)


def _integer(value: int | None) -> str:
    return "not counted" if value is None else f"{value:,}"


def _unit(counts: Sequence[int | None]) -> tuple[int, str]:
    """Choose the unit of a column by its smallest count, which must not be rounded away."""
    smallest = min((count for count in counts if count), default=10**6)
    return next(((size, unit) for size, unit in ((10**6, " (M)"), (10**3, " (k)")) if smallest >= size / 10), (1, ""))


def _in_units(value: int | None, size: int) -> str:
    return "not counted" if value is None else f"{value / size:,.2f}" if size > 1 else f"{value:,}"


def _unit_of_energy(values: Sequence[float | None]) -> tuple[float, str]:
    """Choose the unit of a column by its smallest value, of which three digits at least must be left."""
    smallest = min((value for value in values if value), default=1.0)
    return next(((size, name) for size, name in ((1e6, "MJ"), (1e3, "kJ")) if smallest >= size), (1.0, "J"))


def _energy(row: CostRow, size: float) -> Entry:
    if row.energy_joules is None:
        return Entry(NONE)
    some = (f"energy was measured of {row.energy_runs} of the {row.runs} runs",) if row.energy_runs < row.runs else ()
    return Entry(f"{row.energy_joules / size:,.2f}", notes=some)


def _mebibytes(value: float | None) -> str:
    return NONE if value is None else f"{value / 2**20:,.0f}"


def _scientific(value: int | None) -> str:
    """Write a large count with two digits after the point: ``6.10 × 10¹⁵``."""
    if value is None:
        return "not counted"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def _commit(row: EnvironmentRow) -> str:
    if row.commit is None:
        return "not under git"
    return f"{row.commit[:12]}{' with changes' if row.dirty else ''}"
