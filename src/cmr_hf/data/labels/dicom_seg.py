"""DICOM Segmentation objects on the MR pictures that they were drawn on: binary, fractional and label map.

Layout (DICOM PS3.3 C.8.20, C.7.6.16.2.12): SegmentSequence names and codes the segments; each frame is one segment
(BINARY, FRACTIONAL: from half of MaximumFractionalValue on) or all of them by number (LABELMAP), and belongs to the
picture of its DerivationImageSequence / SourceImageSequence, else to the only one on its plane. Frames on another grid
in the same plane are resampled. Writers may leave out empty frames: in a phase with a frame, the other slices count
as looked at.

Names and codes translate as in `names`. Verified on files written by highdicom, of all three types.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...hub.checking_cmr import MAX_PIXEL_BYTES, MAX_SIDE, ReadingError, quiet
from ...hub.dicom_slice_cmr import DicomSlice
from ...hub.dicom_tags_cmr import Frame, frames_of, items, number, parse, text
from ...hub.stacking_cmr import stack_affine
from .dicom_stacks import SAME_PLANE_MM, Key, Pictures, read_pictures, stacks_with
from .imported import ImportedLabels, paint
from .names import LabelMap, structure_of
from .resampling import resample_labels, same_grid

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # Segmentation, Label Map Segmentation


def read_dicom_seg(
    path: str | Path, dicom: str | Path, *, patient: str, licence: str = "unknown", label_map: LabelMap | None = None
) -> ImportedLabels:
    """Reads a segmentation onto its pictures.

    Args:
        path: the SEG file.
        dicom: folder of the pictures, at any depth, or one multi-frame file.
        patient: a pseudonym, see `LabelledStack`.
        licence: the Hub's name of it.
        label_map: segment label or number -> id, see `structure_of`.

    Raises:
        ReadingError: the file is no SEG or damaged, none of its segments is known, or none of its frames lies on a
            picture of `dicom`.
    """
    path = Path(path)
    dataset = parse(path, path.name, header_only=False)
    if text(dataset, "SOPClassUID") not in _CLASSES:
        raise ReadingError(f"{path.name} is no DICOM Segmentation: pass a DICOM file of Modality SEG")
    with quiet():
        structures, report = _segments(dataset, path.name, label_map)
        frames, masks = frames_of(dataset, path.name), _pixels(dataset, path.name)
        pictures = read_pictures(dicom)
        areas: dict[Key, dict[str, np.ndarray]] = defaultdict(dict)
        lost = 0
        for frame, values in zip(frames, masks, strict=True):
            found = _pictures(frame, pictures)
            lost += not found
            for one in found:
                for structure, area in _areas(dataset, frame, values, structures, path.name):
                    area = _on_picture(area, frame, one, path.name)
                    own = areas[(one.path, one.index)]
                    own[structure] = own[structure] | area if structure in own else area
    if lost:
        report.append(f"{path.name}: {lost} of {len(frames)} frames lie on no picture of the DICOM folder, left out")
    known = set(structures.values()) - {None, "background"}
    drawings = {}
    for key, own in areas.items():
        shape = pictures.frames[key].matrix
        drawings[key] = paint({name: own.get(name, np.zeros(shape, bool)) for name in known}, shape)
    return stacks_with(
        pictures, drawings, report, patient=patient, source="dicom seg", licence=licence, empty_is_background=True
    )


def _segments(dataset: Any, name: str, label_map: LabelMap | None) -> tuple[dict[int, str | None], list[str]]:
    """Segment number -> structure."""
    structures: dict[int, str | None] = {}
    report = []
    for one in items(dataset, "SegmentSequence"):
        own = int(number(one, "SegmentNumber") or 0)
        kind = (items(one, "SegmentedPropertyTypeCodeSequence") or [None])[0]
        code = ("", "") if kind is None else (text(kind, "CodingSchemeDesignator"), text(kind, "CodeValue"))
        structures[own] = structure_of(own, text(one, "SegmentLabel"), code, label_map)
        if structures[own] is None and own not in (label_map or {}):
            report.append(
                f"{name}: segment {own} has a name and code that are not known and is left out; pass "
                f"label_map={{{own}: id}}"
            )
    if not {one for one in structures.values() if one not in (None, "background")}:
        raise ReadingError(f"{name} has no segment that this package knows: pass label_map={{segment number: id}}")
    return structures, report


def _pixels(dataset: Any, name: str) -> np.ndarray:
    """(frames, y, x) as stored."""
    rows, columns = int(number(dataset, "Rows") or 0), int(number(dataset, "Columns") or 0)
    count = int(number(dataset, "NumberOfFrames") or 1)
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE) or math.prod((rows, columns, count)) > MAX_PIXEL_BYTES:
        raise ReadingError(f"{name} needs 1 to {MAX_SIDE} rows and columns and at most 4 GiB: split or export it again")
    try:
        return dataset.pixel_array.reshape(count, rows, columns)
    except Exception as error:  # pydicom raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{name} is damaged or truncated ({kind}): export or copy it again") from None


def _areas(
    dataset: Any, frame: Frame, values: np.ndarray, structures: dict[int, str | None], name: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Each known structure of one frame and where it is, also where that is nowhere."""
    kind = text(dataset, "SegmentationType").upper()
    if kind == "LABELMAP":
        for own, structure in structures.items():
            if structure not in (None, "background"):
                yield structure, values == own
        return
    own = frame.number("ReferencedSegmentNumber", "SegmentIdentificationSequence")
    if own is None or int(own) not in structures:
        raise ReadingError(f"{name} has a frame of no segment of its own: export it again")
    structure = structures[int(own)]
    if structure not in (None, "background"):
        full = number(dataset, "MaximumFractionalValue") or 255.0 if kind == "FRACTIONAL" else 1.0
        yield structure, values >= full / 2


