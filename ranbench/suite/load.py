"""Finding and loading: YAML -> Suite, or every problem of the file with its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from ranbench.errors import Problem, SpecError, SuiteError, UsageError, nearest
from ranbench.records import METRICS
from ranbench.spec import DataSpec, ModelSpec, NoiseSpec, Protocol, Steps
from ranbench.suite.document import Document, Path_, read
from ranbench.suite.form import BetterEntry, Reduction, Scalar, SuiteFile
from ranbench.suite.values import AXES, MODEL_AXES, Axes, Better, Cell, Claim, Published, Suite, Value, words


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
    path = Path(argument)
    if path.suffix or path.exists() or len(path.parts) > 1:
        return path
    folders = (Path("suites"), shipped_suites())
    for folder in folders:
        if (folder / f"{argument}.yaml").is_file():
            return folder / f"{argument}.yaml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise SuiteError(
        f"suite {argument!r} is not known{nearest(argument, known)} (allowed: a file, or {', '.join(known)})"
    )


def load_suite(argument: str | Path, *, protocol: str | None = None, seeds: int | None = None) -> Suite:
    """Load a suite file.

    Args:
        argument: a path or a name.
        protocol: name of a protocol to run in place of the suite's own.
        seeds: number of seeds in place of the suite's own.

    Raises:
        SuiteError: with every problem of the file, each with line, column and key.
    """
    path = find_suite(str(argument))
    document = read(path)
    try:
        content = SuiteFile.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError(document.problems(error, SuiteFile.model_json_schema())) from None
    if seeds is not None and not 1 <= seeds <= 1000:
        raise UsageError(f"--seeds {seeds}: must be between 1 and 1000")
    loader = _Loader(document, content)
    suite = loader.load(protocol)
    return suite if seeds is None else replace(suite, seeds=tuple(range(seeds)))


def protocol_files(folder: Path) -> dict[str, Path]:
    """List the protocols by name: those beside the suite first, then the package's."""
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
    document = read(path)
    kind: type[Protocol | Reduction] = Reduction if "of" in document.value else Protocol
    try:
        return kind.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError(document.problems(error, kind.model_json_schema())) from None


def reduced(reference: Protocol, reduction: Reduction) -> Protocol:
    """Shorten ``reference`` to the iterations of ``reduction``; learning-rate drops keep their share of the whole."""
    schedule = reference.schedule
    if isinstance(schedule, Steps):
        scaled = (max(1, round(drop * reduction.iterations / reference.iterations)) for drop in schedule.drops)
        drops = tuple(sorted({drop for drop in scaled if drop < reduction.iterations}))
        schedule = schedule.model_copy(update={"drops": drops})
    changes = {"iterations": reduction.iterations, "schedule": schedule, "evaluation": reduction.evaluation}
    return reference.model_copy(update=changes)


