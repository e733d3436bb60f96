"""A suite file -> Suite, or every problem of the file with its place."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ranbench.errors import Problem, SuiteError, UsageError, nearest
from ranbench.spec import Protocol
from ranbench.suite.cells import Cells
from ranbench.suite.document import Document, clean
from ranbench.suite.files import find_suite, load_protocol, protocol_files, reduced
from ranbench.suite.form import SuiteFile
from ranbench.suite.reading import read
from ranbench.suite.statements import Statements
from ranbench.suite.values import AXES, IMPLIED_AXES, Cell, Protocols, Suite

MAX_SEEDS = 1000


def load_suite(argument: str | Path, *, protocol: str | None = None, seeds: int | None = None) -> Suite:
    """Load a suite file.

    Args:
        argument: a path or a name.
        protocol: name of a protocol to run in place of the suite's own.
        seeds: number of seeds in place of the suite's own.

    Raises:
        SuiteError: with every problem of the file, each with line, column and key.
        UsageError: there is no protocol ``protocol``, or ``seeds`` is out of range.
    """
    if seeds is not None and not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"--seeds {seeds}: must be between 1 and {MAX_SEEDS}")
    document = read(find_suite(str(argument)))
    try:
        content = SuiteFile.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError(document.problems(error, SuiteFile.model_json_schema())) from None
    if content.seeds == 0 and (protocol is not None or seeds is not None):
        option = "--protocol" if protocol is not None else "--seeds"
        raise UsageError(f"{option}: suite {clean(content.name)!r} trains nothing (seeds: 0)")
    return _Loader(document, content, protocol).load(content.seeds if seeds is None else seeds)


class _Loader:
    """Resolves one file whose form is right; gathers every problem before it gives up."""

    def __init__(self, document: Document, content: SuiteFile, protocol: str | None):
        self.document = document
        self.content = content
        self.asked = protocol
        self.found: list[Problem] = []
        self.files = protocol_files(Path(document.file).parent)

    def load(self, seeds: int) -> Suite:
        """Resolve everything.

        Raises:
            SuiteError: with every problem.
        """
        content, document = self.content, self.document
        stem = Path(document.file).stem
        if content.name != stem:
            text = f"is {content.name!r}, but the file is called {stem!r}; they must be equal"
            self.found.append(document.problem(("name",), text))
        protocols = self._protocols()
        cells = Cells(document, content, self.found).resolve()
        statements = Statements(document, content, cells, self.found)
        published = statements.published()
        claims = statements.claims(published)
        deviations = statements.deviations()
        cited = statements.cited()
        if self.found:
            raise SuiteError(self.found)
        return Suite(
            name=content.name,
            title=content.title,
            about=content.about,
            paper=content.paper,
            file=document.file,
            text=document.text,
            protocols=protocols,
            seeds=tuple(range(seeds)),
            cells=cells,
            published=published,
            cited=cited,
            claims=claims,
            deviations=deviations,
            varying=_varying(cells),
            options=self._options(seeds),
        )

    def _options(self, seeds: int) -> str:
        """The options of a command line that load this suite again as it is now."""
        protocol = f" --protocol {self.asked}" if self.asked not in (None, self.content.protocol) else ""
        return protocol + (f" --seeds {seeds}" if seeds != self.content.seeds else "")

    def _protocols(self) -> Protocols | None:
        """The protocols of a suite that trains; None where it trains nothing, or a problem is noted."""
        content = self.content
        if content.seeds == 0:
            self._refuse_protocols()
            return None
        for key in ("reference", "protocol"):
            if getattr(content, key) is None:
                text = "this key is missing (a suite with seeds: 0, which trains nothing, has none)"
                self.found.append(self.document.problem((key,), text))
        if content.reference is None or content.protocol is None:
            return None
        name = content.protocol if self.asked is None else self.asked
        reference = self._reference(content.reference)
        chosen = self._chosen(name, content.reference, reference)
        if reference is None or chosen is None:
            return None
        return Protocols(name, chosen, content.reference, reference)

    def _refuse_protocols(self) -> None:
        for key in ("reference", "protocol"):
            if getattr(self.content, key) is not None:
                text = "a suite with seeds: 0 trains nothing and has no protocol; remove this key or give it seeds"
                self.found.append(self.document.problem((key,), text))

    def _reference(self, name: str) -> Protocol | None:
        if name not in self.files:
            self.found.append(self.document.problem(("reference",), self._unknown(name)))
            return None
        try:
            loaded = load_protocol(self.files[name])
        except SuiteError as error:
            self._take_over(error, "reference")
            return None
        if isinstance(loaded, Protocol):
            return loaded
        text = f"protocol {name!r} is derived from a reference and cannot be one"
        self.found.append(self.document.problem(("reference",), text))
        return None

    def _chosen(self, name: str, reference_name: str, reference: Protocol | None) -> Protocol | None:
        """The protocol to run; None where a problem is noted already."""
        if name == reference_name:
            return reference
        if name not in self.files:
            if self.asked is not None:
                raise UsageError(clean(f"--protocol: {self._unknown(name)}"))
            self.found.append(self.document.problem(("protocol",), self._unknown(name)))
            return None
        try:
            loaded = load_protocol(self.files[name])
        except SuiteError as error:
            self._take_over(error, "protocol")
            return None
        if isinstance(loaded, Protocol):
            return loaded
        return reduced(reference, loaded) if reference else None

    def _take_over(self, error: SuiteError, key: str) -> None:
        """Add a protocol file's problems to the suite's; one without a place is told where the suite names the file."""
        self.found += error.problems or [self.document.problem((key,), str(error))]

    def _unknown(self, name: str) -> str:
        names = sorted(self.files)
        return f"protocol {name!r} is not known{nearest(name, names)} (allowed: {', '.join(names)})"


def _varying(cells: tuple[Cell, ...]) -> tuple[str, ...]:
    """The axes that differ among the cells that have them: a net without masks does not make ``mask`` vary.

    p, t and r vary where a suite spells them out, not where nets of differing names have them.
    """
    spelled = {axis for cell in cells for axis in cell.model.options}
    axes = [axis for axis in AXES if axis not in IMPLIED_AXES or axis in spelled]
    values = {axis: {cell.axes[axis] for cell in cells if axis in cell.axes} for axis in axes}
    return tuple(axis for axis in axes if len(values[axis]) > 1) or ("model",)
