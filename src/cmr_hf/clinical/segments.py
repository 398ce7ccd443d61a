"""The 17 segments of the American Heart Association on a short-axis stack (Cerqueira et al., Circulation 2002;105:539).

**Round the ventricle.** Angles count from the middle of the septum towards the anterior wall, in patient space, so
that a mirrored, turned or reordered stack gives the same segments. The middle of the septum is half way between the
two RV insertion points, seen from the centre of the left ventricle; basal and mid segments are 60° wide (two of them
septal), apical ones 90°. Real septa are wider or narrower than 120°: both points then miss their borders by the same.

**Which side is anterior.** Seen from the apex, the septum lies left of an anterior wall that is on top (in LPS:
anterior = septal × apical direction). Where patient space does not tell, the names of the two points do.

**Without points** in a slice, those of the slices beside it are used; without any, the direction to the centroid of
the RV, which is less sure; without an RV there are no segments.

**Along the ventricle.** Thirds of the length over which the wall is a complete ring, slices counted by their centres;
17 is wall beyond the last slice with a cavity. A few slices of a map cannot show where base and apex are: `levels`
says it then, or `Extent` of another stack of the same heart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .contours import closed_rays
from .curves import checked
from .stacks import Stack, base_to_apex
from .volumes import LV, MYOCARDIUM, RV, SCAR

WALL = (MYOCARDIUM, SCAR)
NAMES = (
    "basal anterior,basal anteroseptal,basal inferoseptal,basal inferior,basal inferolateral,basal anterolateral,"
    "mid anterior,mid anteroseptal,mid inferoseptal,mid inferior,mid inferolateral,mid anterolateral,"
    "apical anterior,apical septal,apical inferior,apical lateral,apex"
).split(",")
SEGMENTS = dict(enumerate(NAMES, 1))
LEVELS = ("basal", "mid", "apical", "apex")
# from the middle of the septum towards the anterior wall, in equal parts; apical parts begin 45° before
ROUND = {"basal": (2, 1, 6, 5, 4, 3), "mid": (8, 7, 12, 11, 10, 9), "apical": (14, 13, 16, 15), "apex": (17,)}
COMPLETE = 0.95  # part of the rays that must meet wall
TILT = 0.9  # cosine between two stacks of which one gives its extent to the other
LEAST_RINGS = 3  # to tell base, mid and apex
STRAY_DEG = 30.0  # a slice whose septum lies this far from the others' is not believed
LEAST_APART_DEG = 30.0  # two insertion points nearer than this, seen from the centre, are one


@dataclass(frozen=True)
class Extent:
    """From where to where along the long axis the wall is a complete ring, for other stacks of the same heart.

    Attributes:
        base_mm, apex_mm (`float`): LPS positions along `direction`, the apex larger.
        direction (`np.ndarray` of shape `(3,)`): unit vector to the apex, LPS.
    """

    base_mm: float
    apex_mm: float
    direction: np.ndarray


@dataclass(frozen=True)
class SegmentMap:
    """Segments on the grid of the source.

    Attributes:
        ids (`np.ndarray` of shape `(z, y, x)`, uint8): 1 … 17 on wall, 0 elsewhere.
        levels (`tuple`): of each slice, of `LEVELS` or `None`.
        centres_mm (`np.ndarray` of shape `(z, 2)`): (row, column) × spacing; NaN where there is no LV.
        septum (`np.ndarray` of shape `(z, 2)`): unit direction (row, column) in mm to the middle of the septum.
        turn (`int`): 1 or -1; an angle from row towards column times this runs from the septum to the anterior wall.
        references (`tuple` of `str`): how the septum of each slice is known.
        reason (`str`): why there are no segments.
        notes (`tuple` of `str`)
        extent (`Extent`, *optional*): for other stacks.
    """

    ids: np.ndarray
    levels: tuple[str | None, ...]
    centres_mm: np.ndarray
    septum: np.ndarray
    turn: int = 1
    references: tuple[str, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)
    extent: Extent | None = None

    def __bool__(self) -> bool:
        """Whether there are segments."""
        return not self.reason

    def at(self, index: int, points_mm: np.ndarray) -> np.ndarray:
        """The segment in whose sector points lie, whatever is there: 0 in slices that belong to no level.

        Args:
            index (`int`): slice.
            points_mm (`np.ndarray` of shape `(…, 2)`): (row, column) × spacing.
        """
        level = self.levels[index] if self.levels else None
        if level is None or not np.isfinite(self.septum[index]).all():
            return np.zeros(np.shape(points_mm)[:-1], dtype=np.uint8)
        return sectors(self.angles(index, points_mm), level)

    def angles(self, index: int, points_mm: np.ndarray) -> np.ndarray:
        """Radians from the middle of the septum towards the anterior wall, 0 … 2π."""
        return _angles(np.asarray(points_mm) - self.centres_mm[index], self.septum[index], self.turn)


def sectors(angles: np.ndarray, level: str) -> np.ndarray:
    """Segment numbers (uint8) of angles in radians from the middle of the septum towards the anterior wall."""
    numbers = np.array(ROUND[level], dtype=np.uint8)
    width = 2 * np.pi / len(numbers)
    start = width / 2 if level == "apical" else 0.0
    return numbers[np.floor(((angles + start) % (2 * np.pi)) / width).astype(int) % len(numbers)]


def aha_segments(
    labels: np.ndarray,
    stack: Stack,
    insertions: np.ndarray | None = None,
    levels: Sequence[str | None] | None = None,
    extent: Extent | None = None,
) -> SegmentMap:
    """The segments of one phase.

    Args:
        labels (`np.ndarray` of shape `(z, y, x)`): 1 LV cavity, 2 myocardium, 3 RV, 6 scar.
        stack (`Stack`): where the slices lie.
        insertions (`np.ndarray` of shape `(z, 2, 2)`, *optional*): anterior and inferior RV insertion point of each
            slice as (row, column) in pixels; NaN where there is none.
        levels (list of `str` or `None`, *optional*): level of each slice, of `LEVELS`, where it is known.
        extent (`Extent`, *optional*): of another stack of the same heart, in the same patient space.

    Raises:
        ValueError: shapes that do not fit, or a level that is none.
    """
    labels = checked(labels, stack, rank=3)
    points = np.full((len(stack), 2, 2), np.nan) if insertions is None else np.asarray(insertions, dtype=float)
    if points.shape != (len(stack), 2, 2):
        raise ValueError(f"`insertions` needs shape (slices, 2, 2), got {points.shape}: NaN where there is no point")
    points_mm = points * stack.spacing_mm
    centres = _centres(np.isin(labels, (LV, *WALL)), stack)
    rings = np.array([closed_rays(one, stack.spacing_mm).mean() >= COMPLETE for one in labels])
    known, extent, reason, notes = _levels(labels, stack, centres, rings, levels, extent)
    empty = SegmentMap(np.zeros(labels.shape, np.uint8), known, centres, np.full((len(stack), 2), np.nan))
    if reason:
        return SegmentMap(**vars(empty) | {"reason": reason, "notes": tuple(notes)})
    turn, told = _turn(stack, points_mm, centres, labels)
    septum, references, reason, more = _septum(labels, stack, points_mm, centres, turn)
    if reason:
        return SegmentMap(**vars(empty) | {"reason": reason, "notes": tuple(notes + more)})
    if turn == 0:
        reason = "the side of the anterior wall is unknown: no patient space, and no slice with both insertion points"
        return SegmentMap(**vars(empty) | {"reason": reason, "notes": tuple(notes + more)})
    found = SegmentMap(
        empty.ids, known, centres, septum, turn, references, "", (*notes, *([told] if told else []), *more), extent
    )
    for z in range(len(stack)):
        wall = np.argwhere(np.isin(labels[z], WALL))
        if len(wall):
            found.ids[z][tuple(wall.T)] = found.at(z, wall * np.array(stack.spacing_mm))
    return found


def segment_table(found: SegmentMap, stack: Stack) -> list[dict[str, object]]:
    """One row a segment: number, name, pixels, volume of its wall in ml and the slices (from 1) that hold it."""
    rows = []
    weights = stack.weights_mm() if len(stack) > 1 else None
    for number, name in SEGMENTS.items():
        pixels = np.count_nonzero(found.ids == number, axis=(1, 2))
        volume = None if weights is None else float(pixels @ weights) * stack.pixel_mm2 / 1000
        slices = (np.flatnonzero(pixels) + 1).tolist()
        rows.append(
            {"segment": number, "name": name, "pixels": int(pixels.sum()), "volume_ml": volume, "slices": slices}
        )
    return rows


def _centres(heart: np.ndarray, stack: Stack) -> np.ndarray:
    """Centroid of cavity and wall of every slice, (row, column) in mm."""
    centres = np.full((len(heart), 2), np.nan)
    for z, mask in enumerate(heart):
        if mask.any():
            centres[z] = np.argwhere(mask).mean(axis=0) * stack.spacing_mm
    return centres


def _levels(
    labels: np.ndarray,
    stack: Stack,
    centres: np.ndarray,
    rings: np.ndarray,
    levels: Sequence[str | None] | None,
    extent: Extent | None,
) -> tuple[tuple[str | None, ...], Extent | None, str, list[str]]:
    """Level of each slice, the extent of the rings, a reason for there being none, and notes."""
    if levels is not None:
        strange = sorted({str(one) for one in levels if one is not None} - set(LEVELS))
        if len(levels) != len(stack) or strange:
            raise ValueError(f"`levels` needs one of {LEVELS} or None for each slice, got {list(levels)}: name them")
        return tuple(levels), extent, "", []
    size = np.count_nonzero(np.isin(labels, (LV, *WALL)), axis=(1, 2))
    order, how = base_to_apex(stack, size)
    nothing = (None,) * len(stack)
    if extent is not None:
        return _within(stack, centres, extent, rings)
    if rings.sum() < LEAST_RINGS:
        reason = (
            f"a complete ring of wall in {rings.sum()} slices, {LEAST_RINGS} are needed to tell base, mid and apex: "
            "pass levels= or the extent= of another stack"
        )
        return nothing, None, reason, []
    if not how:
        return nothing, None, "base and apex cannot be told apart: no patient space, and no change of area", []
    sign = 1 if stack.positions_mm[order[-1]] > stack.positions_mm[order[0]] else -1
    along = sign * stack.positions_mm  # grows towards the apex
    half = (stack.distance_mm or 0.0) / 2
    first, last = along[rings].min() - half, along[rings].max() + half
    third = np.floor(3 * (along - first) / (last - first) - 1e-9).astype(int)
    found: list[str | None] = [LEVELS[min(max(third[z], 0), 2)] if rings[z] else None for z in range(len(stack))]
    wall, cavity = np.isin(labels, WALL).any(axis=(1, 2)), (labels == LV).any(axis=(1, 2))
    for z in np.flatnonzero(wall & ~cavity & (along > along[rings].max())):
        found[z] = "apex"
    notes = [] if how == "patient space" else ["base and apex told apart by area: no patient space"]
    open_ = [z for z in range(len(stack)) if cavity[z] and wall[z] and not rings[z]]
    if open_:
        listed = ", ".join(str(z + 1) for z in open_)
        notes.append(f"the wall is no complete ring in slice {listed}: not part of any segment")
    measured = None if stack.normal is None else Extent(float(first), float(last), stack.normal * sign)
    return tuple(found), measured, "", notes


def _within(
    stack: Stack, centres: np.ndarray, extent: Extent, rings: np.ndarray
) -> tuple[tuple[str | None, ...], Extent, str, list[str]]:
    """Levels of slices by the extent that another stack showed; up to half a slice beyond it still counts."""
    if stack.normal is None:
        raise ValueError("`extent` needs a stack with affines, got none: pass levels= instead")
    if abs(float(stack.normal @ extent.direction)) < TILT:
        return (None,) * len(stack), extent, "the slices lie across the other stack's: no levels from it", []
    length = extent.apex_mm - extent.base_mm
    slack = 0.5 * (stack.thickness_mm or 8.0) / length
    found: list[str | None] = [None] * len(stack)
    for z in np.flatnonzero(rings):
        place = stack.to_patient(z, centres[z] / stack.spacing_mm)
        part = (float(place @ extent.direction) - extent.base_mm) / length
        if -slack <= part <= 1 + slack:
            found[z] = LEVELS[min(max(int(np.floor(3 * part)), 0), 2)]
    reason = "" if any(found) else "no slice with a complete ring lies within the extent of the other stack"
    return tuple(found), extent, reason, []


def _turn(stack: Stack, points_mm: np.ndarray, centres: np.ndarray, labels: np.ndarray) -> tuple[int, str]:
    """Which way round the anterior wall lies, seen on the picture: 1, -1 or 0 (unknown); and a note."""
    votes = 0.0
    for z in np.flatnonzero(np.isfinite(points_mm).all(axis=(1, 2)) & np.isfinite(centres).all(axis=1)):
        anterior, inferior = points_mm[z] - centres[z]
        middle = _between(anterior, inferior, labels[z], centres[z], stack)
        votes += np.sign(middle[0] * anterior[1] - middle[1] * anterior[0])
    by_names = int(np.sign(votes))
    direction = stack.toward_apex
    if direction is None:
        return by_names, "the anterior side is that of the points' names: no patient space" if by_names else ""
    # anterior = septal × apical; where column × row points to the apex, that turns from row towards column
    if by_names == -direction:
        return direction, "the names of the insertion points contradict patient space: patient space is used"
    return direction, ""


def _between(
    anterior: np.ndarray, inferior: np.ndarray, labels: np.ndarray, centre: np.ndarray, stack: Stack
) -> np.ndarray:
    """Unit direction (row, column) half way between two, on the side of the RV, or on the nearer side without one."""
    one, other = anterior / np.linalg.norm(anterior), inferior / np.linalg.norm(inferior)
    middle = one + other
    if np.linalg.norm(middle) < 0.2:  # nearly opposite: the middle is across
        middle = np.array([one[1] - other[1], other[0] - one[0]])
    right = labels == RV
    if right.any():
        away = np.argwhere(right).mean(axis=0) * stack.spacing_mm - centre
        middle = middle if middle @ away >= 0 else -middle
    return middle / np.linalg.norm(middle)


def _septum(
    labels: np.ndarray, stack: Stack, points_mm: np.ndarray, centres: np.ndarray, turn: int
) -> tuple[np.ndarray, tuple[str, ...], str, list[str]]:
    """Direction to the middle of the septum in every slice, how it is known, a reason for none, and notes."""
    septum = np.full((len(stack), 2), np.nan)
    references = [""] * len(stack)
    notes: list[str] = []
    for z in np.flatnonzero(np.isfinite(centres).all(axis=1)):
        there = np.isfinite(points_mm[z]).all(axis=1)
        away = points_mm[z] - centres[z]
        if there.all() and _apart_deg(*away) >= LEAST_APART_DEG:
            septum[z], references[z] = _between(*away, labels[z], centres[z], stack), "both insertion points"
        elif there.any() and not there.all() and turn:
            which = int(there[1])  # the anterior point lies 60° before the middle, the inferior one behind
            septum[z] = _rotated(away[which] / np.linalg.norm(away[which]), (-1, 1)[which] * np.pi / 3 * turn)
            references[z] = ("anterior", "inferior")[which] + " insertion point"
    if not np.isfinite(septum).any():
        septum = _toward_rv(labels, stack, centres)
        references = ["centroid of the RV" if np.isfinite(one).all() else "" for one in septum]
        if not np.isfinite(septum).any():
            return septum, (), "no RV insertion points and no RV: the septum is unknown", notes
        notes.append("no RV insertion points: the septum is taken towards the centroid of the RV")
    stray = _strays(septum)
    if stray:
        listed = ", ".join(str(z + 1) for z in stray)
        notes.append(f"the septum of slice {listed} lies more than {STRAY_DEG:g}° from the others': theirs is used")
        septum[stray] = np.nan
    known = np.flatnonzero(np.isfinite(septum).all(axis=1))
    for z in np.flatnonzero(np.isfinite(centres).all(axis=1)):
        if z not in known:
            apart = np.abs(stack.positions_mm[known] - stack.positions_mm[z])
            nearest = known[apart <= apart.min() + 1e-6]
            mean = septum[nearest].mean(axis=0)
            septum[z] = mean / np.linalg.norm(mean)
            references[z] = "slice beside it"
    return septum, tuple(references), "", notes


def _toward_rv(labels: np.ndarray, stack: Stack, centres: np.ndarray) -> np.ndarray:
    septum = np.full((len(stack), 2), np.nan)
    for z, one in enumerate(labels == RV):
        if one.any() and np.isfinite(centres[z]).all():
            away = np.argwhere(one).mean(axis=0) * stack.spacing_mm - centres[z]
            septum[z] = away / max(np.linalg.norm(away), 1e-9)
    return septum


def _strays(septum: np.ndarray) -> list[int]:
    """Slices whose direction lies far from the middle one; with fewer than three nobody can say which is wrong."""
    known = np.flatnonzero(np.isfinite(septum).all(axis=1))
    if len(known) < 3:
        return []
    unit = septum[known]
    apart = np.arccos(np.clip(unit @ unit.T, -1, 1))
    centre = int(apart.sum(axis=1).argmin())  # the one nearest to all others
    return known[np.rad2deg(apart[centre]) > STRAY_DEG].tolist()


def _apart_deg(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-9)
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))


def _rotated(direction: np.ndarray, angle: float) -> np.ndarray:
    """A (row, column) direction turned from row towards column."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([direction[0] * cosine - direction[1] * sine, direction[0] * sine + direction[1] * cosine])


def _angles(away: np.ndarray, septum: np.ndarray, turn: int) -> np.ndarray:
    along = away @ septum
    across = turn * (septum[0] * away[..., 1] - septum[1] * away[..., 0])
    return np.arctan2(across, along) % (2 * np.pi)
