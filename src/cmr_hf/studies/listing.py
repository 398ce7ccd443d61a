"""Every file below a path: of a folder, a zip or a DICOMDIR, or one file. Zips in a folder are opened, too."""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from ..hub.checking_cmr import MAX_PIXEL_BYTES, ReadingError, file_head
from ..hub.dicomdir_cmr import referenced_files
from ..hub.unpacking_cmr import unpacked

MAX_FILES = 200_000
_MAX_ZIPS = 64
_MAX_UNPACKED_BYTES = 4 * MAX_PIXEL_BYTES  # of all zips of a folder; each by itself is limited when it is unpacked
_ZIP_HEAD = b"PK\x03\x04"
_PACKED_DOCUMENTS = (".docx", ".xlsx", ".pptx", ".odt", ".jar", ".npz", ".whl", ".apk", ".mrb")


class Root:
    """Keeps folders that zips were unpacked to for as long as anything of the study is in use."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self._finalizer = weakref.finalize(self, self.stack.close)

    def close(self) -> None:
        """Removes unpacked files; pixels that were not decoded are gone then."""
        self._finalizer()


@dataclass(repr=False)
class Listing:
    """Files to read, and those that are listed only.

    Attributes:
        files (`list` of (path, name)): names relative to the root, entries of a zip as "name.zip/entry".
        listed (`list` of (name, status, reason)): not read at all.
        root (`Root`): keeps unpacked files.
        unpacked_bytes (`int`): how large these are together.
    """

    files: list[tuple[Path, str]] = field(default_factory=list)
    listed: list[tuple[str, str, str]] = field(default_factory=list)
    root: Root = field(default_factory=Root)
    unpacked_bytes: int = 0


def list_files(path: str | os.PathLike) -> Listing:
    """Lists a study's files.

    Args:
        path: a folder, nested or not; a zip; a DICOMDIR, then only files that it names; one file.

    Raises:
        ReadingError: there is no such path, or it is a zip that cannot be unpacked. The text has no name of a file.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise ReadingError(
            f"`path` needs to be an existing folder, zip, DICOMDIR or file, got none ({type(error).__name__}): check it"
        ) from None
    listing = Listing()
    if stat.S_ISDIR(mode):
        _add_folder(listing, path, "")
    elif path.name.upper() == "DICOMDIR":
        try:
            files, missing = referenced_files(path, "the DICOMDIR")
        except ReadingError:  # its text quotes names of files
            raise ReadingError(
                "`path` as a DICOMDIR needs to be whole and to name files that are there, got none: pass their folder"
            ) from None
        listing.files = files
        listing.listed = [(path.name, "listed", "an index of files (DICOMDIR)"), *_left_out(missing, "")]
    elif file_head(path, "`path`").startswith(_ZIP_HEAD):
        _add_zip(listing, path, "")
    else:
        listing.files = [(path, path.name)]
    return listing


def _left_out(entries: list[dict], below: str) -> list[tuple[str, str, str]]:
    return [(below + entry["file"], "unreadable", entry["reason"]) for entry in entries]


def _add_folder(listing: Listing, folder: Path, below: str) -> None:
    zips: list[tuple[Path, str]] = []
    for parent, folders, names in os.walk(folder):
        place = Path(parent)
        start = below + ("" if place == folder else place.relative_to(folder).as_posix() + "/")
        folders.sort()
        for name in list(folders):
            hidden = name.startswith(".")
            if hidden or (place / name).is_symlink():
                reason = "a hidden folder: not opened" if hidden else "a link to a folder: not followed"
                listing.listed.append((start + name + "/", "listed", reason))
                if hidden:
                    folders.remove(name)
        for name in sorted(names):
            if name.startswith("."):
                listing.listed.append((start + name, "listed", "a hidden file"))
            elif name.upper() == "DICOMDIR":
                _check_dicomdir(listing, place / name, start)
            elif _is_zip(place / name):
                zips.append((place / name, start + name))
            else:
                listing.files.append((place / name, start + name))
        if len(listing.files) > MAX_FILES:
            raise ReadingError(f"`path` needs at most {MAX_FILES} files, got more: pass one study's folder")
    for index, (path, name) in enumerate(zips):
        if index >= _MAX_ZIPS:
            listing.listed.append((name, "listed", f"a zip beyond the first {_MAX_ZIPS}: unpack it first"))
            continue
        try:
            _add_zip(listing, path, name + "/")
        except ReadingError as error:
            listing.listed.append((name, "unreadable", str(error)))


def _is_zip(path: Path) -> bool:
    if path.suffix.lower() in _PACKED_DOCUMENTS:
        return False
    try:
        return file_head(path, "it").startswith(_ZIP_HEAD)
    except ReadingError:
        return False  # the header pass says what is wrong with it


def _check_dicomdir(listing: Listing, path: Path, start: str) -> None:
    """A folder's files are all read; its index only tells which are missing."""
    try:
        _, missing = referenced_files(path, "the DICOMDIR")
    except ReadingError:
        listing.listed.append((start + path.name, "unreadable", "an index of files (DICOMDIR), damaged or empty"))
        return
    listing.listed.append((start + path.name, "listed", "an index of files (DICOMDIR)"))
    listing.listed += _left_out(missing, start)


def _add_zip(listing: Listing, path: Path, below: str) -> None:
    folder, left_out = listing.root.stack.enter_context(unpacked(path, "the zip"))
    listing.listed += _left_out(left_out, below)
    before = len(listing.files)
    _add_folder(listing, folder, below)
    size = sum(one.stat().st_size for one, _ in listing.files[before:])
    listing.unpacked_bytes += size
    if listing.unpacked_bytes > _MAX_UNPACKED_BYTES:
        del listing.files[before:]
        raise ReadingError("all zips together need at most 16 GiB unpacked: unpack it first")
