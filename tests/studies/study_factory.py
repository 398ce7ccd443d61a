"""A small study of several contrasts as DICOM data sets, to be varied and written; and what a reading of it comes to.

Pixel [0, 0] of each picture is 1000 * series + 50 * slice + moment, so that a test sees where a file went.
"""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from cmr_hf.studies import Stack, Study
from tests.dicom_factory import slice_dataset

SHAPE = (12, 16)
TO_APEX = np.array([0.66, -0.55, -0.51]) / np.linalg.norm([0.66, -0.55, -0.51])
IN_PLANE = np.cross(TO_APEX, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(TO_APEX, [0.0, 0.0, 1.0]))
SAX = np.concatenate([IN_PLANE, np.cross(TO_APEX, IN_PLANE)])
FOUR_CHAMBER = np.concatenate([IN_PLANE, TO_APEX])
INVERSIONS_MS = (100, 180, 260, 1100, 2100)
CINE = {
    "RepetitionTime": "3.2",
    "EchoTime": "1.4",
    "FlipAngle": "55",
    "ScanningSequence": "GR",
    "SequenceVariant": "SS",
}
LATE = {"RepetitionTime": "5.2", "EchoTime": "1.9", "FlipAngle": "25", "ScanningSequence": ["GR", "IR"],
        "SequenceVariant": "SK", "InversionTime": "280"}  # fmt: skip


def picture(
    series: int, place: int, moment: int, orientation: np.ndarray, description: str, instance: int, **tags: object
) -> FileDataset:
    """One picture, `place` times 10 mm along the normal."""
    pixels = np.full(SHAPE, 7, np.uint16)
    pixels[0, 0] = 1000 * series + 50 * place + moment
    normal = np.cross(orientation[:3], orientation[3:])
    own = {
        "StudyInstanceUID": "1.2.3.4",
        "StudyDate": "20200101",
        "StudyTime": "0900",
        "StudyID": "1",
        "SeriesInstanceUID": f"1.2.3.4.{series}",
        "SOPInstanceUID": f"1.2.3.4.{series}.{place + 1}.{moment + 1}.{instance}",
        "FrameOfReferenceUID": "1.2.3.4.99",
        "SeriesNumber": series,
        "SeriesDescription": description,
        "AcquisitionDate": "20200101",
        "AcquisitionTime": f"09{series:02d}{place:02d}.5",
        "InstanceNumber": instance,
        "ImageOrientationPatient": [f"{value:.10g}" for value in orientation],
        "ImagePositionPatient": [f"{value:.10g}" for value in np.array([-10.0, -8.0, 5.0]) + 10.0 * place * normal],
        "Manufacturer": "SIEMENS",
        "MagneticFieldStrength": "1.5",
        "PatientSex": "F",
        "PatientSize": "1.7",
        "PatientWeight": "65",
        "PatientAge": "050Y",
    }
    dataset = slice_dataset(pixels, **(own | tags))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def cine(series: int, places: int, orientation: np.ndarray, description: str, phases: int = 6) -> list[FileDataset]:
    """A cine of 900 ms, its files slice after slice."""
    return [
        picture(
            series,
            place,
            phase,
            orientation,
            description,
            place * phases + phase + 1,
            **CINE,
            TriggerTime=f"{900 / phases * phase:g}",
            NominalInterval=900,
            CardiacNumberOfImages=phases,
        )  # fmt: skip
        for place in range(places)
        for phase in range(phases)
    ]


def small_study() -> list[FileDataset]:
    """Localiser, two cines, MOLLI and its map, magnitude and PSIR of LGE in one series, magnitude and phase of flow."""
    axial, coronal, sagittal = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    files = [
        picture(1, k, 0, np.array(plane, float), "localizer", 3 * number + k + 1, **CINE)
        for number, plane in enumerate((axial, coronal, sagittal))
        for k in range(2)
    ]
    files += cine(2, 4, SAX, "cine_trufi SAX") + cine(3, 1, FOUR_CHAMBER, "cine_trufi 4CH")
    files += [
        picture(4, place, rank, SAX, "MOLLI native", place * 5 + rank + 1, **LATE | {"InversionTime": str(time)})
        for place in range(3)
        for rank, time in enumerate(INVERSIONS_MS)
    ]
    t1 = {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "NONE"], "RescaleSlope": "0.5", "RescaleIntercept": "0",
          "RescaleType": "ms"}  # fmt: skip
    files += [picture(5, place, 0, SAX, "MOLLI native T1 MAP", place + 1, **t1) for place in range(3)]
    for place in range(4):
        for part, kind in enumerate((["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "R", "PSIR"])):
            files.append(picture(6, place, part, SAX, "LGE psir sax", 2 * place + part + 1, **LATE, ImageType=kind))
    for phase in range(6):
        for part, kind in enumerate("MP"):
            flow = CINE | {"SequenceVariant": "SP", "TriggerTime": str(150 * phase), "NominalInterval": 900}
            types = ["ORIGINAL", "PRIMARY", kind]
            files.append(
                picture(
                    7,
                    2,
                    10 * part + phase,
                    np.array(axial, float),
                    "flow aorta",
                    2 * phase + part + 1,
                    ImageType=types,
                    **flow,
                )  # fmt: skip
            )
    return files


EXPECTED = [  # axis, (t, z), image type, view of `small_study`, in order of acquisition
    ("still", (1, 2), "other", "other"),
    ("still", (1, 2), "other", "other"),
    ("still", (1, 2), "other", "other"),
    ("phase", (6, 4), "cine", "SAX"),
    ("phase", (6, 1), "cine", "4CH"),
    ("inversion", (5, 3), "T1", "SAX"),
    ("still", (1, 3), "T1", "SAX"),
    ("still", (1, 4), "LGE", "SAX"),
    ("still", (1, 4), "LGE", "SAX"),
    ("phase", (6, 1), "other", "aorta"),
    ("phase", (6, 1), "other", "aorta"),
]


def write(folder: Path, files: list[FileDataset], names: list[str] | None = None) -> Path:
    """Writes the data sets, into folders where a name has slashes."""
    for number, dataset in enumerate(files):
        path = folder / (names[number] if names else f"IM{number:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return folder


def codes(stack: Stack) -> tuple[tuple[int, ...], ...]:
    """[t][z] of pixel [0, 0] as it is stored."""
    pixels = stack.image().pixels[:, :, 0, 0]
    scale = 2 if stack.unit == "ms" else 1
    return tuple(tuple(int(round(float(value) * scale)) for value in row) for row in pixels)


def sorted_codes(study: Study) -> list[tuple]:
    """What a sorting comes to: axis and pixels of every stack, in no order."""
    return sorted((stack.axis, codes(stack)) for stack in study.stacks)


def statuses(study: Study) -> dict[str, int]:
    """How many files there are of each status."""
    return study.report()["counts"]
