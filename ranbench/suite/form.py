"""The form of suite and protocol files: every key, once, with its meaning. No loading, no resolving."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ranbench.catalogue import Form
from ranbench.records import PROBES
from ranbench.spec import Checksum, Classes, Colour, Count, Shape, Skips, Spec, Spread
from ranbench.suite.document import say


def _text_or_number(value: Any) -> Any:
    """Refuse all else in one message, where the members of a union would each have their own."""
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not finite:
        raise ValueError(f"expected text or a number, got {say(value)}")
    return value


Scalar = str | int | float
AxisValue = Annotated[Scalar, BeforeValidator(_text_or_number)]
Selector = dict[str, AxisValue]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Over = list[str]
Cycle = Literal["nightly", "weekly", "monthly"]


class Paper(Spec):
    """The paper that a suite reproduces."""

    arxiv: str = Field(description="arXiv number, in quotes")
    table: int | None = Field(None, description="number of the table")
    figure: int | None = Field(None, description="number of the figure")


class DatasetEntry(Spec):
    """What a suite says of a dataset: the sizes of a stratified split, and all other facts of a user's own."""

    train: Count = Field(description="number of training images, without those that are skipped")
    test: Count = Field(description="number of test images, without those that are skipped")
    checksum: Checksum | None = Field(
        None, description="of a user's own dataset, as 'ranbench data manifest' prints it: sha256 of its content"
    )
    form: Form | None = Field(None, description="of a user's own dataset: which form of the nets it is for")
    shape: Shape | None = Field(None, description="of a user's own dataset: channels, height and width of its images")
    classes: Classes | None = Field(None, description="of a user's own dataset: number of classes")
    mean: Colour | None = Field(None, description="of imagefolder: mean of red, green and blue, in [0, 1]")
    std: Spread | None = Field(None, description="of imagefolder: standard deviation of red, green and blue, in [0, 1]")
    skip: Skips = Field(
        (), description="of imagenet and imagefolder: which images are left out; blacklisted ones are of imagenet only"
    )
    skipped: Checksum | None = Field(
        None, description="of imagenet with skip, as 'ranbench data manifest imagenet' prints it: which those are"
    )


class CellsBlock(Spec):
    """The product of ``matrix`` over ``fixed`` values, and further cells one by one."""

    fixed: Selector = Field(default_factory=dict, description="axis values that hold for every cell")
    matrix: dict[str, Annotated[list[AxisValue], Field(min_length=1)]] = Field(
        default_factory=dict, description="axis -> its values; every combination is a cell"
    )
    include: list[Selector] = Field(default_factory=list, description="single cells, added to the fixed values")


class PublishedEntry(Spec):
    """A number that the paper prints."""

    cell: Selector
    metric: str
    value: float
    unit: str
    where: str = Field(description="the table or figure it stands in")
    approximate: bool = Field(False, description="read off a plot")
    note: str | None = None


class BetterEntry(Spec):
    """Claim: a has the better metric than b, at every value of the axes in ``over``."""

    id: Id
    kind: Literal["better"]
    says: str | None = Field(None, description="the claim as a sentence")
    where: str | None = Field(None, description="where the paper says it")
    over: Over = Field(default_factory=list, description="axes at every value of which it must hold")
    a: Selector
    b: Selector
    metric: str
    min_effect: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="smallest difference that counts, in the metric's unit"
    )
    allow_scaled: bool = Field(False, description="runs of scaled fidelity may decide it")


class ValueEntry(Spec):
    """Claim: the cell's metric is the published number, within a margin."""

    id: Id
    kind: Literal["value"]
    says: str | None = None
    where: str | None = None
    cell: Selector
    metric: str
    margin: Annotated[float, Field(gt=0.0)] = Field(description="largest difference that still counts as reproduced")
    allow_scaled: bool = False


class TrendEntry(Spec):
    """Claim: along an axis the metric of ``cells``, or the gap of a minus b, rises or falls."""

    id: Id
    kind: Literal["trend"]
    says: str | None = None
    where: str | None = None
    along: str = Field(description="the axis along which the metric changes")
    cells: Selector | None = Field(None, description="the cells, one at each value of the axis")
    a: Selector | None = Field(None, description="in place of cells: those from which b's are subtracted")
    b: Selector | None = Field(None, description="in place of cells: those that are subtracted from a's")
    metric: str
    direction: Literal["rising", "falling"]
    x: Literal["order", "depth", "value"] = Field(
        "order", description="what the slope is taken over: order of the cells, trunk depth of the nets, axis value"
    )
    min_effect: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="smallest change from the lowest x to the highest that counts, in the metric's unit"
    )
    allow_scaled: bool = False

    @model_validator(mode="after")
    def _cells_or_gap(self) -> Self:
        if (self.cells is None) == (self.a is None and self.b is None) or (self.a is None) != (self.b is None):
            raise ValueError("expected either cells, or both a and b for the trend of their gap")
        return self


