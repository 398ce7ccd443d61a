"""M&Ms and M&Ms-2: cine of many centres, vendors and diseases, in the challenges' own layouts.

M&Ms (`OpenDataset`), 345 open patients, SAX over time, masks at ED and ES alone:

    211230_M&Ms_Dataset_information_diagnosis_opendataset.csv
    Training/Labeled/A0S9V9/A0S9V9_sa.nii.gz, …_sa_gt.nii.gz    and Validation/, Testing/
    Training/Unlabeled/A1D0Q7/…                                 …_sa_gt.nii.gz there are empty, and are not read

    The table has External code, VendorName, Vendor (A to D), Centre, ED, ES (frames from 0), Age, Pathology, Sex,
    Height, Weight. Direction cosines are not orthonormal in places.

M&Ms-2 (`MnM2`), 360 patients, ED and ES of SAX and 4CH:

    dataset_information.csv                                     SUBJECT_CODE, DISEASE, VENDOR, SCANNER, FIELD
    dataset/001/001_SA_ED.nii.gz, 001_SA_ED_gt.nii.gz, 001_SA_ES…, 001_LA_ED…, 001_LA_ES…, 001_SA_CINE.nii.gz …

Labels of both: 1 LV cavity, 2 myocardium, 3 RV; no atria in 4CH.
Sources: Campello et al. 2021, doi:10.1109/TMI.2021.3090082; Martín-Isla et al. 2023, doi:10.1109/JBHI.2023.3267857.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..hub.reading_cmr import ReadingError
from .layout import folders, place_of, read_table, whole_number
from .schema import LabelledStack
from .volumes import check_frame, drawn_ids, phases_of, read_mask, read_volume, stack_of, translated

IDS = {0: 0, 1: 1, 2: 2, 3: 3}
UNLABELLED = "Unlabeled"
BELOW = tuple(
    place + side
    for place in ("", "OpenDataset/")
    for side in ("Training/Labeled", f"Training/{UNLABELLED}", "Validation", "Testing")
)
BELOW_2 = ("dataset", "MnM2/dataset", "")
# Their other classes (HHD, IHD, LVNC, AHS; LV, ARR, FALL, CIA, TRI) are none of ACDC's five.
TO_HOUSE_DISEASES = {"NOR": "NORM", "DCM": "DCM", "HCM": "HCM", "ARV": "RV"}
TO_HOUSE_DISEASES_2 = {"NOR": "NORM", "HCM": "HCM", "RV": "RV"}
LICENCE = "other"  # open for research after registration
CITATION = "Campello et al. 2021, IEEE TMI 40(12), doi:10.1109/TMI.2021.3090082"
CITATION_2 = "Martín-Isla et al. 2023, IEEE JBHI 27(7), doi:10.1109/JBHI.2023.3267857"


def list_mnms_patients(root: str | Path) -> list[str]:
    """External codes of `Training`, `Validation` and `Testing`, sorted."""
    return sorted(folders(root, "[A-Z][0-9]*", BELOW, "patient of M&Ms in Training, Validation or Testing"))


def read_mnms_table(root: str | Path) -> dict[str, dict[str, str]]:
    """The table of M&Ms by External code: VendorName, Vendor, Centre, ED, ES, Age, Pathology, Sex, Height, Weight."""
    tables = [path for place in (".", "OpenDataset") for path in sorted((Path(root) / place).glob("*M&Ms*.csv"))]
    if not tables:
        raise ReadingError(f"{root} has no …M&Ms_Dataset_information….csv: point `root` at the folder OpenDataset")
    return read_table(tables[-1], "External code")


def read_mnms(
    root: str | Path, patients: Iterable[str] | None = None, *, every_phase: bool = False
) -> Iterator[LabelledStack]:
    """Reads the ED and ES stacks of some patients of M&Ms; those of `Training/Unlabeled` come without masks.

    Args:
        root (`str` or `Path`): the folder that holds the table, `Training`, `Validation` and `Testing`.
        patients (iterable of `str`, *optional*): which ones, by default all.
        every_phase (`bool`, defaults to `False`): read the whole cine; masks on ED and ES alone.

    Raises:
        ReadingError: the table, a patient or file is missing or broken, a frame number is not in the cine, mask and
            image differ in grid, or the mask has other labels.
    """
    table = read_mnms_table(root)
    for patient in list_mnms_patients(root) if patients is None else patients:
        if patient not in table:
            raise ReadingError(f"{root}: the table of M&Ms has no patient {patient}: fetch the newest table")
        row = table[patient]
        folder = place_of(root, patient, BELOW)
        cine = read_volume(folder / f"{patient}_sa.nii.gz")
        path = folder / f"{patient}_sa_gt.nii.gz"
        mask = None if folder.parent.name == UNLABELLED else read_mask(path, cine)
        labelled = {}
        for phase in ("ED", "ES"):
            what = f"the table of M&Ms: {phase} of {patient}"
            t = check_frame(whole_number(row.get(phase), what), len(cine.pixels), what)
            labelled[t] = {"phase": phase}
            if mask is not None:
                labelled[t] |= {"masks": translated(mask.pixels[t], IDS, path), "drawn": drawn_ids(IDS)}
        yield from phases_of(
            cine,
            labelled,
            every_phase,
            patient=patient,
            series="sax",
            image_type="cine",
            view="SAX",
            disease=TO_HOUSE_DISEASES.get((row.get("Pathology") or "").strip()),
            source="mnms",
            licence=LICENCE,
        )


def list_mnms2_patients(root: str | Path) -> list[str]:
    """`001` to `360`, as far as they are there, sorted."""
    return sorted(folders(root, "[0-9][0-9][0-9]", BELOW_2, "folder 001 … of M&Ms-2"))


def read_mnms2_table(root: str | Path) -> dict[str, dict[str, str]]:
    """The table of M&Ms-2 by patient, "001": DISEASE, VENDOR, SCANNER, FIELD."""
    path = place_of(root, "dataset_information.csv", ("", "MnM2", ".."))
    return {code.zfill(3): row for code, row in read_table(path, "SUBJECT_CODE").items()}


def read_mnms2(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """Reads ED and ES in SAX and 4CH of some patients of M&Ms-2.

    The files do not say which frames of the cine they are: `phase_index` is 0 for ED and 1 for ES.

    Args:
        root (`str` or `Path`): the folder that holds `dataset_information.csv` and `dataset`.
        patients (iterable of `str`, *optional*): which ones, by default all.

    Raises:
        ReadingError: the table, a patient or file is missing or broken, mask and image differ in grid, or the mask
            has other labels.
    """
    table = read_mnms2_table(root)
    for patient in list_mnms2_patients(root) if patients is None else patients:
        if patient not in table:
            raise ReadingError(f"{root}: dataset_information.csv has no patient {patient}: fetch it again")
        folder = place_of(root, patient, BELOW_2)
        for axis, series, view in (("SA", "sax", "SAX"), ("LA", "4ch", "4CH")):
            for index, phase in enumerate(("ED", "ES")):
                name = f"{patient}_{axis}_{phase}"
                image = read_volume(folder / f"{name}.nii.gz")
                path = folder / f"{name}_gt.nii.gz"
                yield stack_of(
                    image,
                    masks=translated(read_mask(path, image).pixels[0], IDS, path),
                    drawn=drawn_ids(IDS),
                    patient=patient,
                    series=series,
                    phase_index=index,
                    phase=phase,
                    image_type="cine",
                    view=view,
                    disease=TO_HOUSE_DISEASES_2.get((table[patient].get("DISEASE") or "").strip()),
                    source="mnms2",
                    licence=LICENCE,
                )
