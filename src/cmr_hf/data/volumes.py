"""What readers of volumes share: an image, the mask on its grid, and one phase of both as a `LabelledStack`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers.utils import logging

from ..hub.checking_cmr import MAX_SIDE
from ..hub.dicom_stack_cmr import read_dicom_files
from ..hub.image_cmr import CMRImage
from ..hub.reading_cmr import ReadingError, read_image
from .schema import UNKNOWN, LabelledStack

logger = logging.get_logger(__name__)

SPACING_TOLERANCE = 0.01  # of the spacing


def read_volume(path: Path) -> CMRImage:
    """Reads one file of a data set, pixels `(t, z, y, x)`.

    Raises:
        ReadingError: the file is missing, damaged or no gray image.
    """
    if not path.is_file():
        raise ReadingError(f"{path} is missing: fetch the data set again")
    image = read_image(path)
    shape = (1,) * (4 - image.pixels.ndim) + image.pixels.shape  # a picture has two axes
    return replace(image, pixels=image.pixels.reshape(shape))


def read_series(files: Iterable[tuple[Path, str]], source: str) -> CMRImage:
    """Reads DICOM files of one stack, pixels `(t, z, y, x)`; files that do not fit are left out and logged.

    Args:
        files: each file and what errors call it.
        source (`str`): what errors call them all.
    """
    image = read_dicom_files(files, source, None, [])
    if image.left_out:
        logger.info(f"{source}: {len(image.left_out)} files are left out, the first because: {image.left_out[0]}")
    return image


def read_mask(path: Path, image: CMRImage, same_place: bool = False) -> CMRImage:
    """Reads the mask that belongs to an image, pixels `(t, z, y, x)` with the data set's own ids.

    Args:
        path (`Path`): the mask's file.
        image (`CMRImage`): what it was drawn on.
        same_place (`bool`): also ask that both headers put the corners at the same place, within half a pixel. Data
            sets whose publishers pair by pixel have headers that differ; a user's own files should not.

    Raises:
        ReadingError: the file is missing or damaged, or has another grid than the image.
    """
    mask = _palette(path) or read_volume(path)
    name = Path(image.source).name.removesuffix(".gz").removesuffix(".nii")
    if mask.pixels.shape != image.pixels.shape:
        raise ReadingError(
            f"{name}: image {image.pixels.shape} and mask {mask.pixels.shape} differ: fetch the pair "
            "again, or draw the mask on the image's grid"
        )
    known = mask.spacing_mm is not None and image.spacing_mm is not None
    if known and not np.allclose(mask.spacing_mm, image.spacing_mm, rtol=SPACING_TOLERANCE):
        raise ReadingError(
            f"{name}: image ({_pair(image)} mm) and mask ({_pair(mask)} mm) differ in pixel spacing: resample the mask "
            "to the image"
        )
    if same_place and image.affine is not None and mask.affine is not None:
        corners = np.vstack([np.zeros(3), np.diag(np.subtract(image.pixels.shape[:0:-1], 1))])  # (column, row, slice)
        corners = np.hstack([corners, np.ones((4, 1))])
        away = np.linalg.norm((corners @ (image.affine - mask.affine).T)[:, :3], axis=1).max()
        if away > np.linalg.norm(image.affine[:3, :2], axis=0).min() / 2:
            raise ReadingError(
                f"{name}: image and mask lie up to {away:.1f} mm apart by their headers: resample the mask to the image"
            )
    return mask


def _palette(path: Path) -> CMRImage | None:
    """A PNG with a palette, as `write_mask` makes them: its ids, not its colours. `None` for any other file."""
    if path.suffix.lower() != ".png" or not path.is_file():
        return None
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.mode != "P" or max(picture.size) > MAX_SIDE:
                return None
            return CMRImage(np.asarray(picture)[None, None], None, None, None, path.name, "picture")
    except Exception:  # Pillow raises many types on damaged bytes; `read_volume` says what is wrong
        return None


def _pair(image: CMRImage) -> str:
    return " x ".join(f"{value:.3f}" for value in image.spacing_mm)


def translated(labels: np.ndarray, ids: Mapping[int, int], name: str | Path) -> np.ndarray:
    """A data set's label ids as the package's.

    Args:
        labels (`np.ndarray`): whole numbers, of any type.
        ids (`Mapping`): theirs → ours (`schema.LABELS` or `UNKNOWN`), background included.
        name (`str` or `Path`): what errors call the mask.

    Returns:
        `np.ndarray` of the same shape, uint8.

    Raises:
        ReadingError: the mask has an id that `ids` does not know.
    """
    result, known = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, bool)
    for theirs, ours in ids.items():
        here = labels == theirs
        result[here] = ours
        known |= here
    if not known.all():
        numbers = sorted(ids)
        consecutive = numbers == list(range(numbers[0], numbers[-1] + 1))
        span = f"{numbers[0]} to {numbers[-1]}" if consecutive else ", ".join(map(str, numbers))
        got = ", ".join(f"{value:g}" for value in np.unique(labels[~known])[:5])
        raise ReadingError(f"{name} needs the labels {span}, got {got}: fetch it again, or say what they mean")
    return result


def drawn_ids(ids: Mapping[int, int]) -> tuple[int, ...]:
    """The package's ids that a data set with such labels looked for."""
    return tuple(sorted({ours for ours in ids.values() if ours not in (0, UNKNOWN)}))


def true_affine(image: CMRImage) -> np.ndarray | None:
    """The image's affine, `None` where a NIfTI header has a dummy: axes of the file along those of the scanner.

    No view of a heart lies so (within 0.1°); the converters of several public data sets wrote it.
    """
    if image.affine is None or image.kind == "dicom":
        return image.affine
    axes = image.affine[:3, :3]
    cosines = np.abs(axes) / np.linalg.norm(axes, axis=0)
    return None if (cosines.max(axis=0) > 1 - 1e-6).all() else image.affine


def stack_of(image: CMRImage, at: int = 0, **fields: Any) -> LabelledStack:
    """One phase of an image, with its geometry.

    Args:
        image (`CMRImage`): pixels `(t, z, y, x)`.
        at (`int`): which phase of the image.
        fields: of `LabelledStack`, beside those that the image gives.
    """
    return LabelledStack(
        images=image.pixels[at],
        spacing_mm=image.spacing_mm,
        slice_distance_mm=image.slice_distance_mm,
        affine=true_affine(image),
        **fields,
    )


def check_frame(frame: int, count: int, what: str) -> int:
    """`frame` if a cine of `count` phases has it (from 0); else a ReadingError that begins with `what`."""
    if not 0 <= frame < count:
        raise ReadingError(f"{what} is frame {frame} counted from 0, but there are {count}: correct it or leave it out")
    return frame


def phases_of(
    image: CMRImage, labelled: Mapping[int, Mapping[str, Any]], every_phase: bool, **fields: Any
) -> Iterator[LabelledStack]:
    """The phases of a cine as stacks.

    Args:
        image (`CMRImage`): pixels `(t, z, y, x)`.
        labelled (`Mapping`): phase, from 0 → fields of `LabelledStack` that it alone has: `phase`, `masks`, `drawn`.
        every_phase (`bool`): give the other phases too.
        fields: of `LabelledStack`, the same for all.
    """
    for t in range(len(image.pixels)) if every_phase else sorted(labelled):
        yield stack_of(image, t, phase_index=t, **fields, **labelled.get(t, {}))
