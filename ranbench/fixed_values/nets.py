"""Which nets there are fixed values of: those of the suites, each once, in a form small enough for every push.

What is reduced, and how: the side of the input, the batch, the rates, the number of iterations, to which drops and
warm-up are scaled, here; widths and long chains of equal blocks in ``thinning``. Read without torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ranbench.catalogue import ATTENTION_OPTIONS, Form, is_attention_net, is_foreign, net_info, smallest_side
from ranbench.spec import (
    Augmentation,
    DataSpec,
    Evaluation,
    ModelSpec,
    NoiseSpec,
    OneCycle,
    Optimizer,
    Protocol,
    Schedule,
    Steps,
    digest,
)
from ranbench.suite import Suite

STEPS = 10
BATCH = 8
WARM_UP = 2  # iterations at least, so that a rate between its ends is used
# Of the rates of the protocol. At a tenth of them eight images still drive some nets apart within ten steps, naive ones
# above all: a last bit that another processor rounds in another way grows to 1e-2.
RATE = 0.003
# Which share of the input's side is kept: 32 -> 16, 224 -> 64, 8 -> 8. Every map of a mask keeps two positions or more
# but those of the lowest level of the digits, whose nets are measured as they are.
KEPT_SIDE: dict[Form, tuple[int, int]] = {"cifar": (1, 2), "imagenet": (2, 7), "digits": (1, 1)}
MOST_CLASSES = 10  # the head of more is counted, and its reduced form has so many outputs

_OPTIMIZER = Optimizer(momentum=0.9, nesterov=True, weight_decay=1e-4)
_STEPS = Steps(kind="steps", lr=0.1, drops=(4, 6), factor=0.1)
_PLAIN = Protocol(
    iterations=STEPS,
    batch=BATCH,
    schedule=_STEPS,
    optimizer=_OPTIMIZER,
    augmentation=Augmentation(mean="image", pad=4, flip=True),
    evaluation=Evaluation(every=STEPS),
    initialisation="he-fan-in",
    precision="float32",
)
# The protocols of nets that no suite trains.
UNTRAINED: dict[Form, Protocol] = {
    "cifar": _PLAIN,
    "digits": _PLAIN,
    "imagenet": _PLAIN.model_copy(
        update={
            "augmentation": Augmentation(
                mean="channel", std="channel", pad=0, flip=True, scale=(0.08, 1.0), aspect=(0.75, 4 / 3), colour="pca"
            ),
            "evaluation": Evaluation(every=STEPS, resize=256, crop=224),
        }
    ),
}


@dataclass(frozen=True)
class Net:
    """A net with what its numbers depend on: options, form of the data, noise, and the protocol of ten steps.

    ``suites`` name the suites that have it, and are no part of what it is.
    """

    model: ModelSpec
    data: DataSpec
    noise: NoiseSpec | None
    protocol: Protocol
    suites: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the reduced form is given."""
        return reduced_shape(self.model, self.data)

    @property
    def num_classes(self) -> int:
        """Classes of the reduced form."""
        return min(self.data.info.num_classes, MOST_CLASSES)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All of it as plain values. The split and the checksum of the data are left out: its images are not used."""
        info = self.data.info
        return {
            "model": self.model.model_dump(mode="json", exclude_none=True),
            "data": {
                "name": self.data.name,
                "form": info.form,
                "shape": list(self.data.shape),
                "classes": info.num_classes,
            },
            "noise": self.noise.model_dump(mode="json") if self.noise else None,
            "protocol": self.protocol.model_dump(mode="json", exclude_defaults=True),
        }

    @property
    def steps(self) -> str:
        """sha256 over what the reduced form is given, which nets of one reduced form have in common or not."""
        source = "digits" if self.data.name == "digits" else "drawn"
        return digest([source, self.shape, self.num_classes, self.noise, self.protocol])

    @cached_property
    def key(self) -> str:
        """sha256 over the identity: two nets are the same exactly if it is equal."""
        return digest(self.identity)

    @cached_property
    def name(self) -> str:
        """Words for people, with eight digits of the key: ``wrn-16-8 @ cifar10 32 #1a2b3c4d``."""
        options = self.model.options.items()
        words = [str(value) if option in ATTENTION_OPTIONS else f"{option}={value}" for option, value in options]
        noise = f" noise {self.noise.rate:g} {self.noise.drawn}" if self.noise else ""
        side = self.data.shape[1]
        return f"{' '.join([self.model.name, *words])} @ {self.data.name} {side}{noise} #{self.key[:8]}"


def nets_of(suites: Iterable[Suite]) -> tuple[Net, ...]:
    """List the distinct nets of the suites in the order in which they first stand there.

    Tables 1, 3 and 4 of one paper share a net, and a suite that only counts nets shares those that another one trains
    by the usual protocol of their form.
    """
    found: dict[str, Net] = {}
    for suite in suites:
        for cell in suite.cells:
            protocol = suite.protocol if suite.trains else UNTRAINED[cell.data.info.form]
            shape = reduced_shape(cell.model, cell.data)
            net = Net(cell.model, cell.data, cell.noise, ten_steps(protocol, shape))
            known = found.get(net.key, net)
            named = known.suites if suite.name in known.suites else (*known.suites, suite.name)
            found[net.key] = dataclasses.replace(known, suites=named)
    return tuple(found.values())


def ten_steps(protocol: Protocol, shape: tuple[int, int, int]) -> Protocol:
    """Return ``protocol`` cut to ten iterations of eight images of ``shape``, in float32 where its precision is less.

    Rates are 0.003 of them. Drops and warm-up keep their share of the whole as far as there is room, so that both are
    gone through; an evaluation's size is that of the images, and its resizing keeps its ratio to the crop.
    """
    evaluation, side = protocol.evaluation, min(shape[1:])
    resize, crop = evaluation.resize, evaluation.crop
    if resize is not None:
        resize = max(side, round(side * resize / (crop or resize)))
    return protocol.model_copy(
        update={
            "iterations": STEPS,
            "batch": BATCH,
            "schedule": _scheduled(protocol.schedule, protocol.iterations),
            "evaluation": Evaluation(every=STEPS, resize=resize, crop=None if crop is None else side),
            "precision": "float32",
        }
    )


def _scheduled(schedule: Schedule, iterations: int) -> Schedule:
    changes: dict[str, Any] = {"lr": schedule.lr * RATE}
    if isinstance(schedule, OneCycle):
        return schedule.model_copy(update=changes)
    ratio = STEPS / iterations
    if isinstance(schedule, Steps):
        scaled = {min(max(1, round(drop * ratio)), STEPS - 1) for drop in schedule.drops}
        changes["drops"] = tuple(sorted(scaled))
    if schedule.warm_up is not None:
        length = min(max(WARM_UP, round(schedule.warm_up.iterations * ratio)), STEPS - 1)
        changes["warm_up"] = schedule.warm_up.model_copy(update={"iterations": length})
    return schedule.model_copy(update=changes)


def reduced_shape(model: ModelSpec, data: DataSpec) -> tuple[int, int, int]:
    """Return the images of a net's reduced form: the share of the side that its form keeps, if the net takes it.

    A foreign net is given what it is made for.
    """
    channels, height, width = data.shape
    if is_foreign(model.name):
        return data.shape
    form = data.info.form
    part, of = KEPT_SIDE[form]
    least = net_info(model.name).smallest
    if is_attention_net(model.name):
        options = model.settings
        least = smallest_side(form, str(options["mask"]), str(options["attention"]))
    height, width = (min(side, max(least, round(side * part / of))) for side in (height, width))
    return channels, height, width
