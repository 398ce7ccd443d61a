"""One stack of slices over time, with its place in the patient; pixels are decoded when asked for."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hub.checking_cmr import MAX_PIXEL_BYTES, ReadingError, clean_pixels
from ..hub.dicom_pixels_cmr import decode
from ..hub.dicom_slice_cmr import DicomSlice
from ..hub.image_cmr import CMRImage
from ..hub.stacking_cmr import stack_affine
from .headers import FrameHeader
from .joining import Joined
from .moments import SliceFrames, rr_of
from .opinions import Opinion

_GAP = 1.5  # times the usual distance: wider is a gap
_FEWEST_PHASES = 0.4  # of the usual number: a slice with fewer is left out


@dataclass(frozen=True)
class Gap:
    """Where slices are missing.

    Attributes:
        after (`int`): index of the slice before the gap, from 0.
        distance_mm (`float`): from its centre to that of the next slice.
        missing (`int`): how many slices of the usual distance are missing.
    """

    after: int
    distance_mm: float
    missing: int


@dataclass(frozen=True, eq=False, repr=False)
class Stack:
    """Parallel slices of one contrast, on one grid, maybe over time.

    Attributes:
        id (`int`): from 1, in order of acquisition.
        shape (four `int`): (t, z, y, x).
        axis (`str`): what `t` runs over: "still" (t = 1), "phase" of the heart cycle, "inversion" time, "echo" time,
            "preparation" time or "repeat" (perfusion, and whatever else was taken again and again).
        frames (`tuple`): `frames[t][z]` is the `FrameHeader` of a picture: its `sop_class_uid`, `sop_instance_uid`,
            `slice.path` and `slice.index` (frame number - 1).
        terms (`tuple` of `str`): known words of the descriptions; the descriptions themselves are not kept.
        series_numbers (`tuple` of `int`); series_uids (`tuple` of `str`).
        spacing_mm (two `float`, *optional*): (row, column).
        positions_mm (`np.ndarray` of shape `(z,)`, *optional*): slice centres along the normal row × column, ascending.
        slice_distance_mm (`float`, *optional*): usual distance of neighbouring slices, centre to centre.
        gaps (`tuple` of `Gap`).
        thickness_mm (`float`, *optional*).
        affine (`np.ndarray` of shape `(4, 4)`, *optional*): (column, row, slice) → patient LPS mm, as in `CMRImage`;
            beyond a gap only `slice_affines` are exact.
        slice_affines (`np.ndarray` of shape `(z, 4, 4)`, *optional*): the same for each slice, its index counted 0.
        trigger_times_ms (`np.ndarray` of shape `(t, z)`, *optional*): after the R wave, of each slice's own beat.
        phase_times_ms (`tuple` of `float`, *optional*): median over slices, one a phase.
        time_source (`str`): where they come from: "TriggerTime", …, or "order": evenly spread over the cycle.
        rr_ms, heart_rate_bpm (`float`, *optional*): median over slices.
        inversion_times_ms, echo_times_ms, preparation_times_ms (`np.ndarray` of shape `(t, z)`, *optional*).
        echo_ms, repetition_ms, flip_deg, field_t (`float`, *optional*); vendor (`str`).
        component (`str`): what the pixels are, as the vendor writes it: "M", "P", "R" …
        unit, unit_source (`str`): "ms" and how the header tells it; both "" when it does not.
        contrast_agent (`bool`): the header names one.
        started_s (`float`, *optional*): after the study's first stack.
        again (`int`): 0, or which whole repeat of another stack it is.
        image_type, view (`Opinion`): what the header takes it for: a second opinion.
        notes (`tuple` of `str`): what was odd.
    """

    id: int
    shape: tuple[int, int, int, int]
    axis: str
    frames: tuple[tuple[FrameHeader, ...], ...]
    slices: tuple[SliceFrames, ...]
    terms: tuple[str, ...]
    series_numbers: tuple[int, ...]
    series_uids: tuple[str, ...]
    spacing_mm: tuple[float, float] | None
    positions_mm: np.ndarray | None
    slice_distance_mm: float | None
    gaps: tuple[Gap, ...]
    thickness_mm: float | None
    affine: np.ndarray | None
    slice_affines: np.ndarray | None
    trigger_times_ms: np.ndarray | None
    phase_times_ms: tuple[float, ...] | None
    time_source: str
    rr_ms: float | None
    inversion_times_ms: np.ndarray | None
    echo_times_ms: np.ndarray | None
    preparation_times_ms: np.ndarray | None
    echo_ms: float | None
    repetition_ms: float | None
    flip_deg: float | None
    field_t: float | None
    vendor: str
    component: str
    unit: str
    unit_source: str
    contrast_agent: bool
    notes: tuple[str, ...] = ()
    again: int = 0
    started_s: float | None = None
    image_type: Opinion = Opinion()
    view: Opinion = Opinion()
    root: Any = None  # keeps the folder of an unpacked zip

    def __repr__(self) -> str:
        t, z, y, x = self.shape
        return f"Stack({self.id}: {self.image_type.value or '?'} {self.view.value or '?'}, {t} × {z} × {y} × {x})"

    @property
    def heart_rate_bpm(self) -> float | None:
        """Beats per minute, from `rr_ms`."""
        return None if self.rr_ms is None else 60_000 / self.rr_ms

    @property
    def paths(self) -> tuple[Path, ...]:
        """Source files, each once."""
        return tuple(dict.fromkeys(one.slice.path for row in self.frames for one in row))

    def image(self) -> CMRImage:
        """Decodes the pixels.

        Returns:
            The hub's image: `pixels` of shape `shape`, values as the header maps them (maps in ms), and geometry.

        Raises:
            ReadingError: frames cannot be decoded: `readable()` gives the stack without them.
        """
        if math.prod(self.shape) * 4 > MAX_PIXEL_BYTES:
            raise ReadingError(f"stack {self.id} needs at most 4 GiB of pixels, got {self.shape}: split the series")
        pixels, broken = self._decoded()
        if broken:
            reason = next(iter(broken.values()))
            raise ReadingError(
                f"stack {self.id} needs frames that can be decoded, got {len(broken)} that cannot (the first: "
                f"{reason}): take stack.readable()"
            )
        array = np.stack([np.stack([pixels[_key(one)] for one in row]) for row in self.frames])
        return CMRImage(
            pixels=clean_pixels(array, f"stack {self.id}"),
            spacing_mm=self.spacing_mm,
            slice_distance_mm=self.slice_distance_mm,
            affine=self.affine,
            source=f"stack {self.id}",
            kind="dicom",
            trigger_times_ms=self.phase_times_ms if self.axis == "phase" else None,
        )

    def readable(self) -> tuple[Stack | None, dict[int, str]]:
        """The stack without frames that cannot be decoded: itself if all can, None if none can.

        Returns:
            The stack, whose slices and phases may be fewer, and the reason of each broken file by its number.
        """
        _, broken = self._decoded()
        if not broken:
            return self, {}
        slices = []
        for one in self.slices:
            good = [index for index, frame in enumerate(one.frames) if _key(frame) not in broken]
            times = None if one.times_ms is None else [one.times_ms[index] for index in good]
            if good:
                slices.append(replace(one, frames=[one.frames[index] for index in good], times_ms=times))
        reasons = {one.file: broken[_key(one)] for part in self.slices for one in part.frames if _key(one) in broken}
        if not slices:
            return None, reasons
        joined = Joined(self.axis, slices, self.positions_mm is not None, self.again)
        rest = replace(stack_of(joined, self.id), root=self.root, started_s=self.started_s)
        return replace(rest, image_type=self.image_type, view=self.view), reasons

    def _decoded(self) -> tuple[dict[tuple, np.ndarray], dict[tuple, str]]:
        """Pixels (y, x) of every frame that can be decoded, and the reason of every other."""
        by_file: dict[Path, dict[int, DicomSlice]] = {}
        for row in self.frames:
            for one in row:
                by_file.setdefault(one.slice.path, {})[one.slice.index] = replace(one.slice, pixels=None)
        pixels: dict[tuple, np.ndarray] = {}
        broken: dict[tuple, str] = {}
        for path, slices in by_file.items():
            try:
                decode(list(slices.values()), "it")
                pixels |= {(path, index): one.pixels for index, one in slices.items()}
            except ReadingError as error:
                broken |= dict.fromkeys([(path, index) for index in slices], str(error))
        return pixels, broken


def _key(one: FrameHeader) -> tuple[Path, int]:
    return one.slice.path, one.slice.index


def stack_of(joined: Joined, number: int) -> Stack:
    """Builds a stack; what has no place in it is added to `joined.left`."""
    notes: list[str] = []
    slices, grid = _even(joined, notes)
    frames = [one for row in grid for one in row]
    first = grid[0][0]
    positions = np.array([one.depth for one in slices]) if joined.placed else None
    distance, gaps = _distances(positions, notes)
    if positions is None and len(slices) > 1:
        notes.append("the header does not place the slices: their order is that of the export, their distance unknown")
    times, source = _times(joined.axis, slices, grid)
    for one in slices:
        notes += one.notes
    rr = rr_of(frames)
    if rr is not None and times is not None and np.ptp(times, axis=0).max() > 1.3 * rr:
        notes.append(f"a heart beat of {rr:.0f} ms is not believed: the trigger times run on for longer")
        rr = None
    numbers = sorted({int(one.series_number) for one in frames if one.series_number is not None})
    affine, affines = _affines(grid[0], first.slice.spacing_mm, notes)
    unit_sources = {one.unit_source for one in frames}
    return Stack(
        id=number,
        shape=(len(grid), len(slices), *first.slice.matrix),
        axis=joined.axis,
        frames=tuple(tuple(row) for row in grid),
        slices=tuple(slices),
        terms=first.terms,
        series_numbers=tuple(numbers),
        series_uids=tuple(dict.fromkeys(one.series_uid for one in frames)),
        spacing_mm=first.slice.spacing_mm,
        positions_mm=positions,
        slice_distance_mm=distance,
        gaps=gaps,
        thickness_mm=_median(frames, "thickness_mm"),
        affine=affine,
        slice_affines=affines,
        trigger_times_ms=times,
        phase_times_ms=None if times is None else tuple(float(time) for time in np.median(times, axis=1)),
        time_source=source,
        rr_ms=rr,
        inversion_times_ms=_grid_of(grid, "inversion_ms"),
        echo_times_ms=_grid_of(grid, "echo_ms") if joined.axis == "echo" else None,
        preparation_times_ms=_grid_of(grid, "preparation_ms"),
        **{name: _median(frames, name) for name in ("echo_ms", "repetition_ms", "flip_deg", "field_t")},
        vendor=first.vendor,
        component=first.component,
        unit="ms" if unit_sources != {""} and "" not in unit_sources else "",
        unit_source=" and ".join(sorted(unit_sources - {""})),
        contrast_agent=any(one.contrast_agent for one in frames),
        notes=tuple(dict.fromkeys(notes)),
        again=joined.again,
    )


def _median(frames: Sequence[FrameHeader], name: str) -> float | None:
    known = [value for one in frames if (value := getattr(one, name)) is not None]
    return float(np.median(known)) if known else None


def _grid_of(grid: Sequence[Sequence[FrameHeader]], name: str) -> np.ndarray | None:
    values = [[getattr(one, name) for one in row] for row in grid]
    return None if any(None in row for row in values) else np.array(values, dtype=float)


def _even(joined: Joined, notes: list[str]) -> tuple[list[SliceFrames], list[list[FrameHeader]]]:
    """Slices that are kept and the grid [t][z]: slices with other numbers of phases take the nearest ones."""
    counts = Counter(len(one.frames) for one in joined.slices)
    usual = max(counts, key=lambda count: (counts[count], count))
    kept, columns = [], []
    whole = [one for one in joined.slices if len(one.frames) == usual]
    for one in joined.slices:
        count = len(one.frames)
        if count == usual:
            chosen = list(range(usual))
        elif joined.axis == "phase" and count >= _FEWEST_PHASES * usual:
            chosen = _nearest(one, whole, usual)
            notes.append(f"slice {len(kept) + 1} has {count} phases where the stack has {usual}: the nearest are taken")
            unused = [one.frames[index] for index in sorted(set(range(count)) - set(chosen))]
            if unused:
                joined.left.append((unused, f"a phase beyond the {usual} of the stack"))
        else:
            reason = f"a slice position with {count} images where the stack has {usual}"
            joined.left.append((one.frames, reason))
            notes.append(f"a slice position is left out: it has {count} images where the stack has {usual}")
            continue
        kept.append(one)
        columns.append([one.frames[index] for index in chosen])
    return kept, [list(row) for row in zip(*columns, strict=True)]


def _nearest(one: SliceFrames, whole: Sequence[SliceFrames], usual: int) -> list[int]:
    """For each of the usual phases the index of the frame that is nearest in the cycle."""
    own = _shares(one)
    wanted = [_shares(other) for other in whole]
    if own is None or None in wanted:
        count = len(one.frames)
        return [min(count - 1, math.floor(index / usual * count + 0.5)) for index in range(usual)]
    target = np.median(np.array(wanted), axis=0)
    return [int(index) for index in np.abs(target[:, None] - np.array(own)[None]).argmin(axis=1)]


def _shares(one: SliceFrames) -> list[float] | None:
    """Times as shares of the cycle."""
    rr = rr_of(one.frames)
    return None if one.times_ms is None or rr is None else [time / rr for time in one.times_ms]


def _distances(positions: np.ndarray | None, notes: list[str]) -> tuple[float | None, tuple[Gap, ...]]:
    if positions is None or len(positions) < 2:
        return None, ()
    steps = np.diff(positions)
    least = steps[steps <= _GAP * steps.min()]
    usual = float(np.median(least if len(least) >= max(1, len(steps) / 4) else steps))
    gaps = tuple(
        Gap(int(index), float(steps[index]), max(1, round(float(steps[index]) / usual) - 1))
        for index in np.flatnonzero(steps > _GAP * usual)
    )
    for gap in gaps:
        notes.append(
            f"a gap of {gap.distance_mm:.1f} mm between slices {gap.after + 1} and {gap.after + 2}, where {usual:.1f} "
            f"mm is usual: {gap.missing} missing"
        )
    uneven = [step for step in steps if step <= _GAP * usual]
    if uneven and max(uneven) - min(uneven) > 0.1 * usual:
        notes.append(f"slice distances vary from {min(uneven):.1f} to {max(uneven):.1f} mm")
    return usual, gaps


def _times(
    axis: str, slices: Sequence[SliceFrames], grid: Sequence[Sequence[FrameHeader]]
) -> tuple[np.ndarray | None, str]:
    source = ", ".join(sorted({one.time_source for one in slices if one.time_source}))
    if axis != "phase" or any(one.times_ms is None for one in slices):
        return None, source
    columns = []
    for z, one in enumerate(slices):
        times = {_key(frame): time for frame, time in zip(one.frames, one.times_ms, strict=True)}
        columns.append([times[_key(row[z])] for row in grid])
    return np.array(columns, dtype=float).T, source  # (z, t) -> (t, z)


def _affines(
    row: Sequence[FrameHeader], spacing_mm: tuple[float, float] | None, notes: list[str]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The stack's affine and each slice's own; slices share the first one's axes, their centres stay where they are."""
    places = [one.slice for one in row]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        affine = stack_affine(places, spacing_mm)
    notes += [str(one.message) for one in told]
    if affine is None:
        return None, None
    rows, columns = places[0].matrix
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    scale = np.array([spacing_mm[1], spacing_mm[0]])
    affines = np.repeat(np.eye(4)[None], len(places), axis=0)
    for own, one in zip(affines, places, strict=True):
        centre = one.origin_mm + (middle * scale) @ one.frame[:2]
        own[:3, :2] = affine[:3, :2]
        own[:3, 2] = places[0].frame[2]
        own[:3, 3] = centre - affine[:3, :2] @ middle
    return affine, affines
