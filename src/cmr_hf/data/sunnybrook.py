"""Sunnybrook Cardiac Data: DICOM cine SAX with endocardial and epicardial contours as text.

    dicom/SCD0000101/48.dcm                                     or SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm
    contours/SC-HF-I-1/i-contours/IM-0001-0048-icontour-manual.txt
                              or SCD_ManualContours/SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-0048-icontour-…
    patients.csv or scd_patientdata.csv                         PatientID, OriginalID, Gender, Age, Pathology

The last number of a contour's name is that of its image. A line is "x y" (column, row) in pixels; pixel (0, 0) is
taken for a centre, which no document of the data set states. Endocardium (i) is drawn at ED and ES, epicardium (o) at
ED; papillary muscles (p1, p2) belong to the cavity and are not read.
Source: Radau et al. 2009, doi:10.54294/g80ruo (CC0).
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..hub.image_cmr import CMRImage
from ..hub.reading_cmr import ReadingError, read_image
from .labels.filling import fill_polygon
from .layout import folders, read_table
from .schema import UNKNOWN, LabelledStack
from .volumes import phases_of

TABLES = ("patients.csv", "scd_patientdata.csv")
CONTOURS_BELOW = ("contours", "SCD_ManualContours")
CONTOUR = re.compile(r"IM-\d+-(\d+)-([io])contour-manual\.txt")
LICENCE = "cc0-1.0"
CITATION = "Radau et al. 2009, MIDAS Journal, Cardiac MR Left Ventricle Segmentation Challenge, doi:10.54294/g80ruo"

Contours = dict[int, dict[str, Path]]  # number of the image → "i" and "o" → file


def person(original_id: str) -> str:
    """The data set's name of a person in one spelling: "SC-HF-I-1" → "SC-HF-I-01"."""
    return re.sub(r"-(\d)$", r"-0\1", original_id.strip())


def disease_of(name: str) -> str | None:
    """The healthy (SC-N-…) are NORM; heart failure (HF-I, HF-NI) and hypertrophy (HYP) are none of ACDC's classes."""
    return "NORM" if name.startswith("SC-N-") else None


def contour_mask(endocardium: np.ndarray | None, epicardium: np.ndarray | None) -> tuple[np.ndarray, tuple[int, ...]]:
    """Filled contours as the package's ids.

    Args:
        endocardium, epicardium (`np.ndarray` of shape `(y, x)`, bool): one of them may be `None`.

    Returns:
        The mask, uint8, and the ids that were drawn. Endocardium alone says nothing about the rest of the picture,
        epicardium alone nothing about its inside: `UNKNOWN`.
    """
    if endocardium is not None and epicardium is not None:
        return np.where(endocardium, 1, np.where(epicardium, 2, 0)).astype(np.uint8), (1, 2)
    if endocardium is not None:
        return np.where(endocardium, 1, UNKNOWN).astype(np.uint8), (1,)
    if epicardium is not None:
        return np.where(epicardium, UNKNOWN, 0).astype(np.uint8), ()
    raise ValueError("`endocardium` or `epicardium` is needed, got neither")


def list_sunnybrook_patients(root: str | Path) -> list[str]:
    """Persons with images and contours, "SC-HF-I-01" …, sorted."""
    return sorted(_people(root))


def read_sunnybrook(
    root: str | Path, patients: Iterable[str] | None = None, *, every_phase: bool = False
) -> Iterator[LabelledStack]:
    """Reads the ED and ES stacks of some patients; slices without contours are `UNKNOWN`.

    Args:
        root (`str` or `Path`): the folder that holds the images, the contours and the table.
        patients (iterable of `str`, *optional*): which ones, by default all.
        every_phase (`bool`, defaults to `False`): read the whole cine; masks on the contoured phases alone.

    Raises:
        ReadingError: the table, a patient or file is missing or broken, or a contour's image is not in the stack.
    """
    people = _people(root)
    for patient in people if patients is None else patients:
        if patient not in people:
            raise ReadingError(f"{root} has no images or no contours of {patient}: fetch both")
        images, contour_folder = people[patient]
        contours = _contours(contour_folder)
        series = _series(images, contours)
        cine = read_image(series)
        labelled = {t: _phase(found, cine) for t, found in _placed(contours, series, cine).items()}
        yield from phases_of(
            cine,
            labelled,
            every_phase,
            patient=patient,
            series="sax",
            image_type="cine",
            view="SAX",
            disease=disease_of(patient),
            source="sunnybrook",
            licence=LICENCE,
        )