def _pictures(frame: Frame, pictures: Pictures) -> list[DicomSlice]:
    sources = [image for one in frame.items("DerivationImageSequence") for image in items(one, "SourceImageSequence")]
    found: list[DicomSlice] = []
    for image in sources:
        place = number(image, "ReferencedFrameNumber")
        found += pictures.named(text(image, "ReferencedSOPInstanceUID"), None if place is None else int(place))
    affine = _affine(frame)
    if affine is not None and len(found) > 1:
        found = [one for one in found if one.frame is not None and _off_plane(affine, one) <= SAME_PLANE_MM]
    if sources or affine is None:
        return found
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    found = pictures.on_plane(affine[:3, 3], normal / np.linalg.norm(normal))
    return found if len(found) == 1 else []  # a cine has many at one place: nobody says which


def _off_plane(affine: np.ndarray, one: DicomSlice) -> float:
    return float(abs((affine[:3, 3] - one.origin_mm) @ one.frame[2]))


def _affine(frame: Frame) -> np.ndarray | None:
    """(column, row, slice) -> LPS of one frame; `None` when the file does not say."""
    position = frame.numbers("ImagePositionPatient", "PlanePositionSequence")
    cosines = frame.numbers("ImageOrientationPatient", "PlaneOrientationSequence")
    spacing = frame.numbers("PixelSpacing", "PixelMeasuresSequence")
    lengths = [len(one or ()) for one in (position, cosines, spacing)]
    if lengths != [3, 6, 2] or not np.isfinite([*position, *cosines, *spacing]).all() or min(spacing) <= 0:
        return None
    along, down = np.array(cosines[:3]), np.array(cosines[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along * spacing[1], down * spacing[0]
    affine[:3, 2], affine[:3, 3] = np.cross(along, down), position
    return affine


def _on_picture(area: np.ndarray, frame: Frame, one: DicomSlice, name: str) -> np.ndarray:
    """The area on the picture's own grid."""
    own, target = _affine(frame), stack_affine([one], one.spacing_mm)
    known = own is not None and target is not None
    if area.shape == one.matrix and (not known or same_grid(own, target, (1, *one.matrix))):
        return area
    if not known:
        raise ReadingError(
            f"{name} has {area.shape} pixels, the picture {one.matrix}, and not both say where they lie: export the "
            "segmentation on the picture's grid"
        )
    return resample_labels(area[None].astype(np.uint8), own, (1, *one.matrix), target, name)[0][0] > 0
