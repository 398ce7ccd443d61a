"""One series of a protocol scanned: pictures over time and slices with their truth, cut to the field of view.

Pictures of one series share coil, matrix, irregularities and flip angle, as those of a scanner do; their noise is
drawn anew for each.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from .anatomy import Heart
from .planes import Planes
from .protocol import SERIES, Protocol, Series
from .render import Phantoms, render
from .scanner import Scanner, acquire, coil_gain, draw, texture_field
from .signal import MAPS, bssfp, look_locker, t2_prepared
from .tissues import properties


@dataclass
class Scanned:
    """Pictures of one series; slices are in order of their position along row × column.

    Attributes:
        series (`Series`): how they were made.
        images (`np.ndarray` of shape `(t, z, y, x)`, float32): arbitrary units, ms for maps; t counts moments of a
            cine, inversion times or T2 preparations.
        masks (`np.ndarray` of shape `(t, z, y, x)`, uint8): label ids of the package.
        affines (`np.ndarray` of shape `(z, 4, 4)`, float64): (column, row, slice) → LPS mm, for each slice.
        landmarks (`np.ndarray` of shape `(t, z, 2, 2)`): anterior and inferior RV insertion, (row, column); NaN where
            there is none.
        truth_ms (`np.ndarray` of shape `(t, z, y, x)`, *optional*): of a map, before noise.
        views, kinds (lists of `str`): of each slice.
        volumes_ml (dict of lists): analytic volumes at each moment: `lv`, `rv`, `myocardium`, `scar`.
    """

    series: Series
    images: np.ndarray
    masks: np.ndarray
    affines: np.ndarray
    landmarks: np.ndarray
    truth_ms: np.ndarray | None
    views: list[str]
    kinds: list[str]
    volumes_ml: dict[str, list[float]]

    @property
    def is_stack(self) -> bool:
        """Whether the slices are parallel."""
        axes = self.affines[:, :3, :2]
        return bool(np.abs(axes - axes[:1]).max() < 1e-4)

    @property
    def distance_mm(self) -> float:
        """Between neighbouring slices along their normal, the nominal one for a single slice."""
        if len(self.affines) > 1 and self.is_stack:
            normal = np.cross(self.affines[0, :3, 0], self.affines[0, :3, 1])
            steps = np.diff(self.affines[:, :3, 3] @ (normal / np.linalg.norm(normal)))
            return float(np.median(steps))
        return float(np.linalg.norm(self.affines[0, :3, 2]))

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(row, column)."""
        column, row = np.linalg.norm(self.affines[0, :3, :2], axis=0)
        return float(row), float(column)

    def stack_affine(self, index: int = 0) -> np.ndarray:
        """(column, row, slice) → LPS mm of the slices from `index` on."""
        affine = self.affines[index].copy()
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / np.linalg.norm(normal) * self.distance_mm
        return affine


def scan(heart: Heart, series: Series, protocol: Protocol, seed: int, scanner: Scanner | None = None) -> Scanned:
    """Scans one series; equal arguments give equal pictures.

    Args:
        heart (`Heart`): the heart that `series.planes` cut.
        series (`Series`): from `series_of` with the same protocol.
        protocol (`Protocol`): for the field of view.
        seed (`int`): of noise and all other effects, which differ between series; the magnitude and the
            phase-sensitive picture of an inversion recovery are of one acquisition and share them.
        scanner (`Scanner`, *optional*): ranges that one value for the series is drawn from; `Scanner.ideal()` for no
            effects.
    """
    seed = seed * 100 + SERIES.index(series.name.removesuffix("_psir"))
    scanner = settled(scanner or Scanner(), seed)
    series = replace(series, planes=_along_normal(series.planes))
    planes = series.planes
    if series.contrast in MAPS:
        found = [render(heart, planes, series.contrast, series.times[0], seed, scanner)]
        images = found[0].images[None]
    elif series.inversion_ms and series.contrast == "molli" or series.preparation_ms:
        found = [render(heart, planes, "t1_native", series.times[0], seed, scanner)]
        images = _prepared(heart, series, seed, scanner)
        found = found * len(images)
    else:
        known: dict[tuple, Tensor] = {}
        found = [_moment(heart, series, time, seed, scanner, known) for time in series.times]
        images = torch.stack([one.images for one in found])
        images = _measured(images, series, seed, scanner)
    return _cut(series, protocol, images, found)


def settled(scanner: Scanner, seed: int) -> Scanner:
    """The scanner of one series: every range collapsed to one value of it, a share to all or nothing."""
    if scanner == Scanner.ideal():
        return scanner
    rng = np.random.default_rng([seed, 1])
    chosen = {}
    for one in fields(scanner):
        value = getattr(scanner, one.name)
        if isinstance(value, tuple):
            chosen[one.name] = (float(rng.uniform(*value)),) * 2
        elif one.name.endswith("_share"):
            chosen[one.name] = float(rng.random() < value)
    return replace(scanner, **chosen)


