"""The steps of an assessment, each over all stacks: recognise, segment, find landmarks, detect, measure."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..clinical.curves import find_phases, volume_curve
from ..clinical.shape import ShapeClassifier, shape_features
from ..clinical.stacks import base_to_apex
from ..clinical.volumes import LV, MYOCARDIUM, SCAR, slice_areas_mm2
from ..hub.classifying_cmr import at_level
from ..hub.pipeline_cmr_disease_detection import BASAL
from ..hub.pipeline_cmr_lge_detection import levels
from ..hub.turning_cmr import Turn, upright
from .asking import Asker, Pixels, content_of, sampled
from .consistency import made_consistent
from .hand_masks import hand_mask
from .inference import Classes, Masks, Request
from .measuring import (
    Landmarks,
    Lender,
    Measured,
    Subject,
    confidence,
    measure_cine_4ch,
    measure_cine_sax,
    measure_lge_sax,
    measure_map_sax,
)
from .recognition import recognise
from .results import StackAssessment
from .sources import Source

# (image type, view) -> the role that segments it
SEGMENTERS = {
    ("cine", "SAX"): "cine-sax",
    ("cine", "4CH"): "cine-4ch",
    ("LGE", "SAX"): "lge-sax",
    ("T1", "SAX"): "mapping-sax",
    ("T2", "SAX"): "mapping-sax",
}
UNTURNED = Turn()
SURER = 0.02  # mean probability, from which one of two masks is the better one
SAME_MM = 0.1  # between the places of pixels of one grid
INSERTION, LGE, DISEASE = "rv-insertion", "lge-detection", "disease"
Failed = Callable[[int, str, Exception], None]  # stack, what, error


def recognised(sources: tuple[Source, ...], asker: Asker, pixels: Pixels, failed: Failed) -> list[StackAssessment]:
    """Image type and view of every stack."""
    requests = []
    for source in sources:
        frames = sampled(source)
        roles = ("image-type", "cine-view")
        requests.append(_request(source, pixels, frames, roles, "sampled"))
    found = asker.ask(requests, "recognising", lambda key, error: failed(int(key), "recognised", error))
    stacks = []
    for source in sources:
        image_type, view = (found.get((str(source.number), role)) for role in ("image-type", "cine-view"))
        why = ""
        value = recognise(source.header, image_type, None).image_type.value
        if value != "cine" and view is not None:
            view, why = None, "the model for views knows cines only"
        stack = StackAssessment(source, recognise(source.header, image_type, view, why), notes=list(source.notes))
        for answer in (stack.recognition.image_type, stack.recognition.view):
            stack.notes += answer.notes if answer.uncertain else ()
        stacks.append(stack)
    return stacks


def segmented(stacks: list[StackAssessment], asker: Asker, pixels: Pixels, masks: Path | None, failed: Failed) -> None:
    """Label maps of every stack that can have them: by hand where there are, else by the models."""
    requests = []
    for stack in stacks:
        recognition = stack.recognition
        role = SEGMENTERS.get((recognition.image_type.value, recognition.view.value))
        if role == "mapping-sax" and not recognition.is_map:
            stack.not_measured.append("not segmented: images that a map is made of, no map")
            continue
        if role is None:
            stack.not_measured.append(f"not segmented: nothing here segments {stack.kind}")
            continue
        stack.model = role
        if masks is not None and _by_hand(stack, masks, failed):
            continue
        if role not in asker.models:
            stack.not_measured.append(asker.models.why_missing(role))
            continue
        roles = (role, INSERTION) if role == "cine-sax" and asker.one_pass(role, INSERTION) else (role,)
        turn = turn_of(role, stack.source.stack.affines)
        requests.append(_request(stack.source, pixels, _every(stack.source), roles, "all", turn=turn))
    found = asker.ask(requests, "segmenting", lambda key, error: failed(int(key), "segmented", error))
    for stack in stacks:
        answer: Masks | None = found.get((str(stack.number), stack.model))
        if answer is None:
            continue
        shape, turn = stack.source.shape, turn_of(stack.model, stack.source.stack.affines)
        cleaned = made_consistent(turn.back(answer.labels).reshape(shape), answer.single)
        stack.labels, stack.masks_from = cleaned.labels, "model"
        stack.notes += cleaned.notes
        stack.chances = {label: turn.back(maps).reshape(shape) for label, maps in answer.chances.items()}
        points = found.get((str(stack.number), INSERTION))
        if points is not None:
            stack.landmarks = Landmarks(points, tuple(range(shape[0])))
    share_masks([one for one in stacks if one.kind == "LGE SAX" and one.masks_from == "model"])


def share_masks(stacks: list[StackAssessment]) -> None:
    """Gives stacks on one grid, as magnitude and PSIR of one acquisition are, the masks that the model is surest of.

    Args:
        stacks (list of `StackAssessment`): of one kind, with masks of a model and one phase; changed in place. In all
            of 8 pairs of phantoms (seeds from 60000) the surer one had the better myocardium.
    """
    sure = {one.number: sureness(one) for one in stacks}
    for stack in stacks:
        others = [one for one in stacks if _same_grid(one.source, stack.source)]
        surest = max(others, key=lambda one: sure[one.number])
        if sure[surest.number] - sure[stack.number] < SURER:
            continue
        stack.labels, stack.chances = surest.labels, surest.chances
        sureties = f"{sure[surest.number]:.2f} there, {sure[stack.number]:.2f} here"
        stack.notes.append(f"the masks are those of stack {surest.number}, on the same grid: {sureties}")


def _same_grid(one: Source, other: Source) -> bool:
    affines = one.stack.affines, other.stack.affines
    if one.shape != other.shape or one.shape[0] != 1 or affines[0] is None or affines[1] is None:
        return one is other
    return bool(np.allclose(*affines, atol=SAME_MM))


def sureness(stack: StackAssessment) -> float:
    """Mean probability of what the model drew, over its slices; 1 of masks by hand, 0 without any."""
    if stack.labels is None or not stack.labels.any():
        return 0.0
    if stack.chances is None:
        return 1.0
    return float(np.nanmean(confidence(stack.labels, stack.chances)))


def turn_of(role: str, affines: np.ndarray | None) -> Turn:
    """How the pictures of a stack are laid for the model of a role: four-chamber views with the apex up.

    Args:
        role (`str`): what segments; none but "cine-4ch" asks for it.
        affines (`np.ndarray` of shape `(z, 4, 4)`, *optional*): (column, row, slice) → patient LPS mm.
    """
    return upright(None if affines is None else affines[0]) if role == "cine-4ch" else Turn()


def _by_hand(stack: StackAssessment, masks: Path, failed: Failed) -> bool:
    try:
        labels = hand_mask(masks, stack)
    except Exception as error:  # a mask that does not fit: the model draws one, and it is said
        failed(stack.number, "measured from the mask that was given", error)
        return False
    if labels is None:
        return False
    stack.labels, stack.masks_from = labels, "hand"
    return True


def located(stacks: list[StackAssessment], asker: Asker, pixels: Pixels, failed: Failed) -> None:
    """RV insertion points of every slice: of cines at ED and ES."""
    requests, phases = [], {}
    for stack in stacks:
        if stack.labels is None or stack.recognition.view.value != "SAX" or stack.landmarks is not None:
            continue
        if INSERTION not in asker.models:
            stack.not_measured.append(asker.models.why_missing(INSERTION))
            continue
        phases[stack.number] = moments(stack)
        frames = np.array([(t, z) for t in phases[stack.number] for z in range(stack.source.shape[1])])
        what = f"phases {phases[stack.number]}"
        requests.append(_request(stack.source, pixels, frames, (INSERTION,), what))
    found = asker.ask(requests, "locating", lambda key, error: failed(int(key), "searched for landmarks", error))
    for stack in stacks:
        points = found.get((str(stack.number), INSERTION))
        if points is not None:
            stack.landmarks = Landmarks(points, phases[stack.number])


def moments(stack: StackAssessment) -> tuple[int, ...]:
    """ED and ES of a cine, the first phase of anything else."""
    if stack.recognition.image_type.value != "cine" or stack.source.shape[0] == 1:
        return (0,)
    if len(stack.source.stack) > 1:
        volumes = volume_curve(stack.labels, stack.source.stack, (LV,)).volumes_ml
    else:
        volumes = slice_areas_mm2(stack.labels, stack.source.stack.spacing_mm, (LV,)).sum(axis=1)
    found = find_phases(volumes)
    return tuple(dict.fromkeys(phase for phase in (found.ed, found.es) if phase is not None)) or (0,)


def detected(stacks: list[StackAssessment], asker: Asker, pixels: Pixels, failed: Failed) -> None:
    """Disease from every short-axis cine, presence of late enhancement from every short-axis LGE stack."""
    requests, names = [], {}
    for stack in stacks:
        kind = (stack.recognition.image_type.value, stack.recognition.view.value)
        role = {("cine", "SAX"): DISEASE, ("LGE", "SAX"): LGE}.get(kind)
        if role is None:
            continue
        if role not in asker.models:
            stack.not_measured.append(asker.models.why_missing(role))
            continue
        three = _three(stack, role)
        if isinstance(three, str):
            stack.not_measured.append(three)
            continue
        names[stack.number] = role
        requests.append(_request(stack.source, pixels, three, (role,), f"three {three.tolist()}", together=True))
    found = asker.ask(requests, "detecting", lambda key, error: failed(int(key), "classified", error))
    for stack in stacks:
        answer = found.get((str(stack.number), names.get(stack.number, "")))
        if answer is not None:
            stack.measured.classes["lge" if names[stack.number] == LGE else "disease"] = answer


def _three(stack: StackAssessment, role: str) -> np.ndarray | str:
    """(phase, slice) of the three images that stand for a heart, shape (3, 2), or why there are none."""
    place = stack.source.stack
    sizes = np.zeros(len(place))
    if stack.labels is not None:
        sizes = np.count_nonzero(np.isin(stack.labels[0], (LV, MYOCARDIUM, SCAR)), axis=(1, 2)).astype(float)
    order = base_to_apex(place, sizes)[0].tolist()
    if role == LGE:
        if len(order) < 3:
            return "not measured: the presence of late enhancement needs three slices"
        return np.array([(0, order[level]) for level in levels(len(order))])
    if stack.labels is None:
        return "not measured: diseases need masks, which tell ED and ES"
    found = moments(stack)
    if len(found) < 2:
        return "not measured: diseases need a cine with ED and ES"
    ed, es = found
    return np.array([(t, at_level(order, BASAL)) for t in (ed, -(-(ed + es) // 2), es)])


def told_by_shape(stacks: list[StackAssessment], classifier: ShapeClassifier | None, failed: Failed) -> None:
    """Disease from the volumes and walls of every short-axis cine that was measured, beside what the images say."""
    for stack in stacks:
        made = stack.measured
        if classifier is None or stack.kind != "cine SAX" or made.ed is None or made.es is None:
            continue
        try:
            found = shape_features(stack.labels[made.ed], stack.labels[made.es], stack.source.stack.spacing_mm)
            if isinstance(found, str):
                stack.not_measured.append(found)
            else:
                made.classes["disease_by_shape"] = Classes(classifier.chances(found), 1.0)
        except Exception as error:  # one stack's shape must not take the study with it
            failed(stack.number, "classified by its shape", error)


def measured(stacks: list[StackAssessment], pixels: Pixels, subject: Subject, failed: Failed) -> None:
    """Figures of every stack that has masks. Cines come first: they show where base, apex and septum lie."""
    for stack in stacks:
        if stack.labels is not None and stack.recognition.image_type.value == "cine":
            _measure(stack, pixels, subject, None, failed)
    cine = best([one for one in stacks if one.kind == "cine SAX"])
    lender = None
    if cine is not None and cine.measured.segments.get("ED"):
        lender = Lender(cine.source.stack, cine.measured.segments["ED"])
    for stack in stacks:
        if stack.labels is not None and stack.recognition.image_type.value != "cine":
            _measure(stack, pixels, subject, lender, failed)


def best(stacks: list[StackAssessment]) -> StackAssessment | None:
    """Of stacks of one kind the one to believe.

    Most slices; then that whose headers do not contradict themselves; then the one whose masks are surest, by more than
    `SURER`; then fewest errors of quality; then the last one taken.
    """
    there = [one for one in stacks if one.labels is not None]
    if not there:
        return None

    def place(one: StackAssessment) -> tuple[int, bool]:
        return len(one.source.stack), one.source.header.type_agreed and one.source.header.view_agreed

    first = max(map(place, there))
    sure = {one.number: sureness(one) for one in there if place(one) == first}
    there = [one for one in there if sure.get(one.number, 0.0) > max(sure.values()) - SURER]

    def worth(one: StackAssessment) -> tuple[int, int]:
        return -sum(finding.severity == "error" for finding in one.measured.findings), one.number

    return max(there, key=worth)


def _measure(stack: StackAssessment, pixels: Pixels, subject: Subject, lender: Lender | None, failed: Failed) -> None:
    classes = stack.measured.classes
    source, labels, name = stack.source, stack.labels, stack.title
    kind = (stack.recognition.image_type.value, stack.recognition.view.value)
    made = Measured()
    if not source.placed:
        stack.not_measured.append("not measured: the headers do not place the slices, so their distance is unknown")
        return
    try:
        if kind == ("cine", "SAX"):
            made = measure_cine_sax(source, labels, stack.chances, stack.landmarks, subject, name)
        elif kind == ("cine", "4CH"):
            made = measure_cine_4ch(source, labels, name)
        elif kind == ("LGE", "SAX"):
            made = measure_lge_sax(source, pixels.of(source), labels, stack.landmarks, lender, name)
        else:
            which = "T1 post" if kind[0] == "T1" and stack.recognition.post_contrast else kind[0]
            made = measure_map_sax(source, pixels.of(source), labels, stack.landmarks, lender, which, name)
    except Exception as error:  # one stack's figures must not take the study with them
        failed(stack.number, "measured", error)
    made.classes = classes
    stack.measured = made


def _every(source: Source) -> np.ndarray:
    return np.stack(np.divmod(np.arange(source.shape[0] * source.shape[1]), source.shape[1]), axis=1)


def _request(
    source: Source,
    pixels: Pixels,
    frames: np.ndarray,
    roles: tuple[str, ...],
    what: str,
    together: bool = False,
    turn: Turn = UNTURNED,
) -> Request:
    """A request for some images (phase, slice) of a stack; `together` makes one sample of three, `turn` lays them."""

    def images() -> np.ndarray:
        chosen = turn.of(pixels.of(source)[frames[:, 0], frames[:, 1]])
        return chosen[None] if together else chosen

    count = 1 if together else len(frames)
    what += f", {turn}" if turn else ""
    spacing_mm = turn.pair(source.stack.spacing_mm)
    return Request(str(source.number), images, count, spacing_mm, roles, content_of(source, what))
