"""Identity and strictness of specs: what changes a cell's id, what never does, and what no spec can hold."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ranbench.errors import SpecError
from ranbench.spec import (
    CELL_FIELDS,
    COMPARED,
    SEED_FIELDS,
    Augmentation,
    Cosine,
    DataSpec,
    Evaluation,
    Facts,
    ModelSpec,
    NoiseSpec,
    OneCycle,
    Optimizer,
    Protocol,
    RunSpec,
    Spec,
    Steps,
    WarmUp,
    canonical,
    check_protocol,
    differences,
    fidelity,
)

STEPS: dict[str, Any] = {"kind": "steps", "lr": 0.1, "drops": [64_000, 96_000], "factor": 0.1}
ONE_CYCLE: dict[str, Any] = {"kind": "one-cycle", "lr": 0.1, "rise": 0.3, "start": 0.04, "end": 0.01}
COSINE: dict[str, Any] = {"kind": "cosine", "lr": 0.1, "end": 0.01}
WARM_UP: dict[str, Any] = {"iterations": 500, "start": 0.1}
CROP: dict[str, Any] = {"mean": "channel", "pad": 0, "flip": True, "scale": [0.08, 1], "aspect": [0.75, 1.25]}
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
OWN: dict[str, Any] = {
    "name": "mydata:photos",
    "checksum": f"sha256:{'5' * 64}",
    "train_images": 200,
    "test_images": 100,
    "facts": {"form": "cifar", "shape": [3, 32, 32], "classes": 10},
}
FOLDER: dict[str, Any] = {
    **OWN,
    "name": "imagefolder",
    "facts": {**OWN["facts"], "mean": [0.4, 0.5, 0.5], "std": [0.2, 0.25, 0.25]},
}
WITHOUT: dict[str, Any] = {
    "name": "imagenet",
    "checksum": "md5:0",
    "train_images": 200,
    "test_images": 100,
    "skip": ["damaged"],
    "skipped": f"sha256:{'6' * 64}",
}
# what images of many sizes need
SQUARE: dict[str, Any] = {
    "protocol__augmentation": CROP,
    "protocol__evaluation__resize": 40,
    "protocol__evaluation__crop": 32,
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
    ("model.spatial_std", "unbiased"),
    ("model.unit_order", "post-activation"),
    ("data.name", "digits"),
    ("data.checksum", "md5:0"),
    ("data.train_images", 49_000),
    ("data.test_images", 9_999),
    ("data.input", 64),
    ("data.facts.form", "digits"),
    ("data.facts.shape", [3, 32, 48]),
    ("data.facts.classes", 26),
    ("data.facts.mean", [0.5, 0.5, 0.5]),
    ("data.facts.std", [0.25, 0.25, 0.25]),
    ("data.skip", ["damaged"]),
    ("data.skipped", f"sha256:{'7' * 64}"),
    ("noise", {"rate": 0.1}),
    ("noise.rate", 0.3),
    ("noise.drawn", "each-epoch"),
    ("protocol.iterations", 160_001),
    ("protocol.batch", 128),
    ("protocol.schedule", ONE_CYCLE),
    ("protocol.schedule.lr", 0.2),
    ("protocol.schedule.drops", [64_000]),
    ("protocol.schedule.factor", 0.2),
    ("protocol.schedule.warm_up", WARM_UP),
    ("protocol.schedule.warm_up.iterations", 400),
    ("protocol.schedule.warm_up.start", 0.2),
    ("protocol.optimizer.momentum", 0.8),
    ("protocol.optimizer.nesterov", False),
    ("protocol.optimizer.weight_decay", 0.0),
    ("protocol.optimizer.decay_norm", False),
    ("protocol.augmentation.mean", "none"),
    ("protocol.augmentation.pad", 0),
    ("protocol.augmentation.flip", False),
    ("protocol.augmentation.std", "channel"),
    ("protocol.augmentation.order", "pad-then-subtract"),
    ("protocol.augmentation.scale", [0.1, 1.0]),
    ("protocol.augmentation.aspect", [1.0, 1.0]),
    ("protocol.augmentation.colour", "pca"),
    ("protocol.evaluation.every", 2000),
    ("protocol.evaluation.images", 512),
    ("protocol.evaluation.resize", 40),
    ("protocol.evaluation.crop", 28),
    ("protocol.initialisation", "he-fan-out"),
    ("protocol.precision", "bf16"),
    ("protocol.last_batch", "partial"),
    ("protocol.norm_batch", 16),
)
# 756 = 9 * 4 * 21 = 9 * 6 * 14 = 9 * 7 * 12: a depth that several p and t give. r_scales changes nothing where r is 1.
BASES: dict[str, dict[str, Any]] = {
    "noise.rate": {"noise": {"rate": 0.1}},
    "noise.drawn": {"noise": {"rate": 0.1}},
    "model.p": {"model__name": "attention-776"},
    "model.t": {"model__name": "attention-776"},
    "model.r_scales": {"model__r": 3},
    "model.spatial_std": {"model__attention": "spatial"},
    "protocol.schedule.warm_up.iterations": {"protocol__schedule__warm_up": WARM_UP},
    "protocol.schedule.warm_up.start": {"protocol__schedule__warm_up": WARM_UP},
    "protocol.augmentation.scale": {"protocol__augmentation": CROP},
    "protocol.augmentation.aspect": {"protocol__augmentation": CROP},
    **{f"data.facts.{key}": {"data": OWN} for key in ("form", "shape", "classes")},
    **{path: {"data": FOLDER, **SQUARE} for path in ("data.facts.mean", "data.facts.std", "data.skip")},
    "data.skipped": {"data": WITHOUT, **SQUARE},
    # a mean image fits whole images only
    "protocol.evaluation.resize": {"protocol__augmentation__mean": "channel"},
    "protocol.evaluation.crop": {"protocol__augmentation__mean": "channel"},
}
# The kind of a schedule changes with all of it.
SINGLE_VALUED = {"protocol.schedule.kind"}


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``values`` with fields changed by dotted path (``__`` for the dot)."""
    copied = copy.deepcopy(values)
    for path, value in changes.items():
        *above, last = path.split("__")
        part = copied
        for name in above:
            part[name] = part[name] or {}
            part = part[name]
        part[last] = copy.deepcopy(value)
    return copied


