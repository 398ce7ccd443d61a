"""What is round the ventricles: atria, great vessels, lungs, liver, stomach, spine, chest wall and arms.

Painted in order, far things first, so that each later shape hides what it covers. Everything is in mm in LPS, but for
the atria, which are in the heart's own frame. Smooth random fields bend every outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .noise import noise_at, smooth_noise_at
from .tissues import Tissue

if TYPE_CHECKING:
    from .anatomy import Heart, Phase

_WALL_MM = 2.2


def body_tissue(points: Tensor, heart: Heart) -> Tensor:
    """Which `Tissue` is at LPS points of shape `(batch, n, 3)`, ventricles and atria left out: uint8 `(batch, n)`."""
    tissue = torch.zeros(points.shape[:2], dtype=torch.uint8, device=points.device)
    x, y, z = points.unbind(2)
    place = 150 * heart.traits.habitus[:, 7:8]
    wide, detail = smooth_noise_at(points, 75.0, place), smooth_noise_at(points, 26.0, place)
    field = _Field(*wide, *detail, noise_at(x, y, z, 9.0, place))
    _walls(tissue, x, y, z, heart, field)
    _mediastinum(tissue, points, heart, field)
    _abdomen(tissue, x, y, z, heart, field)
    _spine(tissue, x, y, z, heart.traits.chest_mm[:, 1:])
    _arms(tissue, x, y, heart.traits.chest_mm[:, :1])
    _vessels(tissue, points, heart)
    return tissue


@dataclass
class _Field:
    """Irregularities of SD 1 at the points, each of shape `(batch, n)`: two wide, two of organs' detail, one fine."""

    wide: Tensor
    other: Tensor
    detail: Tensor
    second: Tensor
    fine: Tensor

    def tubes(self, width: Tensor | float) -> Tensor:
        """Where thin branching tubes run; `width` in units of the fields, 0.2 for fine ones."""
        return self.detail.square() + self.second.square() < width * width


def _put(tissue: Tensor, where: Tensor, what: Tissue) -> None:
    tissue.masked_fill_(where, int(what))


def _walls(tissue: Tensor, x: Tensor, y: Tensor, z: Tensor, heart: Heart, field: _Field) -> None:
    """Skin, fat, muscle and ribs, and the lungs with their vessels."""
    one = heart.traits
    half_x, half_y = one.chest_mm[:, :1], one.chest_mm[:, 1:]
    across, deep = (x / half_x).abs(), (y / half_y)
    outside = (across.pow(2.6) + deep.abs().pow(2.4)).pow(0.4)  # 1 on the skin
    depth = (1 - outside) * half_y + 3 * field.wide  # mm under the skin, roughly
    fat = one.fat_mm[:, None] * (0.8 + 0.2 * deep)
    _put(tissue, depth > 0, Tissue.MUSCLE)
    _put(tissue, depth > 1.5, Tissue.FAT)
    _put(tissue, depth > fat + 0.8 * field.detail, Tissue.MUSCLE)
    streaks = (torch.sin(0.5 * depth + 1.5 * field.wide) + 0.35 * field.detail > 0.92) & (depth > fat + 3)
    _put(tissue, streaks, Tissue.FAT)
    ribs = torch.sin(z * 0.21 + 2.2 * deep + 0.5 * field.other + one.texture[:, :1])
    near = (depth - fat - 12).abs() + 3 * (1 - ribs).clamp(max=2)
    beside = across > 0.12
    _put(tissue, (near < 5.5) & beside, Tissue.BONE)
    _put(tissue, (near < 4) & beside, Tissue.MARROW)
    wall = fat + 18 + 1.5 * field.other
    _put(tissue, depth > wall - 2.5, Tissue.FAT)
    _put(tissue, depth > wall, Tissue.LUNG)
    hilum = ((x - 10).square() + (y - 15).square() + (z - 25).square()).sqrt()
    _put(tissue, (depth > wall) & field.tubes(0.05 + 0.3 * (-hilum / 45).exp() + 0.03 * field.fine), Tissue.VESSEL)


def _mediastinum(tissue: Tensor, points: Tensor, heart: Heart, field: _Field) -> None:
    """Fat, nodes and small vessels between the lungs, and the fat pad round the heart."""
    one = heart.traits
    x, y, z = points.unbind(2)
    lung = (tissue == int(Tissue.LUNG)) | (tissue == int(Tissue.VESSEL))
    middle = ((x - 5 - 8 * field.wide) / 30).square() + ((y - 25) / 62).square()
    _put(tissue, lung & (middle < 1), Tissue.FAT)
    _put(tissue, lung & (middle < 0.8) & (field.detail > 0.5), Tissue.MUSCLE)
    _put(tissue, lung & (middle < 0.9) & field.tubes(0.3), Tissue.VESSEL)
    right, behind, along = heart.to_heart(points).unbind(2)
    pad = ((right - 24) / 54).square() + (behind / 48).square() + ((along - 4) / 62).square()
    size = 0.9 + 0.35 * one.habitus[:, 6:7] + 0.2 * field.wide + 0.05 * field.detail + 0.006 * (right + 0.6 * behind)
    _put(tissue, lung & (pad < size), Tissue.FAT)
    _put(tissue, lung & (pad < size) & (field.second > 1.2) & (field.fine > -0.5), Tissue.MUSCLE)


