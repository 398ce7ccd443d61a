"""The paper's eleven experiments: what each learns from, how stacks become its samples, and its split by patient.

    for sample in samples_of("3", read_acdc(root, patients)): …

Source: Jacob et al. 2024, Table 1 and sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.utils import logging

from ..hub.classifying_cmr import at_level, base_to_apex
from ..hub.image_cmr import CMRImage
from ..hub.pipeline_cmr_disease_detection import BASAL, CMRDiseaseDetectionPipeline
from ..hub.pipeline_cmr_lge_detection import CMRLGEDetectionPipeline, levels
from ..hub.reading_cmr import ReadingError
from .schema import DISEASES, IMAGE_TYPES, LABELS, LANDMARKS, LGE, UNKNOWN, VIEWS, LabelledStack
from .splits import SIDES

logger = logging.get_logger(__name__)

_LEVELS, _HEART = CMRLGEDetectionPipeline, CMRDiseaseDetectionPipeline  # whose rules need no instance
REPEATED, LEVELS, PHASES = "one image, repeated", _LEVELS.three, _HEART.three
APEX_FIRST = ("emidec",)  # sources that store stacks from apex to base, without a header that says so
MYOCARDIUM, SCAR = 2, 6

Count = tuple[int, int]  # images, patients


@dataclass(frozen=True)
class Experiment:
    """One line of Table 1.

    Attributes:
        key (`str`): the paper's number.
        name (`str`): the paper's name.
        kind (`str`): "classification", "segmentation", "landmarks" or "detection".
        task (`str`): the pipeline's.
        label (`str`): the field of `LabelledStack` that it learns: "image_type", "masks" …
        classes (`tuple` of `str`): names, in the order of the model's ids.
        train, validation, test (two `int`): the paper's images and patients.
        datasets (`tuple` of `str`): the paper's sources.
        substitutes (`tuple` of `str`): readers and phantoms to take instead where a source is private, or beside it.
        channels (`str`): what the three are.
        image_types, views (`tuple` of `str`): which stacks count; one of which it is unknown counts too.
        learns (`tuple` of `int`): house ids of the mask; scar counts as myocardium (2 + 6).
        compares (`tuple` of `str`): the classes for which the paper has a number.
        seen_in_pretraining (`bool`): the paper's asterisk.
        notes (`str`)
    """

    key: str
    name: str
    kind: str
    task: str
    label: str
    classes: tuple[str, ...]
    train: Count
    validation: Count
    test: Count
    datasets: tuple[str, ...]
    substitutes: tuple[str, ...] = ()
    channels: str = REPEATED
    image_types: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    learns: tuple[int, ...] = ()
    compares: tuple[str, ...] = ()
    seen_in_pretraining: bool = False
    notes: str = ""

    @property
    def id2label(self) -> dict[int, str]:
        """The model's, background included."""
        return dict(enumerate(self.classes))

    @property
    def patients(self) -> dict[str, int]:
        """The paper's number of patients by side."""
        return {side: getattr(self, side)[1] for side in SIDES}


def _segments(
    key: str, name: str, learns: tuple[int, ...], *rest: Any, compares: tuple[int, ...] = (), **more: Any
) -> Experiment:
    classes = tuple(LABELS[index] for index in (0, *learns))
    names = tuple(LABELS[index] for index in compares or learns)
    task = ("segmentation", "cmr-segmentation", "masks")
    return Experiment(key, name, *task, classes, *rest, learns=learns, compares=names, **more)


def _classifies(key: str, name: str, label: str, classes: tuple[str, ...], *rest: Any, **more: Any) -> Experiment:
    kind = "classification" if label in ("image_type", "view") else "detection"
    task = f"cmr-{label.replace('_', '-')}-{kind}"
    return Experiment(key, name, kind, task, label, classes, *rest, compares=classes, **more)


