"""What the viewer of the page shows: per stack a sheet of phases for every slice, masks beside it, and where is what.

`view/manifest.json` names everything by paths relative to its folder; nothing of a header but geometry and timing is in
it. Sheets hold the phases of one slice in rows, eight bits, windowed once for the whole stack.
"""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cmr_hf.assessment import StackAssessment, StudyAssessment
from cmr_hf.clinical.colours import LABEL_COLOURS
from cmr_hf.clinical.volumes import LABEL_NAMES
from cmr_hf.hub.reading_cmr import read_image

LONGEST_SIDE = 512  # of a shown picture, in pixels
MOST_SHEET = 8192
QUALITY = 88
WINDOW = (0.5, 99.5)  # percentiles that become black and white
MARGIN = 3  # a third of the heart's size stays visible around it
OBLIQUE = 0.4  # share of a direction that its second letter needs
LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))  # towards + and - of the patient's axes (LPS); head and foot as in MR
# which end of the patient's axis lies to the right of, or below, a picture in radiological view
RIGHT_IS, BELOW_IS = {0: 1, 1: 1, 2: -1}, {0: 1, 1: 1, 2: -1}


def write_view(made: StudyAssessment, folder: Path, by_person: bool = False, upright: bool = False) -> Path:
    """Writes the sheets of all stacks and the manifest.

    Args:
        made (`StudyAssessment`): with its pixels.
        folder (`Path`): made where it is missing.
        by_person (`bool`): the person who handed it in has said what it shows.
        upright (`bool`): turn round what does not lie as radiologists look at it; DICOM stays as the scanner shows it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stacks = []
    for stack in made.stacks:
        try:
            stacks.append(_stack(made, stack, folder, by_person, upright))
        except (OSError, ValueError) as error:  # a stack that cannot be drawn must not take the page with it
            stacks.append(_facts(stack, by_person) | {"slices": [], "failed": type(error).__name__})
    chosen = next(iter(made.chosen.values()), stacks[0]["number"] if stacks else None)
    path = folder / "manifest.json"
    path.write_text(json.dumps({"stacks": stacks, "chosen": chosen}), encoding="utf-8")
    return path


def thumbnail(file: Path, side: int = 224) -> bytes:
    """The middle of one picture, WebP of `side` pixels.

    Args:
        file (`Path`): DICOM of one frame.
        side (`int`): of the square, in pixels.
    """
    pixels = read_image(file).pixels
    pixels = pixels.reshape(-1, *pixels.shape[-2:])[0].astype(np.float32)
    low, high = np.percentile(pixels, WINDOW)
    cut = min(pixels.shape) * 6 // 10
    top, left = ((length - cut) // 2 for length in pixels.shape)
    grey = np.clip((pixels[top : top + cut, left : left + cut] - low) / max(high - low, 1e-6), 0, 1) * 255
    made = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC).save(
        made, "WEBP", quality=QUALITY
    )
    return made.getvalue()


def _stack(
    made: StudyAssessment, stack: StackAssessment, folder: Path, by_person: bool, upright: bool
) -> dict[str, Any]:
    pixels, labels = made.pixels.of(stack.source), stack.labels
    affine = None if stack.source.stack.affines is None else stack.source.stack.affines[0]
    flips = turned(affine) if upright and affine is not None else (False, False)
    row_mm, column_mm = stack.source.stack.spacing_mm
    phases, slices, height, width = pixels.shape
    step = max(1, math.ceil(max(height, width) / LONGEST_SIDE))
    small = pixels[..., ::step, ::step]
    finite = small[np.isfinite(small)]
    low, high = np.percentile(finite, WINDOW) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    columns = max(1, min(phases, MOST_SHEET // small.shape[3]))
    told = _facts(stack, by_person) | {
        "width": small.shape[3],
        "height": small.shape[2],
        "pixel_mm": [row_mm * step, column_mm * step],
        "columns": columns,
        "letters": None if affine is None else letters(affine, flips),
        "landmarks": _landmarks(stack, flips, (height, width), step),
        "heart": None if labels is None else _heart(labels[..., ::step, ::step], flips),
        "slices": [],
    }
    for z in range(slices):
        grey = np.clip((small[:, z].astype(np.float32) - low) / (high - low), 0, 1) * 255
        sheet = _sheet(np.nan_to_num(grey).astype(np.uint8), columns, flips)
        image = f"{stack.number:02d}_{z + 1:02d}.webp"
        Image.fromarray(sheet).save(folder / image, quality=QUALITY, method=2)
        mask = None
        if labels is not None and labels[:, z].any():
            mask = f"{stack.number:02d}_{z + 1:02d}_mask.png"
            drawn = Image.fromarray(_sheet(labels[:, z, ::step, ::step], columns, flips))
            drawn.putpalette(_palette(), "RGBA")
            drawn.save(folder / mask)
        told["slices"].append({"image": image, "mask": mask})
    return told


def _sheet(frames: np.ndarray, columns: int, flips: tuple[bool, bool]) -> np.ndarray:
    """(t, y, x) → the phases side by side in rows of `columns`."""
    frames = frames[:, :: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    count, height, width = frames.shape
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height, width), dtype=frames.dtype)
    padded[:count] = frames
    grid = padded.reshape(rows, columns, height, width)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3).reshape(rows * height, columns * width))


def _palette() -> list[int]:
    """Colours of the labels; the background can be seen through."""
    values = [0, 0, 0, 0] * 256
    for label, code in LABEL_COLOURS.items():
        values[4 * label : 4 * label + 4] = [*(int(code[i : i + 2], 16) for i in (1, 3, 5)), 255]
    return values


def _facts(stack: StackAssessment, by_person: bool) -> dict[str, Any]:
    """What the table of series and the curve need of a stack."""
    told, source, measured = stack.to_dict(), stack.source, stack.measured
    phases, slices = source.shape[:2]
    present = set() if stack.labels is None else set(np.unique(stack.labels).tolist()) - {0}
    return {
        "number": stack.number,
        "kind": stack.kind,
        "recognised": [_answer(told["recognition"][one], by_person) for one in ("image_type", "view")],
        "uncertain": stack.recognition.view.uncertain or stack.recognition.image_type.uncertain,
        "phases": phases,
        "slice_count": slices,
        "distance_mm": source.stack.distance_mm if slices > 1 and source.placed else None,
        "thickness_mm": source.stack.thickness_mm,
        "times_ms": told["phase_times_ms"],
        "cycle_ms": source.cycle_ms,
        "ed": measured.ed,
        "es": measured.es,
        "labels": [{"id": one, "name": LABEL_NAMES[one], "colour": LABEL_COLOURS[one]} for one in sorted(present)],
        "curves": measured.curves,
        "masks_from": stack.masks_from,
        "notes": [*stack.not_measured, *told["notes"]],
    }


def _answer(one: dict[str, Any], by_person: bool) -> dict[str, Any]:
    by = "you" if by_person and one["by"] == "header" else one["by"]
    return {"value": one["value"], "by": by, "probability": one["probability"], "header": one["header"]}


def _heart(labels: np.ndarray, flips: tuple[bool, bool]) -> dict[str, int] | None:
    """The part of the shown picture that holds all masks of (t, z, y, x), with a margin; None where there are none."""
    spans = []
    for axis, flip in ((2, flips[0]), (3, flips[1])):
        length = labels.shape[axis]
        seen = np.flatnonzero(labels.any(axis=tuple(other for other in range(4) if other != axis)))
        if not len(seen):
            return None
        first, last = (length - 1 - seen[-1], length - 1 - seen[0]) if flip else (seen[0], seen[-1])
        margin = max(4, (last - first) // MARGIN)
        start = max(0, first - margin)
        spans.append((int(start), int(min(length, last + 1 + margin) - start)))
    (y, height), (x, width) = spans
    return {"x": x, "y": y, "width": width, "height": height}


def _landmarks(
    stack: StackAssessment, flips: tuple[bool, bool], shape: tuple[int, int], step: int
) -> list[dict[str, Any]]:
    """Points in pixels of the shown picture, those that were found."""
    found = []
    for one in stack.to_dict()["landmarks"]:
        row, column = one["pixel"]
        if not (math.isfinite(row) and math.isfinite(column)):
            continue
        row = shape[0] - 1 - row if flips[0] else row
        column = shape[1] - 1 - column if flips[1] else column
        place = {"row": row / step, "column": column / step}
        found.append(
            {"label": one["label"], "phase": one["phase"], "slice": one["slice"], "score": one["score"]} | place
        )
    return found


def turned(affine: np.ndarray) -> tuple[bool, bool]:
    """Whether rows and columns have to be turned round for the radiological view.

    The patient's left, back or foot lies on the right of the picture or at its bottom, whichever a side shows most of.

    Args:
        affine (`np.ndarray` of shape `(4, 4)`): (column, row, slice) → LPS mm.
    """
    across, down = affine[:3, 0], affine[:3, 1]
    main_across, main_down = int(np.abs(across).argmax()), int(np.abs(down).argmax())
    return (
        bool(np.sign(down[main_down]) != BELOW_IS[main_down]),
        bool(np.sign(across[main_across]) != RIGHT_IS[main_across]),
    )


def letters(affine: np.ndarray, flips: tuple[bool, bool] = (False, False)) -> dict[str, str]:
    """Where the patient's sides lie: "right" of the picture → "L", or "LP" where it is oblique."""
    across, down = affine[:3, 0] * (-1 if flips[1] else 1), affine[:3, 1] * (-1 if flips[0] else 1)
    return {"right": _letters(across), "left": _letters(-across), "bottom": _letters(down), "top": _letters(-down)}


def _letters(direction: np.ndarray) -> str:
    direction = direction / np.linalg.norm(direction)
    order = np.argsort(-np.abs(direction), kind="stable")
    shown = [axis for rank, axis in enumerate(order) if rank == 0 or (rank == 1 and abs(direction[axis]) >= OBLIQUE)]
    return "".join(LETTERS[axis][0 if direction[axis] > 0 else 1] for axis in shown)
