"""DICOM files, a folder's or one multi-frame file's -> one image over slices and phases."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .checking_cmr import MAX_PIXEL_BYTES, ReadingError, Spacing, clean_pixels
from .dicom_pixels_cmr import decode
from .dicom_slice_cmr import DicomSlice, read_headers
from .image_cmr import CMRImage
from .stacking_cmr import arrange, largest_stack, stack_affine


def read_dicom(path: Path, name: str, spacing_mm: Spacing) -> CMRImage:
    """Reads one DICOM file, single-frame or multi-frame, as the stack that its frames form.

    Args:
        path: the file.
        name: what errors and `source` call it.
        spacing_mm: (row, column) in mm, instead of the header's.

    Raises:
        ReadingError: the file is not one stack of gray MR frames.
    """
    left_out: list[dict] = []
    chosen = largest_stack(read_headers(path, name, spacing_mm), name, left_out)
    decode(chosen, name)
    return _stacked(chosen, name, left_out)


def read_dicom_files(
    files: Iterable[tuple[Path, str]], source: str, spacing_mm: Spacing, left_out: list[dict]
) -> CMRImage:
    """Reads DICOM files, single-frame and multi-frame in any mixture, as one stack.

    Args:
        files: each file and what reports call it.
        source: what errors and the image's `source` call them all.
        spacing_mm: (row, column) in mm, instead of the headers'.
        left_out: what was left out before; goes on in the image's `left_out`.

    Raises:
        ReadingError: the files are not one stack, or none of them can be read.
    """
    headers: list[DicomSlice] = []
    names: dict[Path, str] = {}
    for path, name in files:
        try:
            headers += read_headers(path, name, spacing_mm)
            names[path] = name
        except ReadingError as error:
            left_out.append({"file": name, "reason": str(error)})
    chosen = largest_stack(headers, source, left_out)
    if len(chosen) * math.prod(chosen[0].matrix if chosen else ()) * 4 > MAX_PIXEL_BYTES:
        raise ReadingError(f"{source} needs at most 4 GiB of pixels, got {len(chosen)} files: pass one stack's folder")
    by_file: dict[Path, list[DicomSlice]] = defaultdict(list)
    for one in chosen:
        by_file[one.path].append(one)
    for path, slices in by_file.items():
        try:
            decode(slices, names[path])
        except ReadingError as error:
            left_out.append({"file": names[path], "reason": str(error)})
    chosen = [one for slices in by_file.values() for one in slices if all(other.pixels is not None for other in slices)]
    if not chosen:
        reasons = "; ".join(item["reason"] for item in left_out[:5]) or "it is empty"
        raise ReadingError(
            f"{source} needs at least one readable MR file, got none ({reasons}): pass a DICOM stack's folder"
        )
    return _stacked(chosen, source, left_out)


def _stacked(chosen: list[DicomSlice], source: str, left_out: list[dict]) -> CMRImage:
    grid, depths = arrange(chosen, source, left_out)  # grid[z][t]
    spacing = chosen[0].spacing_mm
    distance = None
    if depths is not None and len(grid) > 1:
        gaps = np.diff(depths)
        distance = float(np.median(gaps))
        if np.abs(gaps - distance).max() > 0.1 * distance:
            warnings.warn(
                f"{source}: slice distances vary from {gaps.min():.2f} to {gaps.max():.2f} mm, the median "
                f"{distance:.2f} mm is used: check whether slices are missing",
                stacklevel=5,
            )
    triggers = [[one.trigger_ms for one in phases] for phases in grid]
    known = all(None not in row and sorted(set(row)) == row for row in triggers)
    pixels = np.stack([np.stack([phases[t].pixels for phases in grid]) for t in range(len(grid[0]))])
    return CMRImage(
        pixels=clean_pixels(pixels, source),  # frames of several types may have become float64
        spacing_mm=spacing,
        slice_distance_mm=distance,
        affine=stack_affine([phases[0] for phases in grid], spacing),
        source=source,
        kind="dicom",
        trigger_times_ms=tuple(float(time) for time in np.median(triggers, axis=0)) if known else None,
        left_out=left_out,
    )
