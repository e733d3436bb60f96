"""How a net is trained and evaluated, as data: what each key means stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from ranbench.errors import SpecError
from ranbench.spec.base import Count, Share, Spec
from ranbench.spec.data import DataSpec, Side

Steps_ = Annotated[tuple[Count, ...], Field(strict=False)]
Rate = Annotated[float, Field(gt=0.0)]
StartShare = Annotated[float, Field(gt=0.0, le=1.0)]
EndShare = Annotated[float, Field(ge=0.0, le=1.0)]


def _two_numbers(value: Any) -> Any:
    """Refuse all but a pair in one message, where pydantic would tell of each number that is missing or too much."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError("expected two numbers, the lowest and the highest")
    return value


Range = Annotated[tuple[Rate, Rate], Field(strict=False), BeforeValidator(_two_numbers)]


# A mean image has a value for each pixel of the whole image, and none for parts and other sizes.
_WHOLE = "which fits whole images only; use mean channel"


class WarmUp(Spec):
    """The rate rises in a straight line from ``start * lr`` to what the schedule says at iteration ``iterations``."""

    iterations: Count = Field(description="iterations before the schedule's own rate is reached")
    start: StartShare = Field(description="first rate as a share of lr")


class Steps(Spec):
    """Constant learning rate, multiplied by ``factor`` at each iteration in ``drops``."""

    kind: Literal["steps"]
    lr: Rate = Field(description="learning rate at the start")
    drops: Steps_ = Field(description="iterations at which the rate drops, counted from 0")
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(description="what the rate is multiplied by at a drop")
    warm_up: WarmUp | None = Field(None, description="a rise from a smaller rate at the start; none if left out")

    @field_validator("drops")
    @classmethod
    def _ascending(cls, drops: tuple[int, ...]) -> tuple[int, ...]:
        if list(drops) != sorted(set(drops)):
            raise ValueError("drops must ascend")
        return drops


class Cosine(Spec):
    """Down from ``lr`` at the first iteration to ``end * lr`` at the last, along half a cosine."""

    kind: Literal["cosine"]
    lr: Rate = Field(description="learning rate at the start")
    end: EndShare = Field(description="rate of the last iteration as a share of lr")
    warm_up: WarmUp | None = Field(None, description="a rise from a smaller rate at the start; none if left out")


class OneCycle(Spec):
    """Up from ``start * lr`` to ``lr`` over the first ``rise`` of the iterations, then down to ``end * lr``."""

    kind: Literal["one-cycle"]
    lr: Rate = Field(description="peak learning rate")
    rise: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(description="share of the iterations before the peak")
    start: StartShare = Field(description="first rate as a share of the peak")
    end: EndShare = Field(description="last rate as a share of the peak")


Schedule = Annotated[Steps | Cosine | OneCycle, Field(discriminator="kind")]


