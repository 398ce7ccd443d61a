"""Reads one NIfTI file: (x, y, z, t) in RAS becomes (t, z, y, x) in LPS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from .checking_cmr import MAX_PIXEL_BYTES, ReadingError, Spacing, checked_spacing, clean_pixels, quiet
from .image_cmr import CMRImage

try:
    import nibabel
except ImportError:
    nibabel = None

_MAX_OFFSET = 64 * 1024**2  # header extensions are read whole, out of a gzip stream that may be a bomb


def read_nifti(path: Path, name: str, spacing_mm: Spacing) -> CMRImage:
    """Reads a NIfTI-1 or -2 file of 2 to 4 axes, pixels wholly loaded.

    Raises:
        ReadingError: the file is damaged, has other axes, colours or complex numbers, or is too large.
    """
    file, header = _open(path, name)
    shape = tuple(int(length) for length in file.shape)
    squeezed = shape if len(shape) < 5 else shape[:3] + tuple(length for length in shape[3:] if length != 1)
    if not 2 <= len(squeezed) <= 4:
        raise ReadingError(f"{name} needs 2 to 4 axes (x, y, z, t), got shape {shape}: save one volume or cine")
    dtype = file.get_data_dtype()
    if math.prod(shape) * max(dtype.itemsize, 4) > MAX_PIXEL_BYTES or min(shape) < 1:
        raise ReadingError(f"{name} needs 1 byte to 4 GiB of pixels, got shape {shape}: check its header or crop it")
    if dtype.kind not in "biuf":
        raise ReadingError(f"{name} needs real gray values, got {dtype}: save the magnitude, not RGB")
    unit = {1: 1000.0, 3: 0.001}.get(int(header["xyzt_units"]) & 7, 1.0)  # metres, micrometres; else mm
    zooms = [float(zoom) * unit for zoom in header["pixdim"][1:4]]
    own = (zooms[1], zooms[0])
    if spacing_mm is None:
        remedy = "correct the header or pass spacing_mm=(row, column)"
        spacing_mm = checked_spacing(own, f"{name}: pixdim", remedy)
    many = len(squeezed) > 2 and squeezed[2] > 1
    if many and not (math.isfinite(zooms[2]) and zooms[2] > 0):
        raise ReadingError(f"{name}: pixdim needs a positive slice distance in mm, got {zooms[2]}: correct the header")
    full = _values(file, name).reshape(squeezed + (1,) * (4 - len(squeezed)))
    pixels = clean_pixels(full.transpose(3, 2, 1, 0), name)  # (x, y, z, t) -> (t, z, y, x)
    affine = _affine(file, unit, own, spacing_mm)
    return CMRImage(pixels, spacing_mm, zooms[2] if many else None, affine, name, "nifti", file_shape=shape)


def _open(path: Path, name: str) -> tuple[Any, Any]:
    """nibabel's image and the header as it is in the file, before nibabel mends signs."""
    if nibabel is None:
        raise ReadingError(f"{name} needs nibabel to be read: pip install nibabel")
    try:
        with quiet():
            formats = (nibabel.Nifti1Image, nibabel.Nifti2Image)
            nifti = next(format for format in formats if format.path_maybe_image(path)[0])
            with nibabel.openers.ImageOpener(path) as opened:
                header = nifti.header_class.from_fileobj(opened, check=False)
            offset = float(header["vox_offset"])
            file = nifti.from_filename(path, mmap=False) if 0 <= offset <= _MAX_OFFSET else None
    except Exception as error:  # nibabel raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{name} needs to be NIfTI-1 or 2 ({kind}): convert or copy it again") from None
    if file is None:
        raise ReadingError(f"{name} needs a vox_offset of 0 to {_MAX_OFFSET}, got {offset:g}: correct the header")
    return file, header


def _values(file: Any, name: str) -> np.ndarray:
    """Integers as stored when the scaling is trivial, else float32."""
    try:
        with quiet():
            trivial = file.dataobj.slope == 1 and file.dataobj.inter == 0
            return file.dataobj.get_unscaled() if trivial else np.asarray(file.dataobj, np.float32)
    except Exception as error:  # nibabel raises many types; a cut gzip stream ends here
        kind = type(error).__name__
        raise ReadingError(f"{name} is damaged or truncated ({kind}): copy or convert it again") from None


def _affine(file: Any, unit: float, own: Spacing, spacing_mm: Spacing) -> np.ndarray | None:
    """RAS -> LPS; None when the header gives neither qform nor sform. Another spacing scales its columns."""
    if int(file.header["sform_code"]) <= 0 and int(file.header["qform_code"]) <= 0:
        return None
    affine = np.asarray(file.affine, dtype=np.float64) * np.array([[-1.0], [-1.0], [1.0], [1.0]])
    if not np.isfinite(affine).all():
        return None
    affine[:3] *= unit
    with np.errstate(all="ignore"):  # absurd headers overflow here and are refused below
        if spacing_mm != own:
            lengths = np.linalg.norm(affine[:3, :2], axis=0)
            affine[:3, :2] *= np.array(spacing_mm[::-1]) / lengths
        regular = np.isfinite(affine).all() and 0 < abs(np.linalg.det(affine)) < np.inf
    return affine if regular else None
