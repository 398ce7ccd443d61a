"""Tags of one DICOM file, and of each frame of a multi-frame one, read without ever raising on damaged values.

A frame's tag is looked up in its own functional group, then in the shared one, then in the file itself
(DICOM PS3.3 C.7.6.16), so that single-frame files need no second code path.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .checking_cmr import ReadingError, file_head, quiet

try:
    import pydicom
except ImportError:
    pydicom = None

_DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_DEFLATED_BYTES = 4 * 1024**2  # zlib expands at most 1032 times: this keeps it near 4 GiB
_MAX_FRAMES = 20_000
_FIRST_TAGS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # group 2, group 8, and group 8 in big endian


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` may be DICOM; one without preamble when its first tag is."""
    return head[128:132] == b"DICM" or head[:2] in _FIRST_TAGS


def parse(path: Path, name: str, header_only: bool, tags: list | None = None) -> Any:
    """Parses one DICOM file into a pydicom data set, of its top level only `tags` where given.

    Raises:
        ReadingError: anything but a DICOM file.
    """
    if pydicom is None:
        raise ReadingError(f"{name} needs pydicom to be read: pip install pydicom")
    head = file_head(path, name)
    if not looks_like_dicom(head):
        raise ReadingError(
            f"{name} is not a DICOM file (nor .nii, .nii.gz, PNG, JPEG or zip): pass one of these or a numpy array"
        )
    try:
        with quiet():
            if os.stat(path).st_size > _MAX_DEFLATED_BYTES and _is_deflated(path, head):
                raise ReadingError(
                    f"{name} needs at most 4 MiB when deflated: inflate it (dcmconv --write-xfer-little)"
                )
            return pydicom.dcmread(path, force=True, stop_before_pixels=header_only, specific_tags=tags)
    except ReadingError:
        raise
    except Exception as error:  # pydicom raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{name} is damaged or truncated ({kind}): export or copy it again") from None


def _is_deflated(path: Path, head: bytes) -> bool:
    if head[128:132] == b"DICM":
        return pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED
    with open(path, "rb") as file:
        return _DEFLATED.encode() in file.read(1024**2)


def numbers(dataset: Any, keyword: str) -> tuple[float, ...] | None:
    """Values of one tag; None when absent or empty, (nan,) when they are not numbers."""
    try:
        value = dataset.get(keyword)
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        values = list(value) if several else [value]
        return None if value in (None, "") or not values else tuple(float(one) for one in values)
    except Exception:  # pydicom converts lazily, so any damaged value may raise here
        return (math.nan,)


def number(dataset: Any, keyword: str) -> float | None:
    """First value of one tag; None when absent or not a finite number."""
    values = numbers(dataset, keyword)
    return values[0] if values and math.isfinite(values[0]) else None


def text(dataset: Any, keyword: str) -> str:
    """A code string, several values joined by a backslash; only for tags that hold no patient data."""
    try:
        value = dataset.get(keyword)
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        return "" if value is None else ("\\".join(map(str, value)) if several else str(value))[:256]
    except Exception:  # see numbers
        return ""


def items(dataset: Any, keyword: Any) -> list:
    """Items of a sequence, given by keyword or tag; empty when absent or damaged."""
    try:
        value = dataset.get(keyword)
        value = getattr(value, "value", value)
        return [one for one in value if isinstance(one, pydicom.Dataset)] if isinstance(value, Sequence) else []
    except Exception:  # see numbers
        return []


class Frame:
    """One frame of a DICOM file: its own functional group, the shared one and the file's own tags."""

    def __init__(self, dataset: Any, index: int, groups: list):
        self.dataset = dataset
        self.index = index
        self.groups = groups

    def holder(self, keyword: str, *sequences: str) -> Any:
        """The data set that holds `keyword`: the first item of one of `sequences`, or the file itself."""
        for group in self.groups:
            for sequence in sequences:
                found = items(group, sequence)[:1]
                if found and keyword in found[0]:
                    return found[0]
        return self.dataset

    def numbers(self, keyword: str, *sequences: str) -> tuple[float, ...] | None:
        """See `numbers`, looked up like `holder`."""
        return numbers(self.holder(keyword, *sequences), keyword)

    def number(self, keyword: str, *sequences: str) -> float | None:
        """See `number`, looked up like `holder`."""
        return number(self.holder(keyword, *sequences), keyword)

    def text(self, keyword: str, *sequences: str) -> str:
        """See `text`, looked up like `holder`."""
        return text(self.holder(keyword, *sequences), keyword)

    def items(self, keyword: str) -> list:
        """Items of the nearest sequence that has any."""
        return next((found for group in [*self.groups, self.dataset] if (found := items(group, keyword))), [])

    @property
    def types(self) -> list[str]:
        """Values of FrameType or ImageType, in capitals."""
        kind = self.text("FrameType", "MRImageFrameTypeSequence") or text(self.dataset, "ImageType")
        return kind.upper().split("\\")

    @property
    def component(self) -> str:
        """What the pixels are: the third ImageType value, such as "M"; of enhanced frames with the contrast."""
        types = self.types + [""] * 4
        if not self.groups:
            return types[2]
        part = self.text("ComplexImageComponent", "MRImageFrameTypeSequence").upper()
        part = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}.get(part, part) or types[2]
        return part if types[3] in ("", "NONE") else f"{part}/{types[3]}"


def frames_of(dataset: Any, name: str) -> list[Frame]:
    """One `Frame` per frame of the file; a single-frame file has one."""
    count = int(number(dataset, "NumberOfFrames") or 1)
    if not 1 <= count <= _MAX_FRAMES:
        raise ReadingError(f"{name} needs 1 to {_MAX_FRAMES} frames, got {count}: check the export or split it")
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    if own and len(own) != count:
        raise ReadingError(
            f"{name} needs a functional group for each of its {count} frames, got {len(own)}: export it again"
        )
    return [Frame(dataset, index, own[index : index + 1] + shared) for index in range(count)]
