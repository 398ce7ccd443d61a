"""Light consistency of label maps through the stack and over time. Conservative: it only mends what cannot be.

1. *Through the stack*: of the chambers and walls that the model says are one piece, the largest piece of each phase is
   kept, and holes in it are filled (as in `pipeline("cmr-segmentation")`).
2. *Over time*: a slice whose area of a structure jumps in one phase, by more than `JUMP` of the mean of the phases
   before and after that agree with each other within `AGREE`, is a slip of the model: its pixels take the label that at
   least two of the three phases give them (its own where all three differ). Where a slice beside it moves the same way
   in that phase, it is the heart that moves (an ED or ES between two phases), and nothing is done. All else stays as
   the model drew it, so ED and ES are not smoothed.
3. *Atria* may be lost in several phases in a row, where fast blood makes them look like their ventricles. Phases in
   which the area of an atrium leaves its own smooth course over the cycle (`clinical.courses`), at most a fifth of
   them, are drawn by the nearest phases before and after that keep to it, in the same way. Where most phases keep to no
   course nobody can say which are right: all stay, and what hangs on them is refused later.

What was changed is counted and named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..clinical.atria import CHAMBERS
from ..clinical.courses import smooth_course
from ..hub.components_cmr import clean_labels

JUMP = 0.4
AGREE = 0.2
LEAST_PIXELS = 30  # of the mean of the neighbours: a structure smaller than this comes and goes
FEWEST_PHASES = 8
ALONG = 0.25  # part of a jump that a slice beside may move along


@dataclass(frozen=True)
class Consistent:
    """Label maps after these steps.

    Attributes:
        labels (`np.ndarray` of shape `(t, z, y, x)`, uint8)
        islands, holes (`int`): pixels that were taken away, and that were filled.
        mended (`tuple` of two `int`): (phase, slice), from 0, that were drawn by their neighbours.
    """

    labels: np.ndarray
    islands: int = 0
    holes: int = 0
    mended: tuple[tuple[int, int], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, for a reader; counted from 1."""
        found = [f"{self.islands} pixels of islands were taken away"] if self.islands else []
        found += [f"{self.holes} pixels of holes were filled"] if self.holes else []
        for t, z in self.mended:
            found.append(f"phase {t + 1}, slice {z + 1}: an area jumped, so the phases before and after it had a vote")
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
    cleaned = clean_labels(torch.from_numpy(labels), list(single)).numpy() if single else labels
    holes = int(np.count_nonzero((labels == 0) & (cleaned != 0)))
    islands = int(np.count_nonzero(cleaned != labels)) - holes
    if len(labels) < FEWEST_PHASES:
        return Consistent(cleaned, islands, holes)
    slips = {(t, z): ((t - 1) % len(cleaned), (t + 1) % len(cleaned)) for t, z in _slips(cleaned, cyclic)}
    mended = _voted(cleaned, slips)
    lost = _lost_atria(mended, cyclic)
    mended = _voted(mended, lost)
    return Consistent(mended, islands, holes, tuple(sorted({*slips, *lost})))


def _voted(labels: np.ndarray, slips: Mapping[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Label maps in which the pixels of some (phase, slice) are what two phases say, where these agree."""
    voted = labels.copy()
    for (t, z), (before, after) in slips.items():
        same = labels[before, z] == labels[after, z]
        voted[t, z][same] = labels[before, z][same]
    return voted


def _lost_atria(labels: np.ndarray, cyclic: bool) -> dict[tuple[int, int], tuple[int, int]]:
    """(phase, slice) in which an atrium leaves its course, and the nearest phases before and after that keep to it."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    count = len(labels)
    for atrium, _, _ in CHAMBERS.values():
        areas = np.count_nonzero(labels == atrium, axis=(2, 3))  # (t, z)
        for z in np.flatnonzero(areas.mean(axis=0) >= LEAST_PIXELS):
            course = smooth_course(areas[:, z], cyclic)
            if course is None or course.rough:
                continue
            kept = np.setdiff1d(np.arange(count), course.off)
            for t in course.off:
                before, after = kept[kept < t], kept[kept > t]
                if cyclic or (before.size and after.size):
                    ends = before[-1] if before.size else kept[-1], after[0] if after.size else kept[0]
                    found[int(t), int(z)] = int(ends[0]), int(ends[1])
    return found


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
