"""Bilinear interpolation with corners aligned, whose gradient repeats bit for bit on a GPU too.

CUDA's own backward pass adds up with atomics, in another order each time. Between fixed sizes the interpolation is one
small matrix along the rows and one along the columns, so its gradient is two matrix products.
"""

from __future__ import annotations

from typing import Any

import torch


def interpolate(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Interpolate (B, C, H, W) to (B, C, *size); source coordinate = target * (in - 1) / (out - 1)."""
    if x.is_cuda and x.requires_grad:
        out: torch.Tensor = _Interpolation.apply(x, size)
        return out
    return _plain(x, size)


def _plain(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Interpolate by PyTorch's own operator, which repeats; in deterministic mode ``functional`` has a slower way."""
    out: torch.Tensor = torch.ops.aten.upsample_bilinear2d(x, size, True)
    return out


class _Interpolation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        ctx.sides = x.shape[2:]
        return _plain(x, size)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient_of(gradient, ctx.sides), None


def gradient_of(gradient: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    """Return the gradient at the input, (B, C, *sides), of a gradient at the output, (B, C, H, W).

    The sums are of float32 at least, and of no lower precision; the result has the gradient's type and is channels
    last in memory.
    """
    exact = gradient if gradient.dtype == torch.float64 else gradient.float()
    batch, channels, height, width = gradient.shape
    rows = weights(sides[0], height, exact).t()  # (in, out)
    columns = weights(sides[1], width, exact).t()
    last = exact.permute(0, 2, 3, 1)  # (B, H, W, C)
    narrow = torch.matmul(columns, last)  # (B, H, in, C)
    low = torch.matmul(rows, narrow.reshape(batch, height, sides[1] * channels))  # (B, in, in * C)
    return low.view(batch, sides[0], sides[1], channels).permute(0, 3, 1, 2).to(gradient.dtype)


def weights(inputs: int, outputs: int, like: torch.Tensor) -> torch.Tensor:
    """Return the matrix (outputs, inputs) that interpolates along one side, of the type and device of ``like``."""
    target = torch.arange(outputs, device=like.device, dtype=torch.float64)
    source = target * ((inputs - 1) / (outputs - 1)) if outputs > 1 else torch.zeros_like(target)
    distance = (source.unsqueeze(1) - torch.arange(inputs, device=like.device, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).to(like.dtype)
