"""Sunnybrook Cardiac Data as 8-bit short-axis slices with endocardial and, for a part, epicardial masks.

Layout: `images/SC-HF-I-01-IM-0001-0048.dcm.png`, `i_labels/` (endocardium) and `o_labels/` (epicardium) under the same
names. The pictures have no pixel spacing. Source: Radau et al. 2009 (CC0).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..hub.reading_cmr import ReadingError


@dataclass(frozen=True)
class ContouredSlice:
    """One slice with its contours filled.

    Attributes:
        patient (`str`): the data set's own pseudonym, "SC-HF-I-01".
        image (`np.ndarray` of shape `(y, x)`, uint8)
        endocardium (`np.ndarray` of the same shape, bool): LV cavity.
        epicardium (the same, or `None` where nobody drew it): LV cavity and myocardium.
    """

    patient: str
    image: np.ndarray
    endocardium: np.ndarray
    epicardium: np.ndarray | None


def read_sunnybrook_slices(root: str | Path, patients: Iterable[str]) -> Iterator[ContouredSlice]:
    """Reads all slices of some patients.

    Args:
        root (`str` or `Path`): the folder that holds `images`, `i_labels` and `o_labels`.
        patients (iterable of `str`): which ones.

    Raises:
        ReadingError: a patient has no slice, or a slice no endocardial mask.
    """
    root = Path(root)
    for patient in patients:
        paths = sorted((root / "images").glob(f"{patient}-IM-*.png"))
        if not paths:
            raise ReadingError(f"{root / 'images'} has no slice of {patient}: point `root` at the Sunnybrook slices")
        for path in paths:
            endocardium = root / "i_labels" / path.name
            if not endocardium.is_file():
                raise ReadingError(f"{path.name} has no mask in {endocardium.parent}: fetch i_labels again")
            epicardium = root / "o_labels" / path.name
            yield ContouredSlice(
                patient=patient,
                image=np.asarray(Image.open(path).convert("L")),
                endocardium=np.asarray(Image.open(endocardium)) > 0,
                epicardium=np.asarray(Image.open(epicardium)) > 0 if epicardium.is_file() else None,
            )
