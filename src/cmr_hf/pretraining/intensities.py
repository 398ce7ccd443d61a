"""What scanners do to contrast, by the batch: gamma, coil sensitivity, resolution and ringing, noise, window."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

COIL_WAVES = 8
NOISE_POOL = 1 << 22  # standard normal values, of which each crop takes a stretch at a drawn place


@lru_cache(maxsize=8)
def coil_basis(size: int, device: torch.device) -> Tensor:
    """Smooth functions over a square, shape `(8, size * size)`: products of cosines, the constant left out."""
    at = (torch.arange(size, device=device) + 0.5) / size
    waves = torch.stack([torch.cos(math.pi * order * at) for order in range(3)])
    return torch.einsum("ih,jw->ijhw", waves, waves).flatten(0, 1)[1:].flatten(1)


def vary_contrast(images: Tensor, gamma: Tensor, coil: Tensor) -> Tensor:
    """Gamma and coil sensitivity in one pass, `image ** gamma * exp(bias)`; `images` are used up.

    Args:
        images (`torch.Tensor` of shape `(n, size, size)`): 0 … 255.
        gamma (`torch.Tensor` of shape `(n, 1)`), coil (`torch.Tensor` of shape `(n, 8)`): weights of `coil_basis`.

    Returns:
        `torch.Tensor` of shape `(n, size, size)`, 255 as 1 before the bias.
    """
    bias = torch.addmm(-math.log(255) * gamma, coil, coil_basis(images.shape[-1], images.device)).view_as(images)
    return torch.addcmul(bias, images.clamp_(min=0.02).log_(), gamma[:, :, None], out=bias).exp_()


def k_space_filter(size: int, sigma: Tensor, kept: Tensor) -> Tensor:
    """What is left of each spatial frequency, shape `(n, size, size // 2 + 1)`, in the order of `torch.fft.rfft2`.

    Args:
        sigma (`torch.Tensor` of shape `(n, 1)`): standard deviation of a Gaussian blur, in pixels; 0 for none.
        kept (`torch.Tensor` of shape `(n, 2)`): part of k-space that was acquired along (row, column); the sharp edge
            rings (Gibbs).
    """

    def along(frequency: Tensor, part: Tensor) -> Tensor:
        blur = torch.exp(-2 * (math.pi * sigma * frequency) ** 2)
        return blur * (2 * frequency.abs() <= part[:, None])

    rows = along(torch.fft.fftfreq(size, device=sigma.device), kept[:, 0])
    columns = along(torch.fft.rfftfreq(size, device=sigma.device), kept[:, 1])
    return rows[:, :, None] * columns[:, None, :]


def filter_in_k_space(images: Tensor, sigma: Tensor, kept: Tensor) -> Tensor:
    """Blur and ringing of `images` of shape `(n, size, size)`."""
    size = images.shape[-1]
    return torch.fft.irfft2(torch.fft.rfft2(images) * k_space_filter(size, sigma, kept), s=(size, size))


class NoisePool:
    """Rician noise from one pool of normal values, made once on the CPU and so equal on every device.

    Args:
        seed (`int`): of the run.
    """

    def __init__(self, seed: int):
        self._values = torch.randn(NOISE_POOL, generator=torch.Generator().manual_seed(seed))

    def add(self, images: Tensor, level: Tensor, place: Tensor) -> Tensor:
        """Magnitude of the images with complex noise.

        Args:
            images (`torch.Tensor` of shape `(n, size, size)`).
            level (`torch.Tensor` of shape `(n, 1)`): standard deviation of each component, 1 is white.
            place (`torch.Tensor` of shape `(n, 2)`): 0 … 1, where in the pool the two components begin.
        """
        pool = self._values = self._values.to(images.device)
        pixels = images.shape[-2] * images.shape[-1]
        start = (place * (len(pool) - pixels)).long()
        real, imaginary = (self._stretches(start[:, part], pixels).view_as(images) for part in (0, 1))
        level = level[:, :, None]
        return real.mul_(level).add_(images).square_().add_(imaginary.mul_(level).square_()).sqrt_()

    def _stretches(self, start: Tensor, length: int) -> Tensor:
        if start.device.type == "cpu":  # copies of slices are quicker than an index, but on a GPU they would wait
            return torch.stack([self._values[one : one + length] for one in start.tolist()])
        return self._values.unfold(0, length, 1)[start]
