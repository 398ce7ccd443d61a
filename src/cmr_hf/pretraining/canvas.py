"""Packed pictures of 8 bits to what the processor would give: the 98th percentile of the real pixels at the top."""

from __future__ import annotations

import torch
from torch import Tensor

PERCENTILE = 98.0  # of CMRImageProcessor
GREY = 100.0  # a grey value on a canvas
FLOOR = 2.0  # a black real pixel on a canvas; padding is 0


def checked(images: Tensor) -> None:
    """Refuses what is not a batch of packed pictures."""
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.dtype != torch.uint8:
        raise ValueError(
            f"`images` must be uint8 of shape (batch, side, side), got {images.dtype} of {tuple(images.shape)}: "
            "pack them with training/prepare.py"
        )


def real_lines(extents: Tensor, side: int) -> Tensor:
    """Which rows and columns are no padding, shape `(batch, 2, side)`; a picture lies in the middle of its canvas."""
    extents = extents.clamp(min=2, max=side)
    start = (side - extents) // 2
    at = torch.arange(side, device=extents.device)
    return (at >= start[:, :, None]) & (at < (start + extents)[:, :, None])


def limits(images: Tensor, real: Tensor) -> Tensor:
    """The least real value and the 98th percentile of each picture, shape `(batch, 2)`: counts of the 256 values.

    Of every second row and column: a quarter of the work, and at most one grey value off.

    Args:
        images (`torch.Tensor` of shape `(batch, side, side)`, uint8), real (`torch.Tensor` of shape
            `(batch, 2, side)`): see `real_lines`.
    """
    real = real[:, :, ::2]
    values = torch.where(real[:, 0, :, None] & real[:, 1, None, :], images[:, ::2, ::2].int(), 256)
    values += torch.arange(0, 257 * len(images), 257, dtype=torch.int32, device=images.device)[:, None, None]
    counts = torch.bincount(values.flatten(), minlength=257 * len(images))
    below = counts.view(-1, 257)[:, :256].cumsum(dim=1)
    rank = (below[:, -1:] - 1) * (PERCENTILE / 100)
    return torch.cat(((below <= 0).sum(1, keepdim=True), (below <= rank).sum(1, keepdim=True)), dim=1).float()


def as_canvas(images: Tensor, extents: Tensor, bounds: Tensor | None = None) -> Tensor:
    """Real pixels as 2 … 25502, padding as 0, so that a crop tells padding from dark air whatever is interpolated.

    The offset is small beside a grey value and not below the width of −1 … 1: the canvas has a logarithm wherever it is
    real, and bounds what a view may show from above where it is not.

    Args:
        images (`torch.Tensor` of shape `(batch, side, side)`, uint8), extents (`torch.Tensor` of shape `(batch, 2)`).
        bounds (`torch.Tensor` of shape `(batch, 2)`, *optional*): `limits`, where they are known.

    Returns:
        `torch.Tensor` of shape `(batch, 1, side, side)`, float32.
    """
    real = real_lines(extents, images.shape[-1])
    low, high = (limits(images, real) if bounds is None else bounds)[:, :, None, None].unbind(dim=1)
    canvas = images.float().sub_(low).mul_(255 * GREY / (high - low).clamp(min=1)).clamp_(0, 255 * GREY).add_(FLOOR)
    if images.device.type == "cpu" and real.all():
        return canvas[:, None]
    real = real.float()
    return canvas.mul_(real[:, 0, :, None]).mul_(real[:, 1, None, :])[:, None]


def to_pixel_values(images: Tensor, extents: Tensor) -> Tensor:
    """What `CMRImageProcessor` gives, but for the 8 bits: shape `(batch, 1, side, side)`, −1 … 1, padding −1."""
    checked(images)
    return as_canvas(images, extents).sub_(FLOOR).mul_(2 / (255 * GREY)).sub_(1).clamp_(min=-1)
