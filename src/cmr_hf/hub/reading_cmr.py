"""Reads one cardiac MR picture, file or stack into pixels and their geometry.

    image = read_image("study/sax_folder")          # DICOM, over slices and phases
    image = read_image("patient001_frame01.nii.gz")
    image = read_image(array, spacing_mm=(1.4, 1.4))

Files come as `(t, z, y, x)`, arrays and pictures keep their shape. Patient space is LPS in mm, pixel (0, 0)
is a centre (DICOM PS3.3 C.7.6.2, Image Plane Module). Headers give no patient data, nothing is unpickled.
"""

from __future__ import annotations

import math
import os
import stat
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .dicom_slice_cmr import (
    MAX_SIDE,
    ReadingError,
    checked_spacing,
    clean_pixels,
    decode,
    file_head,
    quiet,
    read_header,
)
from .stacking_cmr import arrange, largest_stack, stack_affine

try:
    import pydicom
except ImportError:
    pydicom = None
try:
    import nibabel
except ImportError:
    nibabel = None
try:
    from PIL import Image
except ImportError:
    Image = None

_MAX_PIXEL_BYTES = 4 * 1024**3

Spacing = tuple[float, float] | None  # (row, column) in mm


@dataclass
class CMRImage:
    """Pixels and geometry of one source.

    Attributes:
        pixels (np.ndarray of shape (t, z, y, x), or the array's own): integers as stored, else float32.
        spacing_mm: pixel distance (row, column) in mm; None when the source does not say.
        slice_distance_mm: distance between slice centres along the normal; None when unknown or one slice.
        affine (np.ndarray of shape (4, 4)): (column, row, slice) index -> LPS in mm; None when unknown.
            With one slice the third column is the unit normal.
        source: what errors call it, a path or "array".
        kind: "dicom", "nifti", "picture" or "array".
        trigger_times_ms: delay after the R wave, one per phase (median over slices); None when unknown.
        left_out: {"file", "reason"} of every file of a folder that was not used.
        file_shape: shape of the NIfTI file's own array, which `restore_axes` gives back.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None
    slice_distance_mm: float | None
    affine: np.ndarray | None
    source: str
    kind: str
    trigger_times_ms: tuple[float, ...] | None = None
    left_out: list[dict] = field(default_factory=list)
    file_shape: tuple[int, ...] | None = None


def read_image(source: Any, spacing_mm: Any = None) -> CMRImage:
    """Reads one image.

    Args:
        source: path of a DICOM file, of a folder that holds one DICOM stack (maybe over phases), of a NIfTI
            file (2-D to 4-D), of a PNG or JPEG; a numpy array or torch tensor of shape (y, x), (z, y, x) or
            (t, z, y, x) (a third axis is always slices, never channels); a PIL image; a `CMRImage`, which comes
            back as it is; or {"image": any of these, "spacing_mm": (row, column)}.
        spacing_mm: pixel distance (row, column) in mm, used instead of the header's.

    Returns:
        The image. `pixels` may share memory with an array that was handed in.

    Raises:
        ReadingError: the source cannot be read as one gray MR image.
    """
    if isinstance(source, dict):
        if "image" not in source or set(source) - {"image", "spacing_mm"}:
            raise ReadingError(
                f"`source` as a dict needs the keys 'image' and, if known, 'spacing_mm', got "
                f"{sorted(map(str, source))}: rename them"
            )
        spacing_mm = source.get("spacing_mm") if spacing_mm is None else spacing_mm
        source = source["image"]
    if spacing_mm is not None:
        remedy = "read it from PixelSpacing or pass spacing_mm="
        spacing_mm = checked_spacing(spacing_mm, "`spacing_mm`", remedy)
    if isinstance(source, CMRImage):
        return source if spacing_mm is None else replace(source, spacing_mm=spacing_mm)
    if isinstance(source, (str, os.PathLike)):
        return _read_path(source, spacing_mm)
    if isinstance(source, torch.Tensor):
        return _read_array(_tensor_to_array(source), spacing_mm)
    if isinstance(source, np.ndarray):
        return _read_array(source, spacing_mm)
    if Image is not None and isinstance(source, Image.Image):
        return CMRImage(_gray_pixels(source, "PIL image"), spacing_mm, None, None, "PIL image", "picture")
    raise ReadingError(
        f"`source` needs a path, numpy array, torch tensor, PIL image or dict, got {type(source).__name__}: "
        "convert it to a numpy array of shape (y, x), (z, y, x) or (t, z, y, x)"
    )


def restore_axes(labels: np.ndarray, image: CMRImage) -> np.ndarray:
    """Gives labels the axis order and rank of the file that `image` was read from.

    Args:
        labels (np.ndarray of shape (t, z, y, x)): one label per pixel of `image.pixels`.
        image: what `read_image` returned.

    Returns:
        For NIfTI an array of shape `image.file_shape`, such as (x, y, z, t); else `labels` as given.

    Raises:
        ReadingError: `labels` has another shape than `image.pixels`.
    """
    labels = np.asarray(labels)
    if labels.shape != image.pixels.shape:
        raise ReadingError(
            f"`labels` needs the shape of the pixels of {image.source}, {image.pixels.shape}, got "
            f"{labels.shape}: resample the labels to the source grid first"
        )
    if image.file_shape is None:
        return labels
    return labels.transpose(3, 2, 1, 0).reshape(image.file_shape)  # (t, z, y, x) -> (x, y, z, t)


def _tensor_to_array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided or tensor.is_meta:
        kind = f"{tensor.dtype} {tensor.layout} on {tensor.device}"
        raise ReadingError(f"tensor needs dense real numbers, got {kind}: convert it to float32")
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _read_array(array: np.ndarray, spacing_mm: Spacing) -> CMRImage:
    if array.ndim not in (2, 3, 4):
        shapes = "(y, x), (z, y, x) or (t, z, y, x)"
        raise ReadingError(f"array needs shape {shapes}, got {array.shape}: reshape it")
    if array.ndim > 2 and array.shape[-1] in (3, 4) and min(array.shape[-3:-1]) > 16:
        raise ReadingError(
            f"array needs gray slices, columns last, got {array.shape}, which looks like colour channels: "
            "pass one channel, array[..., 0], if all are equal"
        )
    return CMRImage(clean_pixels(array, "array"), spacing_mm, None, None, "array", "array")


def _read_path(source: str | os.PathLike, spacing_mm: Spacing) -> CMRImage:
    name = os.fspath(source)
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise ReadingError(f"{name!r} needs to be an existing file or folder ({kind}): check the path") from None
    path = Path(os.fsdecode(name))
    if stat.S_ISDIR(mode):
        return _read_folder(path, spacing_mm)
    head, lower = file_head(path, str(path)), path.name.lower()
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")) or lower.endswith((".png", ".jpg", ".jpeg")):
        return _read_picture(path, spacing_mm)
    if lower.endswith((".nii", ".nii.gz")):
        return _read_nifti(path, spacing_mm)
    one = read_header(path, str(path), spacing_mm)
    one.pixels = decode(one)
    times = None if one.trigger_ms is None else (one.trigger_ms,)
    pixels = one.pixels[None, None]  # (y, x) -> (t, z, y, x)
    affine = stack_affine([one], one.spacing_mm)
    return CMRImage(pixels, one.spacing_mm, None, affine, str(path), "dicom", times)


def _read_picture(path: Path, spacing_mm: Spacing) -> CMRImage:
    if Image is None:
        raise ReadingError(f"{path} needs Pillow to be read: pip install pillow")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; _gray_pixels refuses such sizes
            picture = Image.open(path, formats=("PNG", "JPEG"))
    except Exception as error:  # Pillow raises many types on damaged bytes, SyntaxError among them
        kind = type(error).__name__
        raise ReadingError(f"{path} needs to be a PNG or JPEG ({kind}): export it again") from None
    with picture:
        return CMRImage(_gray_pixels(picture, str(path)), spacing_mm, None, None, str(path), "picture")


def _gray_pixels(picture: Any, name: str) -> np.ndarray:
    """Gray values (y, x) of a Pillow image; 16 bits stay, channels equal up to JPEG loss become one."""
    if max(picture.size) > MAX_SIDE:
        raise ReadingError(f"{name} needs at most {MAX_SIDE} pixels a side, got {picture.size}: crop it")
    try:
        picture.load()
        if picture.mode not in ("1", "L", "I", "F") and not picture.mode.startswith("I;"):
            picture = picture.convert("RGB")
            channels = np.asarray(picture).astype(np.int16)  # (y, x, channel)
            if channels.size and int(np.ptp(channels, axis=-1).max()) > 8:
                raise ReadingError(f"{name} is an RGB picture, not MR: export it gray, without overlays")
            picture = picture.convert("L")
        return clean_pixels(np.asarray(picture), name)
    except ReadingError:
        raise
    except Exception as error:  # see _read_picture
        kind = type(error).__name__
        raise ReadingError(f"{name} is damaged or truncated ({kind}): export it again") from None


def _read_nifti(path: Path, spacing_mm: Spacing) -> CMRImage:
    if nibabel is None:
        raise ReadingError(f"{path} needs nibabel to be read: pip install nibabel")
    try:
        with quiet():
            file = nibabel.load(path)
            with nibabel.openers.ImageOpener(path) as opened:
                header = type(file.header).from_fileobj(opened, check=False)  # before nibabel mends signs
    except Exception as error:  # nibabel raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{path} needs to be NIfTI-1 or 2 ({kind}): convert or copy it again") from None
    shape = tuple(int(length) for length in file.shape)
    squeezed = shape if len(shape) < 5 else shape[:3] + tuple(length for length in shape[3:] if length != 1)
    if not 2 <= len(squeezed) <= 4:
        raise ReadingError(f"{path} needs 2 to 4 axes (x, y, z, t), got shape {shape}: save one volume or cine")
    dtype = file.get_data_dtype()
    expected = math.prod(shape) * max(dtype.itemsize, 4)
    if expected > _MAX_PIXEL_BYTES or file.dataobj.offset > _MAX_PIXEL_BYTES // 64 or min(shape) < 1:
        raise ReadingError(f"{path} needs 1 byte to 4 GiB of pixels, got shape {shape}: check its header or crop it")
    if dtype.kind not in "biuf":
        raise ReadingError(f"{path} needs real gray values, got {dtype}: save the magnitude, not RGB")
    unit = {1: 1000.0, 3: 0.001}.get(int(header["xyzt_units"]) & 7, 1.0)  # metres, micrometres; else mm
    zooms = [float(zoom) * unit for zoom in header["pixdim"][1:4]]
    own = (zooms[1], zooms[0])
    if spacing_mm is None:
        remedy = "correct the header or pass spacing_mm=(row, column)"
        spacing_mm = checked_spacing(own, f"{path}: pixdim", remedy)
    many = len(squeezed) > 2 and squeezed[2] > 1
    if many and not (math.isfinite(zooms[2]) and zooms[2] > 0):
        raise ReadingError(f"{path}: pixdim needs a positive slice distance in mm, got {zooms[2]}: correct the header")
    try:
        with quiet():
            trivial = file.dataobj.slope == 1 and file.dataobj.inter == 0
            values = file.dataobj.get_unscaled() if trivial else np.asarray(file.dataobj, np.float32)
    except Exception as error:  # see above; a cut gzip stream ends here
        kind = type(error).__name__
        raise ReadingError(f"{path} is damaged or truncated ({kind}): copy or convert it again") from None
    full = values.reshape(squeezed + (1,) * (4 - len(squeezed)))
    pixels = clean_pixels(full.transpose(3, 2, 1, 0), str(path))  # (x, y, z, t) -> (t, z, y, x)
    affine = _nifti_affine(file, unit, own, spacing_mm)
    return CMRImage(pixels, spacing_mm, zooms[2] if many else None, affine, str(path), "nifti", file_shape=shape)


def _nifti_affine(file: Any, unit: float, own: Spacing, spacing_mm: Spacing) -> np.ndarray | None:
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


def _read_folder(folder: Path, spacing_mm: Spacing) -> CMRImage:
    left_out: list[dict] = []
    headers = []
    for path in _files_below(folder):
        name = path.relative_to(folder).as_posix()
        try:
            headers.append(read_header(path, name, spacing_mm))
        except ReadingError as error:
            left_out.append({"file": name, "reason": str(error)})
    chosen = largest_stack(headers, folder, left_out)
    if len(chosen) * math.prod(chosen[0].matrix if chosen else ()) * 4 > _MAX_PIXEL_BYTES:
        raise ReadingError(f"{folder} needs at most 4 GiB of pixels, got {len(chosen)} files: pass one stack's folder")
    for one in chosen:
        try:
            one.pixels = decode(one)
        except ReadingError as error:
            left_out.append({"file": one.name, "reason": str(error)})
    chosen = [one for one in chosen if one.pixels is not None]
    if not chosen:
        reasons = "; ".join(item["reason"] for item in left_out[:5]) or "it is empty"
        raise ReadingError(
            f"{folder} needs at least one readable MR file, got none ({reasons}): pass a DICOM stack's folder"
        )
    grid, depths = arrange(chosen, folder, left_out)  # grid[z][t]
    spacing = chosen[0].spacing_mm
    distance = None
    if depths is not None and len(grid) > 1:
        gaps = np.diff(depths)
        distance = float(np.median(gaps))
        if np.abs(gaps - distance).max() > 0.1 * distance:
            warnings.warn(
                f"{folder}: slice distances vary from {gaps.min():.2f} to {gaps.max():.2f} mm, the median "
                f"{distance:.2f} mm is used: check whether slices are missing",
                stacklevel=4,
            )
    triggers = [[one.trigger_ms for one in phases] for phases in grid]
    known = all(None not in row and sorted(set(row)) == row for row in triggers)
    return CMRImage(
        pixels=np.stack([np.stack([phases[t].pixels for phases in grid]) for t in range(len(grid[0]))]),
        spacing_mm=spacing,
        slice_distance_mm=distance,
        affine=stack_affine([phases[0] for phases in grid], spacing),
        source=str(folder),
        kind="dicom",
        trigger_times_ms=tuple(float(time) for time in np.median(triggers, axis=0)) if known else None,
        left_out=left_out,
    )


def _files_below(folder: Path) -> list[Path]:
    """Every file that is not hidden, in a fixed order; links to folders are not followed."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return found
