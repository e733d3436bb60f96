"""A suite file -> Suite, or every problem of the file with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from ranbench.errors import Problem, SuiteError, UsageError
from ranbench.suite.cells import Cells
from ranbench.suite.document import Document, clean
from ranbench.suite.files import find_suite, protocol_files, shipped_suites, suites_called
from ranbench.suite.form import SuiteFile
from ranbench.suite.protocols import Asked, ProtocolChoice, Sources
from ranbench.suite.reading import parse, read
from ranbench.suite.statements import Statements
from ranbench.suite.values import AXES, IMPLIED_AXES, Cell, Suite

MAX_SEEDS = 1000


def load_suite(
    argument: str | Path, *, protocol: str | None = None, factor: float | None = None, seeds: int | None = None
) -> Suite:
    """Load a suite file.

    Args:
        argument: a path or a name.
        protocol: name of a protocol to run in place of the suite's own.
        factor: by which the protocol makes the reference shorter, in place of its own.
        seeds: number of seeds in place of the suite's own.

    Raises:
        SuiteError: with every problem of the file, each with line, column and key.
        UsageError: there is no protocol ``protocol``, it takes no such ``factor``, or ``seeds`` is out of range.
    """
    asked = Asked(protocol, factor)
    _check(asked, seeds)
    document = read(find_suite(str(argument)))
    file = Path(document.file)
    sources = _files(protocol_files(file.parent))
    return _load(document, sources, asked, seeds, stem=file.stem, here=file)


def recorded_suite(
    name: str,
    text: str,
    protocols: Mapping[str, str],
    *,
    file: str,
    protocol: str | None = None,
    factor: float | None = None,
    seeds: int | None = None,
) -> Suite:
    """Load a suite from its recorded text, without its file.

    Args:
        name: under which it is recorded.
        text: of the suite.
        protocols: name -> text of its protocols; those that are lacking are the package's.
        file: what the suite is called in errors and in the commands of a report.
        protocol: as for ``load_suite``, with the next two.
        factor: see there.
        seeds: see there.

    Raises:
        SuiteError, UsageError: as ``load_suite``.
    """
    asked = Asked(protocol, factor)
    _check(asked, seeds)
    folder = Path(file).parent / "protocols"
    sources = _files(protocol_files(shipped_suites()))
    for one, content in protocols.items():
        sources[one] = partial(parse, str(folder / f"{one}.yaml"), content)
    return _load(parse(file, text), sources, asked, seeds, stem=name, here=None)


def _check(asked: Asked, seeds: int | None) -> None:
    asked.check()
    if seeds is not None and not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"--seeds {seeds}: must be between 1 and {MAX_SEEDS}")


def _files(files: Mapping[str, Path]) -> dict[str, Callable[[], Document]]:
    return {name: partial(read, path) for name, path in files.items()}


def _load(
    document: Document, sources: Sources, asked: Asked, seeds: int | None, *, stem: str, here: Path | None
) -> Suite:
    """Resolve a parsed suite, which must be called ``stem``; ``here`` is its file, None where it has none."""
    protocol, factor = asked.protocol, asked.factor
    try:
        content = SuiteFile.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError(document.problems(error, SuiteFile.model_json_schema())) from None
    given = {"--protocol": protocol, "--factor": factor, "--seeds": seeds}
    options = [option for option, value in given.items() if value is not None]
    if content.seeds == 0 and options:
        raise UsageError(f"{options[0]}: suite {clean(content.name)!r} trains nothing (seeds: 0)")
    return _Loader(document, content, sources, asked, stem, here).load(content.seeds if seeds is None else seeds)


class _Loader:
    """Resolves one file whose form is right; gathers every problem before it gives up."""

    def __init__(  # noqa: PLR0917 - private, called once
        self, document: Document, content: SuiteFile, sources: Sources, asked: Asked, stem: str, here: Path | None
    ):
        self.document = document
        self.content = content
        self.sources = sources
        self.asked = asked
        self.stem = stem
        self.here = here
        self.found: list[Problem] = []

    def load(self, seeds: int) -> Suite:
        """Resolve everything.

        Raises:
            SuiteError: with every problem.
        """
        content, document = self.content, self.document
        if content.name != self.stem:
            called = "the file is called" if self.here else "it is recorded as"
            text = f"is {content.name!r}, but {called} {self.stem!r}; they must be equal"
            self.found.append(document.problem(("name",), text))
        if self.here is not None:
            self._one_of_its_name(self.here)
        choice = ProtocolChoice(document, content, self.sources, self.asked, self.found)
        protocols = choice.resolve()
        cells = Cells(document, content, self.found).resolve()
        if protocols is not None:
            choice.check(protocols, cells)
        statements = Statements(document, content, cells, self.found)
        probes = statements.probes()
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
            planned_seeds=content.seeds,
            cells=cells,
            published=published,
            cited=cited,
            claims=claims,
            deviations=deviations,
            varying=_varying(cells),
            options=self._options(seeds),
            probes=probes,
        )

    def _one_of_its_name(self, here: Path) -> None:
        """Refuse a suite where another one has its name: results are kept and reported by that name.

        An equal text is the same suite, as in a checkout beside an installed package.
        """
        others = [other for other in suites_called(self.content.name) if not other.samefile(here)]
        for other in others:
            if other.read_text(encoding="utf-8") != self.document.text:
                text = (
                    f"{self.content.name!r} is the name of another suite too, {clean(str(other))}; rename one of them"
                )
                self.found.append(self.document.problem(("name",), text))
                return

    def _options(self, seeds: int) -> str:
        """The options of a command line that load this suite again as it is now."""
        content, asked = self.content, self.asked
        options = {
            "--protocol": asked.protocol if asked.protocol != content.protocol else None,
            "--factor": asked.factor,
            "--seeds": seeds if seeds != content.seeds else None,
        }
        return "".join(f" {option} {value}" for option, value in options.items() if value is not None)


def _varying(cells: tuple[Cell, ...]) -> tuple[str, ...]:
    """The axes that differ among the cells that have them: a net without masks does not make ``mask`` vary.

    p, t and r vary where a suite spells them out, not where nets of differing names have them.
    """
    spelled = {axis for cell in cells for axis in cell.model.options}
    axes = [axis for axis in AXES if axis not in IMPLIED_AXES or axis in spelled]
    values = {axis: {cell.axes[axis] for cell in cells if axis in cell.axes} for axis in axes}
    return tuple(axis for axis in axes if len(values[axis]) > 1) or ("model",)
