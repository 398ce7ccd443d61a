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
def coil_waves(size: int, device: torch.device) -> Tensor:
    """Three smooth functions of a row or column, shape `(3, size)`: cosines of no, half a and a whole wave."""
    at = (torch.arange(size, device=device) + 0.5) / size
    return torch.stack([torch.cos(math.pi * order * at) for order in range(3)])


def contrast_rows(size: int, gamma: Tensor, scale: Tensor, coil: Tensor) -> Tensor:
    """The logarithm of `scale`, grey unit and coil sensitivity, as factors of `coil_waves` along each row.

    A product with `coil_waves` gives the field: three numbers a row are a tenth of nine numbers a pixel.

    Args:
        gamma (`torch.Tensor` of shape `(…, 1)`), scale (`torch.Tensor` of shape `(…, 1)`).
        coil (`torch.Tensor` of shape `(…, 8)`): weights of products of waves but for the constant.

    Returns:
        `torch.Tensor` of shape `(…, size, 3)`.
    """
    weights = torch.cat((scale.log() - math.log(255 * GREY) * gamma, coil), dim=-1).unflatten(-1, (3, 3))
    return coil_waves(size, coil.device).T @ weights


def vary_contrast(canvas: Tensor, gamma: Tensor, rows: Tensor) -> Tensor:
    """Gamma, window and coil sensitivity at once, `scale * image ** gamma * exp(bias)`.

    Args:
        canvas (`torch.Tensor` of shape `(n, size, size)`): crops of `as_canvas`, 0 or above.
        gamma (`torch.Tensor` of shape `(n, 1)`), above 0.
        rows (`torch.Tensor` of shape `(n, size, 3)`): see `contrast_rows`.

    Returns:
        `torch.Tensor` of shape `(n, size, size)`, 255 as `scale` before the bias, padding 0.
    """
    size = canvas.shape[-1]
    logarithm = canvas.log().mul_(gamma[:, :, None])  # −∞ where there is padding
    logarithm.view(-1, size).addmm_(rows.flatten(0, 1), coil_waves(size, canvas.device))
    return logarithm.exp_()


@lru_cache(maxsize=2)
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where hardware multiplies matrices of it: half a grey value is lost, and most of the time saved."""
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if device != "cpu" or known.get("avx512_bf16") or known.get("amx_bf16") else torch.float32


def k_space_kernels(size: int, sigma: Tensor, kept: Tensor) -> Tensor:
    """What blur and ringing do to a point, along the rows' direction and along the columns': shape `(…, 2, size)`.

    Args:
        sigma (`torch.Tensor` of shape `(…, 1)`): standard deviation of a Gaussian blur, in pixels; 0 for none.
        kept (`torch.Tensor` of shape `(…, 2)`): part of k-space that was acquired along (row, column); the sharp edge
            rings (Gibbs).
    """
    frequency = torch.fft.rfftfreq(size, device=sigma.device)
    left = torch.exp(-2 * (math.pi * sigma * frequency) ** 2)[..., None, :] * (2 * frequency <= kept[..., None])
    return torch.fft.irfft(left, n=size)


def filter_in_k_space(images: Tensor, kernels: Tensor) -> Tensor:
    """Blur and ringing by two products with circulant matrices, quicker than an FFT.

    Args:
        images (`torch.Tensor` of shape `(n, size, size)`).
        kernels (`torch.Tensor` of shape `(n, 2, size)`): see `k_space_kernels`; even, in the images' precision.
    """
    size = images.shape[-1]
    both = kernels.transpose(0, 1)
    twice = torch.cat((both, both), dim=-1)
    rows, columns = twice.unfold(-1, size, 1)[..., 1:, :].flip(-2)  # [i, j] is kernel[(j - i) mod size]
    return torch.bmm(torch.bmm(rows, images), columns)


def filter_some(images: Tensor, chosen: Tensor, kernels: Tensor) -> None:
    """`filter_in_k_space` for the `chosen` of `images` (their numbers), in place, in the precision of the kernels."""
    parts = images.unbind()
    parts = [parts[number] for number in chosen.tolist()]
    some = torch.empty(len(parts), *images.shape[1:], dtype=kernels.dtype, device=images.device)
    torch._foreach_copy_(list(some.unbind()), parts)
    torch._foreach_copy_(parts, list(filter_in_k_space(some, kernels).unbind()))


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
