"""Segmentations case by case: overlap and distances per slice and volume, and measures of the heart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..clinical.volumes import CineMeasures, measure
from ..data.schema import LABELS, UNKNOWN, LabelledStack, known_of
from ..hub.classifying_cmr import OBLIQUE, TO_APEX, base_to_apex
from ..hub.image_cmr import CMRImage
from .cases import Row
from .overlap import dice
from .surfaces import surface_distances

LV, MYOCARDIUM, SCAR = 1, 2, 6
LEAST_LEVELS = 3  # slices with LV, below which there are no levels
POSITIONS = ("basal", "mid", "apical")
OUTSIDE = "no LV drawn"
MEASURES = {  # field of `CineMeasures` -> name and unit
    "lv_edv_ml": ("LV EDV", "ml"),
    "lv_esv_ml": ("LV ESV", "ml"),
    "lv_ef_percent": ("LV EF", "%"),
    "lv_mass_g": ("LV mass", "g"),
    "rv_edv_ml": ("RV EDV", "ml"),
    "rv_esv_ml": ("RV ESV", "ml"),
    "rv_ef_percent": ("RV EF", "%"),
}


@dataclass(frozen=True)
class Segmented:
    """A stack, what was drawn on it and what the model found, both in ids of `LABELS` as the task knows them."""

    stack: LabelledStack
    predicted: np.ndarray
    labels: tuple[int, ...]

    @property
    def told(self) -> list[tuple[int, ...]]:
        """For each slice the labels that were looked for there."""
        drawn = [label for label in self.stack.drawn or self.labels if label in self.labels]
        return [known_of(mask, drawn)[1] for mask in self.stack.masks]


def case_rows(one: Segmented, about: Mapping[str, str]) -> Iterator[Row]:
    """Rows of level "slice" and "volume" of one stack.

    Args:
        one (`Segmented`)
        about: further columns of each row.
    """
    stack, told = one.stack, one.told
    positions = slice_positions(stack)
    known = stack.masks != UNKNOWN
    name = "/".join(part for part in (stack.study, stack.series, stack.phase or f"t{stack.phase_index}") if part)
    first = {"source": stack.source, "patient": stack.patient, "phase": stack.phase, **about}
    for label in one.labels:
        slices = [z for z, ids in enumerate(told) if label in ids]
        if not slices:
            continue
        predicted = (one.predicted == label) & (known | _outlines(stack.masks))
        truth = stack.masks == label
        for z in slices:
            case = f"{name}/slice {stack.slice_indices[z]}"
            yield {
                **first,
                "case": case,
                "level": "slice",
                "structure": LABELS[label],
                **_overlap(predicted[z], truth[z], stack.spacing_mm),
                "position": positions[z],
            }
        yield {
            **first,
            "case": name,
            "level": "volume",
            "structure": LABELS[label],
            **_overlap(*_volume(predicted, truth, slices), _spacing_of_volume(stack, slices)),
            "position": "",
        }


def _outlines(masks: np.ndarray) -> np.ndarray:
    """Slices of filled outlines alone, on which what nobody named is known to be none of them: `(z, 1, 1)`."""
    return ~(masks == 0).any(axis=(1, 2), keepdims=True)


def _overlap(predicted: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...] | None) -> dict[str, float | None]:
    found = None if spacing_mm is None else surface_distances(predicted, truth, spacing_mm)
    return {
        "dice": dice(predicted, truth),
        "hd95_mm": None if found is None else found.hausdorff95_mm,
        "asd_mm": None if found is None else found.average_mm,
    }


def _volume(predicted: np.ndarray, truth: np.ndarray, slices: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of one slice the plane itself: it has no surface along z."""
    chosen = slices if len(slices) > 1 else slices[0]
    return predicted[chosen], truth[chosen]


def _spacing_of_volume(stack: LabelledStack, slices: list[int]) -> tuple[float, ...] | None:
    """(slice, row, column) in mm, of one slice (row, column); `None` where unknown or where a slice is missing."""
    if stack.spacing_mm is None or len(slices) == 1:
        return stack.spacing_mm
    steps = np.diff([stack.slice_indices[z] for z in slices])
    if stack.slice_distance_mm is None or (steps != 1).any():
        return None
    return (stack.slice_distance_mm, *stack.spacing_mm)


