"""A user's own files: a CSV that names them, no code.

    patient,image,mask,split,view,disease
    a01,a01/sax_ed.nii.gz,a01/sax_ed_mask.nii.gz,train,SAX,DCM
    a02,a02/dicom_folder,,validation,2CH,

`patient` (a pseudonym of your choice) and `image` (what `read_image` takes, relative to the table) are needed. There
may be: `mask` (on the image's grid), `split` (train, validation, test), `study`, `series`, `phase` (ED, ES), `view`,
`image_type`, `disease`, `lge` (words of `cmr_hf.data.schema` or their usual synonyms), `licence`, `spacing_row` and
`spacing_column` in mm instead of the file's, and `anterior_row`, `anterior_column`, `inferior_row`, `inferior_column`:
RV insertion points in pixels of an image of one slice. Other columns are ignored.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..hub.reading_cmr import ReadingError, read_image
from .labels.tables import word_of
from .schema import LABELS, LANDMARKS, LabelledStack, Point
from .splits import SIDES
from .volumes import drawn_ids, read_mask, stack_of, translated

NEEDED = ("patient", "image")
WORDS = ("view", "image_type", "disease", "lge")
SAME_IDS = {label: label for label in LABELS}


def rows_of_table(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of the table, cells stripped; each has its line as `line`.

    Raises:
        ReadingError: no such file, a column or a cell of `NEEDED` is missing, or a strange `split`.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (table.fieldnames or ())]
            rows = [{str(k): (v or "").strip() for k, v in row.items() if k} for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReadingError(f"{path} needs to be a CSV in UTF-8 ({type(error).__name__}): export it again") from None
    if missing:
        raise ReadingError(f"{path} lacks the columns {missing}: name them in the first line, separated by commas")
    for line, row in enumerate(rows, start=2):
        row["line"] = str(line)
        empty = [name for name in NEEDED if not row[name]]
        if empty:
            raise ReadingError(f"{path}, line {line}: {empty} is empty: fill it in or remove the line")
        if row.get("split", "") not in ("", *SIDES):
            raise ReadingError(f"{path}, line {line}: `split` needs one of {SIDES}, got {row['split']!r}: correct it")
    if not rows:
        raise ReadingError(f"{path} has no line below its header: name one image a line")
    return rows


def list_table_patients(path: str | os.PathLike) -> list[str]:
    return sorted({row["patient"] for row in rows_of_table(path)})


def split_of_table(path: str | os.PathLike) -> dict[str, list[str]] | None:
    """Patients by side from the column `split`; `None` where the table has none.

    Raises:
        ReadingError: some lines have a side and others not, or a patient has two.
    """
    rows = rows_of_table(path)
    given = [row for row in rows if row.get("split")]
    if not given:
        return None
    if len(given) < len(rows):
        line = next(row["line"] for row in rows if not row.get("split"))
        raise ReadingError(f"{path}, line {line}: `split` is empty while other lines have one: fill in all or none")
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sides[row["patient"]].add(row["split"])
    both = sorted(patient for patient, found in sides.items() if len(found) > 1)
    if both:
        raise ReadingError(f"{path}: {both[:5]} on more than one side: a patient may be on one side only")
    return {side: sorted(patient for patient, found in sides.items() if side in found) for side in SIDES}


def read_own_set(
    path: str | os.PathLike, patients: list[str] | None = None, labels: Mapping[int, int] | None = None
) -> Iterator[LabelledStack]:
    """Reads the files that a table names, one stack per line and phase.

    Args:
        path (`str` or path): the CSV.
        patients (`list` of `str`, *optional*): which ones, by default all.
        labels (`Mapping`, *optional*): id in the masks → id of `cmr_hf.data.schema.LABELS`, by default the same ids.

    Raises:
        ReadingError: naming the line, the file and the remedy.
    """
    path = Path(path)
    for row in rows_of_table(path):
        if patients is None or row["patient"] in patients:
            try:
                yield from _stacks(row, path.parent, {0: 0} | dict(labels or SAME_IDS))
            except (ReadingError, ValueError) as error:
                raise ReadingError(f"{path.name}, line {row['line']}: {error}") from None


def _stacks(row: Mapping[str, str], folder: Path, ids: Mapping[int, int]) -> Iterator[LabelledStack]:
    image = read_image(folder / row["image"], spacing_mm=_pair(row, "spacing_row", "spacing_column"))
    if image.pixels.ndim < 4:  # a picture
        image.pixels = image.pixels.reshape((1,) * (4 - image.pixels.ndim) + image.pixels.shape)
    masks = None
    if row.get("mask"):
        masks = translated(read_mask(folder / row["mask"], image, same_place=True).pixels, ids, row["mask"])
    points = {
        name: _pair(row, f"{short}_row", f"{short}_column")
        for name, short in zip(LANDMARKS, ("anterior", "inferior"), strict=True)
    }
    points = {name: point for name, point in points.items() if point is not None}
    if points and image.pixels.shape[1] > 1:
        raise ReadingError(f"{row['image']} has {image.pixels.shape[1]} slices: give insertion points one slice a line")
    words = {name: word_of(name, row[name]) for name in WORDS if row.get(name)}
    for phase in range(len(image.pixels)):
        yield stack_of(
            image,
            phase,
            patient=row["patient"],
            source="table",
            licence=row.get("licence") or "unknown",
            study=row.get("study", ""),
            series=row.get("series") or row["image"],
            phase_index=phase,
            phase=row.get("phase", ""),
            masks=None if masks is None else masks[phase],
            drawn=() if masks is None else drawn_ids(ids),
            landmarks=[points] if points else [],
            **words,
        )


def _pair(row: Mapping[str, str], first: str, second: str) -> Point | None:
    if not row.get(first) and not row.get(second):
        return None
    try:
        return float(row[first]), float(row[second])
    except (KeyError, ValueError):
        raise ReadingError(
            f"`{first}` and `{second}` need a number each, got {row.get(first)!r} and {row.get(second)!r}"
        ) from None
