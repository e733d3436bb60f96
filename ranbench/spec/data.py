"""A dataset with its split and input size, and the noise on its labels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from ranbench.catalogue import DatasetInfo, dataset_info
from ranbench.errors import SpecError
from ranbench.spec.base import Count, Spec

MAX_INPUT = 4096


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
    drawn: Literal["once", "each-epoch"] = Field(
        "once", description="once: the same wrong labels in the whole run; each-epoch: drawn anew for every epoch"
    )
