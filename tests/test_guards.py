"""Rules of the whole package, one short test each: floors of imports, what stays light, what only one part may do."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ranbench.catalogue import DATASETS, IMAGE_FOLDER, NETS, is_attention_net
from ranbench.data import LOADERS
from ranbench.errors import DataError
from ranbench.models import BASELINES, UNITS
from ranbench.spec import DataSpec, Protocol
from ranbench.suite import load_protocol, load_suite

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ranbench"

# From the lowest floor upwards; a part imports from floors below its own only, siblings do not import each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "masking"),
    ("catalogue", "places"),
    ("spec", "records", "statistics", "factories", "workflow"),
    ("suite", "environment", "counts", "models", "data", "store"),
    ("complexity", "training", "claims", "regression", "comparability", "selection", "doctor"),
    ("probes", "fixed_values", "report", "execution"),
    ("runner",),
    ("cli",),
    ("__main__",),
)
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

SUITE_ORDER = (
    *(
        "document",
        "reading",
        "form",
        "values",
        "files",
        "reduction",
        "protocols",
        "cells",
        "statements",
        "load",
        "schema",
        "starting",
    ),
)

LIGHT_PARTS = (
    *("errors", "catalogue", "spec", "records", "statistics", "suite", "counts", "store", "claims", "report"),
    *("comparability", "selection", "regression"),
)
NUMERIC_PARTS = ("models", "data", "complexity", "training")

# What an import of a module may not bring along, measured in a fresh interpreter.
LIGHT_IMPORTS: dict[str, tuple[str, ...]] = {
    "ranbench": ("torch", "sqlalchemy", "pandas", "pydantic"),
    "ranbench.cli": ("torch", "sqlalchemy", "pandas"),
    "ranbench.suite": ("torch", "sqlalchemy", "pandas"),
    "ranbench.store": ("torch", "psycopg", "sqlalchemy.dialects.postgresql"),
    "ranbench.claims": ("torch", "sqlalchemy"),
    "ranbench.regression": ("torch", "sqlalchemy"),
    "ranbench.report": ("torch", "sqlalchemy"),
}
ONLY_IN = {
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "psycopg": {"store"},
    "ruamel": {"suite"},
    "typer": {"cli"},
    "rich": {"cli"},
}
IMPORT_NAMES = {"ruamel.yaml": "ruamel", "scikit-learn": "sklearn", "nvidia-ml-py": "pynvml", "pillow": "PIL"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package that is there, by its dotted name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"), str(file))
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """Everything that a module imports, at its top or inside functions, as the dotted names of modules."""
    found: set[str] = set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports by a relative name"
            module = node.module or ""
            inside = {f"{module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in modules() else module for whole in inside}
    return frozenset(found)


def part(name: str) -> str:
    """The part of the package that a module belongs to: ``store`` of ``ranbench.store.schema``."""
    return name.split(".")[1] if "." in name else ""


def internal(name: str) -> Iterator[str]:
    """The modules of the package that a module imports."""
    return (module for module in imports(name) if module.split(".")[0] == "ranbench")


def external(name: str) -> set[str]:
    """The top-level names of everything else that a module imports."""
    return {module.split(".")[0] for module in imports(name)} - {"ranbench"}


def text_files() -> Iterator[Path]:
    """Sources, suites and documents of the repository, without this file, which names what it forbids."""
    for folder in ("ranbench", "suites", "tests", "benchmarks", "docs", ".ci", ".github"):
        yield from (
            path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".pyc", ".png")
        )
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml"))


def test_every_part_of_the_design_is_there_and_no_other() -> None:
    found = {part(name) for name in modules()} - {""}

    assert found == FLOOR.keys()


def test_imports_point_to_lower_floors_only() -> None:
    wrong = [
        f"{name} imports {module}"
        for name in modules()
        for module in internal(name)
        if part(name) and part(module) not in ("", part(name)) and FLOOR[part(module)] >= FLOOR[part(name)]
    ]

    assert wrong == []


def test_the_parts_of_suite_import_in_their_order() -> None:
    order = {f"ranbench.suite.{name}": index for index, name in enumerate(SUITE_ORDER)}

    wrong = [
        f"{name} imports {module}"
        for name in order
        for module in internal(name)
        if part(module) == "suite" and order.get(module, len(order)) >= order[name]
    ]

    assert order.keys() == {name for name in modules() if name.startswith("ranbench.suite.")}
    assert wrong == []


def test_no_imports_form_a_cycle() -> None:
    order = TopologicalSorter({name: set(internal(name)) for name in modules()})

    order.prepare()  # raises CycleError with the cycle

    assert order.is_active()


def test_parts_that_remake_a_report_never_import_torch() -> None:
    wrong = [name for name in modules() if part(name) in LIGHT_PARTS and external(name) & {"torch", "torchvision"}]

    assert wrong == []


def test_parts_that_make_numbers_know_no_database_and_no_terminal() -> None:
    wrong = [
        name for name in modules() if part(name) in NUMERIC_PARTS and external(name) & {"sqlalchemy", "typer", "rich"}
    ]

    assert wrong == []


@pytest.mark.parametrize(("library", "parts"), ONLY_IN.items(), ids=ONLY_IN)
def test_a_library_is_imported_by_one_part_only(library: str, parts: set[str]) -> None:
    users = {part(name) for name in modules() if library in external(name)}

    assert users <= parts


@pytest.mark.parametrize("module", [name for name in LIGHT_IMPORTS if name in modules()])
def test_an_import_leaves_heavy_libraries_out(module: str) -> None:
    code = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert set(json.loads(output)) & set(LIGHT_IMPORTS[module]) == set()


def test_only_the_command_line_prints() -> None:
    printing = [
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert {part(name) for name in printing} <= {"cli"}


def test_every_list_of_public_names_is_sorted() -> None:
    """Constants, then classes, then the rest, as the linter sorts them."""
    lists = {
        name: ast.literal_eval(node.value)
        for name, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    }

    in_order = {name: sorted(names, key=_sort_key) for name, names in lists.items()}

    assert lists == in_order
    assert {"ranbench", "ranbench.suite", "ranbench.models"} <= lists.keys()


def _sort_key(name: str) -> tuple[int, str]:
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def test_no_file_names_a_path_outside_the_repository() -> None:
    """Tests may invent a temporary folder or a home, to show that it is hidden or refused."""
    anywhere = re.compile(r"(?<![\w.~-])/(work|root|mnt)\b")
    outside_tests = re.compile(r"(?<![\w.~-])/(work|root|mnt|tmp|home)\b")

    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in text_files()
        if path.is_file() and path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (anywhere if ROOT / "tests" in path.parents else outside_tests).search(line)
    ]

    assert wrong == []


def test_every_dependency_is_imported_and_every_import_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        entry for extra, entries in project["optional-dependencies"].items() if extra != "dev" for entry in entries
    ]
    names = [re.split(r"[><=~\[; ]", entry)[0] for entry in (*project["dependencies"], *extras)]
    declared = {IMPORT_NAMES.get(name, name) for name in names}

    used = {library for name in modules() for library in external(name)} - sys.stdlib_module_names

    assert used - {"pydantic_core"} == declared  # pydantic_core comes with pydantic, which pins it


@pytest.mark.parametrize("file", sorted((ROOT / "suites").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_suite_holds(file: Path) -> None:
    suite = load_suite(file)

    assert suite.fidelity == "full"
    assert bool(suite.runs()) == suite.trains
    if suite.trains:
        assert load_suite(file, protocol="smoke").fidelity == "smoke"
    else:
        assert {claim.kind for claim in suite.claims} == {"complexity"}


@pytest.mark.parametrize("file", sorted((ROOT / "suites" / "protocols").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_protocol_holds(file: Path) -> None:
    loaded = load_protocol(file)

    assert isinstance(loaded, Protocol) or (loaded.iterations or loaded.factor)


def test_every_suite_begins_with_its_purpose() -> None:
    first_lines = {file.name: file.read_text(encoding="utf-8")[:2] for file in (ROOT / "suites").rglob("*.yaml")}

    assert set(first_lines.values()) == {"# "}


def test_the_nets_of_the_catalogue_are_those_that_can_be_built() -> None:
    with_attention = {name for name in NETS if is_attention_net(name)}

    assert NETS.keys() - with_attention == BASELINES.keys()
    assert {name.split("-")[0] for name in with_attention} == UNITS.keys()


def test_the_datasets_of_the_catalogue_are_those_that_can_be_loaded(tmp_path: Path) -> None:
    """And a user's own folders of images, whose facts no catalogue knows; what is not there says what to fetch."""
    absent = []
    for name in DATASETS:
        try:
            LOADERS[name].load(DataSpec.of(name), tmp_path)
        except DataError as error:
            absent += [name] if "fetch" in str(error) else []

    assert LOADERS.keys() == {*DATASETS, IMAGE_FOLDER}
    assert absent == ["cifar10", "cifar100", "imagenet"]
