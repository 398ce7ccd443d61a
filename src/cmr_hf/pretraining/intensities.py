"""What scanners do to contrast, by the batch: gamma, coil sensitivity, resolution and ringing, noise, window."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .canvas import GREY

COIL_WAVES = 8
NOISE_POOL = 1 << 22  # standard normal values, of which each crop takes a stretch at a drawn place


@lru_cache(maxsize=8)
def coil_basis(size: int, device: torch.device) -> Tensor:
    """Smooth functions over a square, shape `(9, size * size)`: products of cosines, the constant first."""
    at = (torch.arange(size, device=device) + 0.5) / size
    waves = torch.stack([torch.cos(math.pi * order * at) for order in range(3)])
    return torch.einsum("ih,jw->ijhw", waves, waves).flatten(0, 1).flatten(1)


def vary_contrast(canvas: Tensor, gamma: Tensor, scale: Tensor, coil: Tensor) -> Tensor:
    """Gamma, window and coil sensitivity in one pass, `scale * image ** gamma * exp(bias)`.

    Args:
        canvas (`torch.Tensor` of shape `(n, size, size)`): crops of `as_canvas`, above 0.
        gamma (`torch.Tensor` of shape `(n, 1)`), scale (`torch.Tensor` of shape `(n, 1)`).
        coil (`torch.Tensor` of shape `(n, 8)`): weights of `coil_basis` but for the constant.

    Returns:
        `torch.Tensor` of shape `(n, size, size)`, 255 as `scale` before the bias, padding about 0.
    """
    weights = torch.cat((scale.log() - math.log(255 * GREY) * gamma, coil), dim=1)
    logarithm = canvas.flatten(1).log().mul_(gamma)
    return logarithm.addmm_(weights, coil_basis(canvas.shape[-1], canvas.device)).exp_().view_as(canvas)


@lru_cache(maxsize=2)
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where hardware multiplies matrices of it: half a grey value is lost, and most of the time saved."""
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if device != "cpu" or known.get("avx512_bf16") or known.get("amx_bf16") else torch.float32


def k_space_matrices(size: int, sigma: Tensor, kept: Tensor, dtype: torch.dtype) -> Tensor:
    """Blur and ringing along rows and along columns, as a product with a circulant matrix: shape `(2, n, size, size)`.

    Args:
        sigma (`torch.Tensor` of shape `(n, 1)`): standard deviation of a Gaussian blur, in pixels; 0 for none.
        kept (`torch.Tensor` of shape `(n, 2)`): part of k-space that was acquired along (row, column); the sharp edge
            rings (Gibbs).
    """
    frequency = torch.fft.rfftfreq(size, device=sigma.device)
    left = torch.exp(-2 * (math.pi * sigma * frequency) ** 2) * (2 * frequency <= kept.T[:, :, None])
    kernel = torch.fft.irfft(left, n=size).to(dtype)  # (2, n, size), and even
    twice = torch.cat((kernel, kernel), dim=-1)
    return twice.unfold(-1, size, 1)[..., 1:, :].flip(-2)  # [i, j] is kernel[(j - i) mod size]


def filter_in_k_space(images: Tensor, sigma: Tensor, kept: Tensor) -> Tensor:
    """Blur and ringing of `images` of shape `(n, size, size)`: two products of matrices are quicker than an FFT.

    Args:
        sigma (`torch.Tensor` of shape `(n, 1)`), kept (`torch.Tensor` of shape `(n, 2)`): see `k_space_matrices`.
    """
    rows, columns = k_space_matrices(images.shape[-1], sigma, kept, images.dtype)
    return torch.bmm(torch.bmm(rows, images), columns)


class NoisePool:
    """Rician noise from one pool of normal values, made once on the CPU and so equal on every device.

    Args:
        seed (`int`): of the run.
    """

    def __init__(self, seed: int):
        self._values = torch.randn(NOISE_POOL, generator=torch.Generator().manual_seed(seed))

    def add(self, images: Tensor, level: Tensor, place: Tensor) -> None:
        """Turns the images into the magnitude of themselves with complex noise.

        Args:
            images (`torch.Tensor` of shape `(n, size, size)`).
            level (`torch.Tensor` of shape `(n, 1)`): standard deviation of each component, 1 is white; 0 for none.
            place (`torch.Tensor` of shape `(n, 2)`): 0 … 1, where in the pool the two components begin.
        """
        pool = self._values = self._values.to(images.device)
        pixels = images.shape[-2] * images.shape[-1]
        start = (place * (len(pool) - pixels)).long()
        if images.device.type == "cpu":  # picture by picture, all steps on one stay in the cache
            for image, one, (first, second) in zip(
                images.flatten(1), level[:, 0].tolist(), start.tolist(), strict=True
            ):
                if one:
                    imaginary = pool[second : second + pixels]
                    image.add_(pool[first : first + pixels], alpha=one)
                    image.mul_(image).addcmul_(imaginary, imaginary, value=one * one).sqrt_()
            return
        real, imaginary = pool.unfold(0, pixels, 1)[start.T].view(2, *images.shape)
        noisy = (images + level[:, :, None] * real).square_().add_((level[:, :, None] * imaginary).square_()).sqrt_()
        images.copy_(noisy)