def run_spec(**changes: Any) -> RunSpec:
    """The cell of table 3, Attention-56 residual, with changes."""
    return RunSpec.model_validate(changed(RUN, changes))


def protocol_spec(**changes: Any) -> Protocol:
    """The protocol of table 3 with changes."""
    return Protocol.model_validate(changed(PROTOCOL, changes))


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


# The same for the schedules that RUN does not have.
SCHEDULE_CHANGES: tuple[tuple[dict[str, Any], str, Any], ...] = (
    (ONE_CYCLE, "lr", 0.2),
    (ONE_CYCLE, "rise", 0.4),
    (ONE_CYCLE, "start", 0.05),
    (ONE_CYCLE, "end", 0.0),
    (COSINE, "lr", 0.2),
    (COSINE, "end", 0.0),
    (COSINE, "warm_up", WARM_UP),
)


@pytest.mark.parametrize(("schedule", "name", "value"), SCHEDULE_CHANGES)
def test_every_field_of_a_schedule_enters_the_id(schedule: dict[str, Any], name: str, value: Any) -> None:
    before = run_spec(protocol__schedule=schedule)

    after = run_spec(protocol__schedule={**schedule, name: value})

    assert after.cell_id != before.cell_id


def test_the_table_of_changes_has_every_field() -> None:
    warmed = run_spec(protocol__schedule__warm_up=WARM_UP)
    fields = leaves(run_spec()) | leaves(run_spec(noise={"rate": 0.1})) | leaves(warmed) | leaves(run_spec(data=OWN))

    changed = {path for path, _ in CHANGES}

    assert fields - SINGLE_VALUED - {"seed", "data.facts"} == changed - {"protocol.schedule"}
    for schedule, kind in ((ONE_CYCLE, OneCycle), (COSINE, Cosine)):
        assert {"kind", *(name for of, name, _ in SCHEDULE_CHANGES if of is schedule)} == set(kind.model_fields)


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
    ModelSpec: ("name", "learning", "attention", "mask", "p", "t", "r", "r_scales", "spatial_std", "unit_order"),
    Facts: ("form", "shape", "classes", "mean", "std"),
    DataSpec: ("name", "checksum", "train_images", "test_images", "input", "facts", "skip", "skipped"),
    NoiseSpec: ("rate", "drawn"),
    WarmUp: ("iterations", "start"),
    Steps: ("kind", "lr", "drops", "factor", "warm_up"),
    Cosine: ("kind", "lr", "end", "warm_up"),
    OneCycle: ("kind", "lr", "rise", "start", "end"),
    Optimizer: ("momentum", "nesterov", "weight_decay", "decay_norm"),
    Augmentation: ("mean", "pad", "flip", "std", "order", "scale", "aspect", "colour"),
    Evaluation: ("every", "images", "resize", "crop"),
    Protocol: (
        "iterations",
        "batch",
        "schedule",
        "optimizer",
        "augmentation",
        "evaluation",
        "initialisation",
        "precision",
        "last_batch",
        "norm_batch",
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


@pytest.mark.parametrize(
    "spelled",
    [
        {"p": 1},
        {"t": 2, "r": 1},
        {"r_scales": "both-ways"},
        {"r_scales": "way-down"},
        {"unit_order": "pre-activation"},
    ],
)
def test_what_the_name_implies_may_be_spelled_out_or_not(spelled: dict[str, Any]) -> None:
    assert run_spec(model={"name": "attention-56", **spelled}).cell_id == run_spec().cell_id


@pytest.mark.parametrize(("attention", "std"), [("mixed", "unbiased"), ("channel", "unbiased"), ("spatial", "biased")])
def test_a_deviation_that_is_the_usual_one_or_that_nothing_uses_makes_no_other_cell(attention: str, std: str) -> None:
    plain, spelled = ({"name": "attention-56", "attention": attention, **more} for more in ({}, {"spatial_std": std}))

    assert run_spec(model=spelled).cell_id == run_spec(model=plain).cell_id


def test_noise_that_is_drawn_once_may_be_spelled_out_or_not() -> None:
    assert run_spec(noise={"rate": 0.1, "drawn": "once"}).cell_id == run_spec(noise={"rate": 0.1}).cell_id


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


def test_a_run_with_another_seed_is_the_same_cell() -> None:
    run = run_spec(noise={"rate": 0.1})

    other = run.with_seed(3)

    assert other == run_spec(noise={"rate": 0.1}, seed=3)
    assert (other.cell_id, other.fingerprint) == (run.cell_id, run_spec(noise={"rate": 0.1}, seed=3).fingerprint)
    assert json.loads(other.model_dump_json()) == {**json.loads(run.model_dump_json()), "seed": 3}


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_run_cannot_be_given_a_seed_that_there_is_not(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed} must be between 0 and 2147483647"):
        run_spec().with_seed(seed)


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
    ("protocol__schedule__kind", "linear"),
    ("protocol__schedule__warm_up", 500),
    ("protocol__schedule__warm_up", {"iterations": 500}),
    ("protocol__schedule__warm_up", {"iterations": 0, "start": 0.1}),
    ("protocol__schedule__warm_up", {"iterations": 160_000, "start": 0.1}),
    ("protocol__schedule__warm_up", {"iterations": 500, "start": 0.0}),
    ("protocol__schedule__warm_up", {"iterations": 500, "start": 1.1}),
    ("protocol__schedule", {**ONE_CYCLE, "warm_up": WARM_UP}),
    ("protocol__schedule", {**COSINE, "end": 1.1}),
    ("protocol__schedule", {**COSINE, "end": -0.1}),
    ("protocol__schedule", {**COSINE, "warm_up": {"iterations": 160_000, "start": 0.1}}),
    ("protocol__optimizer__nesterov", 1),
    ("protocol__optimizer__momentum", 1.0),
    ("protocol__optimizer__momentum", 0.0),
    ("protocol__optimizer__weight_decay", -1e-4),
    ("protocol__augmentation__pad", 17),
    ("protocol__augmentation__pad", 4.0),
    ("protocol__optimizer__decay_norm", "yes"),
    ("protocol__augmentation__mean", "pixel"),
    ("protocol__augmentation__std", "image"),
    ("protocol__augmentation__order", "pad"),
    ("protocol__augmentation__colour", "jitter"),
    ("protocol__augmentation", {**CROP, "scale": None}),
    ("protocol__augmentation", {**CROP, "aspect": None}),
    ("protocol__augmentation", {**CROP, "pad": 4}),
    ("protocol__augmentation", {**CROP, "mean": "image"}),
    ("protocol__augmentation", {**CROP, "scale": [0.5]}),
    ("protocol__augmentation", {**CROP, "scale": [0.1, 0.5, 1.0]}),
    ("protocol__augmentation", {**CROP, "scale": 0.5}),
    ("protocol__augmentation", {**CROP, "scale": [0.0, 1.0]}),
    ("protocol__augmentation", {**CROP, "scale": [0.5, 1.1]}),
    ("protocol__augmentation", {**CROP, "scale": [1.0, 0.5]}),
    ("protocol__augmentation", {**CROP, "scale": ["0.5", 1.0]}),
    ("protocol__augmentation", {**CROP, "aspect": [1.5, 0.5]}),
    ("protocol__augmentation", {**CROP, "order": "pad-then-subtract"}),
    ("protocol__augmentation", {"mean": "none", "pad": 4, "flip": True, "order": "pad-then-subtract"}),
    ("protocol__evaluation__images", 0),
    ("protocol__evaluation__resize", 40),  # with a mean image
    ("protocol__evaluation__crop", 32),
    ("protocol__evaluation", {"every": 1, "crop": 0}),
    ("protocol__evaluation", {"every": 1, "resize": 4097}),
    ("protocol__last_batch", "fill"),
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
            "dataset 'digit' is not known; did you mean 'digits'? "
            "(allowed: cifar10, cifar100, imagenet, digits, imagefolder, package.module:factory)",
        ),
    ],
)
def test_a_split_that_a_dataset_does_not_have_is_refused(
    name: str, train: int | None, test: int | None, message: str
) -> None:
    with pytest.raises(SpecError) as refused:
        DataSpec.of(name, train, test)

    assert str(refused.value) == message


