"""Second Annual Data Science Bowl (Kaggle, 2015): DICOM cine SAX, 2CH and 4CH of 1,140 patients, with LV volumes.

    train/1/study/sax_5/IM-4562-0001.dcm      one slice over time in each sax_K; 2ch_K and 4ch_K likewise
    validate/501/…, test/701/…                unpacked, each may lie in a folder of its own name once more
    train.csv, validate.csv                   Id, Systole, Diastole in ml
    solution.csv                              Id ("701_Diastole"), Volume, Usage: the test set's

Source: https://www.kaggle.com/c/second-annual-data-science-bowl/data (rules of the competition).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..hub.reading_cmr import ReadingError
from .layout import folders, place_of, read_table
from .schema import LabelledStack
from .volumes import phases_of, read_series

BELOW = ("train", "validate", "test", "train/train", "validate/validate", "test/test", "")
VIEW_OF = {"sax": "SAX", "2ch": "2CH", "4ch": "4CH"}
LICENCE = "other"  # the competition's rules
CITATION = "Kaggle 2015, Second Annual Data Science Bowl, kaggle.com/c/second-annual-data-science-bowl"


def list_kaggle_dsb_patients(root: str | Path) -> list[str]:
    """Ids of all patients below `root`, "1" …, sorted as text."""
    return sorted(folders(root, "[0-9]*", BELOW, "patient's folder of the Data Science Bowl (train/1)"))


def read_kaggle_dsb(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """Reads every phase of every series of some patients; nobody said which phase is ED.

    All `sax_K` become one stack, in patient space; of two series at one place the longer counts. Each 2ch and 4ch
    folder is a series of its own.

    Args:
        root (`str` or `Path`): the folder that holds `train`, `validate` and `test`.
        patients (iterable of `str`, *optional*): which ones, by default all.

    Raises:
        ReadingError: a patient is missing, or a series cannot be read as one stack.
    """
    for patient in list_kaggle_dsb_patients(root) if patients is None else patients:
        study = place_of(root, patient, BELOW) / "study"
        groups: dict[str, list[Path]] = {}
        for folder in sorted(path for path in study.glob("*_*") if path.is_dir()):
            kind = folder.name.split("_")[0].lower()
            if kind in VIEW_OF:
                groups.setdefault("sax" if kind == "sax" else folder.name, []).append(folder)
        if not groups:
            raise ReadingError(f"{study} has no folder sax_…, 2ch_… or 4ch_…: point `root` above train")
        for series, parts in groups.items():
            files = [(path, f"{part.name}/{path.name}") for part in parts for path in sorted(part.glob("*.dcm"))]
            image = read_series(files, f"{study} {series}")
            yield from phases_of(
                image,
                {},
                True,
                patient=patient,
                series=series,
                image_type="cine",
                view=VIEW_OF[series.split("_")[0].lower()],
                source="kaggle-dsb",
                licence=LICENCE,
            )


def kaggle_dsb_volumes(root: str | Path) -> dict[str, tuple[float, float]]:
    """LV volumes of the patients in `train.csv`, `validate.csv` and `solution.csv`, as far as they are there.

    Returns:
        Patient → (end-systolic, end-diastolic) in ml.

    Raises:
        ReadingError: there is no such table, or one has no number where it needs one.
    """
    found: dict[str, tuple[float, float]] = {}
    tables = [path for name in ("train", "validate", "solution") if (path := Path(root) / f"{name}.csv").is_file()]
    if not tables:
        raise ReadingError(f"{root} has no train.csv, validate.csv or solution.csv: fetch them from the competition")
    for path in tables:
        rows = read_table(path, "Id")
        try:
            if path.stem == "solution":
                volumes = {key: float(row["Volume"]) for key, row in rows.items()}
                for patient in {key.split("_")[0] for key in volumes}:
                    found[patient] = volumes[f"{patient}_Systole"], volumes[f"{patient}_Diastole"]
            else:
                found |= {key: (float(row["Systole"]), float(row["Diastole"])) for key, row in rows.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise ReadingError(f"{path} needs Systole and Diastole in ml for each Id, see {error}: fetch it") from None
    return found
