"""The JSON Schema for editors: it takes every suite, and refuses what is broken in its form."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ranbench.errors import SuiteError
from ranbench.suite import load_suite, shipped_suites
from ranbench.suite.schema import suite_schema

jsonschema = pytest.importorskip("jsonschema")

FILES = sorted(shipped_suites().glob("*.yaml"))


@cache
def validator() -> Any:
    return jsonschema.Draft202012Validator(suite_schema())


def content(file: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_suite_is_taken(file: Path) -> None:
    found = [error.message for error in validator().iter_errors(content(file))]

    assert found == []


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(suite_schema())


# What is changed in table3, and in which key the first fault lies.
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an unknown key": (lambda suite: suite.update(seed=5), ""),
    "no name": (lambda suite: suite.pop("name"), ""),
    "a capital name": (lambda suite: suite.update(name="Table3"), "name"),
    "negative seeds": (lambda suite: suite.update(seeds=-1), "seeds"),
    "seeds as text": (lambda suite: suite.update(seeds="5"), "seeds"),
    "an unknown axis in the matrix": (lambda suite: suite["cells"]["matrix"].update(lerning=["naive"]), "cells"),
    "an axis without values": (lambda suite: suite["cells"]["matrix"].update(model=[]), "cells"),
    "an unknown fixed axis": (lambda suite: suite["cells"]["fixed"].update(data="cifar10"), "cells"),
    "a published value without unit": (lambda suite: suite["published"][0].pop("unit"), "published"),
    "an unknown metric": (lambda suite: suite["published"][0].update(metric="eror_pct"), "published"),
    "an unknown axis of a cell": (lambda suite: suite["published"][0]["cell"].update(net="x"), "published"),
    "an unknown kind of claim": (lambda suite: suite["claims"][0].update(kind="best"), "claims"),
    "a claim over an unknown axis": (lambda suite: suite["claims"][0].update(over=["depth"]), "claims"),
    "a trend without direction": (lambda suite: suite["claims"][1].pop("direction"), "claims"),
    "a negative margin": (lambda suite: suite["claims"][-1].update(margin=-0.5), "claims"),
    "a margin of nothing": (lambda suite: suite["claims"][-1].update(margin=0), "claims"),
    "a deviation without text": (lambda suite: suite["deviations"][0].pop("text"), "deviations"),
    "a split of an unknown dataset": (lambda suite: suite.update(datasets={"x": {"train": 1, "test": 1}}), "datasets"),
}


@pytest.mark.parametrize(("breaks", "where"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_refused_by_schema_and_loader(
    breaks: Callable[[dict[str, Any]], Any], where: str, tmp_path: Path
) -> None:
    suite = copy.deepcopy(content(shipped_suites() / "table3.yaml"))
    breaks(suite)
    file = tmp_path / "table3.yaml"
    YAML(typ="safe").dump(suite, file)

    found = sorted({str(next(iter(error.absolute_path), "")) for error in validator().iter_errors(suite)})

    assert found == [where]
    with pytest.raises(SuiteError):
        load_suite(file)
