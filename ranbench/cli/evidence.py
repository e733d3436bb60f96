"""What the database holds of a suite: its runs, the counts of its nets, the predictions that claims compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.cli.options import suite_name, suite_of
from ranbench.cli.output import note
from ranbench.errors import RanbenchError, SuiteError, UsageError
from ranbench.masking import mask

if TYPE_CHECKING:
    from ranbench.claims import Version
    from ranbench.counts import Recorded
    from ranbench.records import RunRecord
    from ranbench.store import Store, SuiteText
    from ranbench.suite import Suite


def suite_in(
    store: Store | None,
    name: str,
    protocol: str | None = None,
    factor: float | None = None,
    seeds: int | None = None,
    seeds_from: int | None = None,
    *,
    of_bundle: bool = False,
) -> Suite:
    """Load a suite from its file, or as it is recorded where there is no file of it here, and say so.

    A suite that is named, and not given as a file, is that of a bundle where the bundle holds one: whoever reads a
    bundle asks what was found there.

    Raises:
        SuiteError: there is neither, or it does not hold.
    """
    from ranbench.suite import find_suite, recorded_suite

    called = suite_name(name)
    recorded = next((one for one in store.suites() if one.name == called), None) if store else None
    here: Path | None
    try:
        here = find_suite(name)
    except SuiteError:
        if recorded is None:
            raise
        beside = Path(f"{called}.yaml")  # of the file that was run here, only its name is recorded
        here = beside if name == called and beside.is_file() else None
    differs = here is not None and recorded is not None and not _is_of(here, recorded.text)
    if recorded is None or (here is not None and not (differs and of_bundle and name == called)):
        if differs:
            note(f"suite {called}: the text of {here} is taken; the one that was recorded last is another")
        return suite_of(name if here is None else str(here), protocol, factor, seeds, seeds_from)
    why = "there is no file of it here" if here is None else f"{here} is another one"
    note(f"suite {called}: {why}, so the text that was recorded with its runs is taken")
    return recorded_suite(
        called,
        recorded.text,
        recorded.protocols,
        file=f"{called}.yaml" if name == called else name,
        protocol=protocol,
        factor=factor,
        seeds=seeds,
    ).from_seed(seeds_from)


def refuse_two_of_one_name(seen: dict[str, Suite], suite: Suite) -> None:
    """Check a suite against those that are given with it, and add it to them.

    Raises:
        UsageError: another one has its name, by which results and pages are known.
    """
    other = seen.setdefault(suite.name, suite)
    if other.text != suite.text:
        raise UsageError(
            f"{suite.file}: {suite.name!r} is the name of {other.file} too, which is another suite; rename one of them"
        )


def _is_of(file: Path, recorded: str) -> bool:
    """Tell whether a text was recorded of this file: without its secrets, or whole as early versions did."""
    from ranbench.suite import read_text

    try:
        text = read_text(file)
    except SuiteError:
        return False
    return recorded in (text, mask(text))


def measured_of(store: Store, suite: Suite) -> dict[str, Recorded]:
    """The recorded counts of the suite's nets, by their key."""
    from ranbench.counts import Recorded
    from ranbench.spec import complexity_key

    keys = {complexity_key(cell.model, cell.data) for cell in suite.cells}
    found = {key: store.complexity(key) for key in sorted(keys)}
    return {key: Recorded(one.parameters, one.macs, one.depth, one.code_id) for key, one in found.items() if one}


def records_of(store: Store, suite: Suite) -> list[RunRecord]:
    """All runs of the suite's cells: those it asks for now, and those that it was ever recorded with."""
    asked = store.runs([spec.fingerprint for spec in suite.runs()])
    known = {record.fingerprint for record in asked}
    return asked + [record for record in store.runs(suite=suite.name) if record.fingerprint not in known]


def predictions_of(store: Store, suite: Suite, records: Sequence[RunRecord]) -> dict[int, bytes]:
    """The predicted classes of the nets that claims compare, by attempt."""
    from ranbench.claims import compared

    if not suite.trains:
        return {}
    asked = {spec.fingerprint for spec in suite.runs()}
    attempts = compared(suite, [record for record in records if record.fingerprint in asked])
    found = {attempt: store.predictions(attempt) for attempt in attempts}
    return {attempt: classes for attempt, classes in found.items() if classes is not None}


def versions_of(store: Store, suite: Suite, records: Sequence[RunRecord]) -> tuple[Version, ...]:
    """The recorded versions of a suite that tell whether its claims and seeds were declared before its runs were done.

    A text is read only where it may say another thing than the present one, which it does not where the present one was
    recorded before any run was done: then what is older counts no more.
    """
    from ranbench.claims import Version, done_at

    asked = {spec.fingerprint for spec in suite.runs()} if suite.trains and suite.claims else set()
    times = [moment for record in records if record.fingerprint in asked and (moment := done_at(record))]
    if not times:
        return ()
    first, texts = min(times), [one for one in store.suites() if one.name == suite.name]
    own = next((one.recorded for one in texts if one.text == suite.text), None)
    if own is not None and own <= first:
        texts = [one for one in texts if own <= one.recorded <= first]
    return tuple(Version(one.recorded, suite if one.text == suite.text else _read(one)) for one in texts)


def _read(version: SuiteText) -> Suite | None:
    from ranbench.suite import recorded_suite

    try:
        return recorded_suite(version.name, version.text, version.protocols, file=f"suites/{version.name}.yaml")
    except RanbenchError:  # written for another version of ranbench: what it declared is not known
        return None
