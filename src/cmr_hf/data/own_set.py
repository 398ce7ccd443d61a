"""A user's own files: a CSV that names them, no code.

    patient,image,mask,split,view,disease
    a01,a01/sax_ed.nii.gz,a01/sax_ed_mask.nii.gz,train,SAX,DCM
    a02,a02/dicom_folder,,validation,2CH,

`patient` (a pseudonym of your choice) and `image` (what `read_image` takes, relative to the table) are needed. There
may be: `mask` (label ids on the image's grid; or a cvi42 workspace, a `.mat` of Segment, NRRD, DICOM SEG or RTSTRUCT,
with the DICOM folder as `image`), `split` (train, validation, test), `study`, `series`, `phase` (ED, ES: two lines
of one `series`), `view`, `image_type`, `disease`, `lge` (words of `cmr_hf.data.schema` or their usual synonyms),
`licence`, `spacing_row` and `spacing_column` in mm instead of the file's, and `anterior_row`, `anterior_column`,
`inferior_row`, `inferior_column`: RV insertion points in pixels, from 0, of an image of one slice. With a file per
slice, `slice` (0, 1 …) and one `series` make a stack of them. `drawn` says which label ids were looked for in the mask,
"1 2" say, where not all were. Other columns are ignored; semicolons may stand for commas.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from transformers.utils import logging

from ..hub.reading_cmr import ReadingError, read_image
from .labels.of_tool import labels_of_tool
from .labels.tables import word_of
from .schema import LABELS, LANDMARKS, UNKNOWN, LabelledStack, Point
from .splits import SIDES
from .volumes import drawn_ids, read_mask, stack_of, translated

logger = logging.get_logger(__name__)

NEEDED = ("patient", "image")
PHASES = ("ED", "ES")
WORDS = ("view", "image_type", "disease", "lge")
SAME_IDS = {label: label for label in LABELS}


def rows_of_table(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of the table, cells stripped; each has its line as `line`.

    Raises:
        ReadingError: no such file, a column or a cell of `NEEDED` is missing, or a strange `split` or `phase`.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            table = csv.DictReader(file, delimiter=max(",;\t", key=head.count))
            table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
            missing = [name for name in NEEDED if name not in table.fieldnames]
            rows = []
            for row in table:
                if any(row.get(None) or ()) and not missing:
                    raise ReadingError(
                        f"{path}, line {table.line_num} has more cells than the header: quote cells with a comma"
                    )
                rows.append({str(k): (v or "").strip() for k, v in row.items() if k} | {"line": str(table.line_num)})
    except FileNotFoundError:
        raise ReadingError(f"{path} does not exist: check the path of the table") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReadingError(f"{path} needs to be a CSV in UTF-8 ({type(error).__name__}): export it again") from None
    if missing:
        raise ReadingError(
            f"{path} lacks the columns {missing}: name them in the first line, separated by commas or semicolons"
        )
    for row in rows:
        line = row["line"]
        empty = [name for name in NEEDED if not row[name]]
        if empty:
            raise ReadingError(f"{path}, line {line}: {empty} is empty: fill it in or remove the line")
        if row.get("phase", "") not in ("", *PHASES):
            raise ReadingError(f"{path}, line {line}: `phase` needs one of {PHASES}, got {row['phase']!r}: correct it")
        if row.get("split", "") not in ("", *SIDES):
            raise ReadingError(f"{path}, line {line}: `split` needs one of {SIDES}, got {row['split']!r}: correct it")
    if not rows:
        raise ReadingError(f"{path} has no line below its header: name one image a line")
    return rows


def list_table_patients(path: str | os.PathLike) -> list[str]:
    return sorted({row["patient"] for row in rows_of_table(path)})


def files_of_table(path: str | os.PathLike) -> list[Path]:
    """Images and masks that the table names, files or folders, whether they exist or not."""
    cells = [row[name] for row in rows_of_table(path) for name in ("image", "mask") if row.get(name)]
    return [Path(path).parent / cell for cell in dict.fromkeys(cells)]


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
                yield from stacks_of_row(row, path.parent, labels)
            except (ReadingError, ValueError) as error:
                raise ReadingError(f"{path.name}, line {row['line']}: {error}") from None


def stacks_of_row(
    row: Mapping[str, str], folder: str | os.PathLike, labels: Mapping[int, int] | None = None
) -> Iterator[LabelledStack]:
    """The stacks of one line, for who goes on where another line cannot be read.

    Args:
        row: one of `rows_of_table`.
        folder (`str` or path): the table's.
        labels: as for `read_own_set`.

    Raises:
        ReadingError: naming the file and the remedy.
    """
    strange = sorted(set((labels or {}).values()) - {*LABELS, UNKNOWN})
    if strange:
        raise ReadingError(f"`labels` needs to map to ids of {LABELS} or {UNKNOWN}, got {strange}: correct it")
    yield from _stacks(row, Path(folder), {0: 0} | dict(labels or SAME_IDS))


def _stacks(row: Mapping[str, str], folder: Path, ids: Mapping[int, int]) -> Iterator[LabelledStack]:
    words = {name: word_of(name, row[name]) for name in WORDS if row.get(name)}
    licence = row.get("licence") or "unknown"
    if row.get("mask"):
        mask, image_path = folder / row["mask"], folder / row["image"]
        given = None if ids == SAME_IDS else ids
        found = labels_of_tool(mask, image_path, patient=row["patient"], licence=licence, label_map=given)
        if found is not None:
            for note in found.report:
                logger.warning(f"line {row['line']}: {note}")
            more = {"source": "table", "study": row.get("study", ""), **words}
            yield from (replace(stack, **more) for stack in found.stacks)
            return
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
    size = image.pixels.shape[-2:]
    if beyond := [name for name, at in points.items() if not all(-0.5 <= a < n for a, n in zip(at, size, strict=True))]:
        raise ReadingError(f"{row['image']} has {size} rows and columns, {beyond} lies outside: give pixels from 0")
    if row.get("phase") and len(image.pixels) > 1:
        raise ReadingError(f"{row['image']} has {len(image.pixels)} phases: leave `phase` empty, or give one a line")
    if points and image.pixels.shape[1] > 1:
        raise ReadingError(f"{row['image']} has {image.pixels.shape[1]} slices: give insertion points one slice a line")
    if row.get("slice") and image.pixels.shape[1] > 1:
        raise ReadingError(
            f"{row['image']} has {image.pixels.shape[1]} slices: leave `slice` empty, or give one a line"
        )
    drawn = () if masks is None else drawn_ids(ids)
    if row.get("drawn"):
        drawn = tuple(label for label in drawn if label in _numbers(row["drawn"], "drawn"))
    file = row["image"] if not os.path.isabs(row["image"]) else f"line {row['line']}"
    for phase in range(len(image.pixels)):
        yield stack_of(
            image,
            phase,
            patient=row["patient"],
            source="table",
            licence=licence,
            study=row.get("study", ""),
            series=row.get("series") or file,  # a path from the root may say who it is
            slice_indices=tuple(_numbers(row["slice"], "slice")) if row.get("slice") else (),
            phase_index=PHASES.index(row["phase"]) if row.get("phase") else phase,
            phase=row.get("phase", ""),
            masks=None if masks is None else masks[phase],
            drawn=drawn,
            landmarks=[points] if points else [],
            **words,
        )


def _numbers(cell: str, column: str) -> list[int]:
    try:
        return [int(word) for word in cell.split()]
    except ValueError:
        raise ReadingError(f"`{column}` needs whole numbers, got {cell!r}: correct it") from None


def _pair(row: Mapping[str, str], first: str, second: str) -> Point | None:
    if not row.get(first) and not row.get(second):
        return None
    try:
        return float(row[first]), float(row[second])
    except (KeyError, ValueError):
        raise ReadingError(
            f"`{first}` and `{second}` need a number each, got {row.get(first)!r} and {row.get(second)!r}"
        ) from None
