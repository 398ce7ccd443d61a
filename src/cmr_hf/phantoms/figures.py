"""What an assessment measures of a heart, known from its equations and not from masks: AHA segments, walls, atria.

Nothing here uses `cmr_hf.clinical`, so that the two can be held against each other. Points are looked up on grids much
finer than any picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .anatomy import Heart
from .places import Phase
from .tissues import Tissue

CAVITY = (Tissue.LV_BLOOD, Tissue.PAPILLARY)
WALL = (Tissue.MYOCARDIUM, Tissue.SCAR, Tissue.NO_REFLOW)
ATRIA = {"la": Tissue.LA_BLOOD, "ra": Tissue.RA_BLOOD}
# segments in the order of the angle from the middle of the septum over inferior, lateral and anterior
_ROUND = {"basal": (3, 4, 5, 6, 1, 2), "mid": (9, 10, 11, 12, 7, 8), "apical": (14, 15, 16, 13)}


def segments_at(heart: Heart, points: Tensor, phase: Phase) -> Tensor:
    """AHA segment in whose sector and third each point lies, wherever it is between base and apex of the cavity.

    The septum's middle is the middle of the right ventricle's attachment; a third is one of the straightened cavity
    (Cerqueira et al., Circulation 2002;105:539).

    Args:
        heart (`Heart`): one heart.
        points (`torch.Tensor` of shape `(n, 3)`): LPS mm.
        phase (`Phase`): the moment.

    Returns:
        uint8 of shape `(n,)`: 1 … 16, 17 beyond the cavity's tip, 0 above the valve plane.
    """
    x, y, z = heart.deformation.straighten(*heart.to_heart(points[None]).unbind(2))
    part = ((z - phase.base_mm[:, None]) / (phase.length_mm * heart.tip_height)[:, None])[0]
    angle = torch.remainder(torch.atan2(y, x)[0] - heart.traits.rv_angle[0], 2 * torch.pi)
    found = torch.zeros(len(points), dtype=torch.uint8, device=points.device)
    for third, numbers in enumerate(_ROUND.values()):
        width = 2 * torch.pi / len(numbers)
        start = width / 2 if len(numbers) == 4 else 0.0  # the apical septum lies round the middle
        sector = ((angle + start) / width).floor().long() % len(numbers)
        here = (part >= third / 3) & (part < (third + 1) / 3)
        found = torch.where(here, torch.tensor(numbers, dtype=torch.uint8, device=points.device)[sector], found)
    return torch.where(part >= 1, torch.full_like(found, 17), found)


def wall_thickness_mm(heart: Heart, affines: np.ndarray, time: float, step_mm: float = 0.5) -> dict[int, float]:
    """Mean thickness of the wall within short-axis planes, per AHA segment 1 … 16 that they cut.

    On the line half way through the wall, the way to the cavity and the way out, in the plane. Planes in which the
    cavity is not wholly enclosed are left out.

    Args:
        heart (`Heart`): one heart.
        affines (`np.ndarray` of shape `(z, 4, 4)`): (column, row, slice) → LPS mm.
        time (`float`): 0 … 1 of the cycle.
        step_mm (`float`): of the grid.
    """
    from scipy import ndimage

    phase = heart.phase(torch.tensor([float(time)]))
    numbers, values = [], []
    for affine in affines:
        points = _grid_in(heart, affine, 75.0, step_mm)
        tissue = _tissue(heart, points.view(-1, 3), phase).view(points.shape[:2]).numpy()
        cavity, wall = np.isin(tissue, CAVITY), np.isin(tissue, WALL)
        if not cavity.any() or (ndimage.binary_dilation(cavity) & ~cavity & ~wall).any():
            continue
        inward = ndimage.distance_transform_edt(~cavity) * step_mm
        outward = ndimage.distance_transform_edt(cavity | wall) * step_mm
        middle = wall & (np.abs(inward - outward) <= step_mm)
        numbers.append(segments_at(heart, points[torch.from_numpy(middle)], phase).numpy())
        values.append((inward + outward)[middle] - step_mm)  # both end half a step before the next pixel's centre
    if not numbers:
        return {}
    number, value = np.concatenate(numbers), np.concatenate(values)
    return {one: float(value[number == one].mean()) for one in range(1, 17) if (number == one).sum() >= 20}


def atrial_areas_cm2(heart: Heart, affine: np.ndarray, time: float, step_mm: float = 1.0) -> dict[str, float]:
    """Area of blood in the left and right atrium ("la", "ra") in a plane.

    Args:
        affine (`np.ndarray` of shape `(4, 4)`): of the plane, (column, row, slice) → LPS mm.
        time (`float`): 0 … 1 of the cycle.
    """
    points = _grid_in(heart, affine, 130.0, step_mm)
    tissue = _tissue(heart, points.view(-1, 3), heart.phase(torch.tensor([float(time)])))
    return {name: float((tissue == one).sum()) * step_mm**2 / 100 for name, one in ATRIA.items()}


def atrial_volumes_ml(heart: Heart, time: float, step_mm: float = 2.0) -> dict[str, float]:
    """Blood in the left and right atrium ("la", "ra"), counted on a grid."""
    middle, half = heart.bounds()
    axes = [torch.arange(-float(reach), float(reach), step_mm) for reach in half[0]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)
    points = grid @ heart.traits.rotation[0].T + middle[0]
    phase = heart.phase(torch.tensor([float(time)]))
    near = heart.to_heart(points[None])[0, :, 2] < phase.base_mm[0] + 30  # the atria lie behind the valve plane
    tissue = _tissue(heart, points[near], phase)
    return {name: float((tissue == one).sum()) * step_mm**3 / 1000 for name, one in ATRIA.items()}


def _grid_in(heart: Heart, affine: np.ndarray, reach_mm: float, step_mm: float) -> Tensor:
    """Points of a plane round where the heart's axis, or its middle, meets it, LPS mm, shape `(n, n, 3)`."""
    column, row = affine[:3, 0] / np.linalg.norm(affine[:3, 0]), affine[:3, 1] / np.linalg.norm(affine[:3, 1])
    normal = np.cross(column, row)
    middle = heart.traits.position_mm[0].double().numpy()
    axis = heart.traits.rotation[0, :, 2].double().numpy()
    along = axis if abs(axis @ normal) > 0.5 else normal
    middle = middle + along * ((affine[:3, 3] - middle) @ normal) / (along @ normal)
    side = np.arange(-reach_mm, reach_mm, step_mm)
    return torch.from_numpy(middle + side[:, None, None] * row + side[None, :, None] * column).float()


def _tissue(heart: Heart, points: Tensor, phase: Phase) -> Tensor:
    """`Tissue` at points `(n, 3)`, shape `(n,)`; air wherever there is no heart."""
    nothing = torch.zeros(1, len(points), dtype=torch.uint8)
    return heart.tissue(points[None], phase, nothing)[0]
