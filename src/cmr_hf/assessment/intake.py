"""From the stacks that `studies` sorts to those that the assessment works on."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..clinical.stacks import Stack
from ..hub.checking_cmr import ReadingError
from ..studies import Stack as StudyStack
from ..studies import Study as SortedStudy
from ..studies import read_study
from .asking import Pixels
from .sources import TYPES, VIEWS, FrameReference, Opinion, Source, Study

UNPLACED_MM = 10.0  # between slices of which nobody knows where they lie: to be able to draw them
SEXES = {"M": "male", "F": "female"}
IDENTITY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber")


def study_of(path: Path, pixels: Pixels, keep_identity: bool = False, progress: bool = False) -> Study:
    """Reads a study and decodes its stacks.

    Args:
        path (`Path`): folder, zip, DICOMDIR or file.
        pixels (`Pixels`): gets them.
        keep_identity (`bool`): also read who it is.
        progress (`bool`): a bar on stderr.

    Raises:
        ReadingError: there is no such path, or there are several studies.
    """

    def bar(files: Iterable) -> Iterable:
        return tqdm(files, desc="reading", unit="file", leave=False, disable=None if progress else True)

    return study_from(read_study(path, progress=bar), pixels, keep_identity)


def study_from(found: SortedStudy, pixels: Pixels, keep_identity: bool = False) -> Study:
    """A sorted study as the assessment sees it; frames that cannot be decoded are left out, with their reason."""
    sources: list[Source] = []
    lost: dict[int, str] = {}  # number of a file -> why it is not used after all
    starts = [one.started_s for one in found.stacks if one.image_type.value == "LGE" and one.started_s is not None]
    late_s = min(starts, default=None)
    for stack in found.stacks:
        usable, broken = _decodable(stack, pixels)
        lost |= broken
        if usable is None:
            continue
        if usable.spacing_mm is None:
            lost |= {
                one.file: "no pixel spacing: nothing can be measured in it" for row in usable.frames for one in row
            }
            continue
        sources.append(_source(usable, pixels, late_s))
    left_out = []
    for entry in found.files:
        reason = lost.get(entry.number) or entry.reason
        if entry.status != "used" or entry.number in lost:
            left_out.append({"file": entry.path, "reason": reason or entry.status})
    facts = found.patient
    return Study(
        sources=tuple(sources),
        files=len(found.files),
        left_out=tuple(left_out),
        names=tuple(entry.path for entry in found.files),
        height_cm=None if facts.height_m is None else 100 * facts.height_m,
        weight_kg=facts.weight_kg,
        sex=SEXES.get(facts.sex or ""),
        age_years=facts.age_years,
        identity=_identity(found) if keep_identity else {},
        notes=found.notes,
    )


def _decodable(stack: StudyStack, pixels: Pixels) -> tuple[StudyStack | None, dict[int, str]]:
    """A stack without frames that cannot be decoded, and the files that lost some; its pixels are kept."""
    try:
        pixels.keep(stack.id, stack.image().pixels)
        return stack, {}
    except ReadingError:
        usable, broken = stack.readable()
    if usable is not None:
        try:
            pixels.keep(stack.id, usable.image().pixels)
        except ReadingError as error:
            return None, dict.fromkeys((one.file for row in stack.frames for one in row), str(error))
    return usable, broken


def _source(stack: StudyStack, pixels: Pixels, late_s: float | None) -> Source:
    placed = stack.positions_mm is not None or stack.shape[1] == 1
    array = pixels.of_number(stack.id)
    geometry = _geometry(stack)
    notes = [*stack.notes]
    for what, opinion in (("image type", stack.image_type), ("view", stack.view)):
        if not opinion.agreed:
            notes.append(f"the headers do not agree on the {what}: {'; '.join(opinion.evidence)}")
    return Source(
        number=stack.id,
        shape=stack.shape,
        stack=geometry,
        read=lambda: stack.image().pixels,
        digest=_digest(array, geometry),
        header=_opinion(stack, late_s),
        times_ms=stack.phase_times_ms if stack.axis == "phase" else None,
        cycle_ms=stack.rr_ms,
        field_t=stack.field_t,
        in_ms=stack.unit == "ms",
        placed=placed,
        frames=_references(stack),
        notes=tuple(notes),
    )


def _geometry(stack: StudyStack) -> Stack:
    if stack.slice_affines is not None:
        made = Stack.of_affines(stack.slice_affines, stack.thickness_mm, stack.slice_distance_mm)
        return replace(made, spacing_mm=stack.spacing_mm)
    positions = stack.positions_mm
    if positions is None:
        positions = np.arange(stack.shape[1]) * UNPLACED_MM
    return Stack(stack.spacing_mm, positions, None, stack.thickness_mm, stack.slice_distance_mm)


def _opinion(stack: StudyStack, late_s: float | None) -> Opinion:
    detail = stack.image_type.detail
    image_type = stack.image_type.value or None
    is_map = "map" in detail.split(",")[0].split()
    post = None
    if image_type == "T1":
        named = {"post-contrast": True, "native": False}
        post = next((told for word, told in named.items() if detail.endswith(word)), None)
        if post is None and stack.contrast_agent:
            post = True
        if post is None and None not in (late_s, stack.started_s) and stack.started_s > late_s:
            post = True  # taken after the first late enhancement
    return Opinion(
        image_type if image_type in TYPES else None,
        stack.view.value if stack.view.value in VIEWS else None,
        post,
        is_map,
        stack.image_type.agreed,
        stack.view.agreed,
        (*stack.image_type.evidence, *stack.view.evidence),
    )


def _references(stack: StudyStack) -> np.ndarray:
    counts = Counter((one.file, one.slice.path) for row in stack.frames for one in row)
    several = {file for (file, _), count in counts.items() if count > 1}
    found = np.empty(stack.shape[:2], dtype=object)
    for t, row in enumerate(stack.frames):
        for z, one in enumerate(row):
            multi = one.file in several or one.slice.index > 0
            found[t, z] = FrameReference(
                one.sop_class_uid,
                one.sop_instance_uid,
                one.slice.index + 1 if multi else None,
                one.series_uid,
                one.study_uid,
                one.place_uid,
            )
    return found


def _digest(pixels: np.ndarray, geometry: Stack) -> str:
    """Of pixels and places: the same for copies with other names, other headers, in another order of files."""
    total = hashlib.sha256(repr(pixels.shape).encode())
    total.update(np.ascontiguousarray(pixels, dtype=np.float32).tobytes())
    total.update(np.round(np.array(geometry.spacing_mm), 4).tobytes())
    place = geometry.positions_mm if geometry.affines is None else geometry.affines
    total.update((np.round(place, 3) + 0.0).tobytes())
    return total.hexdigest()


def _identity(found: SortedStudy) -> dict[str, str]:
    """Patient fields of the first image; only for those who ask for them."""
    import pydicom

    if not found.stacks:
        return {}
    header = pydicom.dcmread(found.stacks[0].paths[0], stop_before_pixels=True, specific_tags=list(IDENTITY))
    return {name: str(header.get(name)) for name in IDENTITY if header.get(name)}
