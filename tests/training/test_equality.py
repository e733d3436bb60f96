"""Every path gives the same numbers, as far as arithmetic allows. And a plain loop in PyTorch gives the engine's.

Training is chaotic, and gradients jump where rounding moves the input of a ReLU over zero. On images of 8x8, two paths
agree in float64 over 50 steps to 1e-6, and in float32 in the loss of one step to 1e-4, and in its gradients where none
of them jumps. On images of 32x32 in small batches rounding grows tenfold with each step at a rate of 0.1, and one
step's gradients in float32 differ from those in float64 by percents, on any path: five steps are compared there, and
the gradients of one, in float64.
"""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from ranbench.data.augmentation import BatchOrder
from ranbench.data.images import ImageSet
from ranbench.data.streams import torch_seed
from ranbench.models import build, initialise
from ranbench.training import EnginePath, Finished, Training, learning_rate

from .conftest import Begin

EAGER, CONTIGUOUS, COMPILED = EnginePath(), EnginePath(channels_last=False), EnginePath(compiled=True)


def losses_of(training: Training, steps: int = 50) -> list[float]:
    """The losses of the next steps, each read back."""
    return [next(point.value for point in training.take_step() if point.name == "train_loss") for _ in range(steps)]


def gradients_of(training: Training) -> torch.Tensor:
    """All gradients of the step that was taken last, one after the other."""
    gradients = [value.grad.flatten() for value in training.net.parameters() if value.grad is not None]
    assert len(gradients) == len(list(training.net.parameters()))
    return torch.cat(gradients)


def one_step(training: Training) -> tuple[float, torch.Tensor]:
    """Loss and gradients of the first step."""
    (loss,) = losses_of(training, 1)
    return loss, gradients_of(training)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / one.norm())


def assert_equal_on_digits(one: Callable[..., Training], other: Callable[..., Training]) -> None:
    """Compare two ways to make a training of some type of numbers, as paths are compared."""
    exact, same = (losses_of(make(torch.float64)) for make in (one, other))
    assert same == pytest.approx(exact, rel=1e-6, abs=0)

    differences = []
    for seed in range(5):  # of which most have no jump with so few images
        pair = (one_step(make(torch.float32, seed=seed, batch=4)) for make in (one, other))
        (loss, gradients), (other_loss, other_gradients) = pair
        assert other_loss == pytest.approx(loss, rel=1e-4, abs=0)
        differences.append(difference(gradients, other_gradients))
    assert min(differences) < 1e-4


def assert_equal_on_cifar(one: Callable[..., Training], other: Callable[..., Training]) -> None:
    """Compare them where training is chaotic."""
    exact, same = (losses_of(make(torch.float64), 5) for make in (one, other))
    assert same == pytest.approx(exact, rel=1e-6, abs=0)

    (_, gradients), (_, other_gradients) = (one_step(make(torch.float64)) for make in (one, other))
    assert difference(gradients, other_gradients) < 1e-10
    (loss, _), (other_loss, _) = (one_step(make(torch.float32)) for make in (one, other))
    assert other_loss == pytest.approx(loss, rel=1e-4, abs=0)


EQUAL = pytest.mark.parametrize(
    ("form", "assert_equal"), [("digits", assert_equal_on_digits), ("cifar", assert_equal_on_cifar)]
)


def ways(begin: Begin, form: str, *paths: EnginePath) -> list[Callable[..., Training]]:
    """Ways to make a training, one for each path."""
    return [lambda dtype, path=path, **changes: begin(form, path, dtype, **changes) for path in paths]


@EQUAL
def test_channels_last_equals_contiguous(begin: Begin, form: str, assert_equal: Callable[..., None]) -> None:
    assert_equal(*ways(begin, form, CONTIGUOUS, EAGER))


@pytest.mark.slow
def test_fifty_steps_on_images_of_32x32_agree_at_a_small_rate(begin: Begin) -> None:
    small = {"kind": "steps", "lr": 1e-3, "drops": [], "factor": 0.1}

    exact, same = (losses_of(begin("cifar", path, schedule=small)) for path in (EAGER, CONTIGUOUS))

    assert same == pytest.approx(exact, rel=1e-6, abs=0)


