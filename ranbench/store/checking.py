"""What the records of a bundle hold together: the same check whether they are written to one or read from one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy.exc import DataError

from ranbench.errors import SpecError, StoreError, one_line
from ranbench.records import State
from ranbench.spec import RunSpec, first_fault
from ranbench.store.bundle import Bundle, Record
from ranbench.store.form import (
    AttemptForm,
    CellForm,
    ComplexityForm,
    EnvironmentForm,
    Form,
    ProbeForm,
    RunForm,
    SeriesForm,
    SuiteForm,
)

FORMS: Mapping[str, type[Form]] = {
    "cells": CellForm,
    "runs": RunForm,
    "suites": SuiteForm,
    "environments": EnvironmentForm,
    "complexity": ComplexityForm,
    "attempts": AttemptForm,
    "series": SeriesForm,
    "probes": ProbeForm,
}

F = TypeVar("F", bound=Form)


class Absent(ValueError):
    """A record that another one names is not there, or was not taken itself."""


class Checked:
    """What was found so far in the records of a bundle, which come in the order of its parts."""

    def __init__(self) -> None:
        self.cells: dict[str, Mapping[str, Any]] = {}
        self.runs: dict[str, RunSpec] = {}
        self.places: dict[str, EnvironmentForm] = {}
        self.counts: set[str] = set()
        self.steps: dict[str, int] = {}  # of attempts by name
        self.done: set[str] = set()
        self.files: dict[str, tuple[str, int]] = {}  # hash and size by path
        self._last: tuple[type[Form], Any] | None = None

    def take(self, form: type[F], record: Record) -> F:
        """Check the next record.

        Raises:
            ValueError: it does not hold, or not with those before it.
            SpecError: this version cannot read its spec.
        """
        checked = form.model_validate(record)
        key = self._key(checked)
        if self._last is not None and self._last[0] is form and key <= self._last[1]:
            raise ValueError("stands twice, or after one that it must stand before")
        self._last = (form, key)
        return checked

    def _key(self, checked: Form) -> Any:
        """Check a record against those before it, and return by what the records of its part are in order."""
        match checked:
            case CellForm():
                self._cell(checked)
                return checked.cell_id
            case RunForm():
                self._run(checked)
                return checked.fingerprint
            case SuiteForm():
                if not self.runs.keys() >= set(checked.runs):
                    raise Absent("names a run that is not in the bundle")
                return (checked.name, checked.sha256)
            case EnvironmentForm():
                self.places[checked.key] = checked
                return checked.key
            case ComplexityForm():
                self.counts.add(checked.key)
                return checked.key
            case AttemptForm():
                self._attempt(checked)
                return checked.uid
            case SeriesForm():
                self._series(checked)
                return (checked.attempt, checked.name)
            case ProbeForm():
                if checked.attempt not in self.steps or checked.environment not in self.places:
                    raise Absent("its attempt or its environment is not in the bundle")
                if checked.attempt not in self.done:
                    raise Absent("its attempt is not done")
                return (checked.attempt, checked.kind)
        raise TypeError(type(checked).__name__)

    def _cell(self, cell: CellForm) -> None:
        if "seed" in cell.spec:
            raise ValueError("its spec holds a seed")
        try:
            spec = RunSpec.stored(cell.cell_id, {**cell.spec, "seed": 0})
        except SpecError as error:
            raise ValueError(str(error).partition(": ")[2]) from None
        if spec.cell_id != cell.cell_id:
            raise ValueError("cell_id is not the hash of its spec")
        self.cells[cell.cell_id] = cell.spec

    def _run(self, run: RunForm) -> None:
        if run.cell_id not in self.cells:
            raise Absent("its cell is not in the bundle")
        spec = RunSpec.stored(run.fingerprint, {**self.cells[run.cell_id], "seed": run.seed})
        if (spec.fingerprint, spec.cell_id) != (run.fingerprint, run.cell_id):
            raise ValueError("its fingerprint or cell_id is not the hash of its spec")
        self.runs[run.fingerprint] = spec

    def _attempt(self, attempt: AttemptForm) -> None:
        if attempt.run not in self.runs or attempt.environment not in self.places:
            raise Absent("its run or its environment is not in the bundle")
        if attempt.complexity is not None and attempt.complexity not in self.counts:
            raise Absent("the counts of its net are not in the bundle")
        expected = self.runs[attempt.run].protocol.iterations
        if attempt.iterations != expected:
            raise ValueError(f"is of {attempt.iterations:,} iterations, its spec of {expected:,}")
        for file in attempt.artefacts:
            if self.files.setdefault(file.path, (file.sha256, file.size)) != (file.sha256, file.size):
                raise ValueError(f"{file.path} is another file of another attempt")
        self.steps[attempt.uid] = attempt.step
        if attempt.state == State.DONE.value:
            self.done.add(attempt.uid)

    def _series(self, series: SeriesForm) -> None:
        if series.attempt not in self.steps:
            raise Absent("its attempt is not in the bundle")
        if series.steps[-1] > self.steps[series.attempt]:
            raise ValueError(f"has a point at {series.steps[-1]:,}, beyond the step {self.steps[series.attempt]:,}")

    def all_named(self, bundle: Bundle) -> None:
        """Check that every file of a bundle belongs to an attempt of it.

        Raises:
            StoreError: one does not, or is another one.
        """
        for name, content in bundle.artefacts.items():
            if self.files.get(name) != content:
                raise StoreError(
                    f"{bundle.label}: {name!r} is not a file that an attempt of the bundle names with this hash and "
                    "size; nothing was merged"
                )


def check(bundle: Bundle) -> None:
    """Check all that a bundle holds, without a database.

    Raises:
        StoreError: it does not hold.
    """
    checked = Checked()
    for part, form in FORMS.items():
        for number, record in enumerate(bundle.records(part), 1):
            with told(f"{bundle.label}: {part}.jsonl:{number}: does not hold", "nothing was merged"):
                checked.take(form, record)
    checked.all_named(bundle)


@contextmanager
def told(where: str, end: str) -> Iterator[None]:
    """Tell what is wrong with a record, and where it stands."""
    try:
        yield
    except ValidationError as error:
        raise StoreError(f"{where}: {first_fault(error)}; {end}") from None
    except DataError as error:  # a value that the database cannot keep
        raise StoreError(f"{where}: {one_line(error.orig or error)}; {end}") from None
    except (ValueError, OverflowError, RecursionError, SpecError) as error:
        raise StoreError(f"{where}: {one_line(error)}; {end}") from None
