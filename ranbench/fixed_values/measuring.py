"""Takes the fixed values of nets: real nets, real augmentation, real steps, in float64 on one thread of a CPU."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ranbench.catalogue import has_known_depth, is_foreign, net_info
from ranbench.complexity import net_of, trunk_depth
from ranbench.complexity.counting import count
from ranbench.complexity.ledger import Memo
from ranbench.complexity.registry import collector_paused
from ranbench.counts import key as counts_key
from ranbench.data import ImageSet
from ranbench.data.digits import load_digits
from ranbench.data.noise import flip_labels
from ranbench.data.streams import global_stream, stream
from ranbench.environment import describe
from ranbench.errors import EnvironmentProblem, RanbenchError, SpecError, one_line
from ranbench.fixed_values.nets import BATCH, Net
from ranbench.fixed_values.record import LOSSES, Context, FixedValues, Values
from ranbench.fixed_values.thinning import Thinned, thinned
from ranbench.models import build
from ranbench.models.attention import SoftMask
from ranbench.spec import DataSpec
from ranbench.training import Training

SEED = 0
TRAINING_IMAGES = 60  # the eighth of ten batches runs over the end of an epoch
MOST_MACS = 10**9  # of a foreign net that is trained: some ten seconds on one thread
# How steady a net is: weights are moved by a hundred times what another processor rounds away, and a loss is steady
# that moves by a hundredth of what is tolerated at most.
MOVED = 1e-13
STEADY = 1e-8
CPU = torch.device("cpu")
Found = TypeVar("Found")
Progress = Callable[[Net, int, int], None]


def measure(
    nets: Iterable[Net],
    progress: Progress | None = None,
    *,
    trusted: bool = False,
    steadiness: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[FixedValues, ...]:
    """Take the fixed values of nets, in their order.

    A net whose library is not installed, that breaks or diverges, or that is foreign and too large or does not work in
    float64 has its problem in place of its values; it is counted where it can be. The number of threads of the process
    is as before afterwards.

    Args:
        nets: as ``nets_of`` lists them.
        progress: told each net before it is measured, how many were, and how many there are.
        trusted: the code of a user's own net may be run.
        steadiness: measure as well how many steps stay where a last bit changes, which takes twice as long.
        stopped: is asked before each net; where it says so, that net and those behind it are not measured.
    """
    listed = tuple(nets)
    measuring = _Measuring(_context(), trusted, steadiness)
    found = []
    with _one_thread(), collector_paused():
        for index, net in enumerate(listed):
            if stopped():
                break
            if progress is not None:
                progress(net, index, len(listed))
            found.append(measuring.of(net))
    return tuple(found)


@dataclass(frozen=True)
class _Counted:
    counts: dict[str, int]
    output: tuple[int, ...]


class Taken:
    """The values of a net while they are taken, and a hash of the bytes of each part: of what stands before the dot."""

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self.steady: int | None = None
        self._parts: dict[str, Any] = {}

    def keep(self, name: str, numbers: torch.Tensor, *, values: bool = True) -> None:
        """Keep numbers under a name, and their bytes in the hash of its part."""
        flat = numbers.detach().to(torch.float64).contiguous().flatten()
        self._parts.setdefault(name.split(".", maxsplit=1)[0], hashlib.sha256()).update(flat.numpy().tobytes())
        if values:
            self.values[name] = tuple(flat.tolist())

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of each part by its name."""
        return {part: digest.hexdigest() for part, digest in self._parts.items()}


class _Measuring:
    """What nets that are measured after each other have in common is taken once."""

    def __init__(self, context: Context, trusted: bool, steadiness: bool):
        self.context, self.trusted, self.steadiness = context, trusted, steadiness
        self.memo: Memo = {}
        self.counted: dict[str, _Counted] = {}
        self.reduced: dict[tuple[object, ...], Thinned] = {}
        self.taken: dict[tuple[str, str, str], Taken] = {}

    def of(self, net: Net) -> FixedValues:
        context = replace(self.context, library=_version(net_info(net.model.name).library))
        found = FixedValues(net.key, net.name, net.identity, context)
        try:
            whole = self._counts(net)
            found = replace(found, counts=whole.counts, output=whole.output)
            small = self._reduced(net)
            taken = self._values(net, small.net)
        except RanbenchError as error:
            return replace(found, problem=str(error), absent=isinstance(error, EnvironmentProblem))
        except Exception as error:  # what is broken in one net, the others are measured all the same
            return replace(found, problem=f"{type(error).__name__}: {one_line(error)}")
        found = replace(found, reduced=_words(net, small), steady=taken.steady)
        return replace(found, values=taken.values, hashes=taken.hashes)

    def _counts(self, net: Net) -> _Counted:
        name = counts_key(net.model, net.data)
        if name not in self.counted:
            self.counted[name] = _count(net, self.trusted, self.memo)
        return self.counted[name]

    def _reduced(self, net: Net) -> Thinned:
        """The reduced form as it was built; a copy of it is trained."""
        if is_foreign(net.model.name):
            return _foreign(net, self._counts(net).counts["macs"], self.trusted)
        form = (net.model, net.data.info.form, net.shape, net.num_classes)
        if form not in self.reduced:
            self.reduced[form] = thinned(net.model, net.data, net.shape, net.num_classes)
        return self.reduced[form]

    def _values(self, net: Net, module: nn.Module) -> Taken:
        """Of nets that differ in their length or number of classes alone, the reduced forms may be one."""
        own = net.model.name if is_foreign(net.model.name) else ""  # the code of two that print as one may differ
        form = (own, repr(module), net.steps)
        if form not in self.taken:
            taken = self.taken[form] = _taken(net, copy.deepcopy(module))
            if self.steadiness:
                losses = _moved(net, copy.deepcopy(module))
                taken.steady = _alike(taken.values[LOSSES], losses)
        return self.taken[form]


