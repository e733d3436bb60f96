"""The file of counts: every net of the catalogue and of the shipped suites, counted anew, and what moved."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from ranbench.catalogue import DATASETS, NETS, check_form, net_info
from ranbench.complexity.ledger import Memo
from ranbench.complexity.named import measure_named
from ranbench.counts import Counts, key, read_counts
from ranbench.errors import EnvironmentProblem, SpecError
from ranbench.spec import DataSpec, ModelSpec
from ranbench.suite import load_suite, shipped_suites


def all_counts() -> tuple[dict[str, Counts], dict[str, str]]:
    """Count every net of the catalogue with either mask on every dataset it fits, and every cell of a suite.

    Returns:
        The counts by key; and by key the library whose absence left a net uncounted.

    Raises:
        SuiteError: a shipped suite does not hold.
        SpecError: a suite names a net that does not fit its dataset.
    """
    nets = {key(model, data): (model, data) for model, data in (*_catalogue(), *_suite_cells())}
    counts: dict[str, Counts] = {}
    missing: dict[str, str] = {}
    memo: Memo = {}
    with collector_paused():
        for name, (model, data) in nets.items():
            try:
                measured = measure_named(model, data, memo=memo)
            except EnvironmentProblem:
                missing[name] = net_info(model.name).library or "a library"
                continue
            counts[name] = Counts(measured.parameters, measured.macs, measured.depth)
    return counts, missing


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking over all of torch again and again: a third of the time otherwise."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def write_counts(path: Path) -> list[str]:
    """Count everything anew, write it to ``path`` and say entry by entry what moved or could not be counted.

    An entry whose library is not installed here stays as it was.
    """
    before = read_counts(path)
    counted, missing = all_counts()
    kept = {name: before[name] for name in missing if name in before}
    after = {**kept, **counted}
    lines = (f"  {json.dumps(name)}: {json.dumps(asdict(after[name]))}" for name in _in_order(after))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return _changes(before, after) + [
        f"{name}: {'kept as it was' if name in kept else 'not counted'}: {library} is not installed"
        for name, library in missing.items()
    ]


def _changes(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> list[str]:
    gone = [f"{name}: gone" for name in before if name not in after]
    new = [f"{name}: new" for name in after if name not in before]
    moved = [
        f"{name}: {field} {_shown(old)} -> {_shown(getattr(after[name], field))}"
        for name, entry in before.items()
        if name in after
        for field, old in asdict(entry).items()
        if old != getattr(after[name], field)
    ]
    return gone + new + moved


def _shown(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _in_order(names: Mapping[str, Counts]) -> list[str]:
    """Order the nets as the catalogue does, others behind them, so that a file differs only where a count does."""
    place = {name: index for index, name in enumerate(NETS)}
    return sorted(names, key=lambda name: place.get(name.split()[0], len(place)))


def _catalogue() -> Iterator[tuple[ModelSpec, DataSpec]]:
    for name, info in NETS.items():
        for dataset, mask in ((dataset, mask) for dataset in DATASETS for mask in info.options.get("mask", (None,))):
            with suppress(SpecError):  # a net without a form for this dataset
                check_form(name, DATASETS[dataset].form)
                yield ModelSpec(name=name, mask=mask), DataSpec.of(dataset)


def _suite_cells() -> Iterator[tuple[ModelSpec, DataSpec]]:
    for file in sorted(shipped_suites().glob("*.yaml")):
        for cell in load_suite(file).cells:
            yield cell.model, cell.data
