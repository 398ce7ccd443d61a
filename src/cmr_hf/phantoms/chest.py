"""What is round the ventricles: chest wall, lungs, the space between them, spine and arms.

Painted in order, far things first, so that each later shape hides what it covers. Everything is in mm in LPS. Smooth
random fields bend every outline; the layers of the wall follow one curve, and each organ ends where its neighbour
begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .abdomen import paint_abdomen
from .noise import noise_at, smooth_noise_at
from .tissues import Tissue
from .trees import vessel_distance
from .vessels import paint_great_vessels

if TYPE_CHECKING:
    from .anatomy import Heart


_UNEVEN_MM = 12.0  # more than any outline of the wall strays from its mean


@dataclass
class Fields:
    """Irregularities of SD 1 at the points, each of shape `(batch, n)`: two wide, two of organs' detail, one fine."""

    wide: Tensor
    other: Tensor
    detail: Tensor
    second: Tensor
    fine: Tensor

    def select(self, index: Tensor) -> Fields:
        """The fields at the points of these places."""
        return Fields(*(getattr(self, one.name)[:, index] for one in fields(self)))


def body_tissue(points: Tensor, heart: Heart, margin_mm: float = 0.0) -> Tensor:
    """Which `Tissue` is at LPS points of shape `(batch, n, 3)`, ventricles and atria left out: uint8 `(batch, n)`.

    Vessels of lung and liver are wider by `margin_mm`, so that a coarse grid misses none.
    """
    tissue = torch.zeros(points.shape[:2], dtype=torch.uint8, device=points.device)
    x = points[..., 0]
    chest = heart.traits.chest_mm
    y = upright(points, heart)
    skin = skin_depth(x, y, chest)
    with _part(tissue, skin > -_UNEVEN_MM) as (few, near):
        _trunk(few, points[:, near], y[:, near], skin[:, near], heart, margin_mm)
    with _part(tissue, x.abs() > chest[:, :1] + 4) as (few, near):
        _arms(few, x[:, near], y[:, near], chest[:, :1])
    return tissue


def upright(points: Tensor, heart: Heart) -> Tensor:
    """How far behind the middle of the body points of shape `(b, n, 3)` lie, mm, as if its front were upright: the
    breastbone falls back towards the neck, the back does not."""
    one = heart.traits
    y = points[..., 1] - heart.front_mm[:, None]
    slope = 0.30 + 0.14 * one.habitus[:, 0:1]
    front = (0.5 - 0.6 * y / one.chest_mm[:, 1:]).clamp(0, 1)
    return y - slope * front * (points[..., 2] - one.position_mm[:, 2:]).clamp(-90, 90)


def _trunk(tissue: Tensor, points: Tensor, y: Tensor, skin: Tensor, heart: Heart, margin_mm: float) -> None:
    """Paints what is under the skin, whose depth is `skin` on average, over `tissue` of shape `(b, n)`, in place; `y`
    is that of `upright`."""
    x, z = points[..., 0], points[..., 2]
    place = 150 * heart.traits.habitus[:, 7:8]
    wide, detail = smooth_noise_at(points, 85.0, place), smooth_noise_at(points, 27.0, place)
    field = Fields(*wide, *detail, noise_at(x, points[..., 1], z, 9.0, place))
    inner = _wall(tissue, x, y, z, skin + 2.5 * field.wide, heart, field)
    with _part(tissue, inner > 0) as (few, near):
        part = field.select(near)
        inside = inner[:, near] > 0
        _lungs(few, inside, points[:, near], heart, part, margin_mm)
        _between(few, inside, points[:, near], y[:, near], inner[:, near], heart, part)
    low = (inner > 0) & (z < heart.traits.position_mm[:, 2:] + 15)  # nothing of the diaphragm is higher
    with _part(tissue, low) as (few, near):
        paint_abdomen(few, points[:, near], inner[:, near] > 0, heart, field.select(near), margin_mm)
    with _part(tissue, (x.abs() < 46) & (y > heart.traits.chest_mm[:, 1:] - 60)) as (few, near):
        _spine(few, x[:, near], y[:, near], z[:, near], heart, field.select(near))
    paint_great_vessels(tissue, points, heart)


