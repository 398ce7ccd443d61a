"""Scar segment by segment: how much of each segment's wall it takes, and how far through the wall it reaches.

An extent is as sure as the scar (its border, the threshold, the contrast) and as the segment's own borders: pixels near
them may belong to a neighbour. On phantoms three quarters of the wall's pixels of late enhancement get the segment that
the heart's own geometry gives them, so an extent may be drawn towards that of any neighbour by `MISPLACED` of what they
differ by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .curves import perimeters_mm
from .optional import ndimage
from .quantities import BORDER_PIXELS, Z_95, Measure
from .segments import ROUND, SEGMENTS, SegmentMap
from .stacks import Stack
from .thickness import chords_of

LEAST_MM2 = 20.0  # smaller pieces are no scar
MISPLACED = 0.15  # standard deviation: of a segment's wall that may be a neighbour's
SAMPLES = 20  # along a chord
BELOW = {7: 13, 8: 14, 9: 14, 10: 15, 11: 16, 12: 16}  # mid segment -> the apical one below it


@dataclass(frozen=True)
class Doubt:
    """What other thresholds, which might as well be right, would mark as scar.

    Attributes:
        more, less (`np.ndarray` of shape `(z, y, x)`, bool): by thresholds of ± 2 SD, or of 30 and 70 % of the maximum;
            their difference is taken as the width of a 95 % interval.
        dim (`np.ndarray` of that shape, *optional*): what scar might reach to where contrast is low; the 95 % interval
            reaches as far.
    """

    more: np.ndarray
    less: np.ndarray
    dim: np.ndarray | None = None

    def parts(self, amount: Callable[[np.ndarray], float], found: float) -> dict[str, float]:
        """Standard deviations, in whatever `amount` gives of a mask; `found` is that of the scar."""
        parts = {"threshold": (amount(self.more) - amount(self.less)) / 4}
        if self.dim is not None:
            parts["low contrast"] = max(amount(self.dim) - found, 0.0) / Z_95
        return parts


def neighbours(number: int) -> tuple[int, ...]:
    """Segments that share a border with this one (1 … 17)."""
    ring = next(ring for ring in ROUND.values() if number in ring)
    place = ring.index(number)
    beside = {ring[place - 1], ring[(place + 1) % len(ring)]}
    if number <= 6:
        beside.add(number + 6)
    elif number <= 12:
        beside |= {number - 6, BELOW[number]}
    elif number <= 16:
        beside |= {mid for mid, apical in BELOW.items() if apical == number} | {17}
    else:
        beside |= {13, 14, 15, 16}
    return tuple(sorted(beside - {number}))


def extents(
    mask: np.ndarray,
    wall: np.ndarray,
    stack: Stack,
    segments: SegmentMap,
    weights: np.ndarray,
    method: str,
    doubt: Doubt | None = None,
) -> dict[int, Measure]:
    """Scar as % of the wall of each segment.

    Args:
        mask, wall (`np.ndarray` of shape `(z, y, x)`, bool): scar, and all wall.
        weights (`np.ndarray` of shape `(z,)`): mm that a slice stands for.
        method (`str`): as which the scar was found.
        doubt (`Doubt`, *optional*): what other thresholds would mark.
    """
    outline = perimeters_mm(mask, stack.spacing_mm)
    total = {n: float(np.count_nonzero((segments.ids == n) & wall, axis=(1, 2)) @ weights) for n in SEGMENTS}

    def percent(number: int, marked: np.ndarray) -> float:
        region = (segments.ids == number) & wall & marked
        return 100 * float(np.count_nonzero(region, axis=(1, 2)) @ weights) / total[number]

    known = {} if segments.reason else {n: percent(n, mask) for n, size in total.items() if size}
    found = {}
    for number, name in SEGMENTS.items():
        about = {"method": f"scar by {method}, of the segment's wall", "source": name}
        if number not in known:
            found[number] = Measure.refused("%", segments.reason or "no wall of this segment in the stack", **about)
            continue
        counts = np.count_nonzero((segments.ids == number) & mask, axis=(1, 2))
        share = counts / np.maximum(np.count_nonzero(mask, axis=(1, 2)), 1)
        border = (outline * share) @ weights * BORDER_PIXELS * stack.pixel_mm / stack.pixel_mm2
        parts = {"scar border": 100 * float(border) / total[number]}
        if not counts.any():
            parts = {"smallest piece": 50 * LEAST_MM2 / stack.pixel_mm2 * float(np.mean(weights)) / total[number]}
        if doubt is not None:
            parts |= doubt.parts(lambda one, number=number: percent(number, one), known[number])
        beside = [known[one] - known[number] for one in neighbours(number) if one in known]
        parts["segment borders"] = MISPLACED * float(np.linalg.norm(beside)) if beside else 0.0
        parts = {f"{part}, {name}": value for part, value in parts.items()}
        found[number] = Measure.of(known[number], "%", parts, least=0.0, most=100.0, **about)
    return found


def transmuralities(
    mask: np.ndarray, labels: np.ndarray, stack: Stack, segments: SegmentMap, method: str
) -> dict[int, Measure]:
    """Per segment the mean part of the chord that is scar, over the chords that hold any."""
    numbers, parts, walls = [], [], []
    for z in range(len(stack)):
        ringed = bool(segments) and segments.levels[z] in ("basal", "mid", "apical")
        chords = chords_of(labels[z], stack.spacing_mm) if ringed else None
        if chords is None:
            continue
        along = (np.arange(SAMPLES) + 0.5) / SAMPLES
        places = chords.endo_mm + along[:, None, None] * (chords.epi_mm - chords.endo_mm)  # (samples, chords, 2)
        pixels = np.moveaxis(places / stack.spacing_mm, -1, 0)
        scar = ndimage().map_coordinates(mask[z].astype(np.float32), pixels, order=1, mode="nearest")
        numbers.append(segments.at(z, chords.middle_mm))
        parts.append(np.where(np.isfinite(chords.thickness_mm), (scar >= 0.5).mean(axis=0), np.nan))
        walls.append(chords.thickness_mm)
    numbers = np.concatenate(numbers) if numbers else np.empty(0, dtype=np.uint8)
    parts = np.concatenate(parts) if parts else np.empty(0)
    walls = np.concatenate(walls) if walls else np.empty(0)
    return {number: _depth(parts, walls, numbers == number, number, stack, segments, method) for number in range(1, 17)}


def _depth(
    parts: np.ndarray,
    walls: np.ndarray,
    chosen: np.ndarray,
    number: int,
    stack: Stack,
    segments: SegmentMap,
    method: str,
) -> Measure:
    about: Mapping[str, str] = {
        "method": f"scar by {method}, part of the wall's thickness, mean of chords with scar",
        "source": SEGMENTS[number],
    }
    chosen = chosen & np.isfinite(parts)
    if not chosen.any():
        return Measure.refused("%", segments.reason or "no chord across the wall of this segment", **about)
    values, wall = parts[chosen], float(walls[chosen].mean())
    held = values[values > 0.5 / SAMPLES]
    border = 100 * BORDER_PIXELS * stack.pixel_mm / max(wall, 1.0)
    if not held.size:
        return Measure.of(0.0, "%", {f"scar border, {SEGMENTS[number]}": border}, least=0.0, most=100.0, **about)
    spread = {f"chords, {SEGMENTS[number]}": 100 * float(held.std()) / np.sqrt(max(len(held) / 6, 1))}
    spread[f"scar border, {SEGMENTS[number]}"] = border
    return Measure.of(100 * float(held.mean()), "%", spread, least=0.0, most=100.0, **about)
