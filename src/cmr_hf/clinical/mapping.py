"""T1, T2 and extracellular volume of every segment, in ms and %.

Pixels near a border hold blood or fat as well: those within 1 mm and within a pixel of either border of the wall are
left out, in a region where fewer than six pixels would be left only those within 1 mm (and within 3 mm of the cavity's
border for blood). Of the rest the median and the quartiles are given. The median's standard deviation is
1.25 × SD / √(n / 4) after the robust SD (interquartile range / 1.349), as neighbouring pixels of an interpolated map
say the same, and what the median would move by with the next pixels towards the border: where that is much, blood and
fat reach into the pixels that were kept, too. What scanner and sequence do to all pixels alike is not in it: T1 and T2
are compared only with what the same scanner finds in healthy people.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .curves import checked
from .optional import ndimage
from .quantities import Measure, combine
from .segments import SEGMENTS, SegmentMap
from .stacks import Stack
from .volumes import LV, MYOCARDIUM, SCAR

WALL = (MYOCARDIUM, SCAR)
# kind -> what a median of heart muscle and of blood may be, ms; wide, for the unit only
PLAUSIBLE_MS = {
    "T1": ((500.0, 2000.0), (800.0, 3000.0)),
    "T1 post": ((100.0, 1000.0), (50.0, 1000.0)),
    "T2": ((20.0, 150.0), (50.0, 400.0)),
}
EROSION_MM, BLOOD_EROSION_MM = 1.0, 3.0
LEAST_PIXELS = 6
SAME = 4  # neighbouring pixels that say the same
HAEMATOCRITS = (0.15, 0.70)
HAEMATOCRIT_SD = 0.01
METHOD = "median of pixels away from the borders"


@dataclass(frozen=True)
class Distribution:
    """Values of one region.

    Attributes:
        median (`Measure`): in ms.
        quartiles (two `float`, *optional*): first and third.
        pixels (`int`): that count.
        all_pixels (`int`): of the region, before those near a border were left out.
    """

    median: Measure
    quartiles: tuple[float, float] | None
    pixels: int
    all_pixels: int


def wrong_unit(values_ms: np.ndarray, kind: str, blood: bool = False) -> str:
    """Why these values cannot be ms of this kind, or an empty text.

    Args:
        values_ms (`np.ndarray`): of heart muscle, or of blood.
        kind (`str`): "T1", "T1 post" or "T2".
    """
    if kind not in PLAUSIBLE_MS:
        raise ValueError(f"`kind` needs one of {tuple(PLAUSIBLE_MS)}, got {kind!r}: say what the map shows")
    low, high = PLAUSIBLE_MS[kind][int(blood)]
    tissue = "blood" if blood else "myocardium"
    values = values_ms[np.isfinite(values_ms)]
    if not values.size:
        return f"no {tissue} in the map"
    median = float(np.median(values))
    if low <= median <= high:
        return ""
    if low <= 1000 * median <= high:
        return f"the map seems to be in s: the median of the {tissue} is {median:.3g}"
    for factor in (10.0, 0.1):
        if low <= factor * median <= high and not low / 3 <= median <= 3 * high:
            return f"the map seems to be scaled by {1 / factor:g}: the median of the {tissue} is {median:.4g}"
    return f"the median of the {tissue} is {median:.4g}, {kind} in ms lies between {low:g} and {high:g}"


def away_from_borders(mask: np.ndarray, stack: Stack, erosion_mm: float) -> np.ndarray:
    """Pixels of a mask `(z, y, x)` whose centre lies at least this far from its border, slice by slice."""
    if not (np.isfinite(erosion_mm) and erosion_mm >= 0):
        raise ValueError(f"`erosion_mm` needs at least 0, got {erosion_mm}: 0 keeps every pixel")
    kept = np.zeros_like(mask, dtype=bool)
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        outside = np.pad(~mask[z], 1, constant_values=True)
        distance = ndimage().distance_transform_edt(~outside, sampling=stack.spacing_mm)[1:-1, 1:-1]
        kept[z] = mask[z] & (distance - stack.pixel_mm / 2 >= erosion_mm - 1e-6)
    return kept


def segment_values(
    values_ms: np.ndarray,
    labels: np.ndarray,
    stack: Stack,
    segments: SegmentMap,
    kind: str,
    erosion_mm: float | None = None,
) -> dict[int | str, Distribution]:
    """T1 or T2 of every segment, of the whole wall ("myocardium") and of the cavity ("blood").

    Args:
        values_ms (`np.ndarray` of shape `(z, y, x)`): the map; 0, negative and not finite pixels do not count.
        labels (`np.ndarray` of shape `(z, y, x)`): 1 LV cavity, 2 myocardium, 6 scar; on the same grid.
        stack (`Stack`): where the slices lie.
        segments (`SegmentMap`): of these labels.
        kind (`str`): "T1", "T1 post" or "T2", for the check of the unit.
        erosion_mm (`float`, *optional*): how far from either border of the wall the middle of a pixel has to lie; by
            default as the module says.

    Raises:
        ValueError: shapes that do not fit, or an unknown kind.
    """
    labels = checked(labels, stack, rank=3)
    values = np.asarray(values_ms, dtype=float)
    if values.shape != labels.shape:
        raise ValueError(
            f"`values_ms` and `labels` need one shape, got {values.shape} and {labels.shape}: resample one"
        )
    usable = np.isfinite(values) & (values > 0)
    wall = np.isin(labels, WALL)
    cavity = labels == LV
    reason = wrong_unit(values[wall & usable], kind)
    blood_reason = reason or wrong_unit(values[cavity & usable], kind, blood=True)
    limits = (max(EROSION_MM, stack.pixel_mm), EROSION_MM, 0.0) if erosion_mm is None else (erosion_mm,)
    inner = {limit: away_from_borders(wall, stack, limit) & usable for limit in limits}
    everywhere = np.ones(labels.shape, dtype=bool)
    found: dict[int | str, Distribution] = {}
    for number, name in SEGMENTS.items():
        why = segments.reason or reason
        found[number] = _distribution(values, wall, segments.ids == number, inner, f"{kind}, {name}", why)
    found["myocardium"] = _distribution(values, wall, everywhere, inner, f"{kind}, myocardium", reason)
    pool = {limit: away_from_borders(cavity, stack, limit) & usable for limit in (BLOOD_EROSION_MM, EROSION_MM)}
    found["blood"] = _distribution(values, cavity, everywhere, pool, f"{kind}, blood", blood_reason)
    return found


def extracellular_volume(
    native: Mapping[int | str, Distribution],
    post: Mapping[int | str, Distribution],
    haematocrit: float | None,
) -> dict[int | str, Measure]:
    """Extracellular volume of every segment in %, 100 × (1 - haematocrit) × ΔR1 of the wall / ΔR1 of the blood.

    The two maps need not share a grid: medians of the same segment are compared (Arheden et al., Radiology
    1999;211:698).

    Args:
        native, post: from `segment_values`, kinds "T1" and "T1 post".
        haematocrit (`float`, *optional*): 0 … 1, of the day of the scan; without it there is none.

    Raises:
        ValueError: a haematocrit that nobody has, such as one in %.
    """
    low, high = HAEMATOCRITS
    if haematocrit is not None and not low <= haematocrit <= high:
        raise ValueError(f"`haematocrit` needs {low} to {high}, got {haematocrit}: a fraction, not %")
    regions = [one for one in native if one != "blood" and one in post]
    if haematocrit is None:
        return {one: Measure.refused("%", "haematocrit unknown") for one in regions}
    shared = {
        "haematocrit": Measure.of(haematocrit, "", {"haematocrit": HAEMATOCRIT_SD}),
        "native T1 of blood": native["blood"].median,
        "T1 of blood after contrast": post["blood"].median,
    }
    found = {}
    for one in regions:
        figures = shared | {"native T1": native[one].median, "T1 after contrast": post[one].median}
        name = SEGMENTS.get(one, str(one))
        about = {"method": "(1 - haematocrit) × ΔR1 wall / ΔR1 blood, of medians", "source": name}
        if all(figures.values()) and not _shortened(figures):
            found[one] = Measure.refused("%", "T1 is not shorter after contrast: check which map is which", **about)
            continue
        found[one] = combine(_ecv, "%", figures, least=0.0, most=100.0, **about)
        if found[one] and not 0 < found[one].value < 100:
            reason = f"an extracellular volume of {found[one].value:.0f} % is impossible: maps or haematocrit are wrong"
            found[one] = Measure.refused("%", reason, **about)
    return found


def _shortened(figures: Mapping[str, Measure]) -> bool:
    pairs = (("native T1", "T1 after contrast"), ("native T1 of blood", "T1 of blood after contrast"))
    return all(figures[after].value < figures[before].value for before, after in pairs)


def _ecv(**ms: float) -> float:
    wall = 1 / ms["T1 after contrast"] - 1 / ms["native T1"]
    blood = 1 / ms["T1 of blood after contrast"] - 1 / ms["native T1 of blood"]
    return 100 * (1 - ms["haematocrit"]) * wall / blood


def _distribution(
    values: np.ndarray,
    tissue: np.ndarray,
    region: np.ndarray,
    inner: Mapping[float, np.ndarray],
    source: str,
    reason: str,
) -> Distribution:
    """Of the pixels of a region that lie away from the borders: by the first limit that leaves enough of them.

    Args:
        values, tissue, region (`np.ndarray` of shape `(z, y, x)`): the map, and two masks.
        inner (mapping of `float` to such a mask): distance in mm → pixels at least that far, the strictest one first.
    """
    kept = [(limit, values[region & mask]) for limit, mask in inner.items()]
    usable = kept[:-1] or kept  # pixels at the border itself only tell how much it matters
    limit, chosen = next((one for one in usable if len(one[1]) >= LEAST_PIXELS), usable[-1])
    wider = next((one for nearer, one in kept if nearer < limit and len(one) > len(chosen)), chosen)
    all_pixels = int(np.count_nonzero(region & tissue))
    about = {"method": f"{METHOD} ({limit:.3g} mm)", "source": source}
    if not reason and not all_pixels:
        reason = "no pixel of it in the stack"
    if not reason and len(chosen) < LEAST_PIXELS:
        reason = f"{len(chosen)} of {all_pixels} pixels lie away from the borders, {LEAST_PIXELS} are needed"
    if reason:
        return Distribution(Measure.refused("ms", reason, **about), None, len(chosen), all_pixels)
    first, median, third = (float(one) for one in np.percentile(chosen, (25, 50, 75)))
    parts = {f"pixels of {source}": 1.2533 * (third - first) / 1.349 / np.sqrt(max(len(chosen) / SAME, 1))}
    parts[f"borders of {source}"] = abs(float(np.median(wider)) - median)
    return Distribution(Measure.of(median, "ms", parts, least=0.0, **about), (first, third), len(chosen), all_pixels)