@contextmanager
def _part(tissue: Tensor, where: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The columns of `tissue` where any of the batch is `where`, to paint on and put back, and their places."""
    near = torch.nonzero(where.any(0)).flatten()
    few = tissue[:, near]
    yield few, near
    tissue[:, near] = few


def _put(tissue: Tensor, where: Tensor, what: Tissue) -> None:
    tissue.masked_fill_(where, int(what))


def skin_depth(x: Tensor, y: Tensor, chest_mm: Tensor) -> Tensor:
    """How deep in mm a point lies under the skin, roughly; y counts from the middle of the body."""
    half_x, half_y = chest_mm[:, :1], chest_mm[:, 1:]
    outside = ((x / half_x).abs().pow(2.6) + (y / half_y).abs().pow(2.4)).pow(0.4)  # 1 on the skin
    return (1 - outside) * half_y


def wall_mm(heart: Heart) -> Tensor:
    """Mean thickness of the chest's wall in mm, shape `(b, 1)`."""
    return heart.traits.fat_mm[:, None] * 0.8 + 17


def _wall(tissue: Tensor, x: Tensor, y: Tensor, z: Tensor, depth: Tensor, heart: Heart, field: Fields) -> Tensor:
    """Skin, fat, two layers of muscle and the ribs between them, from the `depth` in mm under the skin; how deep in mm
    what is inside lies, negative in the wall."""
    one = heart.traits
    own = heart.numbers(30, 8)[..., None]
    deep = y / one.chest_mm[:, 1:]
    fat = one.fat_mm[:, None] * (0.8 + 0.15 * deep + 0.14 * field.other)
    thick = (4.0 + 4 * own[:, 1]) * (1 + 0.3 * field.wide) + 4 * (deep > 0.2)
    inner = depth - fat - 1.5 * field.detail - thick - 12.5  # what follows puts the wall's layers at the same depths
    _put(tissue, inner > 0, Tissue.LUNG)
    with _part(tissue, inner < _UNEVEN_MM) as (few, near):
        x, y, z, depth, fat, thick, inner_here = (one[:, near] for one in (x, y, z, depth, fat, thick, inner))
        _layers(few, (x, y, z), depth, fat, thick, inner_here, own, heart, field.select(near))
    return inner


def _layers(
    tissue: Tensor,
    place: tuple[Tensor, Tensor, Tensor],
    depth: Tensor,
    fat: Tensor,
    thick: Tensor,
    inner: Tensor,
    own: Tensor,
    heart: Heart,
    field: Fields,
) -> None:
    """Paints the wall over `tissue`, in place: layers by their `depth`, `fat` and muscle (`thick`) over the ribs, up
    to the pleura, where `inner` is 0; all in mm, shape `(b, n)`."""
    x, y, z = place
    one = heart.traits
    _put(tissue, depth > 0, Tissue.MUSCLE)
    _put(tissue, depth > 1.6, Tissue.FAT)
    outer = depth - fat - 0.9 * field.detail
    sheet = (field.second + 0.25 * field.other).abs()  # thin sheets, in fat of muscle and in muscle of fat
    _put(tissue, (outer > -0.75 * fat) & (outer < -2) & (sheet < 0.035), Tissue.MUSCLE)
    cage = outer - thick  # mm into the layer of the ribs
    _put(tissue, outer > 0, Tissue.MUSCLE)
    _put(
        tissue,
        (cage.abs() < 1.1 + 1.2 * own[:, 4]) & (field.second + 0.4 * field.wide > 1.2 - 1.6 * own[:, 6]),
        Tissue.FAT,
    )
    spacing = 27 + 6 * own[:, 2]
    slope = 0.55 * y + 12 * (x / one.chest_mm[:, :1]).square()  # ribs fall towards the front
    turn = (z + slope) / spacing + 6.28 * own[:, 3] + 0.06 * field.other
    beside = (turn - turn.floor() - 0.5) * spacing
    long, thick_mm = 7.0 + 1.2 * field.second.clamp(-1, 1), 4.8 + 0.8 * field.detail.clamp(-1, 1)
    rib = ((beside / long).square() + ((cage - 6.2) / thick_mm).square()).sqrt()
    ribbed = x.abs() > 16
    _put(tissue, ribbed & (rib < 1.0), Tissue.BONE)
    cartilage = ribbed & (rib < 0.85) & (y < 0) & (x.abs() < 66 + 12 * field.wide)
    _put(tissue, ribbed & (rib < 0.75), Tissue.MARROW)
    _put(tissue, cartilage, Tissue.MUSCLE)
    sternum = (x / (15 + 2 * field.detail)).abs().pow(3) + ((cage - 6) / 5.5).abs().pow(3)
    front = (y < 0) & (z > heart.traits.position_mm[:, 2:] - 45)
    _put(tissue, front & (sternum < 1.25), Tissue.BONE)
    _put(tissue, front & (sternum < 0.8), Tissue.MARROW)
    lining = 2.6 * own[:, 5] - 0.7 + 0.8 * field.other.clamp(-1, 1)
    _put(tissue, (inner > -lining) & (lining > 1.1), Tissue.FAT)  # a film would be drawn as a string of beads
    _put(tissue, inner > 0, Tissue.LUNG)


def _lungs(tissue: Tensor, inside: Tensor, points: Tensor, heart: Heart, field: Fields, margin_mm: float) -> None:
    """Vessels that branch from either hilum."""
    own = heart.numbers(31, 3)
    near = torch.nonzero(inside.any(0)).flatten()
    points = points[:, near]
    right = points[..., 0] < 0
    mirrored = torch.cat([points[..., :1].abs(), points[..., 1:]], dim=2)  # one tree serves both lungs
    mirrored[..., 2] += torch.where(right, 9.0, 0.0)
    root = torch.tensor((38.0, 14.0, 24.0), device=points.device).expand(len(points), 3)
    distance = vessel_distance(mirrored, root, own)
    far = (mirrored - root[:, None]).norm(dim=2)  # the trunks are wide only at the hilum
    grow = -0.1 + 0.5 * field.other[:, near].clamp(-1, 1) + margin_mm - 2.3 * (-far / 35).exp()
    few = tissue[:, near]
    _put(few, inside[:, near] & (distance < grow), Tissue.VESSEL)
    tissue[:, near] = few


def _between(
    tissue: Tensor, inside: Tensor, points: Tensor, y: Tensor, depth: Tensor, heart: Heart, field: Fields
) -> None:
    """Fat between the lungs and round the heart, gullet and azygos vein."""
    one = heart.traits
    own = heart.numbers(32, 8)[..., None]
    x, _, z = points.unbind(2)
    back = one.chest_mm[:, 1:] - 52  # front of the spine, mm behind the middle
    middle = ((x - 4 - 5 * field.wide) / (16 + 4 * field.other)).square() + ((y - back + 14) / 36).square()
    _put(tissue, inside & (middle < 1), Tissue.FAT)
    gullet = ((x - 6 - 3 * field.wide) / 8).square() + ((y - back + 14) / 5.5).square()
    _put(tissue, gullet < 1, Tissue.GUT)
    _put(tissue, gullet < 0.08, Tissue.AIR)
    _put(tissue, (x + 9).square() + (y - back + 3).square() < 16, Tissue.VESSEL)

    right, behind, along = heart.to_heart(points).unbind(2)
    size = heart.sac_mm  # (b, 4): half axes, and how far its middle lies to the right
    below_base = (0.5 - 0.5 * along / heart.rest_base_mm[:, None] - 0.15).clamp(min=0)
    narrow = (1 - (below_base / 0.9).square()).clamp(min=0.02).sqrt()
    right = right - size[:, 3:] * narrow
    far = ((right / size[:, :1]).square() + (behind / size[:, 1:2]).square()) / narrow.square()
    far = torch.maximum(far, ((along + 6) / size[:, 2:3]).square()).sqrt().clamp(min=0.1)
    outside = (far - 1) * size[:, :1] * narrow  # mm from the heart's sac, about
    towards = (0.55 * right - 0.35 * behind + 0.25 * along) / size[:, :1]  # to the front and the right
    below = (behind / size[:, 1:2]).clamp(0, 1)  # where the heart lies on the diaphragm
    thick = -16 + 7 * own[:, 0] + 4.5 * own[:, 1] * towards + 9 * below + 3.0 * field.wide + 0.9 * field.detail
    filled = (depth < 1 + 9 * own[:, 2]) & (outside < 1 + 9 * own[:, 3]) & (towards > 0.35)  # up to the breastbone
    pad = inside & ((outside < thick) | filled)
    _put(tissue, pad, Tissue.FAT)
    # small vessels in it
    _put(tissue, pad & (outside > 4) & (field.detail.square() + field.second.square() < 0.02), Tissue.VESSEL)


def _spine(tissue: Tensor, x: Tensor, y: Tensor, z: Tensor, heart: Heart, field: Fields) -> None:
    """Bodies with marrow and a dark rim, discs, canal with cord, arches, and the muscles beside them."""
    own = heart.numbers(33, 2)[..., None]
    back = y - (heart.traits.chest_mm[:, 1:] - 34)  # mm behind the middle of the bodies
    beside = ((x.abs() - 24) / 19).square() + ((back - 27) / 15).square()
    _put(tissue, beside < 1, Tissue.MUSCLE)
    _put(tissue, (beside < 1) & (field.fine > 1.25), Tissue.FAT)
    level = z / 25 + 5 * own[:, 0] + 0.05 * field.wide
    level = (level - level.floor() - 0.5).abs()  # 0.5 in the middle of a disc
    body = (x / (17 - 6 * (0.5 - level).clamp(max=0.3))).square() + (back / 14.5).square()
    _put(tissue, body < 1.12, Tissue.BONE)
    _put(tissue, body < 0.93, Tissue.MARROW)
    _put(tissue, (body < 1.0) & (level > 0.37), Tissue.BONE)
    _put(tissue, (body < 0.86) & (level > 0.40), Tissue.GUT)
    arch = (x / 15).square() + ((back - 22) / 11).square()
    canal = (x / 9.5).square() + ((back - 21.5) / 8).square()
    _put(tissue, (arch < 1.2) & (level < 0.33), Tissue.BONE)
    _put(tissue, (arch < 1.0) & (level < 0.27) & (field.fine > -0.6), Tissue.MARROW)
    spine = (x / (3.5 + field.fine.clamp(-1, 1))).square() + ((back - 40) / 13).square()
    _put(tissue, spine < 1.25, Tissue.BONE)
    _put(tissue, (spine < 0.6) & (level < 0.35), Tissue.MARROW)
    _put(tissue, canal < 1.3, Tissue.FAT)
    _put(tissue, canal < 1, Tissue.FLUID)
    _put(tissue, (x / 5).square() + ((back - 21) / 3.8).square() < 1, Tissue.SPLEEN)  # the cord


def _arms(tissue: Tensor, x: Tensor, y: Tensor, half_x: Tensor) -> None:
    off = (x.abs() - half_x - 50).square() + (y - 15).square()
    _put(tissue, off < 44**2, Tissue.FAT)
    _put(tissue, off < 36**2, Tissue.MUSCLE)
    _put(tissue, off < 12**2, Tissue.BONE)
    _put(tissue, off < 8**2, Tissue.MARROW)
