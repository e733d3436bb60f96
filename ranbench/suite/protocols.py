"""The protocols of a suite: which file is run and which is the reference, made shorter where it says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ranbench.errors import Problem, SpecError, SuiteError, UsageError, nearest
from ranbench.spec import Protocol, check_protocol
from ranbench.suite.document import Document, clean
from ranbench.suite.files import protocol_files, protocol_of
from ranbench.suite.form import Reduction, SuiteFile
from ranbench.suite.reading import parse, read
from ranbench.suite.reduction import reduced
from ranbench.suite.values import Cell, Protocols, Suite

KEYS = ("reference", "protocol", "factor")
# The protocols that a suite may name, and how each is read.
Sources = Mapping[str, Callable[[], Document]]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for in place of what the suite says."""

    protocol: str | None = None
    factor: float | None = None

    def check(self) -> None:
        """Check what needs no suite.

        Raises:
            UsageError: the factor is none.
        """
        if self.factor is not None and not (math.isfinite(self.factor) and 0 < self.factor < 1):
            raise UsageError(f"--factor {self.factor:g}: must be above 0 and below 1")


class ProtocolChoice:
    """Resolves the protocols of one file; problems of the file are added to ``found``, those of ``asked`` raised."""

    def __init__(self, document: Document, content: SuiteFile, sources: Sources, asked: Asked, found: list[Problem]):
        self.document = document
        self.content = content
        self.sources = sources
        self.asked = asked
        self.found = found
        self._read: dict[str, Document] = {}

    def resolve(self) -> Protocols | None:
        """Return the protocols of a suite that trains; None where it trains nothing, or a problem is noted.

        Raises:
            UsageError: the command line asks for a protocol or a factor that there cannot be.
        """
        content = self.content
        if content.seeds == 0:
            self._refuse_all()
            return None
        for key in ("reference", "protocol"):
            if getattr(content, key) is None:
                self._note(key, "this key is missing (a suite with seeds: 0, which trains nothing, has none)")
        if content.reference is None or content.protocol is None:
            return None
        name = content.protocol if self.asked.protocol is None else self.asked.protocol
        reference = self._reference(content.reference)
        loaded = reference if name == content.reference else self._load(name)
        if loaded is None:
            return None
        factor = self._factor(name, loaded)
        if reference is None:
            return None
        chosen = loaded if isinstance(loaded, Protocol) else self._reduced(reference, loaded, factor)
        if chosen is None:
            return None
        texts = self._texts(content.reference, content.protocol, name)
        return Protocols(name, chosen, content.reference, reference, factor, texts)

    def check(self, protocols: Protocols, cells: Sequence[Cell]) -> None:
        """Check the protocol to run against the dataset of every cell."""
        for data in dict.fromkeys(cell.data for cell in cells):
            try:
                check_protocol(protocols.chosen, data)
            except SpecError as error:
                text = f"{protocols.chosen_name!r} does not fit: {error}"
                if self.asked.protocol is not None:
                    raise UsageError(clean(f"--protocol: {text}")) from None
                self._note("protocol", text)

    def _refuse_all(self) -> None:
        for key in KEYS:
            if getattr(self.content, key) is not None:
                text = "a suite with seeds: 0 trains nothing and has no protocol; remove this key or give it seeds"
                self._note(key, text)

    def _loaded(self, name: str) -> Protocol | Reduction:
        """Read a protocol.

        Raises:
            SuiteError: with every problem of its file.
        """
        if name not in self._read:
            self._read[name] = self.sources[name]()
        return protocol_of(self._read[name])

    def _texts(self, *names: str) -> dict[str, str]:
        """Give the texts of protocols; the suite's own may be broken where another one is asked for."""
        for name in names:
            with suppress(SuiteError, KeyError):
                self._loaded(name)
        return {name: self._read[name].text for name in names if name in self._read}

    def _reference(self, name: str) -> Protocol | None:
        if name not in self.sources:
            self._note("reference", self._unknown(name))
            return None
        try:
            loaded = self._loaded(name)
        except SuiteError as error:
            self._take_over(error, "reference")
            return None
        if isinstance(loaded, Protocol):
            return loaded
        self._note("reference", f"protocol {name!r} is derived from a reference and cannot be one")
        return None

    def _load(self, name: str) -> Protocol | Reduction | None:
        """Load the protocol to run; None where a problem is noted."""
        if name not in self.sources:
            if self.asked.protocol is not None:
                raise UsageError(clean(f"--protocol: {self._unknown(name)}"))
            self._note("protocol", self._unknown(name))
            return None
        try:
            return self._loaded(name)
        except SuiteError as error:
            self._take_over(error, "protocol")
            return None

    def _factor(self, name: str, loaded: Protocol | Reduction) -> float | None:
        """The factor of the protocol to run: asked for, else of the suite for its own protocol, else of the file."""
        takes_one = isinstance(loaded, Reduction) and loaded.factor is not None
        own = self.content.factor if name == self.content.protocol else None
        if not takes_one and (self.asked.factor is not None or own is not None):
            text = f"protocol {name!r} takes no factor{self._those_that_do()}"
            if self.asked.factor is not None:
                raise UsageError(clean(f"--factor: {text}"))
            self._note("factor", text)
        if not isinstance(loaded, Reduction):
            return None
        return next((factor for factor in (self.asked.factor, own) if factor is not None), loaded.factor)

    def _those_that_do(self) -> str:
        """Name the protocols that take a factor; files that do not hold are left out."""
        names = []
        for name in sorted(self.sources):
            try:
                loaded = self._loaded(name)
            except SuiteError:
                continue
            names += [name] if isinstance(loaded, Reduction) and loaded.factor is not None else []
        return f" (those that do: {', '.join(names)})" if names else ""

    def _reduced(self, reference: Protocol, reduction: Reduction, factor: float | None) -> Protocol | None:
        try:
            return reduced(reference, reduction, factor)
        except ValueError as error:
            if self.asked.factor is not None:
                raise UsageError(clean(f"--factor: {error}")) from None
            if self.asked.protocol is not None:
                raise UsageError(clean(f"--protocol {self.asked.protocol}: {error}")) from None
            self._note("protocol" if self.content.factor is None else "factor", str(error))
            return None

    def _take_over(self, error: SuiteError, key: str) -> None:
        """Add a protocol file's problems to the suite's; one without a place is told where the suite names the file."""
        self.found += error.problems or [self.document.problem((key,), str(error))]

    def _unknown(self, name: str) -> str:
        names = sorted(self.sources)
        return f"protocol {name!r} is not known{nearest(name, names)} (allowed: {', '.join(names)})"

    def _note(self, key: str, text: str) -> None:
        self.found.append(self.document.problem((key,), text))


