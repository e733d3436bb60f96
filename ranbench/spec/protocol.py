"""How a net is trained and evaluated."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ranbench.spec.base import Count, Share, Spec

Steps_ = Annotated[tuple[Count, ...], Field(strict=False)]


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
