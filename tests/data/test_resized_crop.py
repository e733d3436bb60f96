"""Parts of images resized to one size: against torchvision on single images, exact on whole batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from ranbench.data.resized_crop import centres, draw_boxes, resized_crops
from ranbench.data.streams import stream

SCALE, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def photographs(count: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    """Images of random pixels: the hardest that there are to resize."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(count, channels, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def boxes_of(count: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(draw_boxes(stream(0, "scale-crop", 0), count, height, width, scale=SCALE, aspect=ASPECT))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(32, 32, 32), (48, 64, 24), (61, 37, 56), (20, 20, 45), (100, 80, 7)],
)
def test_parts_are_those_of_torchvision(height: int, width: int, size: int) -> None:
    images, boxes = photographs(12, height, width), boxes_of(12, height, width)
    mirrored = torch.arange(12) % 2 == 0

    found = resized_crops(images, boxes, mirrored, size)

    for index, (image, box) in enumerate(zip(images, boxes.tolist(), strict=True)):
        single = reference.resized_crop(image.to(torch.float64) / 255, *box, size=[size, size], antialias=True)
        expected = reference.horizontal_flip(single) if mirrored[index] else single
        torch.testing.assert_close(found[index].double(), expected, rtol=0, atol=2e-7)
    assert (found.dtype, found.shape) == (torch.float32, (12, 3, size, size))


@pytest.mark.parametrize(
    ("height", "width", "resize", "crop"),
    [
        (48, 64, 40, 32),
        (64, 48, 40, 32),
        (48, 64, 40, None),
        (33, 47, 60, 51),
        (50, 37, 40, 40),
        (32, 32, None, 28),
        (32, 32, None, 27),
        (33, 47, None, None),
    ],
)
def test_centres_are_those_of_torchvision(height: int, width: int, resize: int | None, crop: int | None) -> None:
    images = photographs(3, height, width)

    found = centres(images, resize, crop)

    expected = images.to(torch.float64) / 255
    expected = expected if resize is None else reference.resize(expected, [resize], antialias=True)
    expected = expected if crop is None else reference.center_crop(expected, [crop, crop])
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-7)


def test_a_whole_image_at_its_own_size_is_itself_bit_for_bit() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    plain = images.to(torch.float32) / 255

    whole = resized_crops(images, torch.tensor([[0, 0, 16, 16]]), torch.tensor([False]), 16)
    resized = centres(images, 16, 16)

    assert torch.equal(whole, plain)
    assert torch.equal(resized, plain)


def test_a_part_at_its_own_size_is_cut_out_bit_for_bit_and_mirrored() -> None:
    images = photographs(2, 20, 20)
    boxes, mirrored = torch.tensor([[3, 5, 8, 8], [12, 0, 8, 8]]), torch.tensor([False, True])

    found = resized_crops(images, boxes, mirrored, 8)

    assert torch.equal(found[0], images[0, :, 3:11, 5:13].to(torch.float32) / 255)
    assert torch.equal(found[1], images[1, :, 12:20, 0:8].flip(2).to(torch.float32) / 255)


def test_an_even_image_stays_even() -> None:
    images = torch.full((8, 1, 40, 56), 77, dtype=torch.uint8)

    found = resized_crops(images, boxes_of(8, 40, 56), torch.zeros(8, dtype=torch.bool), 24)

    assert torch.equal(found, torch.full_like(found, 77 / 255))


def test_sums_are_exact_so_that_their_order_does_not_matter() -> None:
    """Weights and pixels times weights are whole numbers in float64; so the device cannot matter either."""
    images, boxes = photographs(6, 300, 400), boxes_of(6, 300, 400)
    mirrored = torch.zeros(6, dtype=torch.bool)
    upside_down = boxes.clone()
    upside_down[:, 0] = 300 - boxes[:, 0] - boxes[:, 2]

    found = resized_crops(images, boxes, mirrored, 224)
    turned = resized_crops(images.flip(2), upside_down, mirrored, 224).flip(2)
    alone = torch.cat([resized_crops(images[i : i + 1], boxes[i : i + 1], mirrored[:1], 224) for i in range(6)])

    assert torch.equal(turned, found)
    assert torch.equal(alone, found)


def test_autocast_does_not_change_an_image() -> None:
    images, boxes, mirrored = photographs(2, 30, 30), boxes_of(2, 30, 30), torch.tensor([True, False])
    expected = resized_crops(images, boxes, mirrored, 16)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = resized_crops(images, boxes, mirrored, 16)

    assert torch.equal(found, expected)


def test_drawn_parts_lie_inside_with_areas_and_ratios_as_asked() -> None:
    boxes = draw_boxes(stream(0, "scale-crop", 0), 20_000, 300, 400, scale=SCALE, aspect=ASPECT)

    top, left, height, width = boxes.T
    share, ratio = height * width / (300 * 400), width / height
    assert (boxes.shape, boxes.dtype) == ((20_000, 4), np.int64)
    assert (top.min(), left.min(), (top + height).max(), (left + width).max()) == (0, 0, 300, 400)
    assert 0.079 < share.min() < 0.09
    assert 0.95 < share.max() <= 1
    assert 0.73 < ratio.min() < 0.77
    assert 1.3 < ratio.max() < 1.36
    # even in the logarithm: as many below 1 as above, but for those that do not fit into a wide image
    small = share < 0.3
    assert abs((np.log(ratio[small]) < 0).mean() - 0.5) < 0.02


def test_what_is_drawn_in_blocks_is_what_is_drawn_together() -> None:
    generator = stream(3, "scale-crop", 1)
    whole = draw_boxes(stream(3, "scale-crop", 1), 10, 32, 48, scale=SCALE, aspect=ASPECT)

    blocks = [draw_boxes(generator, count, 32, 48, scale=SCALE, aspect=ASPECT) for count in (3, 6, 1)]

    assert np.array_equal(np.concatenate(blocks), whole)


def test_each_image_may_have_its_own_size() -> None:
    heights, widths = np.array([30, 300, 50]), np.array([60, 40, 50])

    boxes = draw_boxes(stream(0, "scale-crop", 0), 3, heights, widths, scale=SCALE, aspect=ASPECT)
    alone = draw_boxes(stream(0, "scale-crop", 0), 1, 30, 60, scale=SCALE, aspect=ASPECT)

    assert np.array_equal(boxes[:1], alone)
    assert (boxes[:, 0] + boxes[:, 2] <= heights).all()
    assert (boxes[:, 1] + boxes[:, 3] <= widths).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(10, 100, [0, 43, 10, 13]), (100, 10, [43, 0, 13, 10]), (20, 20, [0, 0, 20, 20])],
)
def test_where_no_part_fits_the_largest_in_the_centre_is_taken(height: int, width: int, expected: list[int]) -> None:
    """The whole area of a long image has a ratio that is not allowed; torchvision takes the same part."""
    aspect = ASPECT if height != width else (1.0, 1.0)

    boxes = draw_boxes(stream(0, "scale-crop", 0), 5, height, width, scale=(1.0, 1.0), aspect=aspect)

    assert boxes.tolist() == [expected] * 5


def test_parts_of_a_seed_never_change() -> None:
    boxes = draw_boxes(stream(0, "scale-crop", 0), 3, 32, 32, scale=SCALE, aspect=ASPECT)

    assert boxes.tolist() == [[10, 3, 12, 13], [6, 2, 18, 21], [3, 7, 16, 18]]
