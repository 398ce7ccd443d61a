"""Smooth random fields in space, looked up point by point: what makes outlines and textures irregular."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 128  # voxels of the periodic cube, a power of two
_WAVE = 16  # voxels of its mean wavelength
_STEP = 1 / 32  # of the stored whole numbers
_SMOOTH_SIDE, _SMOOTH_WAVE = 64, 8


def _band(side: int, wave: int, seed: int) -> Tensor:
    """A periodic cube of white noise in a band of wavelengths, mean 0 and SD 1, the same on every device."""
    white = torch.randn(side, side, side, generator=torch.Generator().manual_seed(seed))
    frequency = torch.fft.fftfreq(side)
    radius = sum(axis.square() for axis in torch.meshgrid(frequency, frequency, frequency, indexing="ij")).sqrt()
    field = torch.fft.ifftn(torch.fft.fftn(white) * (-((radius * wave - 1) / 0.45).square()).exp()).real
    return field / field.std()


@lru_cache(maxsize=4)
def _cube(device: str) -> Tensor:
    """Flat, int8, in steps of 1/32."""
    return (_band(SIDE, _WAVE, 20) / _STEP).round().clamp(-127, 127).to(torch.int8).flatten().to(device)


@lru_cache(maxsize=4)
def _pair(device: str) -> Tensor:
    """Two independent fields, one voxel more than a period along each axis, shape (1, 2, side + 1, …)."""
    both = torch.stack([_band(_SMOOTH_SIDE, _SMOOTH_WAVE, seed) for seed in (21, 22)])
    return functional.pad(both[None], (0, 1, 0, 1, 0, 1), mode="circular").to(device)


def smooth_noise_at(points: Tensor, wavelength_mm: float, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent fields like that of `noise_at`, but without steps, for outlines that are seen.

    Args:
        points (`torch.Tensor` of shape `(b, n, 3)`): in mm.
        wavelength_mm (`float`): of the irregularities.
        offset (`torch.Tensor` of shape `(b, 1)`): moves each heart to another part of the field, mm.

    Returns:
        two `torch.Tensor` of shape `(b, n)`.
    """
    scale = _SMOOTH_WAVE / wavelength_mm / _SMOOTH_SIDE
    away = offset[..., None] * offset.new_tensor((1.0, -0.7, 1.3))
    place = torch.frac((points + away) * scale + 64.0) * 2 - 1
    found = functional.grid_sample(
        _pair(str(points.device)).expand(len(points), -1, -1, -1, -1), place[:, :, None, None], align_corners=True
    )
    first, second = found[:, :, :, 0, 0].unbind(1)
    return first, second


def noise_at(x: Tensor, y: Tensor, z: Tensor, wavelength_mm: float, offset: Tensor) -> Tensor:
    """A field of mean 0 and SD 1 at points, in steps of a sixteenth of its wavelength: for fine textures.

    Args:
        x, y, z (`torch.Tensor` of shape `(b, n)`): in mm.
        wavelength_mm (`float`): of the irregularities; the field has period `8 * wavelength_mm`.
        offset (`torch.Tensor` of shape `(b, 1)`): moves each heart to another part of the field, mm.

    Returns:
        `torch.Tensor` of shape `(b, n)`.
    """
    scale = _WAVE / wavelength_mm

    def voxel(axis: Tensor, move: Tensor) -> Tensor:
        return torch.add(move * scale + 64 * SIDE, axis, alpha=scale).to(torch.int32) & (
            SIDE - 1
        )  # positive: rounds down

    index = (voxel(x, offset) * SIDE + voxel(y, -0.7 * offset)) * SIDE + voxel(z, 1.3 * offset)
    return _cube(str(x.device))[index].float() * _STEP
