"""Form of the records of a bundle, as strict values: whatever comes out of a file is checked here before it is used."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ranbench.records import Environment, Purpose, Reason
from ranbench.spec import digest
from ranbench.store.bundle import is_artefact, to_number

INTEGER = 2**63 - 1  # the largest of both databases


def _hash(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError("is not a sha256 in hexadecimal")
    return text


def _inside(path: str) -> str:
    if not is_artefact(path):
        raise ValueError(f"{path!r} is not a file of the folder of artefacts")
    return path


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("has no time zone")
    return text


def _number(value: float | str | None) -> float | str | None:
    to_number(value)
    return value


Hash = Annotated[str, AfterValidator(_hash)]
Moment = Annotated[str, AfterValidator(_moment)]
Count = Annotated[int, Field(ge=0, le=INTEGER)]
Number = Annotated[float | int | str | None, AfterValidator(_number)]
Name = Annotated[str, Field(min_length=1)]


class Form(BaseModel):
    """A record with exactly these fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class CellForm(Form):
    """A cell; its name is checked with its runs."""

    cell_id: Hash
    spec: dict[str, Any]


class RunForm(Form):
    """A run of a cell."""

    fingerprint: Hash
    cell_id: Hash
    seed: Count


class SuiteForm(Form):
    """A version of a suite's text, and the runs of the bundle that it asked for."""

    name: Name
    title: str
    text: str
    sha256: Hash
    recorded: Moment
    used: Moment
    runs: list[Hash]

    @model_validator(mode="after")
    def _named_by_text(self) -> Self:
        if hashlib.sha256(self.text.encode()).hexdigest() != self.sha256:
            raise ValueError("sha256 is not the hash of its text")
        return self


class Keyed(Form):
    """A record that is named by the hash of the rest of it."""

    key: Hash

    @model_validator(mode="after")
    def _named_by_content(self) -> Self:
        if digest(self.content) != self.key:
            raise ValueError("key is not the hash of its content")
        return self

    @property
    def content(self) -> dict[str, Any]:
        """The record without its name."""
        return self.model_dump(exclude={"key"})


class EnvironmentForm(Keyed):
    """What a bundle says of an environment."""

    device: str
    device_name: str
    cpu: str
    cores: Count
    memory_bytes: Count
    threads: Count
    engine_path: str
    python: str
    platform: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool
    settings: dict[str, Any]

    def environment(self, patch: str | None) -> Environment:
        """Return it as a record of the store."""
        return Environment(**self.content, host="", user="", command="", patch=patch)


class ComplexityForm(Keyed):
    """Counts of a net."""

    net: Hash
    parameters: Count
    macs: Count
    by_module: dict[str, dict[str, Count]]
    uncounted: dict[str, Count]
    convention: str
    depth: Count | None
    backward_macs: Count | None
    code_id: Hash | None


class FileForm(Form):
    """A file that belongs to an attempt."""

    kind: Name
    path: Annotated[str, AfterValidator(_inside)]
    sha256: Hash
    size: Count


class AttemptForm(Form):
    """A closed attempt."""

    uid: Annotated[str, Field(min_length=8, max_length=64)]
    run: Hash
    state: Literal["done", "failed"]
    reason: Literal[tuple(Reason)] | None  # type: ignore[valid-type]
    error: str | None
    code_id: Name
    step: Count
    iterations: Count
    resumes: Count
    resumed_inexactly: bool
    started: Moment
    ended: Moment
    seconds: Annotated[float | int, Field(ge=0)] | None
    purpose: Literal[tuple(Purpose)]  # type: ignore[valid-type]
    environment: Hash
    complexity: Hash | None
    metrics: dict[str, Number]
    predictions: str | None
    artefacts: list[FileForm]
    patch: str | None = None

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if self.state == "done" and not self.metrics:
            raise ValueError("is done without a metric")
        if self.step > self.iterations:
            raise ValueError(f"is at iteration {self.step} of {self.iterations}")
        self.classes()
        return self

    def classes(self) -> bytes | None:
        """Return the predicted classes.

        Raises:
            ValueError: the text is not their encoding.
        """
        return None if self.predictions is None else base64.b64decode(self.predictions, validate=True)


class SeriesForm(Form):
    """One series of an attempt."""

    attempt: str
    name: Name
    steps: list[Count]
    values: list[Number]

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if len(self.steps) != len(self.values):
            raise ValueError(f"has {len(self.steps)} steps and {len(self.values)} values")
        if any(left >= right for left, right in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError("its steps do not ascend")
        return self


class ProbeForm(Form):
    """What was measured of the weights of an attempt."""

    attempt: str
    kind: Name
    numbers: Annotated[dict[Name, Annotated[float | int, Field(allow_inf_nan=False)]], Field(min_length=1)]
    code_id: Hash
    measured: Moment
    environment: Hash
