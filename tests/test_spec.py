"""Identity and strictness of specs: what changes a cell's id, what never does, and what no spec can hold."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ranbench.errors import SpecError
from ranbench.spec import (
    CELL_FIELDS,
    SEED_FIELDS,
    Augmentation,
    DataSpec,
    Evaluation,
    ModelSpec,
    NoiseSpec,
    OneCycle,
    Optimizer,
    Protocol,
    RunSpec,
    Spec,
    Steps,
    canonical,
    differences,
    fidelity,
)

STEPS: dict[str, Any] = {"kind": "steps", "lr": 0.1, "drops": [64_000, 96_000], "factor": 0.1}
ONE_CYCLE: dict[str, Any] = {"kind": "one-cycle", "lr": 0.1, "rise": 0.3, "start": 0.04, "end": 0.01}
PROTOCOL: dict[str, Any] = {
    "iterations": 160_000,
    "batch": 64,
    "schedule": STEPS,
    "optimizer": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
    "augmentation": {"mean": "image", "pad": 4, "flip": True},
    "evaluation": {"every": 4000, "images": None},
    "initialisation": "he-fan-in",
    "precision": "float32",
}
CIFAR10 = {
    "name": "cifar10",
    "checksum": "md5:c58f30108f718f92721af3b95e74349a",
    "train_images": 50_000,
    "test_images": 10_000,
}
RUN: dict[str, Any] = {
    "model": {"name": "attention-56", "learning": "residual", "attention": "mixed", "mask": "encoder-decoder"},
    "data": CIFAR10,
    "noise": None,
    "protocol": PROTOCOL,
    "seed": 0,
}

# Another value for every field of a cell. A field that is missing here fails a test.
CHANGES: tuple[tuple[str, Any], ...] = (
    ("model.name", "attention-92"),
    ("model.learning", "naive"),
    ("model.attention", "spatial"),
    ("model.mask", "local-convolutions"),
    ("model.p", 2),
    ("model.t", 5),
    ("model.r", 2),
    ("model.r_scales", "way-down"),
    ("data.name", "digits"),
    ("data.checksum", "md5:0"),
    ("data.train_images", 49_000),
    ("data.test_images", 9_999),
    ("data.input", 64),
    ("noise", {"rate": 0.1}),
    ("noise.rate", 0.3),
    ("protocol.iterations", 160_001),
    ("protocol.batch", 128),
    ("protocol.schedule", ONE_CYCLE),
    ("protocol.schedule.lr", 0.2),
    ("protocol.schedule.drops", [64_000]),
    ("protocol.schedule.factor", 0.2),
    ("protocol.optimizer.momentum", 0.8),
    ("protocol.optimizer.nesterov", False),
    ("protocol.optimizer.weight_decay", 0.0),
    ("protocol.augmentation.mean", "none"),
    ("protocol.augmentation.pad", 0),
    ("protocol.augmentation.flip", False),
    ("protocol.evaluation.every", 2000),
    ("protocol.evaluation.images", 512),
    ("protocol.initialisation", "he-fan-out"),
)
# 756 = 9 * 4 * 21 = 9 * 6 * 14 = 9 * 7 * 12: a depth that several p and t give. r_scales changes nothing where r is 1.
BASES: dict[str, dict[str, Any]] = {
    "noise.rate": {"noise": {"rate": 0.1}},
    "model.p": {"model__name": "attention-776"},
    "model.t": {"model__name": "attention-776"},
    "model.r_scales": {"model__r": 3},
}
# One value each is allowed today, so that there is none to change to.
SINGLE_VALUED = {"protocol.precision", "protocol.schedule.kind"}


def run_spec(**changes: Any) -> RunSpec:
    """The cell of table 3, Attention-56 residual, with fields changed by dotted path (``__`` for the dot)."""
    values = json.loads(json.dumps(RUN))
    for path, value in changes.items():
        *above, last = path.split("__")
        part = values
        for name in above:
            part[name] = part[name] or {}
            part = part[name]
        part[last] = value
    return RunSpec.model_validate(values)


def leaves(spec: BaseModel, path: str = "") -> set[str]:
    """Dotted paths of all fields of a spec and of the specs in it."""
    found: set[str] = set()
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        found |= leaves(value, f"{path}{name}.") if isinstance(value, Spec) else {f"{path}{name}"}
    return found


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_every_field_of_a_cell_enters_its_id(path: str, value: Any) -> None:
    base = BASES.get(path, {})
    before = run_spec(**base)

    after = run_spec(**base, **{path.replace(".", "__"): value})

    assert after.cell_id != before.cell_id
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize(("name", "value"), [("lr", 0.2), ("rise", 0.4), ("start", 0.05), ("end", 0.0)])
def test_every_field_of_a_one_cycle_schedule_enters_the_id(name: str, value: float) -> None:
    before = run_spec(protocol__schedule=ONE_CYCLE)

    after = run_spec(protocol__schedule={**ONE_CYCLE, name: value})

    assert after.cell_id != before.cell_id


def test_the_table_of_changes_has_every_field() -> None:
    fields = leaves(run_spec()) | leaves(run_spec(noise={"rate": 0.1}))

    changed = {path for path, _ in CHANGES}

    assert fields - SINGLE_VALUED - {"seed"} == changed - {"protocol.schedule"}
    assert set(OneCycle.model_fields) == {"kind", "lr", "rise", "start", "end"}


def test_all_changes_give_different_ids() -> None:
    ids = {run_spec(**BASES.get(path, {}), **{path.replace(".", "__"): value}).cell_id for path, value in CHANGES}

    assert len(ids) == len(CHANGES)


def test_the_seed_changes_the_fingerprint_only() -> None:
    first, second = run_spec(seed=0), run_spec(seed=1)

    assert first.cell_id == second.cell_id
    assert first.fingerprint != second.fingerprint


def test_every_field_of_a_run_stands_in_one_list_of_its_identity() -> None:
    assert sorted((*CELL_FIELDS, *SEED_FIELDS)) == sorted(RunSpec.model_fields)


# Adding a field here means to have decided: required, or optional with a default that leaves older results as they are.
FIELDS: dict[type[Spec], tuple[str, ...]] = {
    ModelSpec: ("name", "learning", "attention", "mask", "p", "t", "r", "r_scales"),
    DataSpec: ("name", "checksum", "train_images", "test_images", "input"),
    NoiseSpec: ("rate",),
    Steps: ("kind", "lr", "drops", "factor"),
    OneCycle: ("kind", "lr", "rise", "start", "end"),
    Optimizer: ("momentum", "nesterov", "weight_decay"),
    Augmentation: ("mean", "pad", "flip"),
    Evaluation: ("every", "images"),
    Protocol: (
        "iterations",
        "batch",
        "schedule",
        "optimizer",
        "augmentation",
        "evaluation",
        "initialisation",
        "precision",
    ),
    RunSpec: ("model", "data", "noise", "protocol", "seed"),
}


def test_the_fields_of_every_spec_are_decided_on() -> None:
    found = {
        kind: tuple(kind.model_fields) for kind in Spec.__subclasses__() if kind.__module__.startswith("ranbench.spec.")
    }

    assert found == FIELDS


def test_the_id_of_a_cell_never_moves() -> None:
    """Databases hold results under this id. If it moves, every result that exists is orphaned and trained anew.

    So a change of this text or hash is a break of compatibility and belongs in the changelog.
    """
    run = run_spec()

    text = canonical({name: getattr(run, name) for name in CELL_FIELDS})

    assert text == (
        '{"data":{"checksum":"md5:c58f30108f718f92721af3b95e74349a","name":"cifar10","test_images":10000,'
        '"train_images":50000},"model":{"attention":"mixed","learning":"residual","mask":"encoder-decoder",'
        '"name":"attention-56"},"noise":null,"protocol":{"augmentation":{"flip":true,"mean":"image","pad":4},'
        '"batch":64,"evaluation":{"every":4000},"initialisation":"he-fan-in","iterations":160000,'
        '"optimizer":{"momentum":0.9,"nesterov":true,"weight_decay":0.0001},"precision":"float32",'
        '"schedule":{"drops":[64000,96000],"factor":0.1,"kind":"steps","lr":0.1}}}'
    )
    assert run.cell_id == "9a62defdad0a896017f53d8a01e46a66fb591f70227436e3cd5521d649177486"
    assert run.fingerprint == "32e095353a6965439f9d375675f26865840e53c405b502a03d60dfbd3f107620"


def test_a_whole_number_and_its_float_are_the_same_cell() -> None:
    whole, with_point = run_spec(protocol__schedule__lr=1), run_spec(protocol__schedule__lr=1.0)

    assert whole.cell_id == with_point.cell_id


def test_zero_and_minus_zero_are_the_same_cell() -> None:
    plus = run_spec(protocol__optimizer__weight_decay=0.0)
    minus = run_spec(protocol__optimizer__weight_decay=-0.0)

    assert plus.cell_id == minus.cell_id


def test_an_option_that_is_spelled_out_or_left_to_its_default_is_the_same_cell() -> None:
    assert run_spec(model={"name": "attention-56"}).cell_id == run_spec().cell_id


@pytest.mark.parametrize("spelled", [{"r": 2}, {"r": 3, "r_scales": "way-down"}])
def test_what_local_convolutions_do_not_use_makes_no_other_cell(spelled: dict[str, Any]) -> None:
    plain = run_spec(model={"name": "attention-56", "mask": "local-convolutions"})

    assert run_spec(model={"name": "attention-56", "mask": "local-convolutions", **spelled}).cell_id == plain.cell_id


@pytest.mark.parametrize("spelled", [{"p": 1}, {"t": 2, "r": 1}, {"r_scales": "both-ways"}, {"r_scales": "way-down"}])
def test_what_the_name_implies_may_be_spelled_out_or_not(spelled: dict[str, Any]) -> None:
    assert run_spec(model={"name": "attention-56", **spelled}).cell_id == run_spec().cell_id


def test_the_usual_input_size_may_be_spelled_out_or_not() -> None:
    assert DataSpec.of("imagenet", input=224) == DataSpec.of("imagenet")
    assert DataSpec.of("imagenet", input=320).shape == (3, 320, 320)


@pytest.mark.parametrize(
    ("dataset", "side", "message"),
    [
        ("cifar10", 64, "dataset 'cifar10' has images of 32x32, got input 64"),
        ("imagenet", 0, "dataset 'imagenet': input 0 is not allowed (allowed: 1 to 4096 pixels)"),
        ("imagenet", 5000, "dataset 'imagenet': input 5000 is not allowed (allowed: 1 to 4096 pixels)"),
    ],
)
def test_an_input_size_that_does_not_fit_is_refused(dataset: str, side: int, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        DataSpec.of(dataset, input=side)

    assert str(refused.value) == message


def test_a_run_that_is_stored_and_read_again_is_equal_and_keeps_its_ids() -> None:
    run = run_spec(noise={"rate": 0.1})

    again = RunSpec.model_validate(json.loads(run.model_dump_json()))

    assert again == run
    assert (again.cell_id, again.fingerprint) == (run.cell_id, run.fingerprint)


def test_a_changed_copy_has_its_own_ids() -> None:
    run = run_spec()
    before = run.cell_id, run.fingerprint

    copy = run.model_copy(update={"seed": 1})

    assert copy.fingerprint == run_spec(seed=1).fingerprint
    assert (run.cell_id, run.fingerprint) == before


def test_a_changed_copy_is_checked() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        run_spec().protocol.model_copy(update={"iterations": -1})


def test_specs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        run_spec().seed = 1  # type: ignore[misc]


WRONG: tuple[tuple[str, Any], ...] = (
    ("seed", True),
    ("seed", -1),
    ("seed", 2**31),
    ("seed", "0"),
    ("seed", 0.0),
    ("protocol__batch", True),
    ("protocol__batch", "5"),
    ("protocol__batch", 0),
    ("protocol__iterations", 1.5),
    ("protocol__iterations", -5),
    ("protocol__schedule__lr", "0.1"),
    ("protocol__schedule__lr", True),
    ("protocol__schedule__lr", math.nan),
    ("protocol__schedule__lr", math.inf),
    ("protocol__schedule__lr", 0.0),
    ("protocol__schedule__drops", [96_000, 64_000]),
    ("protocol__schedule__drops", [64_000, 64_000]),
    ("protocol__schedule__drops", [160_000]),
    ("protocol__schedule__drops", [0]),
    ("protocol__schedule__drops", [True]),
    ("protocol__schedule__drops", 5),
    ("protocol__schedule__kind", "cosine"),
    ("protocol__optimizer__nesterov", 1),
    ("protocol__optimizer__momentum", 1.0),
    ("protocol__optimizer__momentum", 0.0),
    ("protocol__optimizer__weight_decay", -1e-4),
    ("protocol__augmentation__pad", 17),
    ("protocol__augmentation__pad", 4.0),
    ("protocol__evaluation__images", 0),
    ("protocol__precision", "bfloat16"),
    ("protocol__unknown", 1),
    ("noise", {"rate": 0.0}),
    ("noise", {"rate": 1.0}),
    ("model__learning", "naiv"),
    ("model__learning", 5),
    ("model__name", "attention-57"),
    ("model__name", "attention-5\u0666"),
    ("model__name", "attention-056"),
    ("model__name", 5),
    ("model__depth", 56),
    ("data__train_images", 0),
)


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_no_spec_holds_a_wrong_value(path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        run_spec(**{path: value})


def test_drops_may_be_given_as_a_list() -> None:
    steps = Steps.model_validate(STEPS)

    assert steps.drops == (64_000, 96_000)


def test_a_net_without_options_has_none() -> None:
    net = ModelSpec.model_validate({"name": "resnet-164"})

    assert net.options == {}
    assert net.modules_per_stage is None


def test_an_attention_net_has_all_its_options_and_its_modules() -> None:
    net = ModelSpec.model_validate({"name": "attention-164", "learning": "naive"})

    assert net.options == {"learning": "naive", "attention": "mixed", "mask": "encoder-decoder"}
    assert net.modules_per_stage == 4


def test_a_dataset_is_described_by_its_facts() -> None:
    assert DataSpec.of("cifar10") == DataSpec.model_validate(CIFAR10)
    assert (DataSpec.of("digits", 200, 100).train_images, DataSpec.of("digits", 200, 100).test_images) == (200, 100)


@pytest.mark.parametrize(
    ("name", "train", "test", "message"),
    [
        ("cifar10", 100, 100, "dataset 'cifar10' has a fixed split of 50000/10000, got 100/100"),
        (
            "digits",
            1_437,
            361,
            "dataset 'digits': the split 1437/361 must leave at least 10 images on either side and sum to at most 1797",
        ),
        (
            "digits",
            9,
            360,
            "dataset 'digits': the split 9/360 must leave at least 10 images on either side and sum to at most 1797",
        ),
        (
            "digit",
            None,
            None,
            "dataset 'digit' is not known; did you mean 'digits'? (allowed: cifar10, cifar100, imagenet, digits)",
        ),
    ],
)
def test_a_split_that_a_dataset_does_not_have_is_refused(
    name: str, train: int | None, test: int | None, message: str
) -> None:
    with pytest.raises(SpecError) as refused:
        DataSpec.of(name, train, test)

    assert str(refused.value) == message


def test_differences_are_told_in_words() -> None:
    reference = run_spec().protocol
    changed = run_spec(
        protocol__iterations=60_000,
        protocol__schedule=ONE_CYCLE,
        protocol__optimizer__nesterov=False,
        protocol__evaluation__images=512,
    ).protocol

    assert differences(changed, reference) == (
        "iterations 60000 instead of 160000",
        "schedule end 0.01, kind one-cycle, lr 0.1, rise 0.3, start 0.04 instead of "
        "drops [64000, 96000], factor 0.1, kind steps, lr 0.1",
        "optimizer.nesterov False instead of True",
        "evaluation.images 512 instead of all",
    )
    assert differences(reference, reference) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "full"),
        ({"protocol__batch": 128}, "scaled"),
        ({"protocol__initialisation": "he-fan-out"}, "scaled"),
        ({"protocol__iterations": 782, "protocol__schedule__drops": []}, "scaled"),
        ({"protocol__iterations": 781, "protocol__schedule__drops": []}, "smoke"),
        ({"protocol__evaluation__images": 9_999}, "smoke"),
    ],
)
def test_fidelity_is_computed_from_the_difference_to_the_reference(changes: dict[str, Any], expected: str) -> None:
    run, reference = run_spec(**changes), run_spec()

    assert fidelity(run.protocol, reference.protocol, run.data) == expected
