"""MR pictures below a folder, found by SOP Instance UID or by plane, and stacked where somebody drew on them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...hub.checking_cmr import ReadingError, files_below
from ...hub.dicom_pixels_cmr import decode
from ...hub.dicom_slice_cmr import DicomSlice, read_headers
from ...hub.dicom_tags_cmr import parse, text
from ...hub.stacking_cmr import arrange, stack_affine
from ..schema import LabelledStack
from .imported import Drawing, ImportedLabels, masks_of

SAME_PLANE_MM = 1.0
_SAME_DIRECTION = 5e-3

Key = tuple[Path, int]  # file, and frame in it from 0


@dataclass
class Pictures:
    """Frames of MR files, and where each is.

    Attributes:
        source: what errors call the folder.
        frames (`dict` of `DicomSlice`): by file and frame.
        uids (`dict`): SOP Instance UID -> its file; kept in memory only, never part of a result.
        left_out (`list` of `dict`): {"file", "reason"} of what is no MR picture.
    """

    source: str
    frames: dict[Key, DicomSlice] = field(default_factory=dict)
    uids: dict[str, Path] = field(default_factory=dict)
    left_out: list[dict] = field(default_factory=list)

    def named(self, uid: str, number: int | None = None) -> list[DicomSlice]:
        """Frames of one SOP instance; only frame `number`, counted from 1, if given."""
        path = self.uids.get(uid)
        found = [one for key, one in self.frames.items() if key[0] == path] if path is not None else []
        return [one for one in found if number is None or one.index == number - 1]

    def on_plane(self, point_mm: np.ndarray, normal: np.ndarray | None = None) -> list[DicomSlice]:
        """Frames whose plane holds a point (LPS, mm) and, if given, has that normal, either way round."""
        found = []
        for one in self.frames.values():
            if one.frame is None or abs((point_mm - one.origin_mm) @ one.frame[2]) > SAME_PLANE_MM:
                continue
            if normal is None or abs(abs(normal @ one.frame[2]) - 1) < _SAME_DIRECTION:
                found.append(one)
        return found


def read_pictures(dicom: str | Path) -> Pictures:
    """Reads the headers of every MR file below a folder, or of one file.

    Raises:
        ReadingError: there is none.
    """
    root = Path(dicom)
    pictures = Pictures(str(dicom))
    for path in [root] if root.is_file() else files_below(root):
        name = path.name if path == root else path.relative_to(root).as_posix()
        try:
            frames = read_headers(path, name, None)
            uid = text(parse(path, name, header_only=True), "SOPInstanceUID")
        except ReadingError as error:
            pictures.left_out.append({"file": name, "reason": str(error)})
            continue
        pictures.uids[uid] = path
        pictures.frames |= {(path, one.index): one for one in frames}
    if not pictures.frames:
        raise ReadingError(f"{dicom} needs MR pictures in DICOM, got none: pass the folder the labels were drawn on")
    return pictures


def stacks_with(
    pictures: Pictures,
    drawings: dict[Key, Drawing],
    report: list[str],
    *,
    patient: str,
    source: str,
    licence: str = "unknown",
    view: str | None = None,
    image_type: str | None = None,
    empty_is_background: bool = False,
) -> ImportedLabels:
    """Puts drawn pictures and the others of their series into stacks, one per phase with a drawing.

    Args:
        pictures: where they come from.
        drawings: file and frame -> what was drawn.
        report: sentences so far.
        patient, source, licence, view, image_type: see `LabelledStack`; empty_is_background: see `masks_of`.

    Raises:
        ReadingError: nothing was drawn on these pictures.
    """
    if not drawings:
        raise ReadingError(
            f"{pictures.source} has none of the pictures that the labels were drawn on: pass the study's own DICOM, "
            "not a copy whose SOP Instance UIDs were replaced"
        )
    stacks, left_out, placed = [], [], 0
    for number, group in enumerate(_groups(pictures, drawings), start=1):
        grid, depths = arrange(group, pictures.source, left_out)  # grid[z][t]
        for phase in range(len(grid[0])):
            row = [phases[phase] for phases in grid]
            drawn = [drawings.get((one.path, one.index)) for one in row]
            if not any(one is not None for one in drawn):
                continue
            placed += sum(one is not None for one in drawn)
            _decode(row)
            masks, ids = masks_of(drawn, row[0].matrix, empty_is_background)
            stacks.append(
                LabelledStack(
                    images=np.stack([one.pixels for one in row]),
                    masks=masks,
                    drawn=ids,
                    spacing_mm=row[0].spacing_mm,
                    slice_distance_mm=float(np.median(np.diff(depths))) if depths and len(depths) > 1 else None,
                    affine=stack_affine(row, row[0].spacing_mm),
                    patient=patient,
                    series=f"stack {number}",
                    phase_index=phase,
                    image_type=image_type,
                    view=view,
                    landmarks=[{} if one is None else one.landmarks for one in drawn],
                    source=source,
                    licence=licence,
                )
            )
    if placed < len(drawings):
        lost = len(drawings) - placed
        report = [*report, f"{lost} drawn pictures fit into no stack and are left out: pass their series alone"]
    return ImportedLabels(stacks, report)


def _decode(row: list[DicomSlice]) -> None:
    by_file: dict[Path, list[DicomSlice]] = defaultdict(list)
    for one in row:
        if one.pixels is None:
            by_file[one.path].append(one)
    for path, slices in by_file.items():
        decode(slices, path.name)


def _groups(pictures: Pictures, drawings: dict[Key, Drawing]) -> list[list[DicomSlice]]:
    """Frames of the drawn series, those of like geometry and equally many phases together.

    Two series of one group that fill the same position (native and contrast T1, say) are told apart.
    """
    series: dict[tuple[str, str], list[DicomSlice]] = defaultdict(list)
    for one in pictures.frames.values():
        series[(one.series, one.component)].append(one)
    groups: dict[tuple, list[list[DicomSlice]]] = defaultdict(list)
    for members in series.values():
        if any((one.path, one.index) in drawings for one in members):
            places = [_place(one) for one in members]
            phases = max(places.count(place) for place in set(places))
            for alike in _alike(members):
                groups[(*_geometry(alike[0]), phases)].append(alike)
    merged: list[list[DicomSlice]] = []
    for parts in groups.values():
        open_groups: list[list[DicomSlice]] = []
        for part in parts:
            mine = {_place(one) for one in part}
            home = next((one for one in open_groups if not mine & {_place(other) for other in one}), None)
            if home is None:
                open_groups.append(list(part))
            else:
                home.extend(part)
        merged += open_groups
    return [group for group in merged if any((one.path, one.index) in drawings for one in group)]


def _alike(members: list[DicomSlice]) -> list[list[DicomSlice]]:
    parts: dict[tuple, list[DicomSlice]] = defaultdict(list)
    for one in members:
        parts[_geometry(one)].append(one)
    return list(parts.values())


def _geometry(one: DicomSlice) -> tuple:
    directions = None if one.frame is None else tuple(np.round(one.frame, 2).ravel() + 0.0)
    spacing = None if one.spacing_mm is None else tuple(round(side, 3) for side in one.spacing_mm)
    return one.matrix, spacing, directions, one.component


def _place(one: DicomSlice) -> float | None:
    """Position along the normal, rounded to 0.2 mm."""
    return None if one.frame is None else round(float(one.origin_mm @ one.frame[2]) * 5) / 5
