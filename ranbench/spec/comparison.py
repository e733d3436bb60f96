"""What differs between two specs, and how far a protocol stands from another one; computed, never typed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ranbench.spec.base import Spec
from ranbench.spec.data import DataSpec
from ranbench.spec.protocol import Protocol

Fidelity = Literal["full", "scaled", "smoke"]
COMPARED = (
    "iterations",
    "batch",
    "last_batch",
    "norm_batch",
    "schedule",
    "optimizer",
    "augmentation",
    "evaluation",
    "initialisation",
)


@dataclass(frozen=True)
class FieldDifference:
    """One field that two specs have with other values, by its dotted path; parts of two kinds differ as a whole."""

    path: str
    first: Any
    second: Any

    @property
    def words(self) -> tuple[str, str]:
        """Both values in words."""
        return _show(self.path, self.first), _show(self.path, self.second)


def field_differences(first: Spec, second: Spec, path: str = "") -> tuple[FieldDifference, ...]:
    """List the fields in which two specs of one kind differ, in the order of the fields."""
    return tuple(_between(path, first, second))


def differences(protocol: Protocol, reference: Protocol) -> tuple[str, ...]:
    """Say in words where ``protocol`` differs from ``reference``; precision is a deviation of its own, not counted."""
    found = (each for each in field_differences(protocol, reference) if each.path.split(".")[0] in COMPARED)
    in_order = sorted(found, key=lambda each: COMPARED.index(each.path.split(".")[0]))
    return tuple(f"{each.path} {each.words[0]} instead of {each.words[1]}" for each in in_order)


def _between(path: str, first: Any, second: Any) -> Iterator[FieldDifference]:
    """Compare key by key where both are of one kind, else as a whole."""
    if isinstance(first, Spec) and type(first) is type(second):
        for key in type(first).model_fields:
            yield from _between(f"{path}.{key}" if path else key, getattr(first, key), getattr(second, key))
    elif first != second:
        yield FieldDifference(path, first, second)


def fidelity(protocol: Protocol, reference: Protocol, data: DataSpec) -> Fidelity:
    """Compute how far ``protocol`` stands from ``reference`` (never typed by hand).

    ``smoke``: less than one pass over the training set, or a part of the test set; ``full``: no difference;
    ``scaled``: all else.
    """
    if is_smoke(protocol, data):
        return "smoke"
    return "scaled" if differences(protocol, reference) else "full"


def is_smoke(protocol: Protocol, data: DataSpec) -> bool:
    """Tell whether less than one pass over the training set is made, or only a part of the test set is evaluated."""
    part_of_test = protocol.evaluation.images is not None and protocol.evaluation.images < data.test_images
    return part_of_test or protocol.iterations * protocol.batch < data.train_images


def _show(path: str, value: Any) -> str:
    if value is None:
        return "all" if path == "evaluation.images" else "none"
    if isinstance(value, Spec):
        return _words(value)
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _words(spec: Spec) -> str:
    """Say the keys of a spec that are not at their default, one that has keys itself in brackets."""
    default = {key: field.default for key, field in type(spec).model_fields.items()}
    given = {key: getattr(spec, key) for key in sorted(default) if getattr(spec, key) != default[key]}
    return ", ".join(
        f"{key} ({_words(value)})"
        if isinstance(value, Spec)
        else f"{key} {list(value) if isinstance(value, tuple) else value}"
        for key, value in given.items()
    )
