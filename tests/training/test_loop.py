"""Training on the CPU: it learns, it repeats bit for bit, it resumes bit for bit, it notices divergence."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ranbench.data.augmentation import BatchOrder
from ranbench.data.images import ImageSet
from ranbench.data.streams import global_stream
from ranbench.errors import Divergence
from ranbench.models import build
from ranbench.records import MetricPoint
from ranbench.spec import Protocol, Steps
from ranbench.training import Checkpoints, Finished, Stepped, Training
from ranbench.training.checkpoint import weights_bytes

from .conftest import Start

Result = tuple[list[MetricPoint], bytes, bytes]
TIMED = ("train_seconds", "images_per_s")


def complete(training: Training) -> Result:
    """Points, predictions and weights at the end."""
    records = list(training.run())
    points = [record for record in records if isinstance(record, MetricPoint)]
    assert isinstance(records[-1], Finished)
    return points, records[-1].predictions.classes, weights_bytes(training.state()[0])


def advance(training: Training, step: int) -> list[MetricPoint]:
    """Train until ``step`` iterations are done, then walk away; return the points so far."""
    points = []
    for record in training.run():
        if isinstance(record, MetricPoint):
            points.append(record)
        if record == Stepped(step):
            return points
    raise AssertionError(f"there was no step {step}")


def steady(protocol: Protocol, rate: float, iterations: int) -> Protocol:
    schedule = Steps(kind="steps", lr=rate, drops=(), factor=0.1)
    return protocol.model_copy(update={"schedule": schedule, "iterations": iterations})


def test_labels_that_every_epoch_draws_alike_train_as_labels_drawn_once(digits: ImageSet, protocol: Protocol) -> None:
    wrong = (digits.train_labels + 1) % 10
    options = {"redrawn": lambda epoch: wrong.numpy() if epoch < 1 else digits.train_labels.numpy()}

    def trained(**labels: Any) -> bytes:
        net = build("attention-56", {}, digits.shape, digits.num_classes, form="digits")
        training = Training(net, digits, wrong, protocol, seed=0, device=torch.device("cpu"), **labels)
        return complete(training)[2]

    once, alike, anew = trained(), trained(redrawn=lambda _epoch: wrong.numpy()), trained(**options)

    assert alike == once
    assert anew != once


def test_one_batch_is_learned_to_near_zero_loss(start: Start, digits: ImageSet, protocol: Protocol) -> None:
    few = dataclasses.replace(digits, train_images=digits.train_images[:32], train_labels=digits.train_labels[:32])
    plain = protocol.augmentation.model_copy(update={"pad": 0, "flip": False})
    long = steady(protocol, 0.05, 60).model_copy(update={"augmentation": plain})

    points, _, _ = complete(start(protocol=long, images=few))

    losses = [point.value for point in points if point.name == "train_loss"]
    errors = [point.value for point in points if point.name == "train_error_pct"]
    assert losses[0] > 1.5
    assert losses[-1] < 0.02
    assert errors[-1] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention-56", "resnet-164"])
def test_a_post_activated_net_learns_one_batch_as_well(name: str, digits: ImageSet, protocol: Protocol) -> None:
    """Evaluated at the end only: running statistics of a few iterations fit no net of this depth."""
    few = dataclasses.replace(digits, train_images=digits.train_images[:32], train_labels=digits.train_labels[:32])
    plain = protocol.augmentation.model_copy(update={"pad": 0, "flip": False})
    at_the_end = protocol.evaluation.model_copy(update={"every": 40})
    long = steady(protocol, 0.01, 40).model_copy(update={"augmentation": plain, "evaluation": at_the_end})
    net = build(name, {"unit_order": "post-activation"}, few.shape, few.num_classes, form="digits")

    points, _, _ = complete(Training(net, few, few.train_labels, long, seed=0, device=torch.device("cpu")))

    losses = [point.value for point in points if point.name == "train_loss"]
    assert losses[-1] < losses[0] / 4


def test_the_records_of_a_run_are_all_there_in_their_order(start: Start, protocol: Protocol) -> None:
    records = list(start().run())

    expected: list[object] = []
    for step in range(1, 10):
        names = ["train_loss", "train_error_pct", "lr", *(["test_error_pct", "test_loss"] if step in (3, 6) else [])]
        expected += [*((name, step) for name in names), step]
    expected += [("test_error_pct", 9), ("test_loss", 9)]
    found = [
        (record.name, record.step) if isinstance(record, MetricPoint) else record.step
        for record in records
        if not isinstance(record, Finished)
    ]
    assert found == expected
    finished = records[-1]
    assert isinstance(finished, Finished)
    tests = [(r.value, r.step) for r in records if isinstance(r, MetricPoint) and r.name == "test_error_pct"]
    assert finished.metrics["error_pct"] == tests[-1][0]
    assert (finished.metrics["best_error_pct"], finished.metrics["best_iteration"]) == min(tests)
    assert len(finished.predictions.classes) == 100


def test_the_same_seed_gives_the_same_points_and_weights_bit_for_bit(start: Start) -> None:
    first, again = complete(start(7)), complete(start(7))

    assert first == again


def test_another_seed_gives_others(start: Start) -> None:
    first, other = complete(start(0)), complete(start(1))

    assert first[0] != other[0]
    assert first[2] != other[2]


def test_naive_learning_gives_others_than_residual(start: Start) -> None:
    residual, naive = complete(start()), complete(start(learning="naive"))

    assert residual[0] != naive[0]
    assert residual[2] != naive[2]


def test_training_neither_reads_nor_moves_the_global_random_state(start: Start) -> None:
    torch.manual_seed(1)
    first = complete(start())
    torch.manual_seed(2)
    training = start()
    before = torch.get_rng_state()
    second = complete(training)

    assert first == second
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("step", [1, 3, 5, 8, 9])
def test_interrupted_and_resumed_equals_uninterrupted(start: Start, tmp_path: Path, step: int) -> None:
    expected = complete(start())
    stopped = start()
    points = advance(stopped, step)
    Checkpoints(tmp_path).write(*stopped.state())

    resumed = start()
    found, notes = Checkpoints(tmp_path).newest()
    assert found is not None
    resumed.load_state(found.tensors, found.values)
    rest, predictions, weights = complete(resumed)

    assert notes == []
    assert (points + rest, predictions, weights) == expected


def test_a_resume_in_the_middle_of_a_window_of_points_equals_uninterrupted(
    start: Start, protocol: Protocol, tmp_path: Path
) -> None:
    """A run of more than 1,000 iterations averages several into a point; so does this one, by hand."""

    def windowed() -> Training:
        training = start()
        training.every, training.window = 4, torch.zeros(4, 2)
        return training

    expected = complete(windowed())
    stopped = windowed()
    points = advance(stopped, 6)
    Checkpoints(tmp_path).write(*stopped.state())

    resumed = windowed()
    found, _ = Checkpoints(tmp_path).newest()
    assert found is not None
    resumed.load_state(found.tensors, found.values)
    rest, predictions, weights = complete(resumed)

    assert (points + rest, predictions, weights) == expected
    assert [point.step for point in expected[0] if point.name == "train_loss"] == [4, 8, 9]


def test_a_point_of_a_window_is_the_mean_of_its_iterations(start: Start) -> None:
    single, windowed = start(), start()
    windowed.every, windowed.window = 4, torch.zeros(4, 2)

    singles = [point.value for point in complete(single)[0] if point.name == "train_loss"]
    means = [point.value for point in complete(windowed)[0] if point.name == "train_loss"]

    assert means == pytest.approx([sum(singles[:4]) / 4, sum(singles[4:8]) / 4, singles[8]], rel=1e-12)


def test_the_best_evaluation_is_kept_through_a_resume(start: Start, tmp_path: Path) -> None:
    stopped = start()
    advance(stopped, 6)
    stopped.best = (0.5, 3)
    Checkpoints(tmp_path).write(*stopped.state())

    resumed = start()
    found, _ = Checkpoints(tmp_path).newest()
    assert found is not None
    resumed.load_state(found.tensors, found.values)
    finished = list(resumed.run())[-1]

    assert isinstance(finished, Finished)
    assert (finished.metrics["best_error_pct"], finished.metrics["best_iteration"]) == (0.5, 3.0)


@pytest.mark.parametrize("every", [1, 4])
def test_divergence_names_the_first_iteration_whose_loss_is_not_finite(
    start: Start, protocol: Protocol, every: int
) -> None:
    wild = steady(protocol, 1e15, 9)
    training = start(protocol=wild)
    training.every, training.window = every, torch.zeros(every, 2)
    checked = start(protocol=wild)
    expected = 0
    for step in itertools.count():
        draw = BatchOrder(200, 32, 0, pad=1, flip=True).draw(step)
        net = checked.net.train()
        state = {name: value.clone() for name, value in net.state_dict().items()}
        with torch.no_grad():
            logits = net(checked.prepare.augmented(draw))
            loss = float(functional.cross_entropy(logits, checked.labels[draw.index]))
        net.load_state_dict(state)
        if not math.isfinite(loss):
            expected = step + 1
            break
        checked.take_step()

    with pytest.raises(Divergence) as caught:
        list(training.run())

    assert caught.value.step == expected > 1
    assert caught.value.exit_code == 3
    assert str(caught.value).endswith(f"at iteration {expected}")


def test_training_uses_the_labels_that_were_given(start: Start, digits: ImageSet) -> None:
    """Training labels are those handed over; test labels always the dataset's own."""
    training = start()
    other = (digits.train_labels + 1) % 10
    noisy = Training(start().net, digits, other, training.protocol, seed=0, device=torch.device("cpu"))

    first, second = complete(training), complete(noisy)

    assert first[0][:3] != second[0][:3]
    assert torch.equal(noisy.images.test_labels, digits.test_labels)


