"""The places of database, results and datasets: file systems, free space, rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ranbench.doctor.finding import Finding, ok, problem, warning
from ranbench.environment import can_write, existing, file_system, free_bytes

NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "9p", "virtiofs", "vboxsf"),
        *("lustre", "gpfs", "beegfs", "ceph", "glusterfs", "ocfs2", "gfs2", "pvfs2", "orangefs", "panfs", "wekafs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse"),
        *("fuse.juicefs", "fuse.davfs2", "davfs", "fuse.smbnetfs", "fuse.mfs", "fuse.cvmfs2"),
    )
)
SHARED_WITH_A_HOST = ("9p", "virtiofs", "vboxsf")  # of a virtual machine: well where only one guest uses it
LITTLE = 2**30  # bytes


def places(database: Path | None, results: Path, data: Path) -> Iterator[Finding]:
    """Look at each place; ``database`` is the file of SQLite, None for a server."""
    if database is not None:
        yield under_database(database, file_system(database))
        yield rights("database", database if not can_write(database) else database.parent)  # its log stands beside it
    for what, path in (("results", results), ("data", data)):
        yield beside(what, path, file_system(path))
        yield space(what, path, free_bytes(path))
    yield rights("results", results)
    if not can_write(data):
        yield ok("data", f"{existing(data)} is read-only: datasets can be used, not fetched")


def under_database(path: Path, kind: str | None) -> Finding:
    """Judge the file system of a SQLite file: its write-ahead log needs memory that all processes share."""
    text = f"{path} lies on {kind or 'a file system of unknown kind'}"
    elsewhere = "put the database on a local disk (--db sqlite:///PATH), or use PostgreSQL for several machines"
    if kind in SHARED_WITH_A_HOST:
        return warning("database place", f"{text}, where SQLite is safe only if one machine uses it", elsewhere)
    if kind in NETWORK:
        return problem(
            "database place", f"{text}, a network file system, on which its write-ahead log does not work", elsewhere
        )
    return ok("database place", text)


def beside(what: str, path: Path, kind: str | None) -> Finding:
    """Judge the file system of files that are written whole and renamed, which works on any."""
    text = f"{path} lies on {kind or 'a file system of unknown kind'}"
    if kind in NETWORK:
        return warning(f"{what} place", f"{text}, a network file system", "works; a local disk is faster")
    return ok(f"{what} place", text)


def space(what: str, path: Path, free: int) -> Finding:
    """Judge the free space."""
    text = f"{free / 2**30:,.1f} GiB free for {path}"
    if free < LITTLE:
        return warning(
            f"{what} space", text, "free some: a full disk stops runs, and costs their checkpoints and weights"
        )
    return ok(f"{what} space", text)


def rights(what: str, path: Path) -> Finding:
    """Judge whether what must be written can be."""
    if can_write(path):
        return ok(f"{what} rights", f"{path} can be {'written' if path.exists() else 'made'}")
    return problem(f"{what} rights", f"{existing(path)} cannot be written", "change its rights, or name another place")
