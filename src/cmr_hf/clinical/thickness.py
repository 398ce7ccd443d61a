"""Wall thickness in mm along chords across the wall, and thickening from end-diastole to end-systole, per segment.

The centreline method (Sheehan et al., Circulation 1986;74:293): a line half way between endocardium and epicardium, and
from 180 of its points a chord at right angles to it, to where it meets the two outlines. A ray from the centre instead
would cross an oval wall at a slant and find it too thick.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .contours import Ring, ring_of
from .curves import checked
from .quantities import BORDER_PIXELS, Measure, combine
from .segments import SEGMENTS, SegmentMap
from .stacks import Stack

LEAST_CHORDS = 6  # in a segment, over all its slices
METHOD = "mean over chords at right angles to the centreline"


@dataclass(frozen=True)
class Chords:
    """Chords across the wall of one slice.

    Attributes:
        middle_mm (`np.ndarray` of shape `(n, 2)`): (row, column) × spacing, on the centreline.
        endo_mm, epi_mm (`np.ndarray` of shape `(n, 2)`): their ends.
        thickness_mm (`np.ndarray` of shape `(n,)`): NaN where the ring is open.
    """

    middle_mm: np.ndarray
    endo_mm: np.ndarray
    epi_mm: np.ndarray
    thickness_mm: np.ndarray


def chords_of(labels: np.ndarray, spacing_mm: tuple[float, float]) -> Chords | None:
    """Chords across the wall in a slice `(y, x)` of labels, or `None` where there is no ring."""
    ring = ring_of(labels, spacing_mm)
    return None if ring is None else across(ring)


def across(ring: Ring) -> Chords:
    """Chords across a ring, one for each of its rays."""
    middle = ring.points((ring.endo_mm + ring.epi_mm) / 2)
    tangent = np.roll(middle, -1, axis=0) - np.roll(middle, 1, axis=0)
    normal = np.stack((tangent[:, 1], -tangent[:, 0]), axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    outward = np.sign(((middle - ring.centre_mm) * normal).sum(axis=1, keepdims=True))
    normal = normal * np.where(outward == 0, 1, outward)
    most = 2.5 * max(float((ring.epi_mm - ring.endo_mm).max()), 1.0)
    inner = _first_crossing(middle, -normal, ring.points(ring.endo_mm), most)
    outer = _first_crossing(middle, normal, ring.points(ring.epi_mm), most)
    thickness = np.where(ring.closed, inner + outer, np.nan)
    return Chords(middle, middle - normal * inner[:, None], middle + normal * outer[:, None], thickness)


def wall_thickness(labels: np.ndarray, stack: Stack, segments: SegmentMap, moment: str = "") -> dict[int, Measure]:
    """Mean wall thickness of each segment in one phase, in mm.

    Args:
        labels (`np.ndarray` of shape `(z, y, x)`): 1 LV cavity, 2 myocardium, 6 scar.
        stack (`Stack`): where the slices lie.
        segments (`SegmentMap`): of this phase.
        moment (`str`): "ED", "ES"; said in the source of the figures.

    Returns:
        For segments 1 … 16 (the apex has no chords). Standard deviation: either outline ± half a pixel with 95 %, and
        the spread over the chords.
    """
    labels = checked(labels, stack, rank=3)
    if not segments:
        return {number: Measure.refused("mm", segments.reason, method=METHOD) for number in range(1, 17)}
    numbers, values = [], []
    for z, one in enumerate(labels):
        chords = chords_of(one, stack.spacing_mm) if segments.levels[z] in ("basal", "mid", "apical") else None
        if chords is not None:
            numbers.append(segments.at(z, chords.middle_mm))
            values.append(chords.thickness_mm)
    numbers = np.concatenate(numbers) if numbers else np.empty(0, dtype=np.uint8)
    values = np.concatenate(values) if values else np.empty(0)
    known = np.isfinite(values)
    return {
        number: _mean(values[known & (numbers == number)], stack, number, moment)
        for number in range(1, 17)
    }  # fmt: skip


def wall_thickening(ed: Mapping[int, Measure], es: Mapping[int, Measure]) -> dict[int, Measure]:
    """Systolic thickening of each segment in %, 100 × (ES - ED) / ED.

    Args:
        ed, es (mapping of `int` to `Measure`): wall thickness at both moments, segment by segment; the outlines' errors
            are common to both, as they are drawn by one hand.
    """
    return {
        number: combine(
            lambda ed, es: 100 * (es - ed) / ed,
            "%",
            {"ed": ed[number], "es": es[number]},
            method="(ES - ED) / ED of wall thickness",
            source=SEGMENTS[number],
        )
        for number in ed
        if number in es
    }


def _mean(values: np.ndarray, stack: Stack, number: int, moment: str) -> Measure:
    about = {"method": METHOD, "source": f"{SEGMENTS[number]}, {moment}".rstrip(", ")}
    if len(values) < LEAST_CHORDS:
        return Measure.refused("mm", f"{len(values)} chords in this segment, {LEAST_CHORDS} are needed", **about)
    border = BORDER_PIXELS * stack.pixel_mm
    # neighbouring chords say the same: one in six counts
    spread = float(values.std()) / np.sqrt(max(len(values) / 6, 1))
    parts = {"endocardial border": -border, "epicardial border": border, f"chords at {moment}": spread}
    return Measure.of(float(values.mean()), "mm", parts, least=0.0, **about)


def _first_crossing(start: np.ndarray, direction: np.ndarray, polygon: np.ndarray, most: float) -> np.ndarray:
    """Distance from each start `(n, 2)` along its direction to a closed polygon `(m, 2)`; at most `most`.

    A start that lies on the far side of the polygon, where a wall is very thin, has distance 0.
    """
    edge = np.roll(polygon, -1, axis=0) - polygon
    # start + s direction = corner + u edge, for every pair: (n, m)
    away = polygon[None] - start[:, None]
    cross = direction[:, None, 0] * edge[None, :, 1] - direction[:, None, 1] * edge[None, :, 0]
    safe = np.where(np.abs(cross) < 1e-12, 1e-12, cross)
    along = (away[..., 0] * edge[None, :, 1] - away[..., 1] * edge[None, :, 0]) / safe
    part = (away[..., 0] * direction[:, None, 1] - away[..., 1] * direction[:, None, 0]) / safe
    met = (part >= 0) & (part < 1) & (along >= 0) & (along <= most) & (np.abs(cross) >= 1e-12)
    nearest = np.where(met, along, np.inf).min(axis=1)
    return np.where(np.isfinite(nearest), nearest, 0.0)
