"""bench: runs the benchmarks of speed, each in a process of its own, and keeps what they measured as a page."""

from __future__ import annotations

import json as json_text
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ranbench.cli.options import Data, Json, settings
from ranbench.cli.output import answer, as_json, note, table
from ranbench.errors import EnvironmentProblem, UsageError, nearest

UNUSABLE = EnvironmentProblem.exit_code
PACKAGE = Path(__file__).resolve().parent.parent
MEASURED, PAGE = "results.json", "RESULTS.md"


def bench(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Benchmarks; all if left out.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the benchmarks and measure nothing.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny counts, to see that they work; says nothing of speed.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help=f"Keep the results in benchmarks/{MEASURED} and write {PAGE} from it.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Measure the speed of ranbench against plain references, on this machine."""
    scripts = find_scripts(benchmarks_folder(), names or [])
    if list_:
        _list(scripts, json)
        return
    if quick and write:
        raise UsageError("bench: --quick measures nothing worth keeping; leave out --quick or --write")
    if write and PACKAGE in benchmarks_folder().parents:
        raise UsageError("bench: --write keeps results in a source checkout; this is an installed package")
    folder = settings(context, None, data).data
    found: list[dict[str, Any]] = []
    codes: list[int] = []
    for name, script in scripts.items():
        note(f"bench: {name}")
        code, result = _measure(script, quick=quick, data=folder)
        # without names, a benchmark of a device that is not there is no failure
        codes.append(0 if code == UNUSABLE and is_of_gpu(name) and not names else code)
        found += [] if result is None else [result]
        if result is not None and not json:
            answer("\n".join(result["text"]))
    if json:
        as_json(found)
    if write and found:
        keep(found, benchmarks_folder())
    raise typer.Exit(exit_code(codes, measured=bool(found)))


def benchmarks_folder() -> Path:
    """Return the folder of the benchmarks (inside the wheel, or beside the package in a checkout).

    Raises:
        EnvironmentProblem: there is none.
    """
    for folder in (PACKAGE / "benchmarks", PACKAGE.parent / "benchmarks"):
        if (folder / "common").is_dir():
            return folder
    raise EnvironmentProblem(
        f"bench: no benchmarks in {PACKAGE} or beside it; they come with the wheel and with the source checkout"
    )


def find_scripts(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the scripts of the benchmarks by name: those named, in that order, or all.

    Raises:
        UsageError: there is no such benchmark.
    """
    known = {file.stem.replace("_", "-"): file for file in sorted(folder.glob("*.py"))}
    for name in names:
        if name not in known:
            raise UsageError(f"bench {name!r}: not known{nearest(name, known)} (allowed: {', '.join(known)})")
    return {name: known[name] for name in dict.fromkeys(names)} if names else known


def is_of_gpu(name: str) -> bool:
    """Tell whether a benchmark needs a CUDA device."""
    return name.startswith("gpu-")


def exit_code(codes: Iterable[int], *, measured: bool) -> int:
    """Return the code of all: a bug first, then the highest; nothing measured is never 0."""
    seen = set(codes)
    if 1 in seen:
        return 1
    return max(seen) or (0 if measured else UNUSABLE)


def _list(scripts: Mapping[str, Path], json: bool) -> None:
    rows = [{"name": name, "gpu": is_of_gpu(name), "measures": _purpose(script)} for name, script in scripts.items()]
    if json:
        as_json(rows)
        return
    table(("name", "measures"), [(row["name"], row["measures"]) for row in rows])


def _purpose(script: Path) -> str:
    import ast

    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return text.split("\n", maxsplit=1)[0].replace("``", "")


def _measure(script: Path, *, quick: bool, data: Path) -> tuple[int, dict[str, Any] | None]:
    """Run a script; its errors go to our stderr. Code 7: it cannot be run here, and has said why in one line."""
    command = [sys.executable, str(script), "--json", "--data", str(data), *(["--quick"] if quick else [])]
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return (done.returncode if done.returncode > 0 else 1), None
    result: dict[str, Any] = json_text.loads(done.stdout)
    return 0, result


def keep(found: Iterable[dict[str, Any]], folder: Path) -> None:
    """Put results in place of older ones of the same benchmarks, and write the page from all of them."""
    file = folder / MEASURED
    kept = json_text.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept |= {result["benchmark"]: result for result in found}
    ordered = dict(sorted(kept.items()))
    file.write_text(json_text.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page(list(ordered.values())), encoding="utf-8")
    note(f"written: {folder / PAGE}")


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Make the page of the results: one row per target, then each benchmark with its place."""
    rows = [
        f"| {result['benchmark']} | {one['what']} | {_value(one)} | {one['bound']} {one['target']:,g} {one['unit']} "
        f"| {_judged(one)} |"
        for result in results
        for one in result["targets"]
    ]
    parts = [
        "# Speed, measured",
        "Written by `ranbench bench --write`; ratios are against a reference in the same run "
        "([what is measured, and how](../docs/benchmarks.md)).",
        "\n".join(("| benchmark | what | measured | target | met |", "|---|---|---:|---:|---|", *rows)),
        *(_section(result) for result in results),
    ]
    return "\n\n".join(parts) + "\n"


def _section(result: Mapping[str, Any]) -> str:
    changed = ", with uncommitted changes" if result["dirty"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    path = f", {result['engine_path']}" if result["engine_path"] else ""
    lines = [
        f"{result['device_name']} ({result['device']}), {result['threads']} threads{path}",
        f"measured {result['measured']}",
        f"commit {result['commit'] or 'unknown'}{changed}; Python {result['python']}, {versions}",
        *result["lines"],
    ]
    return "\n".join((f"## {result['benchmark']}", "", *(f"- {line}" for line in lines)))


def _value(one: Mapping[str, Any]) -> str:
    return "not measured" if one["value"] is None else f"{one['value']:,.3g} {one['unit']}"


def _judged(one: Mapping[str, Any]) -> str:
    return {True: "yes", False: "**no**", None: one["why"] or "not judged"}[one["met"]]