@pytest.mark.parametrize("form", ["digits", "cifar"])
@pytest.mark.parametrize("path", [EAGER, CONTIGUOUS], ids=str)
def test_weights_images_and_what_lies_between_have_the_memory_format_of_the_path(
    begin: Begin, form: str, path: EnginePath
) -> None:
    """Also where images have one channel, and so count as both: convolutions take theirs from the strides."""
    training = begin(form, path, torch.float32)
    convolutions = [module for module in training.net.modules() if isinstance(module, nn.Conv2d)]
    seen: list[torch.Tensor] = []
    for convolution in convolutions:
        convolution.register_forward_hook(lambda _module, _inputs, out: seen.append(out))

    training.take_step()
    training.evaluate()

    found = [*seen, *(convolution.weight for convolution in convolutions)]
    plain = [value for value in found if value.shape[1] > 1 and max(value.shape[2:]) > 1]
    assert len(plain) > 100
    assert all(value.is_contiguous(memory_format=path.memory_format) for value in plain)


@pytest.fixture(scope="module")
def compiler() -> None:
    """Skips, and says so, where torch.compile cannot work."""
    try:
        torch.compile(lambda x: x.relu() + 1)(torch.ones(3))
    except Exception as error:
        pytest.skip(f"COMPILED PATH NOT TESTED: torch.compile does not work here: {type(error).__name__}")


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
@EQUAL
def test_compiled_equals_eager(begin: Begin, form: str, assert_equal: Callable[..., None]) -> None:
    assert_equal(*ways(begin, form, EAGER, COMPILED))


def cropped(images: torch.Tensor, pad: int, top: int, left: int, mirrored: bool) -> torch.Tensor:
    """A crop of one image, as anyone would write it."""
    _, height, width = images.shape
    window = functional.pad(images, (pad,) * 4)[:, top : top + height, left : left + width]
    return window.flip(2) if mirrored else window


def by_hand(training: Training, images: ImageSet) -> list[float]:
    """The losses of a loop in plain PyTorch, with the draws of ``training`` and nothing else of it."""
    protocol, optimizer = training.protocol, training.protocol.optimizer
    net = build("attention-56", {}, images.shape, images.num_classes, form="digits")
    initialise(net, protocol.initialisation, torch.Generator().manual_seed(torch_seed(0, "init")))
    net = net.double().to(memory_format=torch.channels_last).train()
    norms = [value for module in net.modules() if isinstance(module, nn.BatchNorm2d) for value in module.parameters()]
    others = [value for value in net.parameters() if all(value is not norm for norm in norms)]
    sgd = torch.optim.SGD(
        [{"params": others}, {"params": norms, "weight_decay": optimizer.weight_decay * optimizer.decay_norm}],
        lr=1.0,
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov,
        weight_decay=optimizer.weight_decay,
        foreach=False,
    )
    pixels = images.train_images.float() / 255
    pixels = pixels - (images.train_images.double().mean(dim=0) / 255).float()
    order = BatchOrder.of(images, protocol, 0)
    losses = []
    for step in range(protocol.iterations):
        draw = order.draw(step)
        rows = zip(draw.index.tolist(), draw.top.tolist(), draw.left.tolist(), draw.mirrored.tolist(), strict=True)
        batch = torch.stack([cropped(pixels[i], protocol.augmentation.pad, *corner) for i, *corner in rows]).double()
        loss = functional.cross_entropy(
            net(batch.to(memory_format=torch.channels_last)), images.train_labels[draw.index]
        )
        for group in sgd.param_groups:
            group["lr"] = learning_rate(protocol.schedule, protocol.iterations, step)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses


SCHEDULES = {
    "steps": {"kind": "steps", "lr": 0.1, "drops": [5, 9], "factor": 0.1},
    "one-cycle": {"kind": "one-cycle", "lr": 0.1, "rise": 0.3, "start": 0.1, "end": 0.0},
    "cosine": {"kind": "cosine", "lr": 0.1, "end": 0.01, "warm_up": {"iterations": 3, "start": 0.1}},
}
PLAIN = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": SCHEDULES["steps"]},
        {"schedule": SCHEDULES["one-cycle"]},
        {"schedule": SCHEDULES["cosine"]},
        {"optimizer": {**PLAIN, "nesterov": False}},
        {"optimizer": {**PLAIN, "nesterov": False, "momentum": 0.0}},
        {"optimizer": {**PLAIN, "decay_norm": False}},
        {"last_batch": "partial", "batch": 30},
        {"last_batch": "drop", "batch": 30},
        {"initialisation": "he-fan-out"},
    ],
    ids=[
        "steps",
        "one-cycle",
        "cosine",
        "no nesterov",
        "no momentum",
        "no decay of norms",
        "partial",
        "drop",
        "fan-out",
    ],
)
def test_a_plain_loop_gives_the_same_losses(begin: Begin, digits: ImageSet, changes: dict[str, object]) -> None:
    """With rates that are floats of Python; in float64, where what is left of an order of sums is below 1e-12."""
    few = dataclasses.replace(digits, train_images=digits.train_images[:100], train_labels=digits.train_labels[:100])
    training = begin(
        images=few, iterations=12, **{"schedule": SCHEDULES["steps"], "evaluation": {"every": 12}, **changes}
    )

    found = losses_of(training, 12)

    assert found == pytest.approx(by_hand(training, few), rel=1e-11, abs=0)


