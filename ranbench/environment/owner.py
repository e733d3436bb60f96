"""Who works on an attempt: a process of this host or of another, and whether it still does."""

from __future__ import annotations

import socket
import uuid
from datetime import UTC, datetime

import psutil

from ranbench.records import Owner

SILENT_SECONDS = 120.0  # an owner on another host is taken for dead after so long without a heartbeat


def new_owner() -> Owner:
    """Return this process as the owner of an attempt, with a fresh token."""
    process = psutil.Process()
    return Owner(uuid.uuid4().hex, socket.gethostname(), process.pid, process.create_time())


def is_alive(owner: Owner, heartbeat: datetime) -> bool:
    """Tell whether ``owner`` still works: on this host by pid and start time, elsewhere by its last heartbeat."""
    if owner.host != socket.gethostname():
        return (datetime.now(UTC) - heartbeat).total_seconds() < SILENT_SECONDS
    try:
        process = psutil.Process(owner.pid)
        # start times are rounded differently from call to call on some systems
        same = abs(process.create_time() - owner.pid_started) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
