"""What there is to pack: a tree of files, a table that names some, or a known data set; and what is left to do of it.

Work is cut into items, which are done as a whole or not at all: the DICOM files of one folder, one NIfTI file, one zip,
or one patient of a known data set. A file is known by its path below the source and its size.
"""

from __future__ import annotations

import csv
import hashlib
import os
from array import array
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...hub.checking_cmr import ReadingError
from ..loading import SPLIT_NAMES, sides_of
from ..splits import SIDES, load_split
from .records import VOCABULARIES

FOLDER_FILES = 4096  # of a larger folder every so many, in the order of their names, are an item
PATIENT_BYTES = 8 * 1024**2  # taken for the size of one patient of a known data set
LABEL_COLUMNS = (*(name for name in VOCABULARIES if name != "series_kind"), "licence")
_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Item:
    """The least that is packed as a whole.

    Attributes:
        kind (`str`): "files" (DICOM, of one folder), "nifti", "zip" or "patient".
        folder, below (`str`): where the files lie, and that path as reports give it, relative to the source; of a
            patient the root of its data set and the data set's name.
        names (`tuple` of `str`): of the files; of a patient its pseudonym.
        keys (`array` of unsigned 64 bits): one for each name, by which the journal knows it.
        size (`int`): bytes, about.
        labels (`Mapping`): fields of `Record` that hold for all of its images.
    """

    kind: str
    folder: str
    below: str
    names: tuple[str, ...]
    keys: array
    size: int
    labels: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> list[tuple[Path, str]]:
        """Each file, and what reports call it."""
        return [(Path(self.folder, name), os.path.join(self.below, name)) for name in self.names]

    def halves(self) -> list[Item]:
        """Two items of half the files each."""
        middle = len(self.names) // 2
        parts = slice(None, middle), slice(middle, None)
        return [replace(self, names=self.names[p], keys=self.keys[p], size=self.size // 2) for p in parts]


@dataclass
class Choice:
    """Which part of a source is wanted.

    Attributes:
        done: keys of what was read before.
        sides (`Mapping`, *optional*): patient → side; then only files in a folder (or with a name, up to the first
            dot) of one of them are taken.
        excluded: names of folders, or of files up to the first dot, that are never taken.
        rank, world_size (`int`): which share of the folders.
        skipped (`int`): counts the files that `sides` and `excluded` kept out.
        closed (`list` of `str`): folders that could not be opened.
    """

    done: Container[int] = ()
    sides: Mapping[str, str] | None = None
    excluded: Collection[str] = ()
    rank: int = 0
    world_size: int = 1
    skipped: int = 0
    closed: list[str] = field(default_factory=list)

    def side_of(self, below: str, name: str) -> tuple[bool, str | None]:
        """Whether a file is wanted, and its side where that is known."""
        parts = [*Path(below).parts, name, name.split(".")[0]]
        if any(part in self.excluded for part in parts):
            return False, None
        if self.sides is None:
            return True, None
        side = next((self.sides[part] for part in parts if part in self.sides), None)
        return side is not None, side


def key_of(*words: object) -> int:
    """64 bits that stand for a file in the journal."""
    text = "\0".join(map(str, words)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def tree_items(root: str | Path, name: str, choice: Choice, labels: Mapping[str, str]) -> Iterator[Item]:
    """Items of a tree of DICOM and NIfTI files and zips of DICOM; hidden files and a DICOMDIR are no part of it.

    Args:
        root (`str` or `Path`): a folder, or one file.
        name (`str`): of the source, part of each key.
        choice: what is wanted.
        labels: of every image.

    Raises:
        ReadingError: there is no such folder or file.
    """
    root = Path(root)
    if root.is_file():
        entries: Iterable[tuple[str, str, list[tuple[str, int]]]] = [
            (str(root.parent), "", [(root.name, root.stat().st_size)])
        ]
    elif root.is_dir():
        entries = _folders(str(root), "", choice.closed)
    else:
        raise ReadingError(f"{root} is neither a folder nor a file: check --source")
    for folder, below, files in entries:
        yield from _folder_items(folder, below, files, name, choice, labels)


def _folders(folder: str, below: str, closed: list[str]) -> Iterator[tuple[str, str, list[tuple[str, int]]]]:
    """Each folder with names and sizes of its files, in a fixed order; links to folders are not followed."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file() and entry.name.upper() != "DICOMDIR":
                    files.append((entry.name, entry.stat().st_size))
    except OSError:
        closed.append(folder)
        return
    if files:
        yield folder, below, sorted(files)
    for name in sorted(folders):
        yield from _folders(os.path.join(folder, name), os.path.join(below, name), closed)


def _folder_items(
    folder: str,
    below: str,
    files: list[tuple[str, int]],
    name: str,
    choice: Choice,
    labels: Mapping[str, str],
) -> Iterator[Item]:
    if key_of("folder", below) % choice.world_size != choice.rank:
        return
    plain: dict[str | None, list[tuple[str, int, int]]] = {}  # side -> files
    for file, size in files:
        wanted, side = choice.side_of(below, file)
        key = key_of(name, below, file, size)
        if not wanted:
            choice.skipped += 1
        elif key not in choice.done:
            lower = file.lower()
            single = "nifti" if lower.endswith(_NIFTI) else "zip" if lower.endswith(".zip") else None
            if single is None:
                plain.setdefault(side, []).append((file, size, key))
            else:
                yield Item(single, folder, below, (file,), array("Q", [key]), size, _with(labels, side))
    for side, found in plain.items():
        for start in range(0, len(found), FOLDER_FILES):
            names, sizes, keys = zip(*found[start : start + FOLDER_FILES], strict=True)
            yield Item("files", folder, below, names, array("Q", keys), sum(sizes), _with(labels, side))


def _with(labels: Mapping[str, str], side: str | None) -> Mapping[str, str]:
    return labels if side is None else {**labels, "side": side}


def table_items(path: str | Path, name: str, choice: Choice, labels: Mapping[str, str]) -> Iterator[Item]:
    """Items of a CSV with a column `path` (file or folder, relative to the table) and, if wanted, `LABEL_COLUMNS`.

    Raises:
        ReadingError: the table, its column or a path is missing.
    """
    path = Path(path)
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or "path" not in rows[0]:
        raise ReadingError(f"{path} needs a column `path` and a line below it: name one file or folder a line")
    for row in rows:
        given = {column: row[column].strip() for column in LABEL_COLUMNS if (row.get(column) or "").strip()}
        place = path.parent / row["path"].strip()
        below = row["path"].strip()
        for item in tree_items(place, f"{name}/{below}", choice, {**labels, **given}):
            yield replace(item, below=os.path.join(below, item.below) if place.is_dir() else os.path.dirname(below))


def dataset_items(
    name: str, root: str | Path, split: str | Path | None, sides: Iterable[str], choice: Choice, **options: Any
) -> Iterator[Item]:
    """Patients of a data set that `cmr_hf.data.READERS` knows, on some sides of its split.

    Args:
        name (`str`), root (`str` or `Path`): as `cmr_hf.data.load` takes them.
        split (*optional*): JSON with the patients of each side.
        sides: of which the patients are taken.
        choice: what is wanted.
        options: of the reader, as far as they say which patients there are.
    """
    patients = sides_of(name, root, split, **options)
    for side in sides:
        for patient in patients[side]:
            key = key_of("patient", name, patient)
            if key % choice.world_size != choice.rank:
                continue
            if patient in choice.excluded:
                choice.skipped += 1
            elif key not in choice.done:
                yield Item("patient", str(root), name, (patient,), array("Q", [key]), PATIENT_BYTES, {"side": side})


def patients_by_side(path: str | Path, dataset: str, sides: Iterable[str]) -> dict[str, str]:
    """Patient → side, of those sides of a split that are wanted."""
    split = load_split(path, SPLIT_NAMES.get(dataset, dataset))
    unknown = sorted(set(sides) - set(SIDES))
    if unknown:
        raise ValueError(f"`sides` needs some of {SIDES}, got {unknown}: correct --sides")
    return {patient: side for side in sides for patient in split[side]}


def units_of(items: Iterable[Item], unit_bytes: int) -> list[list[Item]]:
    """Items put together to about `unit_bytes` each, in an order that mixes the patients."""
    units: list[list[Item]] = []
    filled = unit_bytes
    for item in sorted(items, key=lambda one: one.keys[0]):
        if filled >= unit_bytes:
            units.append([])
            filled = 0
        units[-1].append(item)
        filled += item.size
    return units
