"""A few steps of every net of a suite, timed on this machine, so that a plan can say what its runs will take.

Nothing is learned and no dataset is needed: images of random pixels cost what real ones do. The steps go the way that a
run's steps go, with its threads. What is stored holds for one device, engine path, number of threads and torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ranbench import counts
from ranbench.catalogue import is_foreign
from ranbench.errors import one_line
from ranbench.records import Calibration
from ranbench.runner.cost import about, step_key
from ranbench.runner.how import How, by_architecture
from ranbench.spec import DataSpec, Protocol, RunSpec

if TYPE_CHECKING:
    import torch

    from ranbench.data import ImageSet
    from ranbench.training import Training

LIMIT_SECONDS = 45.0  # for all nets together: what does not fit is left to be estimated from the others
ENOUGH_SECONDS = 1.5  # of measured steps of a net; of a slow one, one must do
WARM_UP, MOST = 2, 30  # steps
IMAGES = 1024  # at most, of random pixels
EVALUATED = {"cpu": 64, "cuda": 256}  # images; a GPU needs as many at once as an evaluation has
BUSY = 0.7  # of a core: with less, other processes have the rest
EMBEDDED = "digits"  # a dataset that needs no file; the library that holds it takes memory of every run on it


def calibrate(
    specs: Sequence[RunSpec], *, device: str = "auto", how: How | None = None, note: Callable[[str], None] = print
) -> list[Calibration]:
    """Measure each architecture among ``specs``, those of the fewest multiply-adds first.

    Args:
        specs: runs.
        device: auto, cpu or cuda.
        how: the way through the engine, the threads, and whether nets named by an import path may be imported.
        note: is told what is left out, and why.

    Raises:
        EnvironmentProblem: there is no such device.
    """
    import torch

    from ranbench.runner.devices import check_device

    how = how or How()
    firsts = [group[0] for group in by_architecture(specs)]
    chosen = check_device(device, how, firsts)
    before, began, worked = torch.get_num_threads(), time.monotonic(), time.process_time()
    threads = how.threads_of_each(1, before)
    found = []
    try:
        torch.set_num_threads(threads)
        for spec in sorted(firsts, key=_macs):
            name = f"{spec.model.name} on {spec.data.name}"
            if time.monotonic() - began > LIMIT_SECONDS:
                note(f"{name}: not calibrated, after {LIMIT_SECONDS:g} seconds for the others")
            elif _needs_trust(spec) and not how.trust_imports:
                note(f"{name}: not calibrated, since importing it runs its code (--trust-imports allows it)")
            else:
                try:
                    found.append(_calibrated(spec, chosen, threads, how))
                except Exception as error:  # for instance out of memory: the others can be measured all the same
                    note(f"{name}: not calibrated: {one_line(error)}")
    finally:
        torch.set_num_threads(before)
    share = (time.process_time() - worked) / (time.monotonic() - began)
    if found and chosen.type == "cpu" and share < BUSY:
        meant = "runs take longer beside them" if threads == 1 else "these steps take less time without them"
        note(f"other processes work here, and left {100 * share:.0f} % of a core: {meant}")
    return found


def _needs_trust(spec: RunSpec) -> bool:
    return bool(spec.model.factory or spec.data.factory)


def _macs(spec: RunSpec) -> int:
    size = counts.lookup(spec.model, spec.data)
    return size.macs * spec.protocol.batch if size else 0


def _calibrated(spec: RunSpec, device: torch.device, threads: int, how: How) -> Calibration:
    from ranbench.environment import describe, peak_device_memory_bytes, peak_memory_bytes, reset_peak_memory
    from ranbench.runner.attempt import net_of
    from ranbench.runner.code import code_of_run
    from ranbench.training import Training, choose_path
    from ranbench.training.profile import measurable

    foreign = is_foreign(spec.model.name)
    path = choose_path(how.path, device, foreign=foreign, deterministic=how.deterministic)
    known = reset_peak_memory(device)
    images = _images(spec.data, spec.protocol.batch, EVALUATED[device.type]).to(device)
    training = Training(
        net_of(spec, images, trusted=how.trust_imports),
        images,
        images.train_labels,
        measurable(spec.protocol, warm_up=WARM_UP, steps=10**6),
        seed=spec.seed,
        device=device,
        foreign=foreign,
        path=path,
        threads=threads,
    )
    step, image = _step_seconds(training), _image_seconds(training)
    on_device = peak_device_memory_bytes(device)
    peak = peak_memory_bytes() if on_device is None and known else on_device
    of = about(spec)
    return Calibration(
        key=step_key(of),
        about=of,
        step_seconds=step,
        image_seconds=image,
        memory_bytes=None if peak is None else float(peak + _bytes_of_the_rest(spec, images)),
        code_id=code_of_run(spec.model, spec.data),
        measured=datetime.now(UTC),
        environment=describe(device, threads, str(path)),
    )


def _images(data: DataSpec, batch: int, test: int) -> ImageSet:
    """Return a few images of random pixels, or the real ones where they need no file."""
    import torch

    from ranbench.data import ImageSet, load

    if data.name == EMBEDDED:
        held = load(data, Path())
        assert isinstance(held, ImageSet)
        return held
    generator = torch.Generator().manual_seed(0)
    classes = data.info.num_classes
    train = min(data.train_images, max(2 * batch, IMAGES))
    count = train + test
    pixels = torch.randint(0, 256, (count, *data.shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % classes
    return ImageSet(pixels[:train], labels[:train], pixels[train:], labels[train:], classes)


def _step_seconds(training: Training) -> float:
    """Take the median of single steps after a warm-up, which is short where a step is long."""
    if _timed(training, training.take_step) < ENOUGH_SECONDS:
        for _ in range(WARM_UP - 1):
            _timed(training, training.take_step)
    found: list[float] = []
    while not found or (sum(found) < ENOUGH_SECONDS and len(found) < MOST):
        found.append(_timed(training, training.take_step))
    return median(found)


def _image_seconds(training: Training) -> float:
    """Take the second evaluation, since the first one meets new shapes; a long one must do by itself."""
    seconds = _timed(training, training.evaluate)
    if seconds < ENOUGH_SECONDS:
        seconds = _timed(training, training.evaluate)
    return seconds / len(training.images.test_labels[: training.protocol.evaluation.images])


def _timed(training: Training, act: Callable[[], object]) -> float:
    """Time an act: by the clock, or on one thread of a CPU by its own time, whoever else works there."""
    alone = training.device.type == "cpu" and training.threads == 1
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    act()
    _wait(training)
    return clock() - began


def _wait(training: Training) -> None:
    import torch

    if training.device.type == "cuda":
        torch.cuda.synchronize(training.device)


def _bytes_of_the_rest(spec: RunSpec, held: ImageSet) -> int:
    """Return what the images take that a run holds beyond those that were measured with."""
    channels, height, width = spec.data.shape
    plain, more = height * width, max(0, spec.data.train_images - len(held.train_images))
    test = max(0, spec.data.test_images - len(held.test_images))
    return channels * (test * plain + more * (plain + _padded(spec.protocol, height, width)))


def _padded(protocol: Protocol, height: int, width: int) -> int:
    """Return the pixels of a channel that a training image takes once more with its padding, and mirrored."""
    if protocol.augmentation.scale is not None:
        return 0
    copies = 2 if protocol.augmentation.flip else 1
    return copies * (height + 2 * protocol.augmentation.pad) * (width + 2 * protocol.augmentation.pad)