class _Loader:
    """Resolves one parsed file; gathers every problem before it gives up."""

    def __init__(self, document: Document, content: SuiteFile):
        self.document = document
        self.content = content
        self.found: list[Problem] = []

    def load(self, protocol: str | None) -> Suite:
        content = self.content
        stem = Path(self.document.file).stem
        if content.name != stem:
            self._problem(("name",), f"is {content.name!r}, but the file is called {stem!r}; they must be equal")
        reference = self._protocol(content.reference, ("reference",))
        chosen = self._protocol(protocol or content.protocol, None if protocol else ("protocol",), reference)
        cells = self._cells()
        published = self._published(cells)
        claims = self._claims(cells, published)
        self._deviations(cells)
        if self.found or reference is None or chosen is None:
            raise SuiteError(self.found)
        return Suite(
            name=content.name,
            title=content.title,
            about=content.about,
            paper=content.paper,
            file=self.document.file,
            text=self.document.text,
            reference_name=content.reference,
            reference=reference,
            protocol_name=protocol or content.protocol,
            protocol=chosen,
            seeds=tuple(range(content.seeds)),
            cells=cells,
            published=published,
            claims=claims,
            deviations=tuple(content.deviations),
            varying=_varying(cells),
        )

    def _problem(self, path: Path_, text: str) -> None:
        self.found.append(self.document.problem(path, text))

    def _protocol(self, name: str, place: Path_ | None, reference: Protocol | None = None) -> Protocol | None:
        files = protocol_files(Path(self.document.file).parent)
        if name not in files:
            text = f"protocol {name!r} is not known{nearest(name, files)} (allowed: {', '.join(sorted(files))})"
            if place is None:
                raise UsageError(f"--protocol: {text}")
            self._problem(place, text)
            return None
        loaded = load_protocol(files[name])
        if isinstance(loaded, Protocol):
            return loaded
        if place == ("reference",):
            self._problem(place, f"protocol {name!r} is derived from a reference and cannot be one")
            return None
        return reduced(reference, loaded) if reference else None

    def _cells(self) -> tuple[Cell, ...]:
        block = self.content.cells
        names = list(block.matrix)
        combos = itertools.product(*block.matrix.values()) if names else ([()] if not block.include else [])
        rows: list[tuple[Path_, dict[str, Scalar]]] = [
            (("cells", "matrix"), {**block.fixed, **dict(zip(names, combo, strict=True))}) for combo in combos
        ]
        rows += [(("cells", "include", i), {**block.fixed, **row}) for i, row in enumerate(block.include)]
        cells: dict[str, Cell] = {}
        for place, axes in rows:
            cell = self._cell(place, axes)
            if cell is None:
                continue
            key = repr(sorted(cell.axes.items()))
            if key in cells:
                self._problem(place, f"the cell {words(axes)} stands twice")
            cells[key] = cell
        return tuple(cells.values())

    def _cell(self, place: Path_, axes: dict[str, Scalar]) -> Cell | None:
        for axis in axes:
            if axis not in AXES:
                self._refuse(place, axis, f"unknown axis{nearest(axis, AXES)} (allowed: {', '.join(AXES)})")
                return None
        for axis in ("model", "dataset"):
            if not isinstance(axes.get(axis), str):
                self._refuse(place, axis, f"every cell needs a {axis}, by name; got {axes.get(axis)!r}")
                return None
        try:
            options = {axis: axes[axis] for axis in MODEL_AXES[1:] if axis in axes}
            model = ModelSpec.model_validate({"name": axes["model"], **options})
        except ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            named = next((axis for axis in MODEL_AXES[1:] if axis in text.split(" ")[0]), "model")
            self._refuse(place, named, text, axes.get(named))
            return None
        try:
            dataset = str(axes["dataset"])
            split = self.content.datasets.get(dataset)
            data = DataSpec.of(dataset, split.train, split.test) if split else DataSpec.of(dataset)
        except SpecError as error:
            self._refuse(place, "dataset", str(error), axes["dataset"])
            return None
        noise = axes.get("noise", 0)
        if not isinstance(noise, int | float) or isinstance(noise, bool) or not 0 <= noise < 1:
            self._refuse(place, "noise", f"got {noise!r}, expected a share from 0 to below 1", noise)
            return None
        spelled: dict[str, Scalar] = {"model": model.name, **model.options, "dataset": dataset, "noise": float(noise)}
        return Cell(spelled, model, data, NoiseSpec(rate=float(noise)) if noise else None)

    def _refuse(self, place: Path_, axis: str, text: str, value: Scalar | None = None) -> None:
        """Note a problem of an axis at the place where its value stands, once."""
        block = self.content.cells
        if place[:2] == ("cells", "include") and (*place, axis) in self.document.places:
            where: Path_ = (*place, axis)
        elif axis in block.matrix:
            index = block.matrix[axis].index(value) if value in block.matrix[axis] else None
            where = ("cells", "matrix", axis) if index is None else ("cells", "matrix", axis, index)
        elif axis in block.fixed:
            where = ("cells", "fixed", axis)
        else:
            where = ("cells",)
        problem = self.document.problem(where, text)
        if problem not in self.found:
            self.found.append(problem)

    def _one(self, cells: Sequence[Cell], selector: Axes, place: Path_) -> Cell | None:
        """Find the one cell that a selector names."""
        for axis in selector:
            if axis not in AXES:
                self._problem((*place, axis), f"unknown axis{nearest(axis, AXES)} (allowed: {', '.join(AXES)})")
                return None
        found = [cell for cell in cells if cell.matches(selector)]
        if len(found) == 1:
            return found[0]
        if not cells:
            return None  # the cells' own problems are told already
        if not found:
            self._problem(place, f"no cell of the suite has {words(selector)}")
        else:
            axes = [axis for axis in AXES if len({cell.axes.get(axis) for cell in found}) > 1]
            self._problem(place, f"{words(selector)} names {len(found)} cells; add {' or '.join(axes)}")
        return None

    def _metric(self, metric: str, place: Path_) -> bool:
        if metric in METRICS:
            return True
        self._problem((*place, "metric"), f"metric {metric!r} is not known{nearest(metric, METRICS)}")
        return False

    def _published(self, cells: Sequence[Cell]) -> tuple[Published, ...]:
        result = []
        for index, entry in enumerate(self.content.published):
            place: Path_ = ("published", index)
            cell = self._one(cells, entry.cell, (*place, "cell"))
            known = self._metric(entry.metric, place)
            if known and entry.unit != METRICS[entry.metric].unit:
                unit = METRICS[entry.metric].unit
                self._problem((*place, "unit"), f"{entry.metric} is in {unit}, got {entry.unit!r}")
            if cell and known:
                kept = entry.model_dump(exclude={"cell"})
                result.append(Published(cell=cell, **kept))
        return tuple(result)

    def _claims(self, cells: Sequence[Cell], published: Iterable[Published]) -> tuple[Claim, ...]:
        printed = {(id(entry.cell), entry.metric): entry.value for entry in published}
        result: list[Claim] = []
        seen: set[str] = set()
        for index, entry in enumerate(self.content.claims):
            place: Path_ = ("claims", index)
            if entry.id in seen:
                self._problem((*place, "id"), f"claim {entry.id!r} stands twice")
            seen.add(entry.id)
            if not self._metric(entry.metric, place):
                continue
            if isinstance(entry, BetterEntry):
                a = self._one(cells, entry.a, (*place, "a"))
                b = self._one(cells, entry.b, (*place, "b"))
                if a is not None and a is b:
                    self._problem((*place, "b"), "a and b are the same cell")
                elif a and b:
                    says = entry.says or f"{words(entry.a)} is better than {words(entry.b)}"
                    result.append(
                        Better(entry.id, says, entry.where, a, b, entry.metric, entry.min_effect, entry.allow_scaled)
                    )
            else:
                cell = self._one(cells, entry.cell, (*place, "cell"))
                value = printed.get((id(cell), entry.metric))
                if cell and value is None:
                    self._problem(
                        (*place, "cell"), f"no published {entry.metric} of {words(entry.cell)} to compare with"
                    )
                elif cell and value is not None:
                    says = entry.says or f"{words(entry.cell)} has {entry.metric} {value:g}"
                    result.append(
                        Value(entry.id, says, entry.where, cell, entry.metric, value, entry.margin, entry.allow_scaled)
                    )
        return tuple(result)

    def _deviations(self, cells: Sequence[Cell]) -> None:
        for index, entry in enumerate(self.content.deviations):
            if entry.cell is not None and cells and not any(cell.matches(entry.cell) for cell in cells):
                self._problem(("deviations", index, "cell"), f"no cell of the suite has {words(entry.cell)}")


def _varying(cells: Sequence[Cell]) -> tuple[str, ...]:
    """The axes that tell the cells apart."""
    return tuple(axis for axis in AXES if len({cell.axes.get(axis) for cell in cells}) > 1)
