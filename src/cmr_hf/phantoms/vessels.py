"""The great vessels and the atria they belong to: paths in the patient, ellipsoids in the heart's own frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .tissues import Tissue

if TYPE_CHECKING:
    from .anatomy import Heart
    from .places import Phase

_WALL_MM = 2.2
_FAT_MM = 7.0  # round the great vessels above the heart, where they would else run through lung; a third beside it


def _put(tissue: Tensor, where: Tensor, what: Tissue) -> None:
    tissue.masked_fill_(where, int(what))


def aorta_path(heart: Heart) -> Tensor:
    """Points along the middle of the aorta from its root to the abdomen, LPS mm, shape `(batch, 8, 3)`."""
    root = _at(heart, 0.64, -0.36, 2.0)
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


def paint_great_vessels(tissue: Tensor, points: Tensor, heart: Heart) -> None:
    """Caval veins, pulmonary artery and aorta over `tissue` of shape `(b, n)`, in place."""
    right_atrium = heart.to_patient(ra_centre(heart)[:, None])[:, 0]
    steps = [(4, 8, 160), (4, 8, 20), (0, 0, 0), (2, 22, -35), (8, 28, -220)]
    cava = torch.stack([right_atrium + right_atrium.new_tensor(step) for step in steps], dim=1)
    for path, radius in ((cava, 10.5), (pulmonary_path(heart), 12.0), (aorta_path(heart), 12.5)):
        near = _near(points, path, radius + _FAT_MM)
        if not len(near):
            continue
        few = tissue[:, near]
        distance2 = _segment_distances2(points[:, near], path).amin(1)
        above = ((points[:, near, 2] - heart.traits.position_mm[:, 2:] - 25) / 20).clamp(0, 1)
        fat = _FAT_MM * (1 + 2 * above) / 3
        _put(few, (few == Tissue.LUNG) & (distance2 < (radius + fat).square()), Tissue.FAT)
        _put(few, distance2 < (radius + 1) ** 2, Tissue.THIN_WALL)
        _put(few, distance2 < radius**2, Tissue.VESSEL)
        tissue[:, near] = few


def _near(points: Tensor, path: Tensor, radius: float) -> Tensor:
    """Indices of the points that lie in the box round a path in any of the batch."""
    low, high = path.amin(1, keepdim=True) - radius, path.amax(1, keepdim=True) + radius
    return torch.nonzero(((points > low) & (points < high)).all(2).any(0)).flatten()


def _la_size(heart: Heart) -> tuple[Tensor, Tensor, Tensor]:
    """Half the left atrium towards the septum and inferior, and its depth behind the valve, mm: from flat, before the
    spine, to large and round."""
    scale, own = (heart.traits.edv_ml.clamp(80, 260) / 140) ** 0.25, heart.numbers(35, 3)
    return (
        27.0 * scale * (0.8 + 0.4 * own[:, 0]),
        25.0 * scale * (0.8 + 0.4 * own[:, 1]),
        42.0 * scale * (0.7 + 0.5 * own[:, 2]),
    )


def _ra_size(heart: Heart) -> tuple[Tensor, Tensor, Tensor]:
    """The same of the right atrium."""
    own = 0.75 + 0.5 * heart.numbers(35, 6)[:, 3:]
    return 26.0 * own[:, 0], 25.0 * own[:, 1], 40.0 * own[:, 2]


def tricuspid_angle(heart: Heart) -> Tensor:
    """Angle in radians, from the septum's direction to inferior, at which the middle of the tricuspid valve lies,
    shape `(batch,)`: below the middle of the right ventricle, whose upper part is the outflow tract."""
    return heart.traits.rv_angle + 0.5


def ra_centre(heart: Heart) -> Tensor:
    """Middle of the right atrium in the heart's frame, mm, shape `(batch, 3)`."""
    own = heart.numbers(35, 8)
    side = 0.62 * _la_size(heart)[0] + _ra_size(heart)[0] + 5 * own[:, 6] - 3  # side by side, whatever their sizes
    angle = tricuspid_angle(heart) + 0.2 * (own[:, 7] - 0.5)
    return torch.stack([side * angle.cos(), side * angle.sin(), heart.rest_base_mm - 12], dim=1)


def paint_atria(
    tissue: Tensor, points: Tensor, straight: tuple[Tensor, Tensor, Tensor], heart: Heart, phase: Phase
) -> None:
    """Paints both atria and the aortic root over `tissue` of shape `(batch, n)`, in place.

    Two ellipsoids behind the valve plane whose roofs stay while the plane moves: they fill in systole, to some 5 cm
    from valve to roof. Where they meet there is a septum and nothing else.

    Args:
        points (`torch.Tensor` of shape `(batch, n, 3)`): LPS mm.
        straight (three `torch.Tensor` of shape `(batch, n)`): the same in the regular heart's frame.
    """
    x, y, z = straight
    base = phase.base_mm[:, None]
    la_x, la_y, la_depth = _la_size(heart)
    ra_x, ra_y, ra_depth = _ra_size(heart)
    right = ra_centre(heart)
    behind = z < base
    outside = []  # mm outside the left and the right one, about
    for centre_x, centre_y, size_x, size_y, depth in (
        (-0.3 * la_x, torch.full_like(la_x, 4.0), la_x, la_y, la_depth),
        (right[:, 0], right[:, 1], ra_x, ra_y, ra_depth),
    ):
        roof = heart.rest_base_mm[:, None] - depth[:, None]
        reach = (base - roof) * 0.6
        wide = 0.72 + 0.16 * reach / 24  # fuller in systole
        dx, dy, dz = x - centre_x[:, None], y - centre_y[:, None], z - roof - reach
        across = (dx / size_x[:, None]).square() + (dy / size_y[:, None]).square()
        outside.append(((across / wide.square() + (dz / reach).square()).sqrt() - 1) * 22)
    left, right = outside
    either = torch.minimum(left, right)
    _put(tissue, behind & (either < _WALL_MM + 2.5), Tissue.FAT)
    _put(tissue, behind & (either < _WALL_MM), Tissue.THIN_WALL)
    _put(tissue, behind & (left < 0) & (left < right - 1.3), Tissue.LA_BLOOD)
    _put(tissue, behind & (right < 0) & (right < left - 1.3), Tissue.RA_BLOOD)
    # the aortic root lies in front of the left atrium
    path = aorta_path(heart)
    root2 = _segment_distances2(points, path[:, :2])[:, 0]
    _put(tissue, behind & (root2 < 14.0**2), Tissue.THIN_WALL)
    _put(tissue, behind & (root2 < 12.5**2), Tissue.VESSEL)
