"""A dataset with its split and input size, and the noise on its labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from ranbench.catalogue import (
    IMAGE_FOLDER,
    MOST_CLASSES,
    ONE_BYTE,
    DatasetInfo,
    Form,
    dataset_info,
    has_stated_facts,
    is_factory,
)
from ranbench.errors import SpecError
from ranbench.spec.base import Count, Spec, first_fault

MAX_INPUT = 4096
IMAGENET = "imagenet"
CHECKSUM = r"sha256:[0-9a-f]{64}"


def _three_numbers(value: Any) -> Any:
    """Refuse all but three in one message, where pydantic would tell of each that is missing or too much."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise ValueError("expected three numbers: channels, height and width")
    return value


def _checksum(value: str) -> str:
    if not re.fullmatch(CHECKSUM, value):
        raise ValueError(f"expected sha256: and 64 digits from 0 to f, got {value!r}")
    return value


Checksum = Annotated[str, AfterValidator(_checksum), Field(json_schema_extra={"pattern": f"^{CHECKSUM}$"})]
Side = Annotated[int, Field(ge=1, le=MAX_INPUT)]
Shape = Annotated[tuple[Side, Side, Side], Field(strict=False), BeforeValidator(_three_numbers)]
Classes = Annotated[int, Field(ge=2, le=MOST_CLASSES)]


def _three_shares(value: Any) -> Any:
    """Refuse all but three in one message."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise ValueError("expected three numbers: of red, green and blue")
    return value


Intensity = Annotated[float, Field(ge=0.0, le=1.0)]
Colour = Annotated[tuple[Intensity, Intensity, Intensity], Field(strict=False), BeforeValidator(_three_shares)]
Positive = Annotated[float, Field(gt=0.0, le=1.0)]
Spread = Annotated[tuple[Positive, Positive, Positive], Field(strict=False), BeforeValidator(_three_shares)]
Skips = Annotated[tuple[Literal["blacklisted", "damaged"], ...], Field(strict=False)]


class Facts(Spec):
    """What must be known of a user's own dataset where its images may not be looked at; a suite states it."""

    form: Form = Field(description="which form of the nets it is for: cifar, imagenet or digits")
    shape: Shape = Field(description="channels, height and width of its images")
    classes: Classes = Field(description="number of its classes")
    mean: Colour | None = Field(
        None, description="of a folder of images: mean of red, green and blue, in [0, 1], over all training pixels"
    )
    std: Spread | None = Field(None, description="of a folder of images: their standard deviations")


