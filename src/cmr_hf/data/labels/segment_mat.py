"""Contours of Segment (Medviso), `.mat` or `.seg` as MATLAB 5 files, on the pictures stored beside them.

Layout: `setstruct`, a struct array with one entry per image stack: `IM` (x, y, t, z) from 0 to 1 with
`IntensityScaling` and `IntensityOffset`; `EndoX`, `EndoY`, `EpiX`, `EpiY`, `RVEndoX`, `RVEndoY` (80, t, z), NaN where
nobody drew, empty where nobody ever did; X is the row and Y the column, counted from 1; `ResolutionX/Y`,
`SliceThickness` and `SliceGap` in mm; `ImagePosition` of the first slice and `ImageOrientation` as in DICOM, the next
slice lying *against* row × column; `Scar.Result` and `Scar.NoReflow` (x, y, z). MATLAB drops axes of length 1 at the
end.

Tested on files written in this layout; the scale was checked against the volumes that Segment itself stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...hub.checking_cmr import MAX_PIXEL_BYTES, MAX_SIDE, ReadingError
from ..schema import LabelledStack
from .filling import fill_polygon
from .imported import Drawing, ImportedLabels, masks_of, paint
from .matlab5 import Struct, read_structs
from .names import EPICARDIUM

CONTOURS = {"Endo": "LV cavity", "Epi": EPICARDIUM, "RVEndo": "RV"}
_TECHNIQUES = {"MRSSFP": "cine", "MRGE": "cine", "MRDE": "LGE"}  # ImagingTechnique
_PLANES = {"Short-axis": "SAX", "2CH": "2CH", "3CH": "3CH", "4CH": "4CH"}  # ImageViewPlane


def read_segment(path: str | Path, *, patient: str, licence: str = "unknown") -> ImportedLabels:
    """Reads every image stack with contours of a Segment file.

    Args:
        path: the file.
        patient: a pseudonym, see `LabelledStack`; names in the file are not looked at.
        licence: the Hub's name of it.

    Returns:
        One stack per image stack and phase with a contour. The epicardium of the RV is left out.

    Raises:
        ReadingError: the file is no MATLAB 5 file of Segment, is damaged, or has contours that do not fit its images.
    """
    path = Path(path)
    stacks, report = [], []
    for number, one in enumerate(read_structs(path, "setstruct"), start=1):
        name = f"{path.name} image stack {number}"
        contours = {key: found for key in CONTOURS if (found := _contours(one, key, name)) is not None}
        if not contours:
            report.append(f"{name} has no contours and is left out")
            continue
        stacks += _stacks(one, contours, name, report, patient=patient, series=f"stack {number}", licence=licence)
    if not stacks:
        raise ReadingError(f"{path.name} has no contours: draw some in Segment, or pass another file")
    return ImportedLabels(stacks, report)


def _number(one: Struct, key: str) -> float | None:
    value = one.numbers(key)
    return float(value.flat[0]) if value is not None and np.isfinite(value.flat[0]) else None


def _contours(one: Struct, key: str, name: str) -> np.ndarray | None:
    """(points, t, z, 2) as (row, column) from 0; `None` where nobody drew any."""
    rows, columns = one.numbers(f"{key}X"), one.numbers(f"{key}Y")
    if rows is None or columns is None:
        return None
    if rows.shape != columns.shape or rows.ndim > 3:
        raise ReadingError(f"{name}: {key}X and {key}Y need one shape (80, t, z): save the file again in Segment")
    points = np.stack([rows, columns], axis=-1).astype(np.float64)
    points = points.reshape(points.shape[0], *(points.shape[1:-1] + (1, 1))[:2], 2)
    return points - 1 if np.isfinite(points).any() else None


def _stacks(
    one: Struct, contours: dict[str, np.ndarray], name: str, report: list[str], **about: str
) -> Iterator[LabelledStack]:
    images = _images(one, name)  # (t, z, y, x)
    phases, slices, *shape = images.shape
    for key, points in contours.items():
        if points.shape[1:3] != (phases, slices):
            raise ReadingError(
                f"{name}: {key}X needs {phases} phases and {slices} slices like its images, got {points.shape[1:3]}: "
                "save the file again in Segment"
            )
    scar = _scar(one, (slices, *shape), phases, name, report)
    spacing, distance, affine = _geometry(one)
    edge = {int(_number(one, "EDT") or 0) - 1: "ED", int(_number(one, "EST") or 0) - 1: "ES"} if phases > 1 else {}
    for phase in range(phases):
        drawings = [_drawing(contours, phase, place, tuple(shape), scar, name) for place in range(slices)]
        if all(drawing is None for drawing in drawings):
            continue
        masks, drawn = masks_of(drawings, tuple(shape), empty_is_background=False)
        yield LabelledStack(
            images=images[phase],
            masks=masks,
            drawn=drawn,
            spacing_mm=spacing,
            slice_distance_mm=distance if slices > 1 else None,
            affine=affine,
            phase_index=phase,
            phase=edge.get(phase, ""),
            image_type=_TECHNIQUES.get(one.text("ImagingTechnique")),
            view=_PLANES.get(one.text("ImageViewPlane")),
            source="segment",
            **about,
        )


def _images(one: Struct, name: str) -> np.ndarray:
    images = one.numbers("IM")
    if images is None or not 2 <= images.ndim <= 4 or max(images.shape[:2]) > MAX_SIDE:
        raise ReadingError(f"{name} needs its images in IM (x, y, t, z): save the file again with image data")
    if images.size * 4 > MAX_PIXEL_BYTES:
        raise ReadingError(f"{name} needs at most 4 GiB of images: save fewer stacks")
    images = images.reshape(*images.shape, *(1,) * (4 - images.ndim)).transpose(2, 3, 0, 1)  # -> (t, z, row, column)
    scale, offset = _number(one, "IntensityScaling"), _number(one, "IntensityOffset")
    images = images.astype(np.float32) * (scale or 1.0) + (offset or 0.0)
    if not np.isfinite(images).all():
        raise ReadingError(f"{name} needs finite pixels: save the file again in Segment")
    return images.astype(np.float32)


def _drawing(
    contours: dict[str, np.ndarray], phase: int, place: int, shape: tuple[int, int], scar: np.ndarray | None, name: str
) -> Drawing | None:
    areas = {}
    for key, points in contours.items():
        ring = points[:, phase, place]
        ring = ring[np.isfinite(ring).all(axis=1)]
        if len(ring) >= 3:
            try:
                areas[CONTOURS[key]] = fill_polygon(ring, shape)
            except ValueError as error:
                raise ReadingError(f"{name}: {key}X, {key}Y: {error}") from None
    if not areas:
        return None
    if scar is not None and EPICARDIUM in areas:
        areas["scar"] = scar[place]
    return paint(areas, shape)


def _scar(one: Struct, shape: tuple[int, int, int], phases: int, name: str, report: list[str]) -> np.ndarray | None:
    """Scar with no-reflow, bool (z, y, x)."""
    held = one.struct("Scar")
    if held is None:
        return None
    scar = None
    for key in ("Result", "NoReflow"):
        part = held.numbers(key)
        if part is None:
            continue
        part = part.reshape(*part.shape, *(1,) * (3 - part.ndim)).transpose(2, 0, 1) if part.ndim <= 3 else part
        if phases > 1 or part.shape != shape:
            report.append(f"{name}: Scar.{key} does not fit the images and is left out")
            continue
        scar = part > 0 if scar is None else scar | (part > 0)
    return scar


def _geometry(one: Struct) -> tuple[tuple[float, float] | None, float | None, np.ndarray | None]:
    """Spacing (row, column) and slice distance in mm, and (column, row, slice) -> LPS."""
    spacing = _number(one, "ResolutionX"), _number(one, "ResolutionY")
    distance = (_number(one, "SliceThickness") or 0.0) + (_number(one, "SliceGap") or 0.0)
    if None in spacing or min(spacing) <= 0:
        return None, distance if distance > 0 else None, None
    origin, cosines = one.numbers("ImagePosition"), one.numbers("ImageOrientation")
    known = origin is not None and cosines is not None and origin.size == 3 and cosines.size == 6 and distance > 0
    if not known or not np.isfinite(origin).all() or not np.isfinite(cosines).all():
        return spacing, distance if distance > 0 else None, None
    along, down = cosines.ravel()[:3].astype(float), cosines.ravel()[3:].astype(float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along * spacing[1], down * spacing[0]
    affine[:3, 2] = -np.cross(along, down) * distance
    affine[:3, 3] = origin.ravel()
    regular = abs(np.linalg.det(affine)) > 1e-6
    return spacing, distance, affine if regular else None
