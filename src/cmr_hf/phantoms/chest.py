"""What is round the ventricles: atria, great vessels, lungs, liver, stomach, spine, chest wall and arms.

Painted in order, far things first, so that each later shape hides what it covers. Everything is in mm in LPS, but for
the atria, which are in the heart's own frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .tissues import Tissue

if TYPE_CHECKING:
    from .anatomy import Heart, Phase

_WALL_MM = 2.2


def body_tissue(points: Tensor, heart: Heart) -> Tensor:
    """Which `Tissue` is at LPS points of shape `(batch, n, 3)`, heart and vessels left out: uint8 `(batch, n)`."""
    tissue = torch.zeros(points.shape[:2], dtype=torch.uint8, device=points.device)
    _body(tissue, *points.unbind(2), heart)
    return tissue


def paint_vessels_and_atria(tissue: Tensor, points: Tensor, heart: Heart, phase: Phase) -> None:
    """Paints great vessels and atria over `tissue` of shape `(batch, n)`, in place."""
    root2 = _vessels(tissue, points, heart)
    _atria(tissue, points, heart, phase, root2)


def _put(tissue: Tensor, where: Tensor, what: Tissue) -> None:
    tissue.masked_fill_(where, int(what))


def _body(tissue: Tensor, x: Tensor, y: Tensor, z: Tensor, heart: Heart) -> None:
    one = heart.traits
    wave = one.texture
    half_x, half_y = one.chest_mm[:, :1], one.chest_mm[:, 1:]
    fat = one.fat_mm[:, None]
    across, deep = (x / half_x).abs(), (y / half_y)
    outside = (across.pow(2.6) + deep.abs().pow(2.4)).pow(0.4)  # 1 on the skin
    depth = (1 - outside) * half_y  # mm under the skin, roughly
    body = depth > 0
    _put(tissue, body, Tissue.FAT)
    _put(tissue, body & (depth > fat * (0.8 + 0.2 * deep)), Tissue.MUSCLE)
    ribs = torch.sin(z * 0.21 + 2.2 * deep + wave[:, :1])
    middle = fat + 13
    _put(tissue, body & ((depth - middle).abs() < 4) & (ribs > 0.55) & (across > 0.15), Tissue.MARROW)
    cavity = depth > fat + 19
    _put(tissue, cavity, Tissue.LUNG)
    warp = 2.5 * torch.sin(0.043 * y - 0.031 * z + wave[:, 6:7]) + 1.5 * torch.sin(0.071 * x + wave[:, 7:8])
    fibres = torch.sin(0.21 * x + 2 * warp) * torch.sin(0.17 * y + 3 * warp) * torch.sin(0.19 * z + wave[:, 2:3] - warp)
    _put(tissue, cavity & (fibres > 0.82), Tissue.VESSEL)
    middle = ((x - 5 - 3 * warp) / 30).square() + ((y - 25) / 62).square()
    _put(tissue, cavity & (middle < 1), Tissue.FAT)
    _put(
        tissue,
        cavity & (middle < 0.7) & (torch.sin(0.11 * y + warp) * torch.sin(0.06 * z + warp) > 0.25),
        Tissue.MUSCLE,
    )

    # the diaphragm: a dome on each side, hollowed by the heart
    top = one.position_mm[:, 2:] - 44
    right = top + 22 - 0.0035 * ((x + 75).square() + (y - 5).square())
    left = top + 8 - 0.0040 * ((x - 80).square() + (y - 5).square())
    below = cavity & (z < torch.maximum(right, left))
    _put(tissue, below, Tissue.FAT)
    _put(tissue, below & (torch.sin(0.08 * x + warp) * torch.sin(0.09 * y - 0.07 * z + warp) > 0), Tissue.MUSCLE)  # gut
    liver = below & (z < right - 2) & (x < 50 + 0.2 * (z - top) + 8 * torch.sin(0.03 * y + wave[:, 3:4]))
    _put(tissue, liver, Tissue.LIVER)
    cords = (
        torch.sin(0.11 * x + 0.05 * z + warp) * torch.sin(0.1 * y + wave[:, 5:6] + warp) * torch.sin(0.09 * z - warp)
    )
    _put(tissue, liver & (cords > 0.86), Tissue.VESSEL)
    stomach = ((x - 72) / 42).square() + ((y + 8) / 38).square() + ((z - top + 42) / 38).square()
    _put(tissue, below & (stomach < 1), Tissue.MUSCLE)
    _put(tissue, below & (stomach < 0.85), Tissue.STOMACH)
    _put(tissue, below & (stomach < 0.85) & (y < -18), Tissue.AIR)  # the bubble lies in front
    spleen = ((x - 105) / 28).square() + ((y - 48) / 36).square() + ((z - top + 40) / 45).square()
    _put(tissue, below & (spleen < 1), Tissue.SPLEEN)
    _spine(tissue, x, y, z, half_y)
    _arms(tissue, x, y, half_x)


def _spine(tissue: Tensor, x: Tensor, y: Tensor, z: Tensor, half_y: Tensor) -> None:
    back = y - (half_y - 52)
    column = x.square() + back.square()
    _put(tissue, (x.abs() < 42) & (back > 6) & (back < 32), Tissue.MUSCLE)
    _put(tissue, column < 19**2, Tissue.MARROW)
    _put(tissue, (column < 19**2) & (torch.sin(z * 0.25) > 0.93), Tissue.BONE)  # discs
    canal = x.square() + (back - 26).square()
    _put(tissue, canal < 12**2, Tissue.BONE)
    _put(tissue, canal < 9**2, Tissue.FLUID)
    _put(tissue, canal < 5**2, Tissue.MUSCLE)  # the cord
    sternum = ((x / 20).square() + ((y + half_y - 25) / 6).square()) < 1
    _put(tissue, sternum, Tissue.MARROW)


def _arms(tissue: Tensor, x: Tensor, y: Tensor, half_x: Tensor) -> None:
    off = (x.abs() - half_x - 50).square() + (y - 15).square()
    _put(tissue, off < 44**2, Tissue.FAT)
    _put(tissue, off < 36**2, Tissue.MUSCLE)
    _put(tissue, off < 12**2, Tissue.BONE)
    _put(tissue, off < 8**2, Tissue.MARROW)


def aorta_path(heart: Heart) -> Tensor:
    """Points along the middle of the aorta from its root to the abdomen, LPS mm, shape `(batch, 8, 3)`."""
    root = _at(heart, 0.42, -0.58, 2.0)
    steps = [(0, 0, 0), (-12, -5, 26), (-12, -2, 55), (0, 14, 76), (14, 36, 80), (24, 54, 62), (26, 60, 30)]
    path = [root + root.new_tensor(step) for step in steps]
    path.append(path[-1] + root.new_tensor((-6.0, 2.0, -250.0)))
    return torch.stack(path, dim=1)


def pulmonary_path(heart: Heart) -> Tensor:
    """Points along the right outflow tract, the pulmonary trunk and the right pulmonary artery, `(batch, 5, 3)`."""
    start = _at(heart, 0.62, -1.18, 6.0)
    steps = [(0, 0, 0), (8, 8, 22), (16, 24, 34), (-8, 34, 34), (-50, 40, 28)]
    return torch.stack([start + start.new_tensor(step) for step in steps], dim=1)


def _at(heart: Heart, x: float, y: float, below_base_mm: float) -> Tensor:
    """A point of the valve plane at end systole in LPS; x and y in units of the ventricle's radius."""
    radius = heart.traits.edv_ml.clamp(max=200).mul(1000).pow(1 / 3) * 0.5
    place = torch.stack([x * radius, y * radius, heart.rest_base_mm + below_base_mm], dim=1)
    return heart.to_patient(place[:, None])[:, 0]