_LGE_SAX = {"image_types": ("LGE",), "views": ("SAX",)}
_CINE_SAX = {"image_types": ("cine",), "views": ("SAX",)}
_THREE_LEVELS = {"channels": LEVELS, **_LGE_SAX}
_ALL = (
    _classifies("1", "Image type classification", "image_type", IMAGE_TYPES,
                (24890, 100), (4310, 15), (8984, 29), ("Center 3",), ("phantoms", "acdc", "emidec", "sunnybrook"),
                notes="T1 and T2: maps and weighted images, T1 before and after contrast"),
    _classifies("2", "Cine view classification", "view", VIEWS,
                (1457, 165), (171, 16), (4494, 165), ("Center 3",), ("phantoms", "biv-me", "acdc", "sunnybrook"),
                image_types=("cine",), notes="other: LVOT, 5CH, RVOT and non-diagnostic images of the named views"),
    _segments("3", "Cine SAX", (1, 2, 3), (150, 75), (50, 25), (100, 50), ("acdc",), **_CINE_SAX,
              notes="images are volumes, ED and ES; 50 for test are as many as ACDC's own testing, patient101 … 150"),
    _segments("4", "Cine LAX (4CH)", (1, 2, 3, 4, 5), (346, 173), (70, 35), (458, 228), ("Kaggle DSB",),
              ("phantoms",), compares=(1, 2, 4, 5), image_types=("cine",), views=("4CH",),
              notes="learns the RV too (section 3.2: all four chambers); contours are the paper's own, private"),
    _segments("5A", "LGE SAX", (1, 2), (70, 70), (15, 15), (15, 15), ("emidec",), **_LGE_SAX,
              notes="images are volumes; myocardium = 2 + 6"),
    _segments("5B", "LGE SAX", (1, 2), (6105, 808), (1280, 176), (1197, 159), ("emidec", "Center 1", "Center 2"),
              ("emidec", "myops", "mscmrseg", "phantoms"), **_LGE_SAX, seen_in_pretraining=True,
              notes="myocardium = 2 + 6"),
    _segments("6", "Mapping SAX", (1, 2), (877, 100), (128, 15), (261, 29), ("Center 3",), ("phantoms",),
              image_types=("T1", "T2"), views=("SAX",), notes="maps of T1 before and after contrast, and of T2"),
    Experiment("7", "Cine SAX", "landmarks", "cmr-landmark-detection", "landmarks", LANDMARKS,
               (3198, 716), (398, 80), (399, 80), ("ukbb",), ("acdc", "phantoms"), **_CINE_SAX, compares=LANDMARKS,
               seen_in_pretraining=True,
               notes="UK Biobank's points are private; of ACDC `insertion_points.with_insertion_points` derives them"),
    _classifies("8A", "LGE from clinical reports", "lge", LGE, (694, 347), (158, 79), (110, 55), ("Center 2",),
                ("emidec", "phantoms"), **_THREE_LEVELS, seen_in_pretraining=True,
                notes="two images a patient in the paper; labels from reports"),
    _classifies("8B", "LGE detection", "lge", LGE, (70, 70), (15, 15), (15, 15), ("emidec",), **_THREE_LEVELS,
                notes="present where the mask has scar; myocardium = 2 + 6"),
    _classifies("9", "Disease detection", "disease", DISEASES, (150, 75), (50, 25), (100, 50), ("acdc",),
                channels=PHASES, **_CINE_SAX,
                notes="where there is no frame between, ED, ES, ES (`variant`); a heart is one sample here, the "
                      "paper counts two images a patient"),
)  # fmt: skip
EXPERIMENTS: dict[str, Experiment] = {one.key: one for one in _ALL}


def experiment(key: str | Experiment) -> Experiment:
    """The experiment of this number; a ValueError names all others."""
    if isinstance(key, Experiment):
        return key
    if key not in EXPERIMENTS:
        raise ValueError(f"`experiment` must be one of {', '.join(EXPERIMENTS)}, got {key!r}")
    return EXPERIMENTS[key]


def samples_of(key: str | Experiment, stacks: Iterable[LabelledStack], neighbours: int = 0) -> Iterator[dict[str, Any]]:
    """Training samples of an experiment, from stacks of which others are left out.

    The three images of the detection tasks are chosen by the pipelines' own rules. At the end a warning names the
    classes of which no sample came.

    Args:
        key (`str` or `Experiment`): one of `EXPERIMENTS`.
        stacks (iterable of `LabelledStack`): for experiment 9 all phases of a cine must follow each other.
        neighbours (`int`, defaults to 0): for detection, each heart also from so many slices nearer to base and apex,
            as far as the stack goes; to learn from, not to judge on.

    Yields:
        `dict` with `key` (source, patient, study, series, phase and slice), `patient`, `source`, `spacing_mm`
        ((row, column) or `None`), `image` (`(y, x)`, or `(3, y, x)` for detection) and, in its pixels,

        - classification, detection: `label`, an id of `id2label`;
        - segmentation: `mask` (`(y, x)`, uint8), ids of `id2label`, 255 where nobody drew; `drawn`, those looked for;
        - landmarks: `points`, float64 `(2, 2)`, (row, column) in the order of `id2label`, NaN where not marked;
        - detection: `shift`, 0 or slices towards the apex; experiment 9: `variant`, "" or "ED, ES, ES".
    """
    chosen = experiment(key)
    seen: Counter[int] = Counter()
    counted = (stack for stack in stacks if _counts(chosen, stack))
    more = {"neighbours": neighbours} if chosen.kind == "detection" else {}
    for sample in _MAKERS[chosen.label](chosen, counted, **more):
        if "mask" in sample:
            seen.update(sample["drawn"])
        elif "points" in sample:
            seen.update(np.flatnonzero(~np.isnan(sample["points"][:, 0])).tolist())
        else:
            seen[sample["label"]] += 1
        yield sample
    first = 1 if chosen.kind == "segmentation" else 0
    missing = [name for index, name in chosen.id2label.items() if index >= first and not seen[index]]
    if missing:
        logger.warning(f"experiment {chosen.key} ({chosen.name}): the data have no {', '.join(missing)}")


