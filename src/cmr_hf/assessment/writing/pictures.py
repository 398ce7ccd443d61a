"""Contact sheet and movies of an assessment."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...clinical.colours import LABEL_COLOURS, rgb_of
from ...clinical.figures import heart_window
from ...clinical.writers import RESEARCH_USE_ONLY, whole_file
from .drawing import ALARM, INK, PAPER, QUIET, fitting, grey_window, panel, write_text

if TYPE_CHECKING:
    from ..asking import Pixels
    from ..results import StackAssessment, StudyAssessment

TILE, TEXT, GAP, COLUMNS = 230, 66, 14, 4
HEAD, FOOT = 44, 26
MOVIE_WIDTH, MOVIE_PANEL, MOVIE_GAP = 760, 190, 4
MOVIE_SECONDS = 1.0  # one heart beat, if its length is not known
FEWEST_MS = 20  # what viewers show


def contact_sheet(made: "StudyAssessment", path: Path) -> Path:
    """One picture of every stack, with what it is taken for and by whom.

    Args:
        made (`StudyAssessment`): with its pixels.
        path (`Path`): PNG to write.
    """
    rows = -(-max(len(made.stacks), 1) // COLUMNS)
    columns = min(COLUMNS, max(len(made.stacks), 1))
    width = max(columns * (TILE + GAP) + GAP, 520)
    sheet = Image.new("RGB", (width, HEAD + rows * (TILE + TEXT + GAP) + FOOT), PAPER)
    write_text(sheet, (GAP, 12), f"{len(made.stacks)} stacks", 18)
    for index, stack in enumerate(made.stacks):
        row, column = divmod(index, columns)
        left, top = GAP + column * (TILE + GAP), HEAD + row * (TILE + TEXT + GAP)
        _tile(sheet, stack, made.pixels, left, top)
    write_text(sheet, (GAP, sheet.height - FOOT + 4), RESEARCH_USE_ONLY, 10, QUIET)
    with whole_file(path) as part:
        sheet.save(part, optimize=True)
    return path


def _tile(sheet: Image.Image, stack: "StackAssessment", pixels: "Pixels", left: int, top: int) -> None:
    t, z = _shown(stack)
    sheet.paste((0, 0, 0), (left, top, left + TILE, top + TILE))
    try:
        image = pixels.of(stack.source)[t, z]
    except Exception:  # a damaged file has been told of already; its tile stays black
        write_text(sheet, (left + 8, top + 8), "cannot be read", 12, PAPER)
        image = None
    if image is not None:
        row_mm, column_mm = stack.source.stack.spacing_mm
        size = fitting(image.shape[0] * row_mm, image.shape[1] * column_mm, (TILE, TILE))
        labels = None if stack.labels is None else stack.labels[t, z]
        drawn = panel(image, labels, size, grey_window(image))
        sheet.paste(drawn, (left + (TILE - size[0]) // 2, top + (TILE - size[1]) // 2))
    view, image_type = stack.recognition.view, stack.recognition.image_type
    write_text(sheet, (left, top + TILE + 3), f"{stack.number}  {stack.kind}", 13, INK)
    phases, slices = stack.source.shape[:2]
    by = view.by if view.by == image_type.by else f"type by {image_type.by}, view by {view.by}"
    counts = f"{slices} slice{'s' * (slices > 1)}, {phases} phase{'s' * (phases > 1)}"
    write_text(sheet, (left, top + TILE + 20), counts, 10, QUIET)
    write_text(sheet, (left, top + TILE + 34), f"told by the {by}" if by == view.by else by, 10, QUIET)
    if view.uncertain or image_type.uncertain:
        write_text(sheet, (left, top + TILE + 48), _doubt(stack), 10, ALARM)


def _doubt(stack: "StackAssessment") -> str:
    doubted = [one for one in (stack.recognition.view, stack.recognition.image_type) if one.uncertain]
    for answer in doubted:
        if answer.header is not None and answer.header != answer.value:
            return f"header says {answer.header}"
    if doubted[0].probability is None:
        return "uncertain: " + ("the header does not say" if doubted[0].by == "nobody" else "headers do not agree")
    return f"uncertain: the model {'says otherwise' if doubted[0].by == 'header' else 'is not sure'}"


def _shown(stack: "StackAssessment") -> tuple[int, int]:
    """Phase and slice of a stack that stand for it: ED, and the middle of what is labelled."""
    t = stack.measured.ed or 0
    slices = stack.source.shape[1]
    if stack.labels is None or not stack.labels[t].any():
        return 0, slices // 2
    labelled = np.flatnonzero(stack.labels[t].any(axis=(1, 2)))
    return t, int(labelled[len(labelled) // 2])


def movie(stack: "StackAssessment", pixels: "Pixels", path: Path) -> Path:
    """All slices of a cine side by side, over time, with outlines, as a GIF.

    Args:
        stack (`StackAssessment`): with labels and more than one phase.
        path (`Path`): GIF to write.
    """
    images, labels = pixels.of(stack.source), stack.labels
    phases, slices = images.shape[:2]
    row_mm, column_mm = stack.source.stack.spacing_mm
    box = heart_window(labels, (row_mm, column_mm))
    wide = min(slices, MOVIE_WIDTH // (MOVIE_PANEL + MOVIE_GAP))
    wide = -(-slices // -(-slices // wide))  # rows of equal length
    most = MOVIE_PANEL if slices > 1 else 2 * MOVIE_PANEL
    size = fitting((box[1] - box[0]) * row_mm, (box[3] - box[2]) * column_mm, (most, most))
    high = -(-slices // wide)
    windows = [grey_window(images[:, z]) for z in range(slices)]
    canvas = (wide * (size[0] + MOVIE_GAP) + MOVIE_GAP, high * (size[1] + MOVIE_GAP) + MOVIE_GAP + 16)
    frames = []
    for t in range(phases):
        frame = Image.new("RGB", canvas)
        for z in range(slices):
            row, column = divmod(z, wide)
            place = (MOVIE_GAP + column * (size[0] + MOVIE_GAP), MOVIE_GAP + row * (size[1] + MOVIE_GAP))
            frame.paste(panel(images[t, z], labels[t, z], size, windows[z], box), place)
        marks = "".join(
            f"   {name}" for name, phase in (("ED", stack.measured.ed), ("ES", stack.measured.es)) if phase == t
        )
        write_text(frame, (MOVIE_GAP, canvas[1] - 15), f"phase {t + 1} of {phases}{marks}", 11, PAPER)
        write_text(frame, (canvas[0] - 240, canvas[1] - 15), RESEARCH_USE_ONLY, 10, (150, 150, 150))
        frames.append(frame)
    palette = _palette()
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    step = (stack.source.cycle_ms or MOVIE_SECONDS * 1000) / phases
    with whole_file(path) as part:
        frames[0].save(
            part, save_all=True, append_images=frames[1:], duration=max(FEWEST_MS, round(step)), loop=0, optimize=False
        )
    return path


def _palette() -> Image.Image:
    """Greys, and the colours of the outlines as they are: a palette found by counting would lose them."""
    colours = [rgb_of(label) for label in LABEL_COLOURS]
    greys = np.linspace(0, 1, 256 - len(colours))
    values = np.round(255 * np.concatenate([np.repeat(greys[:, None], 3, axis=1), colours])).astype(int)
    made = Image.new("P", (1, 1))
    made.putpalette(values.ravel().tolist())
    return made
