import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cmr_hf
from cmr_hf.clinical.colours import LABEL_COLOURS, rgb_of
from cmr_hf.clinical.figures import heart_window, overlay_figure


def heart(phases=3, slices=4, side=96):
    """Noise with a ring (2) around a cavity (1) and a block (3), smallest in the middle phase."""
    y, x = np.mgrid[:side, :side]
    radius = np.hypot(y - side / 2, x - side / 2)
    labels = np.zeros((phases, slices, side, side), np.uint8)
    for t in range(phases):
        r = 8 + 4 * abs(t - phases // 2)
        labels[t, :, 40:56, 20:32] = 3
        labels[t, :, radius <= r + 5] = 2
        labels[t, :, radius <= r] = 1
    pixels = np.random.default_rng(0).integers(0, 400, labels.shape).astype(np.uint16) + labels * np.uint16(300)
    return pixels, labels


def colours_in(path, least=40):
    """Label ids whose colour fills at least `least` pixels."""
    with Image.open(path) as picture:
        seen = np.asarray(picture.convert("RGB"), dtype=int)
    return {
        label for label in LABEL_COLOURS if (np.abs(seen - 255 * np.array(rgb_of(label))).max(-1) <= 12).sum() >= least
    }


def size_of(path):
    """Width and height in pixels."""
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("shape", ["cine", "stack", "image"])
def test_a_cine_a_stack_and_one_image_are_drawn_with_every_label(tmp_path, shape):
    pixels, labels = heart()
    if shape == "stack":
        pixels, labels = pixels[0], labels[0]
    elif shape == "image":
        pixels, labels = pixels[0, 0], labels[0, 0]
    path = overlay_figure(pixels, labels, (1.4, 1.4), tmp_path / "new" / "a.png", title="heart")
    assert colours_in(path) == {1, 2, 3}


def test_the_page_grows_with_slices_and_phases(tmp_path):
    pixels, labels = heart(slices=20)
    many = size_of(overlay_figure(pixels, labels, (1.4, 1.4), tmp_path / "a.png", dpi=60))
    few = size_of(overlay_figure(pixels[:, :6], labels[:, :6], (1.4, 1.4), tmp_path / "b.png", dpi=60))
    assert many[1] > 2 * few[1]
    assert max(many) < 20 * 60


def test_panels_have_the_true_aspect_of_the_pixels(tmp_path):
    pixels, labels = heart(phases=1, slices=8)
    square = size_of(overlay_figure(pixels, labels, (1, 1), tmp_path / "a.png", full_field=True, dpi=80))
    flat = size_of(overlay_figure(pixels, labels, (0.5, 1), tmp_path / "b.png", full_field=True, dpi=80))
    # the same widths, half the heights of one row of panels (1.9 in)
    assert square[0] == flat[0]
    assert square[1] - flat[1] == pytest.approx(0.5 * 1.9 * 80, abs=3)


def test_the_window_holds_the_heart_with_a_margin_and_ignores_a_speck():
    labels = np.zeros((1, 1, 300, 300), np.uint8)
    labels[..., 100:160, 120:200] = 2
    labels[..., 5, 5] = 3
    y0, y1, x0, x1 = heart_window(labels, (1.0, 1.0))
    assert 70 < y0 <= 90
    assert 170 <= y1 < 190
    assert 90 < x0 <= 105
    assert 215 <= x1 < 230


def test_the_window_stays_inside_the_image_and_is_everything_without_labels():
    labels = np.zeros((2, 1, 50, 60), np.uint8)
    assert heart_window(labels, (1.4, 1.4)) == (0, 50, 0, 60)
    labels[..., 0, 0] = 1
    y0, y1, x0, x1 = heart_window(labels, (0.1, 0.1))
    assert (y0, x0) == (0, 0)
    assert y1 <= 50
    assert x1 <= 60


@pytest.mark.parametrize("fill", [0, 7, np.nan, np.inf])
def test_constant_and_broken_pixels_and_empty_labels_are_drawn(tmp_path, fill):
    pixels = np.full((2, 3, 32, 40), fill, np.float32)
    path = overlay_figure(pixels, np.zeros(pixels.shape, np.uint8), None, tmp_path / "a.png", dpi=50)
    assert colours_in(path) == set()


def test_when_shapes_differ_then_it_raises(tmp_path):
    pixels, labels = heart()
    with pytest.raises(ValueError, match="one shape"):
        overlay_figure(pixels, labels[:1], (1, 1), tmp_path / "a.png")


def test_the_same_input_gives_the_same_bytes(tmp_path):
    pixels, labels = heart(slices=2)
    paths = [overlay_figure(pixels, labels, (1, 1), tmp_path / f"{i}.png", dpi=60) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_importing_the_module_does_not_import_matplotlib_and_drawing_leaves_pyplot_alone(tmp_path):
    # the subprocess finds this checkout, installed or not
    environment = os.environ | {"PYTHONPATH": str(Path(cmr_hf.__file__).parents[1])}
    code = (
        "import sys; import numpy as np; from cmr_hf.clinical.figures import overlay_figure as f;"
        "assert 'matplotlib' not in sys.modules;"
        f"f(np.zeros((8, 8)), np.zeros((8, 8), int), None, {str(tmp_path / 'a.png')!r});"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
