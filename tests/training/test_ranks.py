"""Several processes that train one net: the losses, the weights and the test error of one process, but for rounding.

The processes are forks of this one, joined by gloo over the loopback interface.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ranbench.data.images import ImageSet
from ranbench.errors import Divergence, SpecError
from ranbench.models import build
from ranbench.records import MetricPoint
from ranbench.spec import Protocol
from ranbench.training import ALONE, Evaluated, Group, Ranks, Training, check_shares
from ranbench.training.norms import GroupedNorm

CPU = torch.device("cpu")
EVERY = {"every": 1000}
PATIENCE = 120  # seconds for what takes one or two


@dataclass(frozen=True)
class Trained:
    """What a process saw: the losses of its steps, the last evaluation, the state at the end."""

    losses: list[float]
    found: Evaluated
    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


def settings(protocol: Protocol, **changes: Any) -> Protocol:
    """A protocol of small rate, whose loss is seen in every step."""
    plain = protocol.model_dump(mode="json") | {"iterations": 60, "evaluation": EVERY} | changes
    plain["schedule"] = {"kind": "one-cycle", "lr": 0.01, "rise": 0.5, "start": 0.1, "end": 0.0}
    return Protocol.model_validate(plain)


def begun(
    protocol: Protocol, images: ImageSet, ranks: Ranks, dtype: torch.dtype = torch.float32, *, net: str = "small"
) -> Training:
    """A training of a net of two norms, or of attention-56, which has a hundred."""
    nets = {"small": small_net, "attention-56": lambda: build("attention-56", {}, (1, 8, 8), 10, form="digits")}
    return begun_with(nets[net](), protocol, images, ranks, dtype)


def small_net() -> nn.Module:
    width = 6
    first = [nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    second = [nn.Conv2d(width, width, 3, stride=2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(9 * width, 10))


def begun_with(net: nn.Module, protocol: Protocol, images: ImageSet, ranks: Ranks, dtype: torch.dtype) -> Training:
    return Training(net, images, images.train_labels, protocol, seed=0, device=CPU, dtype=dtype, ranks=ranks)


def trained(
    training: Training, steps: int, state: tuple[dict[str, torch.Tensor], dict[str, Any]] | None = None
) -> Trained:
    """Take some steps, from a state where one is given to rank 0 alone."""
    if state and training.ranks.leads:
        training.load_state(*state)
    if training.ranks.count > 1:
        training.share_state()
    losses = [point.value for _ in range(steps) for point in one_step(training) if point.name == "train_loss"]
    found = training.evaluate()
    tensors, values = training.state()
    return Trained(losses, found, {name: value.clone() for name, value in tensors.items()}, values)


def one_step(training: Training) -> list[MetricPoint]:
    """Take a step, which all but rank 0 take because it tells them to."""
    if not training.ranks.leads:
        assert training.ranks.listen() == "step"
    return training.take_step()


def in_processes(count: int, place: Path, work: Callable[[Ranks], Any]) -> list[Any]:
    """Let processes do the same work together; return what each has found, or raise what one has raised."""
    context = multiprocessing.get_context("fork")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [
        context.Process(target=_one, args=(rank, count, place / "meeting", work, pipes[rank][1]))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    found = [pickle.loads(pipe[0].recv_bytes()) if pipe[0].poll(PATIENCE) else TimeoutError() for pipe in pipes]
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


def _one(rank: int, count: int, meeting: Path, work: Callable[[Ranks], Any], answer: Connection) -> None:
    torch.set_num_threads(1)
    try:
        group = Group(rank, count, CPU, meeting)
        answer.send_bytes(pickle.dumps(work(group)))  # tensors whole, not by a handle that ends with the process
        group.close()
    except BaseException as error:
        answer.send_bytes(pickle.dumps(error))
    os._exit(0)  # none of the parent's own clearing up


def close(first: torch.Tensor, second: torch.Tensor, tolerance: float) -> bool:
    return float((first - second).abs().max()) <= tolerance * max(1.0, float(second.abs().max()))


# The whole batch shares statistics; each process has its own; each has two groups; two processes of four share a group.
SHARINGS = [
    (2, None, "small"),
    *(
        pytest.param(*each, marks=pytest.mark.slow)
        for each in [
            (2, 16, "small"),
            (2, 8, "small"),
            (4, 16, "small"),
            (2, None, "attention-56"),
            (2, 16, "attention-56"),
        ]
    ),
]


@pytest.mark.parametrize(("count", "norm_batch", "net"), SHARINGS)
def test_fifty_steps_of_several_processes_are_those_of_one(  # noqa: PLR0917
    tmp_path: Path, digits: ImageSet, protocol: Protocol, count: int, norm_batch: int | None, net: str
) -> None:
    chosen = settings(protocol, norm_batch=norm_batch)
    expected = trained(begun(chosen, digits, ALONE, torch.float64, net=net), 50)

    found = in_processes(
        count, tmp_path, lambda ranks: trained(begun(chosen, digits, ranks, torch.float64, net=net), 50)
    )

    assert len(expected.losses) == 50
    for each in found:
        assert each.losses == pytest.approx(expected.losses, rel=1e-9)
        assert each.found.predictions == expected.found.predictions
        assert each.found.loss == pytest.approx(expected.found.loss, rel=1e-6)  # evaluated in float32
        assert each.values["step"] == 50
        for name, value in expected.tensors.items():
            assert close(each.tensors[name].double(), value.double(), 1e-9), name
            assert torch.equal(each.tensors[name], found[0].tensors[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("norm_batch", [None, 16])
def test_the_first_step_in_float32_agrees_to_rounding(
    tmp_path: Path, digits: ImageSet, protocol: Protocol, norm_batch: int | None
) -> None:
    chosen = settings(protocol, norm_batch=norm_batch)
    expected = trained(begun(chosen, digits, ALONE, torch.float32), 1)

    found = in_processes(2, tmp_path, lambda ranks: trained(begun(chosen, digits, ranks, torch.float32), 1))

    assert found[0].losses == pytest.approx(expected.losses, rel=1e-4)
    assert all(close(found[0].tensors[name], value, 1e-4) for name, value in expected.tensors.items())


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_a_resume_goes_on_with_the_very_same_bits(
    tmp_path: Path, digits: ImageSet, protocol: Protocol, count: int
) -> None:
    chosen = settings(protocol, batch=24, norm_batch=24 // count)

    def whole(ranks: Ranks) -> Trained:
        return trained(begun(chosen, digits, ranks, torch.float32), 12)

    def half(ranks: Ranks) -> Trained:
        return trained(begun(chosen, digits, ranks, torch.float32), 5)

    for name in ("whole", "half", "rest"):
        (tmp_path / name).mkdir()
    expected = in_processes(count, tmp_path / "whole", whole)[0]
    before = in_processes(count, tmp_path / "half", half)[0]
    state = (before.tensors, before.values)
    found = in_processes(
        count, tmp_path / "rest", lambda ranks: trained(begun(chosen, digits, ranks, torch.float32), 7, state)
    )[0]

    assert [*before.losses, *found.losses] == expected.losses
    assert found.found == expected.found
    assert all(torch.equal(value, found.tensors[name]) for name, value in expected.tensors.items())


@pytest.mark.slow
def test_every_test_image_is_seen_once_where_their_number_does_not_divide(
    tmp_path: Path, digits: ImageSet, protocol: Protocol
) -> None:
    chosen = settings(protocol, batch=30, evaluation={"every": 1000, "images": 97})
    expected = begun(chosen, digits, ALONE, torch.float64).evaluate()

    found = in_processes(3, tmp_path, lambda ranks: begun(chosen, digits, ranks, torch.float64).evaluate())

    assert [each.predictions for each in found] == [expected.predictions] * 3
    assert [each.error_pct for each in found] == [expected.error_pct] * 3


@pytest.mark.slow
def test_all_processes_meet_a_divergence_at_the_same_iteration(
    tmp_path: Path, digits: ImageSet, protocol: Protocol
) -> None:
    chosen = settings(protocol)

    def work(ranks: Ranks) -> str:
        training = begun(chosen, digits, ranks, torch.float32)
        one_step(training)
        if not ranks.leads:  # one alone has a weight that is lost
            with torch.no_grad():
                next(training.net.parameters()).fill_(float("nan"))
        with pytest.raises(Divergence) as caught:
            one_step(training)
        return str(caught.value)

    assert in_processes(2, tmp_path, work) == ["the training loss became nan at iteration 2"] * 2


def test_groups_of_one_process_are_normalised_each_by_itself() -> None:
    plain, images = nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    grouped = GroupedNorm(nn.BatchNorm2d(3), 2)
    parts = [nn.BatchNorm2d(3) for _ in range(4)]

    expected = torch.cat([norm(part) for norm, part in zip(parts, images.split(2), strict=True)])

    assert torch.equal(grouped(images), expected)
    assert torch.allclose(grouped.running_mean, torch.stack([norm.running_mean for norm in parts]).mean(0))
    assert torch.allclose(grouped.running_var, torch.stack([norm.running_var for norm in parts]).mean(0))
    assert grouped.num_batches_tracked == 1
    assert grouped.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(grouped.state_dict())
    assert torch.equal(grouped.eval()(images), plain.eval()(images))


@pytest.mark.parametrize(
    ("changes", "count", "said"),
    [
        ({}, 3, "a batch of 32 images is not divided by 3 processes; take a number that divides it, such as --nproc 2"),
        (
            {"batch": 36, "norm_batch": 12},
            2,
            "norm_batch 12 and the 18 images of each of 2 processes do not divide each other; take another --nproc",
        ),
        (
            {"batch": 64, "last_batch": "partial"},
            16,
            "the last batch of an epoch (last_batch partial) has 8 images, which 16 processes cannot share in whole "
            "groups; take another --nproc",
        ),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(
    protocol: Protocol, changes: dict[str, Any], count: int, said: str
) -> None:
    with pytest.raises(SpecError) as refused:
        check_shares(settings(protocol, **changes), 200, count)

    assert str(refused.value) == said
