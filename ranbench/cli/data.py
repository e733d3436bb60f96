"""data fetch, data verify and data manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.options import Data, Json, TrustImports, one_of, settings
from ranbench.cli.output import answer, as_json, note
from ranbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from ranbench.data import Loader
    from ranbench.spec import DataSpec

GOOD, NOT_FETCHED, DAMAGED = "good", "not fetched", "not good"

app = typer.Typer(
    no_args_is_help=True, help="Fetch and verify datasets; print the facts of your own.", rich_markup_mode=None
)


@app.command()
def fetch(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="For instance cifar10.")],
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Another place of the official archive.")
    ] = None,
    data: Data = None,
) -> None:
    """Download a dataset with progress and check its sum; of imagenet, unpack the archives that you have fetched."""
    _check_name(dataset)
    from ranbench.data import LOADERS

    loader = LOADERS[dataset]
    root = settings(context, None, data).data
    if loader.fetch is None:
        answer(f"{dataset}: nothing to fetch: {loader.verify(root)}")
        return
    answer(f"{dataset}: {loader.fetch(root, url)}")


@app.command()
def verify(
    context: typer.Context,
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET...]", help="All that were fetched if left out.")
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Check that datasets are complete and undamaged; exit 7 where one is not, or is named and was not fetched."""
    for name in datasets or []:
        _check_name(name)
    from ranbench.data import LOADERS

    root = settings(context, None, data).data
    found = [_verified(name, LOADERS[name], root) for name in datasets or LOADERS]
    if json:
        as_json([entry | {"good": entry["state"] == GOOD} for entry in found])
    else:
        for entry in found:
            state = entry["state"] if entry["state"] in (GOOD, NOT_FETCHED) else "NOT GOOD"
            answer(f"{entry['dataset']}: {state}: {entry['text']}")
    fine = (GOOD,) if datasets else (GOOD, NOT_FETCHED)
    raise typer.Exit(0 if all(entry["state"] in fine for entry in found) else DataError.exit_code)


@app.command()
def manifest(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Your own, package.module:factory or imagefolder; or imagenet.")
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--form", metavar="NAME", help="cifar, imagenet or digits: the form of nets; by size if left out."
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="WHICH",
            help="Leave images out, of imagenet and imagefolder: damaged, or blacklisted (imagenet). Again for both.",
        ),
    ] = None,
    trust_imports: TrustImports = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Look at a dataset of your own and print what a suite states of it; of imagenet, without the images to skip."""
    from typing import cast, get_args

    from ranbench.catalogue import DATASETS, IMAGE_FOLDER, Form, dataset_info, is_factory

    left_out = sorted(set(skip or []))
    for what in left_out:
        one_of("--skip", what, ("damaged", "blacklisted") if dataset == "imagenet" else ("damaged",))
    root = settings(context, None, data).data
    if dataset == "imagenet":
        from ranbench.data.imagenet import imagenet_manifest

        facts, said = imagenet_manifest(root, left_out)
        _print_manifest(dataset, facts, json=json)
        note(said)
        return
    if left_out and dataset != IMAGE_FOLDER:
        raise UsageError(f"data manifest {dataset}: --skip is for imagenet and {IMAGE_FOLDER}")
    if dataset == IMAGE_FOLDER:
        from ranbench.data.folders import folder_manifest

        own, said = folder_manifest(root, skip_damaged=bool(left_out))
        facts = _facts(own) | ({"form": form} if form else {})
        _print_manifest(dataset, facts, json=json)
        note(f"left out: {said}" if said else "every image was decoded")
        return
    if dataset in DATASETS:
        raise UsageError(f"data manifest {dataset}: its facts are known, and no suite states them")
    if not is_factory(dataset):
        dataset_info(dataset)  # refuses it
    if form is not None:
        one_of("--form", form, get_args(Form))
    from ranbench.data.own import manifest as made

    found = made(dataset, root, cast("Form | None", form), trusted=trust_imports)
    _print_manifest(dataset, _facts(found), json=json)
    if form is None and not json:
        note(f"form {_facts(found)['form']} by the size of the images; --form takes another one")


def _check_name(dataset: str) -> None:
    from ranbench.catalogue import IMAGE_FOLDER, dataset_info

    if dataset != IMAGE_FOLDER:
        dataset_info(dataset)


def _print_manifest(dataset: str, facts: Mapping[str, object], *, json: bool) -> None:
    """Print facts as a suite states them."""
    if json:
        as_json({dataset: facts})
        return
    answer("datasets:")
    answer(f"  {dataset}:")
    for key, value in facts.items():
        text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else value
        answer(f"    {key}: {text}")


def _facts(found: DataSpec) -> dict[str, object]:
    """The facts of a dataset by the keys of a suite."""
    assert found.facts is not None
    return {
        "checksum": found.checksum,
        "form": found.facts.form,
        "shape": list(found.facts.shape),
        "classes": found.facts.classes,
        **{key: list(value) for key in ("mean", "std") if (value := getattr(found.facts, key))},
        "train": found.train_images,
        "test": found.test_images,
        **({"skip": list(found.skip)} if found.skip else {}),
    }


def _verified(name: str, loader: Loader, root: Path) -> dict[str, str]:
    try:
        return {"dataset": name, "state": GOOD, "text": loader.verify(root)}
    except DataError as error:
        state = DAMAGED if loader.is_there(root) else NOT_FETCHED
        return {"dataset": name, "state": state, "text": str(error).removeprefix(f"{name}: ")}
