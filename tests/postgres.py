"""A private PostgreSQL server for tests, in a temporary folder, with a socket and no port."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL

from ranbench.store import Store

USER, PASSWORD = "ranbench", "s3cret/with:signs%"
GUEST = "guest"  # has the same password, and no rights

OPTIONS = ("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")

# For speed: nothing of it has to outlive the machine.
SETTINGS = {"listen_addresses": "''", "fsync": "off", "full_page_writes": "off"}


def binaries() -> Path | None:
    """The folder of the newest server's programs: where Debian keeps them, else on PATH."""
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    found = shutil.which("initdb")
    return kept[-1].parent if kept else Path(found).resolve().parent if found else None


@dataclass
class Cluster:
    """A running server. ``folder`` holds its files, its socket and its log."""

    programs: Path
    folder: Path
    names: Iterator[int] = field(default_factory=itertools.count)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of the server, as a user who is not root: it refuses to run as root."""
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        with (self.folder / "log").open("a") as log:
            subprocess.run(_as_plain_user() + command, check=True, stdout=log, stderr=log, cwd="/")

    def start(self) -> None:
        """Start the server, and wait for it."""
        settings = {**SETTINGS, "unix_socket_directories": str(self.folder)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.run("pg_ctl", "-w", "-l", str(self.folder / "server.log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop the server at once, as a power cut would."""
        self.run("pg_ctl", "-m", "immediate", "stop")

    def is_up(self) -> bool:
        """Whether the server runs."""
        return (self.folder / "data" / "postmaster.pid").exists()

    def url(self, database: str, **changes: Any) -> str:
        """The URL of a database, with the password in it."""
        parts = {"username": USER, "password": PASSWORD, "database": database, "query": {"host": str(self.folder)}}
        return URL.create("postgresql+psycopg", **{**parts, **changes}).render_as_string(hide_password=False)

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement in a connection of its own, and return its rows."""
        with psycopg.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            done = connection.execute(sql)  # type: ignore[call-overload]
            return [] if done.description is None else list(done.fetchall())

    @contextlib.contextmanager
    def database(self, options: str = "TEMPLATE template0") -> Iterator[str]:
        """The URL of a new database, which is dropped afterwards."""
        name = f"test_{next(self.names)}"
        self.execute(f"CREATE DATABASE {name} {options}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    """Make a server, with a template of a migrated database (a copy is quicker than the migrations), and stop it."""
    with tempfile.TemporaryDirectory(prefix="ranbench-pg-") as name:
        made = Cluster(programs, Path(name))
        password = made.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            user = _plain_user()
            for path in (made.folder, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        made.run("initdb", "-U", USER, "--pwfile", str(password), *OPTIONS)
        made.start()
        try:
            made.execute(f"CREATE ROLE {GUEST} LOGIN PASSWORD '{PASSWORD}'")
            made.execute("CREATE DATABASE migrated TEMPLATE template0")
            Store.open(made.url("migrated")).close()
            yield made
        finally:
            made.stop()


def _plain_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("tests run as root, and there is neither a user postgres nor nobody to run the server as")


def _as_plain_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = _plain_user()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
