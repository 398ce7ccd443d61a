"""Where the septum lies in a stack that does not show it, from another stack of the same heart, in patient space.

Masks of late enhancement and maps hold no RV, and there may be no model for insertion points: then two points are put
60° to either side of the septum's middle as the cine shows it. They are as sure as the cine's own, and it is said.
"""

import numpy as np

from ..clinical.segments import STRAY_DEG, SegmentMap
from ..clinical.stacks import Stack
from ..clinical.volumes import LV, MYOCARDIUM, SCAR

RADIUS_MM = 30.0
HALF_SEPTUM = np.pi / 3
NEAR = 0.9  # cosine between the planes


def borrowed_insertions(
    labels: np.ndarray, stack: Stack, lender: SegmentMap | None, lender_stack: Stack | None
) -> np.ndarray | None:
    """Insertion points for a stack, made from the segments of another one.

    Args:
        labels (`np.ndarray` of shape `(z, y, x)`): of the stack that needs them.
        stack (`Stack`): where its slices lie.
        lender (`SegmentMap`, *optional*), lender_stack (`Stack`, *optional*): of the cine.

    Returns:
        (row, column) of the anterior and the inferior point in every slice, shape `(z, 2, 2)`, NaN where there is no
        LV; `None` where nothing can be borrowed.
    """
    if not lender or lender_stack is None or stack.normal is None or lender_stack.normal is None:
        return None
    if abs(float(stack.normal @ lender_stack.normal)) < NEAR:
        return None
    points = np.full((len(stack), 2, 2), np.nan)
    for z, one in enumerate(labels):
        heart = np.argwhere(np.isin(one, (LV, MYOCARDIUM, SCAR)))
        if not len(heart):
            continue
        centre = heart.mean(axis=0)
        nearest = _nearest(stack, z, centre, lender, lender_stack)
        if nearest is None:
            return None
        middle = _in_plane(stack, _to_patient(lender_stack, lender.septum[nearest]))
        across = lender.turn * np.array([-lender.septum[nearest][1], lender.septum[nearest][0]])
        anterior = _in_plane(stack, _to_patient(lender_stack, across))
        for k, side in enumerate((1, -1)):
            away = np.cos(HALF_SEPTUM) * middle + side * np.sin(HALF_SEPTUM) * anterior
            points[z, k] = centre + RADIUS_MM * away / stack.spacing_mm
    return points


def agreeing_insertions(
    own: np.ndarray, borrowed: np.ndarray, labels: np.ndarray, stack: Stack
) -> tuple[np.ndarray, tuple[int, ...]]:
    """A stack's own insertion points, but those of the cine where there are none or they show another septum.

    Args:
        own, borrowed (`np.ndarray` of shape `(z, 2, 2)`): (row, column); NaN where there is none.
        labels (`np.ndarray` of shape `(z, y, x)`)
        stack (`Stack`): where its slices lie.

    Returns:
        Points, and the slices (from 0) whose own septum lies more than `STRAY_DEG` from the cine's.
    """
    points, strays = own.copy(), []
    for z, one in enumerate(labels):
        if not (np.isfinite(own[z]).all() and np.isfinite(borrowed[z]).all()):
            points[z] = borrowed[z] if np.isfinite(borrowed[z]).all() else own[z]
            continue
        centre = np.argwhere(np.isin(one, (LV, MYOCARDIUM, SCAR))).mean(axis=0)
        away = (np.stack((own[z], borrowed[z])) - centre) * stack.spacing_mm
        units = away / np.maximum(np.linalg.norm(away, axis=2, keepdims=True), 1e-9)
        middles = units.sum(axis=1)
        cosine = middles[0] @ middles[1] / max(np.linalg.norm(middles[0]) * np.linalg.norm(middles[1]), 1e-9)
        if cosine < np.cos(np.deg2rad(STRAY_DEG)):
            points[z] = borrowed[z]
            strays.append(z)
    return points, tuple(strays)


def _nearest(stack: Stack, z: int, centre: np.ndarray, lender: SegmentMap, lender_stack: Stack) -> int | None:
    """The lender's slice with a known septum that lies nearest along the axis."""
    known = np.flatnonzero(np.isfinite(lender.septum).all(axis=1))
    if not known.size:
        return None
    place = float(stack.to_patient(z, centre) @ lender_stack.normal)
    return int(known[np.abs(lender_stack.positions_mm[known] - place).argmin()])


def _to_patient(stack: Stack, direction: np.ndarray) -> np.ndarray:
    """A (row, column) direction in mm as LPS."""
    affine = stack.affines[0]
    row, column = affine[:3, 1] / stack.spacing_mm[0], affine[:3, 0] / stack.spacing_mm[1]
    return direction[0] * row + direction[1] * column


def _in_plane(stack: Stack, direction: np.ndarray) -> np.ndarray:
    """An LPS direction as a unit (row, column) direction in mm."""
    affine = stack.affines[0]
    made = np.array([direction @ affine[:3, 1] / stack.spacing_mm[0], direction @ affine[:3, 0] / stack.spacing_mm[1]])
    return made / np.linalg.norm(made)
