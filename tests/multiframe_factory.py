"""Small enhanced (multi-frame) MR DICOM files for tests: functional groups as nested dictionaries.

write_multiframe(tmp_path / "cine.dcm", pixels, [{"PlanePositionSequence": {"ImagePositionPatient": [0, 0, z]}}])
"""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedMRImageStorage

from tests.dicom_factory import OBLIQUE, pixels_of, slice_dataset

IN_FRAMES = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness")


def group(content: dict[str, Any]) -> Dataset:
    """A data set; dictionaries inside become sequences of one item, lists of dictionaries of several."""
    dataset = Dataset()
    for keyword, value in content.items():
        if isinstance(value, dict):
            value = [group(value)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            value = [group(item) for item in value]
        setattr(dataset, keyword, value)
    return dataset


def enhanced_dataset(
    pixels: np.ndarray, frames: list[dict[str, Any]], shared: dict[str, Any] | None = None, **tags: Any
) -> FileDataset:
    """One enhanced MR file from `pixels` (frames, y, x), a dictionary of macros per frame and the shared ones."""
    shared = {"PixelMeasuresSequence": {"PixelSpacing": [1.25, 1.5]}} if shared is None else shared
    own = {
        **dict.fromkeys(IN_FRAMES),
        "SOPClassUID": EnhancedMRImageStorage,
        "NumberOfFrames": len(pixels),
        "PerFrameFunctionalGroupsSequence": [group(frame) for frame in frames],
        "SharedFunctionalGroupsSequence": [group(shared)],
    }
    dataset = slice_dataset(pixels, **(own | tags))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    return dataset


def write_multiframe(path: Path, *args: Any, **tags: Any) -> Path:
    """Writes `enhanced_dataset` to `path` and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    enhanced_dataset(*args, **tags).save_as(path, enforce_file_format=True)
    return path


def cine_frames(
    slices: range, phases: int, *, distance_mm: float = 10.0, shape: tuple[int, int] = (12, 16), seed: int = 0
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Pixels and macros of an oblique cine like `write_stack`'s, frames in an order of neither space nor time."""
    row, column = np.split(OBLIQUE, 2)
    normal = np.cross(row, column)
    made = []
    for k in slices:
        position = np.array([-100.0, -60.0, 30.0]) + k * distance_mm * normal
        for t in range(phases):
            macros = {
                "PlanePositionSequence": {"ImagePositionPatient": [f"{value:.10g}" for value in position]},
                "PlaneOrientationSequence": {"ImageOrientationPatient": [f"{value:.10g}" for value in OBLIQUE]},
                "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 40.0 * t},
            }
            made.append((pixels_of(k, t, shape), macros))
    order = np.random.default_rng(seed).permutation(len(made))
    return np.stack([made[index][0] for index in order]), [made[index][1] for index in order]
