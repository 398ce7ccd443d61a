"""What kind of picture a DICOM file holds, by its header; and which files have no place in a set of heart images.

Words of descriptions are looked at, never kept: a description may hold anything.
"""

from __future__ import annotations

import re
from typing import Any

from ...hub.dicom_tags_cmr import number, text

CINE_PHASES = 8  # a series of as many moments is a cine, whatever it is called
_WORDS = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "ImageType")
_KINDS = {
    "other": r"scout|locali[sz]er|survey|\bloc\b|angio|\bmra\b|perfusion|\bperf\b|velocity|\bflow\b|phase.?contrast"
    r"|tagg|\bhaste\b|\bdb\b|black.?blood|\bt1w\b",
    "T1": r"molli|shmolli|sasha|\bt1.?map|t1_map|t1.?\*?.?native",
    "T2": r"\bt2\b|t2.?map|t2.?prep|t2.?\*|t2.?star|t2w|stir",
    "LGE": r"\blge\b|late.?enh|late.?gad|delayed|\bde.?(?:mri|ir|psir|sax|lax|\dch)|\bmde\b|psir|viab"
    r"|\bir.?(?:tfe|fgre)",
    "cine": r"cine|trufi|true.?fisp|ssfp|fiesta|\bb.?tfe|bal.?ffe|retro",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RAW = "1.2.840.10008.5.1.4.1.1.66"
_CLASSES = {_SPECTROSCOPY: "MR spectroscopy", _SECONDARY_CAPTURE: "a secondary capture", _RAW: "raw data"}
# body parts without the heart, as DICOM PS3.16 Annex L and scanners spell them
_ELSEWHERE = frozenset(
    "HEAD BRAIN SKULL NECK CSPINE TSPINE LSPINE SPINE PELVIS HIP KNEE LEG ANKLE FOOT SHOULDER ARM ELBOW WRIST HAND "
    "PROSTATE BREAST KIDNEY LIVER PANCREAS UTERUS EXTREMITY JAW ORBIT EAR EYE TMJ BLADDER".split()
)


def refusal(dataset: Any) -> str | None:
    """Why a file of Modality MR is no picture of a heart fit to be shared; `None` for one that is.

    Args:
        dataset: header as pydicom reads it.
    """
    storage = text(dataset, "SOPClassUID")
    for known, what in _CLASSES.items():
        if storage == known or storage.startswith(f"{known}."):
            return f"is {what}, not an MR image: leave it out"
    types = text(dataset, "ImageType").upper()
    if text(dataset, "BurnedInAnnotation").upper() == "YES" or re.search(r"SCREEN.?SAVE|CSA REPORT|SCREENSHOT", types):
        return "has text burned into its pixels, maybe a name: pass the original image"
    part = text(dataset, "BodyPartExamined").upper().strip()
    if part in _ELSEWHERE:
        return f"shows the body part {part}, not the heart: leave it out"
    return None


def series_kind(dataset: Any, phases: int) -> str | None:
    """Kind of a series, one of `cmr_hf.data.schema.IMAGE_TYPES`; `None` where the header does not say.

    Args:
        dataset: header of one of its files.
        phases (`int`): moments of the cardiac cycle at one slice position.
    """
    words = " ".join(text(dataset, name) for name in _WORDS).lower().replace("_", " ")
    found = next((kind for kind, pattern in _PATTERNS.items() if pattern.search(words)), None)
    if found is None and max(phases, number(dataset, "CardiacNumberOfImages") or 0) >= CINE_PHASES:
        return "cine"
    return found
