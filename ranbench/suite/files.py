"""Where suites and protocols lie, and what a protocol file holds. No cells, no claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ranbench.errors import SuiteError, nearest
from ranbench.spec import Protocol
from ranbench.suite.document import Document, clean
from ranbench.suite.form import Reduction
from ranbench.suite.reading import read


def shipped_suites() -> Path:
    """Return the folder of the package's own suites (inside the wheel, or beside the package in a checkout)."""
    here = Path(__file__).resolve().parent.parent
    inside = here / "suites"
    return inside if inside.is_dir() else here.parent / "suites"


def find_suite(argument: str) -> Path:
    """Return the file that ``argument`` means: a path, or the name of a suite in ./suites or of the package.

    Raises:
        SuiteError: there is no such suite.
    """
    if not argument.strip():
        raise SuiteError("the name of the suite is empty; expected a file or a name")
    path = Path(argument)
    known = {file.stem: file for folder in (shipped_suites(), Path("suites")) for file in sorted(folder.glob("*.yaml"))}
    if path.suffix or len(path.parts) != 1 or "\0" in argument:
        if _is_missing(path):
            raise SuiteError(clean(f"{path}: no such file{_instead(path, sorted(known))}"))
        return path
    if argument in known:
        return known[argument]
    if path.name in {entry.name for entry in Path().iterdir()}:
        return path
    names = sorted(known)
    beside = f"{argument}.yaml"
    near = f"; did you mean {beside!r}?" if Path(beside).is_file() else nearest(argument, names)
    raise SuiteError(clean(f"suite {argument!r} is not known{near} (allowed: a file, or {', '.join(names)})"))


def suites_called(name: str) -> list[Path]:
    """List the files of this name in ./suites and in the package."""
    found = (folder / f"{name}.yaml" for folder in (Path("suites"), shipped_suites()))
    return [file for file in found if file.is_file()]


def _is_missing(path: Path) -> bool:
    try:
        return "\0" not in str(path) and not path.exists() and not path.is_symlink()
    except OSError:  # a name that no file can have: reading it says why
        return False


def _instead(path: Path, names: Sequence[str]) -> str:
    """Say what may be meant by a file that is not there."""
    if path.stem in names:
        return f"; the suite of this name is called by it alone: '{path.stem}'"
    return f"{nearest(path.stem, names)} (allowed: a file, or {', '.join(names)})"


def protocol_files(folder: Path) -> dict[str, Path]:
    """List the protocols by name: those in ``folder``/protocols, a suite's own, come before the package's."""
    found: dict[str, Path] = {}
    for place in (folder / "protocols", shipped_suites() / "protocols"):
        for file in sorted(place.glob("*.yaml")):
            found.setdefault(file.stem, file)
    return found


def load_protocol(path: Path) -> Protocol | Reduction:
    """Load one protocol file.

    Raises:
        SuiteError: with every problem of the file.
    """
    return protocol_of(read(path))


def protocol_of(document: Document) -> Protocol | Reduction:
    """Read a protocol out of its parsed file; raises as ``load_protocol``."""
    kind: type[Protocol | Reduction] = Reduction if "of" in document.value else Protocol
    try:
        return kind.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError(document.problems(error, kind.model_json_schema())) from None
