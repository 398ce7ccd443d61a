"""What a shard knows of each image, and nothing else: no name, number, date, identifier or path can get in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..schema import DISEASES, IMAGE_TYPES, LGE, VIEWS
from ..splits import SIDES

if TYPE_CHECKING:
    import datasets

SIDE = 224  # pixels
SPACING_MM = 1.0
VOCABULARIES = {
    "series_kind": IMAGE_TYPES,
    "image_type": IMAGE_TYPES,
    "view": VIEWS,
    "disease": DISEASES,
    "lge": LGE,
    "side": SIDES,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_HASH = re.compile(r"[0-9a-f]{16,64}|")


@dataclass(frozen=True)
class Record:
    """What is kept of one image.

    Attributes:
        source (`str`): the data set's name, "acdc"; a word, not a path.
        source_hash (`str`): of the image's own pixel values before resampling, with their type and shape. It finds the
            same image again in another export; who does not have the image learns nothing from it.
        series_hash (`str`): the same over all images of one series or stack, so that neighbours can be found.
        spacing_mm (two `float`, *optional*): (row, column) of the source; `None` where it did not say and
            `CMRImageProcessor.default_spacing_mm` was assumed.
        slice_index, phase_index (`int`): place in the stack and in the cardiac cycle, from 0, as far as known.
        series_kind (`str`, *optional*): what the header says: one of `cmr_hf.data.schema.IMAGE_TYPES`.
        image_type, view, disease, lge (`str`, *optional*): labels that the data set brings, for probes.
        side (`str`, *optional*): "train", "validation" or "test".
        licence (`str`): the Hub's name of the source's licence.
    """

    source: str
    source_hash: str = ""
    series_hash: str = ""
    spacing_mm: tuple[float, float] | None = None
    slice_index: int = 0
    phase_index: int = 0
    series_kind: str | None = None
    image_type: str | None = None
    view: str | None = None
    disease: str | None = None
    lge: str | None = None
    side: str | None = None
    licence: str = "unknown"

    def __post_init__(self) -> None:
        for name in ("source", "licence"):
            if not _NAME.fullmatch(getattr(self, name)):
                raise ValueError(
                    f"`{name}` needs one word of letters, digits, '.', '_' and '-', got {getattr(self, name)!r}: "
                    "it stands beside every image, so it must not be a path or a person"
                )
        for name in ("source_hash", "series_hash"):
            if not _HASH.fullmatch(getattr(self, name)):
                raise ValueError(f"`{name}` needs 16 to 64 hexadecimal digits: use pixel_hash")
        for name, known in VOCABULARIES.items():
            if getattr(self, name) is not None and getattr(self, name) not in known:
                raise ValueError(f"`{name}` needs one of {known}, got {getattr(self, name)!r}: translate it first")

    def columns(self) -> dict[str, Any]:
        """Column → value, spacing as a list."""
        row = asdict(self)
        row["spacing_mm"] = None if self.spacing_mm is None else [float(value) for value in self.spacing_mm]
        return row


NAMES = tuple(one.name for one in fields(Record))


def pixel_hash(pixels: np.ndarray) -> str:
    """16 hexadecimal digits of the SHA-256 of an image's values, their type and shape."""
    head = f"{pixels.dtype.str} {pixels.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def joint_hash(hashes: list[str]) -> str:
    """One hash of several, in whatever order they come."""
    return hashlib.sha256(" ".join(sorted(hashes)).encode()).hexdigest()[:16]


def shard_features() -> datasets.Features:
    """The columns of a shard, as `datasets` and the Hub's viewer know them."""
    import datasets

    text, number = datasets.Value("string"), datasets.Value("int32")
    kinds: dict[str, Any] = dict.fromkeys(NAMES, text)
    kinds |= {"slice_index": number, "phase_index": number, "spacing_mm": datasets.List(datasets.Value("float64"))}
    return datasets.Features({"image": datasets.Image(), **kinds})
