"""Calls for the tests: functions of a module, as executors take them."""

from __future__ import annotations

import ctypes
import os
import time

from ranbench.execution import Channel


def double(channel: Channel, number: int) -> int:
    channel.tell(f"doubling {number}")
    return 2 * number


def process(channel: Channel) -> int:
    del channel
    return os.getpid()


def variable(channel: Channel, name: str) -> str:
    del channel
    return os.environ.get(name, "")


def fail(channel: Channel, text: str) -> None:
    del channel
    raise ValueError(text)


class Unportable(Exception):
    def __init__(self, first: str, second: str):
        super().__init__(f"{first} {second}")


def fail_unportably(channel: Channel) -> None:
    del channel
    raise Unportable("cannot", "travel")


def unportable_result(channel: Channel) -> object:
    del channel
    return lambda: None


def die(channel: Channel, number: int) -> None:
    channel.tell("dying")
    os.kill(os.getpid(), number)
    time.sleep(60)


def crash(channel: Channel) -> None:
    channel.tell("crashing")
    ctypes.string_at(0)


def leave(channel: Channel, code: int) -> None:
    channel.tell("leaving")
    os._exit(code)


def wait_for_stop(channel: Channel) -> int | None:
    channel.tell(os.getpid())
    channel.stop.wait(60)
    return channel.stop.signal


def hang(channel: Channel) -> None:
    channel.tell("hanging")
    time.sleep(600)


def write_when_stopped(channel: Channel, path: str) -> None:
    channel.tell(os.getpid())
    channel.stop.wait(60)
    with open(path, "w") as file:  # noqa: PTH123
        file.write("in order")


OWNER = """
import os, signal, sys
from ranbench.execution import LocalPool, Task
from tests.execution import calls

with LocalPool(1) as pool:
    pool.submit(Task("writes", calls.write_when_stopped, (sys.argv[1],)))
    told = []
    while not told:
        pool.poll(lambda event: told.append(event.message), 0.1)
    print(*told, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
