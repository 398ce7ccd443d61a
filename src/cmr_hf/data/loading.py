"""`load("acdc", root=…)`: any data set as a `DatasetDict`, split by patient."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers.utils import logging

from ..hub.reading_cmr import ReadingError
from .own_set import files_of_table, split_of_table
from .readers import patients_of, read, reader_of
from .schema import LabelledStack, features, rows_of
from .splits import SIDES, load_split

if TYPE_CHECKING:
    from datasets import DatasetDict

logger = logging.get_logger(__name__)

# data sets whose patients stand under another name in the project's split
SPLIT_NAMES = {"biv-me": "biv_me_study", "sunnybrook-slices": "sunnybrook"}
PARTS = (0.7, 0.15, 0.15)  # of the patients, where no split is given

Split = str | os.PathLike | Mapping[str, Sequence[str]] | None


def load(
    name: str,
    root: str | os.PathLike | None = None,
    split: Split = None,
    seed: int = 0,
    cache_dir: str | os.PathLike | None = None,
    **options: Any,
) -> DatasetDict:
    """Reads a data set into rows of `cmr_hf.data.schema.features`, one per image.

    Args:
        name (`str`): one of `cmr_hf.data.readers.READERS`: "acdc", "emidec" …; "table" for a CSV of your own files.
        root (`str` or path): its folder, in the data set's own layout; the CSV itself for "table"; nothing for
            "phantoms", which are made.
        split (*optional*): a JSON file of patients by side (see `load_split`); a mapping of side to patients, of
            `paper_split("3", patients)` say; or nothing: a table's own column `split`, else 70, 15 and 15 % of the
            patients, drawn with `seed`.
        seed (`int`, defaults to 0): of the draw; recorded, with the split, in each side's `info.description`.
        cache_dir (`str` or path, *optional*): where `datasets` keeps the result, by default its own cache.
        options: of the reader.

    Returns:
        A `DatasetDict` of "train", "validation" and "test". A patient that cannot be read is left out with a warning
        that says why.

    Raises:
        ValueError: unknown data set, no `root` where files are read, or a split that names none of its patients
            (absent ones are told).
        ReadingError: no patient of a side can be read.
    """
    import datasets

    made = reader_of(name).stamp
    if root is None and made is None:
        raise ValueError(f"`root` is needed to read {name}, got None: give the folder of its files, or the CSV")
    root = "" if root is None else root
    sides = sides_of(name, root, split, seed, **options)
    described = _described(name, root, split, seed)
    stamp = made() if made else content_stamp(root)
    parts = {}
    for side in SIDES:
        if not sides[side]:
            continue
        about = {"data set": name, "side": side, "split": described, "patients": sides[side]}
        given = {"name": name, "root": str(root), "patients": tuple(sides[side]), "options": options, "stamp": stamp}
        try:
            parts[side] = datasets.Dataset.from_generator(
                _rows,
                features=features(),
                cache_dir=None if cache_dir is None else str(cache_dir),
                gen_kwargs=given,
            )
        except ValueError as error:
            if "no data" not in str(error):  # what `datasets` says where a generator gave nothing
                raise
            raise ReadingError(
                f"{name}, {side}: none of its {len(sides[side])} patients can be read: the warnings say why, as does "
                "`cmr-hf data check`"
            ) from None
        parts[side].info.description = json.dumps(about)
        lost = sorted(set(sides[side]) - set(parts[side].unique("patient")))
        if lost:
            logger.warning(f"{name}, {side}: {len(lost)} patients could not be read and are left out: {lost[:10]}")
    return datasets.DatasetDict(parts)


def _described(name: str, root: str | os.PathLike, split: Split, seed: int) -> str:
    """Where the split came from, for the record."""
    if isinstance(split, (str, os.PathLike)):
        return str(split)
    if split is not None:
        return str(split.get("_", "given"))
    if name == "table" and split_of_table(root) is not None:
        return f"column `split` of {Path(root).name}"
    return f"random, seed {seed}"


def sides_of(
    name: str, root: str | os.PathLike, split: Split = None, seed: int = 0, **options: Any
) -> dict[str, list[str]]:
    """Patients of each side, as `load` takes them."""
    reader_of(name)
    if split is None and name == "table":
        split = split_of_table(root)
    there = patients_of(name, root, **options)
    if split is None:
        return random_split(there, seed)
    if isinstance(split, (str, os.PathLike)):
        named = load_split(split, SPLIT_NAMES.get(name, name))
    else:
        unknown = sorted(side for side in split if side not in SIDES and not side.startswith("_"))
        if unknown:
            raise ValueError(f"`split` has sides {unknown}; they are called {list(SIDES)}")
        named = {side: list(split.get(side, ())) for side in SIDES}
        times = Counter(patient for patients in named.values() for patient in set(patients))
        if both := sorted(patient for patient, number in times.items() if number > 1):
            raise ValueError(f"`split` has {both[:5]} on more than one side: a patient may be on one side only")
    sides = {side: [patient for patient in patients if patient in set(there)] for side, patients in named.items()}
    lost = sorted({patient for patients in named.values() for patient in patients} - set(there))
    if not any(sides.values()):
        raise ValueError(f"the split of {name} names none of the patients of {root}, but {lost[:5]}: check both")
    if lost:
        logger.warning(f"{name}: the split names {len(lost)} patients that {root} does not hold: {lost[:10]}")
    return sides


def random_split(patients: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """70, 15 and 15 % of the patients; the same ones for the same patients and seed."""
    order = np.random.default_rng(seed).permutation(sorted(patients)).tolist()
    first = round(PARTS[0] * len(order))
    second = first + round(PARTS[1] * len(order))
    return dict(zip(SIDES, (sorted(order[:first]), sorted(order[first:second]), sorted(order[second:])), strict=True))


def stacks_by_side(
    name: str, root: str | os.PathLike, split: Split = None, seed: int = 0, **options: Any
) -> tuple[dict[str, Iterator[LabelledStack]], list[str]]:
    """The stacks of each side, read one by one, and a list that fills with what could not be read."""
    problems: list[str] = []
    sides = sides_of(name, root, split, seed, **options)
    return {
        side: read(
            name, root, patients, on_error=lambda patient, error: problems.append(f"{patient}: {error}"), **options
        )
        for side, patients in sides.items()
    }, problems


def content_stamp(root: str | os.PathLike) -> str:
    """Changes when a file is added, removed or written, so that a cache is not older than its source.

    Args:
        root (`str` or path): a folder, of which all files count, or a table: it and the files that it names.
    """
    digest = hashlib.sha256()
    root = Path(root)
    for place in [root] if root.is_dir() else [root, *files_of_table(root)]:
        for path in _below(place) if place.is_dir() else [place]:
            if path.is_file():  # no link to nowhere
                status = path.stat()
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _rows(name: str, root: str, patients: tuple[str, ...], options: dict, stamp: str) -> Iterator[dict]:
    def report(patient: str, error: Exception) -> None:
        logger.warning(f"{name}: {patient} is left out: {error}")

    for stack in read(name, root, patients, on_error=report, **options):
        yield from rows_of(stack)
