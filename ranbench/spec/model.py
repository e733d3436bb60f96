"""A net and its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from ranbench.catalogue import (
    ATTENTION_OPTIONS,
    MAX_SIZE,
    R_SCALES,
    SIZES,
    SPATIAL_STD,
    UNIT_ORDER,
    Form,
    attention_modules,
    check_option,
    is_attention_net,
    is_factory,
    net_info,
)
from ranbench.errors import SpecError
from ranbench.spec.base import Spec

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class ModelSpec(Spec):
    """A net and its options. learning, attention and mask of attention nets are always spelled out.

    The others are None where they are what the name says or change nothing, r and r_scales with local convolutions,
    r_scales where r is 1, spatial_std without spatial attention: the same net has one spec.
    """

    name: str = Field(description="a name of 'ranbench list models', for instance attention-56, or of another library")
    learning: str | None = Field(None, description="how mask and trunk combine: residual (1 + M) * T or naive M * T")
    attention: str | None = Field(None, description="activation of the mask: mixed, channel or spatial")
    mask: str | None = Field(None, description="structure of the mask: encoder-decoder or local-convolutions")
    p: Size | None = Field(None, description="units before and after trunk and mask")
    t: Size | None = Field(None, description="units of the trunk")
    r: Size | None = Field(None, description="units of the mask between two samplings")
    r_scales: str | None = Field(None, description="how r enters the mask: both-ways (figure 2) or way-down")
    spatial_std: str | None = Field(None, description="deviation in spatial attention: biased or unbiased")
    unit_order: str | None = Field(
        None, description="where BN and ReLU stand in a unit: pre-activation or post-activation"
    )

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
        if given.get("attention") != "spatial" or given.get("spatial_std") == SPATIAL_STD[0]:
            given.pop("spatial_std", None)
        if given.get("unit_order") == UNIT_ORDER[0]:
            given.pop("unit_order")
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

    def modules(self, form: Form) -> tuple[int, ...]:
        """Return the attention modules of each stage, nothing for a net without any."""
        found = attention_modules(self.name, form, **options_of_modules(self.options))
        return found.m if found else ()

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
