"""What an owner writes for its attempt, and what is known before any attempt: suites, cells, runs, sizes of nets.

Every function works inside the caller's transaction. Who may own an attempt is decided in ``claiming``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy import insert as plain_insert

from ranbench.errors import ClaimLost, StoreError
from ranbench.masking import mask
from ranbench.records import CALIBRATED, Calibration, Complexity, Environment, MetricPoint, Predictions, Probe, State
from ranbench.store.connection import execute_many, insert
from ranbench.store.schema import (
    ArtefactRow,
    AttemptRow,
    CalibrationRow,
    CellRow,
    ComplexityRow,
    EnvironmentRow,
    MetricPointRow,
    MetricRow,
    PredictionRow,
    ProbeRow,
    RunRow,
    SuiteProtocolRow,
    SuiteRow,
    SuiteRunRow,
)
from ranbench.store.values import Artefact

if TYPE_CHECKING:
    from ranbench.spec import RunSpec

NO_OWNER: Mapping[str, Any] = {
    "owner_token": None,
    "owner_host": None,
    "owner_pid": None,
    "owner_pid_started": None,
}
POINT_KEY = ("attempt_id", "name", "step")


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def touch(connection: Connection, attempt_id: int, token: str, **values: Any) -> None:
    """Set columns of an attempt, its heartbeat and the time worked on it, if the caller still owns it.

    Raises:
        ClaimLost: the attempt is closed or has another owner; nothing is written.
    """
    this, moment = AttemptRow.id == attempt_id, now()
    columns = (AttemptRow.state, AttemptRow.owner_token, AttemptRow.updated, AttemptRow.seconds)
    found = connection.execute(select(*columns).where(this).with_for_update()).one_or_none()
    if found is None or found.state != State.RUNNING.value or found.owner_token != token:
        state = found.state if found else None
        stands = {None: "does not exist", State.RUNNING.value: "was taken over by another process"}
        raise ClaimLost(f"attempt {attempt_id} {stands.get(state, f'is {state}')}; this process wrote nothing to it")
    if found.seconds is not None:  # it is not known of attempts that an older schema began
        values["seconds"] = found.seconds + max(0.0, (moment - found.updated).total_seconds())
    connection.execute(update(AttemptRow).where(this).values(updated=moment, **values))


def close(connection: Connection, attempt_id: int, token: str, state: State, moment: datetime, **values: Any) -> bool:
    """End an attempt in ``state`` at a moment; it has no owner from then on.

    Returns False, and writes nothing, where it was ended so before: whoever ended it had no answer, and asks again.
    """
    columns = (AttemptRow.state, AttemptRow.ended)
    found = connection.execute(select(*columns).where(AttemptRow.id == attempt_id)).one_or_none()
    if found is not None and (found.state, found.ended) == (state.value, moment):
        return False
    touch(connection, attempt_id, token, state=state.value, ended=moment, **NO_OWNER, **values)
    return True


def finish(
    connection: Connection,
    attempt_id: int,
    token: str,
    moment: datetime,
    *,
    metrics: Mapping[str, float],
    predictions: Predictions | None,
    complexity_key: str | None,
    probes: Sequence[Probe] = (),
) -> None:
    """Close an attempt as done, with its final metrics, predictions and probes; refer to the counts of its net."""
    counts = None if complexity_key is None else _counts_of(connection, attempt_id, complexity_key)
    if not close(connection, attempt_id, token, State.DONE, moment, complexity_key=counts):
        return
    add_result(connection, attempt_id, metrics, predictions)
    for probe in probes:
        add_probe(connection, attempt_id, probe)


def add_result(
    connection: Connection, attempt_id: int, metrics: Mapping[str, float], predictions: Predictions | None
) -> None:
    """Write the final metrics and the predictions of an attempt."""
    rows = [{"attempt_id": attempt_id, "name": name, "value": number_or_null(value)} for name, value in metrics.items()]
    if rows:
        connection.execute(plain_insert(MetricRow), rows)
    if predictions is not None:
        kept = {"attempt_id": attempt_id, "classes": predictions.classes}
        connection.execute(plain_insert(PredictionRow).values(kept))


def next_number(connection: Connection, fingerprint: str) -> int:
    """Return the number of a run's next attempt."""
    last = select(func.max(AttemptRow.number)).where(AttemptRow.fingerprint == fingerprint)
    return (connection.execute(last).scalar() or 0) + 1


