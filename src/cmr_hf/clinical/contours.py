"""Endocardium and epicardium of a short-axis slice as curves between the pixels, in mm.

Rays from the centre of the left ventricle meet the two outlines where a slightly softened mask falls through one half;
a Fourier series of the radius takes away the stairs of the pixels. On discs of 5 to 40 mm the radius is right to a
tenth of a pixel on average.
"""

from dataclasses import dataclass

import numpy as np

from .optional import ndimage
from .volumes import LV, MYOCARDIUM, SCAR

WALL = (MYOCARDIUM, SCAR)
RAYS = 180
HARMONICS = 12
SOFT_PIXELS = 0.7  # standard deviation of the softening
STEP_MM = 0.5  # along a ray; outlines are interpolated between
MARGIN = 4  # pixels round the heart, for the softening


@dataclass(frozen=True)
class Ring:
    """The wall of the left ventricle in one slice, in polar coordinates round its centre.

    Attributes:
        centre_mm (`np.ndarray` of shape `(2,)`): (row, column) × spacing.
        angles (`np.ndarray` of shape `(rays,)`): of (row, column) = (sin, cos), radians.
        endo_mm, epi_mm (`np.ndarray` of shape `(rays,)`): radii; interpolated where the ring is open.
        closed (`np.ndarray` of shape `(rays,)`, bool): there is wall between the two.
    """

    centre_mm: np.ndarray
    angles: np.ndarray
    endo_mm: np.ndarray
    epi_mm: np.ndarray
    closed: np.ndarray

    def points(self, radii_mm: np.ndarray) -> np.ndarray:
        """(row, column) in mm at these radii, shape `(rays, 2)`."""
        return self.centre_mm + radii_mm[:, None] * np.stack((np.sin(self.angles), np.cos(self.angles)), axis=1)


def ring_of(labels: np.ndarray, spacing_mm: tuple[float, float]) -> Ring | None:
    """The wall in a slice, or `None` where there is no cavity with any wall.

    Args:
        labels (`np.ndarray` of shape `(y, x)`): 1 LV cavity, 2 myocardium, 6 scar.
        spacing_mm (two `float`): (row, column).
    """
    rows, columns = np.nonzero(np.isin(labels, (LV, *WALL)))
    if not len(rows):
        return None
    corner = np.maximum((rows.min() - MARGIN, columns.min() - MARGIN), 0)
    labels = labels[corner[0] : rows.max() + MARGIN + 1, corner[1] : columns.max() + MARGIN + 1]
    cavity, heart = labels == LV, _largest(np.isin(labels, (LV, *WALL)))
    cavity = cavity & heart
    if not cavity.any() or cavity.sum() == heart.sum():
        return None
    pixels = np.argwhere(heart) * spacing_mm
    centre = pixels.mean(axis=0)
    if not cavity[tuple(np.round(centre / spacing_mm).astype(int))]:
        centre = (np.argwhere(cavity) * spacing_mm).mean(axis=0)
    angles = np.arange(RAYS) * (2 * np.pi / RAYS)
    reach = float(np.linalg.norm(pixels - centre, axis=1).max()) + 3 * max(spacing_mm)
    radii = np.arange(0, reach, STEP_MM)
    places = (centre + radii[:, None, None] * np.stack((np.sin(angles), np.cos(angles)), axis=1)) / spacing_mm
    endo = _falling(_sampled(cavity, places), radii)
    epi = _falling(_sampled(heart, places), radii)
    closed = np.isfinite(endo) & np.isfinite(epi)
    thick = _sampled(np.isin(labels, WALL) & heart, places, soft=False)
    closed &= np.where(np.isfinite(epi), epi - np.nan_to_num(endo), 0.0) > 0.5 * min(spacing_mm)
    closed &= (thick > 0.5).any(axis=0)
    if closed.sum() < RAYS // 4:
        return None
    endo, epi = _smooth(endo, np.isfinite(endo), angles), _smooth(epi, closed, angles)
    return Ring(centre + corner * np.array(spacing_mm), angles, endo, np.maximum(epi, endo), closed)


def closed_rays(labels: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Which rays from the centre of the cavity meet wall, bool of shape `(rays,)`; all `False` without a ring."""
    ring = ring_of(labels, spacing_mm)
    return np.zeros(RAYS, dtype=bool) if ring is None else ring.closed


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage().label(mask)
    if count < 2:
        return mask
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


def _sampled(mask: np.ndarray, places: np.ndarray, soft: bool = True) -> np.ndarray:
    """Values of a softened mask at (row, column) pixels of shape (n, rays, 2)."""
    values = mask.astype(np.float32)
    if soft:
        values = ndimage().gaussian_filter(values, SOFT_PIXELS, mode="constant")
    return ndimage().map_coordinates(values, np.moveaxis(places, -1, 0), order=1, mode="constant")


def _falling(values: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The last radius at which the values (n, rays) fall through one half; NaN where they never reach it."""
    above = values >= 0.5
    last = len(radii) - 1 - above[::-1].argmax(axis=0)
    last = np.minimum(last, len(radii) - 2)
    rays = np.arange(values.shape[1])
    high, low = values[last, rays], values[last + 1, rays]
    radius = radii[last] + STEP_MM * (high - 0.5) / np.maximum(high - low, 1e-6)
    return np.where(above.any(axis=0), radius, np.nan)


def _smooth(radius: np.ndarray, known: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """A Fourier series of the radius, unknown angles interpolated."""
    filled = np.interp(angles, angles[known], radius[known], period=2 * np.pi)
    waves = np.fft.rfft(filled)
    waves[HARMONICS + 1 :] = 0
    return np.fft.irfft(waves, len(angles))
