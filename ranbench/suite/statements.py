"""What a suite says of its cells: published values, claims and deviations, each tied to the cells that it names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ranbench.catalogue import DATASETS, NETS, has_known_depth, num_stages
from ranbench.errors import Problem, nearest
from ranbench.records import ALL_METRICS, MODULE_METRICS, RESPONSE_METRICS, SERIES, SIZE_METRICS
from ranbench.suite.cells import unknown_axis
from ranbench.suite.document import Document, Path_
from ranbench.suite.form import (
    BetterEntry,
    CitedEntry,
    ComplexityEntry,
    DeviationEntry,
    PublishedEntry,
    RatioEntry,
    Scalar,
    SuiteFile,
    TrendEntry,
    ValueEntry,
)
from ranbench.suite.values import (
    AXES,
    Axes,
    Better,
    Cell,
    Claim,
    Counted,
    Pair,
    Published,
    Ratio,
    Trend,
    Value,
    as_printed,
    axis_text,
    count_words,
    size_unit,
    words,
)


class Statements:
    """Resolves the statements of one file about ``cells``; problems are added to ``found``."""

    def __init__(self, document: Document, content: SuiteFile, cells: Sequence[Cell], found: list[Problem]):
        self.document = document
        self.content = content
        self.cells = cells
        self.found = found
        # A cell that has a problem is missing from ``cells``: what names it would be refused a second time.
        self.cells_hold = not any(problem.key.startswith(("cells", "datasets")) for problem in found)

    def probes(self) -> tuple[str, ...]:
        """Return what is measured of final weights, in the order of the file."""
        kinds = self.content.probes
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                self._note(("probes", index), f"probe {kind!r} stands twice")
        if kinds and not self.content.seeds:
            self._note(("probes",), "there are no weights to measure: the suite trains nothing (seeds: 0)")
        unknown = [cell.model.name for cell in self.cells if _num_stages(cell) is None]
        if kinds and unknown:
            self._note(
                ("probes", 0), f"the stages of {unknown[0]!r} are not known, so their responses cannot be measured"
            )
        return tuple(kinds)

    def published(self) -> tuple[Published, ...]:
        """Return the published values, in the order of the file."""
        result: list[Published] = []
        for index, entry in enumerate(self.content.published):
            place: Path_ = ("published", index)
            cell = self._one(entry.cell, (*place, "cell"))
            if not self._metric(entry.metric, place, *([cell] if cell else [])):
                continue
            self._unit(entry, place)
            if cell and any(other.cell is cell and other.metric == entry.metric for other in result):
                self._note(place, f"the published {entry.metric} of {words(entry.cell)} stands twice")
            elif cell:
                digits = self.document.digits((*place, "value"))
                result.append(Published(cell=cell, digits=digits, **entry.model_dump(exclude={"cell"})))
        return tuple(result)

    def claims(self, published: Sequence[Published]) -> tuple[Claim, ...]:
        """Return the claims, in the order of the file; those of kind value are compared with ``published``."""
        result: list[Claim] = []
        self._check_ids("claim", [entry.id for entry in self.content.claims])
        for index, entry in enumerate(self.content.claims):
            place: Path_ = ("claims", index)
            counted = isinstance(entry, ComplexityEntry)
            if not self._metric(entry.metric, place) or not self._fits(entry.metric, place, counted=counted):
                continue
            claim: Claim | None
            if isinstance(entry, BetterEntry):
                claim = self._better(entry, place)
            elif isinstance(entry, RatioEntry):
                claim = self._ratio(entry, place)
            elif isinstance(entry, TrendEntry):
                claim = self._trend(entry, place)
            elif isinstance(entry, ValueEntry):
                claim = self._value(entry, place, published)
            else:
                claim = self._counted(entry, place, published)
            if claim and self._staged(entry.metric, place, *_cells_of(claim)):
                self._check_new(claim, result, place)
                result.append(claim)
        return tuple(result)

    def cited(self) -> tuple[CitedEntry, ...]:
        """Return the cited numbers, in the order of the file."""
        for index, entry in enumerate(self.content.cited):
            place: Path_ = ("cited", index)
            if self._metric(entry.metric, place):
                self._unit(entry, place)
            known = dict.fromkeys((*DATASETS, *self.content.datasets))
            if entry.dataset is not None and entry.dataset not in known:
                text = f"dataset {entry.dataset!r} is not known{nearest(entry.dataset, known)}"
                self._note((*place, "dataset"), f"{text} (allowed: {', '.join(known)})")
            if entry.model is not None and entry.model not in NETS:
                text = f"net {entry.model!r} is not known{nearest(entry.model, NETS)}"
                self._note((*place, "model"), f"{text} ('ranbench list models' prints all that can be cited)")
        return tuple(self.content.cited)

    def deviations(self) -> tuple[DeviationEntry, ...]:
        """Return the deviations, in the order of the file."""
        entries = self.content.deviations
        self._check_ids("deviation", [entry.id for entry in entries])
        for index, entry in enumerate(entries):
            place: Path_ = ("deviations", index, "cell")
            if entry.cell is not None and self._axes_known(entry.cell, place) and self.cells_hold:
                self._matching(entry.cell, place)
        return tuple(entries)

    def _better(self, entry: BetterEntry, place: Path_) -> Better | None:
        pairs = self._pairs(entry, place)
        if not pairs:
            return None
        says = entry.says or f"{words(entry.a)} is better than {words(entry.b)}{_at_every(entry.over)}"
        return Better(entry.id, says, entry.where, pairs, entry.metric, entry.min_effect, entry.allow_scaled)

    def _ratio(self, entry: RatioEntry, place: Path_) -> Ratio | None:
        pairs = self._pairs(entry, place)
        if not pairs:
            return None
        side: Literal["at most", "at least"] = "at least" if entry.at_most is None else "at most"
        bound = entry.at_least if entry.at_most is None else entry.at_most
        assert bound is not None  # the form asks for one of them
        said = f"{ALL_METRICS[entry.metric].label} of {words(entry.a)} is {side} {bound:g} times that of"
        says = entry.says or f"{said} {words(entry.b)}{_at_every(entry.over)}"
        return Ratio(entry.id, says, entry.where, pairs, entry.metric, side, bound, entry.allow_scaled)

    def _pairs(self, entry: BetterEntry | RatioEntry, place: Path_) -> tuple[Pair, ...]:
        """Find the two cells of a claim, or those at every value of the axes that it ranges over; none if refused."""
        if not entry.over:
            a, b = self._one(entry.a, (*place, "a")), self._one(entry.b, (*place, "b"))
            return self._distinct([Pair(a, b)], place) if a and b else ()
        if not self._over_holds(entry, place) or not self.cells_hold:
            return ()
        sides = [self._at_values(getattr(entry, arm), entry.over, (*place, arm)) for arm in ("a", "b")]
        if not all(sides):
            return ()
        for arm, own, other in zip("ab", sides, reversed(sides), strict=True):
            missing = [values for values in other if values not in own]
            if missing:
                at = words(dict(zip(entry.over, missing[0], strict=True)))
                self._note((*place, arm), f"no cell of the suite has {words(getattr(entry, arm))} at {at}")
                return ()
        if len(sides[0]) == 1:
            self._note((*place, "over"), "there is one value only to range over; leave this key out")
            return ()
        pairs = [
            Pair(cell, sides[1][values], ", ".join(map(axis_text, entry.over, values)))
            for values, cell in sides[0].items()
        ]
        return self._distinct(pairs, place)

    def _distinct(self, pairs: list[Pair], place: Path_) -> tuple[Pair, ...]:
        if any(pair.a is pair.b for pair in pairs):
            self._note((*place, "b"), "a and b are the same cell")
        return tuple(pairs)

    def _over_holds(self, entry: BetterEntry | RatioEntry, place: Path_) -> bool:
        before = len(self.found)
        for index, axis in enumerate(entry.over):
            if axis not in AXES:
                self._note((*place, "over", index), unknown_axis(axis))
            elif axis in entry.over[:index]:
                self._note((*place, "over", index), f"{axis} stands twice")
            for arm in ("a", "b"):
                if axis in getattr(entry, arm):
                    self._note((*place, arm, axis), f"{axis} cannot have one value here and be ranged over")
        selectors_hold = [self._axes_known(getattr(entry, arm), (*place, arm)) for arm in ("a", "b")]
        return len(self.found) == before and all(selectors_hold)

    def _at_values(self, selector: Axes, over: Sequence[str], place: Path_) -> dict[tuple[Scalar, ...], Cell]:
        """Find the one cell that a selector names at each value of the axes ``over``; none if refused."""
        result: dict[tuple[Scalar, ...], Cell] = {}
        for cell in self._matching(selector, place):
            lacking = [axis for axis in over if axis not in cell.axes]
            if lacking:
                self._note(place, f"{words(selector)} names a cell of {cell.model.name}, which has no {lacking[0]}")
                return {}
            values = tuple(cell.axes[axis] for axis in over)
            if values in result:
                self._one({**selector, **dict(zip(over, values, strict=True))}, place)
                return {}
            result[values] = cell
        return result

    def _trend(self, entry: TrendEntry, place: Path_) -> Trend | None:
        arms = ("cells",) if entry.cells is not None else ("a", "b")
        if entry.along not in AXES:
            self._note((*place, "along"), unknown_axis(entry.along))
            return None
        selectors: list[Axes] = [getattr(entry, arm) for arm in arms]
        known = [self._axes_known(axes, (*place, arm)) for axes, arm in zip(selectors, arms, strict=True)]
        named = [(*place, arm, entry.along) for axes, arm in zip(selectors, arms, strict=True) if entry.along in axes]
        for at in named:
            self._note(at, f"{entry.along} cannot have one value here and be what the trend runs along")
        if not all(known) or named or not self.cells_hold:
            return None
        found = [self._at_values(axes, [entry.along], (*place, arm)) for axes, arm in zip(selectors, arms, strict=True)]
        if not all(found) or not self._ordered(entry, found, place):
            return None
        cells, minus = tuple(found[0].values()), tuple(found[1][at] for at in found[0]) if len(found) == 2 else ()
        says = entry.says or _trend_words(entry)
        kept = (cells, minus, entry.metric, entry.direction, entry.min_effect, entry.allow_scaled)
        return Trend(entry.id, says, entry.where, entry.along, entry.x, *kept)

    def _ordered(self, entry: TrendEntry, found: Sequence[Mapping[tuple[Scalar, ...], Cell]], place: Path_) -> bool:
        """Check that the cells of a trend stand in an order that has numbers."""
        first, last = found[0], found[-1]
        before = len(self.found)
        for values in [*first, *last]:
            if values not in first or values not in last:
                at, arm = f"{entry.along} {values[0]}", "a" if values not in first else "b"
                self._note((*place, arm), f"no cell of the suite has {words(getattr(entry, arm))} at {at}")
        if len(first) == 1:
            self._note((*place, "along"), f"{entry.along} has one value only here, so there is no trend")
        text = next((values[0] for values in first if isinstance(values[0], str)), None)
        nets = [cell.model.name for cells in found for cell in cells.values()]
        unknown = [net for net in nets if not has_known_depth(net)]
        if entry.x == "value" and text is not None:
            self._note((*place, "x"), f"{entry.along} has no numbers: {text!r} (allowed then: order, depth)")
        elif entry.x == "depth" and unknown:
            self._note((*place, "x"), f"the depth of {unknown[0]!r} cannot be counted (allowed then: order, value)")
        elif entry.x == "depth" and len(set(nets)) == 1:
            self._note((*place, "x"), f"along {entry.along} all nets have one depth (allowed then: order, value)")
        return len(self.found) == before

    def _value(self, entry: ValueEntry, place: Path_, published: Sequence[Published]) -> Value | None:
        found = self._printed(entry, place, published)
        if found is None:
            return None
        if ALL_METRICS[entry.metric].unit == "percent" and entry.margin > 100:
            self._note((*place, "margin"), f"{entry.margin:g} percentage points allow any {entry.metric}")
        says = entry.says or _printed_words(entry, found)
        return Value(
            entry.id, says, entry.where, found.cell, entry.metric, found.value, entry.margin, entry.allow_scaled
        )

    def _counted(self, entry: ComplexityEntry, place: Path_, published: Sequence[Published]) -> Counted | None:
        found = self._printed(entry, place, published)
        if found is None:
            return None
        name = found.cell.model.name
        if entry.metric == "depth" and not has_known_depth(name):
            text = f"the depth of {name!r} cannot be counted, so no claim about it can be judged"
            self._note((*place, "metric"), f"{text} (parameters and macs can)")
            return None
        if entry.metric in MODULE_METRICS and not found.cell.model.modules(found.cell.data.info.form):
            self._note((*place, "metric"), f"{name!r} has no attention modules, so their number cannot be judged")
            return None
        if found.value <= 0:
            self._note((*place, "cell"), f"the published {entry.metric} is {found.value:g}; a count must be above 0")
        says = entry.says or _printed_words(entry, found)
        kept = (found.cell, entry.metric, found.value, entry.tolerance_pct, found.digits)
        return Counted(entry.id, says, entry.where, *kept)

    def _printed(
        self, entry: ValueEntry | ComplexityEntry, place: Path_, published: Sequence[Published]
    ) -> Published | None:
        """Find the published value that a claim is compared with."""
        cell = self._one(entry.cell, (*place, "cell"))
        if cell is None:
            return None
        found = [value for value in published if value.cell is cell and value.metric == entry.metric]
        if not found:
            self._note((*place, "cell"), f"no published {entry.metric} of {words(entry.cell)} to compare with")
        return found[0] if found else None

    def _one(self, selector: Axes, place: Path_) -> Cell | None:
        """Find the one cell that a selector names."""
        if not self._axes_known(selector, place) or not self.cells_hold:
            return None
        found = self._matching(selector, place)
        if len(found) > 1:
            axes = [axis for axis in AXES if len({cell.axes.get(axis) for cell in found}) > 1]
            self._note(place, f"{words(selector)} names {len(found)} cells; add {' or '.join(axes)}")
        return found[0] if len(found) == 1 else None

    def _matching(self, selector: Axes, place: Path_) -> list[Cell]:
        """List the cells that a selector names, at least one."""
        found = [cell for cell in self.cells if cell.matches(selector)]
        if not found:
            self._note(place, f"no cell of the suite has {words(selector)}")
        return found

    def _axes_known(self, selector: Axes, place: Path_) -> bool:
        unknown = [axis for axis in selector if axis not in AXES]
        for axis in unknown:
            self._note((*place, axis), unknown_axis(axis))
        return not unknown

    def _metric(self, metric: str, place: Path_, *cells: Cell) -> bool:
        if metric not in ALL_METRICS:
            self._note((*place, "metric"), f"metric {metric!r} is not known{nearest(metric, ALL_METRICS)}")
            return False
        if metric in SERIES:
            instead = {"test_error_pct": "error_pct", "test_loss": "loss"}.get(metric)
            text = f"{metric} is a series over iterations, not what a run ends with"
            self._note((*place, "metric"), f"{text}; expected {instead}" if instead else text)
            return False
        if metric == "top5_error_pct" and not all(cell.data.info.resizable for cell in cells):
            self._note((*place, "metric"), f"{metric} is measured on imagenet and imagefolder only")
            return False
        if metric in RESPONSE_METRICS and place[0] != "cited" and "responses" not in self.content.probes:
            self._note((*place, "metric"), f"{metric} is measured only where the suite says 'probes: [responses]'")
            return False
        return self._staged(metric, place, *cells)

    def _staged(self, metric: str, place: Path_, *cells: Cell) -> bool:
        """See that the cells have the stage that a metric is about."""
        stage = RESPONSE_METRICS[metric].stage if metric in RESPONSE_METRICS else 0
        short = [cell for cell in cells if stage > (_num_stages(cell) or stage)]
        if short:
            name, data = short[0].model.name, short[0].data.name
            self._note((*place, "metric"), f"{metric}: {name} has {_num_stages(short[0])} stages on {data}")
        return not short

    def _fits(self, metric: str, place: Path_, *, counted: bool) -> bool:
        """Claims of kind complexity are about counts, all others about what trained runs give."""
        kind = self.content.claims[int(place[1])].kind
        if counted and metric not in SIZE_METRICS:
            self._note((*place, "metric"), f"{metric} is no count (allowed: {', '.join(SIZE_METRICS)})")
        elif not counted and metric in SIZE_METRICS:
            self._note((*place, "metric"), f"{metric} is a count, which a claim of kind complexity is about")
        elif not counted and not self.content.seeds:
            self._note((*place, "kind"), f"a claim of kind {kind} needs trained runs, and the suite has seeds: 0")
        else:
            return True
        return False

    def _unit(self, entry: PublishedEntry | CitedEntry, place: Path_) -> None:
        unit = ALL_METRICS[entry.metric].unit
        if entry.unit != unit:
            self._note((*place, "unit"), f"{entry.metric} is in {unit}, got {entry.unit!r}")
        elif not 0 <= entry.value <= (100 if unit == "percent" else math.inf):
            allowed = "0 to 100" if unit == "percent" else "0 or more"
            self._note((*place, "value"), f"{entry.metric} in {unit} cannot be {entry.value:g} (allowed: {allowed})")

    def _check_ids(self, kind: str, ids: Sequence[str]) -> None:
        for index, name in enumerate(ids):
            if name in ids[:index]:
                self._note((f"{kind}s", index, "id"), f"{kind} {name!r} stands twice")

    def _check_new(self, claim: Claim, earlier: Sequence[Claim], place: Path_) -> None:
        """Refuse a claim that asks what another asks: each would take its share of the level."""
        same = next((one.id for one in earlier if one.id != claim.id and _asked(one) == _asked(claim)), None)
        if same is not None:
            self._note((*place, "id"), f"claim {claim.id!r} asks the same as {same!r}; leave one of them out")

    def _note(self, place: Path_, text: str) -> None:
        self.found.append(self.document.problem(place, text))


def _at_every(over: Sequence[str]) -> str:
    return f", at every {' and '.join(over)}" if over else ""


def _trend_words(entry: TrendEntry) -> str:
    """Say a trend: ``test error of learning naive is rising along model``; of a gap, what is subtracted."""
    label = ALL_METRICS[entry.metric].label
    if entry.cells is not None:
        what = f"{label} of {words(entry.cells)}" if entry.cells else label
    else:
        what = f"{label} of {words(entry.a or {})} minus that of {words(entry.b or {})}"
    return f"{what} is {entry.direction} along {entry.along}"


def _asked(claim: Claim) -> Claim:
    """Leave out how a claim is named and told, and which fidelity it allows."""
    blank = replace(claim, id="", says="", where=None)
    return blank if isinstance(blank, Counted) else replace(blank, allow_scaled=False)


def _num_stages(cell: Cell) -> int | None:
    return num_stages(cell.model.name, cell.data.info.form)


def _cells_of(claim: Claim) -> tuple[Cell, ...]:
    """List the cells that a claim is about."""
    if isinstance(claim, Better | Ratio):
        return tuple(cell for pair in claim.pairs for cell in (pair.a, pair.b))
    return (*claim.cells, *claim.minus) if isinstance(claim, Trend) else (claim.cell,)


def _printed_words(entry: ValueEntry | ComplexityEntry, published: Published) -> str:
    """Say what the paper prints: ``attention-56: test error is 5.52 percent``, ``attention-56: 56 layers``."""
    named = ", ".join(map(str, entry.cell.values()))
    metric = ALL_METRICS[entry.metric]
    if entry.metric in SIZE_METRICS:
        return f"{named}: {count_words(published.value, published.digits)} {size_unit(entry.metric, published.value)}"
    about = "about " if published.approximate else ""
    return f"{named}: {metric.label} is {about}{as_printed(published.value, published.digits)} {metric.unit}"
