"""Shifts along the principal components of ImageNet's colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ranbench.data.lighting import EIGENVALUES, EIGENVECTORS, draw_shifts, lit
from ranbench.data.streams import stream


def test_a_shift_is_the_sum_of_the_components_by_amounts_of_a_tenth() -> None:
    amounts = 0.1 * stream(5, "colour", 2).standard_normal((4, 3))

    found = draw_shifts(stream(5, "colour", 2), 4)

    for shift, (first, second, third) in zip(found, amounts, strict=True):
        red = -0.5675 * 0.2175 * first + 0.7192 * 0.0188 * second + 0.4009 * 0.0045 * third
        green = -0.5808 * 0.2175 * first - 0.0045 * 0.0188 * second - 0.8140 * 0.0045 * third
        blue = -0.5836 * 0.2175 * first - 0.6948 * 0.0188 * second + 0.4203 * 0.0045 * third
        assert shift.tolist() == pytest.approx([red, green, blue], rel=1e-6)
    assert found.dtype == np.float32


def test_the_components_are_those_of_a_covariance() -> None:
    """Of length one and at right angles, to the four digits that are published."""
    assert np.allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=2e-4)
    assert EIGENVALUES.tolist() == sorted(EIGENVALUES, reverse=True)


def test_shifts_have_the_spread_that_the_components_give() -> None:
    shifts = draw_shifts(stream(0, "colour", 0), 100_000).astype(np.float64)

    expected = EIGENVECTORS @ np.diag((0.1 * EIGENVALUES) ** 2) @ EIGENVECTORS.T
    assert np.abs(shifts.mean(axis=0)).max() < 3e-4
    assert np.allclose(np.cov(shifts.T), expected, rtol=0.03)


def test_every_pixel_of_an_image_is_shifted_alike_and_may_leave_the_range() -> None:
    images = torch.tensor([0.0, 0.5, 1.0, 0.25]).reshape(1, 1, 2, 2).expand(2, 3, 2, 2)
    shifts = torch.tensor([[0.1, 0.0, -0.1], [0.0, 0.25, 0.0]])

    found = lit(images, shifts)

    assert torch.equal(found, images + shifts.reshape(2, 3, 1, 1).expand(2, 3, 2, 2))
    assert found.min() < 0
    assert found.max() > 1


def test_what_is_drawn_in_blocks_is_what_is_drawn_together() -> None:
    generator = stream(3, "colour", 1)
    whole = draw_shifts(stream(3, "colour", 1), 10)

    blocks = [draw_shifts(generator, count) for count in (3, 6, 1)]

    assert np.array_equal(np.concatenate(blocks), whole)
