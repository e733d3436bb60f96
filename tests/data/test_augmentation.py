"""Which images a step sees, and how they are changed."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

import numpy as np
import pytest
import torch

from ranbench.data.augmentation import PIECE, BatchOrder, Draw, Preparation
from ranbench.data.epochs import LastBatch
from ranbench.data.images import ImageSet
from ranbench.data.lighting import lit
from ranbench.data.resized_crop import centres, draw_boxes, resized_crops
from ranbench.data.streams import stream
from ranbench.spec import Augmentation, Evaluation, Protocol


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


def test_the_mean_image_is_added_up_in_pieces_without_an_error() -> None:
    images = torch.randint(
        0, 256, (2 * PIECE + 7, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    mean = prepared(images, mean="image", pad=0).mean

    expected = (images.to(torch.int64).sum(dim=0).to(torch.float64) / len(images) / 255).to(torch.float32)
    assert torch.equal(mean, expected)


def test_the_mean_takes_no_copy_of_the_images_in_wider_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[int] = []
    add_up = torch.Tensor.sum

    def watched(tensor: torch.Tensor, *arguments: object, **options: object) -> torch.Tensor:
        summed.append(tensor.shape[0])
        return add_up(tensor, *arguments, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch.Tensor, "sum", watched)

    prepared(torch.zeros(2 * PIECE + 7, 1, 2, 2, dtype=torch.uint8), mean="image", pad=0)

    assert max(summed) == PIECE


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


PIXELS = torch.randint(0, 256, (20, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
LAST_BATCHES: list[LastBatch] = ["run-on", "partial", "drop"]


def by_hand(images: torch.Tensor, augmentation: Augmentation, draw: Draw) -> torch.Tensor:
    """What ``augmentation`` says, one image after the other, from its sentences in the protocol."""
    pixels, pad = images.to(torch.float32) / 255, augmentation.pad
    whole = images.to(torch.float64) / 255
    mean = {
        "image": whole.mean(dim=0),
        "channel": whole.mean(dim=(0, 2, 3))[:, None, None],
        "none": torch.zeros(1, dtype=torch.float64),
    }[augmentation.mean].float()
    std = whole.transpose(0, 1).flatten(1).std(dim=1, correction=0).float()[:, None, None]
    first = augmentation.order == "subtract-then-pad"
    batch = []
    for place, (index, top, left, mirrored) in enumerate(zip(*values(draw), strict=True)):
        image = pixels[index]
        if draw.shifts is not None:
            image = image + draw.shifts[place][:, None, None]
        if first:
            image = image - mean
            image = image / std if augmentation.std == "channel" else image
        image = torch.nn.functional.pad(image, (pad,) * 4)
        image = image[:, top : top + images.shape[2], left : left + images.shape[3]]
        image = image.flip(2) if mirrored else image
        if not first:
            image = image - mean
            image = image / std if augmentation.std == "channel" else image
        batch.append(image)
    return torch.stack(batch)


# without a mean, or without a border, there is no order; the protocol refuses to name one
MEANS_AND_ORDERS = [
    ("none", "subtract-then-pad"),
    *((mean, order) for mean in ("image", "channel") for order in ("subtract-then-pad", "pad-then-subtract")),
]


@pytest.mark.parametrize(("mean", "order"), MEANS_AND_ORDERS)
@pytest.mark.parametrize("std", ["none", "channel"])
@pytest.mark.parametrize("colour", ["none", "pca"])
@pytest.mark.parametrize("flip", [True, False])
def test_a_batch_is_what_the_protocol_says_for_each_image(
    mean: str, std: str, order: str, colour: str, flip: bool
) -> None:
    content = {"mean": mean, "std": std, "order": order, "colour": colour, "flip": flip, "pad": 2}
    augmentation = Augmentation.model_validate(content)
    draw = BatchOrder(20, 40, 0, pad=2, flip=flip, colour=colour == "pca").draw(0)

    found = Preparation(PIXELS, augmentation).augmented(draw)

    torch.testing.assert_close(found, by_hand(PIXELS, augmentation, draw), rtol=2e-6, atol=2e-7)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_mean_of_a_channel_is_one_exact_value() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 51]]], [[[0, 0]], [[102, 0]]]], dtype=torch.uint8)

    found = prepared(images, mean="channel", pad=0)

    assert torch.equal(found.mean, torch.tensor([0.25, 0.2])[:, None, None])
    assert torch.equal(found.plain(images)[0], torch.tensor([[[-0.25, 0.75]], [[0.0, 0.0]]]))


def test_the_deviation_of_a_channel_is_that_over_all_pixels() -> None:
    images = torch.tensor([[[[0, 255]], [[7, 7]]], [[[0, 255]], [[7, 8]]]], dtype=torch.uint8)

    found = prepared(images, mean="channel", pad=0, std="channel")

    expected = images.double().transpose(0, 1).flatten(1).std(dim=1, correction=0) / 255
    assert found.std is not None
    torch.testing.assert_close(found.std.flatten().double(), expected, rtol=1e-7, atol=0)
    assert torch.equal(found.plain(images)[0, 0], torch.tensor([[-1.0, 1.0]]))


@pytest.mark.parametrize(("order", "expected"), [("subtract-then-pad", 0.0), ("pad-then-subtract", -2.0)])
def test_the_order_decides_what_the_border_is(order: str, expected: float) -> None:
    images = torch.tensor([[[[255]]], [[[255]]], [[[255]]], [[[0]]], [[[255]]]], dtype=torch.uint8)
    preparation = prepared(images, mean="channel", pad=1, std="channel", order=order)

    corner, middle = (preparation.augmented(one(place, place, False)).item() for place in (0, 1))

    assert corner == pytest.approx(expected, rel=1e-6)  # mean 0.8, deviation 0.4
    assert middle == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(("order", "expected"), [("subtract-then-pad", 0.0), ("pad-then-subtract", -0.4)])
def test_colours_are_changed_before_the_border_is_there(order: str, expected: float) -> None:
    images = torch.full((2, 3, 1, 1), 102, dtype=torch.uint8)
    preparation = prepared(images, mean="channel", pad=1, order=order, colour="pca")
    shifts = torch.tensor([[0.25, -0.5, 0.125]])
    corner, middle = (Draw(*one(place, place, False).parts.values(), shifts=shifts) for place in (0, 1))

    found = [preparation.augmented(draw).flatten() for draw in (corner, middle)]

    torch.testing.assert_close(found[0], torch.full((3,), expected))
    torch.testing.assert_close(found[1], shifts[0])


@pytest.mark.parametrize("colour", ["none", "pca"])
@pytest.mark.parametrize("std", ["none", "channel"])
def test_with_a_scale_a_part_is_resized_then_shifted_then_normalised(colour: str, std: str) -> None:
    images = PIXELS[..., :5, :]  # 5 x 5
    content = {"mean": "channel", "std": std, "pad": 0, "flip": True, "scale": (0.2, 1.0), "aspect": (0.75, 4 / 3)}
    augmentation = Augmentation.model_validate(content | {"colour": colour})
    protocol = protocol_of(augmentation)
    draw = BatchOrder.of(image_set(images), protocol, 0).draw(0)

    preparation = Preparation(images, augmentation)
    found = preparation.augmented(draw)

    boxes = draw_boxes(stream(0, "scale-crop", 0), 20, 5, 5, scale=(0.2, 1.0), aspect=(0.75, 4 / 3))
    assert draw.boxes is not None and draw.boxes.tolist() == boxes[:8].tolist()
    expected = resized_crops(images[draw.index], draw.boxes, draw.mirrored, 5)
    if colour == "pca":
        assert draw.shifts is not None
        expected = lit(expected, draw.shifts)
    expected = expected - preparation.mean
    expected = expected if preparation.std is None else expected / preparation.std
    assert (preparation.std is None) == (std == "none")
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("resize", "crop", "side"), [(4, None, 4), (None, 3, 3), (8, 6, 6)])
def test_images_are_evaluated_at_the_size_that_the_protocol_says(
    resize: int | None, crop: int | None, side: int
) -> None:
    augmentation = Augmentation.model_validate({"mean": "channel", "std": "channel", "pad": 0, "flip": True})
    preparation = Preparation(PIXELS, augmentation, resize=resize, crop=crop)

    found = preparation.plain(PIXELS)

    assert preparation.std is not None
    assert torch.equal(found, (centres(PIXELS, resize, crop) - preparation.mean) / preparation.std)
    assert found.shape == (20, 3, side, side)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_without_flips_there_is_no_mirrored_copy_and_no_mirrored_image() -> None:
    order = BatchOrder(20, 20, 0, pad=2, flip=False)
    flipped = BatchOrder(20, 20, 0, pad=2, flip=True)

    still = prepared(PIXELS, mean="image", pad=2, flip=False).augmented(order.draw(0))

    draw = flipped.draw(0)
    as_if = prepared(PIXELS, mean="image", pad=2).augmented(
        Draw(draw.index, draw.top, draw.left, torch.zeros_like(draw.mirrored))
    )
    assert not order.draw(0).mirrored.any()
    assert draw.mirrored.any()
    assert torch.equal(still, as_if)


@pytest.mark.parametrize(("last_batch", "sizes"), [("run-on", [64] * 3), ("partial", [64, 16, 64]), ("drop", [64] * 3)])
def test_batches_780_to_782_of_the_paper_have_these_sizes(last_batch: LastBatch, sizes: list[int]) -> None:
    order = BatchOrder(50_000, 64, 0, pad=4, flip=True, last_batch=last_batch)

    found = [order.draw(step) for step in (780, 781, 782)]

    assert [len(draw.index) for draw in found] == sizes
    assert [order.size(step) for step in (780, 781, 782)] == sizes


@pytest.mark.parametrize(
    ("last_batch", "steps", "once"), [("run-on", 782, 50_000), ("partial", 782, 50_000), ("drop", 781, 49_984)]
)
def test_the_iterations_of_an_epoch_see_each_of_its_images_once(last_batch: LastBatch, steps: int, once: int) -> None:
    """781.25 iterations, 782 or 781; what the last of the 782 sees beyond the epoch is of the next."""
    order = BatchOrder(50_000, 64, 0, pad=4, flip=True, last_batch=last_batch)

    seen = torch.cat([order.draw(step).index for step in range(steps)]).tolist()

    epoch = stream(0, "order", 0).permutation(50_000).tolist()
    assert seen[:once] == epoch[:once]
    assert len(seen) == (50_048 if last_batch == "run-on" else once)
    assert seen[once:] == stream(0, "order", 1).permutation(50_000)[: len(seen) - once].tolist()


@pytest.mark.parametrize(
    ("last_batch", "expected"),
    [("run-on", [0, 4, 8, 12, 16]), ("partial", [0, 4, 8, 10, 14]), ("drop", [0, 4, 8, 12, 16])],
)
def test_the_number_of_images_seen_is_that_of_the_batches(last_batch: LastBatch, expected: list[int]) -> None:
    order = BatchOrder(10, 4, 0, pad=0, flip=False, last_batch=last_batch)

    assert [order.seen(steps) for steps in range(5)] == expected
    assert order.seen(50) == sum(order.size(step) for step in range(50))


@pytest.mark.parametrize("last_batch", LAST_BATCHES)
def test_batches_are_the_same_however_they_are_asked_for(last_batch: LastBatch) -> None:
    """One by one, in blocks of any length from anywhere, and by an order that has seen other steps before."""

    def fresh() -> BatchOrder:
        return BatchOrder(10, 4, 5, pad=2, flip=True, last_batch=last_batch, colour=True)

    single = {step: listed(fresh().draw(step)) for step in range(30)}
    used = fresh()

    for first, count in [(0, 30), (3, 1), (17, 13), (29, 1), (1, 8)]:
        block = used.block(first, count)
        for row in range(count):
            size = used.size(first + row)
            found = listed(block.map(lambda rows, row=row, size=size: rows[row][:size]))
            assert found == single[first + row]
            filling = block.map(lambda rows, row=row, size=size: rows[row][size:])
            assert not any(rest.any() for rest in filling.parts.values())


def test_images_are_the_same_whatever_is_prepared_beside_them() -> None:
    preparation = prepared(PIXELS, mean="image", pad=2)
    whole = BatchOrder(20, 20, 0, pad=2, flip=True).draw(0)

    together = preparation.augmented(whole)
    alone = [preparation.augmented(whole.map(lambda values, i=i: values[i : i + 1])) for i in range(20)]

    assert torch.equal(together, torch.cat(alone))


def listed(draw: Draw) -> dict[str, list[object]]:
    return {name: value.tolist() for name, value in draw.parts.items()}


def image_set(images: torch.Tensor) -> ImageSet:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return ImageSet(images, labels, images[:2].clone(), labels[:2], 2)


def protocol_of(augmentation: Augmentation, **changes: object) -> Protocol:
    content = {
        "iterations": 3,
        "batch": 8,
        "schedule": {"kind": "steps", "lr": 0.1, "drops": [], "factor": 0.1},
        "optimizer": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
        "augmentation": augmentation.model_dump(),
        "evaluation": {"every": 3},
        "initialisation": "he-fan-in",
        "precision": "float32",
    }
    return Protocol.model_validate(content | changes)


CHANNEL = Augmentation.model_validate({"mean": "channel", "pad": 1, "flip": True})


def test_all_runs_on_a_set_of_images_share_its_preparation() -> None:
    images, protocol = image_set(PIXELS), protocol_of(CHANNEL)

    first = Preparation.of(images, protocol)

    longer = protocol_of(CHANNEL, iterations=7, batch=4, precision="bf16")
    assert Preparation.of(images, longer) is first
    assert Preparation.of(images.to(torch.device("cpu")), protocol) is first


def test_another_augmentation_evaluation_or_set_of_images_has_its_own() -> None:
    images, protocol = image_set(PIXELS), protocol_of(CHANNEL)
    other = CHANNEL.model_copy(update={"flip": False})

    found = [
        Preparation.of(images, protocol),
        Preparation.of(images, protocol_of(other)),
        Preparation.of(images, protocol_of(CHANNEL, evaluation=Evaluation(every=3, resize=4).model_dump())),
        Preparation.of(images, protocol_of(CHANNEL, evaluation=Evaluation(every=3, crop=3).model_dump())),
        Preparation.of(image_set(PIXELS), protocol),
    ]

    assert Counter(map(id, found)).most_common(1)[0][1] == 1
    assert [(each.resize, each.crop) for each in found[2:4]] == [(4, None), (None, 3)]


def test_a_preparation_goes_with_its_images() -> None:
    images = image_set(PIXELS.clone())
    made = weakref.ref(Preparation.of(images, protocol_of(CHANNEL)))

    there = made() is not None
    del images
    gc.collect()

    assert there
    assert made() is None


def test_labels_that_are_drawn_for_each_epoch_are_those_of_an_images_own_epoch() -> None:
    order = BatchOrder(10, 4, 0, pad=0, flip=False, labels=lambda epoch: 100 * epoch + np.arange(10))

    across = order.draw(2)  # the last two images of the first epoch, the first two of the second

    assert across.labels is not None
    assert across.labels.tolist() == [*across.index[:2].tolist(), *(100 + across.index[2:]).tolist()]
    assert BatchOrder(10, 4, 0, pad=0, flip=False).draw(2).labels is None
