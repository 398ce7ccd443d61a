"""Contours of a DICOM RT Structure Set on the MR pictures that they refer to.

Layout (DICOM PS3.3 C.8.8.5, C.8.8.6): StructureSetROISequence names the ROIs, ROIContourSequence holds contours of
patient coordinates (x, y, z) in LPS mm, each with the SOP Instance UID of its picture, or else found by its plane.
Several contours of one ROI on one picture combine by exclusive or: an inner one is a hole (CLOSEDPLANAR_XOR, and what
writers of CLOSED_PLANAR mean by it). Points are landmarks.

Verified on files written after the standard, not on exports of a treatment planning system.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ...hub.checking_cmr import ReadingError, quiet
from ...hub.dicom_slice_cmr import DicomSlice
from ...hub.dicom_tags_cmr import items, number, numbers, parse, text
from ..schema import Point
from .dicom_stacks import SAME_PLANE_MM, Key, Pictures, read_pictures, stacks_with
from .filling import MAX_POINTS, fill_polygon
from .imported import ImportedLabels, paint
from .names import LabelMap, landmark_of, structure_of

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_MAX_CONTOURS = 100_000


def read_rtstruct(
    path: str | Path, dicom: str | Path, *, patient: str, licence: str = "unknown", label_map: LabelMap | None = None
) -> ImportedLabels:
    """Reads a structure set onto its pictures.

    Args:
        path: the RTSTRUCT file.
        dicom: folder of the pictures, at any depth, or one multi-frame file.
        patient: a pseudonym, see `LabelledStack`.
        licence: the Hub's name of it.
        label_map: ROI name or ROI number -> id, see `structure_of`.

    Raises:
        ReadingError: the file is no RTSTRUCT or damaged, or none of its contours lies on a picture of `dicom`.
    """
    path = Path(path)
    dataset = parse(path, path.name, header_only=False)
    if text(dataset, "Modality") != "RTSTRUCT":
        raise ReadingError(f"{path.name} is no RT Structure Set: pass a DICOM file of Modality RTSTRUCT")
    pictures = read_pictures(dicom)
    with quiet():
        return _read(dataset, path.name, pictures, label_map, patient=patient, licence=licence)


def _read(dataset: Any, name: str, pictures: Pictures, label_map: LabelMap | None, **about: str) -> ImportedLabels:
    names = {
        int(number(one, "ROINumber") or 0): text(one, "ROIName") for one in items(dataset, "StructureSetROISequence")
    }
    areas: dict[Key, dict[str, np.ndarray]] = defaultdict(dict)
    landmarks: dict[Key, dict[str, Point]] = defaultdict(dict)
    report, lost, count = [], 0, 0
    for roi in items(dataset, "ROIContourSequence"):
        own = int(number(roi, "ReferencedROINumber") or 0)
        title = names.get(own, "")
        structure, landmark = structure_of(own, title, label_map=label_map), landmark_of(title)
        if structure is None and landmark is None:
            report.append(
                f"{name}: ROI {own} has a name that is not known and is left out; pass label_map={{{own}: id}}"
            )
        if structure in (None, "background") and landmark is None:
            continue
        drawn: dict[Key, np.ndarray] = {}
        for contour in items(roi, "ContourSequence"):
            count += 1
            if count > _MAX_CONTOURS:
                raise ReadingError(f"{name} has more than {_MAX_CONTOURS} contours: export one study at a time")
            points, kind = _points(contour, name), text(contour, "ContourGeometricType").upper()
            found = _pictures(contour, points, pictures)
            lost += not found
            for one in found:
                key, placed = (one.path, one.index), _in_pixels(points, one)
                if kind == "POINT" and landmark is not None:
                    landmarks[key][landmark] = (float(placed[0, 0]), float(placed[0, 1]))
                elif kind in _CLOSED and structure is not None and len(placed) >= 3:
                    ring = _filled(placed, one, name)
                    drawn[key] = drawn[key] ^ ring if key in drawn else ring
        for key, area in drawn.items():
            areas[key][structure] = areas[key][structure] | area if structure in areas[key] else area
    if lost:
        report.append(f"{name}: {lost} of {count} contours lie on no picture of the DICOM folder and are left out")
    drawings = {
        key: paint(areas.get(key, {}), pictures.frames[key].matrix, landmarks.get(key, {}))
        for key in [*areas, *(key for key in landmarks if key not in areas)]
    }
    return stacks_with(pictures, drawings, report, source="rtstruct", **about)


def _points(contour: Any, name: str) -> np.ndarray:
    """(points, 3) in LPS mm."""
    values = numbers(contour, "ContourData") or ()
    if not values or len(values) % 3 or len(values) > 3 * MAX_POINTS or not all(math.isfinite(one) for one in values):
        raise ReadingError(
            f"{name} needs 1 to {MAX_POINTS} finite points (x, y, z) a contour, got {len(values)} numbers: export again"
        )
    return np.array(values).reshape(-1, 3)


def _pictures(contour: Any, points: np.ndarray, pictures: Pictures) -> list[DicomSlice]:
    """The frames that a contour belongs to: those it names, else the only one on its plane."""
    found: list[DicomSlice] = []
    for image in items(contour, "ContourImageSequence"):
        frame = number(image, "ReferencedFrameNumber")
        found += pictures.named(text(image, "ReferencedSOPInstanceUID"), None if frame is None else int(frame))
    if not items(contour, "ContourImageSequence"):
        found = pictures.on_plane(points[0])
        found = found if len(found) == 1 else []  # a cine has many at one place: nobody says which
    return [
        one
        for one in found
        if one.frame is not None
        and one.spacing_mm is not None
        and np.abs((points - one.origin_mm) @ one.frame[2]).max() <= SAME_PLANE_MM
    ]


def _in_pixels(points: np.ndarray, one: DicomSlice) -> np.ndarray:
    """Patient mm -> (row, column)."""
    along = (points - one.origin_mm) @ one.frame[:2].T  # mm along a row, and along a column
    return along[:, ::-1] / np.array(one.spacing_mm)


def _filled(points: np.ndarray, one: DicomSlice, name: str) -> np.ndarray:
    try:
        return fill_polygon(points, one.matrix)
    except ValueError as error:
        raise ReadingError(f"{name} has a contour that cannot be filled ({error}): export it again") from None
