"""Fixed values of nets: each planted fault is found as a difference, and nothing is found where nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import ranbench.data.augmentation
import ranbench.fixed_values.measuring
import ranbench.models.attention
import ranbench.training.loop
from ranbench.catalogue import STAGES, StagePlan
from ranbench.data.augmentation import BatchOrder
from ranbench.fixed_values import TOLERANCE, Compared, FixedValues, Net, compare, first_differences
from ranbench.fixed_values.measuring import measure
from ranbench.fixed_values.nets import UNTRAINED
from ranbench.models.attention import Hourglass, ResidualLearning
from ranbench.models.layers import Norm
from ranbench.models.units import PreActivated
from ranbench.spec import (
    DataSpec,
    ModelSpec,
    NoiseSpec,
)

ROOT = Path(__file__).resolve().parent.parent
MIXED = ModelSpec(name="attention-56")
SPATIAL = ModelSpec(name="attention-56", attention="spatial")
Plant = Callable[[pytest.MonkeyPatch], None]


def net(model: ModelSpec = MIXED, data: str = "digits", noise: NoiseSpec | None = None, **protocol: object) -> Net:
    """A small net; by the protocol of those that no suite trains, with flips, crops and two drops of the rate."""
    spec = DataSpec.of(data)
    return Net(model, spec, noise, UNTRAINED[spec.info.form].model_copy(update=protocol))


@cache
def undisturbed(model: ModelSpec = MIXED) -> tuple[FixedValues, ...]:
    return measure([net(model)])


def found_by(plant: Plant, monkeypatch: pytest.MonkeyPatch, model: ModelSpec = MIXED) -> tuple[Compared, ...]:
    before = undisturbed(model)
    plant(monkeypatch)
    return compare(before, measure([net(model)]))


def differing(found: tuple[Compared, ...]) -> list[str]:
    return [each.field for each in found if each.outcome == "differs"]


def test_a_second_measure_is_equal_in_every_field_and_every_bit() -> None:
    found = compare(undisturbed(), measure([net()]))

    assert {each.outcome for each in found} == {"equal"}
    assert {each.field.split(".")[0] for each in found} == {"counts", "output", "reduced", "values", "hashes"}
    assert {each.relative for each in found if each.field.startswith("values")} == {0.0}


# --- planted faults: the field where each shows first


def weak_mask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ResidualLearning, "forward", lambda self, mask, trunk: torch.addcmul(trunk, 0.98 * mask, trunk))


def corners_not_aligned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        ranbench.models.attention,
        "interpolate",
        lambda x, size: functional.interpolate(x, size, mode="bilinear", align_corners=False),
    )


def one_skip_left_out(patch: pytest.MonkeyPatch) -> None:
    """Of the mask: the unit beside the lowest level is there, and its output is lost."""

    def forward(self: Hourglass, x: torch.Tensor) -> torch.Tensor:
        down = self.before(self.pool(x))
        if self.deeper is not None:
            down = self.deeper(down)
        return ranbench.models.attention.interpolate(self.after(down), (x.shape[2], x.shape[3]))

    patch.setattr(Hourglass, "forward", forward)


def one_shortcut_left_out(patch: pytest.MonkeyPatch) -> None:
    """Of all units that keep their width, the second one only."""
    right, calls = PreActivated.forward, [0]

    def forward(self: PreActivated, x: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return self.body(self.norm(x)) if calls[0] == 2 else right(self, x)

    patch.setattr(PreActivated, "forward", forward)


def norm_momentum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Norm, "__init__", lambda self, channels: nn.BatchNorm2d.__init__(self, channels, momentum=0.12))


def norm_eps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Norm, "__init__", lambda self, channels: nn.BatchNorm2d.__init__(self, channels, eps=1e-4))


def other_initialisation(patch: pytest.MonkeyPatch) -> None:
    right = ranbench.training.loop.initialise

    def initialise(module: nn.Module, kind: str, generator: torch.Generator) -> None:
        right(module, "he-fan-out" if kind == "he-fan-in" else "he-fan-in", generator)

    patch.setattr(ranbench.training.loop, "initialise", initialise)


def with_sgd(**changes: object) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        right = torch.optim.SGD
        patch.setattr(torch.optim, "SGD", lambda groups, **options: right(groups, **{**options, **changes}))

    return plant


def decay_not_on_norms(patch: pytest.MonkeyPatch) -> None:
    right = ranbench.training.loop._groups
    patch.setattr(ranbench.training.loop, "_groups", lambda net, *, decay_norm: right(net, decay_norm=not decay_norm))


def late_drop(patch: pytest.MonkeyPatch) -> None:
    """Each drop of the rate comes one iteration too late."""
    right = ranbench.training.loop.learning_rate
    patch.setattr(
        ranbench.training.loop,
        "learning_rate",
        lambda schedule, iterations, step: right(schedule, iterations, max(0, step - 1)),
    )


def changed_order(**changes: object) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        right = BatchOrder.__init__

        def init(self: BatchOrder, *args: Any, **options: Any) -> None:
            right(self, *args, **{**options, **changes})

        patch.setattr(BatchOrder, "__init__", init)

    return plant


def border_of_the_mean(patch: pytest.MonkeyPatch) -> None:
    """The border of a crop is black in place of the mean."""
    right = ranbench.data.augmentation.Preparation.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        right(self, *args, **options)
        self._shifted = not self._shifted

    patch.setattr(ranbench.data.augmentation.Preparation, "__init__", init)


def wider_units(patch: pytest.MonkeyPatch) -> None:
    wider = (StagePlan(64, 1, 2, 1), *STAGES["digits"][1:])
    plans = ranbench.models.PLANS
    patch.setitem(plans, "digits", replace(plans["digits"], stages=wider))


FAULTS: dict[str, tuple[Plant, str]] = {
    "mask scaled by 0.98": (weak_mask, "values.training.stages.0"),
    "interpolation corners not aligned": (corners_not_aligned, "values.training.stages.0.1.mask"),
    "a skip of the mask left out": (one_skip_left_out, "values.training.stages.0.1.mask"),
    "one shortcut left out": (one_shortcut_left_out, "values.training.stages.0.1.mask"),
    "BatchNorm momentum": (norm_momentum, "values.evaluation.stem"),
    "BatchNorm eps": (norm_eps, "values.training.stem"),
    "initialisation": (other_initialisation, "values.training.stem"),
    "momentum 0.88": (with_sgd(momentum=0.88), "values.steps.losses"),
    "plain momentum in place of Nesterov's": (with_sgd(nesterov=False), "values.steps.losses"),
    "weight decay left out": (with_sgd(weight_decay=0.0), "values.steps.losses"),
    "weight decay not on BatchNorm": (decay_not_on_norms, "values.steps.losses"),
    "a drop of the rate too late": (late_drop, "values.steps.losses"),
    "augmentation without flips": (changed_order(flip=False), "values.steps.losses"),
    "the rest of an epoch left out": (changed_order(last_batch="drop"), "values.steps.losses"),
    "a black border": (border_of_the_mean, "values.steps.losses"),
    "another width": (wider_units, "counts.parameters"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_shows_first(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, first = FAULTS[fault]

    found = found_by(plant, monkeypatch)

    [shown] = first_differences(found)
    assert shown.field == first
    assert shown.relative is not None
    assert shown.relative > TOLERANCE
