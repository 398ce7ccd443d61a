"""MS-CMRSeg 2019 and MyoPS 2020: bSSFP, T2-weighted and LGE SAX of the same patients, in the challenges' own layouts.

MS-CMRSeg (`C0LET2_nii45_for_challenge19`), 45 patients, each sequence with its own grid and, for a part, its mask:

    c0t2lge/patient1_C0.nii.gz, patient1_T2.nii.gz, patient1_LGE.nii.gz
    c0gt/patient1_C0_manual.nii.gz, t2gt/patient1_T2_manual.nii.gz, lgegt/patient1_LGE_manual.nii.gz

    Labels: 200 myocardium (scar included), 500 LV cavity, 600 RV.

MyoPS, 45 patients, the three sequences on one grid, with one mask for the first 25:

    train25/myops_training_101_C0.nii.gz, …_DE.nii.gz, …_T2.nii.gz
    train25_myops_gd/myops_training_101_gd.nii.gz
    test20/myops_test_201_C0.nii.gz, …

    Labels: 200 normal myocardium, 1220 oedema (myocardium here), 2221 scar, 500 LV cavity, 600 RV.

C0 is bSSFP cine of one phase; T2 is T2-weighted, not a map, hence image type "other".
Sources: Zhuang 2019, doi:10.1109/TPAMI.2018.2869576; Li et al. 2023, doi:10.1016/j.media.2023.102808.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..hub.reading_cmr import ReadingError
from .schema import LabelledStack
from .volumes import drawn_ids, read_mask, read_volume, stack_of, translated

IDS_MSCMRSEG = {0: 0, 200: 2, 500: 1, 600: 3}
IDS_MYOPS = IDS_MSCMRSEG | {1220: 2, 2221: 6}
SCAR = 6
IMAGE_TYPE_OF = {"C0": "cine", "T2": "other", "LGE": "LGE", "DE": "LGE"}
LICENCE = "other"  # for registered participants, research alone
CITATION_MSCMRSEG = "Zhuang 2019, IEEE TPAMI 41(12), doi:10.1109/TPAMI.2018.2869576"
CITATION_MYOPS = "Li et al. 2023, Medical Image Analysis 87:102808, doi:10.1016/j.media.2023.102808"


def list_mscmrseg_patients(root: str | Path) -> list[str]:
    """`patient1` …, anywhere below `root`, sorted."""
    return _listed(root, r"(patient\d+)_(?:C0|T2|LGE)\.nii\.gz", "patientN_C0.nii.gz of MS-CMRSeg")


def read_mscmrseg(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """Reads all sequences of some patients of MS-CMRSeg, with masks where there are files of them.

    Args:
        root (`str` or `Path`): a folder above the files.
        patients (iterable of `str`, *optional*): which ones, by default all.

    Raises:
        ReadingError: a patient is missing, a file broken, mask and image differ in grid, or the mask has other labels.
    """
    files = _files(root)
    for patient in list_mscmrseg_patients(root) if patients is None else patients:
        for sequence, path in _sequences(files, root, patient, ("C0", "T2", "LGE")):
            mask = files.get(f"{patient}_{sequence}_manual.nii.gz")
            yield _stack(path, mask, IDS_MSCMRSEG, sequence, patient, "mscmrseg")


def list_myops_patients(root: str | Path) -> list[str]:
    """`myops_training_101` …, anywhere below `root`, sorted."""
    return _listed(root, r"(myops_\w+_\d+)_(?:C0|DE|T2)\.nii\.gz", "myops_training_NNN_C0.nii.gz of MyoPS")


def read_myops(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """Reads all sequences of some patients of MyoPS, each with the patient's one mask; `lge` for DE alone.

    Args:
        root (`str` or `Path`): a folder above `train25`, `train25_myops_gd` and `test20`.
        patients (iterable of `str`, *optional*): which ones, by default all.

    Raises:
        ReadingError: a patient is missing, a file broken, mask and image differ in grid, or the mask has other labels.
    """
    files = _files(root)
    for patient in list_myops_patients(root) if patients is None else patients:
        for sequence, path in _sequences(files, root, patient, ("C0", "DE", "T2")):
            stack = _stack(path, files.get(f"{patient}_gd.nii.gz"), IDS_MYOPS, sequence, patient, "myops")
            if sequence == "DE" and stack.masks is not None:
                stack.lge = "present" if np.any(stack.masks == SCAR) else "none"
            yield stack


def _files(root: str | Path) -> dict[str, Path]:
    """Every NIfTI file below `root`, by name; of two the first by path."""
    return {path.name: path for path in sorted(Path(root).rglob("*.nii.gz"), reverse=True)}


def _listed(root: str | Path, pattern: str, what: str) -> list[str]:
    found = {match[1] for name in _files(root) if (match := re.fullmatch(pattern, name))}
    if not found:
        raise ReadingError(f"{root} has no {what}: point `root` at a folder above the files")
    return sorted(found)


def _sequences(
    files: dict[str, Path], root: str | Path, patient: str, known: tuple[str, ...]
) -> list[tuple[str, Path]]:
    found = [(name, files[f"{patient}_{name}.nii.gz"]) for name in known if f"{patient}_{name}.nii.gz" in files]
    if not found:
        raise ReadingError(f"{root} has no {patient}_{known[0]}.nii.gz: point `root` at a folder above the files")
    return found


def _stack(
    path: Path, mask_path: Path | None, ids: dict[int, int], sequence: str, patient: str, source: str
) -> LabelledStack:
    image = read_volume(path)
    masks = None if mask_path is None else translated(read_mask(mask_path, image).pixels[0], ids, mask_path)
    return stack_of(
        image,
        masks=masks,
        drawn=() if masks is None else drawn_ids(ids),
        patient=patient,
        series=sequence,
        image_type=IMAGE_TYPE_OF[sequence],
        view="SAX",
        source=source,
        licence=LICENCE,
    )
