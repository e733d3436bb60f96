"""The gradient of the interpolation as two matrix products, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ranbench.models.interpolation import gradient_of, interpolate, weights

SIDES = [((4, 4), (8, 8)), ((1, 1), (3, 2)), ((3, 2), (7, 5)), ((2, 3), (2, 3)), ((1, 4), (1, 9)), ((28, 28), (56, 56))]


@pytest.mark.parametrize(("small", "large"), SIDES)
def test_the_gradient_is_that_of_the_library(small: tuple[int, int], large: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *small, dtype=torch.float64, generator=generator, requires_grad=True)
    outer = torch.randn(2, 3, *large, dtype=torch.float64, generator=generator)
    out = functional.interpolate(x, size=large, mode="bilinear", align_corners=True)
    (expected,) = torch.autograd.grad(out, x, outer)

    found = gradient_of(outer, small)

    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("small", "large"), SIDES)
def test_the_matrices_interpolate(small: tuple[int, int], large: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *small, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows, columns = weights(small[0], large[0], x), weights(small[1], large[1], x)

    found = interpolate(x, large)

    assert torch.allclose(found, rows @ x @ columns.t(), rtol=1e-12, atol=1e-12)


def test_bfloat16_gradients_are_summed_in_float32() -> None:
    outer = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2)).bfloat16()

    found = gradient_of(outer, (4, 4))

    assert torch.equal(found, gradient_of(outer.float(), (4, 4)).bfloat16())


@pytest.mark.gpu
def test_on_a_gpu_the_gradient_repeats_bit_for_bit() -> None:
    x = torch.randn(8, 64, 16, 16, device="cuda", requires_grad=True)
    outer = torch.randn(8, 64, 32, 32, device="cuda")

    found = [torch.autograd.grad(interpolate(x, (32, 32)), x, outer)[0] for _ in range(5)]

    assert all(torch.equal(found[0], again) for again in found)