class RatioEntry(Spec):
    """Claim: a's metric is at most, or at least, so many times b's, at every value of the axes in ``over``."""

    id: Id
    kind: Literal["ratio"]
    says: str | None = None
    where: str | None = None
    over: Over = Field(default_factory=list, description="axes at every value of which it must hold")
    a: Selector
    b: Selector
    metric: str
    at_most: Annotated[float, Field(gt=0.0)] | None = None
    at_least: Annotated[float, Field(gt=0.0)] | None = None
    allow_scaled: bool = False

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("expected either at_most or at_least, exactly one of them")
        return self


class ComplexityEntry(Spec):
    """Claim: the exact count of the cell's net is the published number, within a tolerance."""

    id: Id
    kind: Literal["complexity"]
    says: str | None = None
    where: str | None = None
    cell: Selector
    metric: str
    tolerance_pct: Annotated[float, Field(ge=0.0, lt=100.0)] = Field(
        description="largest difference that still counts as reproduced, in percent of the published number"
    )


ClaimEntry = Annotated[
    BetterEntry | ValueEntry | TrendEntry | RatioEntry | ComplexityEntry, Field(discriminator="kind")
]


class CitedEntry(Spec):
    """A number that the paper cites for a net which is not run here."""

    name: str
    model: str | None = Field(None, description="the net of the catalogue that it is of, whose counts pictures take")
    dataset: str | None = Field(None, description="the dataset that it is of, where the suite has several")
    metric: str
    value: float
    unit: str
    where: str
    approximate: bool = Field(False, description="read off a plot")
    note: str | None = Field(None, description="why it is not run")


class CycleEntry(Spec):
    """How often the gate for CI trains the cells with these axis values; those that no entry names: every night."""

    cell: Selector = Field(description="the cells with these axis values")
    cycle: Cycle = Field(description="nightly, or once in 7 nights (weekly) or in 28 (monthly), in turn")


class DeviationEntry(Spec):
    """Something changed from, or left open by, the paper."""

    id: Id
    text: str
    cell: Selector | None = Field(None, description="only the cells with these axis values")


class SuiteFile(Spec):
    """A suite: one table of a paper."""

    name: Id = Field(description="equal to the file's name")
    title: str
    about: str | None = Field(None, description="a paragraph for the head of the report")
    paper: Paper | None = None
    reference: str | None = Field(None, description="the protocol that the published numbers were made with")
    protocol: str | None = Field(None, description="the protocol that is run unless --protocol says otherwise")
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None,
        description="by which that protocol makes the reference shorter, where it takes one; --factor says otherwise",
    )
    seeds: Annotated[int, Field(ge=0, le=1000)] = Field(
        description="seeds 0 to N-1 of every cell; 0: nothing is trained, the nets are counted"
    )
    datasets: dict[str, DatasetEntry] = Field(
        default_factory=dict,
        description="split of datasets that have none of their own, and facts of a user's own datasets",
    )
    cells: CellsBlock
    probes: list[Literal[PROBES]] = Field(  # type: ignore[valid-type]
        default_factory=list, description="what is measured of the final weights: responses (of stages, figure 4)"
    )
    cycles: list[CycleEntry] = Field(
        default_factory=list, description="cells that 'ranbench check --cycle' does not train every night"
    )
    published: list[PublishedEntry] = Field(default_factory=list)
    cited: list[CitedEntry] = Field(default_factory=list)
    claims: list[ClaimEntry] = Field(default_factory=list)
    deviations: list[DeviationEntry] = Field(default_factory=list)


class ReducedEvaluation(Spec):
    """How often and on how many images a reduction is evaluated; their size is that of the reference."""

    every: Count = Field(description="iterations between evaluations")
    images: Count | None = Field(None, description="the first so many test images only; all if left out")


class Reduction(Spec):
    """A protocol derived from a suite's reference: the same, but shorter, by ``iterations`` or by ``factor``."""

    of: Literal["reference"]
    iterations: Count | None = Field(
        None, description="its length; drops and warm-up keep their share of the whole, as far as there is room"
    )
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None,
        description="what iterations, drops, warm-up and the interval of evaluation are multiplied by, each rounded; "
        "--factor and a suite's key factor say otherwise",
    )
    evaluation: ReducedEvaluation | None = Field(None, description="may be left out with factor only")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.iterations is None) == (self.factor is None):
            raise ValueError("expected either iterations or factor, exactly one of them")
        if self.iterations is not None and self.evaluation is None:
            raise ValueError("evaluation is missing, which a reduction to a number of iterations needs")
        return self

    @property
    def length(self) -> str:
        """Its length in words."""
        if self.iterations is not None:
            return f"{self.iterations:,} iterations of the reference's batch"
        return f"{self.factor:g} of the reference's iterations; takes a factor"
