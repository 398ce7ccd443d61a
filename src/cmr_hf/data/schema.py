"""One form for every data set: a labelled stack to read into, and a `datasets` row per image to train from.

Readers give `LabelledStack`; `rows_of` turns one into rows of `features()`, `stacks_of` puts rows together again.
Label ids are the package's everywhere: a reader translates those of its files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import datasets

LABELS = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV", 4: "LA", 5: "RA", 6: "scar"}
UNKNOWN = 255  # a pixel of which nobody said what it is
IMAGE_TYPES = ("cine", "LGE", "T1", "T2", "other")
VIEWS = ("SAX", "2CH", "3CH", "4CH", "aorta", "other")
DISEASES = ("NORM", "DCM", "HCM", "RV", "MINF")
LGE = ("none", "present")
LANDMARKS = ("anterior RV insertion", "inferior RV insertion")

Point = tuple[float, float]


@dataclass
class LabelledStack:
    """Slices of one phase, with what is known of them.

    Attributes:
        images (`np.ndarray` of shape `(z, y, x)`): values as the source has them.
        patient (`str`): a pseudonym, never a name or number from a header.
        source (`str`): the data set, "acdc".
        licence (`str`): the Hub's name of its licence, "unknown" where nobody said.
        masks (`np.ndarray` of shape `(z, y, x)`, uint8, *optional*): ids of `LABELS`; `UNKNOWN` where nobody drew.
        drawn (`tuple` of `int`): ids that were looked for; another id is absent because nobody drew it.
        absent (`tuple` of `int`): ids that a task has elsewhere but not here, atria in the short axis say: a model is
            not asked for them.
        spacing_mm (two `float`, *optional*): (row, column).
        slice_distance_mm (`float`, *optional*): centre to centre.
        affine (`np.ndarray` of shape `(4, 4)`, *optional*): (column, row, slice) → patient LPS mm; `None` where the
            header has none or a dummy.
        study, series (`str`): told apart within a patient.
        phase_index (`int`): position in the cine, from 0.
        phase (`str`): "ED", "ES" or "".
        slice_indices (`tuple` of `int`): position of each slice in the whole stack, by default 0, 1, 2 …
        image_type, view, disease, lge (`str`, *optional*): of the vocabularies above.
        landmarks (`list` of `dict`): per slice, name → (row, column) in pixels; empty where nobody marked any.
    """

    images: np.ndarray
    patient: str
    source: str
    licence: str = "unknown"
    masks: np.ndarray | None = None
    drawn: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    spacing_mm: Point | None = None
    slice_distance_mm: float | None = None
    affine: np.ndarray | None = None
    study: str = ""
    series: str = ""
    phase_index: int = 0
    phase: str = ""
    slice_indices: tuple[int, ...] = ()
    image_type: str | None = None
    view: str | None = None
    disease: str | None = None
    lge: str | None = None
    landmarks: list[dict[str, Point]] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = f"{self.source} {self.patient} {self.series}".strip()
        if self.images.ndim != 3 or not self.images.size:
            raise ValueError(f"{where}: `images` needs shape (z, y, x), got {self.images.shape}")
        count = len(self.images)
        if self.masks is not None:
            if self.masks.shape != self.images.shape:
                raise ValueError(f"{where}: `masks` {self.masks.shape} must have the images' shape {self.images.shape}")
            strange = sorted(set(np.unique(self.masks).tolist()) - {*LABELS, UNKNOWN})
            if strange:
                raise ValueError(f"{where}: `masks` has ids {strange}; map them to {LABELS} first")
        self.slice_indices = tuple(self.slice_indices) or tuple(range(count))
        self.landmarks = list(self.landmarks) or [{} for _ in range(count)]
        if len(self.slice_indices) != count or len(self.landmarks) != count:
            raise ValueError(f"{where}: `slice_indices` and `landmarks` need one entry for each of {count} slices")
        for name, value, known in (
            ("image_type", self.image_type, IMAGE_TYPES),
            ("view", self.view, VIEWS),
            ("disease", self.disease, DISEASES),
            ("lge", self.lge, LGE),
        ):
            if value is not None and value not in known:
                raise ValueError(f"{where}: `{name}` must be one of {known}, got {value!r}")


def only_labels(stack: LabelledStack, labels: Iterable[int]) -> LabelledStack:
    """A stack for a task that knows some of the labels: scar is myocardium where scar is not one of them, every other
    label that is not, background."""
    kept = set(labels)
    if stack.masks is None:
        raise ValueError(f"{stack.source} {stack.patient}: `masks` is needed to train or measure, got None")
    return replace(
        stack, masks=as_task_knows(stack.masks, kept), drawn=tuple(label for label in stack.drawn if label in kept)
    )


def as_task_knows(masks: np.ndarray, labels: Iterable[int]) -> np.ndarray:
    """Label maps in which scar is myocardium where the task has no scar, and all else that it has not, background."""
    kept = set(labels)
    table = np.array([label if label in kept or label == UNKNOWN else 0 for label in range(256)], np.uint8)
    table[6] = 6 if 6 in kept else 2 if 2 in kept else 0
    return table[masks]


def known_of(mask: np.ndarray, drawn: Iterable[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """What a slice's mask says to one who learns from it.

    Args:
        mask (`np.ndarray` of shape `(y, x)`): ids, `UNKNOWN` where nobody said.
        drawn (iterable of `int`): ids that were looked for in the stack.

    Returns:
        The mask, and the ids it tells from all else; none when nobody drew here. Where all that is known are filled
        outlines, the rest is known to be none of their structures: it becomes 0, and only they are told. So does an
        id in the mask that was not looked for.
    """
    found = set(np.unique(mask).tolist())
    if strange := found - {0, UNKNOWN, *drawn}:
        mask = np.where(np.isin(mask, list(strange)), 0, mask).astype(mask.dtype)
        found = set(np.unique(mask).tolist())
    inside = found - {0, UNKNOWN}
    if UNKNOWN not in found or 0 in found:
        return mask, tuple(drawn)
    return np.where(mask == UNKNOWN, 0, mask).astype(mask.dtype), tuple(sorted(inside))


def features() -> datasets.Features:
    """The columns of a data set of this package, one row per image; every label may be missing (`None`)."""
    import datasets

    text, number = datasets.Value("string"), datasets.Value("int32")
    return datasets.Features(
        {
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "drawn": datasets.List(datasets.Value("uint8")),
            "spacing_mm": datasets.List(datasets.Value("float64")),
            "slice_distance_mm": datasets.Value("float64"),
            "affine": datasets.List(datasets.Value("float64")),
            "patient": text,
            "study": text,
            "series": text,
            "slice": number,
            "phase_index": number,
            "phase": text,
            "image_type": datasets.ClassLabel(names=list(IMAGE_TYPES)),
            "view": datasets.ClassLabel(names=list(VIEWS)),
            "disease": datasets.ClassLabel(names=list(DISEASES)),
            "lge": datasets.ClassLabel(names=list(LGE)),
            "landmarks": datasets.List(
                {"name": text, "row": datasets.Value("float64"), "column": datasets.Value("float64")}
            ),
            "source": text,
            "licence": text,
        }
    )


def storable(image: np.ndarray) -> np.ndarray:
    """A slice in a type that a lossless picture keeps: uint8, uint16, int32 or float32."""
    if image.dtype in (np.uint8, np.uint16, np.float32):
        return image
    if image.dtype == bool:
        return image.astype(np.uint8)
    if image.dtype.kind in "iu":
        low, high = int(image.min()), int(image.max())
        if low >= 0 and high < 2**16:
            return image.astype(np.uint16)
        if low >= -(2**31) and high < 2**31:
            return image.astype(np.int32)
    return image.astype(np.float32)


def rows_of(stack: LabelledStack) -> Iterator[dict[str, Any]]:
    """One row of `features()` per slice."""
    for index, image in enumerate(stack.images):
        affine = None
        if stack.affine is not None:
            affine = stack.affine.copy()
            affine[:3, 3] += index * affine[:3, 2]  # of this slice: its own origin
            affine = affine.flatten().tolist()
        yield {
            "image": storable(image),
            "mask": None if stack.masks is None else stack.masks[index].astype(np.uint8),
            "drawn": list(stack.drawn),
            "spacing_mm": None if stack.spacing_mm is None else [float(value) for value in stack.spacing_mm],
            "slice_distance_mm": stack.slice_distance_mm,
            "affine": affine,
            "patient": stack.patient,
            "study": stack.study,
            "series": stack.series,
            "slice": stack.slice_indices[index],
            "phase_index": stack.phase_index,
            "phase": stack.phase,
            "image_type": stack.image_type,
            "view": stack.view,
            "disease": stack.disease,
            "lge": stack.lge,
            "landmarks": [
                {"name": name, "row": float(row), "column": float(column)}
                for name, (row, column) in stack.landmarks[index].items()
            ],
            "source": stack.source,
            "licence": stack.licence,
        }


def stacks_of(rows: Iterable[Mapping[str, Any]]) -> list[LabelledStack]:
    """Puts rows that belong together (patient, study, series, phase) into stacks again, slices in order.

    Args:
        rows: a `datasets.Dataset` with `features()`, or rows of one.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("source", "patient", "study", "series", "phase_index"))
        groups.setdefault(key, []).append(row)
    return [_stack(sorted(group, key=lambda row: row["slice"])) for group in groups.values()]