def test_an_evaluation_of_a_part_takes_the_first_images(start: Start, protocol: Protocol, digits: ImageSet) -> None:
    part = protocol.model_copy(update={"evaluation": protocol.evaluation.model_copy(update={"images": 30})})
    whole = complete(start())

    found = complete(start(protocol=part))

    assert found[1] == whole[1][:30]
    wrong = sum(a != b for a, b in zip(found[1], digits.test_labels[:30].tolist(), strict=True))
    assert [point.value for point in found[0] if point.name == "test_error_pct"][-1] == 100 * wrong / 30


def test_the_training_time_leaves_out_what_the_caller_does_between_records(start: Start, protocol: Protocol) -> None:
    training = start(protocol=protocol.model_copy(update={"iterations": 4}))

    for record in training.run():
        if isinstance(record, Stepped):
            time.sleep(0.5)

    assert training.seconds < 1.0


def test_a_state_holds_the_training_time_up_to_its_step(start: Start) -> None:
    training = start()
    training.every, training.window = 8, torch.zeros(8, 2)

    advance(training, 2)

    assert training.state()[1]["seconds"] > 0


def test_every_point_of_a_diverging_run_is_finite(start: Start, protocol: Protocol) -> None:
    wild = steady(protocol, 1e37, 9).model_copy(
        update={"evaluation": protocol.evaluation.model_copy(update={"every": 1})}
    )
    points: list[MetricPoint] = []

    with pytest.raises(Divergence):
        for record in start(protocol=wild).run():
            if isinstance(record, MetricPoint):
                points.append(record)

    assert all(math.isfinite(point.value) for point in points), points