def add_probe(connection: Connection, attempt_id: int, probe: Probe) -> None:
    """Write what was measured of a done attempt's weights, unless it was measured before.

    Raises:
        StoreError: the attempt is not done.
    """
    state = connection.execute(select(AttemptRow.state).where(AttemptRow.id == attempt_id)).scalar_one_or_none()
    if state != State.DONE.value:
        raise StoreError(
            f"attempt {attempt_id} {f'is {state}' if state else 'does not exist'}; only a result is probed"
        )
    values = {
        "attempt_id": attempt_id,
        "kind": probe.kind,
        "numbers": dict(sorted(probe.values.items())),
        "code_id": probe.code_id,
        "measured": probe.measured,
        "environment_id": add_environment(connection, probe.environment),
    }
    add_missing(connection, ProbeRow, [values])


def add_calibration(connection: Connection, calibration: Calibration) -> None:
    """Write what a few steps of a net took; earlier ones stay beside it."""
    numbers = {name: getattr(calibration, name) for name in CALIBRATED}
    connection.execute(
        insert(connection, CalibrationRow).values(
            key=calibration.key,
            about=dict(calibration.about),
            numbers={name: value for name, value in numbers.items() if value is not None},
            code_id=calibration.code_id,
            measured=calibration.measured,
            environment_id=add_environment(connection, calibration.environment),
        )
    )


def _counts_of(connection: Connection, attempt_id: int, net: str) -> str:
    """Find what the attempt's code counted of its net; else what was counted last, with whatever code."""
    code = select(AttemptRow.code_id).where(AttemptRow.id == attempt_id).scalar_subquery()
    same = (ComplexityRow.code_id == code).desc().nulls_last()
    newest = ComplexityRow.recorded.desc().nulls_last()
    query = select(ComplexityRow.key).where(ComplexityRow.net == net).order_by(same, newest, ComplexityRow.key)
    return connection.execute(query.limit(1)).scalar_one_or_none() or net  # one that is not there is refused


def number_or_null(value: float) -> float | None:
    """Return what every database keeps for a value, as SQLite does: NULL for not-a-number, 0.0 for -0.0."""
    value = float(value) + 0.0
    return value if value == value else None  # noqa: PLR0124


def append(connection: Connection, attempt_id: int, token: str, points: Sequence[MetricPoint], step: int) -> None:
    """Write points of series; a point that is there already takes the new value."""
    touch(connection, attempt_id, token, step=step)
    if not points:
        return
    last = {(point.name, point.step): point.value for point in points}  # a statement may write a row only once
    rows = [(attempt_id, *key, number_or_null(value)) for key, value in sorted(last.items())]  # as the table is kept
    add = insert(connection, MetricPointRow)
    again = add.on_conflict_do_update(index_elements=list(POINT_KEY), set_={"value": add.excluded.value})
    execute_many(connection, again, (*POINT_KEY, "value"), rows)


def forget_after(connection: Connection, attempt_id: int, token: str, step: int) -> None:
    """Delete the points beyond ``step`` and set the attempt back to it."""
    touch(connection, attempt_id, token, step=step)
    beyond = (MetricPointRow.attempt_id == attempt_id, MetricPointRow.step > step)
    connection.execute(delete(MetricPointRow).where(*beyond))


def add_artefact(connection: Connection, token: str, artefact: Artefact) -> None:
    """Write what is known of a file; one that is there already takes the new content."""
    touch(connection, artefact.attempt_id, token)
    content = {"sha256": artefact.sha256, "size": artefact.size}
    key = {"attempt_id": artefact.attempt_id, "kind": artefact.kind, "path": artefact.path}
    add = insert(connection, ArtefactRow).values(**key, **content)
    connection.execute(add.on_conflict_do_update(index_elements=list(key), set_=content))


