"""Distances between the surfaces of two masks, in mm, for pixels and slices of any size.

The surface of a mask are its pixels that have a neighbour (across a face) outside it; what lies beyond the picture is
outside. With slices far apart most pixels of the end slices are surface. Between an empty mask and another there is no
distance: the answer is `None`, never 0 or infinity, and callers count how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .overlap import checked_pair

PERCENTILE = 95.0
ROWS_AT_ONCE = 32  # of the matrix of distances: what stays in the cache is ten times as fast


@dataclass(frozen=True)
class SurfaceDistances:
    """How far the surface points of each mask lie from the other's surface.

    Attributes:
        to_truth (`np.ndarray` of shape `(n,)`): of each predicted surface point, in mm.
        to_prediction (`np.ndarray` of shape `(m,)`): of each true surface point, in mm.
    """

    to_truth: np.ndarray
    to_prediction: np.ndarray

    @property
    def hausdorff95_mm(self) -> float:
        """The greater of the two directed 95th percentiles, linearly interpolated."""
        return float(max(np.percentile(one, PERCENTILE) for one in (self.to_truth, self.to_prediction)))

    @property
    def average_mm(self) -> float:
        """The mean over the points of both surfaces (average symmetric surface distance)."""
        return float(np.concatenate((self.to_truth, self.to_prediction)).mean())


def surface(mask: np.ndarray) -> np.ndarray:
    """The surface pixels of a mask, bool, of the same shape."""
    mask = np.asarray(mask, dtype=bool)
    inner = mask.copy()
    padded = np.pad(mask, 1)
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            inner &= np.roll(padded, shift, axis)[(slice(1, -1),) * mask.ndim]
    return mask & ~inner


def surface_distances(predicted: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> SurfaceDistances | None:
    """Distances between two surfaces.

    Args:
        predicted, truth (`np.ndarray` of shape `(y, x)` or `(z, y, x)`, bool)
        spacing_mm (`Sequence` of `float`): one per axis in the order of the axes, in mm; along z the distance between
            slice centres.

    Returns:
        `SurfaceDistances`, or `None` where one of the masks is empty.

    Raises:
        ValueError: the shapes differ, or the spacing is not one positive number per axis.

    Source: the definitions of Reinke et al. 2024, "Understanding metric-related pitfalls in image analysis
    validation"; Huttenlocher et al. 1993 for the Hausdorff distance.
    """
    predicted, truth = checked_pair(predicted, truth)
    step_mm = np.asarray(spacing_mm, dtype=float)
    if step_mm.shape != (predicted.ndim,) or not (np.isfinite(step_mm).all() and (step_mm > 0).all()):
        raise ValueError(
            f"`spacing_mm` needs {predicted.ndim} positive numbers in mm, one per axis, got {spacing_mm!r}: without a "
            "known spacing there is no distance"
        )
    if not predicted.any() or not truth.any():
        return None
    return SurfaceDistances(*_nearest(*(np.argwhere(surface(mask)) * step_mm for mask in (predicted, truth))))


def _nearest(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each of our points to the nearest of theirs, and the other way round; points `(n, axes)`."""
    to_truth, to_prediction = np.empty(len(ours)), np.full(len(theirs), np.inf)
    columns = np.ascontiguousarray(theirs.T)
    for start in range(0, len(ours), ROWS_AT_ONCE):
        part = ours[start : start + ROWS_AT_ONCE]
        squared = np.zeros((len(part), len(theirs)))
        for axis, column in enumerate(columns):
            apart = np.subtract.outer(part[:, axis], column)
            apart *= apart
            squared += apart
        to_truth[start : start + len(part)] = squared.min(axis=1)
        np.minimum(to_prediction, squared.min(axis=0), out=to_prediction)
    return np.sqrt(to_truth), np.sqrt(to_prediction)


def landmark_distances_mm(
    predicted: np.ndarray, truth: np.ndarray, spacing_mm: np.ndarray | Sequence[float]
) -> np.ndarray:
    """Distance between predicted and true points.

    Args:
        predicted, truth (`np.ndarray` of shape `(..., 2)`): (row, column) in pixels; NaN where there is none.
        spacing_mm (two `float`, or `np.ndarray` of shape `(..., 2)`): (row, column) in mm.

    Returns:
        `np.ndarray` of shape `(...)`, in mm; NaN where one of the points is missing.

    Raises:
        ValueError: the shapes differ, or a spacing is not positive.
    """
    predicted, truth = np.asarray(predicted, dtype=float), np.asarray(truth, dtype=float)
    step_mm = np.asarray(spacing_mm, dtype=float)
    if predicted.shape != truth.shape or predicted.shape[-1:] != (2,):
        raise ValueError(f"points need one shape (..., 2), got {predicted.shape} and {truth.shape}")
    if step_mm.shape[-1:] != (2,) or not (np.isfinite(step_mm).all() and (step_mm > 0).all()):
        raise ValueError(f"`spacing_mm` needs two positive numbers (row, column) in mm, got {spacing_mm!r}")
    return np.hypot(*np.moveaxis((predicted - truth) * step_mm, -1, 0))
