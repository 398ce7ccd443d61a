"""Reads one cardiac MR picture, file or stack into pixels and their geometry.

    image = read_image("study/sax_folder")          # DICOM, over slices and phases
    image = read_image("patient001_frame01.nii.gz")
    image = read_image("study.zip")
    image = read_image(array, spacing_mm=(1.4, 1.4))

Files come as `(t, z, y, x)`, arrays and pictures keep their shape. Patient space is LPS in mm, pixel (0, 0)
is a centre (DICOM PS3.3 C.7.6.2, Image Plane Module). Headers give no patient data, nothing is unpickled.
"""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .checking_cmr import MAX_SIDE, ReadingError, Spacing, checked_spacing, clean_pixels, file_head, files_below
from .dicom_stack_cmr import read_dicom, read_dicom_files
from .dicom_tags_cmr import looks_like_dicom
from .dicomdir_cmr import find_dicomdir, referenced_files
from .fetching_cmr import fetched, is_url
from .image_cmr import CMRImage
from .nifti_cmr import read_nifti
from .unpacking_cmr import unpacked

try:
    from PIL import Image
except ImportError:
    Image = None

_ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")  # with entries, and empty
_DICOMDIR_CLASS = b"\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10"  # in the file meta information


def read_image(source: Any, spacing_mm: Any = None) -> CMRImage:
    """Reads one image.

    Args:
        source: one of
            - path of a DICOM file, single-frame or multi-frame (enhanced), compressed or not;
            - path of a folder that holds one DICOM stack, maybe over phases, in any mixture of such files; of a
              DICOMDIR, or of the folder that it lies in: then only the files that it names are read;
            - path of a NIfTI file (2-D to 4-D), of a PNG or JPEG;
            - path of a zip that holds one DICOM stack, or one NIfTI, PNG or JPEG file;
            - http:// or https:// address of any such file: at most 2 GiB, within 10 minutes, not from a private
              network unless the environment variable CMR_HF_PRIVATE_URLS is 1, never when HF_HUB_OFFLINE is set;
            - a numpy array or torch tensor of shape (y, x), (z, y, x) or (t, z, y, x) (a third axis is always
              slices, never channels), or a PIL image;
            - a `CMRImage`, which comes back as it is;
            - {"image": any of these, "spacing_mm": (row, column)}.
        spacing_mm: pixel distance (row, column) in mm, used instead of the header's.

    Returns:
        The image. `pixels` may share memory with an array that was handed in.

    Raises:
        ReadingError: the source cannot be read as one gray MR image; the text holds no patient data and no
            query of an address.
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
    if is_url(source):
        return _read_url(source, spacing_mm)
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
        return _read_folder(path, str(path), spacing_mm, [])
    if path.name.upper() == "DICOMDIR":
        return _read_dicomdir(path, str(path), str(path), spacing_mm, [])
    return _read_file(path, str(path), spacing_mm)


def _read_url(url: str, spacing_mm: Spacing) -> CMRImage:
    with fetched(url) as (path, name):
        return _left_nowhere(_read_file(path, name, spacing_mm))


def _left_nowhere(image: CMRImage) -> CMRImage:
    """An image whose file is gone: nobody may open it again to copy its header."""
    return replace(image, kind="array") if image.kind == "nifti" else image


def _kind_of(head: bytes, name: str) -> str:
    """One of "dicomdir", "dicom", "zip", "picture" and "nifti", else ""."""
    lower = name.lower()
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")) or lower.endswith((".png", ".jpg", ".jpeg")):
        return "picture"
    if looks_like_dicom(head):
        return "dicomdir" if _DICOMDIR_CLASS in head else "dicom"
    if head.startswith(_ZIP_HEADS):
        return "zip"
    return "nifti" if lower.endswith((".nii", ".nii.gz")) else ""


def _read_file(path: Path, name: str, spacing_mm: Spacing) -> CMRImage:
    """Reads a file by what it is; `name` is what errors and `source` call it."""
    kind = _kind_of(file_head(path, name), path.name if path.suffix else name)
    if kind == "picture":
        return _read_picture(path, name, spacing_mm)
    if kind == "nifti":
        return read_nifti(path, name, spacing_mm)
    if kind == "zip":
        return _read_zip(path, name, spacing_mm)
    if kind == "dicomdir":
        return _read_dicomdir(path, name, name, spacing_mm, [])
    return read_dicom(path, name, spacing_mm)


def _read_folder(folder: Path, name: str, spacing_mm: Spacing, left_out: list[dict]) -> CMRImage:
    dicomdir = find_dicomdir(folder)
    if dicomdir is not None:
        return _read_dicomdir(dicomdir, f"{name}/{dicomdir.name}", name, spacing_mm, left_out)
    files = [(path, path.relative_to(folder).as_posix()) for path in files_below(folder)]
    return read_dicom_files(files, name, spacing_mm, left_out)


def _read_dicomdir(dicomdir: Path, name: str, source: str, spacing_mm: Spacing, left_out: list[dict]) -> CMRImage:
    files, missing = referenced_files(dicomdir, name)
    return read_dicom_files(files, source, spacing_mm, left_out + missing)


def _read_zip(path: Path, name: str, spacing_mm: Spacing) -> CMRImage:
    """One DICOM stack, else the only NIfTI file or picture of a zip."""
    with unpacked(path, name) as (folder, left_out):
        files = {file: file.relative_to(folder).as_posix() for file in files_below(folder)}
        kinds = {file: _kind_of(file_head(file, inner), inner) for file, inner in files.items()}
        single = [file for file, kind in kinds.items() if kind in ("nifti", "picture")]
        if "dicom" in kinds.values() or "dicomdir" in kinds.values() or not single:
            return _read_folder(folder, name, spacing_mm, left_out)
        if len(single) > 1:
            raise ReadingError(
                f"{name} needs one DICOM stack or one NIfTI, PNG or JPEG file, got {len(single)} of these: pass them "
                "one by one"
            )
        image = _read_file(single[0], f"{name}/{files[single[0]]}", spacing_mm)
        rest = [{"file": files[file], "reason": "not an image"} for file in files if file != single[0]]
        return _left_nowhere(replace(image, source=name, left_out=left_out + rest))


def _read_picture(path: Path, name: str, spacing_mm: Spacing) -> CMRImage:
    if Image is None:
        raise ReadingError(f"{name} needs Pillow to be read: pip install pillow")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; _gray_pixels refuses such sizes
            picture = Image.open(path, formats=("PNG", "JPEG"))
    except Exception as error:  # Pillow raises many types on damaged bytes, SyntaxError among them
        kind = type(error).__name__
        raise ReadingError(f"{name} needs to be a PNG or JPEG ({kind}): export it again") from None
    with picture:
        return CMRImage(_gray_pixels(picture, name), spacing_mm, None, None, name, "picture")


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
