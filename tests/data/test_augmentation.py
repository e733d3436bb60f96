"""Which images a step sees, and how they are changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ranbench.data.augmentation import BatchOrder, Draw, Preparation
from ranbench.spec import Augmentation


def values(draw: Draw) -> tuple[list[int], list[int], list[int], list[bool]]:
    return draw.index.tolist(), draw.top.tolist(), draw.left.tolist(), draw.mirrored.tolist()


def one(top: int, left: int, mirrored: bool) -> Draw:
    return Draw(torch.tensor([0]), torch.tensor([top]), torch.tensor([left]), torch.tensor([mirrored]))


def prepared(images: torch.Tensor, *, mean: str, pad: int, **more: object) -> Preparation:
    changes = {"mean": mean, "pad": pad, "flip": True, **more}
    return Preparation(images, Augmentation.model_validate(changes))


@pytest.fixture
def paper() -> BatchOrder:
    """The order of the paper's CIFAR-10 protocol."""
    return BatchOrder(50_000, 64, 0, pad=4, flip=True)


def test_iteration_781_takes_the_last_16_images_of_an_epoch_and_48_of_the_next(paper: BatchOrder) -> None:
    before = np.concatenate([paper.draw(step).index.numpy() for step in range(781)])
    across = paper.draw(781).index.numpy()
    after = np.concatenate([paper.draw(step).index.numpy() for step in range(782, 1563)])
    second = np.concatenate([across[16:], after])[:50_000]

    assert len(across) == 64
    assert sorted([*before.tolist(), *across[:16].tolist()]) == list(range(50_000))
    assert sorted(second.tolist()) == list(range(50_000))
    assert not np.array_equal(second[:64], before[:64])


def test_draws_depend_on_the_step_alone() -> None:
    steps = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    forward = BatchOrder(10, 4, 5, pad=2, flip=True)
    jumping = BatchOrder(10, 4, 5, pad=2, flip=True)
    expected = {step: values(forward.draw(step)) for step in steps}

    found = {step: values(jumping.draw(step)) for step in [8, 0, 5, 5, 2, 7, 1, 3, 6, 4]}

    assert found == expected


def test_a_batch_larger_than_the_dataset_runs_over_several_epochs() -> None:
    order = BatchOrder(5, 12, 0, pad=0, flip=False)

    index = order.draw(0).index.tolist() + order.draw(1).index.tolist()[:3]

    assert [sorted(index[start : start + 5]) for start in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3


def test_another_seed_gives_another_order() -> None:
    first, second = (BatchOrder(100, 50, seed, pad=0, flip=False).draw(0).index.tolist() for seed in (0, 1))

    assert first != second


def test_the_order_is_the_same_with_and_without_augmentation() -> None:
    plain, augmented = BatchOrder(100, 50, 0, pad=0, flip=False), BatchOrder(100, 50, 0, pad=4, flip=True)

    assert plain.draw(3).index.tolist() == augmented.draw(3).index.tolist()


def test_without_flips_no_image_is_mirrored() -> None:
    draw = BatchOrder(5_000, 5_000, 0, pad=0, flip=False).draw(0)

    assert not draw.mirrored.any()


def test_about_half_of_the_images_are_mirrored(paper: BatchOrder) -> None:
    order = BatchOrder(50_000, 50_000, 0, pad=4, flip=True)

    share = float(order.draw(0).mirrored.double().mean())

    assert abs(share - 0.5) < 0.01  # 4.5 standard deviations of 50,000 coins


def test_crop_corners_take_every_value_from_0_to_twice_the_padding_about_equally() -> None:
    draw = BatchOrder(50_000, 50_000, 0, pad=4, flip=True).draw(0)

    counts = [torch.bincount(corner, minlength=9).tolist() for corner in (draw.top, draw.left)]

    assert [len(count) for count in counts] == [9, 9]
    assert all(abs(number - 50_000 / 9) < 400 for count in counts for number in count)
    assert not torch.equal(draw.top, draw.left)


def test_the_mean_image_is_exact() -> None:
    images = torch.tensor([[[[0, 255]]], [[[255, 255]]], [[[0, 0]]], [[[51, 0]]]], dtype=torch.uint8)

    mean = prepared(images, mean="image", pad=0).mean

    assert torch.equal(mean, torch.tensor([[[306 / 4 / 255, 0.5]]]))


def test_no_mean_leaves_pixels_between_0_and_1() -> None:
    images = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)

    plain = prepared(images, mean="none", pad=0).plain(images)

    assert torch.equal(plain, torch.tensor([[[[0.0, 0.2, 1.0]]]]))


@pytest.mark.parametrize(
    ("top", "left", "mirrored", "expected"),
    [
        (1, 1, False, [[0.2, 0.4], [0.6, 0.8]]),
        (1, 1, True, [[0.4, 0.2], [0.8, 0.6]]),
        (0, 0, False, [[0.0, 0.0], [0.0, 0.2]]),
        (0, 0, True, [[0.0, 0.0], [0.2, 0.0]]),
        (2, 1, False, [[0.6, 0.8], [0.0, 0.0]]),
        (1, 2, False, [[0.4, 0.0], [0.8, 0.0]]),
        (1, 2, True, [[0.0, 0.4], [0.0, 0.8]]),
    ],
)
def test_a_crop_is_taken_at_its_corner_then_mirrored(
    top: int, left: int, mirrored: bool, expected: list[list[float]]
) -> None:
    images = torch.tensor([[[[51, 102], [153, 204]]]], dtype=torch.uint8)

    found = prepared(images, mean="none", pad=1).augmented(one(top, left, mirrored))

    assert torch.equal(found, torch.tensor([[expected]]))


def test_the_border_is_zero_after_the_mean_was_subtracted() -> None:
    images = torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8)
    preparation = prepared(images, mean="image", pad=1)

    corner, middle = (preparation.augmented(one(place, place, False)).item() for place in (0, 1))

    assert (corner, middle) == (0.0, -0.5)


def test_a_batch_takes_for_each_image_its_own_draw() -> None:
    images = torch.randint(0, 256, (6, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preparation = prepared(images, mean="image", pad=2)
    draw = Draw(
        torch.tensor([5, 0, 0, 3]),
        torch.tensor([0, 4, 2, 1]),
        torch.tensor([3, 0, 2, 4]),
        torch.tensor([True, False, True, False]),
    )

    found = preparation.augmented(draw)

    for place, (index, top, left, mirrored) in enumerate(zip(*values(draw), strict=True)):
        padded = torch.zeros(3, 9, 8)
        padded[:, 2:7, 2:6] = preparation.plain(images[index : index + 1])[0]
        crop = padded[:, top : top + 5, left : left + 4]
        assert torch.equal(found[place], crop.flip(2) if mirrored else crop)


def test_without_padding_and_flips_an_augmented_image_is_the_plain_one() -> None:
    images = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preparation = prepared(images, mean="image", pad=0)
    draw = BatchOrder(8, 8, 0, pad=0, flip=False).draw(0)

    found = preparation.augmented(draw)

    assert torch.equal(found, preparation.plain(images)[draw.index])


def test_batches_are_float32_and_channels_last() -> None:
    images = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preparation = prepared(images, mean="image", pad=2)

    batches = preparation.plain(images), preparation.augmented(BatchOrder(8, 8, 0, pad=2, flip=True).draw(0))

    for batch in batches:
        assert (batch.dtype, batch.shape) == (torch.float32, (8, 3, 4, 4))
        assert batch.is_contiguous(memory_format=torch.channels_last)
