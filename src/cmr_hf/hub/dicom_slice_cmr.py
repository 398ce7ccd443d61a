"""Places every frame of an MR DICOM file in space and time, from its header alone.

Geometry follows DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2 (functional groups of enhanced multi-frame) and
C.7.6.5 (old multi-frame).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .checking_cmr import MAX_PIXEL_BYTES, MAX_SIDE, ReadingError, Spacing, checked_spacing, quiet
from .dicom_tags_cmr import Frame, frames_of, items, number, numbers, parse, text

_CARDIAC = "CardiacSynchronizationSequence"
_CONVERTED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
_TIME_POINTERS = (0x00181060, 0x00200100, 0x00209128, 0x00209153, 0x00209241, 0x00209252)
_SLICE_POINTERS = (0x00200032, 0x00201041, 0x00209057)
# the only values that errors quote: in a damaged file the tag may hold anything, a name too
_MODALITIES = ("CR CT DOC DX ECG ES IVUS KO MG NM OT PR PT REG RF RTDOSE RTIMAGE RTPLAN RTSTRUCT RWV SC SEG SM SR US "
               "XA XC").split()  # fmt: skip
_FRAME_TIMES = {"FrameTime": 0x00181063, "FrameTimeVector": 0x00181065}


@dataclass
class DicomSlice:
    """One frame of a DICOM file: what places it in a stack.

    Attributes:
        path, index: the file and the frame in it, from 0; `name` is what reports call it.
        matrix: (rows, columns).
        spacing_mm: (row, column) in mm.
        frame (np.ndarray of shape (3, 3)): directions of row, column and normal; None with `origin_mm`.
        origin_mm (np.ndarray of shape (3,)): centre of pixel (0, 0), LPS.
        location_mm, stack_position: place along the normal when there is no `origin_mm`.
        series, component: what a stack must share, see `Frame.component`.
        trigger_ms, percent, temporal: the moment: delay after the R wave, share of the cycle, index.
        instance: InstanceNumber of the file.
    """

    path: Path = field(repr=False)
    name: str
    index: int
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    frame: np.ndarray | None
    origin_mm: np.ndarray | None
    location_mm: float | None
    stack_position: float | None
    series: str = field(repr=False)
    component: str
    trigger_ms: float | None
    percent: float | None
    temporal: float | None
    instance: float | None
    pixels: np.ndarray | None = None

    @property
    def order(self) -> tuple[float, int] | None:
        """Place in the order of the export: InstanceNumber, then the frame; None for a file without number."""
        if self.instance is None and self.index == 0:
            return None
        return (self.instance or 0.0, self.index)


def read_headers(path: Path, name: str, spacing_mm: Spacing) -> list[DicomSlice]:
    """Reads and checks everything but the pixels of an MR file, one `DicomSlice` per frame.

    Multi-frame files without functional groups hold one slice over time when FrameIncrementPointer, FrameTime or
    FrameTimeVector says so; else slices, SpacingBetweenSlices apart along the normal from ImagePositionPatient
    on. Without that tag their order is kept, and position and distance stay unknown.

    Raises:
        ReadingError: the file is no gray MR image, or its header is damaged or absurd.
    """
    return headers_of(parse(path, name, header_only=True), path, name, spacing_mm)


def headers_of(dataset: Any, path: Path, name: str, spacing_mm: Spacing) -> list[DicomSlice]:
    """`read_headers` of a file that is parsed already."""
    with quiet():
        _check_kind(dataset, name)
        matrix = (int(number(dataset, "Rows") or 0), int(number(dataset, "Columns") or 0))
        if not all(1 <= side <= MAX_SIDE for side in matrix):
            raise ReadingError(f"{name} needs 1 to {MAX_SIDE} Rows and Columns, got {matrix}: check the export")
        frames = frames_of(dataset, name)
        if len(frames) * math.prod(matrix) * 4 > MAX_PIXEL_BYTES:
            raise ReadingError(f"{name} needs at most 4 GiB of pixels, got {len(frames)} frames: split it")
        if any("MOSAIC" in frame.types for frame in frames):
            raise ReadingError(f"{name} is a MOSAIC, many slices in one picture: export the slices one by one")
        pointers = _index_pointers(dataset)
        slices = [_slice(frame, path, name, matrix, spacing_mm, pointers) for frame in frames]
        if len(frames) > 1:
            for one in slices:
                one.name = f"{name} frame {one.index + 1}"
            if not any(frame.groups for frame in frames):
                _place_old_frames(slices, dataset)
    return slices


def _check_kind(dataset: Any, name: str) -> None:
    if "DirectoryRecordSequence" in dataset:
        raise ReadingError(f"{name} is a DICOMDIR, an index of files: pass it or its folder")
    modality = text(dataset, "Modality")
    if not modality and "Rows" not in dataset:
        raise ReadingError(f"{name} is not a DICOM image, or is truncated: export or copy it again")
    if modality != "MR":
        shown = repr(modality) if modality in _MODALITIES else "none or an unknown one"
        raise ReadingError(f"{name} needs Modality MR, got {shown}: pass an MR series")
    gray = text(dataset, "PhotometricInterpretation") in ("", "MONOCHROME1", "MONOCHROME2")
    if (number(dataset, "SamplesPerPixel") or 1) != 1 or not gray:
        raise ReadingError(f"{name} is an RGB or palette picture, not MR: pass the original gray series")


def _slice(
    frame: Frame, path: Path, name: str, matrix: tuple[int, int], spacing_mm: Spacing, pointers: list[int]
) -> DicomSlice:
    own = frame.numbers("PixelSpacing", "PixelMeasuresSequence")
    if spacing_mm is None and own is not None:
        remedy = "correct the header or pass spacing_mm=(row, column)"
        spacing_mm = checked_spacing(own, f"{name}: PixelSpacing", remedy)
    directions = _directions(frame.numbers("ImageOrientationPatient", "PlaneOrientationSequence"))
    origin = frame.numbers("ImagePositionPatient", "PlanePositionSequence")
    placed = directions is not None and origin is not None and len(origin) == 3 and np.isfinite(origin).all()
    trigger = frame.number("TriggerTime", *_CONVERTED)
    if trigger is None:
        trigger = frame.number("NominalCardiacTriggerDelayTime", _CARDIAC)
    temporal = frame.number("TemporalPositionIndex", "FrameContentSequence")
    position = frame.number("InStackPositionNumber", "FrameContentSequence")
    return DicomSlice(
        path=path,
        name=name,
        index=frame.index,
        matrix=matrix,
        spacing_mm=spacing_mm,
        frame=directions if placed else None,
        origin_mm=np.array(origin) if placed else None,
        location_mm=frame.number("SliceLocation", *_CONVERTED),
        stack_position=_dimension(frame, pointers, _SLICE_POINTERS) if position is None else position,
        series=text(frame.dataset, "SeriesInstanceUID"),
        component=frame.component,
        trigger_ms=trigger,
        percent=frame.number("NominalPercentageOfCardiacPhase", _CARDIAC, *_CONVERTED),
        temporal=_dimension(frame, pointers, _TIME_POINTERS) if temporal is None else temporal,
        instance=number(frame.dataset, "InstanceNumber"),
    )


def _index_pointers(dataset: Any) -> list[int]:
    """The tags that DimensionIndexValues of each frame count."""
    return [int(number(item, "DimensionIndexPointer") or 0) for item in items(dataset, "DimensionIndexSequence")]


def _dimension(frame: Frame, pointers: list[int], wanted: tuple[int, ...]) -> float | None:
    """The frame's DimensionIndexValues entry along the first of `wanted` that the file counts."""
    values = frame.numbers("DimensionIndexValues", "FrameContentSequence") or ()
    place = next((pointers.index(tag) for tag in wanted if tag in pointers), len(values))
    return values[place] if place < len(values) and math.isfinite(values[place]) else None


