"""data fetch and data verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ranbench.cli.options import Data, Json, settings
from ranbench.cli.output import answer, as_json
from ranbench.errors import DataError

if TYPE_CHECKING:
    from ranbench.data import Loader

GOOD, NOT_FETCHED, DAMAGED = "good", "not fetched", "not good"

app = typer.Typer(no_args_is_help=True, help="Fetch and verify datasets.", rich_markup_mode=None)


@app.command()
def fetch(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="For instance cifar10.")],
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Another place of the official archive.")
    ] = None,
    data: Data = None,
) -> None:
    """Download a dataset with progress; its checksum is checked."""
    from ranbench.catalogue import dataset_info
    from ranbench.data import LOADERS

    dataset_info(dataset)
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
    from ranbench.catalogue import dataset_info
    from ranbench.data import LOADERS

    for name in datasets or []:
        dataset_info(name)
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


def _verified(name: str, loader: Loader, root: Path) -> dict[str, str]:
    try:
        return {"dataset": name, "state": GOOD, "text": loader.verify(root)}
    except DataError as error:
        state = DAMAGED if loader.is_there(root) else NOT_FETCHED
        return {"dataset": name, "state": state, "text": str(error).removeprefix(f"{name}: ")}