class DataSpec(Spec):
    """A dataset, identified by the checksum of its official content, its split and input size where they are chosen.

    One of the catalogue, or a user's own, ``package.module:factory`` or ``imagefolder``, which brings its ``facts``.
    """

    name: str
    checksum: str
    train_images: Count = Field(description="training images")
    test_images: Count = Field(description="test images")
    input: Count | None = Field(None, description="side of the square input in pixels, where it is not the usual one")
    facts: Facts | None = Field(None, description="of a user's own dataset; those of others stand in the catalogue")
    skip: Skips = Field((), description="which images are left out, of files that lie in folders")
    skipped: Checksum | None = Field(None, description="of imagenet: sha256 over the names of those left out")

    @model_validator(mode="after")
    def _own_has_facts(self) -> Self:
        if self.facts is None:
            if has_stated_facts(self.name):
                raise ValueError(f"dataset {self.name!r} is a user's own, and its facts are missing")
            return self
        if not has_stated_facts(self.name):
            raise ValueError(
                f"dataset {self.name!r} has facts, and is not named package.module:factory or {IMAGE_FOLDER}"
            )
        _checksum(self.checksum)
        if self.input is not None and self.name != IMAGE_FOLDER:
            raise ValueError(f"dataset {self.name!r}: a user's own images have one size, got input {self.input}")
        self._check_colours(self.facts)
        return self

    def _check_colours(self, facts: Facts) -> None:
        """Only images in folders state their colours: those in memory are looked at."""
        given = facts.mean is not None and facts.std is not None
        if self.name == IMAGE_FOLDER and (not given or facts.shape[0] != 3):
            raise ValueError(f"dataset {self.name!r}: needs mean and std, and a shape of three channels")
        if self.name != IMAGE_FOLDER and (facts.mean, facts.std) != (None, None):
            raise ValueError(f"dataset {self.name!r}: mean and std are stated of {IMAGE_FOLDER} only")

    @model_validator(mode="after")
    def _skips_what_it_has(self) -> Self:
        allowed: tuple[str, ...] = {IMAGE_FOLDER: ("damaged",), IMAGENET: ("blacklisted", "damaged")}.get(self.name, ())
        for what in self.skip:
            if what not in allowed:
                known = ", ".join(allowed) or f"nothing, only {IMAGENET} and {IMAGE_FOLDER} leave out images"
                raise ValueError(f"dataset {self.name!r} cannot skip {what} images (allowed: {known})")
        if self.skip != tuple(sorted(set(self.skip))):
            raise ValueError(f"skip must name each kind once, in the order of the alphabet, got {list(self.skip)}")
        if (self.skipped is not None) != (self.name == IMAGENET and bool(self.skip)):
            raise ValueError(
                f"skip and skipped belong together for {IMAGENET}; 'ranbench data manifest {IMAGENET} --skip ...' "
                "prints both"
            )
        return self

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
            input=chosen_input(name, info, input),
        )

    def without(self, skip: Sequence[str], skipped: str | None, train: int, test: int) -> Self:
        """Return the dataset without some of its images, so that ``train`` and ``test`` are left.

        Raises:
            SpecError: it cannot leave them out, or has not so many.
        """
        info = self.info
        if train > info.train_images or test > info.test_images:
            raise SpecError(
                f"dataset {self.name!r} has {info.train_images}/{info.test_images} images, got {train}/{test} without "
                "those that are skipped"
            )
        try:
            return self.model_copy(
                update={"skip": tuple(skip), "skipped": skipped, "train_images": train, "test_images": test}
            )
        except ValidationError as error:
            raise SpecError(first_fault(error)) from None

    @property
    def info(self) -> DatasetInfo:
        """The facts of the dataset, those of a user's own put as the catalogue does.

        Raises:
            SpecError: there is no such dataset.
        """
        return dataset_info(self.name) if self.facts is None else self._own_info(self.facts)

    def _own_info(self, facts: Facts) -> DatasetInfo:
        channels, height, width = facts.shape
        of = "1 channel" if channels == 1 else f"{channels} channels"
        size = "many sizes" if self.name == IMAGE_FOLDER else f"{height}x{width}"
        return DatasetInfo(
            f"{self.name}: a user's own images of {size} in {of}, in {facts.classes} classes",
            form=facts.form,
            shape=facts.shape,
            num_classes=facts.classes,
            train_images=self.train_images,
            test_images=self.test_images,
            checksum=self.checksum,
            resizable=self.name == IMAGE_FOLDER,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image that the net is given."""
        channels, height, width = self.info.shape
        return (channels, height, width) if self.input is None else (channels, self.input, self.input)

    @property
    def factory(self) -> str | None:
        """The import path of a user's own dataset that a factory makes, None for others."""
        return self.name if is_factory(self.name) else None


def check_input(data: DataSpec, side: int) -> None:
    """Check the side of the input that is asked for of a user's own dataset, whose images have one size.

    Raises:
        SpecError: they have another.
    """
    height, width = data.shape[1:]
    if (side, side) != (height, width):
        raise SpecError(f"dataset {data.name!r} has images of {height}x{width}, got input {side}")


def check_noise(data: DataSpec) -> None:
    """Check that the confusion matrix of noisy labels can be recorded.

    Raises:
        SpecError: there are too many classes.
    """
    classes = data.info.num_classes
    if classes > ONE_BYTE:
        raise SpecError(
            f"dataset {data.name!r}: noise on {classes:,} classes is not supported, since every pair of classes is "
            f"recorded; at most {ONE_BYTE} classes are allowed"
        )


def chosen_input(name: str, info: DatasetInfo, side: int | None) -> int | None:
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
    drawn: Literal["once", "each-epoch"] = Field(
        "once", description="once: the same wrong labels in the whole run; each-epoch: drawn anew for every epoch"
    )
