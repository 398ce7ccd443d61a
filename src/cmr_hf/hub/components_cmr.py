"""One whole piece per structure: islands far from the heart are taken away, holes within a structure are filled."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

CELL = 4  # pixels; islands nearer than this to a piece belong to it
LEFT_VENTRICLE = (1, 2)  # cavity and wall, as the package numbers them: one structure from slice to slice
CAVITY, WALL = LEFT_VENTRICLE
FOLLOWS = 0.05  # of a piece lies where the structure was in the slice before; chosen on ACDC's validation patients


def clean_labels(labels: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Label maps without islands (`keep_largest_components`) and, after that, without holes (`fill_holes`).

    Args:
        labels (`torch.Tensor` of shape `(t, z, y, x)`, uint8): label maps, slices in order.
        classes (list of `int`): ids of which there is one whole piece, chambers and walls, not scars.

    Returns:
        `torch.Tensor` of the same shape and type.
    """
    return fill_holes(keep_largest_components(labels, classes), classes)


def fill_holes(labels: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Gives background that one structure encloses in its slice to that structure.

    Enclosed is what no way over edges of pixels leads out of, and whose every neighbour has one and the same label. A
    hole in the wall is filled only in slices that show the cavity elsewhere: else it is where the cavity should be.

    Args:
        labels (`torch.Tensor` of shape `(t, z, y, x)`, uint8)
        classes (list of `int`): ids of structures without holes.

    Returns:
        `torch.Tensor` of the same shape and type.
    """
    box = box_of(labels) if classes else None
    if box is None:
        return labels.clone()
    heart = np.pad(labels[..., box[0], box[1]].flatten(0, 1).numpy(), ((0, 0), (1, 1), (1, 1)))  # (n, y, x)
    values, step = heart.reshape(-1), heart.shape[-1]
    holes = _enclosed(heart)
    if not len(holes):
        return labels.clone()
    low, high = np.where(values, values, 255), values.copy()
    around = holes[:, None] + np.array([0, -1, 1, -step, step])
    while True:  # the least and the greatest label beside a hole spread over it until nothing changes
        least, most = low[around].min(axis=1), high[around].max(axis=1)
        if np.array_equal(least, low[holes]) and np.array_equal(most, high[holes]):
            break
        low[holes], high[holes] = least, most
    filled = (least == most) & np.isin(least, list(classes))
    shows = (heart == CAVITY).any(axis=(1, 2))
    filled &= (least != WALL) | shows[holes // heart[0].size]
    values[holes[filled]] = least[filled]
    result = labels.clone()
    inner = torch.from_numpy(heart[:, 1:-1, 1:-1]).unflatten(0, labels.shape[:2])
    result[..., box[0], box[1]] = inner
    return result


def _enclosed(heart: np.ndarray) -> np.ndarray:
    """Flat indices of the background of `(n, y, x)`, whose rim is background, from which no way leads out."""
    there = heart > 0
    between = ~there
    for axis in (1, 2):  # few pixels have something on all four sides
        for along in (there, np.flip(there, axis)):
            passed = np.maximum.accumulate(along, axis=axis)
            between &= passed if along is there else np.flip(passed, axis)
    open_, step = (~there & ~between).reshape(-1), heart.shape[-1]
    inside = np.flatnonzero(between)
    while len(inside):  # what touches the open becomes open
        reached = open_[inside - 1] | open_[inside + 1] | open_[inside - step] | open_[inside + step]
        if not reached.any():
            break
        open_[inside[reached]] = True
        inside = inside[~reached]
    return inside


def keep_largest_components(labels: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Keeps, per phase and class, the largest piece of the stack, and of that what goes on from slice to slice.

    Pieces are found on cells of 4 × 4 pixels, neighbours in the slice, across slices and over corners. Then, from the
    slice with most of a structure outward to base and apex, a piece of a slice stays if a twentieth of it lies where
    the structure was in the last slice that has any: a ventricle does, a vessel or an atrium behind its base does not.
    All else becomes background.

    Args:
        labels (`torch.Tensor` of shape `(t, z, y, x)`, uint8): label maps, slices in order.
        classes (list of `int`): ids of which there is one piece, chambers and walls, not scars.

    Returns:
        `torch.Tensor` of the same shape and type.
    """
    cleaned = labels.clone()
    box = box_of(labels) if classes else None
    if box is None:
        return cleaned
    heart = cleaned[..., box[0], box[1]]  # a view: what is taken away here is taken away there
    for label in classes:
        mask = heart == label
        if mask.any():
            heart[mask & ~largest_component(mask)] = 0
    left = [label for label in LEFT_VENTRICLE if label in classes]
    for group in (left, *([label] for label in classes if label not in left)):
        mask = one_of(heart, group)
        if mask.shape[1] > 1 and mask.any():
            heart[mask & ~following_pieces(mask, FOLLOWS)] = 0
    return cleaned


def one_of(labels: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Where `labels` is one of `classes`; several times as fast as `torch.isin`."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    for label in classes:
        found |= labels == label
    return found


def box_of(labels: torch.Tensor) -> tuple[slice, slice] | None:
    """Rows and columns outside of which labels `(t, z, y, x)` are 0, from a cell's first; `None` without any."""
    anywhere = labels.flatten(0, 1).amax(dim=0)
    rows, columns = (torch.nonzero(anywhere.amax(dim=1 - axis)).flatten().tolist() for axis in (0, 1))
    if not rows:
        return None
    return tuple(slice(found[0] // CELL * CELL, found[-1] + 1) for found in (rows, columns))


def largest_component(mask: torch.Tensor) -> torch.Tensor:
    """The largest piece of each phase of `mask`, a bool `torch.Tensor` of shape `(t, z, y, x)`."""
    pixels = pixels_per_cell(mask)
    numbers = numbered_pieces(pixels > 0, (1, 2, 3)).flatten(1)
    sizes = torch.zeros(len(mask), pixels[0].numel() + 1).scatter_add_(1, numbers, pixels.flatten(1))
    kept = (numbers == sizes.argmax(dim=1, keepdim=True)) & (numbers > 0)
    return on_pixels(kept.view(pixels.shape), mask)


def following_pieces(mask: torch.Tensor, least: float) -> torch.Tensor:
    """The pieces of slices that go on from the fullest slice of their phase.

    Args:
        mask (`torch.Tensor` of shape `(t, z, y, x)`, bool): one structure.
        least (`float`): share of a piece, 0 … 1, that must lie where the structure was in the last slice that has any.
    """
    cells = pixels_per_cell(mask) > 0
    numbers = numbered_pieces(cells.view(-1, 1, *cells.shape[2:]), (2, 3)).view(cells.shape)  # anew in each slice
    wide = numbers.repeat_interleave(CELL, dim=-2).repeat_interleave(CELL, dim=-1)
    pieces = (wide[..., : mask.shape[-2], : mask.shape[-1]] * mask).flatten(2).numpy()
    most, masks = int(numbers.max()) + 1, mask.flatten(2).numpy()
    kept = masks.copy()
    for phase, sizes in enumerate(masks.sum(-1)):
        fullest = int(sizes.argmax())
        for outward in (range(fullest + 1, len(sizes)), range(fullest - 1, -1, -1)):
            last = masks[phase, fullest]
            for z in outward:
                if not sizes[z]:
                    continue
                piece = pieces[phase, z]
                shared = np.bincount(piece[last], minlength=most)
                stays = shared >= least * np.bincount(piece, minlength=most)
                stays[0] = False
                kept[phase, z] = stays[piece]
                last = kept[phase, z] if kept[phase, z].any() else last
    return torch.from_numpy(kept).view(mask.shape)


def pixels_per_cell(mask: torch.Tensor) -> torch.Tensor:
    """How many pixels of `mask` `(t, z, y, x)` lie in each cell, `(t, z, y / 4, x / 4)`."""
    height, width = mask.shape[-2:]
    padded = F.pad(mask.float(), (0, -width % CELL, 0, -height % CELL))
    return F.avg_pool2d(padded, CELL) * CELL**2


def numbered_pieces(cells: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """A number from 1 for each connected piece of each phase; 0 outside. Neighbours along `axes` and over corners."""
    piece = torch.arange(1, cells[0].numel() + 1).view(1, *cells.shape[1:]) * cells
    while True:  # the greatest number of a piece spreads until nothing changes
        spread = piece
        for axis in axes:
            spread = greatest_of_neighbours(spread, axis)
        spread = spread * cells
        if torch.equal(spread, piece):
            return piece
        known = F.pad(spread.flatten(1), (1, 0))  # and jumps: what the cell of this number has heard of
        piece = known.gather(1, spread.flatten(1)).view(spread.shape)


def on_pixels(cells: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The pixels of `mask` in chosen cells."""
    wide = cells.repeat_interleave(CELL, dim=-2).repeat_interleave(CELL, dim=-1)
    return wide[..., : mask.shape[-2], : mask.shape[-1]] & mask


def greatest_of_neighbours(values: torch.Tensor, axis: int) -> torch.Tensor:
    """The greatest of each value and those before and after it along one axis."""
    result, length = values.clone(), values.shape[axis]
    for from_, to in ((0, 1), (1, 0)):
        target = result.narrow(axis, to, length - 1)
        target.copy_(torch.maximum(target, values.narrow(axis, from_, length - 1)))
    return result
