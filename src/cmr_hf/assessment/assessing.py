"""A whole study through all models: `cmr_hf.assess(path)`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..clinical.normal_ranges import compared, normal_ranges
from . import steps
from .asking import Asker, Pixels
from .cache import Cache
from .inference import BATCH_SIZE
from .intake import study_of
from .measuring import Subject, measure_ecv
from .models import Models
from .privacy import Private
from .results import StackAssessment, StudyAssessment
from .sources import Study

# kinds of stack whose figures are the study's, in this order
KINDS = ("cine SAX", "cine 4CH", "LGE SAX", "T1 SAX", "T1 post SAX", "T2 SAX")
WANTED = {
    "cine SAX": "volumes, ejection fraction and mass",
    "cine 4CH": "atrial volumes",
    "LGE SAX": "late enhancement",
    "T1 SAX": "native T1",
    "T1 post SAX": "post-contrast T1 and extracellular volume",
    "T2 SAX": "T2",
}


def assess(
    path: str | Path,
    *,
    models: Mapping[str, Any] | Models | None = None,
    out: str | Path | None = None,
    height_cm: float | None = None,
    weight_kg: float | None = None,
    haematocrit: float | None = None,
    keep_identity: bool = False,
    masks: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
    device: str | None = None,
    seg_phases: str = "ed-es",
) -> StudyAssessment:
    """Reads a study, recognises and segments its stacks, measures, and writes all of it down.

    Args:
        path (`str` or `Path`): folder, zip or DICOMDIR of one study.
        models (mapping of `str` to folder or Hub id, *optional*): role (of `models.ROLES`) → model, instead of or
            beside the embedded ones; `None` switches one off. Or a `Models`, which keeps what it opened for the next
            study. What has no model is not measured, and says so.
        out (`str` or `Path`, *optional*): folder for assessment.json, report.html, masks, DICOM SEG and pictures; what
            the models say is kept there too, so that a run that was stopped goes on. Without it nothing is written.
        height_cm, weight_kg (`float`, *optional*): for indexed figures, instead of the headers'.
        haematocrit (`float`, *optional*): 0 … 1, for the extracellular volume.
        keep_identity (`bool`): names and numbers of the patient and of files may be written.
        masks (`str` or `Path`, *optional*): folder of masks corrected by hand, under the names they were written with:
            they are measured instead of the models'.
        batch_size (`int`): images per pass of a model.
        progress (`bool`): bars on stderr, where that is a terminal.
        device (`str`, *optional*): "cpu", "cuda" …; by default CUDA where there is one.
        seg_phases (`str`): phases that get a DICOM SEG: "ed-es", "all" or "none".

    Returns:
        `StudyAssessment`: every figure is a `Measure`, with an interval or with the reason why there is none.

    Raises:
        ValueError: an argument that cannot be.
        FileNotFoundError: no such study, or no such folder of masks.
    """
    folder = _checked(masks, seg_phases)
    registry = Models(models, device) if models is None or isinstance(models, Mapping) else models
    seconds: dict[str, float] = {}
    with _timed(seconds, "reading"):
        pixels = Pixels()
        study = study_of(Path(path), pixels, keep_identity, progress)
    subject = _subject(study, height_cm, weight_kg, haematocrit)
    private = Private(Path(path), study.names, keep_identity)
    how = {"masks": folder, "batch_size": batch_size, "progress": progress, "seconds": seconds, "pixels": pixels}
    cache = Cache(None if out is None else Path(out) / "cache")
    made = assess_study(study, registry, subject, private, cache=cache, **how)
    made.keep_identity = keep_identity
    if out is not None:
        from .writing import write_all

        with _timed(seconds, "writing"):
            write_all(made, Path(out), private, seg_phases, progress)
    return made


def _checked(masks: str | Path | None, seg_phases: str) -> Path | None:
    """The folder of masks, if there is one to be read; raises what `assess` says of both arguments."""
    folder = None if masks is None else Path(masks)
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError("`masks` needs an existing folder: name the one that holds the …_mask.nii.gz")
    if seg_phases not in ("ed-es", "all", "none"):
        raise ValueError(f'`seg_phases` needs "ed-es", "all" or "none", got {seg_phases!r}: choose one')
    return folder


def assess_study(
    study: Study,
    models: Models,
    subject: Subject | None = None,
    private: Private | None = None,
    *,
    cache: Cache | None = None,
    masks: Path | None = None,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    seconds: dict[str, float] | None = None,
    pixels: Pixels | None = None,
) -> StudyAssessment:
    """The steps between reading and writing, for a study that is read already; see `assess`."""
    subject, private = subject or Subject(), private or Private(None)
    seconds = {} if seconds is None else seconds
    asker, pixels = Asker(models, cache or Cache(), batch_size, progress), pixels or Pixels()
    stacks: list[StackAssessment] = []
    early: list[tuple[int, str]] = []

    def failed(number: int, what: str, error: Exception) -> None:
        text = f"not {what}: {private.error(error)}"
        stack = next((one for one in stacks if one.number == number), None)
        if stack is None:
            early.append((number, text))
        elif text not in stack.not_measured:
            stack.not_measured.append(text)

    with _timed(seconds, "recognising"):
        stacks += steps.recognised(study.sources, asker, pixels, failed)
    for number, text in early:
        next(one for one in stacks if one.number == number).not_measured.append(text)
    with _timed(seconds, "segmenting"):
        steps.segmented(stacks, asker, pixels, masks, failed)
    with _timed(seconds, "locating"):
        steps.located(stacks, asker, pixels, failed)
        steps.detected(stacks, asker, pixels, failed)
    with _timed(seconds, "measuring"):
        steps.measured(stacks, pixels, subject, failed)
        steps.told_by_shape(stacks, models.shape, failed)
    made = StudyAssessment(study, stacks, subject, models=models.about(), seconds=seconds)
    made.pixels, made.images_seen, made.answers_known = pixels, asker.asked, asker.known
    _together(made)
    return made


def _together(made: StudyAssessment) -> None:
    """The study's figures: those of the best stack of each kind, ECV of two of them, and what is missing."""
    for kind in KINDS:
        stack = steps.best([one for one in made.stacks if one.kind == kind])
        if stack is not None:
            made.chosen[kind] = stack.number
            doubts = tuple(f"stack {stack.number} may show another view: {note}" for note in _view_doubts(stack))
            made.measures |= {name: one.noted(*doubts) for name, one in stack.measured.measures.items()}
            made.segmental |= stack.measured.segmental
            made.classes |= stack.measured.classes
    native, post = made.stack("T1 SAX"), made.stack("T1 post SAX")
    if native is not None and post is not None and native.measured.distributions and post.measured.distributions:
        ecv = measure_ecv(native.measured, post.measured, made.subject.haematocrit)
        made.measures |= ecv.measures
        made.segmental |= ecv.segmental
    made.normal = _normal(made)
    for kind, what in WANTED.items():
        if kind in made.chosen:
            continue
        there = [one for one in made.stacks if one.kind == kind]
        reasons = dict.fromkeys(reason.removeprefix("not measured: ") for one in there for reason in one.not_measured)
        why = "; ".join(reasons) if there else f"no {kind} stack in the study"
        made.not_measured.append(f"{what}: {why}")


