"""rerun: a run trained again, to check that its numbers come out again."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Data, Db, Json, TrustImports, settings
from ranbench.cli.output import answer, as_json, note
from ranbench.cli.run import DEVICES, Device, interruptible
from ranbench.errors import UsageError

if TYPE_CHECKING:
    from ranbench.records import RunRecord
    from ranbench.runner import Checked
    from ranbench.runner.comparison import Comparison


def rerun(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="First digits of a run's fingerprint (4 or more).")],
    check: Annotated[
        bool, typer.Option("--check", help="Compare with what was recorded; the new attempt never counts.")
    ] = False,
    device: Device = "auto",
    trust_imports: TrustImports = False,
    json: Json = False,
    db: Db = None,
    data: Data = None,
) -> None:
    """Train a run again from its stored spec and say: identical, equal metrics or different, and from where on.

    Goes on where it was interrupted. Exit 0 identical or equal metrics, 3 the check failed, 4 different, 6 nothing to
    compare with.
    """
    if not check:
        raise UsageError("rerun: give --check; to train for new results there is 'ranbench run SUITE --rerun all'")
    if device not in DEVICES:
        raise UsageError(f"--device {device!r}: not known (allowed: {', '.join(DEVICES)})")
    chosen = settings(context, db, data)
    with chosen.store(create=False, write=True) as store:
        record = store.find(run)
        from ranbench import runner
        from ranbench.cli.progress import Live, observer

        shown = observer()
        shown.total = 1
        with shown if isinstance(shown, Live) else contextlib.nullcontext(), interruptible() as stop:
            checked = runner.check(
                record,
                store,
                data=chosen.data,
                results=chosen.results,
                device=device,
                trust_imports=trust_imports,
                observer=shown,
                stop=stop,
            )
    if json:
        as_json(_as_dict(record, checked))
    elif checked.signal is not None:
        note(f"interrupted after iteration {checked.check.step:,}; the same command goes on")
    else:
        for line in _said(record, checked):
            answer(line)
    raise typer.Exit(checked.exit_code)


def _said(record: RunRecord, checked: Checked) -> list[str]:
    found = checked.comparison
    attempts = f"run {record.fingerprint[:12]}, attempt {checked.check.number} against {checked.recorded.number}"
    if found is None:
        reason = checked.check.reason.value if checked.check.reason else checked.check.state.value
        lines = [f"no answer: the check failed ({reason}); 'ranbench show {record.fingerprint[:12]}' has its error"]
    else:
        lines = [found.answer, f"{attempts}: {_compared(found)}"]
    if found is not None and found.differing:
        lines.append(f"differing: {', '.join(found.differing)}")
    if found is not None and found.unknown:
        lines.append(f"not compared, for it was not kept of both: {', '.join(found.unknown)}")
    if found is not None and found.answer != "identical":
        lines.append(_first_difference(found))
    return lines + [f"not as recorded: {change}" for change in checked.changed]


def _compared(found: Comparison) -> str:
    what = f"{len(found.metrics)} final metrics, {found.points:,} points of series, predictions and weights"
    return f"{what} are equal bit for bit" if found.answer == "identical" else f"{what} compared"


def _first_difference(found: Comparison) -> str:
    from ranbench.runner.comparison import LOSS

    if found.first is None:
        return "no point of a series differs"
    first, last = found.first.first, found.first.last
    where = f"iteration {last:,}" if first == last else f"iterations {first:,} to {last:,}"
    which = "training loss" if found.first.series == LOSS else f"point of {found.first.series}"
    return f"first {which} that differs: {where}, {found.first.before!r} then, {found.first.again!r} now"


def _as_dict(record: RunRecord, checked: Checked) -> dict[str, Any]:
    found, failed = checked.comparison, checked.check
    return {
        "run": record.fingerprint,
        "answer": found.answer if found else failed.state.value,
        "attempt": checked.recorded.number,
        "check": checked.check.number,
        "step": checked.check.step,
        "reason": failed.reason.value if failed.reason else None,
        "error": failed.error,
        "compared": {"metrics": list(found.metrics), "points": found.points} if found else None,
        "differing": list(found.differing) if found else None,
        "unknown": list(found.unknown) if found else None,
        "first_difference": dataclasses.asdict(found.first) if found and found.first else None,
        "changed": [dataclasses.asdict(change) for change in checked.changed],
    }
