"""Small valid MR DICOM files and stacks for tests; any tag can be set, replaced or (with None) removed.

write_slice(tmp_path / "a.dcm", PixelSpacing=[0, 0])
write_stack(tmp_path / "sax", slices=3, phases=4)
"""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT = {"PatientName": "Secret^Person", "PatientID": "SECRET-4711", "PatientBirthDate": "19470101"}
OBLIQUE = np.array([0.8, 0.0, 0.6, 0.36, 0.8, -0.48])


def pixels_of(slice_index: int, phase: int, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    """uint16 (y, x) whose [0, 0] is 100 * slice + phase, so that a test sees where a file went."""
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    pixels[0, 0] = 100 * slice_index + phase
    return pixels


def slice_dataset(pixels: np.ndarray | None = None, **tags: Any) -> FileDataset:
    """One MR image, uncompressed little endian; `pixels` of shape (y, x), (y, x, 3) or (frames, y, x)."""
    pixels = pixels_of(0, 0) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    defaults = {
        **PATIENT,
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.1",
        "SeriesInstanceUID": "1.2.3.2",
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "InstanceNumber": 1,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
        "PixelSpacing": [1.25, 1.5],
        "SliceThickness": 8,
        "Rows": pixels.shape[-2 - colour],
        "Columns": pixels.shape[-1 - colour],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    if colour:
        defaults["PlanarConfiguration"] = 0
    for keyword, value in (defaults | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def write_slice(path: Path, pixels: np.ndarray | None = None, **tags: Any) -> Path:
    """Writes `slice_dataset` to `path` and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    slice_dataset(pixels, **tags).save_as(path, enforce_file_format=True)
    return path


def write_stack(
    folder: Path,
    slices: int = 3,
    phases: int = 1,
    *,
    orientation: Any = OBLIQUE,
    origin_mm: Any = (-100.0, -60.0, 30.0),
    distance_mm: float = 10.0,
    series_per_slice: bool = False,
    shape: tuple[int, int] = (12, 16),
    **tags: Any,
) -> list[Path]:
    """Writes a cine stack, `slices` x `phases` files, named in an order that is neither of space nor of time.

    Slice k lies `k * distance_mm` along row x column, its phase t has TriggerTime 40 t ms and
    pixel [0, 0] 100 k + t.
    """
    row, column = np.split(np.asarray(orientation, dtype=float), 2)
    normal = np.cross(row, column)
    rng = np.random.default_rng(0)
    numbers = rng.permutation(slices * phases)
    paths = []
    for k in range(slices):
        position = np.asarray(origin_mm) + k * distance_mm * normal
        for t in range(phases):
            own = {
                "SeriesInstanceUID": f"1.2.3.{10 + k}" if series_per_slice else "1.2.3.10",
                "ImageOrientationPatient": [f"{value:.10g}" for value in np.concatenate([row, column])],
                "ImagePositionPatient": [f"{value:.10g}" for value in position],
                "TriggerTime": 40 * t,
                "InstanceNumber": k * phases + t + 1,
            }
            path = folder / f"im{numbers[k * phases + t]:04d}.dcm"
            paths.append(write_slice(path, pixels_of(k, t, shape), **(own | tags)))
    return paths
