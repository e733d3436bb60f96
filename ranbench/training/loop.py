"""The training loop of one run: by iterations, as the paper counts them. A generator that the caller may stop.

    training = Training(net, images, labels, protocol, seed=seed, device=device)
    for record in training.run():
        ...

Between two records the state is that of a whole number of iterations, so the caller can save it, or stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ranbench.data.augmentation import BatchOrder
from ranbench.data.photos import Images, PhotoSet
from ranbench.data.reading import usual_workers
from ranbench.data.squares import Squares, as_test_images, images_to_test, prepare
from ranbench.data.streams import global_stream, torch_seed
from ranbench.errors import Divergence
from ranbench.models import initialise
from ranbench.records import MEMORISATION, MetricPoint, Predictions
from ranbench.spec import Protocol
from ranbench.training.evaluate import Evaluated, check_classes, evaluate
from ranbench.training.feed import feed_of
from ranbench.training.graph import RecordedStep
from ranbench.training.memorising import memorised
from ranbench.training.norms import running_statistics, share_statistics
from ranbench.training.parts import part
from ranbench.training.paths import Arithmetic, EnginePath, choose_path
from ranbench.training.ranks import ALONE, Ranks, check_shares
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


Record = Stepped | MetricPoint | Finished
T = TypeVar("T")
Look = Callable[[nn.Module, Any, Callable[[torch.Tensor], torch.Tensor]], T]


class Training:
    """A net on its way through a protocol.

    Args:
        net: a module that gives (B, classes) for (B, C, H, W); it is initialised here, from the seed, unless foreign.
        images: the dataset, on any device; it is moved to ``device``, or read from its files as it is needed.
        labels: training labels (N,), int64, which may differ from ``images.train_labels`` where there is noise.
        redrawn: gives the labels of an epoch (from 0) in place of ``labels``, where their noise is drawn anew.
        noisy: labels are wrong on purpose; what the net makes of them is seen at each evaluation, as a series.
        protocol: iterations, batch, schedule and so on.
        seed: of all random streams.
        device: where to train.
        foreign: the net is not one of the catalogue. It keeps the weights that it comes with (a transformer is not to
            be overwritten by the rule for convolutions), it is given contiguous images (a user's ``view`` takes no
            others), and what it draws from torch's global generators, for instance in dropout, comes from a stream of
            the seed and the iteration, so that such a net repeats and resumes like any other.
        path: which way its steps take; the engine's choice if left out.
        threads: of its steps on a CPU; the setting of the process if left out.
        dtype: of weights and images; float64 is for comparing two paths, a protocol's precision says the rest.
        ranks: the processes that train this net together, each of which makes one of these and takes the same steps.
        workers: processes that decode images ahead, where they are in files; the cores shared out if left out.

    Raises:
        EnvironmentProblem: the device does not have the protocol's precision.
        SpecError: there are more classes than predictions can be kept of, or batches that ``ranks`` cannot share.
    """

    def __init__(
        self,
        net: nn.Module,
        images: Images,
        labels: torch.Tensor,
        protocol: Protocol,
        *,
        seed: int,
        device: torch.device,
        redrawn: Callable[[int], np.ndarray] | None = None,
        noisy: bool = False,
        foreign: bool = False,
        path: EnginePath | None = None,
        threads: int | None = None,
        dtype: torch.dtype = torch.float32,
        ranks: Ranks = ALONE,
        workers: int | None = None,
    ):
        check_classes(images.num_classes)
        check_shares(protocol, len(images.train_images), ranks.count)
        if not foreign:
            initialise(net, protocol.initialisation, torch.Generator().manual_seed(torch_seed(seed, "init")))
        self.seed, self.foreign, self.threads, self.dtype = seed, foreign, threads, dtype
        self.noisy, self.redrawn = noisy, redrawn
        self.protocol, self.device, self.ranks = protocol, device, ranks
        self.workers = usual_workers(ranks.count) if workers is None else workers
        self.path = path or choose_path("auto", device, foreign=foreign)
        self.arithmetic = Arithmetic(protocol.precision, device, deterministic=self.path.deterministic)
        # several runs of one device each have their own queue
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        with self._placed():
            net = share_statistics(net, protocol.batch, protocol.norm_batch, ranks)
            self.net = net.to(device, dtype).to(memory_format=self.path.memory_format)
            self.images, self.labels = images.to(device), labels.to(device)
            self.prepare = prepare(self.images, protocol, device)
            self.tests = images_to_test(self.images, protocol, device, self.workers)
            self._forward = torch.compile(self.net) if self.path.compiled else ranks.parallel(self.net)
            # where processes have statistics of their own, the running ones are moved by the mean of all
            own_statistics = ranks.count > 1 and protocol.norm_batch is not None
            self._averaged = running_statistics(self.net) if own_statistics else []
            self._optimise()
            self._feed(redrawn)
        self._recorded: RecordedStep | None = None
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[float, int] | None = None

    def _optimise(self) -> None:
        """Make the optimiser; its rate is a tensor that each step sets, and its momenta begin at zero."""
        optimizer = self.protocol.optimizer
        self.rate = torch.zeros((), dtype=torch.float32 if self.device.type == "cuda" else torch.float64).to(
            self.device
        )
        self.optimizer = torch.optim.SGD(
            _groups(self.net, decay_norm=optimizer.decay_norm),
            lr=self.rate,
            momentum=optimizer.momentum,
            nesterov=optimizer.nesterov,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )
        if optimizer.momentum:
            for parameter in self.net.parameters():
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def _feed(self, redrawn: Callable[[int], np.ndarray] | None) -> None:
        """Make what hands the steps their batches, and what keeps their losses."""
        self.order = BatchOrder.of(self.images, self.protocol, self.seed, redrawn)
        # not by a method of this object: a cycle would keep a finished run's memory of a GPU until it is found
        rate = partial(_rate_of, self.protocol)
        self.feed = feed_of(
            self.images, self.protocol, self.order, rate, device=self.device, ranks=self.ranks, workers=self.workers
        )
        self.every = max(1, self.protocol.iterations // POINTS)
        # loss and number of errors of each iteration since the last point, and how many rows are filled
        self.window = torch.zeros(self.every, 2, dtype=self.dtype, device=self.device)
        self.filled = torch.zeros(1, dtype=torch.int64, device=self.device)

    def run(self) -> Iterator[Record]:
        """Train to the end, from wherever the state stands.

        Raises:
            Divergence: a training loss is not finite.
        """
        while not self.complete:
            started = time.perf_counter()
            points = self.take_step()
            self.seconds += time.perf_counter() - started
            yield from [*points, *self.look()]
            yield Stepped(self.step)
        yield from self.finish()

    @property
    def complete(self) -> bool:
        """Whether all iterations are done."""
        return self.step >= self.protocol.iterations

    @property
    def _looks(self) -> bool:
        """Whether the protocol wants an evaluation after this iteration, which is not the last one."""
        return self.step % self.protocol.evaluation.every == 0 and not self.complete

    def take_step(self) -> list[MetricPoint]:
        """Take one iteration and return the training points that are due after it.

        Only where points or an evaluation are due does the host wait for the device, so that its time is counted here.

        Raises:
            Divergence: a training loss since the last points is not finite.
            ProcessLost: another process of the run ended.
        """
        self.ranks.tell("step")
        self.net.train()
        with self._placed(), self.ranks.watch():
            self.feed.reach(self.step)
            self._iterate()
            if self.step % self.every == 0 or self.complete:
                return self._training_points()
        if self._looks and self.stream is not None:
            self.stream.synchronize()
        return []

    def look(self) -> list[MetricPoint]:
        """Evaluate where the protocol wants it after this iteration; the last one is evaluated by ``finish``.

        Raises:
            Divergence: the test loss is not finite.
        """
        if not self._looks:
            return []
        self.ranks.tell("look")
        return [*self._test_points(self.evaluate()), *self._memorised()]

    def finish(self) -> list[MetricPoint | Finished]:
        """Evaluate after the last iteration; the last record is the result.

        Raises:
            Divergence: the test loss is not finite.
        """
        self.ranks.tell("finish")
        final = self.evaluate()
        points = [*self._test_points(final), *self._memorised()]
        last = {MEMORISATION[point.name]: point.value for point in points if point.name in MEMORISATION}
        return [*points, self._finished(final, last)]

    def evaluate(self) -> Evaluated:
        """Take the test error of the present weights, on the first images only where the protocol says so."""
        labels = self.images.test_labels[: self.protocol.evaluation.images]
        return self.inspect(lambda net, images, prepare: evaluate(net, images, labels, prepare, self.ranks))

    def inspect(self, look: Look[T]) -> T:
        """Return what ``look`` finds: it is given the net, the test images of the protocol, and what prepares them.

        It sees them as an evaluation does, in the run's queue, threads and arithmetic.
        """
        return self._seen(self.tests, look, "evaluation")

    def _seen(self, images: torch.Tensor | Squares, look: Look[T], purpose: str) -> T:
        with self._placed(), self.arithmetic.autocast(), self._draws(purpose):
            return look(self.net, images, self._plain)

    def close(self) -> None:
        """Let the processes that read ahead end; the net stays as it is."""
        self.feed.close()

    def share_state(self) -> None:
        """Let all processes stand where rank 0 stands."""
        tensors, values = self.state()
        with self._placed():
            self.ranks.spread(list(tensors.values()))
        if self.ranks.leads:
            self.ranks.tell(values)
        else:
            self.load_state(tensors, self.ranks.listen())

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return everything that a resume needs: tensors by name, and plain values."""
        if self.stream is not None:
            started = time.perf_counter()
            self.stream.synchronize()
            self.seconds += time.perf_counter() - started  # of the steps that were still in the queue
        tensors = {f"net/{name}": value for name, value in _unshared(self.net.state_dict()).items()}
        tensors |= {f"momentum/{name}": value for name, value in self._momenta().items()}
        tensors["window"] = self.window
        return tensors, {"step": self.step, "seconds": self.seconds, "best": self.best}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Continue from a state that ``state`` returned."""
        with self._placed():
            self.net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net/")})
            for name, momentum in self._momenta().items():
                momentum.copy_(tensors[f"momentum/{name}"])
            self.window.copy_(tensors["window"])
            self.step, self.seconds = int(values["step"]), float(values["seconds"])
            self.best = tuple(values["best"]) if values["best"] else None
            self.filled.fill_(self.step % self.every)
            self.feed.load(self.step)

    def _momenta(self) -> dict[str, torch.Tensor]:
        """The optimiser's momenta by the names of their parameters; they lie in memory as these do."""
        state = self.optimizer.state
        found = {name: state[parameter].get("momentum_buffer") for name, parameter in self.net.named_parameters()}
        return {name: momentum for name, momentum in found.items() if momentum is not None}

    def _placed(self) -> AbstractContextManager[object]:
        """Work in the run's own queue of the device, with its number of threads, in the protocol's arithmetic."""
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)  # holds for the thread that asks
        stack = ExitStack()
        stack.enter_context(self.arithmetic())
        if self.stream is not None:
            stack.enter_context(torch.cuda.stream(self.stream))
        return stack

    def _iterate(self) -> None:
        """Take one step, by the path; a batch that is the rest of an epoch has another size than a recorded one."""
        size = self.order.size(self.step)
        if self.path.graph and self.stream is not None and size == self.protocol.batch:
            if self._recorded is None:
                changing, forget = self._changing(), self._forget_gradients
                self._recorded = RecordedStep(lambda: self._whole_step(size), changing, forget, self.stream)
            self._recorded.replay()
        else:
            self._whole_step(size)
        self.step += 1

    def _whole_step(self, size: int) -> None:
        """Augmentation, forward, backward, update of ``size`` images; all that it touches lies on the device.

        Of several processes each takes its share, and all have the same number of images.
        """
        with part("draw"):
            draw = self.feed.take(self.rate)
            share = size // self.ranks.count
            if size < self.protocol.batch:
                draw = draw.map(lambda rows: rows[:share])
            targets = self.labels.index_select(0, draw.index) if draw.labels is None else draw.labels
        with part("augmentation"):
            images = self._laid(self.prepare.augmented(draw))
        with self._draws("forward"):
            with part("forward"):
                with self.arithmetic.autocast():
                    logits = self._forward(images)
                logits = logits.to(self.dtype)
                loss = functional.cross_entropy(logits, targets)
            with part("backward"):
                self._forget_gradients()
                loss.backward()  # type: ignore[no-untyped-call]
        with part("update"):
            self.optimizer.step()
        with torch.no_grad():
            wrong = (logits.argmax(dim=1) != targets).sum() * (self.protocol.batch / size)
            row = torch.stack([loss.detach(), wrong.to(self.dtype)]).unsqueeze(0)
            if self.ranks.count > 1:
                row[:, 0] /= self.ranks.count
                self.ranks.add(row)
                self.ranks.average(self._averaged)
            self.window.index_copy_(0, self.filled, row)
            self.filled.add_(1).remainder_(self.every)

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def _changing(self) -> list[torch.Tensor]:
        """Every tensor that a step changes."""
        mine = [self.window, self.filled, self.feed.position, self.rate]
        return [*self.net.state_dict().values(), *self._momenta().values(), *mine]

    def _plain(self, images: torch.Tensor) -> torch.Tensor:
        """Prepare test images, in the memory format of the net."""
        return self._laid(self.prepare.plain(images))

    def _laid(self, images: torch.Tensor) -> torch.Tensor:
        """Lay images in memory as the path says, also those of one channel, which count as both."""
        laid = images.to(self.dtype).contiguous(memory_format=self.path.memory_format)
        return laid if self.path.channels_last else laid.flatten().view(laid.shape)

    def _draws(self, purpose: str) -> AbstractContextManager[None]:
        """Give a foreign net its own random numbers for this iteration and process; other nets draw none."""
        process = (self.ranks.rank,) if self.ranks.rank else ()
        return global_stream(self.seed, purpose, self.step, *process) if self.foreign else nullcontext()

    def _training_points(self) -> list[MetricPoint]:
        """Read back the window: the only time that the host waits for the device while training."""
        losses, errors = self._checked_window()
        wrong = 100 * float(errors.mean()) / self.protocol.batch
        values = {
            "train_loss": float(losses.mean()),
            "train_error_pct": wrong,
            "lr": _rate_of(self.protocol, self.step - 1),
        }
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

    def _memorised(self) -> list[MetricPoint]:
        """See what the net makes of wrong labels; where they are drawn anew, of those of the epoch that was last."""
        if not self.noisy or not self.ranks.leads:
            return []
        epoch = self.order.epoch(self.step - 1)
        given = self.labels.cpu().numpy() if self.redrawn is None else self.redrawn(epoch)
        true = self.images.train_labels.cpu().numpy()
        found = self._seen(
            as_test_images(self.images, self.protocol, self.device, self.workers),
            lambda net, images, prepare: memorised(
                net, images, prepare, true, given, seed=self.seed, most=len(self.tests)
            ),
            "memorised",
        )
        return [MetricPoint(name, self.step, value) for name, value in found.items()]

    def _finished(self, final: Evaluated, noise: Mapping[str, float]) -> Finished:
        best_error, best_step = self.best or (final.error_pct, self.step)
        metrics = {
            "error_pct": final.error_pct,
            **({"top5_error_pct": final.top5_error_pct} if isinstance(self.images, PhotoSet) else {}),
            "loss": final.loss,
            "best_error_pct": best_error,
            "best_iteration": float(best_step),
            "train_seconds": self.seconds,
            "images_per_s": self.order.seen(self.step) / self.seconds if self.seconds else 0.0,
            **noise,
        }
        return Finished(metrics, Predictions(final.predictions))


def _rate_of(protocol: Protocol, step: int) -> float:
    """The learning rate of an iteration; beyond the last one it is that of the last one, and is not used."""
    return learning_rate(protocol.schedule, protocol.iterations, min(step, protocol.iterations - 1))


def _groups(net: nn.Module, *, decay_norm: bool) -> list[dict[str, Any]]:
    """The trained values in groups of one weight decay: BatchNorm's scale and shift have none if so wished."""
    if decay_norm:
        return [{"params": list(net.parameters())}]
    norms = {id(value) for module in net.modules() if isinstance(module, _BatchNorm) for value in module.parameters()}
    plain = [value for value in net.parameters() if id(value) not in norms]
    return [
        {"params": plain},
        {"params": [value for value in net.parameters() if id(value) in norms], "weight_decay": 0.0},
    ]


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give a tensor that stands under several names, as in a net with tied weights, a copy under each further one."""
    seen: set[int] = set()
    kept = {}
    for name, value in tensors.items():
        shared = value.numel() > 0 and value.data_ptr() in seen
        seen.add(value.data_ptr())
        kept[name] = value.clone() if shared else value
    return kept
