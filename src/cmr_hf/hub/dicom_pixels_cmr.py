"""Decodes the pixels of DICOM files, compressed or not, each file once.

| transfer syntax               | package that decodes it                          |
|-------------------------------|--------------------------------------------------|
| uncompressed, deflated, RLE   | pydicom                                          |
| JPEG baseline                 | pillow                                           |
| JPEG lossless, JPEG-LS        | python-gdcm                                      |
| JPEG 2000, HTJ2K              | pylibjpeg with pylibjpeg-openjpeg                |
| JPEG extended (12 bit, lossy) | pylibjpeg with pylibjpeg-libjpeg (GPL: not ours) |

All but the last come with the installation, under permissive licences.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .checking_cmr import ReadingError, quiet
from .dicom_slice_cmr import DicomSlice
from .dicom_tags_cmr import frames_of, number, parse
from .dicom_values_cmr import real_values
from .jpeg_cmr import has_sound_header

try:
    import pydicom
except ImportError:
    pydicom = None

_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_JPEG = "1.2.840.10008.1.2.4."
# transfer syntax -> the packages that decode it, and the plug-in's name in pydicom (None: any)
_DECODERS = {
    _JPEG + "50": ("pillow", "pillow"),
    _JPEG + "51": ("pylibjpeg pylibjpeg-libjpeg (under the GPL)", None),
    _JPEG + "57": ("python-gdcm", "gdcm"),
    _JPEG + "70": ("python-gdcm", "gdcm"),
    _JPEG + "80": ("python-gdcm", "gdcm"),
    _JPEG + "81": ("python-gdcm", "gdcm"),
    **{_JPEG + last: ("pylibjpeg pylibjpeg-openjpeg", "pylibjpeg") for last in ("90", "91", "201", "202", "203")},
    "1.2.840.10008.1.2.5": ("pydicom", "pydicom"),
}


def decode(slices: list[DicomSlice], name: str) -> None:
    """Gives the slices of one file their `pixels` (y, x); see `real_values` for what the numbers are.

    Args:
        slices: frames of the same file, any subset.
        name: what errors call the file.

    Raises:
        ReadingError: pixels are absent, truncated, damaged, or stored in a way that no installed package reads.
    """
    dataset = parse(slices[0].path, name, header_only=False)
    with quiet():
        frames = frames_of(dataset, name)
        shape = (len(frames), *slices[0].matrix)
        stored = _stored_pixels(dataset, shape, name)
        for one in slices:
            one.pixels = real_values(stored[one.index], frames[one.index], one.name)


def _stored_pixels(dataset: Any, shape: tuple[int, int, int], name: str) -> np.ndarray:
    """Numbers as stored (frames, y, x)."""
    keyword = next((key for key in _PIXEL_KEYWORDS if key in dataset), None)
    if keyword is None:
        raise ReadingError(f"{name} has no PixelData, or is truncated: export the image itself")
    syntax = _transfer_syntax(dataset)
    compressed = syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated
    needed = math.prod(shape) * int(number(dataset, "BitsAllocated") or 16) // 8
    try:
        held = len(dataset[keyword].value or b"")
    except Exception as error:  # pydicom converts lazily, so any damaged value may raise here
        kind = type(error).__name__
        raise ReadingError(f"{name} has damaged {keyword} ({kind}): export or copy it again") from None
    if not compressed and held < needed:
        raise ReadingError(f"{name} is truncated: needs {needed} bytes of pixels, got {held}: export or copy it again")
    packages, plugin = _DECODERS.get(str(syntax), ("", None))
    if compressed and not _all_sound(dataset, syntax, shape):
        raise ReadingError(
            f"{name}: pixels stored as {_shown(syntax)} are damaged, or not of the size in the header: export or copy "
            "it again"
        )
    try:
        stored = pydicom.pixels.pixel_array(dataset, raw=True, decoding_plugin=plugin or "")
    except Exception as error:  # decoders raise many types
        remedy = f"pip install {packages}, or " if packages else ""
        raise ReadingError(
            f"{name}: pixels stored as {_shown(syntax)} cannot be decoded ({type(error).__name__}): "
            + (
                f"{remedy}decompress it (gdcmconv --raw) or export it again"
                if compressed
                else "export or copy it again"
            )
        ) from None
    if stored.shape not in (shape, shape[1:] if shape[0] == 1 else shape):
        wanted = shape if shape[0] > 1 else shape[1:]
        raise ReadingError(f"{name} needs pixels of shape {wanted}, got {stored.shape}: export it again")
    return stored.reshape(shape)


def _all_sound(dataset: Any, syntax: Any, shape: tuple[int, int, int]) -> bool:
    """Whether the decoders can be given these streams; see `has_sound_header`."""
    allocated, stored, sign = (number(dataset, key) for key in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    if allocated is None or stored is None or not 1 <= stored <= allocated or sign not in (0, 1):
        return False
    try:
        streams = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=shape[0]))
    except Exception:  # pydicom raises many types on damaged bytes
        return False
    sound = (has_sound_header(stream, str(syntax), *shape[1:], int(allocated)) for stream in streams)
    return len(streams) == shape[0] and all(sound)


def _shown(syntax: Any) -> str:
    """Its name; a damaged file may hold anything here, a patient's name too."""
    known = syntax in pydicom.uid.AllTransferSyntaxes
    return syntax.name if known else "an unknown transfer syntax"


def _transfer_syntax(dataset: Any) -> Any:
    """The file's transfer syntax; without one, the plain one that pydicom has seen from the bytes."""
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        syntax = syntax if little else pydicom.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return pydicom.uid.UID(str(syntax))  # of a damaged file it may be any string
