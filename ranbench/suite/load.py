"""A suite file -> Suite, or every problem of the file with its place."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ranbench.errors import Problem, SuiteError, UsageError
from ranbench.suite.cells import Cells
from ranbench.suite.document import Document, clean
from ranbench.suite.files import find_suite, suites_called
from ranbench.suite.form import SuiteFile
from ranbench.suite.protocols import Asked, ProtocolChoice
from ranbench.suite.reading import read
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
    asked.check()
    if seeds is not None and not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"--seeds {seeds}: must be between 1 and {MAX_SEEDS}")
    document = read(find_suite(str(argument)))
    try:
        content = SuiteFile.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError(document.problems(error, SuiteFile.model_json_schema())) from None
    given = {"--protocol": protocol, "--factor": factor, "--seeds": seeds}
    options = [option for option, value in given.items() if value is not None]
    if content.seeds == 0 and options:
        raise UsageError(f"{options[0]}: suite {clean(content.name)!r} trains nothing (seeds: 0)")
    return _Loader(document, content, asked).load(content.seeds if seeds is None else seeds)


class _Loader:
    """Resolves one file whose form is right; gathers every problem before it gives up."""

    def __init__(self, document: Document, content: SuiteFile, asked: Asked):
        self.document = document
        self.content = content
        self.asked = asked
        self.found: list[Problem] = []

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
        self._one_of_its_name()
        choice = ProtocolChoice(document, content, self.asked, self.found)
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

    def _one_of_its_name(self) -> None:
        """Refuse a suite where another one has its name: results are kept and reported by that name.

        An equal text is the same suite, as in a checkout beside an installed package.
        """
        here = Path(self.document.file)
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
