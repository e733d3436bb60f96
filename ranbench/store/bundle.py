"""The file format of bundles: a ZIP of JSON lines with a manifest of their hashes. Knows no database.

A bundle is canonical: the same records give the same bytes, whoever exports them and in whatever order they were
gathered. Its identity is the hash of its manifest. Everything in it is checked before any of it is used.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf, isfinite, isnan, nan
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ranbench.errors import StoreError, one_line

FORMAT = "ranbench bundle"
VERSION = 2
MANIFEST = "manifest.json"
ARTEFACTS = "artefacts"
# In the order in which they can be merged: each refers to those before it only.
PARTS = ("cells", "runs", "suites", "environments", "complexity", "attempts", "series", "probes")
SINCE = {"probes": 2}  # parts that bundles of earlier versions do not have

LARGEST_MANIFEST = 64 * 2**20
BLOCK = 2**20
_EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the first moment that a ZIP can name; a bundle tells when its records were made, not itself

Record = Mapping[str, Any]


def line(record: Record) -> bytes:
    """Return a record as one line of canonical JSON."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def from_number(value: float | None) -> float | str | None:
    """Return what stands for a number in JSON, which knows neither infinity nor not-a-number."""
    if value is None or isnan(value):
        return None
    return value if isfinite(value) else ("inf" if value > 0 else "-inf")


def to_number(value: Any) -> float:
    """Read a number as ``from_number`` wrote it.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return nan
    if value in ("inf", "-inf"):
        return inf if value == "inf" else -inf
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def write(path: Path, parts: Mapping[str, Iterable[Record]], artefacts: Mapping[str, Path]) -> str:
    """Write a bundle to a new file and return its identity.

    Args:
        path: of the file; it appears whole or not at all.
        parts: the records of every part of ``PARTS``, in canonical order.
        artefacts: name in the bundle -> file.

    Raises:
        StoreError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            members = [_write_part(archive, name, parts[name]) for name in PARTS]
            members += [_write_file(archive, name, artefacts[name]) for name in sorted(artefacts)]
            manifest = line({"format": FORMAT, "version": VERSION, "members": dict(members)})
            archive.writestr(_info(MANIFEST), manifest)
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {one_line(error)}") from None
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(manifest).hexdigest()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, whatever system writes it
    info.external_attr = 0o644 << 16
    return info


def _write_part(archive: zipfile.ZipFile, part: str, records: Iterable[Record]) -> tuple[str, dict[str, Any]]:
    name = f"{part}.jsonl"
    return name, _write_member(archive, name, map(line, records))


def _write_file(archive: zipfile.ZipFile, name: str, file: Path) -> tuple[str, dict[str, Any]]:
    with file.open("rb") as content:
        return name, _write_member(archive, name, iter(lambda: content.read(BLOCK), b""))


def _write_member(archive: zipfile.ZipFile, name: str, blocks: Iterable[bytes]) -> dict[str, Any]:
    total, size = hashlib.sha256(), 0
    with archive.open(_info(name), "w", force_zip64=True) as member:
        for block in blocks:
            member.write(block)
            total.update(block)
            size += len(block)
    return {"sha256": total.hexdigest(), "bytes": size}


