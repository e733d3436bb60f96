"""One cell with one seed, and the identity of both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from ranbench.errors import SpecError, StoredSpecError
from ranbench.spec.base import Spec, digest, first_fault
from ranbench.spec.data import DataSpec, NoiseSpec, check_noise
from ranbench.spec.model import ModelSpec
from ranbench.spec.protocol import Protocol, check_protocol

SEEDS = 2**31


class RunSpec(Spec):
    """One cell with one seed, fully resolved."""

    model: ModelSpec
    data: DataSpec
    noise: NoiseSpec | None
    protocol: Protocol
    seed: Annotated[int, Field(ge=0, lt=SEEDS)]

    @model_validator(mode="after")
    def _protocol_fits_data(self) -> Self:
        try:
            check_protocol(self.protocol, self.data)
            if self.noise is not None:
                check_noise(self.data)
        except SpecError as error:
            raise ValueError(str(error)) from None
        return self

    @cached_property
    def cell_id(self) -> str:
        """sha256 over everything that can change the number by intent, without the seed."""
        return digest({name: getattr(self, name) for name in CELL_FIELDS})

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the cell and the seed: two runs are the same run exactly if this is equal."""
        return digest({"cell": self.cell_id, "seed": self.seed})

    def with_seed(self, seed: int) -> RunSpec:
        """Return the run of the same cell with another seed, without checking and naming the cell again.

        Raises:
            ValueError: the seed is out of range.
        """
        if not 0 <= seed < SEEDS:
            raise ValueError(f"seed {seed} must be between 0 and {SEEDS - 1}")
        fields = {name: getattr(self, name) for name in CELL_FIELDS}
        run = type(self).model_construct(**fields, seed=seed)
        run.__dict__["cell_id"] = self.cell_id  # where ``cached_property`` keeps it
        return run

    @property
    def complexity_key(self) -> str:
        """sha256 over net and data, on which the size of the net depends."""
        return complexity_key(self.model, self.data)

    @classmethod
    def stored(cls, fingerprint: str, spec: Mapping[str, Any]) -> Self:
        """Read a spec back from a record.

        Raises:
            StoredSpecError: this version cannot read it.
        """
        try:
            return cls.model_validate(dict(spec))
        except ValidationError as error:
            raise StoredSpecError(
                f"run {fingerprint[:12]}: this version cannot read its stored spec: {first_fault(error)}"
            ) from None
        except OverflowError:  # a number that no float can hold
            raise StoredSpecError(
                f"run {fingerprint[:12]}: this version cannot read its stored spec: holds a number out of range"
            ) from None


def complexity_key(model: ModelSpec, data: DataSpec) -> str:
    """Return the sha256 over a net and its data, under which its size is stored."""
    return digest({"model": model, "data": data})


# Which fields of a run make its identity. A field that stands in neither list fails a test.
CELL_FIELDS = ("model", "data", "noise", "protocol")
SEED_FIELDS = ("seed",)
