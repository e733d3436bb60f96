"""Who works on an attempt: a process of this host or of another, and whether it still does."""

from __future__ import annotations

import hashlib
import socket
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil

from ranbench.records import Owner, RunRecord, State

SILENT_SECONDS = 120.0  # an owner on another host is taken for dead after so long without a heartbeat


@cache
def this_host() -> str:
    """Return the name of this host, told apart from others of the same name, containers among them, by a suffix.

    Process ids mean the same within one start of one kernel and one namespace of processes only.
    """
    parts = []
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(),
        lambda: Path("/proc/self/ns/pid").readlink(),
    ):
        try:
            parts.append(str(read()).strip())
        except OSError:  # not a Linux: the name must do
            return socket.gethostname()
    return f"{socket.gethostname()}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:8]}"


def new_owner() -> Owner:
    """Return this process as the owner of an attempt, with a fresh token."""
    process = psutil.Process()
    return Owner(uuid.uuid4().hex, this_host(), process.pid, process.create_time())


def is_alive(owner: Owner, heartbeat: datetime) -> bool:
    """Tell whether ``owner`` still works: on this host by pid and start time, elsewhere by its last heartbeat."""
    if owner.host not in (this_host(), socket.gethostname()):  # the name alone is what older versions stored
        return (datetime.now(UTC) - heartbeat).total_seconds() < SILENT_SECONDS
    try:
        process = psutil.Process(owner.pid)
        # start times are rounded differently from call to call on some systems
        same = abs(process.create_time() - owner.pid_started) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def state_now(record: RunRecord) -> str:
    """Return a run's state; one whose process is gone is interrupted, though only the next claim writes that."""
    latest = record.latest
    if record.state != State.RUNNING.value or latest is None or latest.owner is None:
        return record.state
    return record.state if is_alive(latest.owner, latest.updated) else State.INTERRUPTED.value
