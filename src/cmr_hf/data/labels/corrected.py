"""Masks that this package wrote and a person corrected, back on their images.

`write_mask` (clinical) names them `<stem>_mask.nii.gz` or `<stem>_mask.png` and writes this package's ids on the
image's own grid; that both are still so is checked here, and nothing is resampled or renumbered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...hub.checking_cmr import MAX_SIDE, ReadingError, file_head
from ...hub.image_cmr import CMRImage
from ...hub.nifti_cmr import read_nifti
from ...hub.reading_cmr import read_image
from ..schema import LABELS, UNKNOWN, LabelledStack
from .imported import ImportedLabels
from .label_volume import whole_numbers
from .resampling import same_grid

_ENDINGS = ("_mask.nii.gz", "_mask.nii", "_mask.png")


def read_corrected(
    folder: str | Path,
    images: Mapping[str, CMRImage | str | Path],
    *,
    patients: Mapping[str, str],
    drawn: Sequence[int] = (),
    licence: str = "unknown",
) -> ImportedLabels:
    """Reads every corrected mask of a folder.

    Args:
        folder: with files called `<stem>_mask.nii.gz` or `<stem>_mask.png`.
        images: stem -> the image that the mask was made from, read or to be read.
        patients: stem -> a pseudonym, see `LabelledStack`.
        drawn: ids that the person looked for; by default those found in the mask.
        licence: the Hub's name of it.

    Returns:
        One stack per mask and phase. Masks without an image, and images without a mask, are reported.

    Raises:
        ReadingError: a mask lies on another grid than its image, has other ids, or no mask has an image.
    """
    found = {path.name[: -len(end)]: path for path, end in _masks(Path(folder))}
    report = [f"{stem}: no image is given for this mask, left out" for stem in sorted(set(found) - set(images))]
    report += [f"{stem}: no mask for this image" for stem in sorted(set(images) - set(found))]
    stacks: list[LabelledStack] = []
    for stem in sorted(set(found) & set(images)):
        if stem not in patients:
            raise ReadingError(f"`patients` needs a pseudonym for {stem}: add it, equal for all images of one person")
        image = images[stem] if isinstance(images[stem], CMRImage) else read_image(images[stem])
        masks = _mask_on(found[stem], image)
        for phase, pixels in enumerate(_four(image.pixels)):
            looked_for = tuple(drawn) or tuple(sorted(set(np.unique(masks[phase]).tolist()) - {0, UNKNOWN}))
            stacks.append(
                LabelledStack(
                    images=pixels,
                    masks=masks[phase],
                    drawn=looked_for,
                    spacing_mm=image.spacing_mm,
                    slice_distance_mm=image.slice_distance_mm,
                    affine=image.affine,
                    patient=patients[stem],
                    series=stem,
                    phase_index=phase,
                    source="corrected",
                    licence=licence,
                )
            )
    if not stacks:
        raise ReadingError(
            f"{folder} needs files like <stem>_mask.nii.gz with an image each, got none: check the stems"
        )
    return ImportedLabels(stacks, report)


def _masks(folder: Path) -> list[tuple[Path, str]]:
    if not folder.is_dir():
        raise ReadingError(f"{folder} needs to be a folder of masks: check the path")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [(path, end) for path in paths for end in _ENDINGS if path.name.lower().endswith(end)]


def _four(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape((1,) * (4 - pixels.ndim) + pixels.shape)


def _mask_on(path: Path, image: CMRImage) -> np.ndarray:
    """Ids (t, z, y, x) on the image's grid."""
    name, affine = path.name, None
    file_head(path, name)
    if name.lower().endswith(".png"):
        labels = _picture(path)
    else:
        mask = read_nifti(path, name, None)
        labels, affine = mask.pixels, mask.affine
    shape = _four(image.pixels).shape
    if labels.shape != shape:
        raise ReadingError(
            f"{name} has {labels.shape} voxels (phases, slices, rows, columns), its image {shape}: save it on the grid "
            "that it came with, or read it with read_nifti_masks, which resamples"
        )
    if affine is not None and image.affine is not None and not same_grid(affine, image.affine, shape[1:]):
        raise ReadingError(
            f"{name} lies elsewhere in patient space than its image: moved, flipped, or of another image; "
            "save it with the geometry that it came with"
        )
    labels = whole_numbers(labels, name)
    strange = sorted(set(np.unique(labels).tolist()) - {*LABELS, UNKNOWN})
    if strange:
        raise ReadingError(f"{name} has ids {strange[:10]}, this package's are {LABELS}: renumber them in the tool")
    return labels.astype(np.uint8)


def _picture(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.mode not in ("P", "L") or max(picture.size) > MAX_SIDE:
                raise ReadingError(f"{path.name} needs ids as palette or gray values, not colours: save it indexed")
            return np.asarray(picture)[None, None]
    except ReadingError:
        raise
    except Exception as error:  # Pillow raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{path.name} needs to be a PNG ({kind}): save it again") from None
