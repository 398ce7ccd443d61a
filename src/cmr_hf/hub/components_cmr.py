"""One piece per structure: islands far from the heart are taken away."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

CELL = 4  # pixels; islands nearer than this to a piece belong to it


def keep_largest_components(labels: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Keeps, per phase and class, the largest connected piece of the stack; the rest becomes background.

    Pieces are found on cells of 4 × 4 pixels, neighbours in the slice, across slices and over corners.

    Args:
        labels (`torch.Tensor` of shape `(t, z, y, x)`, uint8): label maps.
        classes (list of `int`): ids of which there is one piece, chambers and walls, not scars.

    Returns:
        `torch.Tensor` of the same shape and type.
    """
    cleaned = labels.clone()
    for label in classes:
        mask = labels == label
        if mask.any():
            cleaned[mask & ~largest_component(mask)] = 0
    return cleaned


def largest_component(mask: torch.Tensor) -> torch.Tensor:
    """The largest piece of each phase of `mask`, a bool `torch.Tensor` of shape `(t, z, y, x)`."""
    height, width = mask.shape[-2:]
    padded = F.pad(mask.float(), (0, -width % CELL, 0, -height % CELL))
    pixels = F.avg_pool2d(padded, CELL) * CELL**2  # of the mask, per cell (t, z, y / 4, x / 4)
    cells = pixels > 0
    piece = torch.arange(1, cells[0].numel() + 1).view(1, *cells.shape[1:]) * cells
    while True:  # the greatest number of a piece spreads until nothing changes
        spread = piece
        for axis in (1, 2, 3):
            spread = greatest_of_neighbours(spread, axis)
        spread = spread * cells
        if torch.equal(spread, piece):
            break
        known = F.pad(spread.flatten(1), (1, 0))  # and jumps: what the cell of this number has heard of
        piece = known.gather(1, spread.flatten(1)).view(spread.shape)
    numbers = piece.flatten(1)
    sizes = torch.zeros(len(mask), cells[0].numel() + 1).scatter_add_(1, numbers, pixels.flatten(1))
    kept = (numbers == sizes.argmax(dim=1, keepdim=True)) & (numbers > 0)
    kept = kept.view(pixels.shape).repeat_interleave(CELL, dim=-2).repeat_interleave(CELL, dim=-1)
    return kept[..., :height, :width] & mask


def greatest_of_neighbours(values: torch.Tensor, axis: int) -> torch.Tensor:
    """The greatest of each value and those before and after it along one axis."""
    result, length = values.clone(), values.shape[axis]
    for from_, to in ((0, 1), (1, 0)):
        target = result.narrow(axis, to, length - 1)
        target.copy_(torch.maximum(target, values.narrow(axis, from_, length - 1)))
    return result
