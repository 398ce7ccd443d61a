"""Runs -> stacks: slices acquired series by series are put together, of repeats the better one is kept.

Runs are joined when frame of reference, orientation, grid and contrast agree and they were acquired one soon after the
other. A whole stack that was acquired again stays a stack of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .headers import FrameHeader
from .moments import SliceFrames, export_order
from .runs import SAME_SLICE_MM, Run, moment_of, same_orientation

_COSINE_TOLERANCE = 2e-3
_SAME_SHARE_OF_THICKNESS = 0.35  # slices of two series nearer than this are one position
_MAX_PAUSE_S = {"phase": 3600.0}  # between series of one stack; contrast agent changes anything but cines
_PAUSE_S = 300.0
_WHOLE_REPEAT = 0.75  # of the positions are acquired again: then it is another stack, not repeats in one
_RELATIVE = {"echo_ms": 0.1, "repetition_ms": 0.35, "flip_deg": 0.35}
_ABSOLUTE = {"echo_ms": 0.05, "repetition_ms": 0.5, "flip_deg": 2.0, "thickness_mm": 0.5}


@dataclass(eq=False, repr=False)
class Joined:
    """Slices of one stack, at most one for each position.

    Attributes:
        axis (`str`): see `axis_of`.
        slices (`list` of `SliceFrames`): along the normal.
        placed (`bool`): whether depths are in mm.
        again (`int`): 0, or which whole repeat of the same stack it is.
        left (`list`): (frames, reason) of what was not kept.
    """

    axis: str
    slices: list[SliceFrames]
    placed: bool
    again: int = 0
    left: list[tuple[Sequence[FrameHeader], str]] = field(default_factory=list)


def join(runs: Sequence[Run]) -> list[Joined]:
    """Stacks of one study.

    Args:
        runs: in order of acquisition, see `runs_of`.
    """
    groups: list[list[Run]] = []
    for run in runs:
        group = next((found for found in groups if _belongs(found, run)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return [stack for group in groups for stack in _without_repeats(group)]


def _belongs(group: list[Run], run: Run) -> bool:
    first = group[0]
    if first.axis != run.axis or not (first.placed and run.placed) or not _same_contrast(first.first, run.first):
        return False
    if first.series == run.series:  # one series was parted for a reason, such as the number of phases
        return False
    if not same_orientation(first.first, run.first, _COSINE_TOLERANCE) or _offset(first, run) > 0.25:
        return False
    taken, others = run.when[0], [one.when[0] for one in group]
    if math.isfinite(taken) and all(math.isfinite(when) for when in others):
        return min(abs(taken - when) for when in others) <= _MAX_PAUSE_S.get(run.axis, _PAUSE_S)
    return run.axis == "phase" or not _overlaps(group, run)


def _same_contrast(one: FrameHeader, other: FrameHeader) -> bool:
    exact = ("component", "kinds", "sequence", "variant")
    if any(getattr(one, name) != getattr(other, name) for name in exact):
        return False
    if (one.slice.matrix, one.inversion_ms is None) != (other.slice.matrix, other.inversion_ms is None):
        return False
    if one.place_uid and other.place_uid and one.place_uid != other.place_uid:
        return False
    if one.terms and other.terms and one.terms != other.terms:
        return False
    if (one.slice.spacing_mm is None) != (other.slice.spacing_mm is None):
        return False
    if one.slice.spacing_mm and np.abs(np.subtract(one.slice.spacing_mm, other.slice.spacing_mm)).max() > 2e-3:
        return False
    for name, absolute in _ABSOLUTE.items():
        a, b = getattr(one, name), getattr(other, name)
        if a is not None and b is not None and abs(a - b) > max(absolute, _RELATIVE.get(name, 0.0) * max(a, b)):
            return False
    return True


def _offset(one: Run, other: Run) -> float:
    """How far the pictures' centres lie apart in plane, as a share of the picture's side."""
    a, b = one.first.slice, other.first.slice
    if a.frame is None or a.spacing_mm is None:
        return 0.0
    across = a.frame[:2] @ (_centre(b) - _centre(a))
    return float(np.linalg.norm(across)) / max(np.multiply(a.matrix, a.spacing_mm))


def _centre(one: object) -> np.ndarray:
    rows, columns = one.matrix
    row_mm, column_mm = one.spacing_mm
    return one.origin_mm + one.frame[0] * column_mm * (columns - 1) / 2 + one.frame[1] * row_mm * (rows - 1) / 2


def _depth_of(one: SliceFrames, normal: np.ndarray) -> float:
    return float(one.frames[0].slice.origin_mm @ normal)


def _overlaps(group: list[Run], run: Run) -> bool:
    own = [part.depth for part in run.slices]
    same = _tolerance([*group, run])
    return any(abs(part.depth - depth) <= same for found in group for part in found.slices for depth in own)


def _tolerance(group: Sequence[Run]) -> float:
    """How near slices are one position: nearer than a scanner's rounding; across series a third of the thickness."""
    thickness = group[0].first.thickness_mm or 0.0
    return max(SAME_SLICE_MM, _SAME_SHARE_OF_THICKNESS * thickness) if len(group) > 1 else SAME_SLICE_MM


def _without_repeats(group: list[Run]) -> list[Joined]:
    first, placed = group[0], all(run.placed for run in group)
    slices = [one for run in group for one in run.slices]
    if placed and len(group) > 1 and first.first.slice.frame is not None:
        normal = first.first.slice.frame[2]
        for one in slices:
            one.depth = _depth_of(one, normal)
    slices.sort(key=lambda one: one.depth)
    places: list[list[SliceFrames]] = []
    same = _tolerance(group)
    for one in slices:
        if not places or one.depth - places[-1][0].depth > same:
            places.append([])
        places[-1].append(one)
    for place in places:
        place.sort(key=lambda one: (*moment_of(one.frames), export_order(one.frames[0])))
    counts = Counter(len(one.frames) for one in slices)
    usual = max(counts, key=lambda count: (counts[count], count))
    most = max(len(place) for place in places)
    shares = [sum(len(place) > rank for place in places) / len(places) for rank in range(most)]
    whole = 1 if len(places) < 3 else max(1, sum(share >= _WHOLE_REPEAT for share in shares))
    found = []
    for rank in range(whole):  # the first time, the second time …; the last one takes repeats of a few slices
        some = [part for place in places if (part := place[rank : rank + 1] if rank < whole - 1 else place[rank:])]
        found.append(_kept(first.axis, some, placed, usual))
        found[-1].again = rank
    return found


_REPEAT = "a repeat of a slice position: the one kept "


def _kept(axis: str, places: Sequence[list[SliceFrames]], placed: bool, usual: int) -> Joined:
    """The best of each position: more phases (up to the usual number), then the later acquisition."""
    stack = Joined(axis, [], placed)
    for place in places:
        ranked = sorted(enumerate(place), key=lambda entry: (min(len(entry[1].frames), usual), entry[0]))
        best = ranked[-1][1]
        stack.slices.append(best)
        for _, other in ranked[:-1]:
            more = min(len(best.frames), usual) > min(len(other.frames), usual)
            why = f"has {len(best.frames)} images instead of {len(other.frames)}" if more else _later(best, other)
            stack.left.append((other.frames, _REPEAT + why))
    return stack


def _later(best: SliceFrames, other: SliceFrames) -> str:
    (taken, number), (other_taken, other_number) = moment_of(best.frames), moment_of(other.frames)
    if math.isfinite(taken) and math.isfinite(other_taken) and taken > other_taken:
        return "was acquired later"
    if number != other_number:
        return "comes from a later series"
    return "comes later in the series"
