"""Finds what must not be: a patient, or one and the same image, on two sides of a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Leak:
    """One patient or image that stands on several sides.

    Attributes:
        kind (`str`): "patient", or "image" where two patients share one picture.
        what (`str`): the patient, with its data set.
        sides (`tuple` of `str`): where it was found.
    """

    kind: str
    what: str
    sides: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.what} on {' and '.join(self.sides)}"


def image_hash(image: np.ndarray) -> str | None:
    """A digest of the picture, the same after another scaling of its values; `None` for a constant one.

    Values become 0…255 between least and greatest, so that the same picture stored in 8 and 16 bits is found.
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = values.min(), values.max()
    if not high > low:
        return None
    scaled = np.round((values - low) * (255 / (high - low))).astype(np.uint8)
    return hashlib.sha256(repr(scaled.shape).encode() + scaled.tobytes()).hexdigest()


def check_leakage(sides: Mapping[str, Iterable[Mapping[str, Any]]], images: bool = True) -> list[Leak]:
    """What stands on two sides, within one data set or across several.

    Args:
        sides: side → rows with `source`, `patient` and `image`; a `DatasetDict`, or a dict of several data sets' sides
            put together, `{"train": …, "emidec test": …}`.
        images (`bool`, defaults to `True`): compare the pictures too, which reads them all.

    Returns:
        The leaks, patients first; empty when there are none.
    """
    patients: dict[str, set[str]] = defaultdict(set)
    pictures: dict[str, dict[str, str]] = defaultdict(dict)  # digest -> side -> patient
    for side, rows in sides.items():
        if not images and hasattr(rows, "select_columns"):
            rows = rows.select_columns(["source", "patient"])
        for row in rows:
            name = f"{row['source']} {row['patient']}"
            patients[name].add(side)
            digest = image_hash(row["image"]) if images else None
            if digest is not None:
                pictures[digest].setdefault(side, name)
    leaks = [Leak("patient", name, tuple(sorted(where))) for name, where in patients.items() if len(where) > 1]
    twins: dict[tuple[str, ...], int] = defaultdict(int)
    for found in pictures.values():
        names = sorted(set(found.values()))
        if len(found) > 1 and not (len(names) == 1 and len(patients[names[0]]) > 1):
            twins[(" = ".join(names), *sorted(found))] += 1
    return leaks + [Leak("image", f"{name} ({count} images)", tuple(where)) for (name, *where), count in twins.items()]
