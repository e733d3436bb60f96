"""The soft masks of done runs on the same test images, from the final weights that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.errors import NothingMeasured, SpecError, UsageError
from ranbench.records import RunRecord
from ranbench.runner.code import code_of_run
from ranbench.runner.restoring import Restorer, counted_attempt
from ranbench.runner.stored import stored_spec
from ranbench.spec import RunSpec
from ranbench.store import Store

if TYPE_CHECKING:
    import numpy as np

    from ranbench.probes import Masked
    from ranbench.training import Training

CLASSES = 5  # of which the first image is shown where none is named
MOST = 20  # images; more are no picture any more


@dataclass(frozen=True, eq=False)
class ShownImage:
    """A test image: its number in the test set, its class, and what of it the net sees, (H, W, C) in [0, 1]."""

    index: int
    label: int
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class RunMasks:
    """The masks of a run on some images.

    Attributes:
        record, spec: the run, and the spec that it was read as; the weights are those of the attempt that counts.
        images: on which the masks were taken, those of every run.
        masked: the masks, and the classes that the net gives the images.
        code_id: of the sources that made them.
        device: on which they were made.
    """

    record: RunRecord
    spec: RunSpec
    images: tuple[ShownImage, ...]
    masked: Masked
    code_id: str
    device: str


def masks_of(
    records: Sequence[RunRecord],
    store: Store,
    *,
    data: Path = Path("data"),
    results: Path = Path("results"),
    images: Sequence[int] | None = None,
    channel: int | None = None,
    device: str = "auto",
    trust_imports: bool = False,
) -> list[RunMasks]:
    """Take the soft masks of runs on the same test images, as their protocols evaluate them.

    Args:
        records: the runs, of which an attempt counts each.
        store: where they are recorded.
        data: folder of the datasets.
        results: folder of artefacts.
        images: numbers of test images, from 0; if left out, the first image of each of the first five classes.
        channel: the one to look at, from 0; the mean of all if left out.
        device: cpu, cuda or auto, which here is the recorded kind of device where this machine has it.
        trust_imports: a net and a dataset that are named by an import path may be imported, which runs their code.

    Raises:
        NothingMeasured: no attempt counts, or a mask is not finite.
        UsageError: the runs do not see the same images, or not those.
        SpecError: a net has no masks or no such channel, its spec cannot be read by this version, or net or dataset is
            not trusted.
        CheckpointError: final weights are missing, damaged, or of another net.
        DataError, EnvironmentProblem: data, a device or a library is missing.
    """
    specs = [stored_spec(record) for record in records]
    for record, spec in zip(records, specs, strict=True):
        _check_masks(record, spec)
    attempts = [counted_attempt(record) for record in records]
    _check_same_images(records, specs)
    evaluated = min(spec.protocol.evaluation.images or spec.data.test_images for spec in specs)
    _check_images(images or (), specs[0], evaluated)
    restorer = Restorer(store, data=data, results=results, device=device, trust_imports=trust_imports)
    found = []
    chosen = list(images or ())
    for record, attempt in zip(records, attempts, strict=True):
        training = restorer.restored(record, attempt)
        chosen = chosen or first_of_classes(training.images.test_labels[:evaluated].tolist())
        found.append(_taken(record, training, chosen, channel))
    return found


def first_of_classes(labels: Sequence[int], classes: int = CLASSES) -> list[int]:
    """Return where each of the first classes that there are stands first."""
    return [labels.index(label) for label in sorted(set(labels))[:classes]]


def _taken(record: RunRecord, training: Training, chosen: Sequence[int], channel: int | None) -> RunMasks:
    from ranbench.probes import soft_masks

    spec = stored_spec(record)
    name, run = spec.model.name, f"run {record.fingerprint[:12]}"
    try:
        masked = training.inspect(
            lambda net, images, prepare: soft_masks(net, images[list(chosen)], prepare, channel=channel)
        )
    except (SpecError, NothingMeasured) as error:
        raise type(error)(f"{run}, {name}: {error}") from None
    return RunMasks(
        record,
        spec,
        tuple(
            ShownImage(index, int(training.images.test_labels[index]), pixels)
            for index, pixels in zip(chosen, _seen(training, chosen), strict=True)
        ),
        masked,
        code_of_run(spec.model, spec.data),
        training.device.type,
    )


def _seen(training: Training, chosen: Sequence[int]) -> np.ndarray:
    """What the net sees of images, without the subtraction of a mean: (N, H, W, C) in [0, 1]."""
    pixels = training.prepare.pixels(training.tests[list(chosen)])
    seen: np.ndarray = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return seen


def _check_masks(record: RunRecord, spec: RunSpec) -> None:
    """A user's own net may have attention modules; that is seen when it is built."""
    if spec.model.factory is None and not spec.model.modules(spec.data.info.form):
        raise SpecError(
            f"run {record.fingerprint[:12]}: {spec.model.name!r} has no soft masks (allowed: runs of nets with "
            "attention modules, such as attention-56; 'ranbench runs' lists runs)"
        )


def _check_same_images(records: Sequence[RunRecord], specs: Sequence[RunSpec]) -> None:
    for record, spec in zip(records, specs, strict=True):
        differs = _difference(specs[0], spec)
        if differs is not None:
            raise UsageError(
                f"runs {records[0].fingerprint[:12]} and {record.fingerprint[:12]}: are tested on different images "
                f"({differs}); masks side by side are of the same ones"
            )


def _difference(first: RunSpec, second: RunSpec) -> str | None:
    """Say what makes the test images of two runs different ones."""
    if first.data.name != second.data.name:
        return f"of {first.data.name} and of {second.data.name}"
    if first.data != second.data:
        return f"another split or size of {first.data.name}"
    one, other = first.protocol.evaluation, second.protocol.evaluation
    return None if (one.resize, one.crop) == (other.resize, other.crop) else "cut by the protocol in other ways"


def _check_images(images: Sequence[int], spec: RunSpec, evaluated: int) -> None:
    if len(images) > MOST:
        raise UsageError(f"{len(images)} images: at most {MOST} fit into a picture")
    for index in images:
        if not 0 <= index < evaluated:
            whole = spec.data.test_images
            part = "" if evaluated == whole else f"; the protocol tests on the first {evaluated:,} of {whole:,}"
            raise UsageError(
                f"image {index}: is not among the test images of {spec.data.name} (allowed: 0 to {evaluated - 1}{part})"
            )
