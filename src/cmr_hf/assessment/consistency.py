"""Light consistency of label maps through the stack and over time. Conservative: it only takes away what cannot be.

1. *Through the stack*: of the chambers and walls that the model says are one piece, the largest piece of each phase is
   kept; islands become background (as in `pipeline("cmr-segmentation")`).
2. *Over time*: a slice whose area of a structure jumps in one phase, by more than `JUMP` of the mean of the phases
   before and after that agree with each other within `AGREE`, is a slip of the model: its pixels take the label that at
   least two of the three phases give them (its own where all three differ). Where a slice beside it moves the same way
   in that phase, it is the heart that moves (an ED or ES between two phases), and nothing is done. All else stays as
   the model drew it, so ED and ES are not smoothed.

What was changed is counted and named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..hub.components_cmr import keep_largest_components

JUMP = 0.4
AGREE = 0.2
LEAST_PIXELS = 30  # of the mean of the neighbours: a structure smaller than this comes and goes
FEWEST_PHASES = 8
ALONG = 0.25  # part of a jump that a slice beside may move along


@dataclass(frozen=True)
class Consistent:
    """Label maps after the two steps.

    Attributes:
        labels (`np.ndarray` of shape `(t, z, y, x)`, uint8)
        islands (`int`): pixels that were taken away.
        mended (`tuple` of two `int`): (phase, slice), from 0, that were drawn by their neighbours.
    """

    labels: np.ndarray
    islands: int = 0
    mended: tuple[tuple[int, int], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, for a reader; counted from 1."""
        found = [f"{self.islands} pixels of islands were taken away"] if self.islands else []
        for t, z in self.mended:
            found.append(f"phase {t + 1}, slice {z + 1}: an area jumped, so the phases beside it had a vote")
        return tuple(found)


def made_consistent(labels: np.ndarray, single: Sequence[int] = (), cyclic: bool = True) -> Consistent:
    """Label maps without islands and without slips in single phases.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`, uint8)
        single (list of `int`): labels of which there is one piece.
        cyclic (`bool`): the last phase is followed by the first.
    """
    labels = np.ascontiguousarray(labels, dtype=np.uint8)
    if labels.ndim != 4:
        raise ValueError(f"`labels` needs shape (t, z, y, x), got {labels.shape}: add the axes that are missing")
    cleaned = keep_largest_components(torch.from_numpy(labels), list(single)).numpy() if single else labels
    islands = int(np.count_nonzero(cleaned != labels))
    if len(labels) < FEWEST_PHASES:
        return Consistent(cleaned, islands)
    slips = _slips(cleaned, cyclic)
    mended = cleaned.copy()
    for t, z in slips:
        before, after = cleaned[t - 1, z], cleaned[(t + 1) % len(cleaned), z]
        mended[t, z] = np.where(before == after, before, cleaned[t, z])
    return Consistent(mended, islands, tuple(slips))


def _slips(labels: np.ndarray, cyclic: bool) -> list[tuple[int, int]]:
    """(phase, slice) whose area jumps between neighbours that agree; never two in a row."""
    found: set[tuple[int, int]] = set()
    phases = len(labels)
    for label in np.unique(labels):
        if label == 0:
            continue
        areas = np.count_nonzero(labels == label, axis=(2, 3)).astype(float)  # (t, z)
        before, after = np.roll(areas, 1, axis=0), np.roll(areas, -1, axis=0)
        mean = (before + after) / 2
        change = np.divide(areas - mean, mean, out=np.zeros_like(mean), where=mean > 0)
        beside = np.pad(change, ((0, 0), (1, 1)))
        same_way = np.maximum(beside[:, :-2] * np.sign(change), beside[:, 2:] * np.sign(change))
        jumps = (np.abs(change) > JUMP) & (same_way < ALONG * np.abs(change))
        alike = np.abs(before - after) <= AGREE * mean
        off = jumps & alike & (mean >= LEAST_PIXELS)
        if not cyclic:
            off[[0, -1]] = False
        found |= {(int(t), int(z)) for t, z in np.argwhere(off)}
    return sorted((t, z) for t, z in found if ((t - 1) % phases, z) not in found and ((t + 1) % phases, z) not in found)
