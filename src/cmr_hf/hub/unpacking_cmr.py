"""Unpacks a zip into a private folder that lives as long as it is read: nothing leaves it, nothing stays.

Limits keep a zip from filling memory or disk: entries, bytes unpacked, and how many times larger than the zip
they are. An entry whose name could leave the folder refuses the whole zip.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .checking_cmr import MAX_PIXEL_BYTES, ReadingError

MAX_ENTRIES = 50_000
MAX_RATIO = 200  # MR compresses 2 to 10 times, label maps up to 100 times
_ALWAYS_ALLOWED_BYTES = 64 * 1024**2  # a small zip of very uniform pictures is no bomb
_MAX_DIRECTORY_BYTES = 16 * 1024**2  # the table of contents, which zipfile parses whole
_END_RECORD, _END_LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x07"
_ENCRYPTED = 0x1
_CHUNK = 1024**2


@contextlib.contextmanager
def unpacked(path: Path, name: str) -> Iterator[tuple[Path, list[dict]]]:
    """Unpacks a zip into a temporary folder that only this user can open, and removes it afterwards.

    Args:
        path: the zip.
        name: what errors call it.

    Yields:
        The folder, and {"file", "reason"} of every entry that was not unpacked: links, zips inside the zip,
        names used twice, and entries that are damaged.

    Raises:
        ReadingError: the zip is damaged, encrypted, too large, or an entry's name leaves the folder.
    """
    _check_directory(path, name)
    with tempfile.TemporaryDirectory(prefix="cmr_hf_zip_") as folder:
        left_out: list[dict] = []
        try:
            with zipfile.ZipFile(path) as file:
                _unpack(file, Path(folder), os.stat(path).st_size, name, left_out)
        except ReadingError:
            raise
        except Exception as error:  # zipfile raises many types on damaged bytes
            kind = type(error).__name__
            raise ReadingError(f"{name} is a damaged zip ({kind}): copy or pack it again") from None
        yield Path(folder), left_out


def _check_directory(path: Path, name: str) -> None:
    """Refuses a table of contents that would fill the memory before any entry is looked at."""
    with open(path, "rb") as file:
        file.seek(max(0, os.stat(path).st_size - 65_557))  # the end record and the longest comment
        tail = file.read()
    for match in re.finditer(re.escape(_END_RECORD), tail):
        record = tail[match.start() : match.start() + 22]
        size = struct.unpack("<4s4H2LH", record)[5] if len(record) == 22 else 0
        if size > _MAX_DIRECTORY_BYTES or tail[match.start() - 20 :].startswith(_END_LOCATOR_64):
            raise ReadingError(f"{name} needs at most {MAX_ENTRIES} entries: pack one stack's folder")


def _unpack(file: zipfile.ZipFile, folder: Path, packed: int, name: str, left_out: list[dict]) -> None:
    entries = [entry for entry in file.infolist() if not entry.is_dir()]
    if len(entries) > MAX_ENTRIES:
        raise ReadingError(f"{name} needs at most {MAX_ENTRIES} entries, got {len(entries)}: pack one stack's folder")
    allowed = min(MAX_PIXEL_BYTES, max(_ALWAYS_ALLOWED_BYTES, MAX_RATIO * packed))
    for entry in entries:
        if not _is_inside(entry.filename):
            raise ReadingError(
                f"{name} needs names inside its own folder, got an entry with an absolute name or '..': pack it again"
            )
        if entry.flag_bits & _ENCRYPTED:
            raise ReadingError(f"{name} is encrypted: unpack it with its password and pass the folder")
    if sum(entry.file_size for entry in entries) > allowed:
        raise ReadingError(_too_large(name, allowed))
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            left_out.append({"file": entry.filename, "reason": "a link, not a file: pack the file itself"})
            continue
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            left_out.append({"file": entry.filename, "reason": "packed in a rare way: pack it again, with deflate"})
            continue
        try:
            written = _write(file, entry, folder.joinpath(*entry.filename.split("/")), allowed)
        except FileExistsError:
            left_out.append({"file": entry.filename, "reason": "a name used twice in the zip: rename it"})
        except Exception as error:  # see unpacked
            reason = f"cannot be unpacked ({type(error).__name__}): pack it again"
            left_out.append({"file": entry.filename, "reason": reason})
        else:
            if written is None:
                left_out.append({"file": entry.filename, "reason": "a zip inside the zip: unpack it first"})
            elif (allowed := allowed - written) < 0:
                raise ReadingError(_too_large(name, allowed))


def _write(file: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, allowed: int) -> int | None:
    """Bytes written, never more than one chunk beyond `allowed`; None for a zip, which is not written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with file.open(entry) as packed:
        chunk = packed.read(_CHUNK)
        if chunk.startswith(b"PK\x03\x04"):
            return None
        with open(target, "xb") as opened:
            while chunk and written <= allowed:
                written += opened.write(chunk)
                chunk = packed.read(_CHUNK)
    return written


def _is_inside(name: str) -> bool:
    return not any(part in ("", ".", "..") for part in name.split("/")) and not set(name) & set("\\:\0")


def _too_large(name: str, allowed: int) -> str:
    return (
        f"{name} needs at most 4 GiB unpacked and {MAX_RATIO} times its own size: "
        "unpack it yourself and pass one stack's folder"
    )
