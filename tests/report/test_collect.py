"""Errors of runs as a page prints them: a line that tells what went wrong, and nothing of whose machine it was."""

from __future__ import annotations

import pytest

from ranbench.places import without_paths
from ranbench.report.collect import error_line


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("the training loss became nan at iteration 12", "the training loss became nan at iteration 12"),
        ("cannot read /home/jane/data/cifar.tar", "cannot read cifar.tar"),
        ("error:/home/jane/x.pt", "error:x.pt"),
        ("path=/home/jane/x.pt, 3 of 4", "path=x.pt, 3 of 4"),
        ("file:///home/jane/data/x.pt is gone", "x.pt is gone"),
        (r"cannot open C:\Users\jane\data\x.pt", "cannot open x.pt"),
        ("cannot open C:/Users/jane/x.pt", "cannot open x.pt"),
        (r"cannot open \\server7\jane\x.pt", "cannot open x.pt"),
        ("cannot open '/home/jane doe/my data/x.pt'", "cannot open 'x.pt'"),
        ("cannot open /home/jane doe/my own data/x.pt now", "cannot open x.pt now"),
        (r"cannot open C:\Users\Jane Doe\x.pt", "cannot open x.pt"),
        ("no such folder: /home/jane", "no such folder: ..."),
        ("no such folder: ~jane/data", "no such folder: ..."),
        ("cannot write ../jane/runs/x.pt", "cannot write x.pt"),
        ("no space for x.pt while writing epoch 3/10, 9 it/s", "no space for x.pt while writing epoch 3/10, 9 it/s"),
        ("no space for /data/x.pt at epoch 3/10", "no space for x.pt at epoch 3/10"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("postgresql+psycopg://jane:hunter2@db7.corp:5432/runs is away", "postgresql+psycopg://... is away"),
        (
            'connection to server at "db7.corp" (10.1.2.3), port 5432 failed: FATAL: no password given for user "jane"',
            'connection to server at "...", port 5432 failed: FATAL: no password given for user "..."',
        ),
        ("cannot connect: host=db7.corp user=jane dbname=runs", "cannot connect: host=... user=... dbname=runs"),
        ("rsync jane@db7.corp failed at 10.1.2.3", "rsync ... failed at ..."),
        (
            'Traceback (most recent call last):\n  File "/home/jane/ranbench/x.py", line 3, in f\n    g()\n    ^^^\n'
            "OSError: [Errno 2] No such file or directory: '/home/jane/x.pt'\n",
            "OSError: [Errno 2] No such file or directory: 'x.pt'",
        ),
    ],
)  # fmt: skip
def test_an_error_tells_what_went_wrong_and_not_where_or_whose(error: str, shown: str) -> None:
    assert error_line(error) == shown
    assert error_line(without_paths(error)) == shown  # the same out of a bundle


def test_a_long_error_ends_with_a_mark() -> None:
    assert error_line("x " * 200) == f"{('x ' * 200)[:159]}…"
