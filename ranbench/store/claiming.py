"""Who may train a run: the decision on its newest attempt, inside one write transaction.

Legal moves here: nothing -> running, interrupted -> running, running (owner dead) -> running or interrupted.
Checks of a run are claimed beside the attempts at its result: neither sees the other, they only share numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy import insert as plain_insert

from ranbench.records import Environment, Owner, Purpose, State
from ranbench.store.reading import environments, owner_of
from ranbench.store.schema import AttemptRow, RunRow
from ranbench.store.values import Claimed, Refused
from ranbench.store.writing import NO_OWNER, add_environment, add_runs, now

if TYPE_CHECKING:
    from ranbench.spec import RunSpec

IsAlive = Callable[[Owner, datetime], bool]


@dataclass(frozen=True)
class Request:
    """What a process wants to train, with which code, where, and what it would train again."""

    spec: RunSpec
    code_id: str
    environment: Environment
    owner: Owner
    rerun: frozenset[str] = frozenset()
    purpose: Purpose = Purpose.RESULT

    def wants_again(self, state: State, code_id: str) -> bool:
        """Tell whether a closed attempt is to be followed by another: always where it was a check."""
        if self.purpose is Purpose.CHECK:
            return True
        if "all" in self.rerun or ("changed" in self.rerun and code_id != self.code_id):
            return True
        return state is State.FAILED and "failed" in self.rerun


def claim(connection: Connection, request: Request, is_alive: IsAlive) -> Claimed | Refused:
    """Give the run to the caller, or say why not."""
    add_runs(connection, [request.spec])
    newest = _newest(connection, request)
    if newest is None:
        return _open(connection, request)
    state = State(newest.state)
    if state in (State.DONE, State.FAILED):
        if request.wants_again(state, newest.code_id):
            return _open(connection, request)
        return Refused("done" if state is State.DONE else "failed", newest.id)
    owner = owner_of(newest)
    if owner is not None and is_alive(owner, newest.updated):
        return Refused("held", newest.id, owner)
    if newest.code_id == request.code_id:
        return _take_over(connection, request, newest)
    if state is State.RUNNING:
        _abandon(connection, newest.id)
    return _open(connection, request)


def _newest(connection: Connection, request: Request) -> Row[Any] | None:
    fingerprint = request.spec.fingerprint
    # SQLite has locked the whole database already; elsewhere the row of the run is the lock, and that of the attempt
    # keeps its owner from closing it while we decide.
    connection.execute(select(RunRow.id).where(RunRow.fingerprint == fingerprint).with_for_update())
    columns = AttemptRow.__table__.columns
    mine = select(*columns).where(AttemptRow.fingerprint == fingerprint, AttemptRow.purpose == request.purpose.value)
    newest = mine.order_by(AttemptRow.started.desc(), AttemptRow.number.desc()).limit(1)
    return connection.execute(newest.with_for_update()).one_or_none()


def _open(connection: Connection, request: Request) -> Claimed:
    moment = now()
    of_run = AttemptRow.fingerprint == request.spec.fingerprint
    number = (connection.execute(select(func.max(AttemptRow.number)).where(of_run)).scalar() or 0) + 1
    values = {
        "fingerprint": request.spec.fingerprint,
        "number": number,
        "purpose": request.purpose.value,
        "state": State.RUNNING.value,
        "code_id": request.code_id,
        "step": 0,
        "iterations": request.spec.protocol.iterations,
        "resumes": 0,
        "resumed_inexactly": False,
        "started": moment,
        "updated": moment,
        "uid": uuid4().hex,
        "seconds": 0.0,
        "environment_id": add_environment(connection, request.environment),
        **_owned_by(request.owner),
    }
    added = connection.execute(plain_insert(AttemptRow).values(values).returning(AttemptRow.id))
    return Claimed(added.scalar_one(), number, resume=False, step=0, environment=request.environment)


def _take_over(connection: Connection, request: Request, newest: Row[Any]) -> Claimed:
    values = {"state": State.RUNNING.value, "resumes": newest.resumes + 1, "updated": now(), "ended": None}
    taken = update(AttemptRow).where(AttemptRow.id == newest.id).values(**values, **_owned_by(request.owner))
    connection.execute(taken)
    began_in = environments(connection, [newest.environment_id])[newest.environment_id]
    return Claimed(newest.id, newest.number, resume=True, step=newest.step, environment=began_in)


def _abandon(connection: Connection, attempt_id: int) -> None:
    values = {"state": State.INTERRUPTED.value, "ended": now()}
    connection.execute(update(AttemptRow).where(AttemptRow.id == attempt_id).values(**values, **NO_OWNER))


def _owned_by(owner: Owner) -> dict[str, Any]:
    return {
        "owner_token": owner.token,
        "owner_host": owner.host,
        "owner_pid": owner.pid,
        "owner_pid_started": owner.pid_started,
    }