def _abdomen(tissue: Tensor, x: Tensor, y: Tensor, z: Tensor, heart: Heart, field: _Field) -> None:
    """The diaphragm, on which the heart lies, and liver, stomach, spleen and gut under it."""
    one = heart.traits
    inside = (tissue == int(Tissue.LUNG)) | (tissue == int(Tissue.VESSEL)) | (tissue == int(Tissue.FAT))
    inside &= ((x / (one.chest_mm[:, :1] - 25)).square() + (y / (one.chest_mm[:, 1:] - 25)).square()) < 1
    top = one.position_mm[:, 2:] - 36 + 6 * one.habitus[:, 5:6]
    right = top + 20 - 0.0035 * ((x + 70).square() + (y - 5).square()) + 3 * field.wide
    left = top + 12 - 0.0040 * ((x - 70).square() + (y - 5).square()) + 3 * field.other
    roof = torch.maximum(right, left)
    below = inside & (z < roof)
    _put(tissue, below, Tissue.MUSCLE)
    below &= z < roof - 2.5
    _put(tissue, below, Tissue.FAT)
    _put(tissue, below & (field.wide + 0.5 * field.detail > 0.1), Tissue.GUT)
    _put(tissue, below & (field.wide + 0.5 * field.detail > 0.9) & (field.second > 0), Tissue.STOMACH)
    _put(tissue, below & (field.wide + 0.5 * field.second > 1.4), Tissue.AIR)
    edge = 45 + 30 * one.habitus[:, 4:5] + 0.2 * (z - top) + 12 * field.other
    liver = below & (z < right + 6) & (x < edge)
    _put(tissue, liver, Tissue.LIVER)
    _put(tissue, liver & field.tubes(0.11), Tissue.VESSEL)
    low = top - 30 + 8 * one.habitus[:, 2:3]
    stomach = ((x - 68) / 40).square() + ((y + 8) / 38).square() + ((z - low) / 36).square() + 0.12 * field.detail
    _put(tissue, below & (stomach < 1), Tissue.GUT)
    inner = below & (stomach < 0.8 + 0.05 * field.fine)
    _put(tissue, inner, Tissue.STOMACH)
    _put(tissue, inner & (y < -18 + 25 * one.habitus[:, 3:4]), Tissue.AIR)  # the bubble lies in front
    spleen = ((x - 105) / 28).square() + ((y - 48) / 36).square() + ((z - top + 32) / 45).square() + 0.1 * field.detail
    _put(tissue, below & (spleen < 1), Tissue.SPLEEN)


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


def _vessels(tissue: Tensor, points: Tensor, heart: Heart) -> None:
    """Caval veins, pulmonary artery and aorta."""
    right_atrium = heart.to_patient(ra_centre(heart)[:, None])[:, 0]
    steps = [(4, 8, 160), (4, 8, 20), (0, 0, 0), (2, 22, -35), (8, 28, -220)]
    cava = torch.stack([right_atrium + right_atrium.new_tensor(step) for step in steps], dim=1)
    for path, radius in ((cava, 10.5), (pulmonary_path(heart), 12.5), (aorta_path(heart), 13.5)):
        distance2 = _segment_distances2(points, path).amin(1)
        _put(tissue, distance2 < (radius + 3) ** 2, Tissue.FAT)
        _put(tissue, distance2 < (radius + 1.5) ** 2, Tissue.THIN_WALL)
        _put(tissue, distance2 < radius**2, Tissue.VESSEL)


def _la_size(heart: Heart) -> tuple[Tensor, Tensor]:
    scale = (heart.traits.edv_ml.clamp(80, 260) / 140) ** 0.25
    return 25.0 * scale, 22.0 * scale  # towards the septum, inferior


def ra_centre(heart: Heart) -> Tensor:
    """Middle of the right atrium in the heart's frame, mm, shape `(batch, 3)`."""
    side = _la_size(heart)[0] * 0.85 + 29
    return torch.stack([side, torch.full_like(side, 5.0), heart.rest_base_mm - 16], dim=1)


def paint_atria(
    tissue: Tensor, points: Tensor, straight: tuple[Tensor, Tensor, Tensor], heart: Heart, phase: Phase
) -> None:
    """Paints both atria and the aortic root over `tissue` of shape `(batch, n)`, in place.

    Two ellipsoids behind the valve plane whose roofs stay while the plane moves: they fill in systole.

    Args:
        points (`torch.Tensor` of shape `(batch, n, 3)`): LPS mm.
        straight (three `torch.Tensor` of shape `(batch, n)`): the same in the regular heart's frame.
    """
    x, y, z = straight
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
    path = aorta_path(heart)
    root2 = _segment_distances2(points, path[:, :2])[:, 0]
    _put(tissue, behind & (root2 < 15.5**2), Tissue.THIN_WALL)
    _put(tissue, behind & (root2 < 13.5**2), Tissue.VESSEL)
