"""Every field that a spec can have, by its dotted path, with what values it takes: read from the models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ranbench.spec.base import Spec

Kind = Literal["number", "truth", "text", "list"]


@dataclass(frozen=True)
class SpecField:
    """One field; ``allowed`` holds the values of a closed set, ``optional`` tells whether it may be left out."""

    path: str
    kind: Kind
    allowed: tuple[str, ...] = ()
    optional: bool = False


def spec_fields(spec: type[Spec]) -> dict[str, SpecField]:
    """Return the fields of ``spec`` and of all specs inside it, by path, in their order.

    Where a part may be of several kinds, as a schedule may, the fields of all kinds are there, and those of one path
    are merged.
    """
    found: dict[str, SpecField] = {}
    for field in _fields(spec, "", optional=False):
        before = found.get(field.path, field)
        allowed = tuple(dict.fromkeys((*before.allowed, *field.allowed)))
        found[field.path] = SpecField(field.path, before.kind, allowed, before.optional or field.optional)
    return found


def _fields(spec: type[Spec], prefix: str, *, optional: bool) -> Iterator[SpecField]:
    for name, info in spec.model_fields.items():
        path = f"{prefix}{name}"
        kinds = list(_members(info.annotation))
        without = optional or NoneType in kinds
        parts = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Spec)]
        for part in parts:
            yield from _fields(part, f"{path}.", optional=without or len(parts) > 1)
        plain = [kind for kind in kinds if kind not in parts and kind is not NoneType]
        if plain:
            allowed = tuple(str(value) for kind in plain if get_origin(kind) is Literal for value in get_args(kind))
            yield SpecField(path, _kind(plain), allowed, without)


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, without what is said about them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _kind(types: list[Any]) -> Kind:
    if any(get_origin(kind) is tuple for kind in types):
        return "list"
    if bool in types:
        return "truth"
    return "number" if {int, float} & set(types) else "text"
