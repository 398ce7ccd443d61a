"""Takes in what was uploaded: refuses what is not safe, keeps a copy without identity, deletes the rest.

A folder of a session holds afterwards either `dicom/00001.dcm …` or `image.npz` (pixels of one NIfTI file or picture),
and `received.json`. Names of files are in none of them.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cmr_hf.hub.checking_cmr import ReadingError, file_head, files_below
from cmr_hf.hub.dicom_tags_cmr import looks_like_dicom
from cmr_hf.hub.reading_cmr import read_image
from cmr_hf.hub.unpacking_cmr import unpacked

from .deidentifying import Deidentifier

MOST_FILES = 6000
MOST_BYTES = 2 * 1024**3
MOST_PIXELS = 256 * 1024**2  # of one NIfTI file: a cine of 512 x 512, 20 slices and 50 phases
DICOM, NIFTI, PICTURE = "DICOM", "NIfTI", "picture"
TAKEN = "a DICOM study (zip or files), one NIfTI file (.nii, .nii.gz) or one grey picture (PNG, JPEG)"
PICKLE = "a pickle (.pkl, .pt, .npy …) can run a program when it is opened, so it never is: export DICOM, NIfTI or PNG"
NOT_AN_IMAGE = "not a DICOM, NIfTI, PNG or JPEG file"
INDEX = "an index of files (DICOMDIR): its files are read without it"
_PICKLE_NAMES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".joblib")
_PICKLE_HEAD = re.compile(rb"\x80[\x02-\x05]|\x93NUMPY")
_DICOMDIR_CLASS = b"1.2.840.10008.1.3.10"
_OTHER_ARCHIVES = {b"\x1f\x8b": "a gzip archive", b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive", b"BZh": "a "
                   "bzip2 archive", b"\xfd7zX": "an xz archive"}  # fmt: skip


@dataclass
class Received:
    """What a session holds.

    Attributes:
        kind (`str`): "DICOM", "NIfTI" or "picture".
        files (`int`): that were handed in, entries of zips counted.
        used (`int`): of them, kept.
        left_out (dict of `str` to `int`): reason → files.
        has_spacing (`bool`): the distance of pixels is known.
    """

    kind: str
    files: int
    used: int
    left_out: dict[str, int] = field(default_factory=dict)
    has_spacing: bool = True

    def save(self, folder: Path) -> None:
        """Writes `received.json`."""
        (folder / "received.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Received":
        """Reads it."""
        return cls(**json.loads((folder / "received.json").read_text(encoding="utf-8")))


def receive(uploads: Sequence[Path], folder: Path, discard: Callable[[Path], None] = lambda path: None) -> Received:
    """Fills a session's private folder.

    Args:
        uploads (list of `Path`): as they were uploaded, zips among them.
        folder (`Path`): empty.
        discard: called with each upload when it is no longer needed, and with all of them if they are refused.

    Raises:
        ReadingError: nothing in it can be used, or it must not be opened; the text says what to do and names no file.
    """
    try:
        with ExitStack() as stack:
            return _received(_opened(uploads, stack), folder)
    finally:
        for upload in uploads:
            discard(upload)


def _received(found: tuple[list[Path], Counter], folder: Path) -> Received:
    files, left_out = found
    total = len(files) + sum(left_out.values())
    kinds: dict[str, list[Path]] = {DICOM: [], NIFTI: [], PICTURE: []}
    for file in files:
        kind, reason = kind_of(file)
        if kind:
            kinds[kind].append(file)
        else:
            left_out[reason] += 1
    if kinds[DICOM]:
        for kind in (NIFTI, PICTURE):
            left_out[f"a {kind} file beside DICOM: hand it in by itself"] += len(kinds[kind])
        made = _dicom(kinds[DICOM], folder, left_out)
    else:
        made = _single(kinds, folder, left_out)
    made.files = total
    made.left_out = {reason: count for reason, count in left_out.items() if count}
    made.save(folder)
    return made


def _opened(uploads: Sequence[Path], stack: ExitStack) -> tuple[list[Path], Counter]:
    """All files, those of zips unpacked, and what was left out of zips."""
    if not uploads:
        raise ReadingError(f"Nothing was uploaded. Hand in {TAKEN}.")
    size = sum(path.stat().st_size for path in uploads)
    if size > MOST_BYTES:
        raise ReadingError(
            f"This is {size / 1024**3:.1f} GiB; this page takes 2 GiB. Hand in the short-axis cine alone, or run "
            "`cmr-hf assess` on your own machine, which has no limit."
        )
    files: list[Path] = []
    left_out: Counter = Counter()
    for path in uploads:
        if file_head(path, "the file").startswith(b"PK\x03\x04") and path.suffix.lower() not in _PICKLE_NAMES:
            inside, skipped = stack.enter_context(unpacked(path, "The zip"))
            files += files_below(inside)
            left_out.update(entry["reason"] for entry in skipped)
        elif path.suffix.lower() == ".zip":
            raise ReadingError("The zip is empty or damaged: pack it again, or hand in its files.")
        else:
            files.append(path)
        if len(files) > MOST_FILES:
            raise ReadingError(
                f"There are more than {MOST_FILES} files in it. Hand in the series that matter, the short-axis cine "
                "first, or run `cmr-hf assess` on your own machine, which has no limit."
            )
    return files, left_out


def kind_of(file: Path) -> tuple[str, str]:
    """ "DICOM", "NIfTI" or "picture", else "" and the reason why it is none of them; by content before name."""
    head, name = file_head(file, "a file"), file.name.lower()
    if looks_like_dicom(head) and not head.startswith(b"\x80"):
        if name == "dicomdir" or _DICOMDIR_CLASS in head:
            return "", INDEX
        return DICOM, ""
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return PICTURE, ""
    if name.endswith((".nii", ".nii.gz")):
        return NIFTI, ""
    if _PICKLE_HEAD.match(head) or name.endswith(_PICKLE_NAMES):
        return "", PICKLE
    for start, what in _OTHER_ARCHIVES.items():
        if head.startswith(start):
            return "", f"{what}: pack the study as a zip"
    return "", NOT_AN_IMAGE if head else "an empty file"


def _dicom(files: Iterable[Path], folder: Path, left_out: Counter) -> Received:
    target = folder / "dicom"
    target.mkdir()
    copier, used = Deidentifier(), 0
    for file in files:
        try:
            copier.copy(file, target / f"{used + 1:05d}.dcm")
            used += 1
        except ReadingError as error:
            left_out[str(error).removeprefix("a file ")] += 1
    if not used:
        raise ReadingError(f"No DICOM file in it can be read: {_reasons(left_out)}")
    return Received(DICOM, 0, used)


def _single(kinds: dict[str, list[Path]], folder: Path, left_out: Counter) -> Received:
    found = [(kind, file) for kind in (NIFTI, PICTURE) for file in kinds[kind]]
    if not found:
        raise ReadingError(f"There is nothing to read in it: {_reasons(left_out)}\nThis page takes {TAKEN}.")
    if len(found) > 1:
        raise ReadingError(
            f"There are {len(found)} NIfTI files and pictures in it, and nothing tells how they belong together: hand "
            "in one, a cine as one file with four axes (x, y, z, t)."
        )
    kind, file = found[0]
    try:
        image = read_image(file)
    except ReadingError as error:
        raise ReadingError(_unnamed(str(error), file)) from None
    if image.pixels.size > MOST_PIXELS:
        raise ReadingError(f"It has {image.pixels.size / 1e6:.0f} million pixels, {MOST_PIXELS / 1e6:.0f} are taken.")
    array = image.pixels.reshape((1,) * (4 - image.pixels.ndim) + image.pixels.shape)
    about = {
        "spacing_mm": np.array(image.spacing_mm or (np.nan, np.nan)),
        "slice_distance_mm": np.array(image.slice_distance_mm or np.nan),
        "affine": np.full((4, 4), np.nan) if image.affine is None else image.affine,
    }
    np.savez(folder / "image.npz", pixels=array, **about)
    return Received(kind, 0, 1, has_spacing=image.spacing_mm is not None)


def _unnamed(text: str, file: Path) -> str:
    return text.replace(str(file), "The file").replace(file.name, "The file")


def _reasons(left_out: Counter) -> str:
    told = [f"{count} × {reason}" if count > 1 else reason for reason, count in left_out.most_common(4) if count]
    return "; ".join(told) + "."
