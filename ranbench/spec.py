"""What is trained, as frozen values: net, data, noise, protocol, run. Their identity is computed here.

Nothing here knows of suites, devices or databases. A spec is checked when it is made, so no invalid one exists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from ranbench.catalogue import (
    ATTENTION_OPTIONS,
    MAX_SIZE,
    R_SCALES,
    SIZES,
    DatasetInfo,
    Form,
    attention_modules,
    check_option,
    dataset_info,
    is_attention_net,
    is_factory,
    net_info,
)
from ranbench.errors import SpecError, one_line

MAX_INPUT = 4096


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
Steps_ = Annotated[tuple[Count, ...], Field(strict=False)]


Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class ModelSpec(Spec):
    """A net and its options. learning, attention and mask of attention nets are always spelled out.

    p, t, r and r_scales are None where they are what the name says or change nothing, r and r_scales with local
    convolutions and r_scales where r is 1: the same net has one spec.
    """

    name: str = Field(description="a name of 'ranbench list models', for instance attention-56, or of another library")
    learning: str | None = Field(None, description="how mask and trunk combine: residual (1 + M) * T or naive M * T")
    attention: str | None = Field(None, description="activation of the mask: mixed, channel or spatial")
    mask: str | None = Field(None, description="structure of the mask: encoder-decoder or local-convolutions")
    p: Size | None = Field(None, description="units before and after trunk and mask")
    t: Size | None = Field(None, description="units of the trunk")
    r: Size | None = Field(None, description="units of the mask between two samplings")
    r_scales: str | None = Field(None, description="how r enters the mask: both-ways (figure 2) or way-down")

    @model_validator(mode="before")
    @classmethod
    def _fill_options(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            return values
        name = values["name"]
        try:
            info = net_info(name)
            given = {key: value for key, value in values.items() if key != "name" and value is not None}
            for option, value in given.items():
                check_option(name, option, value)
            _check_depth(name, given)
        except SpecError as error:
            raise ValueError(str(error)) from None
        always = {option: allowed[0] for option, allowed in info.options.items() if option in ATTENTION_OPTIONS}
        if given.get("mask") == "local-convolutions":
            given = {key: value for key, value in given.items() if key not in {"r", "r_scales"}}
        if given.get("r", info.sizes.get("r")) == 1 or given.get("r_scales") == R_SCALES[0]:
            given.pop("r_scales", None)
        return {"name": name, **always, **{key: value for key, value in given.items() if value != info.sizes.get(key)}}

    @property
    def options(self) -> dict[str, str | int]:
        """The options that are spelled out, by name, without the name of the net."""
        return {key: value for key, value in self.model_dump(exclude={"name"}).items() if value is not None}

    @property
    def settings(self) -> dict[str, str | int]:
        """Every option of the net with its value, also those that its name implies."""
        info = net_info(self.name)
        implied: dict[str, str | int] = {option: allowed[0] for option, allowed in info.options.items()}
        return {**implied, **info.sizes, **self.options}

    @property
    def modules_per_stage(self) -> int | None:
        """m of an attention net on CIFAR, None for others."""
        if not self.name.startswith("attention-"):
            return None
        modules = attention_modules(self.name, p=self.p, t=self.t)
        return modules.m[0] if modules else None

    @property
    def factory(self) -> str | None:
        """The import path of a user's net, None for others."""
        return self.name if is_factory(self.name) else None


def _check_depth(name: str, options: Mapping[str, Any]) -> None:
    """Check that an attention net's depth fits its p and t in one of its forms."""
    if is_attention_net(name):
        form: Form = "cifar" if name.startswith("attention-") else "imagenet"
        attention_modules(name, form, **options_of_modules(options))