def _view_doubts(stack: StackAssessment) -> tuple[str, ...]:
    """Why figures of a stack may be of another view; nothing where model and header agree, or no model was asked."""
    view = stack.recognition.view
    return view.notes if view.uncertain and view.probability is not None else ()


def _normal(made: StudyAssessment) -> dict[str, dict[str, Any]]:
    """Published range of each figure that has one for this person and scanner, and where the figure lies."""
    fields = [one.source.field_t for one in made.stacks if one.source.field_t is not None]
    field_t = max(set(fields), key=fields.count) if fields else None
    found = {}
    for name, one in made.measures.items():
        ranges = normal_ranges(name, made.subject.sex, field_t, made.subject.age_years) if one else []
        fitting = next((normal for normal in ranges if normal.unit == one.unit), None)
        if fitting is not None:
            found[name] = fitting.to_dict() | {"place": compared(one, fitting)}
    return found


def _subject(study: Study, height_cm: float | None, weight_kg: float | None, haematocrit: float | None) -> Subject:
    hidden = ("sex", "age_years", *(["height_cm"] if height_cm is None else []))
    return Subject(
        study.height_cm if height_cm is None else height_cm,
        study.weight_kg if weight_kg is None else weight_kg,
        haematocrit,
        study.sex,
        study.age_years,
        hidden if weight_kg is not None else (*hidden, "weight_kg"),
    )


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
