"""EMIDEC: late gadolinium enhancement SAX of 150 patients, 100 of them with masks, in the challenge's own layout.

    emidec-dataset-1.0.1/Case_P001/Images/Case_P001.nii.gz     P: pathological, N: normal
    emidec-dataset-1.0.1/Case_P001/Contours/Case_P001.nii.gz
    emidec-dataset-1.0.1/Case P001.txt                         clinical information
    emidec-segmentation-testset-1.0.0/Case_101/Images/…        without Contours

Labels: 1 cavity, 2 normal myocardium, 3 infarct, 4 no-reflow; infarct and no-reflow are both scar here.
Source: Lalande et al. 2020, doi:10.3390/data5040089 (CC BY-NC-SA 4.0).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from transformers.utils import logging

from ..hub.reading_cmr import ReadingError
from .layout import folders, place_of
from .schema import LabelledStack
from .volumes import drawn_ids, read_mask, read_volume, stack_of, translated

logger = logging.get_logger(__name__)

IDS = {0: 0, 1: 1, 2: 2, 3: 6, 4: 6}
SCAR = 6
BELOW = ("", "emidec-dataset-1.0.1", "emidec-segmentation-testset-1.0.0")
LICENCE = "cc-by-nc-sa-4.0"
CITATION = "Lalande et al. 2020, Data 5(4):89, doi:10.3390/data5040089"


def list_emidec_patients(root: str | Path) -> list[str]:
    """`Case_N006`, `Case_P001` … below `root`, sorted."""
    return sorted(folders(root, "Case_*", BELOW, "Case_… folder of EMIDEC"))


def read_emidec(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """Reads the stacks of some patients; `lge` says whether the mask shows scar anywhere in the stack.

    A patient whose letter (P or N) says otherwise than the mask is named in a warning; the mask counts.

    Args:
        root (`str` or `Path`): the folder that holds `Case_…`.
        patients (iterable of `str`, *optional*): which ones, by default all.

    Raises:
        ReadingError: a patient or file is missing or broken, mask and image differ in grid, or the mask has other
            labels.
    """
    for patient in list_emidec_patients(root) if patients is None else patients:
        folder = place_of(root, patient, BELOW)
        if not (folder / "Images").is_dir():
            raise ReadingError(f"{folder} has no folder Images: point `root` at the folder with EMIDEC's Case_…")
        image = read_volume(folder / "Images" / f"{patient}.nii.gz")
        masks, lge = None, None
        if (folder / "Contours").is_dir():  # the test set has none
            path = folder / "Contours" / f"{patient}.nii.gz"
            masks = translated(read_mask(path, image).pixels[0], IDS, path)
            lge = _lge(patient, masks)
        yield stack_of(
            image,
            masks=masks,
            drawn=() if masks is None else drawn_ids(IDS),
            patient=patient,
            series="lge-sax",
            image_type="LGE",
            view="SAX",
            lge=lge,
            source="emidec",
            licence=LICENCE,
        )


def _lge(patient: str, masks: np.ndarray) -> str:
    lge = "present" if (masks == SCAR).any() else "none"
    by_name = {"P": "present", "N": "none"}.get(patient.removeprefix("Case_")[:1], lge)
    if by_name != lge:
        logger.warning(f"EMIDEC {patient}: the name says LGE {by_name}, the mask {lge}; the mask counts")
    return lge


def read_emidec_clinical(root: str | Path, patient: str) -> dict[str, str]:
    """The clinical text of a patient: "Sex", "Age", "Troponin", "FEVG" (ejection fraction, echography) …

    Values are as the file has them, keys without its stray signs; empty where there is no such file.
    """
    path = place_of(root, patient.replace("_", " ") + ".txt", BELOW)
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="ascii", errors="ignore").splitlines()
    return {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}
