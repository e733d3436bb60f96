"""The file format of bundles: a ZIP of JSON lines with a manifest of their hashes. Knows no database.

A bundle is canonical: the same records give the same bytes, whoever exports them and in whatever order they were
gathered. Its identity is the hash of its manifest. Everything in it is checked before any of it is used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from itertools import count
from math import inf, isfinite, isnan, nan
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ranbench.errors import StoreError, one_line

FORMAT = "ranbench bundle"
VERSION = 3
MANIFEST = "manifest.json"
ARTEFACTS = "artefacts"
# In the order in which they can be merged: each refers to those before it only.
PARTS = ("cells", "runs", "suites", "environments", "complexity", "attempts", "series", "probes")
SINCE = {"probes": 2}  # parts that bundles of earlier versions do not have

LARGEST_MANIFEST = 64 * 2**20
LONGEST_LINE = 64 * 2**20
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
    return value + 0.0 if isfinite(value) else ("inf" if value > 0 else "-inf")


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
    try:
        return float(value) + 0.0  # -0.0 is 0.0, as it is in a database
    except OverflowError:
        raise ValueError("is a number out of range") from None


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
        discard(partial)
    return hashlib.sha256(manifest).hexdigest()


def discard(path: Path) -> None:
    """Delete a file where that is possible; why it was begun in vain is told already."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, whatever system writes it
    info.external_attr = 0o644 << 16
    return info


def _write_part(archive: zipfile.ZipFile, part: str, records: Iterable[Record]) -> tuple[str, dict[str, Any]]:
    name = f"{part}.jsonl"
    return name, _write_member(archive, name, map(_short_line, records))


def _short_line(record: Record) -> bytes:
    text = line(record)
    if len(text) > LONGEST_LINE:
        raise StoreError(f"a record of {len(text):,} bytes is longer than {LONGEST_LINE:,}, which no merge would read")
    return text


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

    def __init__(self, label: str, archive: zipfile.ZipFile, identity: str, members: Mapping[str, dict[str, Any]]):
        """Use ``opened``; ``members`` are those of the manifest."""
        self.label, self.identity = label, identity
        # Hash and size of every file.
        self.artefacts = {
            name: (str(said["sha256"]), int(said["bytes"])) for name, said in members.items() if is_artefact(name)
        }
        self.parts = frozenset(part for part in PARTS if f"{part}.jsonl" in members)
        self._archive = archive

    def records(self, part: str) -> Iterator[dict[str, Any]]:
        """Read the records of a part; there are none of one that is newer than the bundle.

        Raises:
            StoreError: a line is too long, or is not a JSON object in its canonical form.
        """
        if part not in self.parts:
            return
        with self._archive.open(f"{part}.jsonl") as member, BufferedReader(member, BLOCK) as lines:  # type: ignore[type-var]
            for number in count(1):
                with _whole(self.label):
                    text = lines.readline(LONGEST_LINE + 1)
                if not text:
                    return
                yield _record(f"{self.label}: {part}.jsonl:{number}", text)

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
    with ExitStack() as stack:
        with _whole(label):
            archive = stack.enter_context(zipfile.ZipFile(path))
            bundle = _checked(label, archive)
        yield bundle  # errors of whoever uses it are their own


@contextmanager
def _whole(label: str) -> Iterator[None]:
    """Tell whether a file cannot be read at all, or what is read is no bundle."""
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a place before the beginning of the file: a directory that lies
            raise StoreError(f"{label}: cannot be read: {error.strerror}") from None
        raise StoreError(f"{label}: is not a bundle, or is damaged: {one_line(error)}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,  # a member that is encrypted
        NotImplementedError,  # or compressed in an unknown way
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        raise StoreError(f"{label}: is not a bundle, or is damaged: {one_line(error)}") from None


def _record(where: str, text: bytes) -> dict[str, Any]:
    if len(text) > LONGEST_LINE:
        raise StoreError(f"{where}: is longer than {LONGEST_LINE:,} bytes; it is not of a bundle of ranbench")
    try:
        record = _json(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: is not JSON: {one_line(error)}") from None
    if not isinstance(record, dict):
        raise StoreError(f"{where}: is no JSON object")
    try:
        canonical = line(record) == text
    except (ValueError, RecursionError):  # a text or number that has no canonical form
        canonical = False
    if not canonical:
        raise StoreError(f"{where}: is not in canonical form; export the bundle again")
    return record


def _json(text: bytes) -> Any:
    return json.loads(text.decode(), parse_constant=_no_number)  # in UTF-8 only; json would take others as well


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


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
        manifest = _json(text)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}")
        version, members = _whole_number(manifest["version"], 1), manifest["members"]
        if version > VERSION:
            raise StoreError(
                f"{label}: is a bundle of version {version}, newer than {VERSION} of this ranbench; "
                "'pip install --upgrade ranbench' helps"
            )
        found = {
            name: {"sha256": str(said["sha256"]), "bytes": _whole_number(said["bytes"], 0)}
            for name, said in members.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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


def _whole_number(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{str(value)[:20]!r} is not a whole number from {least}")
    return value


def is_artefact(name: str) -> bool:
    """Tell whether a path stays inside the folder of artefacts: one plain name in it."""
    path = PurePosixPath(name)
    plain = path.parts[:1] == (ARTEFACTS,) and len(path.parts) == 2 and str(path) == name
    return plain and path.name not in {".", ".."} and name.isprintable() and not any(sign in name for sign in "\\:")


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
