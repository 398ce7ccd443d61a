"""The ventricles of a heart, painted: walls, scar, cavities and what is in them, fat and pericardium."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .interior import moderator_band, papillary, strands
from .noise import noise_at
from .places import Phase, Site, Wall
from .tissues import Tissue
from .vessels import paint_atria

if TYPE_CHECKING:
    from .anatomy import Heart


def _put(tissue: Tensor, where: Tensor, what: Tissue) -> None:
    tissue.masked_fill_(where, int(what))


def paint_ventricles(tissue: Tensor, points: Tensor, heart: Heart, phase: Phase) -> None:
    """Paints atria, both ventricles, their fat and what is in them over `tissue` of shape `(b, n)`, in place.

    Args:
        points (`torch.Tensor` of shape `(b, n, 3)`): LPS mm.
    """
    x, y, z = heart.to_heart(points).unbind(2)
    spare = torch.nonzero((heart.near(x, y, phase, 6.0) | (z < phase.base_mm[:, None] + 15)).any(0)).flatten()
    if not len(spare):
        return
    part = tissue[:, spare]
    straight = heart.deformation.straighten(*(one[:, spare] for one in (x, y, z)))
    _paint(part, points[:, spare], straight, heart, phase)
    tissue[:, spare] = part


def _paint(tissue: Tensor, points: Tensor, straight: tuple[Tensor, Tensor, Tensor], heart: Heart, phase: Phase) -> None:
    """As `paint_ventricles`, where the places in the regular heart are known too."""
    x, y, z = straight
    behind = z - phase.base_mm[:, None]
    back = torch.nonzero(((behind < 0) & (behind > -90)).any(0)).flatten()
    if len(back):
        few = tissue[:, back]
        paint_atria(few, points[:, back], (x[:, back], y[:, back], z[:, back]), heart, phase)
        tissue[:, back] = few
    height = behind / phase.length_mm[:, None]
    close = torch.nonzero(((height > -0.12) & (height < 1.06) & heart.near(x, y, phase)).any(0)).flatten()
    if not len(close):
        return
    few = tissue[:, close]
    _walls(few, *(one[:, close] for one in (x, y, z, height)), heart, phase)
    tissue[:, close] = few


def _walls(
    tissue: Tensor,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    height: Tensor,
    heart: Heart,
    phase: Phase,
) -> None:
    """Paints the ventricles without the atria; places in the regular heart, each of shape `(b, n)`."""
    radius2 = x.square() + y.square()
    radius = radius2.sqrt().clamp(min=1e-3)
    site = heart.site(height, x / radius, y / radius)
    within = (height > 0) & (height < 1)
    wall = heart.wall_at(phase, site)
    outer = wall.outer.clamp(min=1e-6).sqrt()
    start = heart.rv_start[:, None]
    profile = heart.rv_profile(replace(site, height=torch.maximum(height, start)))
    reach = phase.rv_reach_mm[:, None] * profile
    beyond = radius - outer - reach  # mm outside both ventricles
    move = 90 * heart.traits.habitus[:, 2:3]
    rough, coarse = noise_at(x, y, 0.35 * z, 5.5, move), noise_at(x, y, 0.3 * z, 11.0, move)  # drawn out along z

    _envelope(heart, tissue, beyond, site, profile, rough, coarse)
    thin = 2.4 + 0.8 * site.fields.fat.clamp(-1, 1.2) + 0.2 * coarse
    _put(tissue, within & (reach > 0.1) & (beyond < thin), Tissue.THIN_WALL)
    rv = within & (beyond < 0)
    _put(tissue, rv, Tissue.RV_BLOOD)
    _put(tissue, rv & (height < start), Tissue.RA_BLOOD)
    rv = rv & (height >= start)
    free = noise_at(*(one * ((outer + reach) / radius) for one in (x, y)), 0.35 * z, 10.0, move)
    _put(tissue, rv & _rv_muscle(heart, beyond, radius - outer, reach, site, free, coarse), Tissue.RV_TRABECULA)
    ventricle = within & (radius2 < wall.outer)
    _put(tissue, ventricle, Tissue.MYOCARDIUM)
    _scar(heart, tissue, ventricle, wall, radius2)
    cavity = within & (radius2 < wall.inner)
    _put(tissue, cavity, Tissue.LV_BLOOD)
    leaflet = 0.004 + 0.02 * heart.numbers(35, 9)[:, 8:]  # often too thin to be seen
    valves = (height > -leaflet) & (height < 0) & (beyond < 0) & phase.shut[:, None]
    _put(tissue, valves & (tissue >= Tissue.LA_BLOOD) & (tissue <= Tissue.RA_BLOOD), Tissue.THIN_WALL)
    near = torch.nonzero(cavity.any(0)).flatten()
    if not len(near):
        return
    x, y, z, height, radius, rough, coarse = (one[:, near] for one in (x, y, z, height, radius, rough, coarse))
    inner = wall.inner[:, near].clamp(min=0).sqrt()
    ridge = noise_at(*(one * (inner / radius) for one in (x, y)), 0.25 * z, 7.5, move)
    scale = (heart.radius_mm * (1 - phase.squeeze).sqrt())[:, None]
    muscle = papillary(x, y, height, scale, heart.numbers(11, 12), rough)
    reach = _strand_reach(heart, height, site.cosine[:, near], site.fields.strands[:, near], inner)
    muscle |= strands(inner - radius, reach, ridge, coarse)
    few = tissue[:, near]
    _put(few, cavity[:, near] & muscle, Tissue.PAPILLARY)
    tissue[:, near] = few


def _strand_reach(heart: Heart, height: Tensor, cosine: Tensor, strands: Tensor, inner: Tensor) -> Tensor:
    """How far in mm trabeculae reach into the left ventricle: least at septum and base, most at the apex."""
    mean = 1.5 + 3.0 * heart.own[:, 5:6]
    place = (0.75 - 0.55 * cosine) * (0.35 + 2.1 * height.clamp(0, 1))
    return (mean * place * strands).minimum(0.45 * inner)


def _rv_muscle(
    heart: Heart, beyond: Tensor, beside: Tensor, reach: Tensor, site: Site, rough: Tensor, coarse: Tensor
) -> Tensor:
    """Trabeculae of the right ventricle's free wall and the moderator band, of shape `(b, n)`."""
    depth = (0.8 + 3.2 * heart.own[:, 6:7]) * (0.4 + 0.8 * site.height.clamp(0, 1)) * site.fields.strands
    along = beside / reach.clamp(min=1.0)
    found = strands(-beyond, depth, rough, coarse)
    return found | moderator_band(along, site.height, site.cosine, site.sine, heart.numbers(12, 4), rough)


