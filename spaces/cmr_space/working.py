"""From what a session holds to its results: files in, files out, so that it may run in a process of its own."""

import hashlib
import os
import shutil
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cmr_hf.assessment import ROLES, Models, StudyAssessment, Subject, assess_study
from cmr_hf.assessment.asking import Pixels
from cmr_hf.assessment.cache import Cache
from cmr_hf.assessment.intake import UNPLACED_MM, study_of
from cmr_hf.assessment.privacy import Private
from cmr_hf.assessment.sources import Opinion, Source, Study
from cmr_hf.assessment.writing import write_all
from cmr_hf.clinical.stacks import Stack
from cmr_hf.hub.checking_cmr import ReadingError

from .accelerator import lent_gpu
from .receiving import DICOM, Received
from .viewing import write_view

ASSUMED_MM = 1.4  # of pictures that do not say: what the processor assumes, too
BY_MODEL = "let the models say"
SHOWS: dict[str, Opinion] = {
    BY_MODEL: Opinion(),
    "short-axis cine": Opinion("cine", "SAX"),
    "four-chamber cine": Opinion("cine", "4CH"),
    "short-axis late enhancement": Opinion("LGE", "SAX"),
    "short-axis T1 map, in ms": Opinion("T1", "SAX", is_map=True),
    "short-axis T2 map, in ms": Opinion("T2", "SAX", is_map=True),
}
NO_SIZE = "nothing is measured: a picture does not say how large its pixels are; give their size in mm and assess again"
_LOCK = threading.Lock()
_OPENED: dict[bool, Models] = {}


@dataclass(frozen=True)
class Options:
    """What a person may say beside the files.

    Attributes:
        shows (`str`): of `SHOWS`; what a file without DICOM header shows.
        pixel_mm (`float`, *optional*): size of a picture's pixels.
        height_cm, weight_kg (`float`, *optional*): for indexed figures.
        haematocrit (`float`, *optional*): 0 … 1, for the extracellular volume.

    Raises:
        ReadingError: a number that cannot be.
    """

    shows: str = "short-axis cine"
    pixel_mm: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    haematocrit: float | None = None

    def __post_init__(self) -> None:
        if self.shows not in SHOWS:
            raise ReadingError(f"What the file shows needs to be one of: {', '.join(SHOWS)}; got {self.shows!r}.")
        limits = {
            "pixel_mm": ("Size of a pixel", 0.1, 10, "mm"),
            "height_cm": ("Height", 30, 250, "cm"),
            "weight_kg": ("Weight", 1, 400, "kg"),
            "haematocrit": ("Haematocrit", 0.1, 0.7, "(a fraction)"),
        }
        for name, (words, low, high, unit) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ReadingError(
                    f"{words} needs {low} to {high} {unit}, got {value:g}: correct it or leave it empty."
                )


def models(recognising: bool = True) -> Models:
    """The embedded models, opened once a process; without those that recognise where a person has said it."""
    with _LOCK:
        if recognising not in _OPENED:
            _OPENED[recognising] = Models(None if recognising else {"image-type": None, "cine-view": None})
        return _OPENED[recognising]


def warm_up() -> None:
    """Opens every embedded model, so that the first visitor does not wait for it."""
    opened = models()
    for name in opened.names():
        opened.load(name)


def roles() -> dict[str, dict[str, str | None]]:
    """Role → what it is for, and its model or `None`."""
    about = models().about()
    return {name: {"what": role.what, "model": about[name]["model"]} for name, role in ROLES.items()}


@lent_gpu()
def work(private: Path, shown: Path, options: Options, cache: Path | None = None) -> None:
    """Assesses what a session holds and writes `out/` (as `cmr_hf.assess` does) and `view/` below `shown`.

    Args:
        private (`Path`): folder that `receive` has filled.
        shown (`Path`): folder for the results; earlier ones are replaced.
        options (`Options`)
        cache (`Path`, *optional*): of answers of the models, to be kept.

    Raises:
        ReadingError: there is no image in it, or images of several patients.
    """
    received, pixels = Received.load(private), Pixels()
    told = received.kind != DICOM and options.shows != BY_MODEL
    study = study_of(private / "dicom", pixels) if received.kind == DICOM else _alone(private, received, options)
    extra = tuple({"file": "", "reason": why} for why, count in received.left_out.items() for _ in range(count))
    study = replace(study, files=received.files, left_out=study.left_out + extra)
    if not study.sources:
        reasons = dict.fromkeys(entry["reason"] for entry in study.left_out)
        raise ReadingError(f"There is no MR image in it that can be used: {'; '.join(list(reasons)[:4])}.")
    subject = Subject(
        options.height_cm or study.height_cm,
        options.weight_kg or study.weight_kg,
        options.haematocrit,
        study.sex,
        study.age_years,
        ("sex", "age_years", "height_cm", "weight_kg"),
    )
    keeper = Private(private, study.names)
    made = assess_study(study, models(not told), subject, keeper, cache=Cache(cache), pixels=pixels)
    if not received.has_spacing and options.pixel_mm is None:
        for stack in made.stacks:
            stack.not_measured[:] = [NO_SIZE]
        made.not_measured[:] = [NO_SIZE]
    for part in ("out", "view"):
        shutil.rmtree(shown / part, ignore_errors=True)
    write_all(made, shown / "out", keeper, "ed-es", progress=False)
    _finish(made, shown, told, received)


def _finish(made: StudyAssessment, shown: Path, told: bool, received: Received) -> None:
    shutil.rmtree(shown / "out" / "cache", ignore_errors=True)
    _zip(shown / "out", shown / "cmr_assessment.zip")
    for part, name in (("masks", "masks_nifti.zip"), ("dicom_seg", "dicom_seg.zip")):
        if (shown / "out" / part).is_dir():
            _zip(shown / "out" / part, shown / name)
    write_view(made, shown / "view", by_person=told, upright=received.kind != DICOM)
    received.save(shown / "view")


def _zip(folder: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    shutil.make_archive(os.fspath(path.with_suffix("")), "zip", folder)


def _alone(private: Path, received: Received, options: Options) -> Study:
    """One NIfTI file or picture as a study of one stack."""
    with np.load(private / "image.npz", allow_pickle=False) as stored:
        pixels, spacing = stored["pixels"], tuple(stored["spacing_mm"].tolist())
        distance, affine = float(stored["slice_distance_mm"]), stored["affine"]
    affine = None if np.isnan(affine).any() else affine
    slices = pixels.shape[1]
    sized = received.has_spacing or options.pixel_mm is not None
    if not received.has_spacing:
        spacing, affine = (options.pixel_mm or ASSUMED_MM,) * 2, None
    stack = Stack.regular(spacing, slices, UNPLACED_MM if np.isnan(distance) else distance, affine)
    opinion = SHOWS[options.shows]
    source = Source(
        number=1,
        shape=pixels.shape,
        stack=stack,
        read=partial(np.asarray, pixels),
        digest=_digest(pixels, spacing),
        header=opinion,
        in_ms=opinion.is_map,
        placed=sized and (slices == 1 or not np.isnan(distance)),
    )
    return Study(sources=(source,), files=received.files)


def _digest(pixels: np.ndarray, spacing: tuple[float, ...]) -> str:
    return hashlib.sha256(repr((pixels.shape, spacing)).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
