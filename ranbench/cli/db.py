"""db check, db backup and db upgrade: care for the database."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ranbench.cli.options import Db, Json, settings
from ranbench.cli.output import answer, as_json, plural
from ranbench.errors import StoreError
from ranbench.masking import mask_url

app = typer.Typer(no_args_is_help=True, help="Check, copy and upgrade the database.", rich_markup_mode=None)


@app.command()
def check(context: typer.Context, json: Json = False, db: Db = None) -> None:
    """Look for damage, orphans and missing results in the database and its files; exit 7 on faults. Mends nothing."""
    from ranbench.environment import is_alive
    from ranbench.store.audit import audit
    from ranbench.suite import heading

    chosen = settings(context, db)
    chosen.refuse_bundle()
    found = audit(chosen.db, chosen.results, is_alive, heading)
    counts = Counter(finding.level for finding in found)
    if json:
        as_json({"database": mask_url(chosen.db), "findings": [dataclasses.asdict(finding) for finding in found]})
    else:
        for finding in found:
            answer(f"{finding.level}: {finding.about}: {finding.text}")
        said = plural(counts["fault"], "fault") if counts["fault"] else "no fault"
        answer(f"{mask_url(chosen.db)}: {said}, {plural(counts['note'], 'note')}")
    raise typer.Exit(StoreError.exit_code if counts["fault"] else 0)


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to make; there must be none yet.")],
    json: Json = False,
    db: Db = None,
) -> None:
    """Copy the database, also while it is written to, and check the copy."""
    from ranbench.store.backup import backup as make

    chosen = settings(context, db)
    chosen.refuse_bundle()
    size = make(chosen.db, file)
    if json:
        as_json({"database": mask_url(chosen.db), "copy": str(file), "bytes": size})
    else:
        answer(f"{mask_url(chosen.db)}: copied to {file} ({size:,} bytes), and the copy is whole")


@app.command()
def upgrade(context: typer.Context, json: Json = False, db: Db = None) -> None:
    """Bring an older database to this version's schema; a copy of it is made first."""
    from ranbench.store import Store
    from ranbench.store.looking import schema_version

    chosen = settings(context, db)
    chosen.refuse_bundle()
    before = schema_version(chosen.db)
    with Store.open(chosen.db, create=False) as store:
        after, copy = store.schema_version(), store.backup
    if json:
        as_json({"database": mask_url(chosen.db), "from": before, "to": after, "copy": copy})
    elif before == after:
        answer(f"{mask_url(chosen.db)}: has schema {after}, that of this ranbench; nothing to do")
    else:
        kept = f"its old form is kept as {copy}" if copy else "no copy was made here"
        answer(f"{mask_url(chosen.db)}: upgraded from schema {before} to {after}; {kept}")
