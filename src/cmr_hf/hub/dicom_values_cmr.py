"""Stored DICOM numbers -> the numbers they stand for, frame by frame.

1. A RealWorldValueMappingSequence is applied to the stored numbers, instead of everything below (DICOM PS3.3
   C.7.6.16.2.11). Of several items only those in ms (UCUM) count, if there are any, so that a T1 or T2 map is
   in ms; of these the first that covers all stored values is taken, else the first linear one. A line is
   continued beyond the values it was written for, a table (LUT data) never is.
2. Philips magnitude images without a mapping become floating point values, comparable between frames and
   dynamics: (stored * RescaleSlope + RescaleIntercept) / (RescaleSlope * ScaleSlope), where ScaleSlope is
   (2005,xx0E) of the private creator "Philips MR Imaging DD 001" (Chenevert et al., Transl Oncol 2014). The scale
   intercept (2005,xx0D) has no part in it. Maps, phase images and any RescaleType with a unit keep rule 3: there
   the rescale alone gives ms, and the scale slope would destroy it.
3. Else RescaleSlope and RescaleIntercept, of PixelValueTransformationSequence or of the file.

MONOCHROME1 is inverted within its stored range under rules 2 and 3, so that bright is always high; under rule 1
it says how to show, not what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .checking_cmr import ReadingError, clean_pixels
from .dicom_tags_cmr import Frame, items, number, numbers, text

_TRANSFORMATION = "PixelValueTransformationSequence"
_PHILIPS_SCALES = "Philips MR Imaging DD 001"
_PHILIPS_FRAMES = "Philips MR Imaging DD 005"


def real_values(stored: np.ndarray, frame: Frame, name: str) -> np.ndarray:
    """Values of one frame.

    Args:
        stored (np.ndarray of shape (y, x)): the numbers of the file, integer or floating point.
        frame: its tags.
        name: what errors call it.

    Returns:
        The values (y, x): as stored where no rule changes them, else float32.

    Raises:
        ReadingError: the mapping or rescale is damaged, or values are not finite.
    """
    mappings = [item for item in frame.items("RealWorldValueMappingSequence") if _is_mapping(item)]
    if mappings:
        return clean_pixels(_mapped(stored, mappings, name), name)
    if text(frame.dataset, "PhotometricInterpretation") == "MONOCHROME1" and stored.dtype.kind in "iu":
        bits = min(int(number(frame.dataset, "BitsStored") or 16), 32)
        top = -1 if number(frame.dataset, "PixelRepresentation") else 2**bits - 1
        stored = top - stored.astype(np.int32 if bits <= 16 else np.int64)
    slope = (frame.numbers("RescaleSlope", _TRANSFORMATION) or (1.0,))[0]
    intercept = (frame.numbers("RescaleIntercept", _TRANSFORMATION) or (0.0,))[0]
    _check_line(slope, intercept, f"{name}: RescaleSlope and -Intercept")
    scale = _philips_scale_slope(frame) if _is_weighted(frame) else None
    if scale is not None:
        slope, intercept = 1 / scale, intercept / (slope * scale)
        _check_line(slope, intercept, f"{name}: Philips' scale slope (2005,100E)")
    return clean_pixels(_line(stored, slope, intercept), name)


def _check_line(slope: float, intercept: float, what: str) -> None:
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope != 0):
        raise ReadingError(
            f"{what} need finite numbers, the slope not 0, got {slope} and {intercept}: correct the header"
        )


def _line(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if (slope, intercept) == (1.0, 0.0):
        return stored
    with np.errstate(over="ignore", invalid="ignore"):  # clean_pixels refuses what overflows
        return (stored * np.float64(slope) + intercept).astype(np.float32)


def _is_mapping(item: Any) -> bool:
    return "RealWorldValueSlope" in item or "RealWorldValueLUTData" in item


def _mapped(stored: np.ndarray, mappings: list, name: str) -> np.ndarray:
    """Values after the item that rule 1 of the module chooses."""
    low, high = float(stored.min()), float(stored.max())
    mappings = [item for item in mappings if _unit(item) == "ms"] or mappings
    covering = [item for item in mappings if _range(item)[0] <= low and high <= _range(item)[1]]
    linear = [item for item in mappings if "RealWorldValueSlope" in item]
    chosen = next(iter(covering + linear), None)
    if chosen is None:
        raise ReadingError(
            f"{name}: RealWorldValueLUTData needs to cover the stored values {low:g} to {high:g}, got a table of "
            f"{_range(mappings[0])}: correct the header"
        )
    if "RealWorldValueSlope" in chosen:
        slope = (numbers(chosen, "RealWorldValueSlope") or (math.nan,))[0]
        intercept = (numbers(chosen, "RealWorldValueIntercept") or (0.0,))[0]
        _check_line(slope, intercept, f"{name}: RealWorldValueSlope and -Intercept")
        return _line(stored, slope, intercept)
    table = np.array(numbers(chosen, "RealWorldValueLUTData"))
    first, last = _range(chosen)
    if len(table) != last - first + 1 or stored.dtype.kind == "f":
        raise ReadingError(
            f"{name}: RealWorldValueLUTData needs {last - first + 1:g} entries for integer pixels, one per value "
            f"mapped, got {len(table)} for {stored.dtype}: correct the header"
        )
    with np.errstate(over="ignore"):
        return table.astype(np.float32)[stored.astype(np.int64) - int(first)]


def _unit(item: Any) -> str:
    code = items(item, "MeasurementUnitsCodeSequence")[:1]
    return text(code[0], "CodeValue") if code and text(code[0], "CodingSchemeDesignator") == "UCUM" else ""


def _range(item: Any) -> tuple[float, float]:
    """First and last stored value that an item maps; unbounded when it does not say, empty when damaged."""
    ends = []
    for which, default in (("First", -math.inf), ("Last", math.inf)):
        tags = (f"RealWorldValue{which}ValueMapped", f"DoubleFloatRealWorldValue{which}ValueMapped")
        found = next((values[0] for tag in tags if (values := numbers(item, tag))), None)
        ends.append(default if found is None and "RealWorldValueSlope" in item else found)
    bounded = None not in ends and ends[0] <= ends[1]  # False for NaN too
    return (ends[0], ends[1]) if bounded else (math.inf, -math.inf)


def _is_weighted(frame: Frame) -> bool:
    """A magnitude image in arbitrary units: no map, no phase, no unit."""
    magnitude = frame.component in ("M", "MAGNITUDE") or frame.component.startswith("M_")
    mapped = any("MAP" in kind or kind in ("T1", "T2", "T2_STAR", "R1", "R2", "R2_STAR") for kind in frame.types)
    unit = frame.text("RescaleType", _TRANSFORMATION).upper()
    return magnitude and not mapped and unit in ("", "US", "NORMALIZED")


def _philips_scale_slope(frame: Frame) -> float | None:
    """ScaleSlope of Philips' private block: of the frame's private group (enhanced), else of the file."""
    holders = []
    for group in frame.groups:
        found = _private(group, _PHILIPS_FRAMES, 0x0F)
        holders += list(found)[:1] if isinstance(found, Sequence) else []
    found = [_private(holder, _PHILIPS_SCALES, 0x0E) for holder in [*holders, frame.dataset]]
    scale = next((scale for scale in found if scale is not None), None)
    return float(scale) if isinstance(scale, (int, float)) and scale != 0 else None


def _private(dataset: Any, creator: str, offset: int) -> Any:
    """Value of a tag of group 2005 under its private creator; None when the creator or the tag is absent."""
    try:
        return dataset.private_block(0x2005, creator)[offset].value
    except Exception:  # KeyError when absent; damaged values raise many types
        return None
