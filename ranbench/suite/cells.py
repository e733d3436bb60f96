"""The cells of a suite: matrix, fixed values and single cells -> resolved cells, each problem told at its value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from pydantic import ValidationError

from ranbench.catalogue import (
    DATASETS,
    IMAGE_FOLDER,
    NOISE_DRAWN,
    Form,
    check_images,
    check_option,
    check_setting,
    dataset_info,
    has_stated_facts,
    is_foreign,
    manifest_command,
    net_info,
)
from ranbench.errors import Problem, SpecError, nearest
from ranbench.spec import DataSpec, Facts, ModelSpec, NoiseSpec, check_input, check_noise, chosen_input, first_fault
from ranbench.suite.document import Document, Path_, say
from ranbench.suite.form import Cycle, Scalar, SuiteFile
from ranbench.suite.values import AXES, MODEL_AXES, Cell, words

MAX_CELLS = 1000
FACTS = ("checksum", "form", "shape", "classes")  # of a user's own dataset, beside its split
COLOURS = ("mean", "std")  # of images in folders, too
SKIPPING = ("skip", "skipped")


class Cells:
    """Resolves the ``cells`` and ``datasets`` of one file; problems are added to ``found``."""

    def __init__(self, document: Document, content: SuiteFile, found: list[Problem]):
        self.document = document
        self.block = content.cells
        self.datasets = content.datasets
        self.trains = content.seeds > 0
        self.cycles = content.cycles
        self.found = found

    def resolve(self) -> tuple[Cell, ...]:
        """Return the cells in the order of the file, without those that have a problem."""
        if not self._block_holds():
            return ()
        cells: dict[str, Cell] = {}
        named: set[str] = set()
        for place, axes in self._rows():
            named.add(str(axes.get("dataset")))
            cell = self._cell(place, axes)
            if cell is None:
                continue
            key = repr(sorted(cell.axes.items()))
            if key in cells:
                self._note(place, f"the cell {words(axes)} stands twice")
            cells[key] = cell
        for name in self.datasets.keys() - named:
            self._note(("datasets", name), f"no cell of the suite has this dataset{nearest(name, named)}")
        return self._in_cycles(tuple(cells.values()))

    def _in_cycles(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """Give every cell the cycle of the entry that names it; there is one at most."""
        if self.cycles and not self.trains:
            self._note(("cycles",), "nothing is trained (seeds: 0), and nets are counted in every check")
        found: dict[int, Cycle] = {}
        for index, entry in enumerate(self.cycles):
            place: Path_ = ("cycles", index, "cell")
            unknown = [axis for axis in entry.cell if axis not in AXES]
            for axis in unknown:
                self._note((*place, axis), unknown_axis(axis))
            named = [number for number, cell in enumerate(cells) if cell.matches(entry.cell)]
            if not unknown and not named and not self.found:
                self._note(place, f"no cell of the suite has {words(entry.cell)}")
            if any(number in found for number in named):
                self._note(place, f"a cell of {words(entry.cell)} is named by an entry before")
            found.update(dict.fromkeys(named, entry.cycle))
        return tuple(replace(cell, cycle=found.get(number, cell.cycle)) for number, cell in enumerate(cells))

    def _block_holds(self) -> bool:
        """Check axis names and the number of cells before any is made."""
        before = len(self.found)
        named: list[Path_] = [
            ("cells", part, axis) for part in ("fixed", "matrix") for axis in getattr(self.block, part)
        ]
        named += [("cells", "include", i, axis) for i, row in enumerate(self.block.include) for axis in row]
        for place in named:
            if place[-1] not in AXES:
                self._note(place, unknown_axis(str(place[-1])))
        for axis in self.block.fixed.keys() & self.block.matrix.keys():
            self._note(("cells", "matrix", axis), "this axis has a fixed value already")
        number = math.prod(map(len, self.block.matrix.values())) + len(self.block.include)
        if number > MAX_CELLS:
            self._note(("cells",), f"makes {number:,} cells, more than the {MAX_CELLS:,} that are allowed")
        return len(self.found) == before

    def _rows(self) -> list[tuple[Path_, dict[str, Scalar]]]:
        """Every cell's place and axis values; without matrix and include, the fixed values are the one cell."""
        block = self.block
        rows: list[tuple[Path_, dict[str, Scalar]]] = []
        if block.matrix or not block.include:
            for combination in itertools.product(*block.matrix.values()):
                varied = dict(zip(block.matrix, combination, strict=True))
                rows.append((("cells", "matrix"), {**block.fixed, **varied}))
        rows += [(("cells", "include", i), {**block.fixed, **row}) for i, row in enumerate(block.include)]
        return rows

    def _cell(self, place: Path_, axes: dict[str, Scalar]) -> Cell | None:
        model = self._model(place, axes)
        data = self._data(place, axes)
        noise, noise_holds = self._noise(place, axes)
        if noise and data:
            try:
                check_noise(data)
            except SpecError as error:
                self._refuse(place, axes, "noise", str(error))
                noise_holds = False
        if not noise_holds or model is None or data is None or not self._fits(place, axes, model, data):
            return None
        spelled: dict[str, Scalar] = {"model": model.name, **model.settings, "dataset": data.name}
        if data.info.resizable:
            spelled["input"] = data.shape[1]
        spelled["noise"] = noise.rate if noise else 0.0
        if noise:
            spelled["noise_drawn"] = noise.drawn
        return Cell(spelled, model, data, noise)

    def _noise(self, place: Path_, axes: dict[str, Scalar]) -> tuple[NoiseSpec | None, bool]:
        """Return the noise, and whether it holds; how it is drawn says nothing where there is none."""
        share, drawn = axes.get("noise", 0.0), axes.get("noise_drawn", NOISE_DRAWN[0])
        if isinstance(share, str) or not 0 <= share < 1:
            self._refuse(place, axes, "noise", f"expected a share from 0 to below 1, got {say(share)}")
            return None, False
        if drawn not in NOISE_DRAWN:
            text = f"{say(drawn)} is not known{nearest(str(drawn), NOISE_DRAWN)} (allowed: {', '.join(NOISE_DRAWN)})"
            self._refuse(place, axes, "noise_drawn", text)
            return None, False
        return (NoiseSpec.model_validate({"rate": float(share), "drawn": drawn}) if share else None), True

    def _model(self, place: Path_, axes: dict[str, Scalar]) -> ModelSpec | None:
        name = axes.get("model")
        if not isinstance(name, str):
            self._refuse(place, axes, "model", f"every cell needs a model, by name; got {say(name)}")
            return None
        try:
            net_info(name)
        except SpecError as error:
            self._refuse(place, axes, "model", str(error))
            return None
        options = {axis: axes[axis] for axis in MODEL_AXES[1:] if axis in axes}
        form = self._form(str(axes.get("dataset")))
        refused = False
        for option, value in options.items():
            try:
                check_option(name, option, value, form)
            except SpecError as error:
                self._refuse(place, axes, option, str(error))
                refused = True
        if refused:
            return None
        try:
            if form:  # else the dataset is refused
                check_setting(name, form, options)
            return ModelSpec.model_validate({"name": name, **options})
        except SpecError as error:
            self._refuse(place, axes, "model", str(error))
        except ValidationError as error:  # a depth that its p and t do not give
            self._refuse(place, axes, "model", error.errors()[0]["msg"].removeprefix("Value error, "))
        return None

    def _form(self, dataset: str) -> Form | None:
        """The form that nets take on a dataset; None where the suite does not say it."""
        if dataset in DATASETS:
            return dataset_info(dataset).form
        entry = self.datasets.get(dataset) if has_stated_facts(dataset) else None
        return entry.form if entry else None

    def _data(self, place: Path_, axes: dict[str, Scalar]) -> DataSpec | None:
        name = axes.get("dataset")
        if not isinstance(name, str):
            self._refuse(place, axes, "dataset", f"every cell needs a dataset, by name; got {say(name)}")
            return None
        if has_stated_facts(name):
            return self._own_data(place, axes, name)
        split = self.datasets.get(name)
        try:
            DataSpec.of(name)
        except SpecError as error:
            self._refuse(place, axes, "dataset", str(error))
            return None
        for key in (*FACTS, *COLOURS):
            if split and getattr(split, key) is not None:
                text = (
                    f"{name!r} has its own {key}, which is stated only of a user's own dataset, "
                    f"package.module:factory or {IMAGE_FOLDER}"
                )
                self._note(("datasets", name, key), text)
        side, holds = self._side(place, axes)
        if not holds:
            return None
        try:
            DataSpec.of(name, input=side)
        except SpecError as error:
            self._refuse(place, axes, "input", str(error))
            return None
        try:
            if split and (split.skip or split.skipped):
                return DataSpec.of(name, input=side).without(split.skip, split.skipped, split.train, split.test)
            return DataSpec.of(name, split.train, split.test, side) if split else DataSpec.of(name, input=side)
        except SpecError as error:
            self._note(("datasets", name), str(error))
            return None

    def _own_data(self, place: Path_, axes: dict[str, Scalar], name: str) -> DataSpec | None:
        """Return a user's own dataset with the facts that the suite states; nothing of it is imported."""
        entry = self.datasets.get(name)
        if entry is None:
            text = f"{name!r} is a dataset of a user's own, of which nothing stands under 'datasets'"
            self._refuse(place, axes, "dataset", f"{text}; {manifest_command(name)} prints what does")
            return None
        folder = name == IMAGE_FOLDER
        needed = (*FACTS, *COLOURS) if folder else FACTS
        if None in {getattr(entry, key) for key in needed}:
            missing = ", ".join(key for key in needed if getattr(entry, key) is None)
            text = f"{missing} missing, which a dataset of a user's own needs; {manifest_command(name)} prints all"
            self._note(("datasets", name), text)
            return None
        side, holds = self._side(place, axes)
        try:
            data = DataSpec.model_validate(
                {
                    "name": name,
                    "checksum": entry.checksum,
                    "train_images": entry.train,
                    "test_images": entry.test,
                    "facts": Facts.model_validate({key: getattr(entry, key) for key in Facts.model_fields}),
                    "skip": entry.skip,
                    "skipped": entry.skipped,
                }
            )
        except ValidationError as error:
            self._note(("datasets", name), first_fault(error).removeprefix(f"dataset {name!r}: "))
            return None
        try:
            if side is not None and folder:
                data = data.model_copy(update={"input": chosen_input(name, data.info, side)})
            elif side is not None:
                check_input(data, side)
        except SpecError as error:
            self._refuse(place, axes, "input", str(error))
            return None
        return data if holds else None

    def _side(self, place: Path_, axes: dict[str, Scalar]) -> tuple[int | None, bool]:
        """Return the side of the input that is asked for, and whether it holds."""
        side = axes.get("input")
        if side is None or (isinstance(side, int) and not isinstance(side, bool)):
            return side, True
        self._refuse(place, axes, "input", f"expected the side of the input in pixels, got {say(side)}")
        return None, False

    def _fits(self, place: Path_, axes: dict[str, Scalar], model: ModelSpec, data: DataSpec) -> bool:
        """Check that a net can take images of the size; of a foreign one only a try can tell."""
        try:
            if not is_foreign(model.name):
                check_images(model.name, data.info.form, data.shape, model.options)
        except SpecError as error:
            self._refuse(place, axes, "input", str(error))
            return False
        return True

    def _refuse(self, place: Path_, axes: dict[str, Scalar], axis: str, text: str) -> None:
        """Note a problem of one axis of a cell, at the place where the value stands."""
        matrix = self.block.matrix
        if (*place, axis) in self.document.places and "include" in place:
            self._note((*place, axis), text)
        elif axis in matrix and place == ("cells", "matrix"):
            self._note(("cells", "matrix", axis, matrix[axis].index(axes[axis])), text)
        elif axis in self.block.fixed:
            self._note(("cells", "fixed", axis), text)
        else:
            self._note(("cells",), text)

    def _note(self, place: Path_, text: str) -> None:
        """Add a problem once: many cells share a value."""
        problem = self.document.problem(place, text)
        if problem not in self.found:
            self.found.append(problem)


def unknown_axis(axis: str) -> str:
    """Say that there is no such axis."""
    return f"unknown axis{nearest(axis, AXES)} (allowed: {', '.join(AXES)})"
