"""How far a protocol stands from another one, in words and in one word; computed, never typed by hand."""

from __future__ import annotations

from typing import Any, Literal

from ranbench.spec.base import Spec
from ranbench.spec.data import DataSpec
from ranbench.spec.protocol import Protocol

Fidelity = Literal["full", "scaled", "smoke"]
COMPARED = (
    "iterations",
    "batch",
    "last_batch",
    "schedule",
    "optimizer",
    "augmentation",
    "evaluation",
    "initialisation",
)


def differences(protocol: Protocol, reference: Protocol) -> tuple[str, ...]:
    """Say in words where ``protocol`` differs from ``reference``; precision is a deviation of its own, not counted."""
    return tuple(
        text for name in COMPARED for text in _differences(name, getattr(protocol, name), getattr(reference, name))
    )


def _differences(path: str, ours: Any, theirs: Any) -> list[str]:
    """Compare key by key where both are of one kind, else as a whole."""
    if isinstance(ours, Spec) and type(ours) is type(theirs):
        keys = type(ours).model_fields
        return [
            text for key in keys for text in _differences(f"{path}.{key}", getattr(ours, key), getattr(theirs, key))
        ]
    return [] if ours == theirs else [f"{path} {_show(path, ours)} instead of {_show(path, theirs)}"]


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