def _place_old_frames(slices: list[DicomSlice], dataset: Any) -> None:
    """Moves the frames of a file without functional groups apart, in time or in space; see `read_headers`."""
    pointer = number(dataset, "FrameIncrementPointer")
    step, vector = number(dataset, "FrameTime"), numbers(dataset, "FrameTimeVector")
    if pointer in _FRAME_TIMES.values() or (pointer is None and (step is not None or vector is not None)):
        times = np.cumsum(vector) if vector is not None and len(vector) == len(slices) else None
        if times is None and step is not None and step > 0:
            times = np.arange(len(slices)) * step
        for one in slices:
            known = times is not None and math.isfinite(times[one.index])
            one.trigger_ms = (one.trigger_ms or 0.0) + float(times[one.index]) if known else None
            one.temporal, one.stack_position = one.index + 1.0, 1.0
        return
    distance = number(dataset, "SpacingBetweenSlices")
    for one in slices:
        one.trigger_ms = one.percent = one.location_mm = None
        one.stack_position = one.index + 1.0
        if one.frame is not None and distance is not None and distance > 0:
            one.origin_mm = one.origin_mm + one.index * distance * one.frame[2]
        else:
            one.frame = one.origin_mm = None


def _directions(cosines: tuple[float, ...] | None) -> np.ndarray | None:
    """Orthonormal row, column and normal (3, 3) of ImageOrientationPatient; None when it is bogus."""
    if cosines is None or len(cosines) != 6 or not np.isfinite(cosines).all():
        return None
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.1:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)])
