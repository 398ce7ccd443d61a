"""A branching tree of vessels, grown once and looked up from another side for every organ of every person."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

_SIDE, _VOXEL_MM = 112, 2.0
_REACH_MM = 106.0  # from the root to the farthest twig
_TRUNK_MM, _TWIG_MM = 4.0, 0.7  # radii of the first and the last branches
_FAR_MM = 8.0  # distances are cut off here


def _grow(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Starts and ends (n, 3) and radii (n,) of segments in mm round the root; the cube of a parent's radius is the sum
    of its children's (Murray, Proc Natl Acad Sci 1926;12:207)."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.zeros(14, 3)
    way = functional.normalize(torch.randn(14, 3, generator=generator), dim=1)
    radius = torch.full((14,), _TRUNK_MM)
    starts, ends, radii = [], [], []
    while len(start):
        length = (4.0 + 3.6 * radius) * (0.6 + 0.8 * torch.rand(len(start), generator=generator))
        end = start + way * length[:, None]
        starts.append(start)
        ends.append(end)
        radii.append(radius)
        share = 0.3 + 0.4 * torch.rand(len(start), generator=generator)
        children = []
        for part in (share, 1 - share):
            thin = radius * part.pow(1 / 3)
            turn = torch.randn(len(start), 3, generator=generator) * (0.25 + 0.55 * (1 - part[:, None]))
            outwards = functional.normalize(end, dim=1)
            children.append((end, functional.normalize(way + turn + 0.25 * outwards, dim=1), thin))
        start, way, radius = (torch.cat(pair) for pair in zip(*children, strict=True))
        alive = (radius > _TWIG_MM) & (start.norm(dim=1) < _REACH_MM)
        start, way, radius = start[alive], way[alive], radius[alive]
    return torch.cat(starts), torch.cat(ends), torch.cat(radii)


@lru_cache(maxsize=4)
def _distances(device: str) -> Tensor:
    """Distance in mm to the nearest vessel's surface, negative inside, shape (1, 1, side, side, side): z, y, x."""
    starts, ends, radii = _grow(30)
    middle = (_SIDE - 1) / 2
    cube = torch.full((_SIDE, _SIDE, _SIDE), _FAR_MM)
    low = ((torch.minimum(starts, ends) - radii[:, None] - 5) / _VOXEL_MM + middle).floor().clamp(0, _SIDE).long()
    high = ((torch.maximum(starts, ends) + radii[:, None] + 5) / _VOXEL_MM + middle).ceil().clamp(0, _SIDE).long() + 1
    ways = ends - starts
    axis = (torch.arange(_SIDE) - middle) * _VOXEL_MM
    for a, b, start, way, radius in zip(low.tolist(), high.tolist(), starts, ways, radii.tolist(), strict=True):
        x, y, z = (axis[a[k] : b[k]] - start[k] for k in range(3))
        if not (len(x) and len(y) and len(z)):
            continue
        x, y, z = x[None, None], y[None, :, None], z[:, None, None]
        along = ((x * way[0] + y * way[1] + z * way[2]) / way.square().sum()).clamp(0, 1)
        far2 = (x - along * way[0]).square() + (y - along * way[1]).square() + (z - along * way[2]).square()
        part = cube[a[2] : b[2], a[1] : b[1], a[0] : b[0]]
        torch.minimum(part, far2.sqrt() - radius, out=part)
    return cube[None, None].to(device)


def vessel_distance(points: Tensor, root: Tensor, turn: Tensor, scale: float = 1.0) -> Tensor:
    """Distance in mm to the surface of the nearest vessel of a tree, negative inside: `(b, n)`.

    Args:
        points (`torch.Tensor` of shape `(b, n, 3)`): in mm.
        root (`torch.Tensor` of shape `(b, 3)`): where it grows from.
        turn (`torch.Tensor` of shape `(b, 3)`, 0 … 1): from which side it is seen.
        scale (`float`): of its size.
    """
    one, two, three = (2 * torch.pi * turn).unbind(1)
    zero, unit = torch.zeros_like(one), torch.ones_like(one)
    first = torch.stack([one.cos(), -one.sin(), zero, one.sin(), one.cos(), zero, zero, zero, unit], 1).view(-1, 3, 3)
    second = torch.stack([unit, zero, zero, zero, two.cos(), -two.sin(), zero, two.sin(), two.cos()], 1).view(-1, 3, 3)
    third = torch.stack([three.cos(), -three.sin(), zero, three.sin(), three.cos(), zero, zero, zero, unit], 1)
    rotation = first @ second @ third.view(-1, 3, 3)
    half = (_SIDE - 1) / 2 * _VOXEL_MM * scale
    place = (points - root[:, None]) @ rotation / half
    cube = _distances(str(points.device)).expand(len(points), -1, -1, -1, -1)
    found = functional.grid_sample(cube, place[:, :, None, None], padding_mode="border", align_corners=True)
    return found[:, 0, :, 0, 0] * scale
