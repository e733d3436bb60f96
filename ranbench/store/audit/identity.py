"""Whether cells, runs and texts of suites still have the ids that their content gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Text, cast, select

from ranbench.errors import SpecError
from ranbench.spec import RunSpec
from ranbench.store.audit.finding import Finding, fault, note
from ranbench.store.rows import checked
from ranbench.store.schema import AttemptRow, CellRow, RunRow, SuiteProtocolRow, SuiteRow


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
    iterations: dict[str, int] = {}
    for fingerprint, cell_id, seed in checked(connection, select(RunRow.fingerprint, RunRow.cell_id, RunRow.seed)):
        of_cell = specs.get(cell_id)
        if isinstance(of_cell, RunSpec):
            iterations[fingerprint] = of_cell.protocol.iterations
            yield from _run(fingerprint, seed, of_cell)
    asked = select(AttemptRow.fingerprint, AttemptRow.number, AttemptRow.iterations)
    for fingerprint, number, count in checked(connection, asked):
        expected = iterations.get(fingerprint, count)
        if count != expected:
            name = f"run {fingerprint[:12]}, attempt {number}"
            yield fault("identity", f"{name}: is of {count:,} iterations, its spec of {expected:,}")


def texts(connection: Connection) -> Iterator[Finding]:
    """Compute the hash of every text of a suite or protocol again."""
    for name, sha256, text in checked(connection, select(SuiteRow.name, SuiteRow.sha256, SuiteRow.text)):
        yield from _text(f"suite {name!a}, version {sha256[:12]}", sha256, text)
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
