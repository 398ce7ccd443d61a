"""Draws pages of phantoms to look at: every view, contrast and disease.

    python training/phantom_pages.py --out pages                    # a page for each disease
    python training/phantom_pages.py --out pages --disease MINF --seed 7 --masks

Rows are views, columns contrasts. `--masks` draws the truth over the pictures.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from cmr_hf.clinical.colours import LABEL_COLOURS, rgb_of
from cmr_hf.phantoms import (
    AORTA,
    CONTRASTS,
    DISEASES,
    LONG_AXES,
    OTHERS,
    Heart,
    Planes,
    long_axis,
    other_plane,
    render,
    sax_stack,
)

CROP, TITLE = 160, 14  # pixels
MAP_MS = {"t1_native": (0, 2000), "t1_post": (0, 900), "t2_map": (0, 150)}  # what is black and white in maps


def planes_of(heart: Heart, seed: int) -> dict[str, Planes]:
    """One plane of each kind through one heart."""
    stack = sax_stack(heart, slices=9, lead_mm=12, seed=seed)
    places = {"SAX base": 1, "SAX middle": 4, "SAX apex": 7}
    planes = {name: stack.select(torch.tensor([place])) for name, place in places.items()}
    planes |= {view: long_axis(heart, view, seed=seed) for view in LONG_AXES}
    return planes | {kind: other_plane(heart, kind, seed=seed) for kind in AORTA + OTHERS}


def tile(image: np.ndarray, mask: np.ndarray, contrast: str, show_mask: bool) -> Image.Image:
    """The middle of a picture, windowed to its 2nd to 99th percentile, maps as ever."""
    low, high = MAP_MS.get(contrast) or np.percentile(image, (2, 99))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)[..., None].repeat(3, axis=2) * 255
    if show_mask:
        for label in LABEL_COLOURS:
            grey[mask == label] = 0.6 * grey[mask == label] + 0.4 * 255 * np.array(rgb_of(label))
    edge = (image.shape[-1] - CROP) // 2
    return Image.fromarray(grey[edge : edge + CROP, edge : edge + CROP].astype(np.uint8))


def page(disease: str, seed: int, show_masks: bool) -> Image.Image:
    heart = Heart.draw([disease], seed)
    planes = planes_of(heart, seed)
    sheet = Image.new("RGB", (CROP * len(CONTRASTS), (CROP + TITLE) * len(planes)))
    pen = ImageDraw.Draw(sheet)
    for column, contrast in enumerate(CONTRASTS):
        for row, (name, plane) in enumerate(planes.items()):
            found = render(heart, plane, contrast, time=0.0 if contrast == "cine" else 0.7, seed=seed + column)
            top = row * (CROP + TITLE)
            picture = tile(found.images[0].numpy(), found.masks[0].numpy(), contrast, show_masks)
            sheet.paste(picture, (column * CROP, top + TITLE))
            pen.text((column * CROP + 2, top + 1), f"{name}, {contrast}", fill="white")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--disease", choices=DISEASES, nargs="*", default=DISEASES)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--masks", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for disease in options.disease:
        path = options.out / f"{disease}.png"
        page(disease, options.seed, options.masks).save(path)
        print(path)


if __name__ == "__main__":
    main()
