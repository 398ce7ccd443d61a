"""Sunnybrook Cardiac Data as 8-bit short-axis slices with endocardial and, for ED, epicardial masks.

Layout: `images/SC-HF-I-01-IM-0001-0048.dcm.png`, `i_labels/` (endocardium) and `o_labels/` (epicardium) under the same
names. The pictures have no pixel spacing; only contoured slices are there. The last number counts the images of the
cine, all phases of a slice after each other, 20 a slice.
Source: Radau et al. 2009 (CC0), see `sunnybrook`, which reads the DICOM files of the same persons.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..hub.reading_cmr import ReadingError, read_image
from .schema import LabelledStack
from .sunnybrook import LICENCE, contour_mask, disease_of

NAME = re.compile(r"(SC-.+)-IM-\d+-(\d+)\.dcm\.png")
PHASES = 20


def list_sunnybrook_slices_patients(root: str | Path) -> list[str]:
    """Persons with slices, "SC-HF-I-01" …, sorted."""
    names = {match[1] for path in Path(root, "images").glob("*.png") if (match := NAME.fullmatch(path.name))}
    if not names:
        raise ReadingError(f"{Path(root, 'images')} has no SC-….png: point `root` at the Sunnybrook slices")
    return sorted(names)


def read_sunnybrook_slices(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """Reads the contoured slices of some patients, a stack for each phase.

    Args:
        root (`str` or `Path`): the folder that holds `images`, `i_labels` and `o_labels`.
        patients (iterable of `str`, *optional*): which ones, by default all.

    Raises:
        ReadingError: a patient has no slice, a slice no endocardial mask, or a mask has another size.
    """
    root = Path(root)
    for patient in list_sunnybrook_slices_patients(root) if patients is None else patients:
        phases: dict[int, list[tuple[int, Path]]] = defaultdict(list)
        for path in sorted((root / "images").glob(f"{patient}-IM-*.png")):
            if match := NAME.fullmatch(path.name):
                z, t = divmod(int(match[2]) - 1, PHASES)
                phases[t].append((z, path))
        if not phases:
            raise ReadingError(f"{root / 'images'} has no slice of {patient}: point `root` at the Sunnybrook slices")
        for t, slices in sorted(phases.items()):
            yield _stack(root, patient, t, slices)


def _stack(root: Path, patient: str, phase_index: int, slices: list[tuple[int, Path]]) -> LabelledStack:
    images, masks, drawn = [], [], set()
    for _, path in slices:
        image = read_image(path).pixels
        mask, ids = contour_mask(
            _filled(root / "i_labels" / path.name, image, needed=True), _filled(root / "o_labels" / path.name, image)
        )
        images.append(image)
        masks.append(mask)
        drawn.update(ids)
    if len({image.shape for image in images}) > 1:
        raise ReadingError(f"{patient} has slices of several sizes in {root / 'images'}: fetch them again")
    return LabelledStack(
        images=np.stack(images),
        masks=np.stack(masks),
        drawn=tuple(sorted(drawn)),
        patient=patient,
        series="slices",
        phase_index=phase_index,
        phase="ED" if 2 in drawn else "ES",
        slice_indices=tuple(z for z, _ in slices),
        image_type="cine",
        view="SAX",
        disease=disease_of(patient),
        source="sunnybrook",
        licence=LICENCE,
    )


def _filled(path: Path, image: np.ndarray, needed: bool = False) -> np.ndarray | None:
    if not path.is_file():
        if needed:
            raise ReadingError(f"{path.name} has no mask in {path.parent}: fetch {path.parent.name} again")
        return None
    mask = read_image(path).pixels > 0
    if mask.shape != image.shape:
        raise ReadingError(f"{path} {mask.shape} and its image {image.shape} differ in size: fetch the pair again")
    return mask
