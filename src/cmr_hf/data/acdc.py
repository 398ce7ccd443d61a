"""ACDC: ED and ES stacks with masks, in the challenge's own layout.

Layout: `patientNNN/Info.cfg`, `patientNNN/patientNNN_frameFF.nii.gz` and `…_gt.nii.gz`; frames are 1-based.
Source: Bernard et al. 2018, doi:10.1109/TMI.2018.2837502 (CC BY-NC-SA 4.0).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..hub.reading_cmr import ReadingError, read_image
from .schema import LabelledStack

TO_HOUSE_LABELS = np.array([0, 3, 2, 1], dtype=np.uint8)  # ACDC: 1 RV, 2 myocardium, 3 LV cavity
TO_HOUSE_DISEASES = {"NOR": "NORM", "DCM": "DCM", "HCM": "HCM", "MINF": "MINF", "RV": "RV"}
LICENCE = "cc-by-nc-sa-4.0"


def read_info(path: Path) -> dict[str, str]:
    """`Info.cfg` as a dictionary: ED, ES, Group, Height, NbFrame, Weight."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}


def read_acdc(root: str | Path, patients: Iterable[str]) -> Iterator[LabelledStack]:
    """Reads the ED and ES stacks of some patients.

    Args:
        root (`str` or `Path`): the folder that holds `patientNNN`.
        patients (iterable of `str`): which ones.

    Raises:
        ReadingError: a patient or one of its files is missing or broken, mask and image differ in shape, or the mask
            has other labels.
    """
    for patient in patients:
        folder = Path(root) / patient
        if not (folder / "Info.cfg").is_file():
            raise ReadingError(f"{folder} has no Info.cfg: point `root` at the folder with ACDC's patientNNN folders")
        info = read_info(folder / "Info.cfg")
        for phase in ("ED", "ES"):
            if not info.get(phase, "").isdecimal():
                raise ReadingError(f"{folder / 'Info.cfg'} has no frame number for {phase}: fetch the file again")
            name = f"{patient}_frame{int(info[phase]):02d}"
            image = read_image(folder / f"{name}.nii.gz")
            mask = read_image(folder / f"{name}_gt.nii.gz")
            if image.pixels.shape != mask.pixels.shape:
                raise ReadingError(
                    f"{name}: image {image.pixels.shape} and mask {mask.pixels.shape} differ: fetch the pair again"
                )
            if not np.isin(mask.pixels, range(len(TO_HOUSE_LABELS))).all():
                raise ReadingError(
                    f"{folder / name}_gt.nii.gz needs ACDC's labels 0 to 3, got {mask.pixels.max()}: fetch it again"
                )
            yield LabelledStack(
                images=image.pixels[0],
                masks=TO_HOUSE_LABELS[mask.pixels[0].astype(np.uint8)],
                drawn=(1, 2, 3),
                spacing_mm=image.spacing_mm,
                slice_distance_mm=image.slice_distance_mm,
                patient=patient,
                series="sax",
                phase_index=int(info[phase]) - 1,
                phase=phase,
                image_type="cine",
                view="SAX",
                disease=TO_HOUSE_DISEASES.get(info.get("Group", "")),
                source="acdc",
                licence=LICENCE,
            )
