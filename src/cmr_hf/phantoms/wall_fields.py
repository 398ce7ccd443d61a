"""What differs round a ventricle and along it: one table of smooth random fields over height and angle for each heart.

The fields are sums of cosines whose amplitudes fall with the number of waves round the heart, as those of outlines
drawn on healthy and diseased hearts do (ACDC, training patients: thickness 0.13, 0.08, 0.065, 0.05 … of its mean for
two, three, four, five … waves).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

HEIGHTS, ANGLES = 40, 72
LOWEST, HIGHEST = -0.2, 1.15  # heights of the first and the last row
_WAVES = 7  # round the heart


@dataclass
class WallFields:
    """The fields at points, each of shape `(batch, n)`.

    Attributes:
        bend: of the outline, relative, mean 0 round the heart.
        thickness: of the wall over its mean.
        right: factor of the right ventricle's thickness.
        strands: how deep trabeculae reach into the cavity, mean about 1, never negative.
        fat: on the heart, SD about 1.
    """

    bend: Tensor
    thickness: Tensor
    right: Tensor
    strands: Tensor
    fat: Tensor


def own_numbers(seeds: Tensor, count: int, stream: int) -> Tensor:
    """Uniform numbers in 0 … 1 of each heart's own, the same on every device: `(batch, count)`.

    Args:
        seeds (`torch.Tensor` of shape `(batch, 8)`): `Traits.texture`.
        stream (`int`): other numbers for another one.
    """
    base = seeds / (2 * torch.pi)
    order = torch.arange(count, device=seeds.device) + 131 * stream
    first, second = base[:, order % 8], base[:, (order // 8 + 3 * order + 1) % 8]
    factors = 101.0 + (order * 37 % 797), 211.0 + (order * 53 % 691)
    return torch.frac(first * factors[0] + second * factors[1])


def _field(seeds: Tensor, stream: int, fall: float, lowest: int) -> Tensor:
    """A random function of SD about 1, from `lowest` waves round the heart up: `(batch, heights, angles)`."""
    device = seeds.device
    height = torch.linspace(LOWEST, HIGHEST, HEIGHTS, device=device)
    angle = torch.arange(ANGLES, device=device) * (2 * torch.pi / ANGLES)
    waves = torch.arange(lowest, _WAVES + 1, device=device, dtype=torch.float32)
    along = torch.arange(3, device=device, dtype=torch.float32)  # half waves from base to apex
    shape = (len(seeds), len(waves), 3)
    count = len(waves) * 3
    numbers = own_numbers(seeds, 3 * count, stream).view(-1, 3, *shape[1:])
    size = numbers[:, 0] * waves.clamp(min=1).pow(-fall)[:, None] * (1 + along).pow(-0.7)
    turn = 2 * torch.pi * numbers[:, 1:]
    round_ = torch.cos(waves[:, None, None] * angle + turn[:, 0, :, :, None])  # (b, waves, along, angles)
    down = torch.cos(torch.pi * along[:, None] * height + turn[:, 1, :, :, None])  # (b, waves, along, heights)
    field = torch.einsum("bkl,bklh,bkla->bha", size, down, round_)
    return field / field.flatten(1).std(1).clamp(min=1e-3)[:, None, None]


def make_table(seeds: Tensor, irregularity: Tensor) -> Tensor:
    """The table of each heart, `(batch, 5, heights, angles + 1)`: periodic round the heart.

    Args:
        seeds (`torch.Tensor` of shape `(batch, 8)`): `Traits.texture`.
        irregularity (`torch.Tensor` of shape `(batch,)`): SD of the wall's thickness over its mean.
    """
    height = torch.linspace(LOWEST, HIGHEST, HEIGHTS, device=seeds.device)[:, None]
    towards_tip = 1 - height.clamp(0, 1).pow(5)  # at the tip all angles meet
    bend = 0.09 * _field(seeds, 1, 1.6, 2) * towards_tip
    thick = 1 + irregularity[:, None, None] * _field(seeds, 2, 0.9, 1) * towards_tip
    right = 1 + 0.13 * _field(seeds, 3, 1.0, 1)
    strands = (1 + 0.75 * _field(seeds, 4, 0.3, 1)).clamp(min=0)
    fat = _field(seeds, 5, 0.4, 1)
    table = torch.stack([bend, thick.clamp(0.62, 1.6), right.clamp(0.45, 1.6), strands, fat], dim=1)
    return functional.pad(table, (0, 1, 0, 0), mode="circular")


def look_up(table: Tensor, height: Tensor, angle: Tensor) -> WallFields:
    """The fields at heights and angles (radians) of shape `(batch, n)`, linear between the places of the table."""
    across = torch.remainder(angle, 2 * torch.pi) * (1 / torch.pi) - 1
    down = (height - LOWEST) * (2 / (HIGHEST - LOWEST)) - 1
    place = torch.stack([across, down], dim=2)[:, :, None]  # (b, n, 1, 2)
    found = functional.grid_sample(table, place, padding_mode="border", align_corners=True)[..., 0]
    return WallFields(*found.unbind(1))
