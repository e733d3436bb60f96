"""What the gate says of code that cannot be trained or counted at all."""

from __future__ import annotations

import pytest

from ranbench.errors import DataError
from ranbench.runner.gate import _Broken
from ranbench.suite import load_suite


def test_an_error_of_the_code_is_one_failed_finding_of_each_cell() -> None:
    suite, broken = load_suite("quickstart"), _Broken()

    for _ in range(2):  # as seed by seed
        with broken.told(suite, suite.cells[:2], "runs"):
            raise RuntimeError("the shapes do not fit")

    assert [(one.cell, str(one.kind), one.text) for one in broken.findings] == [
        (suite.label(cell), "failed", "RuntimeError: the shapes do not fit") for cell in suite.cells[:2]
    ]
    assert len(broken.left) == 2


def test_an_error_that_is_for_the_user_passes_through() -> None:
    suite, broken = load_suite("quickstart"), _Broken()

    with pytest.raises(DataError, match="missing"), broken.told(suite, suite.cells, "runs"):
        raise DataError("missing")

    assert broken.findings == []
