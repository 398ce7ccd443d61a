"""A phantom examined as a patient is: a folder of DICOM that a viewer opens, and beside it what is true of it.

write_study("phantom", "MINF", seed=3)

phantom/dicom/07_cine_sax/IM0001.dcm …
phantom/truth/study.json                     volumes, EF, mass, disease; of each series view, type, landmarks
phantom/truth/07_cine_sax_mask.nii.gz        labels of the package on the grid of the series
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset

from .anatomy import Heart
from .dicom_header import Dialect
from .dicom_multi import multi_frame
from .dicom_single import single_frames
from .people import Person
from .protocol import Protocol, Series, series_of
from .scanner import Scanner
from .scanning import Scanned, scan
from .stored import Stored, stored
from .truth import of_heart, write_json, write_truth


def write_study(
    folder: str | os.PathLike,
    disease: str = "NORM",
    seed: int = 0,
    protocol: Protocol | None = None,
    dialect: Dialect | None = None,
    scanner: Scanner | None = None,
    progress: Callable[[list[Series]], Iterable[Series]] = iter,
) -> dict[str, Any]:
    """Writes one phantom's whole study; equal arguments write equal files.

    Args:
        folder (`str` or path): new or empty; `dicom` and `truth` are made in it. It is there as a whole or not at all.
        disease (`str`): of `cmr_hf.phantoms.DISEASES`.
        seed (`int`): who the phantom is; the heart of `Heart.draw([disease], seed)`.
        protocol (`Protocol`, *optional*): what is scanned.
        dialect (`Dialect`, *optional*): how it is written.
        scanner (`Scanner`, *optional*): ranges of noise and other effects; `Scanner.ideal()` for none.
        progress (*optional*): goes over the series and may tell of it, as tqdm does.

    Returns:
        The content of `truth/study.json`. Slices in it and in the masks are in order along row × column, as readers
        sort them; label ids are those of the package, landmarks LPS mm.

    Raises:
        ValueError: an unknown disease, or a negative seed.
        FileExistsError: `folder` holds something.
    """
    folder, protocol, dialect = Path(folder), protocol or Protocol(), dialect or Dialect()
    if seed < 0:
        raise ValueError(f"`seed` needs a whole number from 0, got {seed}: it is part of the pseudonym")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"`folder` needs to be new or empty, got {folder.name}: remove it or name another")
    heart = Heart.draw([disease], seed)
    person = Person.of(heart, seed, repr((protocol, dialect, scanner)))
    known = {"format": "cmr_hf phantom study 1", **of_heart(heart, person, seed), "series": []}
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}_", dir=folder.parent))
    try:
        (part / "dicom").mkdir()
        (part / "truth").mkdir()
        names = _names(seed, dialect)
        for number, series in enumerate(progress(series_of(heart, protocol, seed)), 1):
            scanned = scan(heart, series, protocol, seed, scanner)
            files = _write(part / "dicom", scanned, stored(scanned), person, number, dialect, names)
            known["series"].append(write_truth(part / "truth", scanned, person, number) | files)
        write_json(part / "truth" / "study.json", known)
        part.chmod(0o755)  # mkdtemp made it for one user
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return known


def _write(
    folder: Path,
    scanned: Scanned,
    held: Stored,
    person: Person,
    number: int,
    dialect: Dialect,
    names: Iterator[str] | None,
) -> dict[str, Any]:
    """Writes the files of one series; gives their folder, number and series."""
    if names is None:
        folder = folder / f"{number:02d}_{scanned.series.name}"
        folder.mkdir()
    uids: list[str] = []
    count = 0
    for count, dataset in enumerate(_files(scanned, held, person, number, dialect), 1):
        name = f"IM{count:04d}.dcm" if names is None else next(names)
        dataset.save_as(folder / name, enforce_file_format=True)
        uids.append(str(dataset.SeriesInstanceUID))
    place = "dicom" if names is not None else f"dicom/{folder.name}"
    return {"folder": place, "dicom_files": count, "series_instance_uids": list(dict.fromkeys(uids))}


def _files(scanned: Scanned, held: Stored, person: Person, number: int, dialect: Dialect) -> Iterator[FileDataset]:
    if dialect.multiframe:
        yield multi_frame(scanned, held, person, number, dialect)
    else:
        yield from single_frames(scanned, held, person, number, dialect)


def _names(seed: int, dialect: Dialect) -> Iterator[str] | None:
    """Names in no order, or `None` for folders of numbered files."""
    if not dialect.shuffled_names:
        return None
    rng = np.random.default_rng([seed, 3])
    return (f"{number:08X}" for number in iter(_distinct(rng)))


def _distinct(rng: np.random.Generator) -> Iterator[int]:
    seen: set[int] = set()
    while True:
        number = int(rng.integers(2**32))
        if number not in seen:
            seen.add(number)
            yield number
