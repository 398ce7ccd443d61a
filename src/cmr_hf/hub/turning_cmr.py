"""How a four-chamber picture is turned before a model sees it, and its masks back.

Scanners store four-chamber views with the apex up or down, left or right, or on their side. Models learnt them as
people look at them: along the columns lies the patient's left, and down the rows what is further back and closer to the
head, so that the apex is up. Where a header places the picture in the patient, it is turned like that.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ALONG_COLUMNS = np.array([1.0, 0.0, 0.0])  # LPS
ALONG_ROWS = np.array([0.0, 1.0, 1.0]) / 2**0.5
LONG_AXIS = np.array([1.0, -1.0, -1.0]) / 3**0.5  # of a usual heart, from base to apex
ACROSS = 0.5  # cosine between that and the normal of a plane, from which on the plane is no long-axis one
ATRIA = ({"la", "left atrium"}, {"ra", "right atrium"})


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay a picture; none of them interpolates.

    Attributes:
        swapped (`bool`): rows and columns are swapped, first.
        flipped (`tuple` of `int`): axes that are mirrored after that, -2 and -1.
    """

    swapped: bool = False
    flipped: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.swapped or bool(self.flipped)

    def of(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures of shape `(…, y, x)` as the model sees them."""
        if not self:
            return pictures
        laid = np.swapaxes(pictures, -2, -1) if self.swapped else pictures
        return np.ascontiguousarray(np.flip(laid, self.flipped))

    def back(self, pictures: np.ndarray) -> np.ndarray:
        """What `of` was given, from what it gave."""
        if not self:
            return pictures
        laid = np.flip(pictures, self.flipped)
        return np.ascontiguousarray(np.swapaxes(laid, -2, -1) if self.swapped else laid)

    def pair(self, pair: tuple) -> tuple:
        """Two numbers (row, column), the spacing or the size of a picture, for the turned one; and back."""
        return tuple(pair)[::-1] if self.swapped else tuple(pair)


def upright(affine: np.ndarray | None) -> Turn:
    """How a four-chamber picture is laid so that its apex is up and the patient's left on the right.

    Args:
        affine (`np.ndarray` of shape `(4, 4)`, *optional*): (column, row, slice) → patient LPS mm; without it nothing
            is turned.
    """
    if affine is None:
        return Turn()
    columns, rows = (np.asarray(affine, dtype=float)[:3, axis] for axis in (0, 1))
    columns, rows = columns / np.linalg.norm(columns), rows / np.linalg.norm(rows)
    as_stored = abs(columns @ ALONG_COLUMNS) + abs(rows @ ALONG_ROWS)
    swapped = bool(abs(rows @ ALONG_COLUMNS) + abs(columns @ ALONG_ROWS) > as_stored)
    if swapped:
        columns, rows = rows, columns
    signs = ((-2, rows @ ALONG_ROWS), (-1, columns @ ALONG_COLUMNS))
    return Turn(swapped, tuple(axis for axis, along in signs if along < 0))


def turn_for(names: Iterable[str], affine: np.ndarray | None) -> Turn:
    """How a picture is turned for a model: `upright` where it knows both atria and the plane is a long-axis one.

    Args:
        names (iterable of `str`): the model's classes.
        affine (`np.ndarray` of shape `(4, 4)`, *optional*): (column, row, slice) → patient LPS mm.
    """
    words = {str(name).lower() for name in names}
    if affine is None or not all(words & atrium for atrium in ATRIA):
        return Turn()
    normal = np.cross(np.asarray(affine, dtype=float)[:3, 0], np.asarray(affine, dtype=float)[:3, 1])
    across = abs(normal @ LONG_AXIS) / np.linalg.norm(normal)
    return Turn() if across > ACROSS else upright(affine)
