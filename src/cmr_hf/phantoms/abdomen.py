"""What lies under the diaphragm: liver, stomach, colon, spleen and the fat between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .tissues import Tissue
from .trees import vessel_distance

if TYPE_CHECKING:
    from .anatomy import Heart
    from .chest import Fields


def diaphragm(x: Tensor, y: Tensor, heart: Heart, field: Fields) -> Tensor:
    """Height z in mm of the diaphragm's upper face, a right and a left dome: `(b, n)`."""
    one = heart.traits
    top = one.position_mm[:, 2:] - 36 + 6 * one.habitus[:, 5:6]
    right = 20 - 0.0035 * ((x + 70).square() + (y - 5).square())
    left = 12 - 16 * (0.5 + 0.5 * one.habitus[:, 4:5]) - 0.0050 * ((x - 70).square() + (y - 5).square())
    between = 8.0  # mm over which one dome goes over into the other
    both = torch.logaddexp(right / between, left / between) * between
    roof = top + both.clamp(min=-120) + 3 * field.wide + 0.8 * field.detail
    lower, share = _under_heart(x, y, heart)
    return roof + (lower - roof).clamp(min=0) * share.square() * (3 - 2 * share)


def _under_heart(x: Tensor, y: Tensor, heart: Heart) -> tuple[Tensor, Tensor]:
    """Height z in mm of a floor a little inside the heart's sac, on which it lies, and how far under it a place is, 1
    under its middle and 0 beside it: each `(b, n)`."""
    size = heart.sac_mm
    axes = heart.traits.rotation  # columns: to the right, behind, to the apex
    half = size[:, :3] * size.new_tensor((0.94, 0.94, 0.9))
    form = axes @ torch.diag_embed(half.pow(-2)) @ axes.transpose(1, 2)
    middle = torch.stack([size[:, 3], torch.zeros_like(size[:, 3]), torch.full_like(size[:, 3], -6.0)], dim=1)
    centre = heart.to_patient(middle[:, None])[:, 0]
    dx, dy = x - centre[:, :1], y - centre[:, 1:2]
    one = form[:, 2, 2, None]
    half_linear = form[:, 0, 2, None] * dx + form[:, 1, 2, None] * dy
    rest = form[:, 0, 0, None] * dx.square() + form[:, 1, 1, None] * dy.square() + 2 * form[:, 0, 1, None] * dx * dy - 1
    inside = half_linear.square() - one * rest
    lower = centre[:, 2:] - (half_linear + inside.clamp(min=0).sqrt()) / one
    return lower, (inside / one).clamp(0, 1).sqrt()


def paint_abdomen(
    tissue: Tensor, points: Tensor, inside: Tensor, heart: Heart, field: Fields, margin_mm: float = 0.0
) -> None:
    """Paints over `tissue` of shape `(b, n)`, in place, where `inside` (bool) and below the diaphragm; vessels of the
    liver wider by `margin_mm`."""
    x, y, z = points.unbind(2)
    roof = diaphragm(x, y, heart, field)
    below = inside & (z < roof)
    under = torch.nonzero(below.any(0)).flatten()
    few = tissue[:, under]
    _organs(few, points[:, under], below[:, under], roof[:, under], heart, field.select(under), margin_mm)
    tissue[:, under] = few


