"""What is stored of a net: exact counts, numbers of a forward pass and of ten steps. Plain values, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

# The way in which values are taken. Another number makes older values incomparable, counts stay comparable.
PROCEDURE = 2

LOSSES = "steps.losses"

Values = tuple[float, ...]


@dataclass(frozen=True)
class Context:
    """What the bits of a sum depend on: only where all of it is equal are hashes compared.

    ``library``: name and version of the library that a net is taken from, empty for our own.
    """

    torch: str
    cpu_capability: str
    processor: str
    threads: int
    library: str = ""


@dataclass(frozen=True)
class FixedValues:
    """A net at fixed seeds, in float64 on one thread.

    Attributes:
        key: identity of the net.
        net: its name in words.
        identity: what the key is the hash of.
        counts: exact numbers of the whole net by name: parameters, macs, depth.
        output: shape of the whole net's output for one image.
        reduced: in words, how the form that the values are of differs from the whole net.
        values: numbers by name, in the order in which they arise: the first that differs is where a fault shows first.
        hashes: sha256 of the float64 bytes of each part: images, training, evaluation, steps, after.
        context: of the hashes.
        procedure: ``PROCEDURE`` when they were taken.
        problem: why the net has no values, or no counts either; empty if it has.
        absent: the problem is one of this machine, a library that is not installed, and no fault of the net.
        steady: so many of the ten losses stay where a last bit changes; what comes behind them is not compared. None:
            that was not measured.
    """

    key: str
    net: str
    identity: Mapping[str, Any]
    context: Context
    counts: Mapping[str, int] = field(default_factory=dict)
    output: tuple[int, ...] = ()
    reduced: str = ""
    values: Mapping[str, Values] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    procedure: int = PROCEDURE
    problem: str = ""
    absent: bool = False
    steady: int | None = None

    def plain(self) -> dict[str, Any]:
        """Return values for JSON, which keeps every digit, in a fixed order; what is not finite is a text."""
        values = {name: [_written(value) for value in each] for name, each in self.values.items()}
        return {**asdict(self), "output": list(self.output), "values": values}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Read back what ``plain`` gave.

        Raises:
            ValueError: it is not that.
        """
        try:
            given = dict(plain)
            if not all(isinstance(given[name], str) for name in ("key", "net", "reduced", "problem")):
                raise TypeError("key, net, reduced and problem are texts")
            if not all(type(count) is int for count in given["counts"].values()):
                raise TypeError("counts are whole numbers")
            if not all(isinstance(text, str) for text in given["hashes"].values()):
                raise TypeError("hashes are texts")
            if not (given.get("steady") is None or type(given["steady"]) is int):
                raise TypeError("steady is a whole number")
            given["context"] = Context(**given["context"])
            given["output"] = tuple(given["output"])
            given["values"] = {name: tuple(map(float, each)) for name, each in given["values"].items()}
            return cls(**given)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"fixed values of a net do not hold: {type(error).__name__}: {error}") from None


def _written(value: float) -> float | str:
    return value if value - value == 0.0 else str(value)
