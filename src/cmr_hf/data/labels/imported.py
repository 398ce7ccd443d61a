"""What every import gives, and how areas of one picture become its mask.

`paint` is the one rule by which outlines overlap; `masks_of` is the one rule for what nobody drew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..schema import LABELS, UNKNOWN, LabelledStack, Point
from .names import EPICARDIUM

IDS = {name: label for label, name in LABELS.items()}


@dataclass
class ImportedLabels:
    """Labels on the pictures that they were drawn on.

    Attributes:
        stacks (`list` of `LabelledStack`): one per stack and phase with a label.
        report (`list` of `str`): what was left out, resampled or not known, one sentence each; without patient data.
    """

    stacks: list[LabelledStack]
    report: list[str] = field(default_factory=list)


@dataclass
class Drawing:
    """What somebody drew on one picture.

    Attributes:
        mask (`np.ndarray` of shape `(y, x)`, uint8): ids of `LABELS`, `UNKNOWN` where an outline does not tell.
        ids (`set` of `int`): what was looked for.
        landmarks (`dict`): name -> (row, column) in pixels.
    """

    mask: np.ndarray
    ids: set[int]
    landmarks: dict[str, Point] = field(default_factory=dict)


def paint(
    areas: Mapping[str, np.ndarray], shape: tuple[int, int], landmarks: Mapping[str, Point] | None = None
) -> Drawing:
    """Areas of structures -> a mask: atria and RV first, then myocardium, LV cavity, scar; the later one wins.

    Myocardium is what was drawn as such, and what lies inside the epicardium but not inside the cavity. Inside an
    epicardium without a cavity nobody said where myocardium ends: `UNKNOWN`.

    Args:
        areas: structure, a value of `LABELS` or `EPICARDIUM` -> bool mask of shape `shape`.
        shape: (rows, columns).
        landmarks: name -> (row, column).
    """
    mask = np.zeros(shape, np.uint8)
    ids = {IDS[name] for name in areas if name != EPICARDIUM} - {0}
    for name in ("LA", "RA", "RV"):
        if name in areas:
            mask[areas[name]] = IDS[name]
    if EPICARDIUM in areas:
        mask[areas[EPICARDIUM]] = IDS["myocardium"] if IDS["LV cavity"] in ids else UNKNOWN
        ids |= {IDS["myocardium"]} if IDS["LV cavity"] in ids else set()
    for name in ("myocardium", "LV cavity", "scar"):
        if name in areas:
            mask[areas[name]] = IDS[name]
    return Drawing(mask, ids, dict(landmarks or {}))


def masks_of(
    drawings: Sequence[Drawing | None], shape: tuple[int, int], empty_is_background: bool
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Masks of the slices of one stack, and what was looked for in it.

    A slice with a cavity but no myocardium, in a stack where others have both, has a ring that nobody drew: all
    that is not painted there is `UNKNOWN`. Any other structure that a drawn slice lacks counts as not there, as in
    apical slices without RV.

    Args:
        drawings: one per slice, `None` where nobody drew.
        shape: (rows, columns).
        empty_is_background: whether a slice without drawing was looked at (masks) or not (contours: `UNKNOWN`).

    Returns:
        uint8 (z, y, x) and ids in order.
    """
    drawn = set().union(*(one.ids for one in drawings if one is not None))
    masks = []
    for one in drawings:
        if one is None:
            masks.append(np.full(shape, 0 if empty_is_background else UNKNOWN, np.uint8))
        elif IDS["myocardium"] in drawn and IDS["LV cavity"] in one.ids and IDS["myocardium"] not in one.ids:
            masks.append(np.where(one.mask == 0, UNKNOWN, one.mask).astype(np.uint8))
        elif not one.ids and not (one.mask == UNKNOWN).any() and not empty_is_background:
            masks.append(np.full(shape, UNKNOWN, np.uint8))  # landmarks only
        else:
            masks.append(one.mask)
    return np.stack(masks), tuple(sorted(drawn))
