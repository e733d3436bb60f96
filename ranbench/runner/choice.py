"""Which runs of a suite a call trains, and which are left as they are. Decided from records, without torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ranbench.counts import Recorded
from ranbench.environment import code_of
from ranbench.environment.owner import is_alive
from ranbench.records import RunRecord, State
from ranbench.spec import RunSpec, complexity_key
from ranbench.suite import Cell

CLOSED = (State.DONE, State.FAILED)


@dataclass(frozen=True)
class Choice:
    """The runs of a call: those to be claimed, and how many of them failed before and are not tried again.

    ``done``: runs that need nothing; ``of_other_code``: those of them whose numbers other code made than is here.
    """

    todo: tuple[RunSpec, ...]
    failed: int
    done: int
    of_other_code: int


def choose(specs: Sequence[RunSpec], records: Iterable[RunRecord], rerun: Collection[str]) -> Choice:
    """Choose what is trained of ``specs``: what has no result, and of the rest what ``rerun`` asks for again."""
    known = {record.fingerprint: record for record in records}
    codes = _codes((spec.model.name, spec.data.name) for spec in specs)
    todo, done, failed = [], [], 0
    for spec in specs:
        record, code = known.get(spec.fingerprint), codes[spec.model.name, spec.data.name]
        if record is None or _is_wanted(record, rerun, code):
            todo.append(spec)
            failed += record is not None and _stays_failed(record, rerun, code)
        else:
            done.append(record)
    return Choice(tuple(todo), failed, len(done), of_other_code(done))


def of_other_code(records: Iterable[RunRecord]) -> int:
    """Count the results that other code made than is here; a user's file that is not found here tells nothing."""
    counted = [(_names(record.spec), record.counted.code_id) for record in records if record.counted]
    codes = _codes(names for names, _ in counted)
    return sum(codes[names] not in (None, code) for names, code in counted)


def counts_of_other_code(cells: Iterable[Cell], measured: Mapping[str, Recorded]) -> tuple[Cell, ...]:
    """List the cells with a user's net that was counted from other code than is here, where either is known.

    The code_id covers all sources that make numbers, of which most, for instance those of training, make no count; so
    nets of the catalogue, whose counts a test keeps, and of libraries are left out.
    """
    found = []
    for cell in cells:
        recorded = measured.get(complexity_key(cell.model, cell.data))
        if cell.model.factory and recorded and recorded.code_id:
            found += [cell] if code_of(cell.model.factory) not in (None, recorded.code_id) else []
    return tuple(found)


def other_code_words(number: int) -> str:
    """Say so many results are of other code."""
    return f"{number} done {'run is' if number == 1 else 'runs are'} of other code than is here now"


def _is_wanted(record: RunRecord, rerun: Collection[str], code: str | None) -> bool:
    newest = record.latest
    if newest is None or "all" in rerun:
        return True
    if "changed" in rerun and (newest.state not in CLOSED or newest.code_id != code):
        return True
    return record.counted is None or (newest.code_id == code and is_left_open(record))


def is_left_open(record: RunRecord) -> bool:
    """Tell whether the newest attempt was stopped or its process is gone, so that the next call goes on with it.

    A run may have a result besides: what ``rerun`` asked for again, and was stopped, is brought to its end.
    """
    newest = record.latest
    if newest is None or newest.state in CLOSED:
        return False
    return newest.owner is None or not is_alive(newest.owner, newest.updated)


def _stays_failed(record: RunRecord, rerun: Collection[str], code: str | None) -> bool:
    """Tell whether the newest attempt failed and is not followed by another, as ``Store.claim`` decides."""
    newest = record.latest
    if newest is None or newest.state is not State.FAILED or {"all", "failed"} & set(rerun):
        return False
    return "changed" not in rerun or newest.code_id == code


def _codes(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str | None]:
    """The code of each net on each dataset."""
    return {(net, dataset): code_of(net, dataset) for net, dataset in set(pairs)}


def _names(spec: Mapping[str, object]) -> tuple[str, str]:
    """The names of net and dataset."""
    model, data = (part if isinstance(part, Mapping) else {} for part in (spec["model"], spec["data"]))
    return str(model.get("name", "")), str(data.get("name", ""))