def _envelope(
    heart: Heart, tissue: Tensor, beyond: Tensor, site: Site, profile: Tensor, rough: Tensor, coarse: Tensor
) -> None:
    """Fat on the heart, thick in the grooves and on the right, a film of fluid and the pericardium as a thin line."""
    one, height = heart.traits, site.height
    lean = one.habitus[:, 3:4]
    taper = heart.rv_taper(height)
    groove = (-((profile / taper.clamp(min=0.05) - 0.06) / 0.16).square()).exp() * (site.cosine > -0.2) * taper
    groove = groove + 0.7 * (-height / 0.12).exp()
    right = (profile > 0.02).float()
    fat = -0.1 + 1.1 * lean + (0.7 + 0.6 * right) * site.fields.fat + (2.6 + lean) * groove.clamp(max=1.3)
    fat = 0.6 * right + (fat + 0.4 * right + 0.12 * coarse).clamp(min=0)
    fat = torch.where(fat < 0.9, 0.0, fat)  # a film would be drawn as a string of beads
    line = 0.9 + 0.1 * coarse
    atria = (tissue == Tissue.LA_BLOOD) | (tissue == Tissue.RA_BLOOD)
    shell = (height > -0.1) & (height < 1.05) & ((height > 0) | ((beyond > -2) & ~atria))
    much = (2.8 * heart.own[:, 5:6] - 0.5).clamp(min=0)
    fluid = (much * (1.3 * site.fields.strands - 0.8) + 0.15 * coarse * much).clamp(0, 3.5)
    _put(tissue, shell & (beyond < fat + fluid + line), Tissue.THIN_WALL)
    _put(tissue, shell & (beyond < fat + fluid), Tissue.FLUID)
    _put(tissue, shell & (beyond < fat), Tissue.FAT)
    # coronary vessels run in the fat of the grooves
    vessel = (groove > 0.55) & (fat > 3.2) & (beyond > 1.0) & (beyond < fat - 0.6) & (coarse > 0.75)
    _put(tissue, shell & vessel & (beyond > 0.4 * fat), Tissue.VESSEL)


def _scar(heart: Heart, tissue: Tensor, ventricle: Tensor, wall: Wall, radius2: Tensor) -> None:
    if not bool(heart.traits.has_scar.any()):
        return
    depth = (radius2 - wall.inner) / (wall.outer - wall.inner).clamp(min=1e-3)
    low, high = heart.scar_depths(wall.region)
    scar = ventricle & heart.traits.has_scar[:, None] & (wall.region > 0.5) & (depth >= low) & (depth < high)
    _put(tissue, scar, Tissue.SCAR)
    core = scar & heart.traits.no_reflow[:, None] & (wall.region > 0.85) & (depth > 0.15) & (depth < 0.6)
    _put(tissue, core, Tissue.NO_REFLOW)