def protocol_options(suite: Suite, wanted: Protocol, cells: Sequence[Cell]) -> str | None:
    """Return the command-line options under which ``cells`` of a suite are run by the protocol ``wanted``.

    None where no protocol that is known here gives it: which one a run was made with is not recorded by its name.
    """
    for options, protocol in _choices(suite, wanted.iterations):
        if any(cell.resolved(protocol) == wanted for cell in cells):
            return options
    return None


def _choices(suite: Suite, iterations: int) -> Iterator[tuple[str, Protocol]]:
    """Every protocol that can be asked for, one that takes a factor with that which gives so many iterations.

    The factor is named even where the file has the same one: a suite may have another for its own protocol.
    """
    factor = float(f"{iterations / suite.reference.iterations:.6g}")
    for name, read_it in _known(suite).items():
        try:
            loaded = protocol_of(read_it())
            if isinstance(loaded, Protocol):
                yield f" --protocol {name}", loaded
            elif loaded.factor is None:
                yield f" --protocol {name}", reduced(suite.reference, loaded)
            elif 0 < factor < 1:
                yield f" --protocol {name} --factor {factor:g}", reduced(suite.reference, loaded, factor)
        except (SuiteError, ValueError):  # a file that is no protocol, or leaves nothing of this reference
            continue


def _known(suite: Suite) -> Sources:
    """The protocols of the package, those beside the suite's file, and those that came with the suite."""
    files = {name: partial(read, file) for name, file in protocol_files(Path(suite.file).parent).items()}
    came_with = {name: partial(parse, f"{name}.yaml", text) for name, text in suite.protocol_texts.items()}
    return {**files, **came_with}
