"""Which stacks of a study belong together: magnitude and PSIR, a map and its source, flow, planes around one axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .opinions import is_phase_image
from .stacks import Stack

_SAME_PLACE_MM = 1.0
_COSINE = 0.999
_FLAT = 0.1  # least singular value of normals that lie in one plane, per plane
_NEAR_AXIS_MM = 25.0
_SOURCE_PAUSE_S = 300.0  # between a map and the series that it comes from


@dataclass(frozen=True)
class Relation:
    """Stacks that belong together.

    Attributes:
        kind (`str`): "PSIR and magnitude", "flow: phase and magnitude", "map and its source", "radial set",
            "planes of one series" or "acquired again".
        stacks (`tuple` of `int`): their ids, in the order that `kind` names them.
    """

    kind: str
    stacks: tuple[int, ...]


def relations_of(stacks: Sequence[Stack]) -> tuple[Relation, ...]:
    """All relations between the stacks of one study."""
    return (*_partners(stacks), *_sets(stacks), *_again(stacks))


def same_places(one: Stack, other: Stack) -> bool:
    """Whether at least half of the slices of the smaller stack lie where the other has one."""
    if one.slice_affines is None or other.slice_affines is None:
        return False
    normal = one.slice_affines[0][:3, 2]
    if normal @ other.slice_affines[0][:3, 2] < _COSINE:
        return False
    depths = [[float(affine[:3, 3] @ normal) for affine in stack.slice_affines] for stack in (one, other)]
    small, large = sorted(depths, key=len)
    shared = sum(min(abs(depth - place) for place in large) <= _SAME_PLACE_MM for depth in small)
    return 2 * shared >= len(small)


def _pause(one: Stack, other: Stack) -> tuple[float, float]:
    """How near two stacks are in the study: one series first, then time, then their numbers."""
    shared = set(one.series_uids) & set(other.series_uids)
    known = one.started_s is not None and other.started_s is not None
    return (0.0 if shared - {""} else 1.0, abs(one.started_s - other.started_s) if known else abs(one.id - other.id))


def _nearest(stack: Stack, candidates: Sequence[Stack]) -> Stack | None:
    near = [one for one in candidates if one is not stack and same_places(stack, one)]
    return min(near, key=lambda one: (*_pause(stack, one), one.id), default=None)


def _partners(stacks: Sequence[Stack]) -> Iterator[Relation]:
    late = [one for one in stacks if one.image_type.value == "LGE"]
    signed = [one for one in late if one.image_type.detail == "PSIR"]
    plain = [one for one in late if one not in signed and one.component.startswith("M")]
    for stack in signed:
        if partner := _nearest(stack, plain):
            yield Relation("PSIR and magnitude", (stack.id, partner.id))
    phases = [one for one in stacks if is_phase_image(one)]
    for stack in phases:
        same = [
            one for one in stacks if not is_phase_image(one) and one.axis == stack.axis and one.shape == stack.shape
        ]
        close = [one for one in same if "flow" in one.terms or set(one.series_uids) & set(stack.series_uids)]
        if partner := _nearest(stack, close):
            yield Relation("flow: phase and magnitude", (stack.id, partner.id))
    sources = [
        one
        for one in stacks
        if one.axis in ("inversion", "preparation", "echo") or (one.axis == "repeat" and "T2 preparation" in one.terms)
    ]
    for stack in stacks:
        if not stack.image_type.detail.split(",")[0].endswith("map"):
            continue
        axes = {"T1": ("inversion",), "T2": ("preparation", "echo", "repeat")}.get(stack.image_type.value, ("echo",))
        fitting = [
            one for one in sources if one.axis in axes and not is_phase_image(one) and _may_be_source(one, stack)
        ]
        if partner := _nearest(stack, fitting):
            yield Relation("map and its source", (stack.id, partner.id))


def _may_be_source(source: Stack, stack: Stack) -> bool:
    """Whether a map can come from a series: not before and after contrast agent, not minutes apart."""
    times = [{"native", "post-contrast"} & set(one.terms) for one in (source, stack)]
    if all(times) and times[0] != times[1]:
        return False
    pause = None if None in (source.started_s, stack.started_s) else abs(source.started_s - stack.started_s)
    return pause is None or pause <= _SOURCE_PAUSE_S


def _sets(stacks: Sequence[Stack]) -> Iterator[Relation]:
    """Planes of several orientations in one series: around one axis, or not."""
    by_series: dict[tuple, list[Stack]] = defaultdict(list)
    for stack in stacks:
        if stack.slice_affines is not None:
            by_series[(stack.series_uids, stack.series_numbers, stack.component, stack.axis)].append(stack)
    for planes in by_series.values():
        normals = np.array([one.slice_affines[0][:3, 2] for one in planes])
        if len(planes) < 2 or np.abs(normals @ normals[0]).min() > _COSINE:
            continue
        radial = len(planes) >= 3 and all(one.shape[1] == 1 for one in planes) and _around_one_axis(planes, normals)
        yield Relation("radial set" if radial else "planes of one series", tuple(one.id for one in planes))


def _around_one_axis(planes: Sequence[Stack], normals: np.ndarray) -> bool:
    values, axes = np.linalg.svd(normals)[1:]
    if values[2] > _FLAT * np.sqrt(len(planes)):
        return False
    axis = axes[2]
    centres = []
    for one in planes:
        affine, (_, _, rows, columns) = one.slice_affines[0], one.shape
        centres.append((affine @ np.array([(columns - 1) / 2, (rows - 1) / 2, 0, 1]))[:3])
    offsets = np.array([normal @ centre for normal, centre in zip(normals, centres, strict=True)])
    point = np.linalg.lstsq(
        np.vstack([normals, axis]), np.append(offsets, axis @ np.mean(centres, axis=0)), rcond=None
    )[0]
    return bool(np.abs(normals @ point - offsets).max() <= _NEAR_AXIS_MM)


def _again(stacks: Sequence[Stack]) -> Iterator[Relation]:
    for index, stack in enumerate(stacks):
        if stack.again:
            alike = [
                one for one in stacks[:index] if one.again == 0 and one.axis == stack.axis and one.terms == stack.terms
            ]
            earlier = next((one for one in alike if same_places(one, stack)), None)
            if earlier:
                yield Relation("acquired again", (stack.id, earlier.id))