def _segment_distances2(points: Tensor, path: Tensor) -> Tensor:
    """Squared distance in mm² of points (b, n, 3) to each of k segments of a path (b, k + 1, 3): `(b, k, n)`."""
    start, way = path[:, :-1], path.diff(dim=1)
    turned = points.transpose(1, 2)  # (b, 3, n)
    along = way @ turned - (start * way).sum(2, keepdim=True)
    length2 = way.square().sum(2, keepdim=True)
    place = (along / length2).clamp(0, 1)
    from_start = turned.square().sum(1, keepdim=True) - 2 * start @ turned + start.square().sum(2, keepdim=True)
    return from_start - place * (2 * along - place * length2)


def _vessels(tissue: Tensor, points: Tensor, heart: Heart) -> Tensor:
    """Paints them; returns the squared distance to the aortic root."""
    right_atrium = heart.to_patient(ra_centre(heart)[:, None])[:, 0]
    steps = [(4, 8, 160), (4, 8, 20), (0, 0, 0), (2, 22, -35), (8, 28, -220)]
    cava = torch.stack([right_atrium + right_atrium.new_tensor(step) for step in steps], dim=1)
    for path, radius in ((cava, 10.5), (pulmonary_path(heart), 12.5), (aorta_path(heart), 13.5)):
        each = _segment_distances2(points, path)
        distance2 = each.amin(1)
        _put(tissue, distance2 < (radius + 3) ** 2, Tissue.FAT)
        _put(tissue, distance2 < (radius + 1.5) ** 2, Tissue.THIN_WALL)
        _put(tissue, distance2 < radius**2, Tissue.VESSEL)
    return each[:, 0]