def norms_and_others(training: Training) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The values of BatchNorm and all others."""
    modules = [module for module in training.net.modules() if isinstance(module, nn.BatchNorm2d)]
    norms = [value for module in modules for value in module.parameters()]
    return norms, [value for value in training.net.parameters() if all(value is not norm for norm in norms)]


@pytest.mark.parametrize("decayed", [True, False])
def test_the_values_of_batchnorm_decay_only_where_the_protocol_says_so(begin: Begin, decayed: bool) -> None:
    """With gradients of zero, an update is the decay alone."""
    training = begin(optimizer={"momentum": 0.0, "nesterov": False, "weight_decay": 0.5, "decay_norm": decayed})
    norms, others = norms_and_others(training)
    before = [[value.detach().clone() for value in group] for group in (norms, others)]
    for value in training.net.parameters():
        value.grad = torch.zeros_like(value)
    training.rate.fill_(0.1)

    training.optimizer.step()

    shares = [0.95 if decayed else 1.0, 0.95]
    for group, values, share in zip((norms, others), before, shares, strict=True):
        assert all(torch.allclose(new, old * share, rtol=1e-12, atol=0) for new, old in zip(group, values, strict=True))
    assert len(norms) == 2 * sum(isinstance(module, nn.BatchNorm2d) for module in training.net.modules())


def test_every_value_is_in_one_group_of_the_optimiser(begin: Begin) -> None:
    training = begin(optimizer={**PLAIN, "decay_norm": False})

    groups = [group["params"] for group in training.optimizer.param_groups]

    held = [id(value) for group in groups for value in group]
    assert sorted(held) == sorted(map(id, training.net.parameters()))
    assert [group["weight_decay"] for group in training.optimizer.param_groups] == [1e-2, 0.0]
    assert all(group["lr"] is training.rate for group in training.optimizer.param_groups)


def test_without_momentum_no_momenta_are_kept_and_a_state_comes_back(begin: Begin) -> None:
    changes = {"optimizer": {"momentum": 0.0, "nesterov": False, "weight_decay": 1e-4}}
    whole, stopped, resumed = (begin(**changes) for _ in range(3))
    expected = losses_of(whole, 6)
    losses_of(stopped, 3)

    tensors, values = stopped.state()
    resumed.load_state(tensors, values)

    assert not [name for name in tensors if name.startswith("momentum/")]
    assert losses_of(resumed, 3) == expected[3:]


def test_the_training_error_of_a_partial_batch_is_a_share_of_its_own_size(begin: Begin, digits: ImageSet) -> None:
    """40 images at batch 16: two whole batches and one of 8."""
    few = dataclasses.replace(digits, train_images=digits.train_images[:40], train_labels=digits.train_labels[:40])
    training = begin(images=few, last_batch="partial")
    wrong: list[tuple[int, int]] = []
    labels = [few.train_labels[training.order.draw(step).index] for step in range(6)]

    def count(_module: nn.Module, _inputs: object, out: torch.Tensor) -> None:
        wrong.append((int((out.argmax(dim=1) != labels[len(wrong)]).sum()), len(out)))

    training.net.register_forward_hook(count)
    errors = [point.value for _ in range(6) for point in training.take_step() if point.name == "train_error_pct"]

    assert [size for _, size in wrong] == [16, 16, 8] * 2
    assert errors == pytest.approx([100 * number / size for number, size in wrong])
    assert 0 < wrong[2][0] < 8 or 0 < wrong[5][0] < 8


def test_images_a_second_count_partial_batches_as_they_are(begin: Begin, digits: ImageSet) -> None:
    few = dataclasses.replace(digits, train_images=digits.train_images[:40], train_labels=digits.train_labels[:40])
    training = begin(images=few, last_batch="partial", iterations=4, evaluation={"every": 4})

    *_, finished = training.run()

    assert isinstance(finished, Finished)
    assert finished.metrics["images_per_s"] * finished.metrics["train_seconds"] == pytest.approx(16 + 16 + 8 + 16)


def test_a_training_that_is_let_go_gives_its_memory_back_at_once(begin: Begin) -> None:
    """Not when Python next looks for cycles, which may be long after the next run lacked the memory."""
    training = begin()
    training.take_step()
    gone = weakref.ref(training), weakref.ref(training.net)
    gc.collect()
    gc.disable()

    try:
        del training
        found = [reference() for reference in gone]
    finally:
        gc.enable()

    assert found == [None, None]