def slice_positions(stack: LabelledStack) -> list[str]:
    """Basal, mid or apical third of the slices on which an LV is drawn, "no LV drawn" beyond them.

    Which end is the base is read from patient space, else from the areas: there is more LV towards the base. Without
    masks, of fewer than three such slices, and of other views than short axis there is none ("").
    """
    count = len(stack.images)
    if stack.masks is None or stack.view not in (None, "SAX"):
        return [""] * count
    areas = np.isin(stack.masks, (LV, MYOCARDIUM, SCAR)).sum(axis=(1, 2))
    image = CMRImage(stack.images, stack.spacing_mm, stack.slice_distance_mm, stack.affine, "", "array")
    order = base_to_apex(image)
    inside = [z for z in order if areas[z]]
    if len(inside) < LEAST_LEVELS:
        return [""] * count
    third = len(inside) / 3
    if not _placed(stack) and areas[inside[: int(third)]].sum() < areas[inside[-int(third) :]].sum():
        inside.reverse()
    found = [OUTSIDE] * count
    for rank, z in enumerate(inside):
        found[z] = POSITIONS[min(int(rank / third), 2)]
    return found


def _placed(stack: LabelledStack) -> bool:
    """Whether patient space says which end of the stack is the base."""
    if stack.affine is None:
        return False
    step = stack.affine[:3, 2] / np.linalg.norm(stack.affine[:3, 2])
    return bool(abs(step @ TO_APEX) > OBLIQUE)


def measure_rows(cine: list[Segmented], about: Mapping[str, str]) -> Iterator[Row]:
    """Rows of level "measure": volumes of each stack, and EDV, ESV, EF and mass of the phases of a cine together.

    ED and ES are each side's own: of the truth its largest and smallest LV, of the prediction likewise. Only for
    short-axis stacks of several slices that are all drawn, with known spacing and slice distance.
    """
    whole = [one for one in cine if _is_whole(one)]
    labels = sorted(set().union(*(one.labels for one in whole)))
    names = {label: LABELS[label] for label in (0, *labels)}
    for one in whole:
        first = one.stack
        phase = first.phase or f"t{first.phase_index}"
        sides = [_measured([one], side, names) for side in ("predicted", "truth")]
        for name in names.values():
            pair = [side.volumes_ml.get(name, [None])[0] or 0.0 for side in sides]
            if name != names[0] and any(pair):
                yield _measure_row(first, phase, f"{name} volume", pair, "ml", {**about, "phase": first.phase})
    sizes = {one.predicted.shape for one in whole}
    if len(whole) > 1 and len(sizes) == 1 and len({one.labels for one in whole}) == 1:
        sides = [_measured(whole, side, names) for side in ("predicted", "truth")]
        for field, (name, unit) in MEASURES.items():
            pair = [getattr(side, field) for side in sides]
            if None not in pair:
                yield _measure_row(whole[0].stack, "cine", name, pair, unit, about)


def _is_whole(one: Segmented) -> bool:
    stack = one.stack
    return (
        stack.view in (None, "SAX")
        and len(stack.images) > 1
        and stack.spacing_mm is not None
        and stack.slice_distance_mm is not None
        and all(set(one.labels) <= set(ids) for ids in one.told)
        and not (stack.masks == UNKNOWN).any()
    )


def _measured(cine: list[Segmented], side: str, names: Mapping[int, str]) -> CineMeasures:
    maps = np.stack([one.predicted if side == "predicted" else one.stack.masks for one in cine])
    first = cine[0].stack
    return measure(maps, first.spacing_mm, first.slice_distance_mm, names)


def _measure_row(
    stack: LabelledStack, what: str, name: str, pair: list[float], unit: str, about: Mapping[str, str]
) -> Row:
    case = "/".join(part for part in (stack.study, stack.series, what) if part)
    first = {"source": stack.source, "patient": stack.patient, **about, "case": case}
    return {
        **first,
        "level": "measure",
        "structure": name,
        "measured": pair[0],
        "reference": pair[1],
        "unit": unit,
    }


def by_cine(found: Iterable[Segmented]) -> Iterator[list[Segmented]]:
    """Stacks of one cine together; those of one patient must follow each other."""

    def patient(one: Segmented) -> tuple[str, str]:
        return one.stack.source, one.stack.patient

    for _, group in groupby(found, patient):
        cines: dict[tuple[str, str], list[Segmented]] = {}
        for one in group:
            cines.setdefault((one.stack.study, one.stack.series), []).append(one)
        yield from (sorted(cine, key=lambda one: one.stack.phase_index) for cine in cines.values())