def _la_size(heart: Heart) -> tuple[Tensor, Tensor]:
    scale = (heart.traits.edv_ml.clamp(80, 260) / 140) ** 0.25
    return 25.0 * scale, 22.0 * scale  # towards the septum, inferior


def ra_centre(heart: Heart) -> Tensor:
    """Middle of the right atrium in the heart's frame, mm, shape `(batch, 3)`."""
    side = _la_size(heart)[0] * 0.85 + 29
    return torch.stack([side, torch.full_like(side, 5.0), heart.rest_base_mm - 16], dim=1)


def _atria(tissue: Tensor, points: Tensor, heart: Heart, phase: Phase, root2: Tensor) -> None:
    """Two ellipsoids behind the valve plane whose roofs stay while the plane moves: they fill in systole."""
    x, y, z = heart.to_heart(points).unbind(2)
    base = phase.base_mm[:, None]
    la_x, la_y = _la_size(heart)
    behind = z < base
    for what, centre_x, centre_y, size_x, size_y, depth in (
        (Tissue.RA_BLOOD, ra_centre(heart)[:, 0], 5.0, 27.0, 26.0, 50.0),
        (Tissue.LA_BLOOD, -0.12 * la_x, 7.0, la_x, la_y, 50.0),
    ):
        roof = heart.rest_base_mm[:, None] - depth
        reach = (base - roof) * 0.6
        size_x = size_x[:, None] if isinstance(size_x, Tensor) else size_x
        size_y = size_y[:, None] if isinstance(size_y, Tensor) else size_y
        dx, dy, dz = x - centre_x[:, None], y - centre_y, z - roof - reach
        inside = ((dx / size_x).square() + (dy / size_y).square() + (dz / reach).square()).sqrt()
        outside_mm = (inside - 1) * 22
        _put(tissue, behind & (outside_mm < _WALL_MM + 3), Tissue.FAT)
        _put(tissue, behind & (outside_mm < _WALL_MM), Tissue.THIN_WALL)
        _put(tissue, behind & (inside < 1), what)
    # the aortic root lies in front of the left atrium
    _put(tissue, behind & (root2 < 15.5**2), Tissue.THIN_WALL)
    _put(tissue, behind & (root2 < 13.5**2), Tissue.VESSEL)