def _people(root: str | Path) -> dict[str, tuple[Path, Path]]:
    """Person → folder of images, folder of contours."""
    root = Path(root)
    table = next((root / name for name in TABLES if (root / name).is_file()), root / TABLES[0])
    rows = read_table(table, "PatientID")
    parents = ["dicom", *(path.name for path in sorted(root.glob("SCD_IMAGES_*"))), ""]
    images = folders(root, "SCD*[0-9]", parents, "folder of images of Sunnybrook (dicom/SCD…)")
    contours = folders(root, "SC-*", CONTOURS_BELOW, "folder of contours of Sunnybrook (contours/SC-…)")
    drawn = {person(name): path for name, path in contours.items()}
    names = {number: person(row.get("OriginalID") or "") for number, row in rows.items()}
    return {
        names[number]: (path, drawn[names[number]])
        for number, path in sorted(images.items(), key=lambda item: names.get(item[0], ""))
        if names.get(number) in drawn
    }


def _contours(folder: Path) -> Contours:
    found: Contours = defaultdict(dict)
    for path in sorted(folder.rglob("IM-*contour-manual.txt")):
        if match := CONTOUR.fullmatch(path.name):
            found[int(match[1])][match[2]] = path
    if not found:
        raise ReadingError(f"{folder} has no …icontour-manual.txt: fetch the contours again")
    return found


def _series(folder: Path, contours: Contours) -> Path:
    """The folder of the SAX cine: of a patient's, the one that has the most images with contours."""
    candidates = [folder, *sorted(folder.glob("CINESAX*"))]
    counts = {path: len(contours.keys() & _numbered(path).keys()) for path in candidates}
    best = max(counts, key=counts.get)
    if counts[best] < len(contours):
        absent = sorted(contours.keys() - _numbered(best).keys())
        raise ReadingError(f"{best} has no image number {absent[0]}, which has a contour: fetch the images again")
    return best


def _numbered(folder: Path) -> dict[int, Path]:
    """DICOM files by the last number of their names: 48.dcm, IM-0003-0048.dcm."""
    return {int(re.findall(r"\d+", path.stem)[-1]): path for path in folder.glob("*[0-9].dcm")}


def _placed(contours: Contours, series: Path, cine: CMRImage) -> dict[int, dict[int, dict[str, np.ndarray]]]:
    """Phase → slice → "i" and "o" → filled contour. A contour belongs where its own image's pixels are."""
    files = _numbered(series)
    placed: dict[int, dict[int, dict[str, np.ndarray]]] = defaultdict(dict)
    for number, paths in contours.items():
        own = read_image(files[number]).pixels[0, 0]
        places = np.argwhere((cine.pixels == own).all(axis=(2, 3))) if own.shape == cine.pixels.shape[2:] else []
        if not len(places):
            raise ReadingError(f"{files[number]} has a contour, but is not part of the stack: check {series}")
        t, z = places[0].tolist()
        placed[t][z] = {kind: _filled(path, own.shape) for kind, path in paths.items()}
    return placed


def _filled(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's own about an empty file; the filler refuses it
            points = np.loadtxt(path, ndmin=2)
        return fill_polygon(points[:, ::-1], shape)  # (x, y) -> (row, column)
    except (ValueError, IndexError) as error:
        raise ReadingError(f"{path} needs lines of x and y in pixels: fetch it again ({error})") from None


def _phase(slices: dict[int, dict[str, np.ndarray]], cine: CMRImage) -> dict[str, Any]:
    """Fields of a contoured phase."""
    masks = np.full(cine.pixels.shape[1:], UNKNOWN, np.uint8)
    drawn: set[int] = set()
    for z, found in slices.items():
        masks[z], ids = contour_mask(found.get("i"), found.get("o"))
        drawn.update(ids)
    phase = "ED" if any("o" in found for found in slices.values()) else "ES"
    return {"phase": phase, "masks": masks, "drawn": tuple(sorted(drawn))}
