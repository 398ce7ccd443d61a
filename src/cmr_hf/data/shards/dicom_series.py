"""DICOM files of one folder -> volumes: series by series, slices in order, what is no heart left out with a reason."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...hub.checking_cmr import ReadingError, quiet
from ...hub.dicom_pixels_cmr import decode
from ...hub.dicom_slice_cmr import DicomSlice, read_headers
from ...hub.dicom_tags_cmr import parse
from .cropping import Volume
from .kinds import refusal, series_kind

LeftOut = list[dict[str, str]]

VOLUME_SLICES = 1024  # of a longer series every so many are windowed for themselves: about 200 MB of crops
_SAME_SLICE_MM = 0.2


@dataclass
class ReadVolume:
    """A volume with what is known of each slice.

    Attributes:
        volume: crops and hashes.
        names (`list` of `str`): what reports call each slice.
        places (`list` of `tuple`): (slice, phase), from 0.
        kind (`str`, *optional*): of the series, see `series_kind`.
    """

    volume: Volume
    names: list[str]
    places: list[tuple[int, int]]
    kind: str | None


def dicom_volumes(files: Iterable[tuple[Path, str]], left_out: LeftOut) -> Iterator[ReadVolume]:
    """Reads what belongs together, one volume at a time.

    Args:
        files: each file, and what reports call it.
        left_out: where {"file", "reason"} of everything that is not used is added.
    """
    groups: dict[tuple, list[DicomSlice]] = defaultdict(list)
    names: dict[Path, str] = {}
    for path, name in files:
        try:
            slices = read_headers(path, name, None)
            with quiet():
                reason = refusal(parse(path, name, header_only=True))
        except ReadingError as error:
            left_out.append({"file": name, "reason": str(error)})
            continue
        if reason is not None:
            left_out.append({"file": name, "reason": f"{name} {reason}"})
            continue
        names[path] = name
        for one in slices:
            groups[_likeness(one)].append(one)
    for group in groups.values():
        places = _places(group)
        order = sorted(range(len(group)), key=lambda at: (places[at], group[at].name))  # noqa: B023
        kind = _kind(group[0], names, 1 + max(phase for _, phase in places))
        for start in range(0, len(order), VOLUME_SLICES):
            chosen = order[start : start + VOLUME_SLICES]
            yield from _read([group[at] for at in chosen], [places[at] for at in chosen], kind, names, left_out)


def _likeness(one: DicomSlice) -> tuple:
    """What slices of one volume share; a boundary of rounding costs no more than a window for each half."""
    spacing = None if one.spacing_mm is None else tuple(round(value, 3) for value in one.spacing_mm)
    directions = None if one.frame is None else tuple(np.round(one.frame[:2], 2).ravel().tolist())
    return one.series, one.component, one.matrix, spacing, directions


def _kind(one: DicomSlice, names: dict[Path, str], phases: int) -> str | None:
    with quiet():
        return series_kind(parse(one.path, names[one.path], header_only=True), phases)


def _places(group: list[DicomSlice]) -> list[tuple[int, int]]:
    """(slice, phase) of each: slices by their depth, phases by their time, else by the order of the export."""
    depths = [_depth(one) for one in group]
    by_depth = sorted(range(len(group)), key=lambda at: depths[at])
    places: list[tuple[int, int]] = [(0, 0)] * len(group)
    position, begins, members = -1, -math.inf, []
    for at in [*by_depth, None]:
        if at is None or position < 0 or depths[at] - begins > _SAME_SLICE_MM:
            for phase, member in enumerate(sorted(members, key=lambda one: _moment(group[one]))):
                places[member] = position, phase
            if at is None:
                break
            position, begins, members = position + 1, depths[at], []
        members.append(at)
    return places


def _depth(one: DicomSlice) -> float:
    if one.frame is not None and one.origin_mm is not None:
        return float(one.origin_mm @ one.frame[2])
    found = one.location_mm if one.location_mm is not None else one.stack_position
    return found if found is not None and math.isfinite(found) else 0.0


def _moment(one: DicomSlice) -> tuple:
    known = (one.trigger_ms, one.percent, one.temporal)
    return tuple(math.inf if time is None else time for time in known), one.order or (math.inf, one.index), one.name


def _read(
    slices: list[DicomSlice],
    places: list[tuple[int, int]],
    kind: str | None,
    names: dict[Path, str],
    left_out: LeftOut,
) -> Iterator[ReadVolume]:
    """Decodes file by file, so that no more than one file's pixels are in memory beside the crops."""
    by_file: dict[Path, list[int]] = defaultdict(list)
    for at, one in enumerate(slices):
        by_file[one.path].append(at)
    volume = Volume(slices[0].spacing_mm)
    read: list[int] = []
    for path, members in by_file.items():
        try:
            decode([slices[at] for at in members], names[path])
            for at in members:
                volume.add(slices[at].pixels)
                read.append(at)
        except ValueError as error:  # ReadingError is one
            text = str(error) if isinstance(error, ReadingError) else f"{names[path]}: {error}"
            left_out.append({"file": names[path], "reason": text})
        for at in members:
            slices[at].pixels = None
    if read:
        yield ReadVolume(volume, [slices[at].name for at in read], [places[at] for at in read], kind)
