"""What the steps are handed: the run's own draws and learning rates, row by row, across every border."""

from __future__ import annotations

import pytest
import torch

from ranbench.data.augmentation import BatchOrder, Draw
from ranbench.data.epochs import LastBatch
from ranbench.training.feed import ROWS, Feed

CPU = torch.device("cpu")
MODES: list[LastBatch] = ["run-on", "partial", "drop"]


def order_of(last_batch: LastBatch = "run-on") -> BatchOrder:
    """Batches of 4 of 10 images: an epoch has a rest, and a block of rows holds a hundred epochs."""
    return BatchOrder(10, 4, 3, pad=2, flip=True, last_batch=last_batch)


def rate_of(step: int) -> float:
    return 1 / (step + 1)  # float64, and no two alike


@pytest.fixture
def feed() -> Feed:
    return Feed(order_of(), rate_of, CPU)


def taken(feed: Feed, step: int) -> tuple[dict[str, list[object]], float]:
    """What iteration ``step`` is given."""
    rate = torch.zeros((), dtype=torch.float64)
    feed.reach(step)
    draw = feed.take(rate)
    return listed(draw), float(rate)


def listed(draw: Draw) -> dict[str, list[object]]:
    return {name: value.tolist() for name, value in draw.parts.items()}


def expected(step: int, last_batch: LastBatch = "run-on") -> tuple[dict[str, list[object]], float]:
    return listed(order_of(last_batch).block(step, 1).map(lambda rows: rows[0])), rate_of(step)


def test_every_iteration_is_given_its_own_draw_and_rate_across_the_borders_of_blocks(feed: Feed) -> None:
    steps = range(2 * ROWS + 3)

    found = [taken(feed, step) for step in steps]

    assert found == [expected(step) for step in steps]


@pytest.mark.parametrize("step", [1, ROWS - 1, ROWS, ROWS + 1, 1_000])
def test_a_feed_goes_on_from_any_iteration(feed: Feed, step: int) -> None:
    taken(feed, 0)

    feed.load(step)
    found = [taken(feed, later) for later in range(step, step + ROWS + 2)]

    assert found == [expected(later) for later in range(step, step + ROWS + 2)]


def test_going_back_begins_at_that_iteration_though_it_is_loaded(feed: Feed) -> None:
    """As a resume from an older checkpoint does."""
    for step in range(7):
        taken(feed, step)

    feed.load(2)

    assert [taken(feed, step) for step in (2, 3)] == [expected(2), expected(3)]


@pytest.mark.parametrize("last_batch", MODES)
def test_the_rows_are_the_batches_of_every_way_with_the_rest_of_an_epoch(last_batch: LastBatch) -> None:
    order = order_of(last_batch)
    feed = Feed(order, rate_of, CPU)

    rows = [taken(feed, step)[0] for step in range(ROWS + 5)]

    for step, row in enumerate(rows):
        size = order.size(step)
        assert {name: values[:size] for name, values in row.items()} == listed(order.draw(step))
        assert size == (2 if last_batch == "partial" and step % 3 == 2 else 4)


def test_what_fills_a_short_row_is_an_image_that_there_is() -> None:
    """Rows have one size on the device; nothing beyond the batch may point outside the images."""
    feed = Feed(order_of("partial"), rate_of, CPU)

    rows = [taken(feed, step)[0]["index"] for step in range(9)]

    assert [len(row) for row in rows] == [4] * 9
    assert {image for row in rows for image in row} == set(range(10))


def test_boxes_and_colours_are_handed_over_with_their_iteration() -> None:
    def order() -> BatchOrder:
        return BatchOrder(
            10, 4, 3, pad=0, flip=True, colour=True, boxes=lambda generator, count: generator.integers(0, 9, (count, 4))
        )

    feed = Feed(order(), rate_of, CPU)

    found = [taken(feed, step)[0] for step in range(4)]

    assert found == [listed(order().draw(step)) for step in range(4)]
    assert {len(found[0][name]) for name in ("index", "top", "left", "mirrored", "boxes", "shifts")} == {4}


def test_a_rehearsal_at_the_end_of_a_block_wraps_within_the_rows(feed: Feed) -> None:
    """A step is rehearsed without the host; it must read rows that there are, whatever they hold."""
    feed.load(0)
    feed.position.fill_(ROWS - 1)
    rate = torch.zeros((), dtype=torch.float64)

    first, second = listed(feed.take(rate)), listed(feed.take(rate))

    assert (first, second) == (expected(ROWS - 1)[0], expected(0)[0])
    assert feed.position.tolist() == [1]


def test_a_rehearsal_that_is_undone_leaves_the_next_row_as_it_was(feed: Feed) -> None:
    for step in range(5):
        taken(feed, step)
    before = feed.position.clone()
    feed.reach(5)
    for _ in range(3):
        feed.take(torch.zeros((), dtype=torch.float64))

    feed.position.copy_(before)

    assert taken(feed, 5) == expected(5)


def test_rates_are_not_rounded_on_a_cpu(feed: Feed) -> None:
    found = [taken(feed, step)[1] for step in range(ROWS)]

    assert found == [1 / (step + 1) for step in range(ROWS)]