def _organs(
    tissue: Tensor, points: Tensor, below: Tensor, roof: Tensor, heart: Heart, field: Fields, margin_mm: float
) -> None:
    """Paints what is `below` the `roof`, in place."""
    x, y, z = points.unbind(2)
    own = heart.numbers(20, 16)[..., None]  # (b, 16, 1)
    depth = roof - z  # mm under the upper face
    top = heart.traits.position_mm[:, 2:] - 36
    tissue.masked_fill_(below, int(Tissue.MUSCLE))
    below = below & (depth > 2.2 + 0.5 * field.detail)
    tissue.masked_fill_(below, int(Tissue.FAT))
    # bent coordinates: no organ is an ellipsoid
    bx, by, bz = x + 7 * field.wide + 2.5 * field.detail, y + 7 * field.other, z + 5 * field.wide + 2.5 * field.second
    _bowel(tissue, below & (depth > 6), x, y, z, field, own)
    _stomach(tissue, below & (depth > 4.5 + field.detail), bx, by, bz, top, own, field)
    spleen = ((bx - 108) / 26).square() + ((by - 48) / 36).square() + ((bz - top + 30) / 44).square()
    tissue.masked_fill_(below & (spleen < 1), int(Tissue.SPLEEN))
    edge = -25 + 80 * own[:, 0]  # how far the left lobe reaches
    film = 2.2 + 0.5 * field.detail + torch.where(own[:, 14] < 0.4, 0.0, 0.4 + 2.0 * own[:, 14])  # of fat
    floor = top - 95 + 0.55 * (bx + 60).clamp(min=0) + 14 * (own[:, 1] - 0.5)
    liver = below & (depth > film) & (bx + 0.6 * (depth - 20) < edge) & (bz > floor)
    tissue.masked_fill_(liver, int(Tissue.LIVER))
    root = torch.cat([torch.full_like(top, -35.0), torch.full_like(top, 10.0), top - 25], dim=1)
    vessels = vessel_distance(points, root, own[:, 2:5, 0], 1.1)
    tissue.masked_fill_(liver & (vessels < -0.9 + margin_mm), int(Tissue.VESSEL))


def _bowel(tissue: Tensor, below: Tensor, x: Tensor, y: Tensor, z: Tensor, field: Fields, own: Tensor) -> None:
    """Loops of gut in fat: a wall, and what is in it."""
    loop = field.detail.square() + (field.second + 0.3).square()
    present = below & (field.wide < 0.9)
    tissue.masked_fill_(present & (loop < 1.1), int(Tissue.GUT))
    tissue.masked_fill_(present & (loop < 0.55 + 0.15 * field.fine), int(Tissue.STOMACH))
    tissue.masked_fill_(present & (loop < 0.35) & (field.other > 0.6), int(Tissue.AIR))


def _stomach(
    tissue: Tensor, below: Tensor, x: Tensor, y: Tensor, z: Tensor, top: Tensor, own: Tensor, field: Fields
) -> None:
    """A wall with folds, food or fluid, and a bubble that lies in front."""
    middle = top - 26 + 16 * (own[:, 5] - 0.5)
    size = 0.75 + 0.5 * own[:, 6]
    far = ((x - 62 - 14 * own[:, 7]) / 38).square() + ((y + 4) / 40).square() + ((z - middle) / 30).square()
    inward = (size - far.sqrt()) * 34  # mm under its outer face
    stomach = below & (inward > 0)
    angle = torch.atan2(y + 4, x - 62 - 14 * own[:, 7])
    count = 5 + (7 * own[:, 8]).floor()  # whole numbers, so that the last fold meets the first
    folds = torch.sin(count * angle + 0.05 * z + 1.2 * field.second) + 0.3 * field.fine
    tissue.masked_fill_(stomach, int(Tissue.GUT))
    empty = own[:, 9] < 0.5  # then the folds fill it
    lumen = stomach & (inward > 3.0 + torch.where(empty, 8.0, 2.0) * (folds + 0.6).clamp(min=0))
    tissue.masked_fill_(lumen, int(Tissue.STOMACH))
    tissue.masked_fill_(lumen & (own[:, 13] < 0.35), int(Tissue.FLUID))
    food = lumen & (own[:, 10] > 0.4) & (field.detail + 0.7 * field.fine > 0.2)
    tissue.masked_fill_(food, int(Tissue.GUT))
    level = -30 + 60 * own[:, 11]
    tissue.masked_fill_(lumen & (y < level - 18) & (own[:, 12] < 0.6), int(Tissue.AIR))
