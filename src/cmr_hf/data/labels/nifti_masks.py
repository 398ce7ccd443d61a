"""Masks in NIfTI with a label description of ITK-SNAP (`.label`, `.txt`) or 3D Slicer (`.ctbl`, `.txt`).

ITK-SNAP's table has lines `number red green blue alpha visible mesh "name"`, Slicer's `number name red green blue
alpha` with spaces in names as underscores; comments begin with `#` in both. Written from the comments that both
programs put at the head of such files; no file of the programs themselves was at hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...hub.checking_cmr import ReadingError, file_head
from ...hub.nifti_cmr import read_nifti
from .label_volume import LabelVolume, volume_of
from .names import LabelMap

_ITK_SNAP = re.compile(r"\s*(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+[01]\s+[01]\s+\"([^\"]*)\"\s*")
_SLICER = re.compile(r"\s*(\d+)[\s,]+\"?([^\s\",]+)\"?([\s,]+\d+){3,4}\s*")
_MAX_BYTES = 4 * 1024**2


def read_nifti_masks(
    path: str | Path, description: str | Path | None = None, *, label_map: LabelMap | None = None
) -> LabelVolume:
    """Reads a label map; `apply_to` puts it onto its image.

    Args:
        path: `.nii` or `.nii.gz`, 2-D to 4-D (x, y, z, t).
        description: label description of ITK-SNAP or Slicer, or a colour table.
        label_map: number or name -> id, goes before the description; see `structure_of`.

    Raises:
        ReadingError: a file is damaged, labels are no whole numbers, or a label has no name.
    """
    path = Path(path)
    file_head(path, path.name)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise ReadingError(f"{path.name} needs to end in .nii or .nii.gz: save the mask as NIfTI")
    image = read_nifti(path, path.name, None)
    names = {} if description is None else read_description(description)
    by_number = {number: (name, ("", "")) for number, name in names.items()}
    return volume_of(image.pixels, image.affine, by_number, label_map, path.name, "nifti masks")


def read_description(path: str | Path) -> dict[int, str]:
    """Number -> name of a label description.

    Raises:
        ReadingError: it is no such table, or gives one number twice.
    """
    path = Path(path)
    file_head(path, path.name)
    with open(path, "rb") as file:
        lines = file.read(_MAX_BYTES).decode("utf-8", errors="replace").splitlines()
    names: dict[int, str] = {}
    for place, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _ITK_SNAP.fullmatch(line) or _SLICER.fullmatch(line)
        if found is None:
            raise ReadingError(
                f"{path.name} line {place} is neither ITK-SNAP's `number r g b a visible mesh \"name\"` nor Slicer's "
                "`number name r g b a`: export the label description again, or pass label_map="
            )
        number = int(found[1])
        if number in names:
            raise ReadingError(f"{path.name} line {place} gives label {number} a second time: remove one of them")
        names[number] = found[2].replace("_", " ")
    if not names:
        raise ReadingError(f"{path.name} describes no label: export the label description again, or pass label_map=")
    return names
