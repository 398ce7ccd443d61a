"""What is inside the ventricles and counts as cavity: papillary muscles, trabeculae, the moderator band."""

from __future__ import annotations

import torch
from torch import Tensor

_GROUPS = ((2.25, 0), (-2.3, 6))  # inferolateral and anterolateral: angle in radians, first of its numbers


def papillary(x: Tensor, y: Tensor, height: Tensor, radius_mm: Tensor, numbers: Tensor, rough: Tensor) -> Tensor:
    """Where the papillary muscles are: two groups of two heads that stand on the wall, free of it towards the base.

    Args:
        x, y, height (`torch.Tensor` of shape `(b, n)`): in the regular heart, mm and 0 … 1.
        radius_mm (`torch.Tensor` of shape `(b, 1)`): of the cavity at the moment shown.
        numbers (`torch.Tensor` of shape `(b, 12)`, 0 … 1): each heart's own.
        rough (`torch.Tensor` of shape `(b, n)`): a fine field of SD 1.

    Returns:
        bool, shape `(b, n)`.
    """
    inside = torch.zeros_like(x, dtype=torch.bool)
    numbers = numbers[..., None]  # (b, 12, 1)
    for angle, first in _GROUPS:
        one, two, three, four, five, six = numbers[:, first : first + 6].unbind(1)
        turn = angle + 0.5 * (one - 0.5)
        cosine, sine = turn.cos(), turn.sin()
        out, side = x * cosine + y * sine, y * cosine - x * sine
        belly = (1 - ((height - 0.46 - 0.1 * two) / (0.30 + 0.09 * three)).square()).clamp(min=0).sqrt()
        thick = (3.8 + 3.0 * four) * belly * (1 + 0.10 * rough)
        wander = torch.sin(9 * height + 6.28 * two)
        part = (1.2 + 4.5 * five) * (1 - height)  # the heads part towards the valve
        place = radius_mm * (0.60 + 0.16 * three + 0.14 * (height - 0.5))
        head = (out - place - 0.8 * wander).square() + (side - part - wander).square()
        other = (out - 0.96 * place + wander).square() + (side + part).square()
        inside |= head < thick.square()
        inside |= other < (0.6 + 0.3 * six).square() * thick.square()
        # a stalk to the wall, from some height on
        stalk = (side.abs() < (0.35 + 0.5 * six) * thick) & (out > place) & (height > 0.38 + 0.25 * five)
        inside |= stalk
    return inside


def strands(depth: Tensor, reach_mm: Tensor, ridge: Tensor, coarse: Tensor) -> Tensor:
    """Trabeculae: ridges that stand on the wall, and few strands free of it.

    Args:
        depth (`torch.Tensor` of shape `(b, n)`): mm from the wall into the cavity.
        reach_mm (`torch.Tensor` of shape `(b, n)`): how far ridges of usual height stand out.
        ridge (`torch.Tensor` of shape `(b, n)`): a field of SD 1 at the nearest place of the wall: what stands there.
        coarse (`torch.Tensor` of shape `(b, n)`): a coarser field of SD 1 at the point itself.

    Returns:
        bool, shape `(b, n)`.
    """
    level = depth / reach_mm.clamp(min=0.3)
    standing = level < (0.3 + 0.5 * ridge + 0.5 * coarse).clamp(max=1.3)
    return standing | ((coarse - 0.3 * ridge > 1.45 + 0.5 * level) & (level < 2.2))


def moderator_band(
    along: Tensor, height: Tensor, cosine: Tensor, sine: Tensor, numbers: Tensor, rough: Tensor
) -> Tensor:
    """A strand across the right ventricle, from the septum to the free wall near the apex.

    Args:
        along (`torch.Tensor` of shape `(b, n)`): 0 septum, 1 free wall.
        height, cosine, sine, rough (`torch.Tensor` of shape `(b, n)`): place in the heart; a fine field.
        numbers (`torch.Tensor` of shape `(b, 4)`, 0 … 1): each heart's own.
    """
    numbers = numbers[..., None]
    at = 0.52 + 0.2 * numbers[:, 0] + 0.1 * along
    turn = 0.9 * (numbers[:, 1] - 0.5) + 0.5 * (along - 0.5)
    beside = sine * turn.cos() - cosine * turn.sin()
    near = ((height - at) / 0.05).square() + (beside / (0.03 + 0.06 * numbers[:, 2])).square()
    return near < 1 + 0.5 * rough
