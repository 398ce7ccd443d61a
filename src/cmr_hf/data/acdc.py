"""ACDC: cine SAX of 150 patients, ED and ES with masks, in the challenge's own layout.

    database/training/patient001/Info.cfg                    ED, ES (frames from 1), Group, Height, NbFrame, Weight
    database/training/patient001/patient001_4d.nii.gz        the whole cine
    database/training/patient001/patient001_frame01.nii.gz   one frame, and …_frame01_gt.nii.gz its mask
    database/testing/patient101/…

Labels: 1 RV, 2 myocardium, 3 LV cavity. The headers' orientation is a dummy.
Source: Bernard et al. 2018, doi:10.1109/TMI.2018.2837502 (CC BY-NC-SA 4.0).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..hub.image_cmr import CMRImage
from ..hub.reading_cmr import ReadingError
from .layout import folders, place_of
from .schema import LabelledStack
from .volumes import check_frame, drawn_ids, phases_of, read_mask, read_volume, stack_of, translated

IDS = {0: 0, 1: 3, 2: 2, 3: 1}
TO_HOUSE_DISEASES = {"NOR": "NORM", "DCM": "DCM", "HCM": "HCM", "MINF": "MINF", "RV": "RV"}
BELOW = ("", "training", "testing", "database/training", "database/testing")
LICENCE = "cc-by-nc-sa-4.0"
CITATION = "Bernard et al. 2018, IEEE TMI 37(11), doi:10.1109/TMI.2018.2837502"


def list_acdc_patients(root: str | Path) -> list[str]:
    """`patientNNN` of `root` or its `training` and `testing`, sorted."""
    return sorted(folders(root, "patient[0-9]*", BELOW, "patientNNN folder of ACDC"))


def read_info(path: Path) -> dict[str, str]:
    """`Info.cfg` as a dictionary: ED, ES, Group, Height, NbFrame, Weight."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}


def read_acdc(
    root: str | Path, patients: Iterable[str] | None = None, *, every_phase: bool = False
) -> Iterator[LabelledStack]:
    """Reads the ED and ES stacks of some patients.

    Args:
        root (`str` or `Path`): the folder that holds `patientNNN`, or `training` and `testing`.
        patients (iterable of `str`, *optional*): which ones, by default all.
        every_phase (`bool`, defaults to `False`): read the whole cine; masks on ED and ES alone.

    Raises:
        ReadingError: a patient or one of its files is missing or broken, a frame number is not in the cine, mask and
            image differ in grid, or the mask has other labels.
    """
    for patient in list_acdc_patients(root) if patients is None else patients:
        folder = place_of(root, patient, BELOW)
        if not (folder / "Info.cfg").is_file():
            raise ReadingError(f"{folder} has no Info.cfg: point `root` at the folder with ACDC's patientNNN folders")
        info = read_info(folder / "Info.cfg")
        frames = {phase: _frame(info, phase, folder) for phase in ("ED", "ES")}
        fields = {
            "patient": patient,
            "series": "sax",
            "image_type": "cine",
            "view": "SAX",
            "disease": TO_HOUSE_DISEASES.get(info.get("Group", "")),
            "source": "acdc",
            "licence": LICENCE,
        }
        if every_phase:
            yield from _cine(folder, frames, fields)
            continue
        for phase, frame in frames.items():
            image = read_volume(_path(folder, frame))
            masks = _masks(folder, frame, image)
            yield stack_of(image, masks=masks, drawn=drawn_ids(IDS), phase=phase, phase_index=frame - 1, **fields)


def _frame(info: dict[str, str], phase: str, folder: Path) -> int:
    """The frame of ED or ES, from 1."""
    if not info.get(phase, "").isdecimal():
        raise ReadingError(f"{folder / 'Info.cfg'} has no frame number for {phase}: fetch the file again")
    count = info.get("NbFrame", "")
    if int(info[phase]) < 1 or (count.isdecimal() and int(info[phase]) > int(count)):
        raise ReadingError(
            f"{folder / 'Info.cfg'} needs {phase} from 1 to {count or 'the number of frames'}, got {info[phase]}: "
            "fetch the file again"
        )
    return int(info[phase])


def _path(folder: Path, frame: int, suffix: str = "") -> Path:
    return folder / f"{folder.name}_frame{frame:02d}{suffix}.nii.gz"


def _masks(folder: Path, frame: int, image: CMRImage) -> np.ndarray:
    path = _path(folder, frame, "_gt")
    return translated(read_mask(path, image).pixels[0], IDS, path)


def _cine(folder: Path, frames: dict[str, int], fields: dict[str, Any]) -> Iterator[LabelledStack]:
    path = folder / f"{folder.name}_4d.nii.gz"
    if not path.is_file():
        raise ReadingError(f"{path} is missing: fetch it, or read ED and ES alone with every_phase=False")
    cine = read_volume(path)
    labelled = {}
    for phase, frame in frames.items():
        t = check_frame(frame - 1, len(cine.pixels), f"{folder / 'Info.cfg'}: {phase}")
        one = replace(cine, pixels=cine.pixels[t : t + 1])
        labelled[t] = {"phase": phase, "masks": _masks(folder, frame, one), "drawn": drawn_ids(IDS)}
    yield from phases_of(cine, labelled, True, **fields)