def _foreign(net: Net, macs: int, trusted: bool) -> Thinned:
    """Build a foreign net as it is, in float64 from its first number on: nothing is known of how to make it smaller.

    Raises:
        SpecError: it takes too long for every push.
    """
    name = net.model.name
    if macs > MOST_MACS:
        raise SpecError(
            f"model {name!r} takes {macs:,} multiply-adds an image: foreign nets above {MOST_MACS:,} are counted alone"
        )
    with global_stream(SEED, "init"), _float64():
        made = build(name, net.model.options, net.shape, net.num_classes, form=net.data.info.form, trusted=trusted)
    return Thinned(made, 1, 0)


@contextmanager
def _float64() -> Iterator[None]:
    """Let tensors be float64 where nobody says otherwise: float32 draws of PyTorch differ between processors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _count(net: Net, trusted: bool, memo: Memo) -> _Counted:
    """Count the whole net, on the meta device."""
    module = net_of(net.model, net.data, trusted=trusted)
    depth = trunk_depth(module) if has_known_depth(net.model.name) else None
    shapes: list[tuple[int, ...]] = []

    def see(_: nn.Module, inputs: object, output: torch.Tensor) -> None:
        shapes.append(tuple(output.shape))

    module.register_forward_hook(see)
    found = count(module, net.data.shape, memo=memo)
    counts = {"parameters": found.parameters, "macs": found.macs}
    return _Counted(counts if depth is None else {**counts, "depth": depth}, shapes[-1])


def _taken(net: Net, module: nn.Module) -> Taken:
    """Forward in training and evaluation mode, ten steps, forward again.

    Raises:
        SpecError: a foreign net does not work in float64.
        RanbenchError: it diverges.
    """
    return _with_its_draws(net, lambda: _passed(net, module))


def _moved(net: Net, module: nn.Module) -> Values:
    """Return the losses of ten steps that begin at weights which are changed in about their last bits."""

    def steps() -> Values:
        training = _training(net, module)
        draw = stream(SEED, "moved")
        with torch.no_grad():
            for value in training.net.parameters():
                value.mul_(1.0 + MOVED * torch.from_numpy(draw.standard_normal(tuple(value.shape))))
        return tuple(_step(training) for _ in range(net.protocol.iterations))

    return _with_its_draws(net, steps)


def _alike(losses: Values, moved: Values) -> int:
    """Count the losses, from the first on, that moved weights leave where they are."""
    largest = max(map(abs, losses))
    apart = (abs(one - other) > STEADY * largest for one, other in zip(losses, moved, strict=True))
    return next((index for index, is_apart in enumerate(apart) if is_apart), len(losses))


def _with_its_draws(net: Net, take: Callable[[], Found]) -> Found:
    """Take values of a net; a foreign one draws for itself, in a dropout for instance, from a stream of its own.

    Raises:
        SpecError: a foreign net does not work in float64.
        RanbenchError: it diverges.
    """
    if not is_foreign(net.model.name):
        return take()
    try:
        with global_stream(SEED, "fixed values"):
            return take()
    except RanbenchError:
        raise
    except Exception as error:  # whatever a foreign net raises is the user's to mend
        raise SpecError(f"model {net.model.name!r} does not train in float64: {one_line(error)}") from error


def _passed(net: Net, module: nn.Module) -> Taken:
    training = _training(net, module)
    taken = Taken()
    _forward(training, taken)
    losses = [_step(training) for _ in range(net.protocol.iterations)]
    taken.keep(LOSSES, torch.tensor(losses, dtype=torch.float64))
    _state(training.net, taken)
    logits = training.inspect(lambda inner, images, prepare: _logits(inner.eval(), prepare(images)))
    taken.keep("after.logits", logits[:2])
    return taken


def _forward(training: Training, taken: Taken) -> None:
    """Pass the test images through a copy of the net: in training mode, then in evaluation mode.

    The second pass normalises by running statistics that the first one has moved by the momentum of BatchNorm.
    """

    def look(net: nn.Module, images: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor]) -> None:
        prepared = prepare(images)
        taken.keep("images", _summary(prepared))
        passed = copy.deepcopy(net)
        for mode in ("training", "evaluation"):
            passed.train(mode == "training")
            with _listening(passed, partial(_keep_summary, taken, mode)):
                logits = _logits(passed, prepared)
            taken.keep(f"{mode}.logits", logits[:2])

    training.inspect(look)


def _keep_summary(taken: Taken, mode: str, name: str, features: torch.Tensor) -> None:
    taken.keep(f"{mode}.{name}", _summary(features))


def _logits(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = net(images)
    return logits


def _summary(features: torch.Tensor) -> torch.Tensor:
    """Mean and root mean square, of which the second is the scale that both are compared by."""
    values = features.detach().to(torch.float64)
    return torch.stack([values.mean(), values.square().mean().sqrt()])


def _step(training: Training) -> float:
    """Take one step and return its loss."""
    points = {point.name: point.value for point in training.take_step()}
    return points["train_loss"]


def _state(net: nn.Module, taken: Taken) -> None:
    """Keep the norms of what was trained, by kind of layer, and of the running statistics; hashes of all of it."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    of_norms = {id(value) for module in norms for value in module.parameters()}
    parameters = list(net.parameters())
    groups: dict[str, list[torch.Tensor]] = {
        "steps.weights": [value for value in parameters if id(value) not in of_norms],
        "steps.normalisation": [value for value in parameters if id(value) in of_norms],
        "steps.running_means": [module.running_mean for module in norms if module.running_mean is not None],
        "steps.running_variances": [module.running_var for module in norms if module.running_var is not None],
    }
    for name, tensors in groups.items():
        if tensors:
            whole = torch.cat([value.detach().contiguous().flatten() for value in tensors])
            taken.keep(name, whole, values=False)
            taken.values[name] = (float(whole.norm()),)