def options_of_modules(options: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options that set the size of attention modules."""
    return {key: value for key, value in options.items() if key in {*SIZES, "r_scales"}}


class DataSpec(Spec):
    """A dataset, identified by the checksum of its official content, its split and input size where they are chosen."""

    name: str
    checksum: str
    train_images: Count = Field(description="training images")
    test_images: Count = Field(description="test images")
    input: Count | None = Field(None, description="side of the square input in pixels, where it is not the usual one")

    @classmethod
    def of(cls, name: str, train: int | None = None, test: int | None = None, input: int | None = None) -> Self:  # noqa: A002
        """Describe the dataset ``name``, with split ``train``/``test`` and ``input`` where it has none of its own.

        Raises:
            SpecError: unknown dataset, or a split or an input size that it does not allow.
        """
        info = dataset_info(name)
        train = info.train_images if train is None else train
        test = info.test_images if test is None else test
        if not info.splittable and (train, test) != (info.train_images, info.test_images):
            raise SpecError(
                f"dataset {name!r} has a fixed split of {info.train_images}/{info.test_images}, got {train}/{test}"
            )
        if min(train, test) < info.num_classes or train + test > info.total_images:
            raise SpecError(
                f"dataset {name!r}: the split {train}/{test} must leave at least {info.num_classes} images "
                f"on either side and sum to at most {info.total_images}"
            )
        return cls(
            name=name,
            checksum=info.checksum,
            train_images=train,
            test_images=test,
            input=_chosen_input(name, info, input),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image that the net is given."""
        channels, height, width = dataset_info(self.name).shape
        return (channels, height, width) if self.input is None else (channels, self.input, self.input)


def _chosen_input(name: str, info: DatasetInfo, side: int | None) -> int | None:
    """Return the side where it is not the usual one."""
    usual = info.shape[1]
    if side is None or side == usual:
        return None
    if not info.resizable:
        raise SpecError(f"dataset {name!r} has images of {usual}x{usual}, got input {side}")
    if not 1 <= side <= MAX_INPUT:
        raise SpecError(f"dataset {name!r}: input {side} is not allowed (allowed: 1 to {MAX_INPUT} pixels)")
    return side


class NoiseSpec(Spec):
    """Wrong training labels (section 4.1, table 5): the confusion matrix has 1 - rate on the diagonal."""

    rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(description="share of training labels that are wrong")


class Steps(Spec):
    """Constant learning rate, multiplied by ``factor`` at each iteration in ``drops``."""

    kind: Literal["steps"]
    lr: Annotated[float, Field(gt=0.0)] = Field(description="learning rate at the start")
    drops: Steps_ = Field(description="iterations at which the rate drops, counted from 0")
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(description="what the rate is multiplied by at a drop")

    @field_validator("drops")
    @classmethod
    def _ascending(cls, drops: tuple[int, ...]) -> tuple[int, ...]:
        if list(drops) != sorted(set(drops)):
            raise ValueError("drops must ascend")
        return drops


class OneCycle(Spec):
    """Up from ``start * lr`` to ``lr`` over the first ``rise`` of the iterations, then down to ``end * lr``."""

    kind: Literal["one-cycle"]
    lr: Annotated[float, Field(gt=0.0)] = Field(description="peak learning rate")
    rise: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(description="share of the iterations before the peak")
    start: Annotated[float, Field(gt=0.0, le=1.0)] = Field(description="first rate as a share of the peak")
    end: Annotated[float, Field(ge=0.0, le=1.0)] = Field(description="last rate as a share of the peak")


Schedule = Annotated[Steps | OneCycle, Field(discriminator="kind")]


class Optimizer(Spec):
    """Stochastic gradient descent with momentum."""

    momentum: Share
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(description="L2 penalty, on every trained value")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Augmentation(Spec):
    """Pixels in [0, 1], minus ``mean``, zero padding, random crop of the image's own size, random flip."""

    mean: Literal["image", "none"] = Field(
        description="image: the per-pixel mean of the training images; none: nothing"
    )
    pad: Annotated[int, Field(ge=0, le=16)] = Field(description="pixels of zeros on each side before the crop")
    flip: bool = Field(description="mirror left to right with probability 1/2")


class Evaluation(Spec):
    """How the test error is taken: the plain image, each one once."""

    every: Count = Field(description="iterations between evaluations; the last iteration is always evaluated")
    images: Count | None = Field(None, description="the first so many test images only (smoke); all if left out")


class Protocol(Spec):
    """How a net is trained and evaluated."""

    iterations: Count
    batch: Count = Field(description="images per iteration; an epoch's rest is filled from the next epoch")
    schedule: Schedule
    optimizer: Optimizer
    augmentation: Augmentation
    evaluation: Evaluation
    initialisation: Literal["he-fan-in", "he-fan-out"]
    precision: Literal["float32"]

    @field_validator("schedule", mode="after")
    @classmethod
    def _drops_inside(cls, schedule: Schedule, info: ValidationInfo) -> Schedule:
        iterations = info.data.get("iterations")  # missing where it was refused itself
        if iterations and isinstance(schedule, Steps) and any(drop >= iterations for drop in schedule.drops):
            raise ValueError(f"drops must lie before the last of {iterations} iterations")
        return schedule


class RunSpec(Spec):
    """One cell with one seed, fully resolved."""

    model: ModelSpec
    data: DataSpec
    noise: NoiseSpec | None
    protocol: Protocol
    seed: Annotated[int, Field(ge=0, lt=2**31)]

    @cached_property
    def cell_id(self) -> str:
        """sha256 over everything that can change the number by intent, without the seed."""
        return digest({name: getattr(self, name) for name in CELL_FIELDS})

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the cell and the seed: two runs are the same run exactly if this is equal."""
        return digest({"cell": self.cell_id, "seed": self.seed})

    @property
    def complexity_key(self) -> str:
        """sha256 over net and data, on which the size of the net depends."""
        return complexity_key(self.model, self.data)

    @classmethod
    def stored(cls, fingerprint: str, spec: Mapping[str, Any]) -> Self:
        """Read a spec back from a record.

        Raises:
            SpecError: this version cannot read it.
        """
        try:
            return cls.model_validate(dict(spec))
        except ValidationError as error:
            raise SpecError(
                f"run {fingerprint[:12]}: this version cannot read its stored spec: {one_line(error)}"
            ) from None


def complexity_key(model: ModelSpec, data: DataSpec) -> str:
    """Return the sha256 over a net and its data, under which its size is stored."""
    return digest({"model": model, "data": data})


# Which fields of a run make its identity. A field that stands in neither list fails a test.
CELL_FIELDS = ("model", "data", "noise", "protocol")
SEED_FIELDS = ("seed",)


def canonical(value: Any) -> str:
    """Return JSON that is equal exactly where two values mean the same.

    Keys are sorted, and optional fields at their default are left out, so that a later optional field leaves the
    identity of older results alone. The default of a released field must therefore never change.
    """

    def plain(part: Any) -> Any:
        if isinstance(part, Spec):
            return part.model_dump(mode="json", exclude_defaults=True)
        raise TypeError(f"{type(part).__name__} has no canonical form")

    return json.dumps(value, default=plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 of ``canonical(value)`` in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


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
