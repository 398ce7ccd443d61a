"""Sorts DICOM slices, from single-frame and multi-frame files alike, into one stack over positions and phases.

Slice position is ImagePositionPatient along the normal row x column (DICOM PS3.3 C.7.6.2), never the file
order or SliceThickness; time is TriggerTime or the frame's trigger delay, else the cardiac phase percentage,
else the temporal position index, else InstanceNumber and frame number. What does not fit is left out with its
reason.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from .checking_cmr import ReadingError
from .dicom_slice_cmr import DicomSlice

_COSINE_TOLERANCE = 5e-3  # about 0.3 degrees between slices of one stack
_SAME_SLICE_MM = 0.2
_MAX_GROUPS = 200
_TOO_MANY = "pass one stack's folder; split a multi-frame file into single frames first (dcm4che's emf2sf)"


def _same_stack(one: DicomSlice, other: DicomSlice) -> bool:
    if one.matrix != other.matrix or one.component != other.component:
        return False
    pairs = (one.spacing_mm, other.spacing_mm, 1e-3), (one.frame, other.frame, _COSINE_TOLERANCE)
    for a, b, tolerance in pairs:
        if (a is None) != (b is None) or (a is not None and np.abs(np.subtract(a, b)).max() > tolerance):
            return False
    return True


def largest_stack(headers: list[DicomSlice], source: str, left_out: list[dict]) -> list[DicomSlice]:
    """The group of like orientation, matrix, spacing and image type that has twice the frames of any other.

    Args:
        headers: one per frame.
        source: what errors call the file or folder.
        left_out: where {"file", "reason"} of all other frames is added.

    Raises:
        ReadingError: no group is that large.
    """
    groups: list[list[DicomSlice]] = []
    for header in headers:
        group = next((group for group in groups if _same_stack(group[0], header)), None)
        if group is None:
            if len(groups) == _MAX_GROUPS:
                raise ReadingError(f"{source} needs one stack, got more than {_MAX_GROUPS}: {_TOO_MANY}")
            groups.append([header])
        else:
            group.append(header)
    groups.sort(key=len, reverse=True)
    if len(groups) > 1 and len(groups[0]) < 2 * len(groups[1]):
        names = "; ".join(f"{len(group)} {_kind(group)} like {group[0].name}" for group in groups[:5])
        raise ReadingError(
            f"{source} needs one stack, got {len(groups)} that differ in orientation, matrix, spacing or "
            f"image type ({names}): {_TOO_MANY}"
        )
    for other in groups[1:]:
        reason = "another stack: orientation, matrix, spacing or image type differ from the largest one"
        left_out += [{"file": one.name, "reason": reason} for one in other]
    return groups[0] if groups else []


def _kind(group: list[DicomSlice]) -> str:
    return "files" if len({one.path for one in group}) == len(group) else "frames"


def arrange(
    slices: list[DicomSlice], source: str, left_out: list[dict]
) -> tuple[list[list[DicomSlice]], list[float] | None]:
    """Sorts into grid[z][t] with equally many phases per position; also the depth of each position in mm.

    Args:
        slices: frames of one stack.
        source: what errors call the file or folder.
        left_out: where {"file", "reason"} of frames without a place is added.

    Raises:
        ReadingError: two series fill the same slices.
    """

    def leave(rest: Iterable[DicomSlice], reason: str) -> None:
        left_out.extend({"file": one.name, "reason": reason} for one in rest)

    depths, measured = depths_of(slices)
    order = np.argsort(depths, kind="stable")
    positions: list[tuple[float, list[DicomSlice]]] = []
    for index in order:
        if not positions or depths[index] - positions[-1][0] > _SAME_SLICE_MM:
            positions.append((float(depths[index]), []))
        positions[-1][1].append(slices[index])

    # a series per file says nothing
    several = 1 < len({one.series for one in slices}) < len({one.path for one in slices})
    contested = 0
    for number, (depth, members) in enumerate(positions):
        members.sort(key=lambda one: one.name)
        by_series: dict[str, dict] = defaultdict(dict)
        for one in members:
            if by_series[one.series if several else ""].setdefault(_moment(one), one) is not one:
                leave([one], "duplicate: same slice position and time as another file")
        ranked = sorted((list(kept.values()) for kept in by_series.values()), key=len, reverse=True)
        contested += len(ranked) > 1 and len(ranked[0]) == len(ranked[1])
        for rival in ranked[1:]:
            leave(rival, "another series fills the same slice position")
        positions[number] = depth, _in_time(ranked[0])
    if 2 * contested > len(positions):
        raise ReadingError(f"{source} needs one stack, got two series at the same slices: pass one series' folder")

    counts = Counter(len(phases) for _, phases in positions)
    usual = max(counts, key=lambda count: (counts[count], count))
    for _, phases in positions:
        if len(phases) < usual:
            leave(phases, f"slice position with {len(phases)} phases where the stack has {usual}")
        leave(phases[usual:] if len(phases) > usual else [], f"phase beyond the {usual} of the stack")
    whole = [(depth, phases[:usual]) for depth, phases in positions if len(phases) >= usual]
    return [phases for _, phases in whole], [depth for depth, _ in whole] if measured else None


def _moment(one: DicomSlice) -> tuple | str:
    times = (one.trigger_ms, one.percent, one.temporal, one.order)
    return times if any(time is not None for time in times) else one.name


def depths_of(slices: list[DicomSlice]) -> tuple[list[float], bool]:
    """Each slice's position along the normal, else SliceLocation (both in mm), else its place in the export.

    The flag says whether they are in mm. Without any position that is InStackPositionNumber; else slices that
    differ in TriggerTime are phases of one position; else InstanceNumber and frame number count.
    """
    if slices[0].frame is not None:
        normal = slices[0].frame[2]
        return [float(one.origin_mm @ normal) for one in slices], True
    if all(one.location_mm is not None for one in slices):
        return [one.location_mm for one in slices], True
    if all(one.stack_position is not None for one in slices):
        return [one.stack_position for one in slices], False
    times = {one.trigger_ms for one in slices}
    if None not in times and len(times) == len(slices):
        return [0.0] * len(slices), False
    orders = [one.order for one in slices]
    if None in orders:
        return [float(number) for number in range(len(slices))], False
    ranks = {order: float(rank) for rank, order in enumerate(sorted(set(orders)))}
    return [ranks[order] for order in orders], False


def _in_time(phases: list[DicomSlice]) -> list[DicomSlice]:
    """Sorted by the first of TriggerTime, percentage, temporal index and order that tells all phases apart."""
    for key in ("trigger_ms", "percent", "temporal", "order"):
        values = [getattr(one, key) for one in phases]
        if None not in values and len(set(values)) == len(values):
            return sorted(phases, key=lambda one: getattr(one, key))
    return phases


def stack_affine(stack: list[DicomSlice], spacing_mm: tuple[float, float] | None) -> np.ndarray | None:
    """(column, row, slice) index -> patient LPS in mm (4, 4), after DICOM PS3.3 equation C.7.6.2.1-1.

    The slice step is the median one between neighbours, in plane too: a sheared stack stays true. With one
    slice it is the unit normal.
    """
    first = stack[0]
    if first.frame is None or spacing_mm is None:
        return None
    step = first.frame[2]
    if len(stack) > 1:
        origins = np.stack([one.origin_mm for one in stack])  # (z, 3)
        steps = np.diff(origins, axis=0) @ first.frame.T  # along row, column, normal
        step = np.median(steps, axis=0) @ first.frame
        drift = (origins - origins[0] - np.arange(len(stack))[:, None] * step) @ first.frame[:2].T
        if np.abs(drift).max() > max(spacing_mm):
            warnings.warn(
                f"slices are shifted in plane by up to {np.abs(drift).max():.1f} mm against the affine: "
                "patient coordinates are exact for the first slice only",
                stacklevel=5,
            )
    affine = np.eye(4)
    affine[:3, 0] = first.frame[0] * spacing_mm[1]
    affine[:3, 1] = first.frame[1] * spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.origin_mm
    return affine
