"""Form of the records of a bundle, as strict values: whatever comes out of a file is checked here before it is used."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ranbench.places import without_paths, without_secrets
from ranbench.records import Environment, Purpose, Reason
from ranbench.spec import digest
from ranbench.store.bundle import from_number, is_artefact, to_number
from ranbench.store.rules import broken

# The largest of both databases.
INTEGER = 2**63 - 1
SMALL_INTEGER = 2**31 - 1
TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # of the direction of writing


def _hash(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError("is not a sha256 in hexadecimal")
    return text


def _inside(path: str) -> str:
    if not is_artefact(path):
        raise ValueError(f"{path!r} is not a file of the folder of artefacts")
    return path


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("has no time zone")
    try:
        canonical = moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise ValueError("is out of range") from None
    if canonical != text:
        raise ValueError(f"is not in UTC and in its shortest form ({canonical})")
    return text


def _number(value: float | str | None) -> float | str | None:
    return from_number(to_number(value))


def _float(value: float) -> float:
    return to_number(value)


def _plain(text: str) -> str:
    if any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} or sign in TURNS for sign in text):
        raise ValueError("holds a control character")
    return text


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL")
    return text


def _plain_throughout(value: Any) -> Any:
    for part in _inner(value):
        _plain_throughout(part)
    if isinstance(value, str):
        _plain(value)
    return value


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else ()


def _classes(text: str) -> str:
    if base64.b64encode(base64.b64decode(text, validate=True)).decode() != text:
        raise ValueError("is not base64 in its canonical form")
    return text


Hash = Annotated[str, AfterValidator(_hash)]
Moment = Annotated[str, AfterValidator(_moment)]
Count = Annotated[int, Field(ge=0, le=INTEGER)]
Small = Annotated[int, Field(ge=0, le=SMALL_INTEGER)]
Number = Annotated[float | int | str | None, AfterValidator(_number)]
Plain = Annotated[str, AfterValidator(_plain)]
Name = Annotated[Plain, Field(min_length=1)]
Text = Annotated[str, AfterValidator(_text)]


def _ascends(what: str, values: Sequence[Any]) -> None:
    if any(left >= right for left, right in pairwise(values)):
        raise ValueError(f"its {what} do not ascend")


def _check_hash(text: str, sha256: str) -> None:
    if hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise ValueError("sha256 is not the hash of its text")


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
    seed: Small


class ProtocolForm(Form):
    """The text of a protocol of a suite."""

    name: Name
    sha256: Hash
    text: Text
    used: Moment

    @model_validator(mode="after")
    def _named_by_text(self) -> Self:
        _check_hash(self.text, self.sha256)
        return self


class SuiteForm(Form):
    """A version of a suite's text, and the runs of the bundle that it asked for."""

    name: Name
    title: Text
    text: Text
    sha256: Hash
    recorded: Moment
    used: Moment
    runs: list[Hash]
    protocols: list[ProtocolForm] = []  # bundles before version 3 have none

    @model_validator(mode="after")
    def _named_by_text(self) -> Self:
        _check_hash(self.text, self.sha256)
        _ascends("runs", self.runs)
        _ascends("protocols", [(one.name, one.sha256) for one in self.protocols])
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

    device: Plain
    device_name: Plain
    cpu: Plain
    cores: Small
    memory_bytes: Count
    threads: Small
    engine_path: Plain
    python: Plain
    platform: Plain
    versions: dict[Plain, Plain]
    commit: Plain | None
    dirty: bool
    settings: Annotated[dict[str, Any], AfterValidator(_plain_throughout)]

    def environment(self, patch: str | None) -> Environment:
        """Return it as a record of the store."""
        return Environment(**self.content, host="", user="", command="", patch=patch)


class ComplexityForm(Keyed):
    """Counts of a net."""

    net: Hash
    parameters: Count
    macs: Count
    by_module: dict[Plain, dict[Plain, Count]]
    uncounted: dict[Plain, Count]
    convention: Plain
    depth: Small | None
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

    uid: Annotated[str, Field(pattern=r"\A[0-9a-f]{8,64}\z")]
    run: Hash
    state: Literal["done", "failed"]
    reason: Literal[tuple(Reason)] | None  # type: ignore[valid-type]
    error: Annotated[str, AfterValidator(without_paths)] | None
    code_id: Hash
    step: Count
    iterations: Count
    resumes: Small
    resumed_inexactly: bool
    started: Moment
    ended: Moment
    seconds: Annotated[float | int, AfterValidator(_float), Field(ge=0)] | None
    purpose: Literal[tuple(Purpose)]  # type: ignore[valid-type]
    environment: Hash
    complexity: Hash | None
    metrics: dict[Name, Number]
    predictions: Annotated[str, AfterValidator(_classes)] | None
    artefacts: list[FileForm]
    patch: Annotated[str, Field(min_length=1), AfterValidator(without_secrets)] | None = None

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if (self.state == "failed") != (self.reason is not None):
            raise ValueError(f"is {self.state} with the reason {self.reason}")
        if self.step > self.iterations:
            raise ValueError(f"is at iteration {self.step} of {self.iterations}")
        predicted = self.predictions is not None
        counts = (self.step, self.iterations, self.metrics)
        for told in broken(self.state, *counts, error=self.error, resumes=self.resumes, predicted=predicted):
            raise ValueError(told)
        _ascends("artefacts", [(file.kind, file.path) for file in self.artefacts])
        return self

    def classes(self) -> bytes | None:
        """Return the predicted classes."""
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
        if not self.steps:
            raise ValueError("has no point")
        _ascends("steps", self.steps)
        return self


class ProbeForm(Form):
    """What was measured of the weights of an attempt."""

    attempt: str
    kind: Name
    numbers: Annotated[
        dict[Name, Annotated[float | int, Field(allow_inf_nan=False), AfterValidator(_float)]], Field(min_length=1)
    ]
    code_id: Hash
    measured: Moment
    environment: Hash