class Foreign(nn.Module):
    """A net as users write them: a parameter of no known layer, dropout, a layer used twice, ``view``."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 8, 3, padding=1)
        self.offset = nn.Parameter(torch.rand(8, 1, 1))
        self.mixing = nn.Linear(16, 16)
        self.again = self.mixing
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.avg_pool2d(self.convolution(x) + self.offset, 8)  # (B, 8, 1, 1)
        x = torch.cat([x, x.relu()], dim=1)
        x = x.view(x.shape[0], -1)
        out: torch.Tensor = self.classifier(self.dropout(self.again(self.mixing(x).relu())))
        return out


@pytest.fixture
def start_foreign(digits: ImageSet, protocol: Protocol) -> Start:
    """Makes a training of a user's net, whose weights are drawn from the seed as the runner does."""

    def make(seed: int = 0) -> Training:
        with global_stream(seed, "init"):
            net = Foreign()
        cpu = torch.device("cpu")
        return Training(net, digits, digits.train_labels, protocol, seed=seed, device=cpu, foreign=True)

    return make


def test_a_foreign_net_keeps_the_weights_that_it_comes_with(start_foreign: Start) -> None:
    training = start_foreign()

    with global_stream(0, "init"):
        expected = Foreign().state_dict()

    found = training.net.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_net_of_ours_is_initialised_whatever_it_comes_with(start: Start) -> None:
    found = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        found.append(weights_bytes(start(0).state()[0]))

    assert found[0] == found[1]


def test_a_foreign_net_with_dropout_repeats_bit_for_bit_whatever_the_global_state(start_foreign: Start) -> None:
    torch.manual_seed(1)
    first = complete(start_foreign(7))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = complete(start_foreign(7)), complete(start_foreign(8))

    assert first == again
    assert first[2] != other[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_of_a_foreign_net_falls_anew_at_every_iteration(start_foreign: Start) -> None:
    training = start_foreign()
    masks = []
    training.net.dropout.register_forward_hook(lambda _module, _inputs, out: masks.append((out != 0).tolist()))

    advance(training, 2)

    assert masks[0] != masks[1]


@pytest.mark.parametrize("step", [1, 4])
def test_a_foreign_net_with_dropout_and_tied_weights_resumes_bit_for_bit(
    start_foreign: Start, tmp_path: Path, step: int
) -> None:
    expected = complete(start_foreign())
    stopped = start_foreign()
    points = advance(stopped, step)
    Checkpoints(tmp_path).write(*stopped.state())

    torch.manual_seed(99)
    resumed = start_foreign()
    found, notes = Checkpoints(tmp_path).newest()
    assert found is not None
    resumed.load_state(found.tensors, found.values)
    rest, predictions, weights = complete(resumed)

    assert notes == []
    assert (points + rest, predictions, weights) == expected