def _still(scanner: Scanner) -> Scanner:
    """What pictures of a series share: all but noise and what k-space does to each."""
    nothing = (0.0, 0.0)
    return replace(
        scanner, noise=nothing, matrix=(1.0, 1.0), blur_mm=nothing, breathing_mm=nothing, breathing_share=0.0
    )


def _moment(
    heart: Heart, series: Series, time: float, seed: int, scanner: Scanner, known: dict[tuple, Tensor]
) -> Phantoms:
    """All slices at one moment, each rendered with the same seed and so with the same flip angle, coil and texture."""
    each = [
        render(heart, plane, series.contrast, time, seed, _still(scanner), surroundings=known)
        for plane in (series.planes.select(torch.tensor([index])) for index in range(len(series.planes)))
    ]
    first = each[0]
    return replace(
        first,
        images=torch.cat([one.images for one in each]),
        masks=torch.cat([one.masks for one in each]),
        landmarks=torch.cat([one.landmarks for one in each]),
    )


def _measured(images: Tensor, series: Series, seed: int, scanner: Scanner) -> Tensor:
    """Pictures (t, z, s, s) through k-space, each with noise of its own."""
    if scanner == Scanner.ideal():
        return images
    generator = torch.Generator().manual_seed(seed + 1)
    spacing = series.planes.affine[:, :3, 1].norm(dim=1).repeat(len(images))
    flat = acquire(images.flatten(0, 1), scanner, spacing, series.contrast, generator)
    return flat.view(images.shape)


def _prepared(heart: Heart, series: Series, seed: int, scanner: Scanner) -> Tensor:
    """The pictures that a map is fitted to, (t, z, s, s): one for each inversion time or T2 preparation."""
    planes = series.planes
    each = heart.select(planes.heart)
    points = planes.points(3)  # (z, through, s, s, 3)
    phase = each.phase(torch.full((len(each),), series.times[0], device=heart.device))
    tissue = each.tissue(points.flatten(1, 3), phase).view(points.shape[:-1]).long()
    t1, t2, density = (one[0] for one in properties(heart.traits.field_t, torch.tensor([False], device=heart.device)))
    if series.preparation_ms:
        tables = [t2_prepared(t2, density, time) for time in series.preparation_ms]
    else:
        # the train of pulses holds the magnetisation between bSSFP's own steady state and rest
        steady = (4.0 * bssfp(t1, t2, density, series.flip_deg)).minimum(0.9 * density)
        tables = [look_locker(t1, steady, density, torch.full_like(t1, time)) for time in series.inversion_ms]
    images = torch.stack([table[tissue].mean(1) for table in tables])  # signed until it is measured
    if scanner == Scanner.ideal():
        return images.abs()
    generator = torch.Generator().manual_seed(seed)
    strength = draw(scanner.coil, len(each), generator, heart.device)
    gain = coil_gain(points[:, 1], each.traits.chest_mm, strength, generator)
    rough = draw(scanner.texture, len(each), generator, heart.device)
    gain = gain * (1 + rough * texture_field(len(each), planes.size, generator, heart.device))
    return _measured(images * gain, series, seed, scanner)


def _along_normal(planes: Planes) -> Planes:
    """Parallel slices in order along row × column; others as they are."""
    affine = planes.affine.double()
    normal = torch.linalg.cross(affine[0, :3, 0], affine[0, :3, 1])
    if (affine[:, :3, :2] - affine[:1, :3, :2]).abs().max() > 1e-4:
        return planes
    return planes.select(torch.argsort(affine[:, :3, 3] @ normal))


def _cut(series: Series, protocol: Protocol, images: Tensor, found: list[Phantoms]) -> Scanned:
    """The middle of the square pictures, `protocol.rows` by `protocol.columns`."""
    planes = series.planes
    top, left = (planes.size - protocol.rows) // 2, (planes.size - protocol.columns) // 2
    window = (..., slice(top, top + protocol.rows), slice(left, left + protocol.columns))
    affines = planes.affine.double().cpu().numpy().copy()
    affines[:, :3, 3] += top * affines[:, :3, 1] + left * affines[:, :3, 0]
    truth = None
    if series.contrast in MAPS:
        name = "t2_ms" if series.contrast == "t2_map" else "t1_ms"
        truth = torch.stack([getattr(one, name) for one in found])[window].cpu().numpy()
    landmarks = torch.stack([one.landmarks for one in found]).cpu().numpy() - np.array([top, left])
    return Scanned(
        series=series,
        images=images[window].float().cpu().numpy(),
        masks=torch.stack([one.masks for one in found])[window].cpu().numpy(),
        affines=affines,
        landmarks=landmarks,
        truth_ms=truth,
        views=list(planes.view),
        kinds=list(planes.kind),
        volumes_ml={
            name: [round(float(one.volumes[name][0]), 3) for one in found]
            for name in ("lv", "rv", "myocardium", "scar")
        },
    )
