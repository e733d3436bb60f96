"""BatchNorm over groups of images: smaller ones than a batch, as on several GPUs, or those of several processes.

With ``norm_batch`` of a protocol the batch is cut into groups of so many images, in its order, and each is normalised
by its own statistics. Running statistics are moved by the mean over the groups. A group lies in one process, or over
several; either way the numbers are the same, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ranbench.training.ranks import Group, Ranks


def share_statistics(net: nn.Module, batch: int, norm_batch: int | None, ranks: Ranks) -> nn.Module:
    """Return the net with norms that take their statistics as the protocol says; the same net where they do already."""
    share, group = batch // ranks.count, norm_batch or batch
    if group == share:
        return net
    if group < share:
        return _replaced(net, lambda norm: GroupedNorm(norm, group))
    assert isinstance(ranks, Group)
    sharing = _processes_of(ranks, group // share)
    if ranks.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(net, sharing)  # type: ignore[no-untyped-call]
        return converted
    return _replaced(net, lambda norm: SharedNorm(norm, sharing))


def running_statistics(net: nn.Module) -> list[torch.Tensor]:
    """Return the running means and variances of a net."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    return [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]


class _Norm(_BatchNorm):
    """Has the values of another norm and stands in its place; its own are those of the same objects."""

    def __init__(self, norm: _BatchNorm):
        super().__init__(norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=False)
        self.affine, self.track_running_stats = norm.affine, norm.track_running_stats
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - torch's name
        """Take whatever the norm took that was here before: its own check is of its kind."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Normalise; in training by the statistics of groups."""
        if not self.training:
            return super().forward(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else factor
        return self._trained(input, factor)

    def _trained(self, images: torch.Tensor, factor: float) -> torch.Tensor:
        raise NotImplementedError


class GroupedNorm(_Norm):
    """Normalises groups of ``group`` images of this process, each by itself."""

    def __init__(self, norm: _BatchNorm, group: int):
        super().__init__(norm)
        self.group = group

    def _trained(self, images: torch.Tensor, factor: float) -> torch.Tensor:
        done, means, variances = [], [], []
        for part in torch.split(images, self.group):
            mean, variance = (
                None if value is None else value.clone() for value in (self.running_mean, self.running_var)
            )
            done.append(functional.batch_norm(part, mean, variance, self.weight, self.bias, True, factor, self.eps))
            means.append(mean)
            variances.append(variance)
        with torch.no_grad():
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.copy_(torch.stack(means).mean(dim=0))  # type: ignore[arg-type]
                self.running_var.copy_(torch.stack(variances).mean(dim=0))  # type: ignore[arg-type]
        return torch.cat(done)


class SharedNorm(_Norm):
    """Normalises the images of several processes together; torch's SyncBatchNorm, which is for GPUs alone."""

    def __init__(self, norm: _BatchNorm, sharing: Any):
        super().__init__(norm)
        self.sharing = sharing

    def _trained(self, images: torch.Tensor, factor: float) -> torch.Tensor:
        axes = [axis for axis in range(images.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(images.dim())]
        wide = images if images.dtype == torch.float64 else images.float()  # statistics are float32 in bf16, too
        here = wide.new_tensor([wide.numel() / wide.shape[1]])
        distributed.all_reduce(here, group=self.sharing)
        count = float(here)
        mean = _summed(wide.sum(dim=axes), self.sharing) / count
        centred = wide - mean.view(shape)
        variance = _summed((centred * centred).sum(dim=axes), self.sharing) / count
        with torch.no_grad():
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
                self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var.dtype), factor)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(images.dtype)


class _Summed(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of the gradients that every process has of it."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor, sharing: Any) -> torch.Tensor:
        context.sharing = sharing
        total = value.clone()
        distributed.all_reduce(total, group=sharing)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].clone()
        distributed.all_reduce(total, group=context.sharing)
        return total, None


def _summed(value: torch.Tensor, sharing: Any) -> torch.Tensor:
    total: torch.Tensor = _Summed.apply(value, sharing)
    return total


def _processes_of(ranks: Group, together: int) -> Any:
    """Return the group of processes that share statistics with this one; every process makes all groups."""
    if together == ranks.count:
        return distributed.group.WORLD
    made = [distributed.new_group(list(range(first, first + together))) for first in range(0, ranks.count, together)]
    return made[ranks.rank // together]


def _replaced(net: nn.Module, make: Callable[[_BatchNorm], nn.Module]) -> nn.Module:
    """Put another norm into the place of each; one that stands in two places stays one."""
    made: dict[int, nn.Module] = {}
    if isinstance(net, _BatchNorm):
        return make(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                made.setdefault(id(child), make(child))
                setattr(parent, name, made[id(child)])
    return net
