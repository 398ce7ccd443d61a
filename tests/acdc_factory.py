"""A miniature data set in ACDC's own layout: bright discs for hearts, rings for muscle, ACDC's label ids."""

import json
from pathlib import Path

import nibabel
import numpy as np

SPACING_MM = (1.5, 1.25)  # (row, column)


def heart(shape: tuple[int, int], radius_mm: float, slice_number: int) -> tuple[np.ndarray, np.ndarray]:
    """One slice (y, x): gray values and ACDC's labels (1 RV, 2 myocardium, 3 LV cavity)."""
    rows, columns = np.indices(shape)
    y = (rows - (shape[0] - 1) / 2) * SPACING_MM[0]
    x = (columns - (shape[1] - 1) / 2) * SPACING_MM[1]
    distance = np.hypot(y, x)
    mask = np.zeros(shape, np.uint8)
    mask[np.hypot(y, x + 26) < 0.8 * radius_mm] = 1
    mask[distance < radius_mm + 8] = 2
    mask[distance < radius_mm] = 3
    gray = np.array([60, 200, 90, 230])[mask] + 3 * slice_number + 10 * np.sin(rows / 3) * np.cos(columns / 4)
    return gray.astype(np.int16), mask


def write_patient(root: Path, patient: str, slices: int = 3, shape: tuple[int, int] = (60, 68)) -> None:
    """ED (frame 1) and ES (frame 7) of one patient."""
    folder = root / patient
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text("ED: 1\nES: 7\nGroup: NOR\nHeight: 170.0\nNbFrame: 12\nWeight: 70.0\n")
    for frame, radius_mm in ((1, 15.0), (7, 11.0)):
        pairs = [heart(shape, radius_mm - k, k) for k in range(slices)]
        for suffix, part in (("", 0), ("_gt", 1)):
            array = np.stack([pair[part] for pair in pairs]).transpose(2, 1, 0)  # (z, y, x) -> (x, y, z)
            image = nibabel.Nifti1Image(array, np.diag([-SPACING_MM[1], -SPACING_MM[0], 10.0, 1.0]))
            nibabel.save(image, folder / f"{patient}_frame{frame:02d}{suffix}.nii.gz")


def write_acdc(root: Path) -> Path:
    """Four patients and their `splits.json`, whose path is returned."""
    for number in range(1, 5):
        write_patient(root / "acdc", f"patient{number:03d}")
    sides = {"train": ["patient001", "patient002"], "validation": ["patient003"], "test": ["patient004"]}
    path = root / "splits.json"
    path.write_text(json.dumps({"_": "a comment", "acdc": sides}))
    return path
