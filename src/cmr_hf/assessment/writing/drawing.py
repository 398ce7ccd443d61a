"""Slices with outlines as pictures, quick enough for movies: numpy and Pillow only."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...clinical.colours import rgb_of
from ...clinical.volumes import LV, MYOCARDIUM, SCAR

# label -> what its outline goes round: of the myocardium the epicardium
ROUND = {LV: (LV,), MYOCARDIUM: (LV, MYOCARDIUM, SCAR)}
INK, QUIET, PAPER, ALARM = (20, 24, 28), (90, 101, 112), (255, 255, 255), (176, 58, 0)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of the other figures, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def grey_window(pixels: np.ndarray) -> tuple[float, float]:
    """Intensities that become black and white: the first and the 99th percentile."""
    values = pixels[np.isfinite(pixels)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(one) for one in np.percentile(values, (1, 99)))
    return low, high if high > low else low + 1.0


def panel(
    pixels: np.ndarray,
    labels: np.ndarray | None,
    size: tuple[int, int],
    window: tuple[float, float],
    box: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """One slice as a colour picture.

    Args:
        pixels (`np.ndarray` of shape `(y, x)`)
        labels (`np.ndarray` of that shape, *optional*)
        size (two `int`): width and height of the picture; the caller keeps the aspect in mm.
        window (two `float`): intensities of black and white.
        box (four `int`, *optional*): first and last row and column (last excluded) that are shown.
    """
    top, bottom, left, right = box or (0, pixels.shape[0], 0, pixels.shape[1])
    low, high = window
    grey = np.nan_to_num(pixels[top:bottom, left:right].astype(np.float32), nan=low, posinf=high, neginf=low)
    grey = (np.clip((grey - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    shown = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC)
    if labels is None or not labels.any():
        return shown.convert("RGB")
    picture = np.repeat(np.asarray(shown)[..., None], 3, axis=2)
    cut = labels[top:bottom, left:right]
    for label in sorted(set(np.unique(cut).tolist()) - {0}, key=lambda one: (one == LV, one)):
        inside = _enlarged(np.isin(cut, ROUND.get(label, (label,))), size)
        inner = inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        edge = inside.copy()
        edge[1:-1, 1:-1] &= ~inner
        picture[edge] = [round(255 * part) for part in rgb_of(label)]
    return Image.fromarray(picture)


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at the size of the picture, its stairs rounded."""
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(grey) >= 128


def fitting(rows_mm: float, columns_mm: float, most: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels of a field in mm, as large as fits."""
    scale = min(most[0] / columns_mm, most[1] / rows_mm)
    return max(1, round(columns_mm * scale)), max(1, round(rows_mm * scale))


def write_text(
    picture: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int = 11,
    colour: Sequence[int] = INK,
    halo: bool = False,
) -> None:
    """A line of text; `halo` makes it readable over a picture."""
    about = {"stroke_width": 2, "stroke_fill": (0, 0, 0)} if halo else {}
    ImageDraw.Draw(picture).text(place, text, fill=tuple(colour), font=font(size), **about)
