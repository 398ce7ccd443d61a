"""Checks and decodes one single-frame MR DICOM file; the rules that every reader shares.

Errors and results never hold patient data: readers that quote header values are silenced, their errors named
by type only. Geometry follows DICOM PS3.3 C.7.6.2 (Image Plane Module), values C.11.1 and C.7.6.16.2.11.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

try:
    import pydicom
except ImportError:
    pydicom = None

MAX_SIDE = 8192
_MAX_FILE_BYTES = 2 * 1024**3
_MAX_DEFLATED_BYTES = 4 * 1024**2  # zlib expands at most 1032 times: this keeps it near 4 GiB


class ReadingError(ValueError):
    """A source that cannot be read: the text names the file, what is required and the remedy."""


@dataclass
class DicomSlice:
    """One DICOM file: what places it in a stack. `frame` rows are the row, column and normal directions."""

    path: Path
    name: str
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    frame: np.ndarray | None
    origin_mm: np.ndarray | None
    location_mm: float | None
    series: str
    component: str
    trigger_ms: float | None
    percent: float | None
    instance: float | None
    pixels: np.ndarray | None = None


def checked_spacing(values: Any, what: str, remedy: str) -> tuple[float, float]:
    try:
        pair = () if isinstance(values, (str, bytes)) else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        pair = ()
    if len(pair) != 2 or not all(math.isfinite(value) and value > 0 for value in pair):
        raise ReadingError(f"{what} needs two positive numbers (row, column) in mm, got {pair or values!r}: {remedy}")
    return pair


def clean_pixels(array: np.ndarray, name: str) -> np.ndarray:
    """Integers keep their type, booleans become uint8, floats float32; other types and bad pixels raise."""
    if array.dtype.kind not in "biuf":
        raise ReadingError(f"{name} needs real numbers, got dtype {array.dtype}: convert it to float32 or int16")
    if array.size == 0:
        raise ReadingError(f"{name} needs at least one pixel, got shape {array.shape}: check how it was made")
    integer = array.dtype.newbyteorder("=")
    target = {"b": np.dtype(np.uint8), "f": np.dtype(np.float32)}.get(array.dtype.kind, integer)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=target)
    bad = array.size - int(np.count_nonzero(np.isfinite(array))) if target.kind == "f" else 0
    if bad:
        raise ReadingError(
            f"{name} needs finite pixels, got {bad} of {array.size} that are NaN or infinite: "
            "replace them, for example with np.nan_to_num, and pass the array"
        )
    return array


def file_head(path: Path, name: str) -> bytes:
    """First bytes of a regular file that is small enough to be read."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ReadingError(f"{name} needs to be a regular file: copy it to one")
        if status.st_size > _MAX_FILE_BYTES:
            size = status.st_size
            raise ReadingError(f"{name} needs at most 2 GiB, got {size} bytes: split it or pass an array")
        with open(path, "rb") as file:
            return file.read(1024)
    except OSError as error:
        kind = type(error).__name__
        raise ReadingError(f"{name} needs to be readable ({kind}): check its permissions") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences readers that quote header values, possibly patient data, in warnings and logs."""

    def refuse(record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in ("pydicom", "nibabel.global")]
    for logger in loggers:
        logger.addFilter(refuse)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(refuse)


def _parse(path: Path, name: str, header_only: bool) -> Any:
    """Parses one DICOM file; one without preamble passes when its first tag is DICOM's."""
    if pydicom is None:
        raise ReadingError(f"{name} needs pydicom to be read: pip install pydicom")
    head = file_head(path, name)
    if head[128:132] != b"DICM" and head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        raise ReadingError(
            f"{name} is not a DICOM file (nor .nii, .nii.gz, PNG or JPEG): pass one of these or a numpy array"
        )
    if b"1.2.840.10008.1.2.1.99" in head and os.stat(path).st_size > _MAX_DEFLATED_BYTES:
        raise ReadingError(f"{name} needs at most 4 MiB when deflated: inflate it (dcmconv --write-xfer-little)")
    try:
        with quiet():
            return pydicom.dcmread(path, force=True, stop_before_pixels=header_only)
    except Exception as error:  # pydicom raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{name} is damaged or truncated ({kind}): export or copy it again") from None


def _numbers(dataset: Any, keyword: str) -> tuple[float, ...] | None:
    """Values of one tag; None when absent or empty, (nan,) when they are not numbers."""
    try:
        with quiet():
            value = dataset.get(keyword)
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        items = list(value) if several else [value]
        return None if value in (None, "") or not items else tuple(float(item) for item in items)
    except Exception:  # pydicom converts lazily, so any damaged value may raise here
        return (math.nan,)


def _number(dataset: Any, keyword: str) -> float | None:
    values = _numbers(dataset, keyword)
    return values[0] if values and math.isfinite(values[0]) else None


def _text(dataset: Any, keyword: str) -> str:
    """A code string; only for tags that hold no patient data."""
    try:
        with quiet():
            value = dataset.get(keyword)
        return "" if value is None else str(value)[:64]
    except Exception:  # see _numbers
        return ""


