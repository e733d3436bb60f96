"""Which images of which epoch an iteration sees, for each way with the last batch of an epoch."""

from __future__ import annotations

from collections import Counter

import pytest

from ranbench.data.epochs import LastBatch, Part, batch_parts, iterations_per_epoch
from ranbench.data.streams import stream
from ranbench.errors import DataError

IMAGES, BATCH = 50_000, 64  # CIFAR-10 as the paper trains on it


def seen(steps: range, num_images: int, batch: int, last_batch: LastBatch) -> list[tuple[int, int]]:
    """Epoch and image of everything that ``steps`` see, in their order; the order of an epoch is drawn as in a run."""
    orders: dict[int, list[int]] = {}
    found = []
    for step in steps:
        for part in batch_parts(step, num_images, batch, last_batch):
            if part.epoch not in orders:
                orders[part.epoch] = stream(0, "order", part.epoch).permutation(num_images).tolist()
            found += [(part.epoch, image) for image in orders[part.epoch][part.start : part.stop]]
    return found


@pytest.mark.parametrize(("last_batch", "expected"), [("run-on", 781.25), ("partial", 782), ("drop", 781)])
def test_an_epoch_of_the_paper_has_so_many_iterations(last_batch: LastBatch, expected: float) -> None:
    assert iterations_per_epoch(IMAGES, BATCH, last_batch) == expected


@pytest.mark.parametrize(
    ("last_batch", "expected"),
    [
        ("run-on", [(Part(0, 49_920, 49_984),), (Part(0, 49_984, 50_000), Part(1, 0, 48)), (Part(1, 48, 112),)]),
        ("partial", [(Part(0, 49_920, 49_984),), (Part(0, 49_984, 50_000),), (Part(1, 0, 64),)]),
        ("drop", [(Part(0, 49_920, 49_984),), (Part(1, 0, 64),), (Part(1, 64, 128),)]),
    ],
)
def test_iterations_780_to_782_see_the_end_of_an_epoch(last_batch: LastBatch, expected: list[tuple[Part, ...]]) -> None:
    assert [batch_parts(step, IMAGES, BATCH, last_batch) for step in (780, 781, 782)] == expected


@pytest.mark.parametrize(("last_batch", "steps"), [("run-on", 3_125), ("partial", 4 * 782)])
def test_every_image_is_seen_once_in_each_epoch(last_batch: LastBatch, steps: int) -> None:
    """3,125 iterations of 64 images are exactly four epochs."""
    found = Counter(seen(range(steps), IMAGES, BATCH, last_batch))

    assert found == Counter({(epoch, image): 1 for epoch in range(4) for image in range(IMAGES)})


def test_781_iterations_and_a_quarter_see_every_image_once() -> None:
    found = seen(range(782), IMAGES, BATCH, "run-on")

    assert sorted(image for _, image in found[: int(781.25 * BATCH)]) == list(range(IMAGES))
    assert {epoch for epoch, _ in found[int(781.25 * BATCH) :]} == {1}


def test_what_is_dropped_is_never_seen_in_its_epoch_but_in_another() -> None:
    found = Counter(seen(range(2 * 781), IMAGES, BATCH, "drop"))

    missing = [{image for image in range(IMAGES) if (epoch, image) not in found} for epoch in (0, 1)]
    ends = [set(stream(0, "order", epoch).permutation(IMAGES)[-16:].tolist()) for epoch in (0, 1)]
    assert set(found.values()) == {1}
    assert missing == ends
    assert missing[0].isdisjoint(missing[1])


@pytest.mark.parametrize(("last_batch", "sizes"), [("run-on", {64}), ("partial", {64, 16}), ("drop", {64})])
def test_batches_have_their_size_but_for_a_partial_one(last_batch: LastBatch, sizes: set[int]) -> None:
    found = {sum(map(len, batch_parts(step, IMAGES, BATCH, last_batch))) for step in range(2_000)}

    assert found == sizes


@pytest.mark.parametrize("last_batch", ["run-on", "partial", "drop"])
def test_a_batch_that_divides_the_epoch_leaves_no_choice(last_batch: LastBatch) -> None:
    found = [batch_parts(step, 12, 4, last_batch) for step in range(7)]

    assert found == [(Part(step // 3, 4 * (step % 3), 4 * (step % 3) + 4),) for step in range(7)]


def test_a_batch_larger_than_the_epoch_runs_over_several_or_is_the_epoch() -> None:
    assert batch_parts(1, 5, 12, "run-on") == (Part(2, 2, 5), Part(3, 0, 5), Part(4, 0, 4))
    assert batch_parts(1, 5, 12, "partial") == (Part(1, 0, 5),)


def test_dropping_the_only_batch_is_refused() -> None:
    with pytest.raises(DataError) as refused:
        batch_parts(0, 5, 12, "drop")

    assert str(refused.value) == "last_batch drop leaves nothing: 5 training images fill no batch of 12"


def test_the_order_of_a_run_is_that_of_running_on() -> None:
    """The stream of images that the paper's protocol trains on, position by position."""
    found = [image for _, image in seen(range(3), 10, 4, "run-on")]

    first, second = (stream(0, "order", epoch).permutation(10) for epoch in (0, 1))
    assert found == [*first.tolist(), *second[:2].tolist()]