def test_a_dataset_of_a_user_s_own_brings_its_facts_and_its_id_never_moves() -> None:
    spec = run_spec(data=OWN)

    assert (spec.data.shape, spec.data.info.num_classes, spec.data.factory) == ((3, 32, 32), 10, "mydata:photos")
    assert RunSpec.model_validate(json.loads(spec.model_dump_json())) == spec
    assert canonical(spec.data) == (
        f'{{"checksum":"sha256:{"5" * 64}","facts":{{"classes":10,"form":"cifar","shape":[3,32,32]}},'
        '"name":"mydata:photos","test_images":100,"train_images":200}'
    )
    assert spec.cell_id == "a88f951ba67e69736bd3efe54c45f9b3b0d5e1a0c936538b4733abdb89e580fd"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"facts": None}, "dataset 'mydata:photos' is a user's own, and its facts are missing"),
        ({"name": "cifar10"}, "dataset 'cifar10' has facts, and is not named package.module:factory or imagefolder"),
        (
            {"name": "timm:photos"},
            "dataset 'timm:photos' has facts, and is not named package.module:factory or imagefolder",
        ),
        ({"checksum": "md5:0"}, "expected sha256: and 64 digits from 0 to f, got 'md5:0'"),
        ({"input": 32}, "dataset 'mydata:photos': a user's own images have one size, got input 32"),
        ({"facts__shape": [32, 32]}, "expected three numbers: channels, height and width"),
        ({"facts__classes": 65_537}, "Input should be less than or equal to 65536"),
    ],
)
def test_a_dataset_of_a_user_s_own_that_does_not_hold_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DataSpec.model_validate(changed(OWN, changes))

    assert message in str(refused.value)


