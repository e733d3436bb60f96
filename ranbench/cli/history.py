"""history: a metric over the versions of the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranbench.cli.evidence import records_of, suite_in
from ranbench.cli.options import Db, Factor, Json, Only, Protocol, SuiteName, one_of, pairs, settings
from ranbench.cli.output import answer, as_json, note, paragraph, table
from ranbench.errors import UsageError, one_line


def history(
    context: typer.Context,
    suite: SuiteName,
    metric: Annotated[
        str,
        typer.Option("--metric", metavar="NAME", help="What is shown: loss, train_seconds, images_per_s and so on."),
    ] = "error_pct",
    only: Only = None,
    protocol: Protocol = None,
    factor: Factor = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Of svg, png and pdf, with commas between; for --out.")
    ] = "svg,png",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Also draw it, into this folder.")] = None,
    json: Json = False,
    db: Db = None,
) -> None:
    """Show a metric over the versions of the code, cell by cell: mean, spread, n, change to the one before."""
    from ranbench.report.history import history as gathered
    from ranbench.report.history import metric_of
    from ranbench.report.history_layout import PICTURES, grid, sentences, write_pictures

    chosen = tuple(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in chosen:
        one_of("--format", name, tuple(PICTURES))
    metric_of(metric)  # refuse before a database is opened
    selected = pairs(only)
    at = settings(context, db)
    with at.store(create=False) as store:
        loaded = suite_in(store, suite, protocol, factor, of_bundle=at.bundle is not None)
        found = gathered(loaded, records_of(store, loaded), metric, selected)
    if json:
        as_json(found.as_dict())
    else:
        said, shown = sentences(found), grid(found)
        paragraph(said[0])
        right = [column.heading for column in shown.columns if column.align == "right"]
        texts = [[entry.text for entry in row] for row in shown.rows]
        table([column.heading for column in shown.columns], texts, right=right, whole=("version", "begun"))
        for sentence in said[1:]:
            paragraph(sentence)
    if out is None:
        return
    try:
        files = write_pictures(found, out, chosen)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
    for file in files:
        note(f"drawn into {file}") if json else answer(str(file))
