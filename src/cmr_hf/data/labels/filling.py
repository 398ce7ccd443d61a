"""Polygon -> mask: the package's one filler.

Pixel (0, 0) is a centre: a pixel belongs to a polygon when its centre does (even-odd rule), so contours of any
sub-pixel precision fill without rounding their points. On an edge, the upper and left one counts as inside, the
lower and right one as outside: polygons that share an edge share no pixel and leave none out. A pixel's corner is at
(-0.5, -0.5): tools that count from there need 0.5 taken off first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...hub.checking_cmr import MAX_SIDE

MAX_POINTS = 20_000


def fill_polygon(points_row_column: np.ndarray, shape: tuple[int, int], holes: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Fills one closed polygon; the last point is joined to the first.

    Args:
        points_row_column (`np.ndarray` of shape `(points, 2)`): (row, column) in pixels; may lie outside the picture.
            Where the polygon crosses itself, regions surrounded twice are outside.
        shape (two `int`): rows and columns of the mask.
        holes: polygons of the same form that are cut out.

    Returns:
        `np.ndarray` of shape `shape`, bool.

    Raises:
        ValueError: fewer than 3 or more than 20,000 points, points that are not finite, or a shape out of bounds.
    """
    rows, columns = (int(side) for side in shape)
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE):
        raise ValueError(f"`shape` needs 1 to {MAX_SIDE} rows and columns, got {shape}: pass the picture's own")
    mask = _filled(_checked(points_row_column), rows, columns)
    for hole in holes:
        mask &= ~_filled(_checked(hole), rows, columns)
    return mask


def polygon_area(points_row_column: np.ndarray) -> float:
    """Area in pixels² of a polygon that does not cross itself (the shoelace formula); points as in `fill_polygon`."""
    row, column = _checked(points_row_column).T
    return float(abs(row @ np.roll(column, -1) - column @ np.roll(row, -1)) / 2)


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not 3 <= len(points) <= MAX_POINTS:
        raise ValueError(f"a polygon needs 3 to {MAX_POINTS} points (row, column), got shape {points.shape}")
    if not np.isfinite(points).all() or np.abs(points).max() > 1e9:
        raise ValueError("a polygon needs finite points in pixels: leave out those that are NaN, infinite or absurd")
    return points


def _filled(points: np.ndarray, rows: int, columns: int) -> np.ndarray:
    start, end = points, np.roll(points, -1, axis=0)
    upper, lower = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    # an edge crosses the rows upper <= row < lower
    first = np.clip(np.ceil(upper), 0, rows).astype(np.int64)
    counts = np.clip(np.ceil(lower), 0, rows).astype(np.int64) - first
    edge = np.repeat(np.arange(len(points)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    step = end[edge] - start[edge]
    crossing = start[edge, 1] + (row - start[edge, 0]) / step[:, 0] * step[:, 1]
    # every pixel to the right of a crossing changes sides
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    changes = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    return np.cumsum(changes.reshape(rows, columns + 1)[:, :-1], axis=1) % 2 == 1