def _stack(rows: list[Mapping[str, Any]]) -> LabelledStack:
    first = rows[0]

    def word(name: str, known: tuple[str, ...]) -> str | None:
        value = first[name]
        return known[value] if isinstance(value, int) else value

    masks = None
    if any(row["mask"] is not None for row in rows):
        blank = np.full(np.asarray(first["image"]).shape, UNKNOWN, np.uint8)
        masks = np.stack([blank if row["mask"] is None else np.asarray(row["mask"]) for row in rows])
    return LabelledStack(
        images=np.stack([np.asarray(row["image"]) for row in rows]),
        masks=masks,
        drawn=tuple(first["drawn"]),
        spacing_mm=tuple(first["spacing_mm"]) if first["spacing_mm"] else None,
        slice_distance_mm=first["slice_distance_mm"],
        affine=np.array(first["affine"]).reshape(4, 4) if first["affine"] else None,
        patient=first["patient"],
        study=first["study"],
        series=first["series"],
        phase_index=first["phase_index"],
        phase=first["phase"],
        slice_indices=tuple(row["slice"] for row in rows),
        image_type=word("image_type", IMAGE_TYPES),
        view=word("view", VIEWS),
        disease=word("disease", DISEASES),
        lge=word("lge", LGE),
        landmarks=[{one["name"]: (one["row"], one["column"]) for one in row["landmarks"]} for row in rows],
        source=first["source"],
        licence=first["licence"],
    )