class Optimizer(Spec):
    """Stochastic gradient descent with momentum."""

    momentum: Share
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(description="L2 penalty on the trained values")
    decay_norm: bool = Field(
        True,
        description="whether the penalty is also on BatchNorm scale and shift; it is always on weights and biases of "
        "convolutions and linear layers",
    )

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Augmentation(Spec):
    """How training images are changed; pixels are in [0, 1] and their colour is changed first.

    With ``scale``: a random part is resized to the net's input and mirrored; then ``mean`` and ``std`` are applied.
    Without: ``mean`` and ``std``, and padding with zeros, in this ``order`` or the other; then a random crop of the
    image's own size, mirrored.
    """

    mean: Literal["image", "channel", "none"] = Field(
        description="what is subtracted, taken over the training images: image: a C x H x W mean, one value for each "
        "pixel and channel; channel: one value for each channel; none: nothing"
    )
    pad: Annotated[int, Field(ge=0, le=16)] = Field(description="pixels of zeros on each side before the crop")
    flip: bool = Field(description="mirror left to right with probability 1/2")
    std: Literal["none", "channel"] = Field(
        "none",
        description="what is divided by after the mean is subtracted: channel: the standard deviation of each channel "
        "over all pixels of the training images; none: nothing",
    )
    order: Literal["subtract-then-pad", "pad-then-subtract"] = Field(
        "subtract-then-pad",
        description="subtract-then-pad: the border is the zero of the images that the net sees; pad-then-subtract: the "
        "border is black, and mean and std are applied to the mirrored crop, a mean image pixel by pixel of the crop",
    )
    scale: Range | None = Field(
        None, description="lowest and highest share of the image's area that a random crop has; with aspect"
    )
    aspect: Range | None = Field(
        None, description="lowest and highest ratio of width to height of a random crop; with scale"
    )
    colour: Literal["none", "pca"] = Field(
        "none",
        description="pca: AlexNet's, along the principal components of ImageNet's colours, with a standard deviation "
        "of 0.1; none: nothing",
    )

    @field_validator("scale", "aspect", mode="after")
    @classmethod
    def _lowest_first(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and bounds[0] > bounds[1]:
            raise ValueError(f"the lowest must come first, got {bounds[0]:g} and {bounds[1]:g}")
        return bounds

    @field_validator("scale", mode="after")
    @classmethod
    def _part_of_the_image(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        if scale is not None and scale[1] > 1:
            raise ValueError(f"a crop has at most the whole area, 1, got {scale[1]:g}")
        return scale

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.scale is None) != (self.aspect is None):
            missing = "aspect" if self.aspect is None else "scale"
            raise ValueError(f"scale and aspect belong together, {missing} is missing")
        if self.scale is not None and self.pad:
            raise ValueError(f"a crop by scale and aspect has no padding, got pad {self.pad}; use pad 0")
        if self.scale is not None and self.mean == "image":
            raise ValueError(f"scale does not go with mean image, {_WHOLE}")
        if self.order == "pad-then-subtract" and (self.pad == 0 or self.mean == "none"):
            lacking = "pad is 0" if self.pad == 0 else "mean is none"
            raise ValueError(f"order pad-then-subtract says nothing where {lacking}; leave order out")
        return self


class Evaluation(Spec):
    """How the test error is taken: the plain image, each one once."""

    every: Count = Field(description="iterations between evaluations; the last iteration is always evaluated")
    images: Count | None = Field(None, description="the first so many test images only (smoke); all if left out")
    resize: Side | None = Field(None, description="pixels that the shorter side is resized to; as it is if left out")
    crop: Side | None = Field(
        None, description="side of the central square that the net sees; the whole image if left out"
    )

    @model_validator(mode="after")
    def _crop_inside(self) -> Self:
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise ValueError(f"a crop of {self.crop} pixels is larger than the shorter side of {self.resize}")
        return self


class Protocol(Spec):
    """How a net is trained and evaluated."""

    iterations: Count
    batch: Count = Field(description="images per iteration")
    schedule: Schedule
    optimizer: Optimizer
    augmentation: Augmentation
    evaluation: Evaluation
    initialisation: Literal["he-fan-in", "he-fan-out"]
    precision: Literal["float32", "tf32", "bf16"] = Field(
        description="float32: everything; tf32: convolutions of a GPU round their factors to 10 bits of mantissa, all "
        "else float32 (other devices refuse it); bf16: convolutions and linear layers in bfloat16 by autocast, with "
        "weights, BatchNorm statistics and loss in float32"
    )
    last_batch: Literal["run-on", "partial", "drop"] = Field(
        "run-on",
        description="what happens to the rest of an epoch that fills no batch: run-on: it is filled from the next "
        "epoch; partial: it is a smaller batch of its own; drop: it is left out of this epoch",
    )
    norm_batch: Count | None = Field(
        None,
        description="images over which BatchNorm takes its statistics in training: the batch is cut into groups of so "
        "many, in its order, as on several GPUs that each have their own; the whole batch if left out. Running "
        "statistics are moved by the mean over the groups. However many GPUs there are, the numbers mean the same",
    )

    @property
    def length(self) -> str:
        """Its length in words."""
        return f"{self.iterations:,} iterations of {self.batch} images"

    @field_validator("schedule", mode="after")
    @classmethod
    def _inside_the_run(cls, schedule: Schedule, info: ValidationInfo) -> Schedule:
        iterations = info.data.get("iterations")  # missing where it was refused itself
        if iterations and isinstance(schedule, Steps) and any(drop >= iterations for drop in schedule.drops):
            raise ValueError(f"drops must lie before the last of {iterations} iterations")
        warm_up = None if isinstance(schedule, OneCycle) else schedule.warm_up
        if iterations and warm_up and warm_up.iterations >= iterations:
            raise ValueError(f"the warm-up must be shorter than the run of {iterations}, got {warm_up.iterations}")
        return schedule

    @field_validator("norm_batch", mode="after")
    @classmethod
    def _cuts_the_batch(cls, norm_batch: int | None, info: ValidationInfo) -> int | None:
        batch = info.data.get("batch")
        if batch and norm_batch and (batch % norm_batch or batch == norm_batch):
            raise ValueError(f"must divide the batch of {batch} into several groups, got {norm_batch}")
        return norm_batch

    @field_validator("evaluation", mode="after")
    @classmethod
    def _whole_for_a_mean_image(cls, evaluation: Evaluation, info: ValidationInfo) -> Evaluation:
        augmentation = info.data.get("augmentation")
        given = [key for key in ("resize", "crop") if getattr(evaluation, key) is not None]
        if augmentation and augmentation.mean == "image" and given:
            raise ValueError(f"{given[0]} does not go with augmentation.mean image, {_WHOLE}")
        return evaluation


def check_protocol(protocol: Protocol, data: DataSpec) -> None:
    """Check that images of this dataset can be trained on and evaluated as the protocol says.

    Raises:
        SpecError: they cannot.
    """
    info = data.info
    channels, height, width = info.shape
    evaluation = protocol.evaluation
    if info.resizable and None in {protocol.augmentation.scale, evaluation.resize, evaluation.crop}:
        raise SpecError(
            f"the images of {data.name!r} have many sizes, so augmentation.scale, evaluation.resize and "
            "evaluation.crop are needed"
        )
    squares = {"augmentation.scale": protocol.augmentation.scale, "evaluation.crop": protocol.evaluation.crop}
    given = [key for key, value in squares.items() if value is not None]
    if height != width and given:
        raise SpecError(
            f"{given[0]} makes square images, and those of {data.name!r} are {height}x{width}; leave it out"
        )
    if protocol.augmentation.colour == "pca" and channels != 3:
        raise SpecError(
            f"augmentation.colour pca needs images of three channels, and those of {data.name!r} have {channels}"
        )
    side, crop = protocol.evaluation.resize or min(height, width), protocol.evaluation.crop
    if not info.resizable and crop is not None and crop > side:
        raise SpecError(
            f"evaluation.crop {crop} is larger than the images of {data.name!r}, {height}x{width}; "
            "add evaluation.resize"
        )
    if protocol.last_batch == "drop" and protocol.batch > data.train_images:
        raise SpecError(
            f"last_batch drop leaves nothing: {data.train_images} training images fill no batch of {protocol.batch}"
        )
