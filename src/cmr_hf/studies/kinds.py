"""Which objects of a study are no gray MR image, and what they are: reports, captures, waveforms, other modalities."""

from __future__ import annotations

from typing import Any

from ..hub.dicom_tags_cmr import number, text

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_MR = {"4", "4.1", "4.4"}  # MR, enhanced MR, legacy converted enhanced MR
# SOP class below _STORAGE -> what it is; the longest beginning counts
_KINDS = {
    "4.2": "MR spectroscopy, not an image",
    "4.3": "a colour MR picture",
    "7": "a secondary capture, such as a screenshot",
    "9": "a waveform, such as an ECG",
    "11": "a presentation state: how to show other images",
    "66": "raw data or a registration, not an image",
    "66.4": "a segmentation",
    "66.5": "a surface segmentation",
    "67": "a real world value map for other images",
    "77": "a photograph or a video",
    "88": "a structured report",
    "88.59": "a selection of key images",
    "104": "an encapsulated document",
    "481": "a radiotherapy object",
}
_MODALITIES = {
    "CR": "radiograph", "CT": "computed tomography", "DX": "radiograph", "ECG": "ECG", "ES": "endoscopy",
    "MG": "mammogram", "NM": "nuclear medicine", "OT": "other", "PT": "positron emission tomography",
    "RF": "fluoroscopy", "US": "ultrasound", "XA": "angiography",
}  # fmt: skip
_SCREENS = ("SCREEN SAVE", "SCREENSHOT", "SCREEN_SAVE", "SCREEN CAPTURE")


def reason_not_used(dataset: Any) -> str:
    """Why an object is listed only; "" for what may be a gray MR image.

    Args:
        dataset (`pydicom.Dataset`): its header.
    """
    if "DirectoryRecordSequence" in dataset:
        return "an index of files (DICOMDIR)"
    sop_class = text(dataset, "SOPClassUID").strip(" \0")
    own = sop_class.removeprefix(_STORAGE) if sop_class.startswith(_STORAGE) else ""
    parts = own.split(".") if own else []
    beginnings = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    if own not in _MR and (kind := next((_KINDS[one] for one in beginnings if one in _KINDS), None)):
        return kind
    modality = text(dataset, "Modality").strip().upper()
    if modality and modality != "MR":
        return f"another modality: {_MODALITIES.get(modality, 'none of the usual ones')}"
    if "Rows" not in dataset:
        return "no image, or truncated before its pixels"
    if not modality and own not in _MR:
        return "an image that does not say that it is MR: its modality and class are missing"
    if any(screen in text(dataset, "ImageType").upper() for screen in _SCREENS):
        return "a screenshot"
    gray = text(dataset, "PhotometricInterpretation") in ("", "MONOCHROME1", "MONOCHROME2")
    if (number(dataset, "SamplesPerPixel") or 1) != 1 or not gray:
        return "a colour picture, such as a colour map"
    return ""
