"""A user's own files and the table of them."""

import csv
from pathlib import Path

import numpy as np

from tests.data.volume_factory import gray, heart, write_nifti

RNG = np.random.default_rng(0)


def write_own_set(root: Path, extra: dict[str, dict[str, str]] | None = None) -> Path:
    """Six patients with masks, and a table of them; `extra` changes cells by patient."""
    rows = []
    for number in range(6):
        name = f"p{number}"
        masks = heart(7.0 + number / 2)
        noise = RNG.integers(0, 20, masks.shape).astype(np.int16)
        write_nifti(root / name / "image.nii.gz", gray(masks) + noise)
        write_nifti(root / name / "mask.nii.gz", masks)
        rows.append(
            {
                "patient": name,
                "image": f"{name}/image.nii.gz",
                "mask": f"{name}/mask.nii.gz",
                "split": ("train", "train", "train", "train", "validation", "test")[number],
                "view": "short axis",
                "disease": ("normal", "DCM")[number % 2],
                "hospital": "not used",
            }
            | (extra or {}).get(name, {})
        )
    with (root / "table.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list({key: None for row in rows for key in row}))
        table.writeheader()
        table.writerows(rows)
    return root / "table.csv"
