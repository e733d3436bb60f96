"""data fetch and data verify."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ranbench.cli.options import Data, Json, settings
from ranbench.cli.output import answer, as_json
from ranbench.errors import DataError

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
        list[str] | None, typer.Argument(metavar="[DATASET...]", help="All that are there if left out.")
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Check that datasets are complete and undamaged; exit 7 where one is not."""
    from ranbench.catalogue import dataset_info
    from ranbench.data import LOADERS

    names: Sequence[str] = datasets or list(LOADERS)
    root = settings(context, None, data).data
    found: list[dict[str, object]] = []
    for name in names:
        dataset_info(name)
        try:
            found.append({"dataset": name, "good": True, "text": LOADERS[name].verify(root)})
        except DataError as error:
            found.append({"dataset": name, "good": False, "text": str(error).removeprefix(f"{name}: ")})
    if json:
        as_json(found)
    else:
        for entry in found:
            answer(f"{entry['dataset']}: {'good' if entry['good'] else 'NOT GOOD'}: {entry['text']}")
    raise typer.Exit(0 if all(entry["good"] for entry in found) else DataError.exit_code)
