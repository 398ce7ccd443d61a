"""A whole DICOM study: every file accounted for, its images sorted into stacks.

study = read_study("exported_folder")         # or a zip, or a DICOMDIR
for stack in study.stacks:
    image = stack.image()                     # pixels (t, z, y, x) and geometry
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ..hub.checking_cmr import ReadingError, quiet
from .headers import FileHeader, FrameHeader, read_header
from .joining import Joined, join
from .listing import Listing, list_files
from .opinions import image_type_opinion, long_axis_of, view_opinion
from .patient import PatientFacts, agreed_facts
from .persons import apart
from .relations import Relation, relations_of
from .reporting import study_report
from .runs import moment_of, runs_of
from .stacks import Stack, stack_of

_THREADS = 8
Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True, repr=False)
class FileEntry:
    """What became of one file.

    Attributes:
        number (`int`): from 1; what reports without file names call it.
        path (`str`): relative to the root; the user's own, so not shown by `repr`.
        status (`str`): "used", "left out" (an MR image in no stack), "listed" (no gray MR image) or "unreadable".
        reason (`str`): why, in words without identity; of a used file what was left out of it, mostly "".
        stacks (`tuple` of `int`): ids of the stacks that hold frames of it.
    """

    number: int
    path: str
    status: str
    reason: str = ""
    stacks: tuple[int, ...] = ()

    def __repr__(self) -> str:
        where = f", stacks {self.stacks}" if self.stacks else ""
        return f"FileEntry({self.number}: {self.status}{where})"


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """One study of one patient.

    Attributes:
        stacks (`tuple` of `Stack`): in order of acquisition.
        files (`tuple` of `FileEntry`): every file that belongs to the study; of the root's only study, every file.
        relations (`tuple` of `Relation`): which stacks belong together.
        patient (`PatientFacts`): for indexing; kept apart from all reports.
        notes (`tuple` of `str`): what was odd about the whole.
    """

    stacks: tuple[Stack, ...]
    files: tuple[FileEntry, ...]
    relations: tuple[Relation, ...]
    patient: PatientFacts
    notes: tuple[str, ...]
    root: Any = None

    def __repr__(self) -> str:
        used = sum(entry.status == "used" for entry in self.files)
        return f"Study({len(self.stacks)} stacks, {used} of {len(self.files)} files used)"

    def __getitem__(self, number: int) -> Stack:
        """The stack with an id."""
        for stack in self.stacks:
            if stack.id == number:
                return stack
        raise KeyError(f"a stack's id from 1 to {len(self.stacks)} is needed, got {number}: see study.stacks")

    def report(self, file_names: bool = False) -> dict[str, Any]:
        """Plain data for JSON, see `study_report`; names of files only when asked for."""
        return study_report(self, file_names)

    def close(self) -> None:
        """Removes what a zip was unpacked to; also done when nothing of the study is in use any more."""
        if self.root is not None:
            self.root.close()


def read_study(path: str | os.PathLike, threads: int | None = None, progress: Progress = iter) -> Study:
    """Reads and sorts the one study below a path: headers only, pixels when a stack's `image()` is called.

    Args:
        path: a folder, nested or not; a zip; a DICOMDIR, then only the files that it names; one file.
        threads (`int`, *optional*): that read headers; by default 8.
        progress (*optional*): goes over the files and may tell of it, as tqdm does.

    Returns:
        The study; it may have no stacks, its `files` then say why.

    Raises:
        ReadingError: there is no such path, a zip cannot be unpacked, or there are images of several studies or
            patients: `read_studies` gives each of them.
    """
    studies = read_studies(path, threads, progress)
    with_images = [study for study in studies if study.stacks]
    if len(with_images) > 1:
        sizes = ", ".join(str(len(study.stacks)) for study in with_images)
        raise ReadingError(
            f"`path` needs one study of one patient, got {len(with_images)} with {sizes} stacks: pass the folder of "
            "one, or take read_studies"
        )
    return studies[0]


def read_studies(path: str | os.PathLike, threads: int | None = None, progress: Progress = iter) -> list[Study]:
    """Reads and sorts every study below a path; see `read_study`.

    Returns:
        At least one study, that with most images first. Files of no study with images are told with the first.
    """
    listing = list_files(path)
    count = len(listing.files)
    with quiet(), ThreadPoolExecutor(max(1, threads or _THREADS)) as pool:  # headers are read from slow disks, too
        pairs = pool.map(read_header, (file for file, _ in listing.files), range(1, count + 1))
        headers = list(progress(pairs))
    notes: list[str] = []
    parts = [part for part in apart(headers, notes) if any(headers[index].frames for index in part)] or [[]]
    inside = {index for part in parts for index in part}
    parts[0] = sorted([*parts[0], *(index for index in range(count) if index not in inside)])
    return [_study(listing, headers, part, notes, rank == 0) for rank, part in enumerate(parts)]


def _study(
    listing: Listing, headers: Sequence[FileHeader], part: Sequence[int], notes: list[str], first: bool
) -> Study:
    own = list(notes)
    fates: dict[int, list[tuple[int | None, str]]] = defaultdict(list)  # file number -> (stack, reason) of its frames
    frames = _without_copies([one for index in part for one in headers[index].frames], fates, own)
    stacks = _stacks(join(runs_of(frames, own)), fates)
    axis = long_axis_of(stacks)
    stacks = [replace(one, image_type=image_type_opinion(one), view=view_opinion(one, axis)) for one in stacks]
    facts, disagreements = agreed_facts(headers[index].facts for index in part if headers[index].frames)
    entries = [_entry(index + 1, listing.files[index][1], headers[index], fates[index + 1]) for index in part]
    if first:
        start = len(listing.files)
        entries += [FileEntry(start + rank, *known) for rank, known in enumerate(listing.listed, 1)]
    stacks = [replace(one, root=listing.root) for one in stacks]
    return Study(tuple(stacks), tuple(entries), relations_of(stacks), facts, tuple(own + disagreements), listing.root)


def _stacks(joined: Sequence[Joined], fates: dict[int, list[tuple[int | None, str]]]) -> list[Stack]:
    begun = [
        (moment_of([one for part in stack.slices for one in part.frames]), rank) for rank, stack in enumerate(joined)
    ]
    order = [joined[rank] for _, rank in sorted(begun)]
    starts = [moment[0] for moment, _ in sorted(begun)]
    zero = starts[0] if starts else 0.0
    stacks = []
    for number, (one, start) in enumerate(zip(order, starts, strict=True), 1):
        stack = stack_of(one, number)
        stacks.append(replace(stack, started_s=start - zero if math.isfinite(start) else None))
        for frame in {id(frame): frame for row in stack.frames for frame in row}.values():
            fates[frame.file].append((number, ""))
        for frames, reason in one.left:
            for frame in frames:
                fates[frame.file].append((None, f"{reason} (stack {number})"))
    return stacks


def _without_copies(
    frames: Sequence[FrameHeader], fates: dict[int, list[tuple[int | None, str]]], notes: list[str]
) -> list[FrameHeader]:
    """Leaves out frames that are there twice: same identifiers, same place, same moment."""
    by_uid: dict[tuple[str, int], list[FrameHeader]] = defaultdict(list)
    kept = []
    for one in frames:
        same = by_uid[(one.sop_instance_uid, one.slice.index)]
        original = next((other for other in same if _content(other) == _content(one)), None)
        if original is not None:
            fates[one.file].append((None, "a copy of another file: same identifiers, place and time"))
            continue
        same.append(one)
        kept.append(one)
    if any(uid and len(same) > 1 for (uid, _), same in by_uid.items()):
        notes.append("different images share a SOP instance UID: nothing can refer to one of them without doubt")
    if any(not uid for uid, _ in by_uid):
        notes.append("images lack a SOP instance UID: a DICOM SEG cannot refer to them")
    return kept


def _content(one: FrameHeader) -> tuple:
    place = one.slice
    origin = None if place.origin_mm is None else tuple(place.origin_mm.round(3))
    normal = None if place.frame is None else tuple(place.frame[2].round(4))
    moments = place.trigger_ms, place.percent, place.temporal, place.order, place.location_mm, one.taken_s
    if place.order is None and not one.sop_instance_uid:
        moments += (place.path,)  # nothing tells it from others: it is no copy
    return one.series_uid, one.component, one.inversion_ms, one.echo_ms, place.matrix, origin, normal, *moments


def _entry(number: int, path: str, header: FileHeader, fates: Sequence[tuple[int | None, str]]) -> FileEntry:
    if not header.frames:
        return FileEntry(number, path, header.status, header.reason)
    stacks = tuple(sorted({stack for stack, _ in fates if stack is not None}))
    reasons = [reason for stack, reason in fates if stack is None]
    several = len(header.frames) > 1
    told = [f"{reasons.count(one)} frames: {one}" if several else one for one in dict.fromkeys(reasons)]
    return FileEntry(number, path, "used" if stacks else "left out", "; ".join(told), stacks)
