"""A mask on another grid, through patient space, by nearest neighbour: labels are never mixed."""

from __future__ import annotations

import numpy as np

from ...hub.checking_cmr import ReadingError

_THIN_MM = 5.0  # reach to either side of a single slice whose thickness nobody gave, twice


def same_grid(affine: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> bool:
    """Whether two affines put every corner of a grid of shape (z, y, x) within 0.1 voxel of each other.

    The slice step of a single slice is not compared.
    """
    z, y, x = shape
    corners = np.array([(i, j, k, 1.0) for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)])
    apart = np.linalg.norm((corners @ (np.asarray(affine) - np.asarray(other)).T)[:, :3], axis=1)
    return bool(apart.max() < 0.1 * np.linalg.norm(np.asarray(other)[:3, :2], axis=0).min())


def resample_labels(
    labels: np.ndarray, affine: np.ndarray, target_shape: tuple[int, int, int], target_affine: np.ndarray, name: str
) -> tuple[np.ndarray, str]:
    """Labels at the centres of another grid's voxels, 0 outside their own.

    Args:
        labels (`np.ndarray` of shape `(z, y, x)`): whole numbers.
        affine (`np.ndarray` of shape `(4, 4)`): its (column, row, slice) → LPS mm. With one slice the third column's
            length counts as its thickness where it is more than 1 mm, else 5 mm.
        target_shape: (z, y, x).
        target_affine: of the other grid.
        name: what errors call the labels.

    Returns:
        Labels of `target_shape`, and a sentence: both shapes, the share of labelled volume that arrived, and how far
        off the slice planes lie.

    Raises:
        ReadingError: an affine cannot be inverted, or not one labelled voxel lies on the other grid.
    """
    own, target = (np.asarray(one, np.float64) for one in (affine, target_affine))
    if any(not np.isfinite(one).all() or abs(np.linalg.det(one)) < 1e-9 for one in (own, target)):
        raise ReadingError(f"{name} needs affines that can be inverted, its own and the image's: correct the headers")
    own = _thick(own, labels.shape[0])
    z, y, x = target_shape
    step = np.linalg.inv(own) @ target  # target's (column, row, slice) -> own
    made = np.zeros(target_shape, labels.dtype)
    off_plane = 0.0
    row, column = np.mgrid[:y, :x]
    for place in range(z):
        spot = np.stack([column, row, np.full_like(row, place), np.ones_like(row)], axis=-1) @ step[:3].T  # (y, x, 3)
        nearest = np.floor(spot + 0.5).astype(np.int64)
        inside = ((nearest >= 0) & (nearest < labels.shape[::-1])).all(axis=-1)
        k, j, i = nearest[inside].T
        made[place][inside] = labels[i, j, k]
        if made[place].any():
            off_plane = max(off_plane, float(np.abs(spot - nearest)[..., 2][made[place] > 0].max()))
    before = np.count_nonzero(labels) * abs(np.linalg.det(own))
    after = np.count_nonzero(made) * abs(np.linalg.det(_thick(target, z)))
    if before and not after:
        raise ReadingError(
            f"{name} does not overlap the image in patient space: check that both are of one study, and their headers"
        )
    return made, (
        f"{name}: resampled from {labels.shape} to {tuple(target_shape)} voxels (slices, rows, columns) by nearest "
        f"neighbour; labelled volume {before / 1000:.1f} ml before, {after / 1000:.1f} ml after; slices up to "
        f"{off_plane * np.linalg.norm(own[:3, 2]):.1f} mm off the mask's own"
    )


def _thick(affine: np.ndarray, slices: int) -> np.ndarray:
    """With one slice the third column may be a mere unit normal: 5 mm then."""
    length = np.linalg.norm(affine[:3, 2])
    if slices > 1 or length > 1.001:
        return affine
    affine = affine.copy()
    affine[:3, 2] *= _THIN_MM / length
    return affine