def _counts(chosen: Experiment, stack: LabelledStack) -> bool:
    pairs = ((stack.image_type, chosen.image_types), (stack.view, chosen.views))
    return all(value is None or not wanted or value in wanted for value, wanted in pairs)


def _about(stack: LabelledStack, index: int | None = None) -> dict[str, Any]:
    parts = [stack.source, stack.patient, stack.study, stack.series]
    if index is not None:
        parts += [f"t{stack.phase_index}", f"z{stack.slice_indices[index]}"]
    return {
        "key": "/".join(part for part in parts if part),
        "patient": stack.patient,
        "source": stack.source,
        "spacing_mm": stack.spacing_mm,
    }


def _labelled_slices(chosen: Experiment, stacks: Iterable[LabelledStack]) -> Iterator[dict[str, Any]]:
    for stack in stacks:
        label = getattr(stack, chosen.label)
        if label is not None:
            for index, image in enumerate(stack.images):
                yield _about(stack, index) | {"image": image, "label": chosen.classes.index(label)}


def _masked_slices(chosen: Experiment, stacks: Iterable[LabelledStack]) -> Iterator[dict[str, Any]]:
    ids = np.zeros(256, np.uint8)  # of the house → of the model
    ids[UNKNOWN] = UNKNOWN
    for index, label in enumerate(chosen.learns, 1):
        ids[label] = index
    ids[SCAR] = ids[MYOCARDIUM]
    for stack in stacks:
        drawn = tuple(sorted({int(ids[label]) for label in stack.drawn} - {0}))
        if stack.masks is None or not drawn:
            continue
        for index, (image, mask) in enumerate(zip(stack.images, stack.masks, strict=True)):
            if (mask != UNKNOWN).any():
                yield _about(stack, index) | {"image": image, "mask": ids[mask], "drawn": drawn}


def _marked_slices(chosen: Experiment, stacks: Iterable[LabelledStack]) -> Iterator[dict[str, Any]]:
    nowhere = (np.nan, np.nan)
    for stack in stacks:
        for index, (image, marked) in enumerate(zip(stack.images, stack.landmarks, strict=True)):
            points = np.array([marked.get(name, nowhere) for name in chosen.classes], float)
            if not np.isnan(points).all():
                yield _about(stack, index) | {"image": image, "points": points}


def _levels(chosen: Experiment, stacks: Iterable[LabelledStack], neighbours: int) -> Iterator[dict[str, Any]]:
    for stack in stacks:
        label = stack.lge
        if label is None and stack.masks is not None and SCAR in stack.drawn:
            label = LGE[int((stack.masks == SCAR).any())]
        if label is None:
            continue
        image, about = _image(stack, stack.images), _about(stack)
        try:
            three = _LEVELS.three_images(_LEVELS, image)
        except ReadingError as error:
            logger.warning(f"experiment {chosen.key} leaves out {about['key']}: {error}")
            continue
        about |= {"key": f"{about['key']}/t{stack.phase_index}", "label": chosen.classes.index(label)}
        yield about | {"image": three, "shift": 0}
        order = base_to_apex(image)
        for shift in _shifts(neighbours):
            places = [place + shift for place in levels(len(order))]
            if 0 <= places[0] and places[-1] < len(order):
                three = _LEVELS.three_images(_LEVELS, image, slices=[order[place] for place in places])
                yield about | {"image": three, "shift": shift, "key": f"{about['key']}/{shift:+d}"}


def _hearts(chosen: Experiment, stacks: Iterable[LabelledStack], neighbours: int) -> Iterator[dict[str, Any]]:
    for cine in _cines(stacks):
        label = next((stack.disease for stack in cine if stack.disease is not None), None)
        if label is None:
            continue
        about = _about(cine[0])
        shapes = {stack.images.shape for stack in cine}
        if len(cine) < 2 or len(shapes) > 1:
            logger.warning(f"experiment {chosen.key} leaves out {about['key']}: needs phases of one size, got {shapes}")
            continue
        phases = [stack.phase for stack in cine]
        ed = phases.index("ED") if "ED" in phases else 0
        frames = np.roll(np.stack([stack.images for stack in cine]), -ed, axis=0)  # (t, z, y, x), from ED
        known = (0, (phases.index("ES") - ed) % len(cine)) if "ES" in phases else None
        image = _image(cine[0], frames)
        order = base_to_apex(image)
        own = order.index(at_level(order, BASAL))
        for shift in (0, *_shifts(neighbours)):
            if 0 <= own + shift < len(order):
                three = _HEART.three_images(_HEART, image, phases=known, slice_index=order[own + shift])
                variant = "ED, ES, ES" if np.array_equal(three[1], three[2]) else ""
                key = f"{about['key']}/{shift:+d}" if shift else about["key"]
                more = {"image": three, "label": chosen.classes.index(label), "variant": variant, "shift": shift}
                yield about | more | {"key": key}


