"""What all specs share: frozen and strict values, and one canonical form, from which their identity is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class Spec(BaseModel):
    """A frozen, strict value: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _one_zero(cls, value: Any) -> Any:
        """Turn -0.0 into 0.0: equal values must have one canonical form."""
        return value + 0.0 if isinstance(value, float) else value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with changes, checked like any other; pydantic's own neither checks nor drops cached ids.

        Raises:
            ValidationError: the changed value does not hold.
        """
        del deep  # frozen all the way down
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_validate({**kept, **(update or {})})


Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


def first_fault(error: ValidationError) -> str:
    """Return the first of what was found wrong with a value, on one line, with its place in the value."""
    first = error.errors(include_url=False)[0]
    at, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    told = " ".join((f"{at}: {said}" if at else said).split())
    return "".join(sign if sign.isprintable() else "?" for sign in told)


def canonical(value: Any) -> str:
    """Return JSON that is equal exactly where two values mean the same.

    Keys are sorted, and optional fields at their default are left out, so that a later optional field leaves the
    identity of older results alone. The default of a released field must therefore never change.
    """
    return _CANONICAL.encode(value)


def _plain(part: Any) -> Any:
    if isinstance(part, Spec):
        return part.model_dump(mode="json", exclude_defaults=True)
    raise TypeError(f"{type(part).__name__} has no canonical form")


_CANONICAL = json.JSONEncoder(default=_plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 of ``canonical(value)`` in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
