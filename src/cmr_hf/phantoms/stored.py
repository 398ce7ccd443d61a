"""Pictures as the whole numbers that a scanner stores, and what these stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .scanning import Scanned
from .signal import MAPS, SIGNED

_WINDOWS_MS = {"t1_native": (1300.0, 1300.0), "t1_post": (600.0, 800.0), "t2_map": (60.0, 120.0)}


@dataclass(frozen=True)
class Stored:
    """Pictures as whole numbers and what these stand for.

    Attributes:
        pixels (`np.ndarray` of shape `(t, z, y, x)`, uint16).
        slope, intercept (`float`): value = slope · pixel + intercept.
        bits (`int`): stored.
        window (two `float`): centre and width of a good display, in values.
    """

    pixels: np.ndarray
    slope: float
    intercept: float
    bits: int
    window: tuple[float, float]

    @property
    def values(self) -> np.ndarray:
        """`pixels` as float32 values."""
        return (self.slope * self.pixels + self.intercept).astype(np.float32)


def stored(scanned: Scanned) -> Stored:
    """Weighted pictures in 12 bits with one scale for the series; maps in tenths of a ms."""
    images, contrast = scanned.images, scanned.series.contrast
    if contrast in MAPS:
        pixels = np.clip(np.rint(images * 10.0), 0, 65535).astype(np.uint16)
        return Stored(pixels, 0.1, 0.0, 16, _WINDOWS_MS[contrast])
    top = float(np.quantile(np.abs(images), 0.998)) or 1.0
    zero = 2048 if contrast in SIGNED else 0
    pixels = np.clip(np.rint(images * (1500.0 / top)) + zero, 0, 4095).astype(np.uint16)
    low, high = np.quantile(pixels, [0.02, 0.99]) - zero
    return Stored(pixels, 1.0, float(-zero), 12, (float(round((low + high) / 2)), float(max(1.0, round(high - low)))))
