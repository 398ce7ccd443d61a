"""Files that leave the program: masks on the source's own grid, and measures as JSON.

Nothing of a header's free text, names, dates or identifiers is written: a mask carries geometry only, and
measures carry numbers only. Names of output files are the caller's.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..hub.reading_cmr import restore_axes
from .colours import rgb_of

if TYPE_CHECKING:
    from ..hub.reading_cmr import CMRImage

RESEARCH_USE_ONLY = "Research use only; not a medical device."
# DICOM's patient space points to the left and back (LPS), NIfTI's to the right and front (RAS)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_mask(result: Mapping[str, Any], image: "CMRImage", stem: str | Path) -> Path:
    """Write the label map in the form that fits its source: `<stem>_mask.png` or `<stem>_mask.nii.gz`."""
    if image.kind == "picture":
        return write_picture_mask(result["segmentation"], f"{stem}_mask.png")
    return write_nifti_mask(result, image, f"{stem}_mask.nii.gz")


def write_nifti_mask(result: Mapping[str, Any], image: "CMRImage", path: str | Path) -> Path:
    """Write a label map as NIfTI on the grid of its source, in the source's own axis order.

    A NIfTI source gives shape, rank and geometry (sform, qform, zooms) exactly as in that file, so that
    viewers lay the mask over it. A DICOM source gives (x, y, z, t) with its affine turned from LPS to RAS;
    an array without an affine gets its spacing only, and codes that say that the position is unknown.

    Args:
        result: what the segmentation pipeline returned.
        image: the image it was made from.
        path: file to write, `.nii` or `.nii.gz`.

    Returns:
        The path written.
    """
    nib = _nibabel()
    path = Path(path)
    labels = np.asarray(result["segmentation"], dtype=np.uint8)
    if image.kind == "nifti":
        # labels were made from this very file: its geometry is copied, not computed again
        source = nib.load(image.source)
        labels = np.ascontiguousarray(restore_axes(labels, image)).astype(np.uint8)
        if labels.shape != source.shape:
            raise ValueError(f"label map has shape {labels.shape}, but {path.name}'s source has {source.shape}")
        mask = type(source)(labels, None, _geometry_only(source.header))
    else:
        stack = labels.reshape((1,) * (4 - labels.ndim) + labels.shape)
        # (t, z, y, x) -> (x, y, z, t)
        data = stack.transpose(3, 2, 1, 0)
        mask = nib.Nifti1Image(data[..., 0] if data.shape[3] == 1 else data, _ras_affine(image))
        mask.header.set_zooms([*_voxel_mm(image), _phase_seconds(image)][: mask.ndim])
        mask.header.set_xyzt_units("mm", "sec")
    mask.header.set_data_dtype(np.uint8)
    with whole_file(path) as part:
        nib.save(mask, part)
    return path


def write_picture_mask(labels: np.ndarray, path: str | Path) -> Path:
    """Write a 2-D label map as PNG: pixel values are the label ids, a palette makes them visible."""
    from PIL import Image

    path = Path(path)
    labels = np.asarray(labels, dtype=np.uint8)
    if labels.ndim != 2:
        raise ValueError(f"a picture's label map needs 2 dimensions, got shape {labels.shape}")
    picture = Image.fromarray(labels, mode=None).convert("L")
    picture.putpalette([round(255 * channel) for label in range(256) for channel in rgb_of(label)])
    with whole_file(path) as part:
        picture.save(part)
    return path


def write_measures_json(measures: Any, result: Mapping[str, Any], path: str | Path, **about: Any) -> Path:
    """Write areas, volumes and function with the geometry they were computed on.

    Args:
        measures: a `CineMeasures`, or anything with `to_dict()`.
        result: what the segmentation pipeline returned (for labels, scores, geometry and what was left out).
        path: file to write.
        about: further facts for the reader, such as `model="cine-sax"`.

    Returns:
        The path written.
    """
    content = {
        "format": "cmr_hf measures 1",
        "notice": RESEARCH_USE_ONLY,
        **about,
        "labels": result.get("labels"),
        "mean_probability": result.get("scores"),
        "affine_lps_mm": result.get("affine"),
        "left_out": left_out_counts(result.get("left_out") or []),
        "phase_index_starts_at": 0,
        **measures.to_dict(),
    }
    return write_json(content, path)


def write_json(content: Mapping[str, Any], path: str | Path) -> Path:
    """Write plain values, arrays and paths as JSON that a person can read; see `json_safe`."""
    path = Path(path)
    text = json.dumps(json_safe(content), indent=2, ensure_ascii=False, allow_nan=False)
    # a row of numbers goes on one line (line breaks in strings are escaped, so strings cannot match)
    text = re.sub(r"\[\n[^\[\]{}\"]*\]", lambda row: f"[{' '.join(row[0][1:-1].split())}]", text)
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A file that is there as a whole or not at all: written under another name beside it, then renamed.

    Args:
        path: the file to be; its folder is made. A file of that name stays as it is until the new one is whole.

    Yields:
        The path to write to, with the same ending. If nothing is written there, nothing happens.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the end of the name tells libraries the format
    part = path.with_name(f".{os.getpid()}_{path.name[-60:]}")
    try:
        yield part
        if part.exists():
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def left_out_counts(left_out: Sequence[Mapping[str, Any]]) -> list[dict]:
    """How many files were left out for which reason, without their names: hospitals name files after patients."""
    counts = Counter(_without_file(entry) for entry in left_out)
    return [{"reason": reason, "files": count} for reason, count in counts.items()]


def json_safe(value: Any) -> Any:
    """Plain JSON values: arrays become lists, NaN and infinity null, paths their last part."""
    if isinstance(value, Mapping):
        return {str(k): json_safe(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [json_safe(v) for v in value]
    if hasattr(value, "tolist"):  # numpy and torch
        return json_safe(value.tolist())
    if isinstance(value, Path):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _without_file(entry: Mapping[str, Any]) -> str:
    reason, file = str(entry.get("reason")), str(entry.get("file") or "")
    for spelling in filter(None, (file, Path(file).name)):
        reason = reason.replace(spelling, "file")
    return reason


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("writing NIfTI needs nibabel: pip install nibabel") from error
    return nibabel


def _geometry_only(header: Any) -> Any:
    """The header's geometry and units, without its free text (which may name a person)."""
    made = header.copy()
    made.extensions.clear()
    for text in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        if text in made:
            made[text] = b""
    for number in ("cal_min", "cal_max", "intent_p1", "intent_p2", "intent_p3", "glmax", "glmin"):
        if number in made:
            made[number] = 0
    made["intent_code"] = 0
    made.set_slope_inter(1, 0)
    return made


def _ras_affine(image: "CMRImage") -> np.ndarray | None:
    return None if image.affine is None else LPS_TO_RAS @ np.asarray(image.affine, dtype=float)


def _voxel_mm(image: "CMRImage") -> tuple[float, float, float]:
    """Size of a voxel along columns, rows and slices; 1 where unknown."""
    if image.affine is not None:
        return tuple(np.linalg.norm(np.asarray(image.affine, dtype=float)[:3, :3], axis=0))
    row_mm, column_mm = image.spacing_mm or (1.0, 1.0)
    return column_mm, row_mm, image.slice_distance_mm or 1.0


def _phase_seconds(image: "CMRImage") -> float:
    """Mean time between phases in s; 1 if the source has no times."""
    times_ms = np.asarray(image.trigger_times_ms if image.trigger_times_ms is not None else [], dtype=float)
    if times_ms.size < 2 or not np.isfinite(times_ms).all():
        return 1.0
    # (t,) or (t, z): phases are the first axis
    steps_ms = np.diff(times_ms, axis=0)
    return float(steps_ms.mean() / 1000.0) if steps_ms.size and steps_ms.mean() > 0 else 1.0
