"""Slices of any size and spacing -> pictures of 8 bits at 1 mm, windowed together, with the hash of their pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from ...hub.image_processing_cmr import CMRImageProcessor, resampling_matrix
from .records import SIDE, SPACING_MM, pixel_hash

PERCENTILES = (0.1, 99.9)  # become 0 and 255: the processor's 98th percentile of each slice stays below the top
DEFAULT_SPACING_MM = CMRImageProcessor().default_spacing_mm
_SAMPLED = 2_000_000  # values that a percentile is taken of
BLANK_SHARE = 0.995  # of pixels with one value, from which on a picture is blank
BLANK_DEVIATION = 2.0  # of 255
LABELS = 16  # different values of a label map at most


@dataclass
class Volume:
    """Slices that are windowed together: one series, or a part of it.

    Attributes:
        spacing_mm (two `float`, *optional*): (row, column); `None` where unknown.
        crops (`list` of `np.ndarray` of shape `(y, x)`, float32): at 1 mm, what lies in the square of 224 mm.
        hashes (`list` of `str`): of the pixels before.
    """

    spacing_mm: tuple[float, float] | None
    crops: list[np.ndarray] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    _matrices: dict[tuple[int, ...], tuple] = field(default_factory=dict)

    def add(self, pixels: np.ndarray) -> None:
        """Adds one slice.

        Args:
            pixels (`np.ndarray` of shape `(y, x)`): finite values of any real type.

        Raises:
            ValueError: the slice is smaller than 1 mm.
        """
        if pixels.shape not in self._matrices:
            self._matrices[pixels.shape] = self._axes(pixels.shape)
        rows, columns = self._matrices[pixels.shape]
        crop = rows @ torch.from_numpy(np.ascontiguousarray(pixels, np.float32)) @ columns  # (y, x) -> (224, 224)
        self.crops.append(crop.numpy())
        self.hashes.append(pixel_hash(pixels))

    def _axes(self, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        spacing = self.spacing_mm or (DEFAULT_SPACING_MM, DEFAULT_SPACING_MM)
        made = []
        for length, source_mm in zip(shape, spacing, strict=True):
            matrix, (first, end) = resampling_matrix(length, source_mm, SIDE, SPACING_MM)
            if first == end:
                raise ValueError(f"a slice of {shape} pixels of {spacing} mm is smaller than 1 mm: check its spacing")
            made.append(matrix[first:end])
        return made[0], made[1].T.contiguous()

    def pictures(self) -> list[np.ndarray]:
        """Each slice as uint8: the 0.1th and 99.9th percentile over all slices become 0 and 255."""
        low, high = self._window()
        scale = 255 / (high - low) if high > low else 0.0
        return [np.clip(np.rint((crop - low) * scale), 0, 255).astype(np.uint8) for crop in self.crops]

    def _window(self) -> tuple[float, float]:
        step = 1 + sum(crop.size for crop in self.crops) // _SAMPLED
        values = np.concatenate([crop.ravel()[::step] for crop in self.crops])
        low, high = (float(value) for value in np.percentile(values, PERCENTILES))
        if high - low <= 1e-5 * max(abs(low), abs(high)):  # what resampling rounds is no contrast
            high = low
        return low, high


def blank(picture: np.ndarray) -> str | None:
    """Why a picture shows nothing; `None` where it shows something.

    Args:
        picture (`np.ndarray` of shape `(y, x)`, uint8)
    """
    counts = np.bincount(picture.ravel(), minlength=256)
    if counts.max() > BLANK_SHARE * picture.size:
        return f"is blank: {counts.max() / picture.size:.1%} of its pixels have one value"
    deviation = float(picture.std())
    if deviation < BLANK_DEVIATION:
        return f"is nearly constant: its values differ by {deviation:.1f} of 255"
    return None


def looks_like_labels(pixels: np.ndarray) -> bool:
    """Whether an array holds a label map: few different whole numbers.

    Args:
        pixels (`np.ndarray`): of any shape.
    """
    some = pixels.ravel()[:: 1 + pixels.size // _SAMPLED]
    if len(np.unique(some[: 1 << 16])) > LABELS:  # sorting all of them takes long
        return False
    values = np.unique(some)
    return len(values) <= LABELS and bool((values == np.rint(values)).all())


def looks_like_ct(pixels: np.ndarray) -> bool:
    """Whether values are Hounsfield units: a hundredth of them or more is air, and none lies far below it.

    Args:
        pixels (`np.ndarray`): of any shape.
    """
    some = pixels.ravel()[:: 1 + pixels.size // _SAMPLED].astype(np.float32)
    air = (some >= -1100) & (some <= -900)
    return bool(air.mean() > 0.01 and some.min() >= -3100 and some.max() > -900)


def first_of_each(hashes: Iterable[str]) -> list[bool]:
    """Whether each hash comes for the first time."""
    seen: set[str] = set()
    return [not (one in seen or seen.add(one)) for one in hashes]
