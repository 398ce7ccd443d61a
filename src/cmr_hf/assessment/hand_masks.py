"""Masks that a person has corrected, read back from the NIfTI files that an assessment writes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..clinical.volumes import LABEL_NAMES
from ..clinical.writers import LPS_TO_RAS

if TYPE_CHECKING:
    from .results import StackAssessment

CLOSE_MM = 0.5  # of the corners of the grid


def hand_mask(folder: Path, stack: "StackAssessment") -> np.ndarray | None:
    """The mask of a stack in a folder: the file whose name begins with the stack's number and ends in `_mask.nii.gz`.

    Args:
        folder (`Path`): of `--masks`.
        stack (`StackAssessment`): whose grid it must have.

    Returns:
        Labels of shape `(t, z, y, x)`, uint8; `None` where the folder has no mask for this stack.

    Raises:
        ValueError: several such files, another grid, or values that are no labels.
    """
    found = sorted(
        file
        for ending in ("_mask.nii.gz", "_mask.nii")
        for file in folder.glob(f"{stack.number:02d}_*{ending}")
        if not file.name.startswith(".")
    )
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(f"`masks` needs one mask of stack {stack.number}, got {len(found)}: take the others away")
    return read_mask(found[0], stack)


def read_mask(file: Path, stack: "StackAssessment") -> np.ndarray:
    """A mask on the grid of a stack, see `hand_mask`."""
    import nibabel

    image = nibabel.load(file)
    data = np.asarray(image.dataobj)
    data = data.reshape(data.shape + (1,) * (4 - data.ndim)) if data.ndim < 4 else data
    labels = data.transpose(3, 2, 1, 0) if data.ndim == 4 else data  # (x, y, z, t) -> (t, z, y, x)
    shape = stack.source.shape
    if labels.shape != shape:
        raise ValueError(
            f"`masks` needs masks on the grid of their stack, (t, z, y, x) = {shape}, got {labels.shape}: "
            "save it as it was opened"
        )
    if stack.source.affine is not None and _apart_mm(np.asarray(image.affine), stack) > CLOSE_MM:
        raise ValueError(
            "`masks` needs masks on the grid of their stack, got another position in space: do not move it"
        )
    if not np.isin(labels, list(LABEL_NAMES)).all():
        strange = np.setdiff1d(np.unique(labels), list(LABEL_NAMES))[:5].tolist()
        raise ValueError(f"`masks` needs labels 0 to {max(LABEL_NAMES)}, got {strange}: {LABEL_NAMES}")
    return np.ascontiguousarray(labels, dtype=np.uint8)


def _apart_mm(affine: np.ndarray, stack: "StackAssessment") -> float:
    """The largest distance of the grids' corners."""
    _, z, y, x = stack.source.shape
    corners = np.array([(i, j, k, 1) for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)], dtype=float)
    ours = LPS_TO_RAS @ stack.source.affine
    return float(np.linalg.norm(((affine - ours) @ corners.T)[:3], axis=0).max())