class Bundle:
    """An open bundle whose members were all found to be what the manifest says."""

    def __init__(self, label: str, archive: zipfile.ZipFile, identity: str, names: Collection[str]):
        """Use ``opened``; ``names`` are those of all members."""
        self.label, self.identity = label, identity
        self.artefacts = tuple(name for name in names if name.startswith(f"{ARTEFACTS}/"))
        self.parts = frozenset(part for part in PARTS if f"{part}.jsonl" in names)
        self._archive = archive

    def records(self, part: str) -> Iterator[dict[str, Any]]:
        """Read the records of a part; there are none of one that is newer than the bundle.

        Raises:
            StoreError: a line is not a JSON object.
        """
        if part not in self.parts:
            return
        with self._archive.open(f"{part}.jsonl") as lines:
            for number, text in enumerate(lines, 1):
                try:
                    record = json.loads(text)
                except ValueError as error:
                    raise StoreError(f"{self.label}: {part}.jsonl:{number}: is not JSON: {one_line(error)}") from None
                if not isinstance(record, dict):
                    raise StoreError(f"{self.label}: {part}.jsonl:{number}: is no JSON object")
                yield record

    def artefact(self, name: str) -> IO[bytes]:
        """Open the content of a file of the bundle."""
        return self._archive.open(name)


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Open a bundle after a check of all that is in it.

    Raises:
        StoreError: it is not a bundle, is damaged, is of a newer version, or holds what the manifest does not say.
    """
    label = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield _checked(label, archive)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        # RuntimeError and NotImplementedError: a member that is encrypted or compressed in an unknown way
        raise StoreError(f"{label}: is not a bundle, or is damaged: {one_line(error)}") from None


def _checked(label: str, archive: zipfile.ZipFile) -> Bundle:
    names = [info.filename for info in archive.infolist()]
    if MANIFEST not in names:
        raise StoreError(f"{label}: is not a bundle of ranbench (it has no {MANIFEST})")
    if archive.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
        raise StoreError(
            f"{label}: {MANIFEST} is larger than {LARGEST_MANIFEST:,} bytes; it is not a bundle of ranbench"
        )
    text = archive.read(MANIFEST)
    members = _members(label, text)
    for name in names:
        if name != MANIFEST and name not in members:
            raise StoreError(f"{label}: holds {name!r}, which its manifest does not name; it was altered")
    if len(set(names)) != len(names):
        raise StoreError(f"{label}: holds a file twice; it was altered")
    for name, said in members.items():
        if name not in names:
            raise StoreError(f"{label}: lacks {name!r}, which its manifest names; it was altered or cut")
        _compare(label, archive, name, said)
    return Bundle(label, archive, hashlib.sha256(text).hexdigest(), members)


def _members(label: str, text: bytes) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}")
        version, members = int(manifest["version"]), manifest["members"]
        if version > VERSION:
            raise StoreError(
                f"{label}: is a bundle of version {version}, newer than {VERSION} of this ranbench; "
                "'pip install --upgrade ranbench' helps"
            )
        found = {
            str(name): {"sha256": str(said["sha256"]), "bytes": int(said["bytes"])} for name, said in members.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{label}: is not a bundle of ranbench: its {MANIFEST} does not hold: {one_line(error)}"
        ) from None
    parts = {f"{part}.jsonl" for part in PARTS}
    for name in found:
        if name not in parts and not is_artefact(name):
            raise StoreError(f"{label}: names the file {name!r}; a bundle holds {ARTEFACTS}/NAME and its records only")
    missing = sorted(
        f"{part}.jsonl" for part in PARTS if SINCE.get(part, 1) <= version and f"{part}.jsonl" not in found
    )
    if missing:
        raise StoreError(f"{label}: its manifest lacks {missing[0]}; it is not a whole bundle")
    return found


def is_artefact(name: str) -> bool:
    """Tell whether a path stays inside the folder of artefacts: one plain name in it."""
    path = PurePosixPath(name)
    plain = path.parts[:1] == (ARTEFACTS,) and len(path.parts) == 2 and str(path) == name
    return plain and path.name not in {".", ".."} and not any(sign in name for sign in "\\:\0")


def _compare(label: str, archive: zipfile.ZipFile, name: str, said: Mapping[str, Any]) -> None:
    total, size = hashlib.sha256(), 0
    if archive.getinfo(name).file_size != said["bytes"]:
        raise StoreError(f"{label}: {name!r} is not as long as the manifest says; it was altered")
    with archive.open(name) as member:
        while block := member.read(BLOCK):
            total.update(block)
            size += len(block)
            if size > said["bytes"]:
                break
    if total.hexdigest() != said["sha256"]:
        raise StoreError(f"{label}: {name!r} does not have the hash that the manifest says; it was altered or damaged")
