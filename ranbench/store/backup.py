"""A copy of a database, made while it is in use."""

from __future__ import annotations

from pathlib import Path

from ranbench.errors import UsageError
from ranbench.masking import mask_url
from ranbench.store.connection import database_file
from ranbench.store.file import copy
from ranbench.store.looking import schema_version


def backup(url: str, target: Path) -> int:
    """Copy what is committed to a new file, check the copy, and return its size in bytes.

    Raises:
        UsageError: a server's database, a file that is there already, or no folder for it.
        StoreError: the database cannot be read or is not ranbench's, or the copy cannot be written.
    """
    if url.startswith("postgresql"):
        raise UsageError(f"{mask_url(url)}: is copied on its server, with 'pg_dump --format=custom --file FILE NAME'")
    schema_version(url)  # refuses what is none of ours
    return copy(Path(str(database_file(url))), target)
