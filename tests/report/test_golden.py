"""One report in every format, as files that are read when they change.

``RANBENCH_REMAKE_GOLDEN=1 python -m pytest tests/report/test_golden.py`` writes them anew; look at the difference.
Of HTML the pictures, the style and the script are left out: the first differ between versions of matplotlib.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ranbench.report import FORMATS, Report, tables, write
from ranbench.suite import Suite

from .conftest import Recorder

GOLDEN = Path(__file__).with_name("golden")
REMAKE = "RANBENCH_REMAKE_GOLDEN"


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_is_the_golden_one(name: str, mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    report = Report(mixed, tables(mixed, recorder.records), recorder.series, compare=True)

    write(report, tmp_path, [name])

    made = {
        path.relative_to(tmp_path): comparable(path)
        for path in sorted(tmp_path.rglob("*"))
        if path.suffix.removeprefix(".") in FORMATS
    }
    if os.environ.get(REMAKE):
        for path, text in made.items():
            (GOLDEN / path).parent.mkdir(exist_ok=True)
            (GOLDEN / path).write_bytes(text)
    assert made == {path: (GOLDEN / path).read_bytes() for path in made}


def comparable(path: Path) -> bytes:
    text = path.read_bytes()
    if path.suffix != ".html":
        return text
    return re.sub(
        rb"(<(svg|style|script)\b[^>]*>).*?(</\2>)", rb"\1\3", re.sub(rb"'sha256-[^']*'", b"", text), flags=re.S
    )


def test_every_golden_file_is_of_a_format() -> None:
    kinds = {path.suffix.removeprefix(".") for path in GOLDEN.rglob("*") if path.is_file()}

    assert kinds == set(FORMATS)
