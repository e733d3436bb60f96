"""doctor: what stands in the way, or puts results at risk."""

from __future__ import annotations

import dataclasses
from collections import Counter

import typer

from ranbench.cli.options import Data, Db, Json, settings
from ranbench.cli.output import answer, as_json, plural
from ranbench.errors import EnvironmentProblem


def doctor(context: typer.Context, json: Json = False, db: Db = None, data: Data = None) -> None:
    """Look at Python, libraries, database, disks, GPU and datasets, and say what to do. Exit 7 on a problem."""
    from ranbench.doctor import examine
    from ranbench.store.connection import database_file

    chosen = settings(context, db, data)
    chosen.refuse_bundle()
    found = []
    for finding in examine(chosen.db, database_file(chosen.db), chosen.results, chosen.data):
        found.append(finding)
        if not json:
            answer(f"{finding.level}: {finding.about}: {finding.text}{f'; {finding.remedy}' if finding.remedy else ''}")
    counts = Counter(finding.level for finding in found)
    if json:
        as_json({"findings": [dataclasses.asdict(finding) for finding in found]})
    else:
        answer(f"{plural(counts['problem'], 'problem')}, {plural(counts['warning'], 'warning')}")
    raise typer.Exit(EnvironmentProblem.exit_code if counts["problem"] else 0)
