"""Miniature hearts as NIfTI files: a cavity, its muscle and a right ventricle, in the package's ids."""

from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np

SHAPE = (3, 40, 44)  # (z, y, x)
DUMMY = np.diag([-1.25, -1.5, 8.0, 1.0])  # RAS; axes of the file along the scanner's
OBLIQUE = DUMMY.copy()
OBLIQUE[:3, :3] = np.array([[0.6, -0.48, 0.64], [0.8, 0.36, -0.48], [0.0, 0.8, 0.6]]) @ np.diag([1.25, 1.5, 8.0])
OBLIQUE[:3, 3] = (20.0, -30.0, 40.0)


def heart(radius: float = 8.0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Masks (z, y, x): 1 LV cavity, 2 myocardium, 3 RV; the cavity shrinks from slice to slice."""
    z, y, x = np.indices(shape)
    distance = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    masks = np.zeros(shape, np.uint8)
    masks[np.hypot(y - shape[1] / 2, x - shape[2] / 2 + 13) < 5] = 3
    masks[distance < radius - z + 4] = 2
    masks[distance < radius - z] = 1
    return masks


def gray(masks: np.ndarray) -> np.ndarray:
    """An image (z, y, x), int16, in which blood is bright, and no two pixels in a row are alike."""
    return (np.array([50, 220, 90, 200, 0, 0, 250])[masks] + np.arange(masks.shape[-1])).astype(np.int16)


def in_ids_of(masks: np.ndarray, ids: Mapping[int, int], dtype: type = np.uint8) -> np.ndarray:
    """The package's ids as a data set's: the first of `ids` (theirs → ours) that becomes each."""
    theirs = {}
    for their, our in ids.items():
        theirs.setdefault(our, their)
    return np.vectorize(theirs.get)(masks).astype(dtype)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    """Writes (z, y, x) or (t, z, y, x)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array.T, affine)  # (z, y, x) -> (x, y, z)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def cut(path: Path) -> None:
    """Leaves half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