def read_header(path: Path, name: str, spacing_mm: tuple[float, float] | None) -> DicomSlice:
    """Reads and checks everything but the pixels of a single-frame MR file (DICOM PS3.3 C.7.6.2, C.7.6.3)."""
    dataset = _parse(path, name, header_only=True)
    modality = _text(dataset, "Modality")
    if not modality and "Rows" not in dataset:
        raise ReadingError(f"{name} is not a DICOM image, or is truncated: export or copy it again")
    if modality != "MR":
        raise ReadingError(f"{name} needs Modality MR, got {modality[:16]!r}: pass an MR series")
    gray = _text(dataset, "PhotometricInterpretation") in ("", "MONOCHROME1", "MONOCHROME2")
    if (_number(dataset, "SamplesPerPixel") or 1) != 1 or not gray:
        raise ReadingError(f"{name} is an RGB or palette picture, not MR: pass the original gray series")
    if (_number(dataset, "NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in dataset:
        raise ReadingError(
            f"{name} is multi-frame (enhanced) DICOM, which is not read yet: convert it to single-frame "
            "files, for example with dcm4che's emf2sf"
        )
    types = _text(dataset, "ImageType").strip("[]").replace("'", "").upper().split(", ")
    if "MOSAIC" in types:
        raise ReadingError(f"{name} is a MOSAIC, many slices in one picture: export the slices one by one")
    matrix = (int(_number(dataset, "Rows") or 0), int(_number(dataset, "Columns") or 0))
    if not all(1 <= side <= MAX_SIDE for side in matrix):
        raise ReadingError(f"{name} needs 1 to {MAX_SIDE} Rows and Columns, got {matrix}: check the export")
    own = _numbers(dataset, "PixelSpacing")
    if spacing_mm is None and own is not None:
        remedy = "correct the header or pass spacing_mm=(row, column)"
        spacing_mm = checked_spacing(own, f"{name}: PixelSpacing", remedy)
    frame = _frame(_numbers(dataset, "ImageOrientationPatient"))
    origin = _numbers(dataset, "ImagePositionPatient")
    placed = frame is not None and origin is not None and len(origin) == 3 and np.isfinite(origin).all()
    return DicomSlice(
        path=path,
        name=name,
        matrix=matrix,
        spacing_mm=spacing_mm,
        frame=frame if placed else None,
        origin_mm=np.array(origin) if placed else None,
        location_mm=_number(dataset, "SliceLocation"),
        series=_text(dataset, "SeriesInstanceUID"),
        component=types[2] if len(types) > 2 else "",
        trigger_ms=_number(dataset, "TriggerTime"),
        percent=_number(dataset, "NominalPercentageOfCardiacPhase"),
        instance=_number(dataset, "InstanceNumber"),
    )


def decode(one: DicomSlice) -> np.ndarray:
    """Pixels (y, x): as stored, or float32 after a real-world mapping or a rescale that changes them.

    MONOCHROME1 is inverted within its stored range, so that bright is always high.
    """
    dataset = _parse(one.path, one.name, header_only=False)
    keys = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    data = next((key for key in keys if key in dataset), None)
    if data is None:
        raise ReadingError(f"{one.name} has no PixelData, or is truncated: export the image itself")
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if not syntax:  # no file meta header: pydicom has seen from the bytes which of the plain ones it is
        implicit, little = dataset.original_encoding
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax if little else pydicom.uid.ExplicitVRBigEndian
    compressed = syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated
    needed = math.prod(one.matrix) * int(_number(dataset, "BitsAllocated") or 16) // 8
    try:
        held = len(dataset[data].value or b"")
    except Exception as error:  # see _numbers
        kind = type(error).__name__
        raise ReadingError(f"{one.name} has damaged {data} ({kind}): export or copy it again") from None
    if not compressed and held < needed:
        raise ReadingError(
            f"{one.name} is truncated: needs {needed} bytes of pixels, got {held}: export or copy it again"
        )
    try:
        with quiet():
            stored = dataset.pixel_array
    except Exception as error:  # decoders raise many types
        remedy = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or run gdcmconv --raw on it"
        raise ReadingError(
            f"{one.name}: pixels stored as {syntax.name} cannot be decoded ({type(error).__name__}): "
            + (remedy if compressed else "export or copy it again")
        ) from None
    if stored.shape != one.matrix:
        raise ReadingError(f"{one.name} needs pixels of shape {one.matrix}, got {stored.shape}: export it again")
    if _text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        bits = int(_number(dataset, "BitsStored") or 16)
        stored = (-1 if _number(dataset, "PixelRepresentation") else 2**bits - 1) - stored.astype(np.int32)
    slope, intercept = _rescale(dataset)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope != 0):
        raise ReadingError(
            f"{one.name}: RescaleSlope and -Intercept need finite numbers, the slope not 0, got {slope} and "
            f"{intercept}: correct the header"
        )
    if (slope, intercept) != (1.0, 0.0):
        stored = (stored * np.float64(slope) + intercept).astype(np.float32)
    return clean_pixels(stored, one.name)


def _rescale(dataset: Any) -> tuple[float, float]:
    """Slope and intercept: of the only RealWorldValueMappingSequence item, else Rescale's."""
    try:
        with quiet():
            mappings = dataset.get("RealWorldValueMappingSequence") or []
    except Exception:  # see _numbers
        mappings = []
    if len(mappings) == 1 and "RealWorldValueSlope" in mappings[0]:
        names = mappings[0], "RealWorldValueSlope", "RealWorldValueIntercept"
    else:
        names = dataset, "RescaleSlope", "RescaleIntercept"
    slope, intercept = (_numbers(names[0], key) for key in names[1:])
    return (slope or (1.0,))[0], (intercept or (0.0,))[0]


def _frame(cosines: tuple[float, ...] | None) -> np.ndarray | None:
    """Orthonormal row, column and normal (3, 3) of ImageOrientationPatient; None when it is bogus."""
    if cosines is None or len(cosines) != 6 or not np.isfinite(cosines).all():
        return None
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.1:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)])