def _shifts(neighbours: int) -> list[int]:
    return [shift for shift in range(-neighbours, neighbours + 1) if shift]


def _cines(stacks: Iterable[LabelledStack]) -> Iterator[list[LabelledStack]]:
    """Stacks of one cine, by phase; those of one patient must follow each other."""
    group: dict[tuple[str, str], list[LabelledStack]] = {}
    patient = None
    for stack in stacks:
        if (stack.source, stack.patient) != patient:
            yield from (sorted(one, key=lambda phase: phase.phase_index) for one in group.values())
            group, patient = {}, (stack.source, stack.patient)
        group.setdefault((stack.study, stack.series), []).append(stack)
    yield from (sorted(one, key=lambda phase: phase.phase_index) for one in group.values())


def _image(stack: LabelledStack, pixels: np.ndarray) -> CMRImage:
    """A stack as the pipelines see one; from base to apex where only the source's habit says which end is which."""
    if stack.affine is None and stack.source in APEX_FIRST:
        pixels = np.flip(pixels, axis=-3)
    name = _about(stack)["key"]
    return CMRImage(pixels, stack.spacing_mm, stack.slice_distance_mm, stack.affine, name, "array")


_MAKERS = {
    "image_type": _labelled_slices,
    "view": _labelled_slices,
    "masks": _masked_slices,
    "landmarks": _marked_slices,
    "lge": _levels,
    "disease": _hearts,
}


def paper_split(
    key: str | Experiment,
    patients: Iterable[str] | Mapping[str, str | None],
    seed: int = 0,
    proportional: bool = False,
) -> dict[str, Any]:
    """Patients by side, as many as the paper has, each class in the same share on every side.

    Where a data set has a binding split (`splits.load_split`), take that one: this one knows nothing of it.

    Args:
        key (`str` or `Experiment`): one of `EXPERIMENTS`.
        patients: their names, or name → class.
        seed (`int`): of the draw; the order of `patients` does not matter.
        proportional (`bool`): spread all patients in the paper's shares instead of drawing its numbers.

    Returns:
        `dict` of "train", "validation", "test", each a sorted list, and "_", a line that says how it was drawn; in
        the form that `load_split` reads.

    Raises:
        ValueError: fewer patients than the paper has, or, in its shares, a side without any.
    """
    chosen = experiment(key)
    classes = dict(patients) if isinstance(patients, Mapping) else dict.fromkeys(patients)
    sizes = chosen.patients
    total = sum(sizes.values())
    if proportional:
        sizes = dict(zip(SIDES, _shares(list(sizes.values()), len(classes)), strict=True))
    if len(classes) < sum(sizes.values()) or not all(sizes.values()):
        raise ValueError(
            f"experiment {chosen.key} needs {total} patients in {chosen.patients}, got {len(classes)}: add patients, "
            "or pass proportional=True for the same shares of fewer, enough for one on every side"
        )
    generator = np.random.default_rng(seed)
    groups: dict[str, list[str]] = {}
    for name in sorted(classes):
        groups.setdefault(classes[name] or "", []).append(name)
    queues = [[names[index] for index in generator.permutation(len(names))] for _, names in sorted(groups.items())]
    split: dict[str, Any] = {}
    for side in SIDES:
        taken = _shares([len(queue) for queue in queues], sizes[side])
        split[side] = sorted(name for queue, count in zip(queues, taken, strict=True) for name in queue[:count])
        queues = [queue[count:] for queue, count in zip(queues, taken, strict=True)]
    how = "in the shares" if proportional else "in the numbers"
    by = ", the same share of each class on every side" if len(groups) > 1 else ""
    return {"_": f"drawn {how} of Jacob et al. 2024, Table 1, experiment {chosen.key}, seed {seed}{by}", **split}


def _shares(weights: list[int], total: int) -> list[int]:
    """`total` spread in proportion to weights, by the largest remainder, none above its weight where all fit."""
    exact = [weight * total / max(sum(weights), 1) for weight in weights]
    counts = [int(value) for value in exact]
    order = sorted(range(len(weights)), key=lambda index: (counts[index] - exact[index], index))
    for index in order[: total - sum(counts)]:
        counts[index] += 1
    return counts
