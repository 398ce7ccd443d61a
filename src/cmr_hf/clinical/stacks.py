"""Where the slices of a stack lie: positions in mm, gaps, the way to the apex, pixels to patient space and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..hub.classifying_cmr import TO_APEX

CLEAR = 0.5  # cosine between the stack and the usual long axis, from which on its direction is believed
GAP = 1.5  # times the usual distance between slices: wider is a gap
SAME_MM = 0.1  # nearer slices lie at one place
PARALLEL = 1e-3


@dataclass(frozen=True)
class Stack:
    """The grid of parallel slices, in any order.

    Attributes:
        spacing_mm (two `float`): distance of rows and of columns.
        positions_mm (`np.ndarray` of shape `(z,)`): of the slice centres along the normal (row × column if there are
            affines), slice by slice as they are stored; gaps and all.
        affines (`np.ndarray` of shape `(z, 4, 4)`, *optional*): (column, row, slice) → patient LPS mm, per slice.
        thickness_mm (`float`, *optional*): of the slices.
        nominal_mm (`float`, *optional*): distance of neighbouring slices; by default the median one.

    Raises:
        ValueError: a spacing that is not positive, slices at one place, or slices that are not parallel.
    """

    spacing_mm: tuple[float, float]
    positions_mm: np.ndarray
    affines: np.ndarray | None = None
    thickness_mm: float | None = None
    nominal_mm: float | None = None

    def __post_init__(self) -> None:
        spacing = tuple(float(one) for one in self.spacing_mm)
        if len(spacing) != 2 or not all(np.isfinite(one) and one > 0 for one in spacing):
            raise ValueError(
                f"`spacing_mm` needs two positive numbers (row, column) in mm, got {self.spacing_mm!r}: "
                "read it from PixelSpacing"
            )
        positions = np.asarray(self.positions_mm, dtype=float)
        if positions.ndim != 1 or not positions.size or not np.isfinite(positions).all():
            raise ValueError(f"`positions_mm` needs one finite number a slice, got {self.positions_mm!r}: pass mm")
        steps = np.diff(np.sort(positions))
        if steps.size and steps.min() < SAME_MM:
            raise ValueError(
                f"`positions_mm` needs slices at different places, got two {steps.min():.2f} mm apart: keep one of them"
            )
        object.__setattr__(self, "spacing_mm", spacing)
        object.__setattr__(self, "positions_mm", positions)
        if self.affines is not None:
            object.__setattr__(self, "affines", self._checked(np.asarray(self.affines, dtype=float)))

    def _checked(self, affines: np.ndarray) -> np.ndarray:
        if affines.shape != (len(self.positions_mm), 4, 4) or not np.isfinite(affines).all():
            raise ValueError(f"`affines` needs shape (slices, 4, 4), got {affines.shape}: pass one for each slice")
        axes = affines[:, :3, :2]
        if np.abs(axes - axes[:1]).max() > PARALLEL * np.linalg.norm(axes[0], axis=0).max():
            raise ValueError("`affines` need one orientation and spacing, got several: measure each stack by itself")
        return affines

    @classmethod
    def regular(
        cls,
        spacing_mm: Sequence[float],
        slices: int,
        slice_distance_mm: float = 10.0,
        affine: np.ndarray | None = None,
        thickness_mm: float | None = None,
    ) -> "Stack":
        """Equally spaced slices.

        Args:
            slices (`int`): how many.
            slice_distance_mm (`float`): centre to centre; the third column of `affine` is used where there is one.
            affine (`np.ndarray` of shape `(4, 4)`, *optional*): (column, row, slice) → LPS mm, as `CMRImage.affine`.
        """
        if affine is None:
            return cls(tuple(spacing_mm), np.arange(slices) * float(slice_distance_mm), None, thickness_mm)
        affines = np.repeat(np.asarray(affine, dtype=float)[None], slices, axis=0)
        affines[:, :3, 3] += np.arange(slices)[:, None] * affines[:, :3, 2]
        return cls.of_affines(affines, thickness_mm)

    @classmethod
    def of_affines(
        cls, affines: np.ndarray, thickness_mm: float | None = None, nominal_mm: float | None = None
    ) -> "Stack":
        """Slices of one (4, 4) affine each, in any order."""
        affines = np.asarray(affines, dtype=float)
        if affines.ndim != 3 or affines.shape[1:] != (4, 4):
            raise ValueError(f"`affines` needs shape (slices, 4, 4), got {affines.shape}: pass one for each slice")
        column, row = affines[0, :3, 0], affines[0, :3, 1]
        normal = np.cross(column, row)
        spacing = float(np.linalg.norm(row)), float(np.linalg.norm(column))
        positions = affines[:, :3, 3] @ (normal / np.linalg.norm(normal))
        return cls(spacing, positions, affines, thickness_mm, nominal_mm)

    def __len__(self) -> int:
        return len(self.positions_mm)

    @property
    def order(self) -> np.ndarray:
        """Slice indices along the normal, shape `(z,)`."""
        return np.argsort(self.positions_mm)

    @property
    def distance_mm(self) -> float | None:
        """Usual distance between neighbouring slices, centre to centre; `None` for one slice of unknown distance."""
        if self.nominal_mm is not None:
            return float(self.nominal_mm)
        if len(self) < 2:
            return None
        return float(np.median(np.diff(np.sort(self.positions_mm))))

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel."""
        return self.spacing_mm[0] * self.spacing_mm[1]

    @property
    def pixel_mm(self) -> float:
        """Side of a square of a pixel's area."""
        return self.pixel_mm2**0.5

    def gaps(self) -> list[tuple[int, int, float]]:
        """Neighbours that lie more than 1.5 times the usual distance apart: (slice, slice, mm), along the normal."""
        order = self.order
        steps = np.diff(self.positions_mm[order])
        wide = np.flatnonzero(steps > GAP * (self.distance_mm or np.inf))
        return [(int(order[k]), int(order[k + 1]), float(steps[k])) for k in wide]

    def weights_mm(self) -> np.ndarray:
        """How much of the long axis each slice stands for, shape `(z,)`.

        The trapezoid of the areas over the positions, plus half the usual distance beyond either end: for equal steps
        every weight is the distance of the slices, and a gap is filled by the mean of its two neighbours.
        """
        if self.distance_mm is None:
            raise ValueError("`positions_mm` needs two slices or more, got one: one slice is not a volume")
        order = self.order
        steps = np.concatenate(([self.distance_mm], np.diff(self.positions_mm[order]), [self.distance_mm]))
        weights = np.empty(len(self))
        weights[order] = (steps[:-1] + steps[1:]) / 2
        return weights

    @property
    def normal(self) -> np.ndarray | None:
        """Unit normal, row × column, LPS; `None` without affines."""
        if self.affines is None:
            return None
        normal = np.cross(self.affines[0, :3, 0], self.affines[0, :3, 1])
        return normal / np.linalg.norm(normal)

    @property
    def toward_apex(self) -> int | None:
        """1 where positions grow towards the apex, -1 where they fall, `None` where patient space does not tell.

        An apex points to the left, the front and down; a plane along that direction says nothing about it. Situs
        inversus is beyond this rule.
        """
        if self.normal is None:
            return None
        cosine = float(self.normal @ TO_APEX)
        return None if abs(cosine) < CLEAR else (1 if cosine > 0 else -1)

    def to_patient(self, index: int, points: np.ndarray) -> np.ndarray:
        """(row, column) of shape `(…, 2)` in a slice → LPS mm of shape `(…, 3)`."""
        if self.affines is None:
            raise ValueError("`affines` are needed for patient space, got none: pass the affine of the source")
        points = np.asarray(points, dtype=float)
        affine = self.affines[index]
        return points[..., 1:] * affine[:3, 0] + points[..., :1] * affine[:3, 1] + affine[:3, 3]

    def to_pixels(self, index: int, points: np.ndarray) -> np.ndarray:
        """LPS mm of shape `(…, 3)` → (row, column) of their feet on a slice, shape `(…, 2)`."""
        if self.affines is None:
            raise ValueError("`affines` are needed for patient space, got none: pass the affine of the source")
        affine = self.affines[index]
        away = np.asarray(points, dtype=float) - affine[:3, 3]
        row_mm, column_mm = self.spacing_mm
        return np.stack((away @ affine[:3, 1] / row_mm**2, away @ affine[:3, 0] / column_mm**2), axis=-1)


def base_to_apex(stack: Stack, areas_mm2: np.ndarray) -> tuple[np.ndarray, str]:
    """Slice indices from base to apex, and how that is known.

    Args:
        areas_mm2 (`np.ndarray` of shape `(z,)`): of the left ventricle (cavity and wall), for stacks whose patient
            space does not tell: the half with the larger ones is the base.

    Returns:
        Indices of shape `(z,)`, and "patient space", "areas" or "" where neither tells.
    """
    order, direction = stack.order, stack.toward_apex
    if direction is not None:
        return order[::direction], "patient space"
    filled = order[np.asarray(areas_mm2)[order] > 0]
    if len(filled) < 3:
        return order, ""
    half = len(filled) // 2
    first, last = np.mean(areas_mm2[filled[:half]]), np.mean(areas_mm2[filled[-half:]])
    return (order if first >= last else order[::-1]), "areas"
