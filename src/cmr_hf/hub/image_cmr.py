"""The result of reading: pixels with their geometry in patient space."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class CMRImage:
    """Pixels and geometry of one source.

    Attributes:
        pixels (np.ndarray of shape (t, z, y, x), or the array's own): integers as stored, else float32.
        spacing_mm: pixel distance (row, column) in mm; None when the source does not say.
        slice_distance_mm: distance between slice centres along the normal; None when unknown or one slice.
        affine (np.ndarray of shape (4, 4)): (column, row, slice) index -> LPS in mm; None when unknown.
            With one slice the third column is the unit normal.
        source: what errors call it: a path, a URL without its query, or "array".
        kind: "dicom", "nifti" (`source` is that file), "picture" or "array"; NIfTI out of a zip or from a URL
            leaves no file behind and counts as "array".
        trigger_times_ms: delay after the R wave, one per phase (median over slices); None when unknown.
        left_out: {"file", "reason"} of every file or frame of a folder, zip or multi-frame file not used.
        file_shape: shape of the NIfTI file's own array, which `restore_axes` gives back.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None
    slice_distance_mm: float | None
    affine: np.ndarray | None
    source: str
    kind: str
    trigger_times_ms: tuple[float, ...] | None = None
    left_out: list[dict] = field(default_factory=list)
    file_shape: tuple[int, ...] | None = None