def add_runs(connection: Connection, specs: Sequence[RunSpec]) -> None:
    """Write cells and runs that are not there yet."""
    cells = {spec.cell_id: spec for spec in specs}
    added = now()
    add_missing(
        connection,
        CellRow,
        [{"cell_id": cell, "spec": spec.model_dump(mode="json", exclude={"seed"})} for cell, spec in cells.items()],
    )
    add_missing(
        connection,
        RunRow,
        [
            {"fingerprint": spec.fingerprint, "cell_id": spec.cell_id, "seed": spec.seed, "added": added}
            for spec in specs
        ],
    )


def add_suite(
    connection: Connection,
    specs: Sequence[RunSpec],
    *,
    name: str,
    title: str,
    text: str,
    sha256: str,
    protocols: Mapping[str, str],
) -> None:
    """Write a version of a suite's text with the texts of its protocols, without secrets, and link it to its runs."""
    add_runs(connection, specs)
    moment, kept = now(), mask(text)
    if kept != text:
        text, sha256 = kept, hashlib.sha256(kept.encode()).hexdigest()
    add = insert(connection, SuiteRow).values(
        name=name, title=mask(title), text=text, sha256=sha256, recorded=moment, used=moment
    )
    connection.execute(add.on_conflict_do_update(index_elements=["name", "sha256"], set_={"used": moment}))
    this = (SuiteRow.name == name, SuiteRow.sha256 == sha256)
    suite_id = connection.execute(select(SuiteRow.id).where(*this)).scalar_one()
    links = [{"suite_id": suite_id, "fingerprint": spec.fingerprint} for spec in specs]
    add_missing(connection, SuiteRunRow, links)
    for protocol, content in ((protocol, mask(content)) for protocol, content in protocols.items()):
        digest = hashlib.sha256(content.encode()).hexdigest()
        put_protocol(connection, suite_id, name=protocol, sha256=digest, text=content, used=moment)


def put_protocol(connection: Connection, suite_id: int, *, name: str, sha256: str, text: str, used: datetime) -> None:
    """Write the text of a protocol of a suite; one that is there was used when it was last."""
    row = {"suite_id": suite_id, "name": name, "sha256": sha256}
    add_missing(connection, SuiteProtocolRow, [{**row, "text": text, "used": used}])
    this = [getattr(SuiteProtocolRow, key) == value for key, value in row.items()]
    connection.execute(update(SuiteProtocolRow).where(*this, SuiteProtocolRow.used < used).values(used=used))


def add_environment(connection: Connection, environment: Environment) -> int:
    """Write an environment, without secrets, unless its content is there already; return its id."""
    content = environment.as_dict()
    content["command"] = mask(environment.command)
    content["patch"] = None if environment.patch is None else mask(environment.patch)
    return _put_environment(connection, content)


def add_given_environment(connection: Connection, environment: Environment) -> int:
    """Write an environment as a bundle says it: what is secret here has no part in what was recorded elsewhere."""
    return _put_environment(connection, environment.as_dict())


def _put_environment(connection: Connection, content: dict[str, Any]) -> int:
    from ranbench.spec import digest  # here, since whoever only reads needs no specs

    sha256 = digest(content)
    add_missing(connection, EnvironmentRow, [{**content, "sha256": sha256}])
    return connection.execute(select(EnvironmentRow.id).where(EnvironmentRow.sha256 == sha256)).scalar_one()


def put_complexity(connection: Connection, key: str, complexity: Complexity) -> None:
    """Write the size of a net as some code counted it; what other code counted stays beside it."""
    from ranbench.spec import digest

    content = {
        "net": key,
        "parameters": complexity.parameters,
        "macs": complexity.macs,
        "by_module": {name: dict(counts) for name, counts in complexity.by_module.items()},
        "uncounted": dict(complexity.uncounted),
        "convention": complexity.convention,
        "depth": complexity.depth,
        "backward_macs": complexity.backward_macs,
        "code_id": complexity.code_id,
    }
    moment = now()
    add = insert(connection, ComplexityRow).values(key=digest(content), recorded=moment, **content)
    connection.execute(add.on_conflict_do_update(index_elements=["key"], set_={"recorded": moment}))


def add_missing(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows whose key is not there yet."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)
