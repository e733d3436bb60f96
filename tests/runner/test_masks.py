"""Soft masks of done runs: from the final weights that were kept, on the same test images, or refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from ranbench.data import load as load_data
from ranbench.errors import CheckpointError, NothingMeasured, RanbenchError, SpecError, UsageError
from ranbench.models import build
from ranbench.records import RunRecord
from ranbench.runner import How, RunMasks, masks_of, run
from ranbench.runner.masks import first_of_classes
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import load_suite

OWN = """\
from torch import nn

from ranbench.models.attention import AttentionModule


def masked(shape, num_classes):
    return nn.Sequential(
        nn.Conv2d(shape[0], 8, 3, padding=1),
        AttentionModule(8, 1),
        AttentionModule(8, 2, attention="channel"),
        nn.MaxPool2d(2),
        AttentionModule(8, 1),
        nn.Flatten(),
        nn.Linear(8 * 16, num_classes),
    )


def bare(shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""
CELLS = """\
cells:
  fixed: {{dataset: digits}}
  include: [{cells}]
"""
NETS = "{model: attention-56}, {model: attention-56, attention: channel}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Iterator[Path]:
    """A folder in which nets were trained, ours and a user's own, of which one has no masks."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "protocols" / "part.yaml").write_text(
        tiny_texts[1].replace("{every: 3}", "{every: 6, images: 30}").replace("iterations: 6", "iterations: 3")
    )
    (folder / "own.py").write_text(OWN)
    own = "{model: 'own:masked'}, {model: 'own:bare'}"
    with pytest.MonkeyPatch.context() as patch, Store.open(f"sqlite:///{folder}/results/ranbench.db") as store:
        patch.chdir(folder)
        train(folder, tiny_texts[0], store, f"{NETS}, {own}")
        train(folder, tiny_texts[0], store, "{model: attention-56}", "part")
        text = tiny_texts[0].replace("test: 100", "test: 50")
        train(folder, text, store, "{model: attention-56, learning: naive}")
    yield folder
    sys.modules.pop("own", None)


def train(folder: Path, text: str, store: Store, cells: str, protocol: str = "tiny") -> None:
    file = folder / "tiny.yaml"
    head = text.split("cells:", maxsplit=1)[0].replace("seeds: 2", "seeds: 1")
    file.write_text(head.replace("\nprotocol: tiny", f"\nprotocol: {protocol}") + CELLS.format(cells=cells))
    how = How(trust_imports=True)
    assert run(load_suite(file), store, data=folder, results=folder / "results", how=how).failed == 0


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{folder}/results/ranbench.db") as store:
        yield store


def records(store: Store, *nets: str, **options: object) -> list[RunRecord]:
    """The runs of nets, told apart by what else of their specs is given."""
    found = {
        record.spec["model"]["name"]: record
        for record in store.runs()
        if record.spec["protocol"]["iterations"] == options.get("iterations", 6)
        and record.spec["model"].get("attention") in (None, options.get("attention", "mixed"))
        and record.spec["model"].get("learning") in (None, options.get("learning", "residual"))
    }
    return [found[net] for net in nets]


def taken(
    runs: Sequence[RunRecord],
    store: Store,
    folder: Path,
    images: Sequence[int] | None = None,
    *,
    trust_imports: bool = False,
    results: str = "results",
) -> list[RunMasks]:
    return masks_of(runs, store, data=folder, results=folder / results, images=images, trust_imports=trust_imports)


def test_masks_are_made_from_the_kept_weights_on_the_images_as_they_are_tested(store: Store, folder: Path) -> None:
    runs = [*records(store, "attention-56"), *records(store, "attention-56", attention="channel")]
    spec = RunSpec.model_validate(dict(runs[1].spec))
    data = load_data(spec.data, folder)
    assert runs[1].counted is not None
    (kept,) = (file for file in store.artefacts([runs[1].counted.id]) if file.kind == "weights")
    net = build("attention-56", spec.model.options, (1, 8, 8), 10, form="digits").eval()
    net.load_state_dict(load((folder / "results" / kept.path).read_bytes()))
    mean = data.train_images.double().mean(dim=0) / 255
    x = data.test_images[[7, 40]].float() / 255 - mean.float()
    with torch.no_grad():
        module = net.stages[0][1]  # type: ignore[index, union-attr]
        mask = module.mask(module.before(net.stages[0][0](net.stem(x))))  # type: ignore[index, union-attr, operator]

    found = taken(runs, store, folder, [7, 40])

    first, second = found
    assert [image.index for image in first.images] == [image.index for image in second.images] == [7, 40]
    assert [image.label for image in first.images] == data.test_labels[[7, 40]].tolist()
    assert np.array_equal(first.images[1].pixels[:, :, 0], (data.test_images[40, 0].float() / 255).numpy())
    assert [(one.stage, one.attention) for one in second.masked.modules] == [(1, "channel"), (2, "channel")]
    assert second.masked.modules[0].mask == pytest.approx(mask.double().mean(dim=1).numpy(), rel=1e-5, abs=1e-6)
    assert not np.allclose(first.masked.modules[0].mask, second.masked.modules[0].mask)


def test_the_first_image_of_each_of_the_first_classes_is_taken_where_none_is_named(store: Store, folder: Path) -> None:
    runs = records(store, "attention-56")
    labels = load_data(RunSpec.model_validate(dict(runs[0].spec)).data, folder).test_labels.tolist()

    (found,) = taken(runs, store, folder)

    assert [image.index for image in found.images] == [labels.index(label) for label in range(5)]
    assert first_of_classes([3, 3, 0, 7]) == [2, 0, 3]


def test_a_user_s_own_net_has_its_attention_modules_taken_by_the_shape_of_their_masks(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    (found,) = taken(records(store, "own:masked"), store, folder, [0], trust_imports=True)

    assert [(one.stage, one.module, one.attention, one.shape) for one in found.masked.modules] == [
        (1, 1, "mixed", (8, 8, 8)),
        (1, 2, "channel", (8, 8, 8)),
        (2, 1, "mixed", (8, 4, 4)),
    ]


@pytest.mark.parametrize(
    ("net", "told"),
    [
        (
            "resnet-164",
            "'resnet-164' has no soft masks (allowed: runs of nets with attention modules, such as attention-56; "
            "'ranbench runs' lists runs)",
        ),
        ("timm:resnet18", "'timm:resnet18' has no soft masks (allowed: "),
    ],
)
def test_a_net_without_masks_is_refused_before_anything_of_it_is_read(
    store: Store, folder: Path, net: str, told: str
) -> None:
    (masked,) = records(store, "attention-56")
    spec = RunSpec.model_validate({**masked.spec, "model": {"name": net}})
    planned = RunRecord(spec.fingerprint, spec.cell_id, spec.seed, spec.model_dump(mode="json"), ())

    with pytest.raises(SpecError) as refused:
        taken([masked, planned], store, folder)

    assert str(refused.value).startswith(f"run {spec.fingerprint[:12]}: {told}")
    assert str(refused.value).count("\n") == 0


def test_a_user_s_own_net_without_masks_is_refused(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    with pytest.raises(SpecError, match="own:bare: net 'Sequential': has no attention modules, and so no soft masks"):
        taken(records(store, "own:bare"), store, folder, trust_imports=True)


def test_a_user_s_net_is_not_imported_without_trust(store: Store, folder: Path) -> None:
    with pytest.raises(SpecError, match="--trust-imports allows it"):
        taken(records(store, "own:masked"), store, folder)


@pytest.mark.parametrize(
    ("which", "images", "told"),
    [
        ({}, [0, 100], "image 100: is not among the test images of digits (allowed: 0 to 99)"),
        (
            {"iterations": 3},
            [30],
            "image 30: is not among the test images of digits "
            "(allowed: 0 to 29; the protocol tests on the first 30 of 100)",
        ),
        ({}, list(range(21)), "21 images: at most 20 fit into a picture"),
    ],
)
def test_images_that_are_not_tested_on_are_refused(
    store: Store, folder: Path, which: dict[str, object], images: list[int], told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        taken(records(store, "attention-56", **which), store, folder, images)

    assert str(refused.value) == told


def test_runs_that_are_tested_on_different_images_do_not_stand_side_by_side(store: Store, folder: Path) -> None:
    runs = [*records(store, "attention-56"), *records(store, "attention-56", learning="naive")]

    with pytest.raises(UsageError, match=r"are tested on different images \(another split or size of digits\); masks"):
        taken(runs, store, folder)


def test_lost_and_altered_weights_are_said_and_a_run_that_is_not_done(store: Store, folder: Path) -> None:
    (record,) = records(store, "attention-56")
    planned = RunRecord(record.fingerprint, record.cell_id, record.seed, record.spec, ())
    assert record.counted is not None
    (kept,) = (file for file in store.artefacts([record.counted.id]) if file.kind == "weights")
    altered = folder / "altered" / kept.path
    altered.parent.mkdir(parents=True)
    altered.write_bytes((folder / "results" / kept.path).read_bytes()[:-1] + b"x")
    refused: list[RanbenchError] = []

    for run_, results in ((record, "elsewhere"), (record, "altered"), (planned, "results")):
        with pytest.raises(RanbenchError) as error:
            taken([run_], store, folder, results=results)
        refused.append(error.value)

    assert [type(error) for error in refused] == [CheckpointError, CheckpointError, NothingMeasured]
    assert "cannot be read" in str(refused[0])
    assert "damaged, its content is not that of the final weights of run" in str(refused[1])
    assert str(refused[2]).endswith("has no final weights, it is planned; 'ranbench run SUITE' trains it")
