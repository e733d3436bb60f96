"""Whether cells, runs and texts of suites still have the ids that their content gives."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Text, cast, select

from ranbench.errors import SpecError, one_line
from ranbench.masking import mask
from ranbench.records import Environment, class_width
from ranbench.spec import RunSpec, digest
from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.rows import checked
from ranbench.store.schema import (
    AttemptRow,
    CellRow,
    ComplexityRow,
    EnvironmentRow,
    PredictionRow,
    RunRow,
    SuiteProtocolRow,
    SuiteRow,
)
from ranbench.store.values import COUNTS

# Reads the name and the title in the text of a suite; None where this version cannot read it.
Heading = Callable[[str], tuple[str, str] | None]


def identity(connection: Connection) -> Iterator[Finding]:
    """Compute every id again; a cell without a run is none's, and told as such."""
    specs = _specs(connection)
    named = {cell_id for (cell_id,) in connection.execute(select(RunRow.cell_id).distinct())}
    for cell_id, spec in specs.items():
        if isinstance(spec, str):
            yield fault("identity", f"cell {cell_id[:12]}: {spec}")
        elif spec.cell_id != cell_id:
            yield fault("identity", f"cell {cell_id[:12]}: its spec gives {spec.cell_id[:12]}")
        if cell_id not in named:
            yield note("identity", f"cell {cell_id[:12]}: has no run")
    planned: dict[str, RunSpec] = {}
    for fingerprint, cell_id, seed in checked(connection, select(RunRow.fingerprint, RunRow.cell_id, RunRow.seed)):
        of_cell = specs.get(cell_id)
        if isinstance(of_cell, RunSpec):
            planned[fingerprint] = of_cell
            yield from _run(fingerprint, seed, of_cell)
    asked = select(AttemptRow.fingerprint, AttemptRow.number, AttemptRow.iterations)
    for fingerprint, number, count in checked(connection, asked):
        if fingerprint in planned and count != planned[fingerprint].protocol.iterations:
            told = f"is of {count:,} iterations, its spec of {planned[fingerprint].protocol.iterations:,}"
            yield fault("identity", f"run {fingerprint[:12]}, attempt {number}: {told}")
    predictions = select(AttemptRow.fingerprint, AttemptRow.number, PredictionRow.classes)
    joined = predictions.join(PredictionRow, PredictionRow.attempt_id == AttemptRow.id)
    for fingerprint, number, classes in checked(connection, joined):
        if fingerprint in planned:
            found = len(classes) / class_width(planned[fingerprint].data.info.num_classes)
            if found != _evaluated(planned[fingerprint]):
                told = f"has {found:,g} predictions, its spec {_evaluated(planned[fingerprint]):,} images"
                yield fault("identity", f"run {fingerprint[:12]}, attempt {number}: {told}")


def _evaluated(spec: RunSpec) -> int:
    images = spec.protocol.evaluation.images
    return spec.data.test_images if images is None else min(images, spec.data.test_images)


def contents(connection: Connection) -> Iterator[Finding]:
    """Compute the names of environments and counts again, which are the hashes of their content."""
    columns = EnvironmentRow.__table__.columns
    for row in checked(connection, select(*columns)):
        content = {field.name: getattr(row, field.name) for field in dataclasses.fields(Environment)}
        yield from _content(f"environment {row.id}", row.sha256, content)
    for row in checked(connection, select(*ComplexityRow.__table__.columns)):
        if row.key != row.net:  # the first versions named counts by their net
            yield from _content(f"counts {row.key[:12]}", row.key, {name: getattr(row, name) for name in COUNTS})


def _content(name: str, expected: str, content: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        again = digest(content)
    except (ValueError, RecursionError) as error:
        yield fault("identity", f"{name}: has no hash: {one_line(error)}")
        return
    if again != expected:
        yield fault("identity", f"{name}: its content gives {again[:12]}, and not {expected[:12]}")


def texts(connection: Connection, heading: Heading) -> Iterator[Finding]:
    """Compute the hash of every text of a suite or protocol again, and read the name and title of a suite in it."""
    row: Any = SuiteRow
    for name, sha256, text, title in checked(connection, select(row.name, row.sha256, row.text, row.title)):
        called = f"suite {name!a}, version {sha256[:12]}"
        yield from _text(called, sha256, text)
        read = heading(text)
        for what, here, there in zip(("name", "title"), read or (), (name, title), strict=False):
            if there not in (here, mask(here)):
                yield fault("identity", f"{called}: its {what} is {there!a}, in its text {here!a}")
    row = SuiteProtocolRow
    for name, sha256, text in checked(connection, select(row.name, row.sha256, row.text).distinct()):
        yield from _text(f"protocol {name!a}, text {sha256[:12]}", sha256, text)


def _text(name: str, sha256: str, text: str) -> Iterator[Finding]:
    again = hashlib.sha256(text.encode()).hexdigest()
    if again != sha256:
        yield fault("identity", f"{name}: its text gives {again[:12]}")


def _specs(connection: Connection) -> dict[str, RunSpec | str]:
    """Every cell's spec with seed 0, or what is wrong with it."""
    found: dict[str, RunSpec | str] = {}
    for cell_id, text in connection.execute(select(CellRow.cell_id, cast(CellRow.spec, Text))):
        if not isinstance(cell_id, str):
            continue  # which is told with the values
        try:
            found[cell_id] = RunSpec.stored(cell_id, {**_mapping(text), "seed": 0})
        except SpecError as error:
            found[cell_id] = str(error).partition(": ")[2]
    return found


def _mapping(text: str | None) -> dict[str, Any]:
    try:
        spec = json.loads(text or "")
    except (ValueError, TypeError, RecursionError):
        spec = None
    return spec if isinstance(spec, dict) else {}


def _run(fingerprint: str, seed: int, spec: RunSpec) -> Iterator[Finding]:
    try:
        again = RunSpec.stored(fingerprint, {**spec.model_dump(mode="json"), "seed": seed})
    except SpecError as error:
        yield fault("identity", str(error))
        return
    if again.fingerprint != fingerprint:
        yield fault("identity", f"run {fingerprint[:12]}: its spec and seed give {again.fingerprint[:12]}")
