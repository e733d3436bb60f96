"""complexity: size of a net, module by module or as a table of its layers, and the table over all nets."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Json
from ranbench.cli.output import answer, as_json, large, note, paragraph, table
from ranbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ranbench.complexity import Memory, Row
    from ranbench.records import Complexity
    from ranbench.spec import DataSpec, ModelSpec

MEBIBYTE = 2**20
COUNTED = ("parameters", "multiply-adds")
OF_R = ("r", "r_scales")
DIGITS_DEPTH = "two stages in place of three, so the name keeps the modules per stage and not the depth"


def complexity(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A net; all with stored counts if left out.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="The net takes its form from it; the first that fits."),
    ] = None,
    side: Annotated[
        int | None, typer.Option("--input", metavar="N", help="Side of the image, where the dataset leaves it open.")
    ] = None,
    learning: Annotated[str | None, typer.Option("--learning", help="residual or naive.")] = None,
    attention: Annotated[str | None, typer.Option("--attention", help="mixed, channel or spatial.")] = None,
    mask: Annotated[str | None, typer.Option("--mask", help="encoder-decoder or local-convolutions.")] = None,
    p: Annotated[int | None, typer.Option("--p", help="Units before and after trunk and mask.")] = None,
    t: Annotated[int | None, typer.Option("--t", help="Units of the trunk.")] = None,
    r: Annotated[
        int | None, typer.Option("--r", help="Units of an encoder-decoder mask between two samplings.")
    ] = None,
    r_scales: Annotated[str | None, typer.Option("--r-scales", help="both-ways or way-down.")] = None,
    unit_order: Annotated[
        str | None, typer.Option("--unit-order", help="pre-activation or post-activation; not on ImageNet.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", help="Also the memory of a training step on N images.")
    ] = None,
    backward: Annotated[bool, typer.Option("--backward", help="Also the multiply-adds of the backward pass.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Layer by layer, as the paper's table 2.")] = False,
    trust_imports: Annotated[
        bool, typer.Option("--trust-imports", help="Import and run the code of package.module:factory.")
    ] = False,
    write_counts: Annotated[
        bool, typer.Option("--write-counts", help="Count every net anew and rewrite the package's counts.json.")
    ] = False,
    json: Json = False,
) -> None:
    """Count parameters, multiply-adds, depth and memory of a net; nothing is trained, no weights are needed."""
    options = {"learning": learning, "attention": attention, "mask": mask, "p": p, "t": t, "r": r}
    options |= {"r_scales": r_scales, "unit_order": unit_order}
    given = {name.replace("_", "-"): value for name, value in options.items()}
    given |= {"input": side, "batch": batch, "backward": backward, "tree": tree, "trust-imports": trust_imports}
    if write_counts:
        _no_other("--write-counts counts every net anew", {"MODEL": model, "dataset": dataset, "json": json, **given})
        _rewrite()
    elif model is None:
        _no_other("without MODEL the stored counts are printed", given)
        _all(dataset, json)
    else:
        spec, data = _specs(model, options, dataset, side)
        if _ignores_r(spec) and (r or r_scales):
            note(f"{'--r' if r else '--r-scales'} changes nothing with local convolutions, which do not sample")
        _one(spec, data, batch=batch, backward=backward, tree=tree, trusted=trust_imports, json=json)


def _no_other(why: str, given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None and value is not False:
            option = name if name.isupper() else f"--{name}"
            raise UsageError(f"complexity: {why}; {option} does not go with it")


def _specs(
    model: str, options: Mapping[str, object], dataset: str | None, side: int | None
) -> tuple[ModelSpec, DataSpec]:
    from pydantic import ValidationError

    from ranbench.catalogue import check_option, check_setting, dataset_info
    from ranbench.spec import DataSpec, ModelSpec

    name = dataset or _usual_dataset(model)
    form = dataset_info(name).form
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        check_option(model, option, value, form)
    check_setting(model, form, given)
    try:
        return ModelSpec.model_validate({"name": model, **given}), DataSpec.of(name, input=side)
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _usual_dataset(model: str) -> str:
    """The first dataset that a net has a form for; ImageNet for the nets of libraries, which are made for it."""
    from ranbench.catalogue import DATASETS, is_library_net, net_info

    forms = net_info(model).forms
    return "imagenet" if is_library_net(model) else next(n for n, info in DATASETS.items() if info.form in forms)


def _ignores_r(spec: ModelSpec) -> bool:
    """Tell whether r and the way it enters mean nothing to a net."""
    return spec.mask == "local-convolutions"


def _one(
    spec: ModelSpec, data: DataSpec, *, batch: int | None, backward: bool, tree: bool, trusted: bool, json: bool
) -> None:
    import ranbench.complexity as counting
    from ranbench.catalogue import is_attention_net

    found = counting.measure_named(spec, data, trusted=trusted, backward=backward)
    held, rows = None, None
    if batch is not None or tree:
        net = counting.net_of(spec, data, trusted=trusted)
        held = None if batch is None else counting.memory(net, data.shape, batch)
        rows = counting.tree(net, data.shape) if tree else None
    if json:
        as_json(_as_dict(spec, data, found, held, rows))
        return
    options = ", ".join(f"{name} {value}" for name, value in spec.options.items())
    answer(f"{spec.name}{f' ({options})' if options else ''} on {data.name}, images of {_size(data.shape)}")
    if rows is None:
        _print_modules(found)
    else:
        _print_rows(rows, found)
    _print_totals(found, is_short=data.name == "digits" and is_attention_net(spec.name))
    if held is not None:
        _print_memory(held)
    _print_notes(found)


def _as_dict(
    spec: ModelSpec, data: DataSpec, found: Complexity, held: Memory | None, rows: tuple[Row, ...] | None
) -> dict[str, Any]:
    whole = {
        "model": spec.name,
        "options": {name: value for name, value in spec.settings.items() if not _ignores_r(spec) or name not in OF_R},
        "dataset": data.name,
        "input": list(data.shape),
        "parameters": found.parameters,
        "macs": found.macs,
        "depth": found.depth,
        "by_module": found.by_module,
        "uncounted": found.uncounted,
        "convention": found.convention,
    }
    if found.backward_macs is not None:
        whole["backward_macs"] = found.backward_macs
    if held is not None:
        whole["memory"] = {**asdict(held), "total_bytes": held.total_bytes}
    if rows is not None:
        whole["tree"] = [asdict(row) for row in rows]
    return whole


def _print_modules(found: Complexity) -> None:
    rows = [(name, f"{part['parameters']:,}", f"{part['macs']:,}") for name, part in found.by_module.items()]
    table(("module", *COUNTED), [*rows, _total(found)], right=COUNTED)


def _print_rows(rows: tuple[Row, ...], found: Complexity) -> None:
    columns = ("layer", "output", "", "times", *COUNTED)
    lines = [
        (row.layer, _output(row), row.details, f"x{row.times}", f"{row.parameters:,}", f"{row.macs:,}") for row in rows
    ]
    name, *counts = _total(found)
    table(columns, [*lines, (name, None, None, None, *counts)], right=("times", *COUNTED))


def _output(row: Row) -> str | None:
    """The size of the map, or all sides where there is none; the channels stand in the details."""
    if row.output is None:
        return None
    return _size(row.output[1:] if len(row.output) == 3 else row.output)


def _total(found: Complexity) -> tuple[str, str, str]:
    return ("total", f"{found.parameters:,}", f"{found.macs:,}")


def _size(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _print_totals(found: Complexity, *, is_short: bool) -> None:
    why = f" ({DIGITS_DEPTH})" if is_short else ""
    answer(f"parameters:     {large(found.parameters)}")
    answer(f"multiply-adds:  {large(found.macs)}")
    if found.backward_macs is not None:
        answer(f"backward pass:  {large(found.backward_macs)} ({found.backward_macs:,} multiply-adds)")
    answer(f"trunk depth:    {'not known' if found.depth is None else found.depth}{why}")


def _print_memory(held: Memory) -> None:
    lines = {
        "parameters": held.parameters_bytes,
        "their gradients": held.gradients_bytes,
        "momentum": held.momentum_bytes,
        "running statistics": held.buffers_bytes,
        "kept for the backward pass": held.activations_bytes,
        "total": held.total_bytes,
    }
    rows = [(name, f"{number / MEBIBYTE:,.1f}") for name, number in lines.items()]
    table((f"memory of a training step on {held.batch} images", "MiB"), rows, right=("MiB",))


def _print_notes(found: Complexity) -> None:
    first, *further = found.convention.split("; ")
    paragraph(f"convention: {first}")
    for part in further:
        paragraph(f"  {part}")
    names = ", ".join(f"{name} ({count}x)" for name, count in found.uncounted.items())
    paragraph(f"not counted: {names or 'nothing'}")


def _all(dataset: str | None, json: bool) -> None:
    from ranbench.catalogue import dataset_info
    from ranbench.counts import COUNTS_FILE, read_counts

    if dataset is not None:
        dataset_info(dataset)
    found = {
        key: entry
        for key, entry in read_counts(COUNTS_FILE).items()
        if dataset is None or key.split(" @ ")[1].split()[0] == dataset
    }
    if json:
        as_json({key: asdict(entry) for key, entry in found.items()})
        return
    rows = [
        (*key.split(" @ "), f"{entry.parameters:,}", f"{entry.macs:,}", entry.depth) for key, entry in found.items()
    ]
    table(("net", "images", *COUNTED, "trunk depth"), rows, right=(*COUNTED, "trunk depth"))
    if any(key.startswith("attention") and key.endswith(" @ digits") for key in found):
        paragraph(f"attention nets on digits: {DIGITS_DEPTH}")


def _rewrite() -> None:
    from ranbench.complexity import write_counts
    from ranbench.counts import COUNTS_FILE

    for change in write_counts(COUNTS_FILE):
        answer(change)
    note(f"counts written to {COUNTS_FILE}")