def _words(net: Net, small: Thinned) -> str:
    """Say how a reduced form differs from the whole net."""
    words = [f"images {'x'.join(map(str, net.shape))}"]
    words += [f"{net.num_classes} classes"] if net.num_classes != net.data.info.num_classes else []
    words += [f"widths / {small.divisor}"] if small.divisor > 1 else []
    words += [f"{small.left_out} equal blocks left out"] if small.left_out else []
    return ", ".join(words)


def _training(net: Net, module: nn.Module) -> Training:
    images = _images(net)
    true, classes, noise = images.train_labels, images.num_classes, net.noise

    def noisy(epoch: int | None = None) -> torch.Tensor:
        return true if noise is None else flip_labels(true, noise.rate, classes, SEED, epoch).labels

    each_epoch = noise is not None and noise.drawn == "each-epoch"
    return Training(
        module.double(),  # before it is initialised: float32 draws of PyTorch differ between processors
        images,
        noisy(0 if each_epoch else None),
        net.protocol,
        seed=SEED,
        device=CPU,
        redrawn=(lambda epoch: noisy(epoch).numpy()) if each_epoch else None,
        foreign=is_foreign(net.model.name),
        threads=1,
        dtype=torch.float64,
    )


def _images(net: Net) -> ImageSet:
    """Return a few real digits, or images of noise drawn from a fixed stream, with labels of every class."""
    if net.data.name == "digits":
        digits = load_digits(DataSpec.of("digits"), Path())
        train, test = slice(TRAINING_IMAGES), slice(BATCH)
        return ImageSet(
            digits.train_images[train],
            digits.train_labels[train],
            digits.test_images[test],
            digits.test_labels[test],
            digits.num_classes,
        )
    count, classes = TRAINING_IMAGES + BATCH, net.num_classes
    drawn = stream(SEED, "fixed values").integers(0, 256, size=(count, *net.shape), dtype=np.uint8)
    pixels, labels = torch.from_numpy(drawn), torch.arange(count) % classes
    train, test = slice(TRAINING_IMAGES), slice(TRAINING_IMAGES, count)
    return ImageSet(pixels[train], labels[train], pixels[test], labels[test], classes)


@contextmanager
def _listening(net: nn.Module, hear: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Tell the outputs of the net's parts, of its stages and of its masks as they come."""

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def told(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                hear(name, output)

        return told

    with ExitStack() as stack:
        for name, module in _places(net).items():
            stack.callback(module.register_forward_hook(hook(name)).remove)
        yield


def _places(net: nn.Module) -> dict[str, nn.Module]:
    parts = dict(net.named_children())
    stages = parts.get("stages")
    if isinstance(stages, nn.Sequential):
        parts |= {f"stages.{name}": stage for name, stage in stages.named_children()}
        del parts["stages"]
    return parts | {name: module for name, module in net.named_modules() if isinstance(module, SoftMask)}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _context() -> Context:
    here = describe(CPU, 1, "eager")
    return Context(str(torch.__version__), torch.backends.cpu.get_cpu_capability(), here.device_name, 1)


def _version(library: str | None) -> str:
    if library is None:
        return ""
    try:
        return f"{library} {importlib.metadata.version(library)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{library} is not installed"
