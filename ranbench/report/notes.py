"""What must be said beneath a table: failures, gaps, mixed code or machines. Sentences, made from run rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby

from ranbench.records import METRICS
from ranbench.report.collect import NOT_RUN, EnvironmentRow, RunRow

MOST_STRETCHES = 6  # of seeds one after the other that are named each
_MACHINE: Mapping[str, Callable[[EnvironmentRow], str]] = {
    "devices": lambda row: row.device_name,
    "thread counts": lambda row: f"{row.threads}",
    "versions of torch": lambda row: row.versions.get("torch", "unknown"),
}


def row_notes(
    runs: Sequence[RunRow], metric: str, environments: Sequence[EnvironmentRow], extra_seeds: Sequence[int] = ()
) -> tuple[str, ...]:
    """Say what a reader must know of one cell's runs beside their mean."""
    failed = _grouped([run for run in runs if run.state == "failed"], _failure)
    notes = [f"{seeds([run.seed for run in group])} {what}" for what, group in failed.items()]
    notes += [_unfinished(run) for run in runs if run.state in {"running", "interrupted"}]
    done = [run for run in runs if run.state == "done"]
    absent = [run.seed for run in runs if run.state == NOT_RUN]
    if absent and len(absent) < len(runs):
        notes.append(f"{seeds(absent)} not run")
    hollow = [run.seed for run in done if metric not in (run.metrics or {})]
    if hollow:
        notes.append(f"{seeds(hollow)} done without a finite {METRICS[metric].label}: missing, left out of the mean")
    inexact = [run.seed for run in done if run.resumed_inexactly]
    if inexact:
        notes.append(f"{seeds(inexact)} resumed inexactly: a rerun may give other numbers")
    notes += [_earlier(run) for run in done if run.superseded or run.failures]
    notes += mixed(done, environments)
    if extra_seeds:
        notes.append(f"{seeds(extra_seeds)} recorded beyond the suite's seeds; not counted")
    return tuple(notes)


def mixed(
    runs: Sequence[RunRow], environments: Sequence[EnvironmentRow], own_code: Mapping[int, str] | None = None
) -> list[str]:
    """Say where done runs mix versions of the code, devices, threads or versions of torch.

    Engine paths are not told here: they belong to timings, and a net that is not ours goes another one by design.

    Args:
        runs: of one cell or of several.
        environments: those that the runs refer to.
        own_code: by cell, the modules that a user's net and dataset come from. Their files are part of the code_id,
            which therefore differs from that of other cells; only runs of the same source are compared.
    """
    done = [run for run in runs if run.state == "done"]
    by_number = {row.number: row for row in environments}
    sources = own_code or {}
    found = []
    for same in _grouped(done, lambda run: sources.get(run.cell, "")).values():
        code = _grouped(same, lambda run: (run.code_id or "unknown")[:12])
        if len(code) > 1:
            found.append(f"mixed versions of the code (code_id): {_groups(code)}")
    for plural, of in _MACHINE.items():
        groups = _grouped(done, partial(_fact, by_number, of))
        if len(groups) > 1:
            found.append(f"mixed {plural}: {_groups(groups)}")
    return found


def seeds(numbers: Sequence[int]) -> str:
    """Name seeds in words: ``seed 3``, ``seeds 0, 2 and 3``, ``seeds 0 to 4 and 10 to 14``; of many, their number."""
    ordered = sorted(set(numbers))
    if len(ordered) == 1:
        return f"seed {ordered[0]}"
    words: list[str] = []
    for _, stretch in groupby(enumerate(ordered), lambda each: each[1] - each[0]):
        found = [number for _, number in stretch]
        words += map(str, found) if len(found) < 3 else [f"{found[0]} to {found[-1]}"]
    if len(words) > MOST_STRETCHES:
        return f"{len(ordered)} seeds from {ordered[0]} to {ordered[-1]}"
    return f"seeds {', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else f"seeds {words[0]}"


def _failure(run: RunRow) -> str:
    reason = (run.reason or "no reason recorded").replace("_", " ")
    detail = f": {run.error}" if run.error else ""
    return f"failed ({reason}){detail}"


def _unfinished(run: RunRow) -> str:
    return f"seed {run.seed} is {run.state} at iteration {run.step:,} of {run.iterations:,}"


def _earlier(run: RunRow) -> str:
    parts = [f"{run.superseded} earlier done"] if run.superseded else []
    parts += [f"{run.failures} earlier failed"] if run.failures else []
    return f"seed {run.seed} counts attempt {run.attempt}; superseded: {' and '.join(parts)}"


def _fact(environments: Mapping[int, EnvironmentRow], of: Callable[[EnvironmentRow], str], run: RunRow) -> str:
    return of(environments[run.environment]) if run.environment else "unknown"


def _grouped(runs: Sequence[RunRow], of: Callable[[RunRow], str]) -> dict[str, list[RunRow]]:
    groups: dict[str, list[RunRow]] = {}
    for run in runs:
        groups.setdefault(of(run), []).append(run)
    return groups


def _groups(groups: Mapping[str, Sequence[RunRow]]) -> str:
    """One cell's groups are told by seed, those of several cells by number of runs."""
    one_cell = len({run.cell for runs in groups.values() for run in runs}) == 1
    told = (
        seeds([run.seed for run in runs]) if one_cell else f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        for runs in groups.values()
    )
    return "; ".join(f"{name} ({who})" for name, who in zip(groups, told, strict=True))
