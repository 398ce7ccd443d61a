"""Small phantom studies for tests, and how a second reader sees them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813

from cmr_hf.phantoms import Protocol

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def small(*series: str, **options) -> Protocol:
    """A protocol with few small rectangular pictures that still hold the whole heart."""
    return Protocol(series, **{"phases": 3, "rows": 48, "columns": 64, "spacing_mm": 4.0} | options)


def series_of(folder: Path, name: str) -> dict:
    """What `study.json` says of one series."""
    known = json.loads((folder / "truth" / "study.json").read_text(encoding="utf-8"))
    return next(one for one in known["series"] if one["name"] == name)


def grid_of(folder: Path, name: str, kind: str = "mask") -> tuple[np.ndarray, np.ndarray]:
    """Values (t, z, y, x) and the affine (column, row, slice) → LPS mm of a NIfTI file of the truth."""
    (file,) = (one for one in series_of(folder, name)["files"] if one.endswith(f"_{kind}.nii.gz"))
    image = nib.load(folder / "truth" / file)
    values = np.asarray(image.dataobj)
    return values.reshape(values.shape + (1,) * (4 - values.ndim)).transpose(3, 2, 1, 0), LPS_TO_RAS @ image.affine


def headers(folder: Path, name: str) -> list[pydicom.Dataset]:
    """The files of one series in the order of their names."""
    return [pydicom.dcmread(path) for path in sorted((folder / series_of(folder, name)["folder"]).iterdir())]


def read_by_sitk(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (t, z, y, x) and affine as SimpleITK reads single-frame files, one volume for each trigger time."""
    place = folder / series_of(folder, name)["folder"]
    moments: dict[float, list[str]] = {}
    for path in sorted(place.iterdir()):
        moments.setdefault(float(pydicom.dcmread(path, stop_before_pixels=True).TriggerTime), []).append(str(path))
    volumes = []
    for moment in sorted(moments):
        reader = sitk.ImageSeriesReader()
        found = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place))  # in order along the normal
        reader.SetFileNames([path for path in found if path in moments[moment]])
        volumes.append(reader.Execute())
    first = volumes[0]
    affine = np.eye(4)
    affine[:3, :3] = np.array(first.GetDirection()).reshape(3, 3) * np.array(first.GetSpacing())
    affine[:3, 3] = first.GetOrigin()
    return np.stack([sitk.GetArrayFromImage(one) for one in volumes]), affine
