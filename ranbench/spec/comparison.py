"""How far a protocol stands from another one, in words and in one word; computed, never typed by hand."""

from __future__ import annotations

import re
from typing import Any, Literal

from ranbench.spec.base import Spec, canonical
from ranbench.spec.data import DataSpec
from ranbench.spec.protocol import Protocol

Fidelity = Literal["full", "scaled", "smoke"]
COMPARED = ("iterations", "batch", "schedule", "optimizer", "augmentation", "evaluation", "initialisation")


def differences(protocol: Protocol, reference: Protocol) -> tuple[str, ...]:
    """Say in words where ``protocol`` differs from ``reference``; precision is a deviation of its own, not counted."""
    found = []
    for name in COMPARED:
        ours, theirs = getattr(protocol, name), getattr(reference, name)
        if isinstance(ours, Spec) and type(ours) is type(theirs):
            found += [
                f"{name}.{key} {_show(getattr(ours, key))} instead of {_show(getattr(theirs, key))}"
                for key in type(ours).model_fields
                if getattr(ours, key) != getattr(theirs, key)
            ]
        elif ours != theirs:
            found.append(f"{name} {_show(ours)} instead of {_show(theirs)}")
    return tuple(found)


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


def _show(value: Any) -> str:
    if isinstance(value, Spec):
        return re.sub(r'["{}]', "", canonical(value)).replace(",", ", ").replace(":", " ")
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "all" if value is None else str(value)
