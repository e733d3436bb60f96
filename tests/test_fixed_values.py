"""Fixed values of nets: each planted fault is found as a difference, and nothing is found where nothing changed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
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
from ranbench.counts import lookup
from ranbench.data.augmentation import BatchOrder
from ranbench.fixed_values import TOLERANCE, Compared, Context, FixedValues, Net, compare, first_differences, nets_of
from ranbench.fixed_values.measuring import measure
from ranbench.fixed_values.nets import UNTRAINED, ten_steps
from ranbench.fixed_values.record import PROCEDURE
from ranbench.fixed_values.thinning import thinned
from ranbench.models import build
from ranbench.models.attention import AttentionModule, Hourglass, ResidualLearning
from ranbench.models.layers import Norm
from ranbench.models.units import PreActivated
from ranbench.spec import (
    DataSpec,
    ModelSpec,
    NoiseSpec,
    Steps,
    WarmUp,
)
from ranbench.suite import load_suite

ROOT = Path(__file__).resolve().parent.parent
MIXED = ModelSpec(name="attention-56")
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
        if self.deeper is not None and self.skip is not None:
            down = self.deeper(down) + 0 * self.skip(down)
        return ranbench.models.attention.interpolate(self.after(down), (x.shape[2], x.shape[3]))

    patch.setattr(Hourglass, "forward", forward)


def one_shortcut_left_out(patch: pytest.MonkeyPatch) -> None:
    """Of the first unit of every trunk only."""
    init, right = AttentionModule.__init__, PreActivated.forward

    def broken(self: AttentionModule, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self.trunk[0].without_shortcut = True

    def forward(self: PreActivated, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.norm(x)) if hasattr(self, "without_shortcut") else right(self, x)

    patch.setattr(AttentionModule, "__init__", broken)
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
    "one shortcut left out": (one_shortcut_left_out, "values.training.stages.0"),
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


# The others are of the same kinds, and each costs a second.
FAST = frozenset(
    {
        *("mask scaled by 0.98", "interpolation corners not aligned", "a skip of the mask left out", "momentum 0.88"),
        *("augmentation without flips", "BatchNorm momentum", "weight decay not on BatchNorm"),
        *("a drop of the rate too late", "initialisation"),
    }
)


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FAULTS]
)
def test_a_planted_fault_is_found_where_it_shows_first(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, first = FAULTS[fault]

    found = found_by(plant, monkeypatch)

    [shown] = first_differences(found)
    assert shown.field == first
    assert shown.relative is not None
    assert shown.relative > (0 if first.startswith("counts") else TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("drawn", ["once", "each-epoch"])
def test_other_noise_is_found_in_the_losses(drawn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = net(noise=NoiseSpec.model_validate({"rate": 0.3, "drawn": drawn}))
    before = measure([noisy])
    right = ranbench.fixed_values.measuring.flip_labels
    monkeypatch.setattr(
        ranbench.fixed_values.measuring,
        "flip_labels",
        lambda labels, rate, classes, seed, epoch=None: right(labels, rate / 2, classes, seed, epoch),
    )

    [shown] = first_differences(compare(before, measure([noisy])))

    assert shown.field == "values.steps.losses"


# --- how two sets of values are compared

HERE = Context("2.11.0", "AVX2", "a processor", 1)


def stored(**changes: Any) -> FixedValues:
    whole = FixedValues(
        key="1a2b",
        net="attention-56 @ digits 8 #1a2b",
        identity={"model": {"name": "attention-56"}},
        context=HERE,
        counts={"parameters": 100, "macs": 2000},
        output=(1, 10),
        reduced="images 1x8x8",
        values={"training.logits": (1.0, -2.0, 1e-9), "steps.losses": (2.5, 2.0)},
        hashes={"training": "aa", "steps": "bb"},
    )
    return replace(whole, **changes)


def outcomes(before: FixedValues, after: FixedValues) -> dict[str, str]:
    return {each.field: each.outcome for each in compare([before], [after]) if each.outcome != "equal"}


def test_values_are_compared_to_one_part_in_a_million_of_the_largest_of_their_field() -> None:
    inside = stored(values={"training.logits": (1.0, -2.0, 1e-6), "steps.losses": (2.5, 2.000002)})
    outside = stored(values={"training.logits": (1.0, -2.0, 1e-9), "steps.losses": (2.5, 2.00001)})

    found = {each.field: each for each in compare([stored()], [outside])}["values.steps.losses"]

    assert outcomes(stored(), inside) == {}
    assert outcomes(stored(), outside) == {"values.steps.losses": "differs"}
    assert (found.at, found.before, found.after) == (1, 2.0, 2.00001)
    assert found.relative == pytest.approx(1e-5 / 2.5)


def test_counts_and_shapes_are_compared_exactly() -> None:
    changed = stored(counts={"parameters": 101, "macs": 2000}, output=(1, 100))

    found = {each.field: each for each in compare([stored()], [changed])}

    assert outcomes(stored(), changed) == {"counts.parameters": "differs", "output": "differs"}
    assert (found["counts.parameters"].before, found["counts.parameters"].after) == ("100", "101")
    assert found["counts.parameters"].relative == 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"torch": "2.12.0"}, "torch 2.11.0 before and 2.12.0 now"),
        ({"cpu_capability": "AVX512"}, "cpu capability AVX2 before and AVX512 now"),
        ({"threads": 2}, "threads 1 before and 2 now"),
    ],
)
def test_hashes_of_another_context_are_not_comparable_and_values_are(change: dict[str, Any], words: str) -> None:
    other = {"training": "cc", "steps": "dd"}
    elsewhere = stored(context=replace(HERE, **change), hashes=other)

    found = [each for each in compare([stored()], [elsewhere]) if each.outcome != "equal"]

    assert [(each.field, each.outcome) for each in found] == [("hashes", "not comparable")]
    assert words in found[0].reason
    assert outcomes(stored(), stored(hashes=other)) == {
        "hashes.training": "differs",
        "hashes.steps": "differs",
    }
    wrong = replace(elsewhere, values={**elsewhere.values, "steps.losses": (2.5, 3.0)})
    assert outcomes(stored(), wrong) == {"values.steps.losses": "differs", "hashes": "not comparable"}


def test_a_net_is_new_gone_failed_or_not_comparable_as_a_whole() -> None:
    bare = stored(values={}, hashes={}, reduced="", problem="training loss is nan at iteration 3")
    absent = replace(bare, counts={}, output=(), problem="timm is not installed", absent=True)
    other = stored(key="3c4d")

    assert [each.outcome for each in compare([stored()], [other])] == ["new", "gone"]
    assert outcomes(stored(), bare) == {"net": "failed"}
    assert outcomes(bare, stored()) == {"net": "not comparable"}
    assert outcomes(bare, bare) == {"values": "not comparable"}
    assert outcomes(stored(), absent) == outcomes(absent, stored()) == {"net": "not comparable"}


def test_values_that_are_not_finite_equal_nothing() -> None:
    endless = stored(values={"training.logits": (math.inf, math.nan, 1.0), "steps.losses": (2.5, 2.0)})

    assert outcomes(endless, endless) == {"values.training.logits": "differs"}
    assert outcomes(stored(), endless) == {"values.training.logits": "differs"}


def test_values_taken_in_another_way_are_not_comparable_and_counts_are() -> None:
    later = stored(procedure=PROCEDURE + 1, values={"other": (1.0,)}, counts={"parameters": 100, "macs": 2001})

    assert outcomes(stored(), later) == {"counts.macs": "differs", "values": "not comparable"}


def test_values_come_back_from_json_as_they_were() -> None:
    whole = stored(values={"training.logits": (0.1 + 0.2, math.inf), "steps.losses": (1e-300,)})

    back = FixedValues.read(json.loads(json.dumps(whole.plain(), allow_nan=False)))

    assert back == whole


def test_what_is_no_fixed_values_is_refused() -> None:
    with pytest.raises(ValueError, match="fixed values of a net do not hold: KeyError"):
        FixedValues.read({"key": "1a2b"})


# --- which nets, and what is left of them


@cache
def all_nets() -> tuple[Net, ...]:
    return nets_of(load_suite(file) for file in sorted((ROOT / "suites").glob("*.yaml")))


def test_suites_share_a_net_that_all_of_them_have() -> None:
    shared = [each for each in all_nets() if {"table1", "table3", "table4"} <= set(each.suites)]

    assert [each.model.name for each in shared] == ["attention-56"]
    assert len({each.key for each in all_nets()}) == len({each.name for each in all_nets()}) == len(all_nets())


def test_every_cell_of_every_suite_has_its_net() -> None:
    for file in sorted((ROOT / "suites").glob("*.yaml")):
        suite = load_suite(file)
        cells = {(cell.model, cell.data, cell.noise) for cell in suite.cells}

        assert {(each.model, each.data.name) for each in nets_of([suite])} == {
            (model, data.name) for model, data, _ in cells
        }


def test_ten_steps_go_through_drops_and_warm_up() -> None:
    long = UNTRAINED["cifar"].model_copy(
        update={
            "iterations": 64_000,
            "schedule": Steps(
                kind="steps", lr=0.1, drops=(32_000, 48_000), factor=0.1, warm_up=WarmUp(iterations=400, start=0.1)
            ),
        }
    )

    schedule = ten_steps(long, (3, 16, 16)).schedule

    assert isinstance(schedule, Steps)
    assert schedule.drops == (5, 8)
    assert schedule.warm_up is not None
    assert schedule.warm_up.iterations == 2


def kinds(module: nn.Module) -> set[tuple[object, ...]]:
    """Every kind of layer and of block: all that its printed form says, but for widths and groups."""
    found: set[tuple[object, ...]] = set()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            grouped = layer.groups > 1
            found.add((type(layer), layer.kernel_size, layer.stride, layer.padding, grouped, layer.bias is None))
        elif isinstance(layer, nn.BatchNorm2d):
            found.add((type(layer), layer.eps, layer.momentum))
        else:
            found.add((type(layer), "" if any(layer.children()) else layer.extra_repr() * (not hasattr(layer, "bias"))))
    return found


def whole(small: Net) -> nn.Module:
    with torch.device("meta"):
        return build(
            small.model.name, small.model.options, small.data.shape, small.num_classes, form=small.data.info.form
        )


def check_kinds(small: Net) -> None:
    reduced = thinned(small.model, small.data, small.shape, small.num_classes).net

    assert kinds(reduced) == kinds(whole(small))


def test_the_reduced_form_keeps_every_kind_of_layer() -> None:
    check_kinds(net(ModelSpec(name="attention-164")))


@pytest.mark.slow
def test_the_reduced_form_of_every_net_keeps_every_kind_of_layer() -> None:
    for small in {(each.model, each.data.info.form): each for each in all_nets()}.values():
        check_kinds(small)


def test_the_threads_of_the_process_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    try:
        torch.set_num_threads(2)
        measure([], lambda *_: None)
        monkeypatch.setattr(ranbench.fixed_values.measuring, "_count", lambda *_: _interrupt(seen))
        with pytest.raises(KeyboardInterrupt):
            measure([net()])

        assert torch.get_num_threads() == 2
        assert seen == [1]
    finally:
        torch.set_num_threads(before)


def _interrupt(seen: list[int]) -> None:
    seen.append(torch.get_num_threads())
    raise KeyboardInterrupt


@pytest.mark.slow
def test_every_net_of_every_suite_has_values_that_repeat() -> None:
    told: list[int] = []

    first = measure(all_nets(), lambda _, index, count: told.append(index))

    assert [each.problem for each in first if not each.absent] == [""] * len(
        [each for each in first if not each.absent]
    )
    assert told == list(range(len(all_nets())))
    assert {each.outcome for each in compare(first, measure(all_nets()))} <= {"equal", "not comparable"}
    for each in first:
        known = lookup(*next((one.model, one.data) for one in all_nets() if one.key == each.key))
        assert known is None or each.absent or (known.parameters, known.macs) == tuple(each.counts.values())[:2]


def test_behind_the_steps_that_are_steady_nothing_is_compared() -> None:
    (values,) = measure([net()], steadiness=True)
    assert values.steady == 10
    losses = values.values["steps.losses"]
    shaken = replace(values, steady=3)

    def with_loss(index: int) -> FixedValues:
        other = tuple(2 * loss if at == index else loss for at, loss in enumerate(losses))
        return replace(
            values, steady=None, values={**values.values, "steps.losses": other, "after.logits": (0.0,) * 20}
        )

    differing = {
        index: {each.field for each in compare([shaken], [with_loss(index)]) if each.outcome != "equal"}
        for index in (2, 3)
    }

    assert differing == {2: {"values.steps.losses"}, 3: set()}


def test_a_net_that_magnifies_what_its_weights_are_moved_by_is_not_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranbench.fixed_values.measuring, "MOVED", 1e-3)

    (values,) = measure([net()], steadiness=True)

    assert values.steady == 0


@pytest.mark.slow
def test_values_agree_between_processors_of_differing_abilities(tmp_path: Path) -> None:
    """Without vector instructions every sum has another order."""
    chosen = {each.key: each for each in all_nets()}
    file = tmp_path / "values.json"
    code = (
        "import json, sys; from pathlib import Path; from test_fixed_values import all_nets; "
        "from ranbench.fixed_values.measuring import measure; keys = json.loads(sys.argv[1]); "
        "found = measure([each for each in all_nets() if each.key in keys]); "
        "Path(sys.argv[2]).write_text(json.dumps([each.plain() for each in found]))"
    )
    environment = {
        **os.environ,
        "ATEN_CPU_CAPABILITY": "default",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    keys = json.dumps([each.key for each in chosen.values()])
    subprocess.run([sys.executable, "-c", code, keys, str(file)], check=True, env=environment, cwd=tmp_path)

    plain = [FixedValues.read(each) for each in json.loads(file.read_text())]
    found = compare(measure(chosen.values(), steadiness=True), plain)

    values = [each for each in found if not each.field.startswith("hashes")]
    assert {each.outcome for each in values} == {"equal"}
    assert {each.outcome for each in found if each.field.startswith("hashes")} <= {"not comparable", "equal"}


OWN = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, classes, scale):
        super().__init__()
        self.scale = {scale}
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.head = nn.Linear(4 * 6 * 6, classes)

    def forward(self, x):
        {first}
        return self.scale * self.head(self.body(x))


def small(shape, num_classes):
    return Small(num_classes, 1.0)
"""


