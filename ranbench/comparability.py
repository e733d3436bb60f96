"""Whether two results may be compared, and if not, which fields forbid it. Pure functions over records; no printing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ranbench.records import Attempt, Environment, RunRecord
from ranbench.spec import RunSpec, field_differences, is_smoke

Answer = Literal["same run", "comparable", "not comparable"]
StateOf = Callable[[RunRecord], str]

# Why a field of the cell matters; the longest beginning of its path counts. A field of no part here fails a test.
REASONS = {
    "model": "another net, or another form of it",
    "data": "other images",
    "data.checksum": "the content of the dataset is another one",
    "data.train_images": "another split: trained on other images",
    "data.test_images": "another split: tested on other images",
    "data.input": "the net sees images of another size",
    "data.facts.form": "another form of the nets",
    "data.facts.shape": "images of another size",
    "data.facts.classes": "another number of classes",
    "noise": "other training labels are wrong",
    "protocol": "trained in another way",
    "protocol.evaluation": "the error is taken in another way",
    "protocol.precision": "other arithmetic",
}
# Fields of an environment that say where an attempt came from, and nothing about its numbers or times.
PROVENANCE = ("memory_bytes", "commit", "dirty", "patch", "host", "user", "command")

_BITS = "times, and the last bits of the numbers"
_TIMES = "times only"


@dataclass(frozen=True)
class Difference:
    """One field with the values of both runs, in words, and why it matters."""

    field: str
    first: str
    second: str
    why: str


@dataclass(frozen=True)
class Comparability:
    """The answer for two runs.

    Attributes:
        answer: ``same run``: there is one result, not two. ``comparable``: two samples of one cell.
        text: the answer in a sentence.
        forbidding: what makes the two results not comparable.
        beside: what forbids nothing, but matters for times and for bits.
    """

    answer: Answer
    text: str
    forbidding: tuple[Difference, ...]
    beside: tuple[Difference, ...]


def comparability(
    first: RunRecord, second: RunRecord, state_of: StateOf = lambda record: record.state
) -> Comparability:
    """Tell whether the results of two runs may be compared; ``state_of`` tells a run's state as it is shown.

    Raises:
        SpecError: the stored spec of one cannot be read by this version.
    """
    if first.fingerprint == second.fingerprint:
        text = f"the same run: {first.fingerprint[:12]} is one result, and there is nothing to compare"
        return Comparability("same run", text, (), ())
    ours, theirs = (RunSpec.stored(record.fingerprint, record.spec) for record in (first, second))
    of_cell = tuple(_of_cell(ours, theirs))
    forbidding = (*of_cell, *_of_fidelity(ours, theirs), *_of_results(first, second, state_of))
    beside = tuple(_of_environment(first.counted, second.counted)) if first.counted and second.counted else ()
    seeds = f"one cell, seeds {ours.seed} and {theirs.seed}"
    if not forbidding:
        smoke = " (both are smoke: their numbers mean nothing)" if is_smoke(ours.protocol, ours.data) else ""
        return Comparability("comparable", f"comparable: two samples of {seeds}{smoke}", forbidding, beside)
    text = "not comparable" if of_cell else f"not comparable, though of {seeds}"
    return Comparability("not comparable", text, forbidding, beside)


def reason(path: str) -> str:
    """Say why a field of the cell matters.

    Raises:
        KeyError: nothing was decided for it.
    """
    part = path
    while part not in REASONS:
        part, dot, _ = part.rpartition(".")
        if not dot:
            raise KeyError(path)
    return REASONS[part]


def _of_cell(ours: RunSpec, theirs: RunSpec) -> Iterator[Difference]:
    for found in field_differences(ours, theirs):
        if found.path != "seed":  # two seeds are two samples of one cell
            yield Difference(found.path, *found.words, reason(found.path))


def _of_fidelity(ours: RunSpec, theirs: RunSpec) -> Iterator[Difference]:
    smoke = [is_smoke(spec.protocol, spec.data) for spec in (ours, theirs)]
    if smoke[0] != smoke[1]:
        words = ["smoke" if short else "not smoke" for short in smoke]
        yield Difference("fidelity", words[0], words[1], "the numbers of a smoke run mean nothing")


def _of_results(first: RunRecord, second: RunRecord, state_of: StateOf) -> Iterator[Difference]:
    ours, theirs = first.counted, second.counted
    if ours is None or theirs is None:
        yield Difference("state", state_of(first), state_of(second), "only a done attempt has a result")
    elif ours.code_id != theirs.code_id:
        why = "other sources made the numbers; 'ranbench run SUITE --rerun changed' trains the older again"
        yield Difference("code_id", ours.code_id[:12], theirs.code_id[:12], why)


def _of_environment(ours: Attempt, theirs: Attempt) -> Iterator[Difference]:
    for name, first, second in _places(ours.environment, theirs.environment):
        if first != second:
            yield Difference(name, _words(first), _words(second), _TIMES if name == "cores" else _BITS)
    if ours.resumed_inexactly != theirs.resumed_inexactly:
        yield Difference(
            "resumed_inexactly", _words(ours.resumed_inexactly), _words(theirs.resumed_inexactly), "the last bits"
        )
    company = [attempt.metrics.get("runs_at_once") for attempt in (ours, theirs)]
    if company[0] != company[1]:
        yield Difference("runs_at_once", _words(company[0]), _words(company[1]), _TIMES)


def _places(ours: Environment, theirs: Environment) -> Iterator[tuple[str, Any, Any]]:
    """Every field but provenance, libraries and settings one by one."""
    for field in dataclasses.fields(Environment):
        first, second = getattr(ours, field.name), getattr(theirs, field.name)
        if isinstance(first, Mapping):
            for name in dict.fromkeys((*first, *second)):
                yield f"{field.name}.{name}", first.get(name), second.get(name)
        elif field.name not in PROVENANCE:
            yield field.name, first, second


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