# The fields of a protocol that are changed, and the words for it.
DIFFERENCES: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, ()),
    (
        {
            "iterations": 100_000,
            "optimizer__nesterov": False,
            "evaluation__images": 512,
            "last_batch": "partial",
        },
        (
            "iterations 100000 instead of 160000",
            "last_batch partial instead of run-on",
            "optimizer.nesterov False instead of True",
            "evaluation.images 512 instead of all",
        ),
    ),
    (
        {"schedule": ONE_CYCLE},
        (
            "schedule end 0.01, kind one-cycle, lr 0.1, rise 0.3, start 0.04 instead of "
            "drops [64000, 96000], factor 0.1, kind steps, lr 0.1",
        ),
    ),
    (
        {"schedule": {**COSINE, "warm_up": WARM_UP}},
        (
            "schedule end 0.01, kind cosine, lr 0.1, warm_up (iterations 500, start 0.1) instead of "
            "drops [64000, 96000], factor 0.1, kind steps, lr 0.1",
        ),
    ),
    ({"schedule__warm_up": WARM_UP}, ("schedule.warm_up iterations 500, start 0.1 instead of none",)),
    ({"schedule__drops": []}, ("schedule.drops none instead of 64000, 96000",)),
    ({"optimizer__decay_norm": False}, ("optimizer.decay_norm False instead of True",)),
    (
        {"augmentation": CROP},
        (
            "augmentation.mean channel instead of image",
            "augmentation.pad 0 instead of 4",
            "augmentation.scale 0.08, 1.0 instead of none",
            "augmentation.aspect 0.75, 1.25 instead of none",
        ),
    ),
    (
        {"augmentation__mean": "channel", "evaluation__resize": 40, "evaluation__crop": 32},
        (
            "augmentation.mean channel instead of image",
            "evaluation.resize 40 instead of none",
            "evaluation.crop 32 instead of none",
        ),
    ),
    ({"precision": "bf16"}, ()),
)


