"""Frames of one study -> runs: the slices of one series that share orientation, grid, contrast and axis of time.

Grouped by series, matrix, spacing, rounded orientation, ImageType, sequence and echo time. One series may give several
runs: the planes of a localiser, a radial set, magnitude and phase, PSIR and magnitude.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..hub.stacking_cmr import depths_of
from .headers import FrameHeader
from .moments import SliceFrames, axis_of, export_order, in_order, passes

COSINE_TOLERANCE = 5e-3  # about 0.3 degrees
SAME_SLICE_MM = 0.2


@dataclass(eq=False, repr=False)
class Run:
    """Slices of one series.

    Attributes:
        series (`Hashable`): what tells the series from others.
        axis (`str`): see `axis_of`.
        slices (`list` of `SliceFrames`): a position comes twice when it was acquired twice.
        placed (`bool`): whether depths are in mm along the normal.
    """

    series: Hashable
    axis: str
    slices: list[SliceFrames]
    placed: bool

    @property
    def first(self) -> FrameHeader:
        """A frame that stands for all in what they share."""
        return self.slices[0].frames[0]

    @property
    def when(self) -> tuple[float, float]:
        """When it was acquired, in s, and the number of its series; infinite when unknown."""
        frames = [one for part in self.slices for one in part.frames]
        return moment_of(frames)


def moment_of(frames: Sequence[FrameHeader]) -> tuple[float, float]:
    """First acquisition time in s, and the least series number; infinite when unknown."""
    taken = [one.taken_s for one in frames if one.taken_s is not None]
    taken = taken or [one.filed_s for one in frames if one.filed_s is not None]
    numbers = [one.series_number for one in frames if one.series_number is not None]
    return min(taken, default=np.inf), min(numbers, default=np.inf)


def runs_of(frames: Sequence[FrameHeader], notes: list[str]) -> list[Run]:
    """Sorts the frames of one study into runs, in order of acquisition.

    Args:
        frames: of one study.
        notes: where remarks on the study are added.
    """
    key = _series_key(frames, notes)
    groups: dict[tuple, list[list[FrameHeader]]] = defaultdict(list)
    for one in sorted(frames, key=export_order):
        clusters = groups[(key(one), *_exact(one))]
        cluster = next((found for found in clusters if same_orientation(found[0], one, COSINE_TOLERANCE)), None)
        if cluster is None:
            clusters.append([one])
        else:
            cluster.append(one)
    runs = []
    for (series, *_), clusters in groups.items():
        for cluster in clusters:
            for part in _by_echo(cluster):
                runs += _runs_of_cluster(series, part)
    return sorted(runs, key=lambda run: (*run.when, export_order(run.first), run.slices[0].depth))


def _series_key(frames: Sequence[FrameHeader], notes: list[str]) -> Callable[[FrameHeader], Hashable]:
    """How series are told apart: by UID, number and terms; by number and terms alone if every frame has its own UID."""
    single = len(frames) >= 6 and len({one.series_uid for one in frames}) == len(frames)
    if single:
        places = defaultdict(int)
        for one in frames:
            place = None if one.slice.frame is None else tuple(np.round(one.slice.origin_mm, 1))
            places[(_exact(one), place)] += 1
        single = max(places.values()) >= 3
    if single:
        notes.append("every image has a series UID of its own: series are told by their number and description instead")
    return lambda one: ("" if single else one.series_uid, one.series_number, one.terms)


def _exact(one: FrameHeader) -> tuple:
    spacing = None if one.slice.spacing_mm is None else tuple(round(side, 3) for side in one.slice.spacing_mm)
    contrast = one.component, one.kinds, one.sequence, one.variant, one.inversion_ms is None
    return one.slice.matrix, spacing, *contrast


def same_orientation(one: FrameHeader, other: FrameHeader, tolerance: float) -> bool:
    """Whether rows and columns run alike; two frames without geometry count as alike."""
    first, second = one.slice.frame, other.slice.frame
    if first is None or second is None:
        return first is second
    return bool(np.abs(first - second).max() <= tolerance)


def _by_echo(cluster: list[FrameHeader]) -> list[list[FrameHeader]]:
    """Parts by echo time, unless echoes are what the frames of a slice differ in."""
    by_echo: dict[float | None, list[FrameHeader]] = defaultdict(list)
    for one in cluster:
        by_echo[None if one.echo_ms is None else round(one.echo_ms, 2)].append(one)
    if len(by_echo) == 1:
        return [cluster]
    positions, _ = positions_of(cluster)
    if None not in by_echo and axis_of([members for _, members in positions]) == "echo":
        return [cluster]
    return list(by_echo.values())


def _runs_of_cluster(series: Hashable, cluster: list[FrameHeader]) -> list[Run]:
    positions, placed = positions_of(cluster)
    axis = axis_of([members for _, members in positions])
    single = [entry for entry in positions if len(entry[1]) == 1]
    parts = [(axis, positions)]
    if axis != "still" and 4 * len(single) >= len(positions):  # not a broken slice now and then: another stack
        parts = [(axis, [entry for entry in positions if len(entry[1]) > 1]), ("still", single)]
    found = []
    for kind, some in parts:
        slices = [in_order(one, depth, kind) for depth, members in some for one in passes(members, kind)]
        if slices:
            found.append(Run(series, kind, slices, placed))
    return found


def positions_of(cluster: list[FrameHeader]) -> tuple[list[tuple[float, list[FrameHeader]]], bool]:
    """Slice positions with their frames, along the normal, and whether they are in mm."""
    if cluster[0].slice.frame is None and (inferred := _unplaced(cluster)) is not None:
        return inferred, False
    depths, measured = depths_of([one.slice for one in cluster])
    positions: list[tuple[float, list[FrameHeader]]] = []
    for index in np.argsort(depths, kind="stable"):
        if not positions or depths[index] - positions[-1][0] > SAME_SLICE_MM:
            positions.append((float(depths[index]), []))
        positions[-1][1].append(cluster[index])
    return positions, measured


def _unplaced(cluster: list[FrameHeader]) -> list[tuple[float, list[FrameHeader]]] | None:
    """Slices of frames without any position, from trigger times that come again or the number of images a cycle."""
    slices = [one.slice for one in cluster]
    if all(one.location_mm is not None for one in slices) or all(one.stack_position is not None for one in slices):
        return None
    ordered = sorted(cluster, key=export_order)
    by_time: dict[float | None, list[FrameHeader]] = defaultdict(list)
    for one in ordered:
        by_time[one.slice.trigger_ms].append(one)
    count = {len(same) for same in by_time.values()}
    if None not in by_time and len(by_time) > 1 and len(count) == 1:
        return [(float(rank), [same[rank] for same in by_time.values()]) for rank in range(count.pop())]
    images = cluster[0].cardiac_images
    if images > 1 and len(cluster) % images == 0:
        return [(float(k), ordered[k * images : (k + 1) * images]) for k in range(len(cluster) // images)]
    different = {one.inversion_ms for one in cluster}
    return [(0.0, ordered)] if len(different) == len(cluster) > 2 else None
