"""`load("acdc", root=…)`: any data set as a `DatasetDict`, split by patient."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers.utils import logging

from .own_set import split_of_table
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
    root: str | os.PathLike,
    split: Split = None,
    seed: int = 0,
    cache_dir: str | os.PathLike | None = None,
    **options: Any,
) -> DatasetDict:
    """Reads a data set into rows of `cmr_hf.data.schema.features`, one per image.

    Args:
        name (`str`): one of `cmr_hf.data.readers.READERS`: "acdc", "emidec" …; "table" for a CSV of your own files.
        root (`str` or path): its folder, in the data set's own layout; the CSV itself for "table".
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
        ValueError: unknown data set, or a split that names none of its patients (absent ones are told).
        ReadingError: no patient of a side can be read.
    """
    import datasets

    sides = sides_of(name, root, split, seed)
    described = split if isinstance(split, (str, os.PathLike)) else "given" if split else f"random, seed {seed}"
    parts = {}
    for side in SIDES:
        if not sides[side]:
            continue
        about = {"data set": name, "side": side, "split": str(described), "patients": sides[side]}
        parts[side] = datasets.Dataset.from_generator(
            _rows,
            features=features(),
            cache_dir=None if cache_dir is None else str(cache_dir),
            gen_kwargs={
                "name": name,
                "root": str(root),
                "patients": tuple(sides[side]),
                "options": options,
                "stamp": content_stamp(root),
            },
        )
        parts[side].info.description = json.dumps(about)
        lost = sorted(set(sides[side]) - set(parts[side].unique("patient")))
        if lost:
            logger.warning(f"{name}, {side}: {len(lost)} patients could not be read and are left out: {lost[:10]}")
    return datasets.DatasetDict(parts)


def sides_of(name: str, root: str | os.PathLike, split: Split = None, seed: int = 0) -> dict[str, list[str]]:
    """Patients of each side, as `load` takes them."""
    reader_of(name)
    if split is None and name == "table":
        split = split_of_table(root)
    there = patients_of(name, root)
    if split is None:
        return random_split(there, seed)
    if isinstance(split, (str, os.PathLike)):
        named = load_split(split, SPLIT_NAMES.get(name, name))
    else:
        unknown = sorted(side for side in split if side not in SIDES and not side.startswith("_"))
        if unknown:
            raise ValueError(f"`split` has sides {unknown}; they are called {list(SIDES)}")
        named = {side: list(split.get(side, ())) for side in SIDES}
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
    sides = sides_of(name, root, split, seed)
    return {
        side: read(
            name, root, patients, on_error=lambda patient, error: problems.append(f"{patient}: {error}"), **options
        )
        for side, patients in sides.items()
    }, problems


def content_stamp(root: str | os.PathLike) -> str:
    """Changes when a file below `root` is added, removed or written, so that a cache is not older than its source."""
    digest = hashlib.sha256()
    root = Path(root)
    for parent, folders, names in os.walk(root if root.is_dir() else root.parent):
        folders.sort()
        for name in sorted(names):
            status = os.stat(Path(parent, name))
            digest.update(f"{parent}/{name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _rows(name: str, root: str, patients: tuple[str, ...], options: dict, stamp: str) -> Iterator[dict]:
    def report(patient: str, error: Exception) -> None:
        logger.warning(f"{name}: {patient} is left out: {error}")

    for stack in read(name, root, patients, on_error=report, **options):
        yield from rows_of(stack)
