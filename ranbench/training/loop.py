"""The training loop of one run: by iterations, as the paper counts them. A generator that the caller may stop.

    training = Training(net, images, labels, protocol, seed=seed, device=device)
    for record in training.run():
        ...

Between two records the state is that of a whole number of iterations, so the caller can save it, or stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ranbench.data.augmentation import BatchOrder, Preparation
from ranbench.data.images import ImageSet
from ranbench.data.streams import global_stream, torch_seed
from ranbench.errors import Divergence
from ranbench.models import initialise
from ranbench.records import MetricPoint, Predictions
from ranbench.spec import Protocol
from ranbench.training.evaluate import Evaluated, evaluate
from ranbench.training.parts import part
from ranbench.training.schedule import learning_rate

POINTS = 1000  # training-loss points of a run at most


@dataclass(frozen=True)
class Stepped:
    """``step`` iterations are done."""

    step: int


@dataclass(frozen=True)
class Finished:
    """All iterations are done: final metrics by name, and the predictions of the last evaluation."""

    metrics: Mapping[str, float]
    predictions: Predictions


class Training:
    """A net on its way through a protocol.

    Args:
        net: a module that gives (B, classes) for (B, C, H, W); it is initialised here, from the seed, unless foreign.
        images: the dataset, on any device; it is moved to ``device``.
        labels: training labels (N,), int64, which may differ from ``images.train_labels`` where there is noise.
        protocol: iterations, batch, schedule and so on.
        seed: of all random streams.
        device: where to train.
        foreign: the net is not one of the catalogue. It keeps the weights that it comes with (a transformer is not to
            be overwritten by the rule for convolutions), it is given contiguous images (a user's ``view`` takes no
            others), and what it draws from torch's global generators, for instance in dropout, comes from a stream of
            the seed and the iteration, so that such a net repeats and resumes like any other.
    """

    def __init__(
        self,
        net: nn.Module,
        images: ImageSet,
        labels: torch.Tensor,
        protocol: Protocol,
        *,
        seed: int,
        device: torch.device,
        foreign: bool = False,
    ):
        if not foreign:
            initialise(net, protocol.initialisation, torch.Generator().manual_seed(torch_seed(seed, "init")))
        self.seed, self.foreign = seed, foreign
        self.format = torch.contiguous_format if foreign else torch.channels_last
        self.net = net.to(device).to(memory_format=self.format)
        self.images, self.labels = images.to(device), labels.to(device)
        self.protocol, self.device = protocol, device
        augmentation, optimizer = protocol.augmentation, protocol.optimizer
        self.order = BatchOrder(
            len(images.train_images), protocol.batch, seed, pad=augmentation.pad, flip=augmentation.flip
        )
        self.prepare = Preparation(self.images.train_images, mean=augmentation.mean, pad=augmentation.pad)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=0.0,  # set at every step
            momentum=optimizer.momentum,
            nesterov=optimizer.nesterov,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[float, int] | None = None
        self.every = max(1, protocol.iterations // POINTS)
        # loss and number of errors of each iteration since the last point
        self.window = torch.zeros(self.every, 2, device=device)

    def run(self) -> Iterator[Stepped | MetricPoint | Finished]:
        """Train to the end, from wherever the state stands.

        Raises:
            Divergence: a training loss is not finite.
        """
        self.net.train()
        last = self.protocol.iterations
        while self.step < last:
            started = time.perf_counter()
            self._iterate()
            points: list[MetricPoint] = []
            if self.step % self.every == 0 or self.step == last:
                points += self._training_points()  # waits for the device, so that its time is counted here
            self.seconds += time.perf_counter() - started
            if self.step % self.protocol.evaluation.every == 0 and self.step < last:
                points += self._test_points(self.evaluate())
            yield from points
            yield Stepped(self.step)
        final = self.evaluate()
        yield from self._test_points(final)
        yield self._finished(final)

    def evaluate(self) -> Evaluated:
        """Take the test error of the present weights, on the first images only where the protocol says so."""
        some = slice(0, self.protocol.evaluation.images)
        with self._draws("evaluation"):
            return evaluate(self.net, self.images.test_images[some], self.images.test_labels[some], self._plain)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return everything that a resume needs: tensors by name, and plain values."""
        tensors = {f"net/{name}": value for name, value in _unshared(self.net.state_dict()).items()}
        for name, parameter in self.net.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum/{name}"] = momentum
        tensors["window"] = self.window
        return tensors, {"step": self.step, "seconds": self.seconds, "best": self.best}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Continue from a state that ``state`` returned."""
        self.net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net/")})
        for name, parameter in self.net.named_parameters():
            momentum = tensors.get(f"momentum/{name}")
            if momentum is not None:
                # the buffer takes the parameter's memory format, as the optimiser makes it
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
        self.window.copy_(tensors["window"])
        self.step, self.seconds = int(values["step"]), float(values["seconds"])
        self.best = tuple(values["best"]) if values["best"] else None

    def _iterate(self) -> None:
        """Take one step: augmentation, forward, backward, update."""
        rate = learning_rate(self.protocol.schedule, self.protocol.iterations, self.step)
        with part("draw"):
            draw = self.order.draw(self.step)
            targets = self.labels[draw.index.to(self.device)]
        with part("augmentation"):
            images = self.prepare.augmented(self.images.train_images, draw).contiguous(memory_format=self.format)
        with self._draws("forward"):
            with part("forward"):
                logits = self.net(images)
                loss = functional.cross_entropy(logits, targets)
            with part("backward"):
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
        with part("update"):
            self.optimizer.param_groups[0]["lr"] = rate
            self.optimizer.step()
        with torch.no_grad():
            row = self.window[self.step % self.every]
            row[0], row[1] = loss, (logits.argmax(dim=1) != targets).sum()
        self.step += 1

    def _plain(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare test images, in the memory format of the net."""
        return self.prepare.plain(images).contiguous(memory_format=self.format)

    def _draws(self, purpose: str) -> AbstractContextManager[None]:
        """Give a foreign net its own random numbers for this iteration; other nets draw none."""
        return global_stream(self.seed, purpose, self.step) if self.foreign else nullcontext()

    def _training_points(self) -> list[MetricPoint]:
        """Read back the window: the only time that the host waits for the device while training."""
        losses, errors = self._checked_window()
        rate = learning_rate(self.protocol.schedule, self.protocol.iterations, self.step - 1)
        wrong = 100 * float(errors.mean()) / self.protocol.batch
        values = {"train_loss": float(losses.mean()), "train_error_pct": wrong, "lr": rate}
        return [MetricPoint(name, self.step, value) for name, value in values.items()]

    def _checked_window(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return losses and numbers of errors since the last point, after a look at each loss."""
        count = (self.step - 1) % self.every + 1
        losses, errors = self.window[:count].cpu().double().unbind(dim=1)
        for offset, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise Divergence(self.step - count + offset + 1, loss)
        return losses, errors

    def _test_points(self, found: Evaluated) -> list[MetricPoint]:
        if not math.isfinite(found.loss):  # the weights are lost, whatever error they happen to give
            self._checked_window()  # names the iteration where it began
            raise Divergence(self.step, found.loss, "test")
        if self.best is None or found.error_pct < self.best[0]:
            self.best = (found.error_pct, self.step)
        return [
            MetricPoint("test_error_pct", self.step, found.error_pct),
            MetricPoint("test_loss", self.step, found.loss),
        ]

    def _finished(self, final: Evaluated) -> Finished:
        best_error, best_step = self.best or (final.error_pct, self.step)
        metrics = {
            "error_pct": final.error_pct,
            "loss": final.loss,
            "best_error_pct": best_error,
            "best_iteration": float(best_step),
            "train_seconds": self.seconds,
            "images_per_s": self.step * self.protocol.batch / self.seconds if self.seconds else 0.0,
        }
        return Finished(metrics, Predictions(final.predictions))


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give a tensor that stands under several names, as in a net with tied weights, a copy under each further one."""
    seen: set[int] = set()
    kept = {}
    for name, value in tensors.items():
        shared = value.numel() > 0 and value.data_ptr() in seen
        seen.add(value.data_ptr())
        kept[name] = value.clone() if shared else value
    return kept