@pytest.mark.parametrize(("changes", "expected"), DIFFERENCES)
def test_differences_are_told_in_words(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = differences(protocol_spec(**changes), protocol_spec())

    assert found == expected


def test_differences_within_a_warm_up_are_told_key_by_key() -> None:
    ours = protocol_spec(schedule__warm_up={**WARM_UP, "start": 0.2})

    found = differences(ours, protocol_spec(schedule__warm_up=WARM_UP))

    assert found == ("schedule.warm_up.start 0.2 instead of 0.1",)


def test_every_field_of_a_protocol_but_precision_is_compared() -> None:
    assert {*COMPARED, "precision"} == set(Protocol.model_fields)


MANY_SIZES = (
    "the images of 'imagenet' have many sizes, so augmentation.scale, evaluation.resize and evaluation.crop are needed"
)
# A dataset, changes of the protocol that it cannot be used with, and the refusal.
UNFIT: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("imagenet", {}, MANY_SIZES),
    ("imagenet", {"augmentation": CROP}, MANY_SIZES),
    ("imagenet", {"augmentation": CROP, "evaluation__crop": 224}, MANY_SIZES),
    (
        "digits",
        {"augmentation__colour": "pca"},
        "augmentation.colour pca needs images of three channels, and those of 'digits' have 1",
    ),
    (
        "cifar10",
        {"augmentation__mean": "channel", "evaluation__crop": 40},
        "evaluation.crop 40 is larger than the images of 'cifar10', 32x32; add evaluation.resize",
    ),
    (
        "digits",
        {"last_batch": "drop", "batch": 2_000},
        "last_batch drop leaves nothing: 1437 training images fill no batch of 2000",
    ),
)


@pytest.mark.parametrize(("dataset", "changes", "message"), UNFIT)
def test_a_protocol_that_a_dataset_cannot_be_used_with_is_refused(
    dataset: str, changes: dict[str, Any], message: str
) -> None:
    protocol = protocol_spec(**changes)
    data = DataSpec.of(dataset)

    with pytest.raises(SpecError) as refused:
        check_protocol(protocol, data)
    with pytest.raises(ValidationError) as invalid:
        RunSpec(model=ModelSpec(name="attention-56"), data=data, noise=None, protocol=protocol, seed=0)

    assert str(refused.value) == message
    assert message in str(invalid.value)


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
