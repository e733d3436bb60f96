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

from sqlalchemy import Connection, Row, select, update
from sqlalchemy import insert as plain_insert

from ranbench.records import Environment, Owner, Purpose, State
from ranbench.store.connection import kind_of
from ranbench.store.reading import environments, owner_of
from ranbench.store.schema import AttemptRow, RunRow
from ranbench.store.values import Claimed, Refused
from ranbench.store.writing import NO_OWNER, add_environment, add_runs, next_number, now

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
    since: datetime | None = None

    def wants_again(self, closed: Row[Any]) -> bool:
        """Tell whether a closed attempt is to be followed by another: always where it was a check."""
        if self.purpose is Purpose.CHECK:
            return True
        if self.since is not None and closed.started >= self.since:
            return False  # another command has trained it again meanwhile
        if "all" in self.rerun or ("changed" in self.rerun and closed.code_id != self.code_id):
            return True
        return closed.state == State.FAILED.value and "failed" in self.rerun


def claim(connection: Connection, request: Request, is_alive: IsAlive) -> Claimed | Refused:
    """Give the run to the caller, or say why not."""
    add_runs(connection, [request.spec])
    _lock(connection, request)
    newest, open_ = _newest(connection, request), _newest(connection, request, here=True)
    if newest is None:
        return _open(connection, request)
    if open_ is None or open_.state in _CLOSED:  # newest is closed, here or in a bundle
        return _open(connection, request) if request.wants_again(newest) else _refused(newest)
    owner = owner_of(open_)
    if owner is not None and (open_.owner_token, open_.code_id) == (request.owner.token, request.code_id):
        return _claimed(connection, open_)  # it was given so before, and the answer was lost
    if owner is not None and is_alive(owner, _heard(connection, open_.updated)):
        return Refused("held", open_.id, owner)
    if newest.state == State.DONE.value and not request.wants_again(newest):
        return _refused(newest)  # in a bundle that was merged while ours was interrupted
    if open_.code_id == request.code_id:
        return _take_over(connection, request, open_)
    if open_.state == State.RUNNING.value:
        _abandon(connection, open_.id)
    return _open(connection, request)


_CLOSED = (State.DONE.value, State.FAILED.value)


def _refused(closed: Row[Any]) -> Refused:
    return Refused("done" if closed.state == State.DONE.value else "failed", closed.id)


def _lock(connection: Connection, request: Request) -> None:
    fingerprint = request.spec.fingerprint
    # SQLite has locked the whole database already; elsewhere the row of the run is the lock, and that of the attempt
    # keeps its owner from closing it while we decide.
    connection.execute(select(RunRow.id).where(RunRow.fingerprint == fingerprint).with_for_update())


def _newest(connection: Connection, request: Request, *, here: bool = False) -> Row[Any] | None:
    """Return the attempt that began last; of those that were made here, and not merged from a bundle, if asked."""
    fingerprint = request.spec.fingerprint
    columns = AttemptRow.__table__.columns
    mine = select(*columns).where(AttemptRow.fingerprint == fingerprint, AttemptRow.purpose == request.purpose.value)
    if here:
        mine = mine.where(AttemptRow.bundle.is_(None))
    newest = mine.order_by(AttemptRow.started.desc(), AttemptRow.number.desc()).limit(1)
    return connection.execute(newest.with_for_update()).one_or_none()


def _open(connection: Connection, request: Request) -> Claimed:
    moment, uid = now(), uuid4().hex
    number = next_number(connection, request.spec.fingerprint)
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
        "uid": uid,
        "seconds": 0.0,
        "environment_id": add_environment(connection, request.environment),
        **_owned_by(request.owner),
    }
    added = connection.execute(plain_insert(AttemptRow).values(values).returning(AttemptRow.id))
    return Claimed(added.scalar_one(), number, resume=False, step=0, environment=request.environment, uid=uid)


def _take_over(connection: Connection, request: Request, newest: Row[Any]) -> Claimed:
    values = {"state": State.RUNNING.value, "resumes": newest.resumes + 1, "updated": now(), "ended": None}
    taken = update(AttemptRow).where(AttemptRow.id == newest.id).values(**values, **_owned_by(request.owner))
    connection.execute(taken)
    return _claimed(connection, newest)


def _heard(connection: Connection, heartbeat: datetime) -> datetime:
    """When an owner was last heard; while the server was away, nobody could be."""
    since = kind_of(connection).up_since(connection)
    return heartbeat if since is None else max(heartbeat, since)


def _claimed(connection: Connection, newest: Row[Any]) -> Claimed:
    began_in = environments(connection, [newest.environment_id])[newest.environment_id]
    return Claimed(newest.id, newest.number, resume=True, step=newest.step, environment=began_in, uid=newest.uid)


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