def own(tmp_path: Path, name: str, scale: float = 1.0, first: str = "") -> FixedValues:
    (tmp_path / f"{name}.py").write_text(OWN.format(scale=scale, first=first or "pass"))
    found = measure([net(ModelSpec(name=f"{name}:small"))], trusted=True)[0]
    return replace(found, key="own", net="own", identity={})


def test_a_users_net_has_values_that_repeat_and_show_a_change_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)

    plain, again = own(tmp_path, "mysmall"), own(tmp_path, "mysmallagain")
    changed = own(tmp_path, "mychanged", scale=1.0001)

    assert (plain.problem, plain.counts["macs"]) == ("", 4 * 9 * 36 + 4 * 36 * 10)
    assert len(plain.values["steps.losses"]) == 10
    assert {each.outcome for each in compare([plain], [again])} == {"equal"}
    differing = {each.field for each in compare([plain], [changed]) if each.outcome == "differs"}
    assert {"values.evaluation.logits", "values.steps.losses"} <= differing
    assert not any("body" in field for field in differing)


def test_a_users_net_that_works_in_float32_alone_is_counted_and_says_why_it_has_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)

    found = own(tmp_path, "mysingle", first="x = x.float()")

    assert found.problem.startswith("model 'mysingle:small' does not train in float64: ")
    assert "\n" not in found.problem
    assert (found.counts["macs"], found.values) == (4 * 9 * 36 + 4 * 36 * 10, {})


def test_a_large_foreign_net_is_counted_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ranbench.fixed_values.measuring, "MOST_MACS", 2_000)

    found = own(tmp_path, "mylarge")

    assert found.problem == (
        "model 'mylarge:small' takes 2,736 multiply-adds an image: foreign nets above 2,000 are counted alone"
    )
    assert found.counts["macs"] == 2736


def test_a_net_that_breaks_has_its_error_for_a_problem_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(shape: ModelSpec, *rest: Any) -> Any:
        if shape.options.get("learning") == "naive":
            raise RuntimeError("the shapes do not fit")
        return thinned(shape, *rest)

    monkeypatch.setattr(ranbench.fixed_values.measuring, "thinned", broken)

    bad, good = measure([net(ModelSpec(name="attention-56", learning="naive")), net()])

    assert (bad.problem, bad.values) == ("RuntimeError: the shapes do not fit", {})
    assert bad.counts["macs"] > 0
    assert (good.problem, len(good.values["steps.losses"])) == ("", 10)
