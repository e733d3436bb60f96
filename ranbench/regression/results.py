"""Records of runs -> the results of a suite's cells, of one code only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ranbench.counts import Counts
from ranbench.environment import code_of
from ranbench.records import Attempt, RunRecord, State
from ranbench.regression.values import LAST_SHARE, SHOWN, TRAIN_LOSS, WATCHED, CellResult, Jobs, Place, SuiteResult
from ranbench.spec import complexity_key
from ranbench.suite import Cell, Suite

Loss = Mapping[int, Sequence[float]]
MEASURED = tuple(name for name in (*WATCHED, *SHOWN))


def of_present_code(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Leave of each run only the attempts at a result that the code here made; runs without one are left out."""
    codes: dict[tuple[str, str], str | None] = {}
    found = []
    for record in records:
        names = str(record.spec["model"]["name"]), str(record.spec["data"]["name"])
        if names not in codes:
            codes[names] = code_of(*names)
        attempts = tuple(one for one in record.results if one.code_id == codes[names])
        if attempts:
            found.append(replace(record, attempts=attempts))
    return found


def identity(suite: Suite, cell: Cell) -> str:
    """Return the cell_id of a cell's runs; of one that is only counted, the key of its counts."""
    return cell.run(suite.protocol, 0).cell_id if suite.trains else complexity_key(cell.model, cell.data)


def results_of(
    suite: Suite,
    records: Sequence[RunRecord],
    losses: Loss,
    counts: Mapping[str, Mapping[str, int]],
    *,
    due: Collection[str] | None = None,
    left: Mapping[str, str] | None = None,
    jobs: Mapping[str, Jobs | str] | None = None,
    claims: Mapping[str, str] | None = None,
) -> SuiteResult:
    """Gather what is known of every cell of a suite.

    Args:
        suite: the suite.
        records: runs of its cells, of one code.
        losses: attempt -> training losses in their order.
        counts: counts by ``complexity_key``.
        due: cell_ids that were to be trained; None: all.
        left: cell_id -> why runs that were due are lacking though nothing is wrong.
        jobs: cell_id -> what jobs of their own measured, or why one of them failed.
        claims: outcome of each claim by id.
    """
    by_cell: dict[str, list[RunRecord]] = {}
    for record in records:
        by_cell.setdefault(record.cell_id, []).append(record)
    cells = []
    for cell in suite.cells:
        key = identity(suite, cell)
        known = CellResult(key, suite.label(cell), counts.get(complexity_key(cell.model, cell.data), {}))
        is_due, lacking = due is None or key in due, (left or {}).get(key)
        timed = (jobs or {}).get(key)
        known = replace(known, jobs_failed=timed) if isinstance(timed, str) else replace(known, jobs=timed)
        known = _with_runs(replace(known, due=is_due, left=lacking), by_cell.get(key, ()), losses)
        if due is not None and is_due and suite.trains:
            known = replace(known, lost=tuple(sorted({*suite.seeds} - {*known.places} - {*known.failed})))
        cells.append(known)
    return SuiteResult(suite.name, suite.sha256, suite.trains, tuple(cells), claims or {}, suite.file)


def _with_runs(cell: CellResult, records: Sequence[RunRecord], losses: Loss) -> CellResult:
    values: dict[str, dict[int, float]] = {}
    failed: dict[int, str] = {}
    places: dict[int, Place] = {}
    for record in sorted(records, key=lambda record: record.seed):
        attempt = record.counted
        if attempt is None:
            if record.latest and record.latest.state is State.FAILED:
                failed[record.seed] = str(record.latest.reason or "failed")
            continue
        places[record.seed] = Place.of(attempt.environment)
        for name, value in _measured(attempt, losses).items():
            values.setdefault(name, {})[record.seed] = value
    return replace(cell, values=values, failed=failed, places=places)


def _measured(attempt: Attempt, losses: Loss) -> dict[str, float]:
    found = {name: attempt.metrics[name] for name in MEASURED if name in attempt.metrics}
    ends = losses.get(attempt.id, ())
    if len(ends):
        last = ends[-max(1, len(ends) // LAST_SHARE) :]
        found[TRAIN_LOSS] = float(sum(last) / len(last))
    return found


def counts_of(counts: Counts) -> dict[str, int]:
    """Return the counts of a net that the gate watches."""
    return {"parameters": counts.parameters, "macs": counts.macs}
