"""Pages show what the model said and what is true; the gallery finds the worst, the best and the middle."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmr_hf.evaluation.measuring import Shown
from cmr_hf.evaluation.pages import Gallery, draw_page
from tests.evaluation.hearts import masks, stack

TITLE = "1. patient 3, ED"


def shown(truth=None, predicted=None, badness=0.1, images=None, **fields):
    images = stack().images if images is None else images
    values = {"patient": "3", "case": "ED", "spacing_mm": (2.0, 2.0), "words": "Dice RV 0.80", "about": {}}
    return Shown(images=images, truth=truth, predicted=predicted, badness=badness, **(values | fields))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture - wanted).max(axis=-1) < 40).sum())


def test_outlines_of_model_and_truth_are_both_drawn(tmp_path):
    truth = masks()
    path = draw_page(shown(truth, np.roll(truth, 3, axis=-1)), tmp_path / "new" / "a.png", TITLE, dpi=70)
    without = draw_page(shown(np.zeros_like(truth), np.roll(truth, 3, axis=-1)), tmp_path / "b.png", TITLE, dpi=70)
    assert near(pixels(path), "#E69F00") > 40
    assert near(pixels(path), "#FFFFFF") > near(pixels(without), "#FFFFFF") + 60


def test_points_and_classes_have_pages_too(tmp_path):
    points = np.array([[20.0, 22.0], [30.0, 22.0]])
    image = stack().images[:1]
    path = draw_page(shown(points, points + 4, images=image), tmp_path / "a.png", TITLE, dpi=70)
    assert near(pixels(path), "#56B4E9") > 15
    missing = np.array([[np.nan, np.nan], [30.0, 22.0]])
    assert draw_page(shown(missing, points, images=image), tmp_path / "b.png", TITLE, dpi=70).is_file()
    path = draw_page(shown("SAX", "2CH", images=stack().images[:3]), tmp_path / "c.png", TITLE, dpi=70)
    assert pixels(path).shape[1] > pixels(path).shape[0]


@pytest.mark.parametrize("images", [np.zeros((1, 9, 40)), np.full((30, 16, 16), 7, np.int16)])
def test_strange_pictures_are_drawn_as_they_are(images, tmp_path):
    empty = np.zeros(images.shape, np.uint8)
    assert draw_page(shown(empty, empty, images=images, spacing_mm=None), tmp_path / "a.png", "x" * 300).is_file()


def test_the_gallery_keeps_the_worst_the_best_and_the_median():
    values = np.random.default_rng(0).permutation(41) / 40
    gallery = Gallery(worst=3)
    assert gallery.three() == {}
    for value in values:
        gallery.add(shown(badness=float(value)))
    assert [one.badness for one in gallery.worst] == [1.0, 0.975, 0.95]
    assert {name: one.badness for name, one in gallery.three().items()} == {"best": 0.0, "median": 0.5, "worst": 1.0}


def test_of_very_many_cases_the_median_is_nearly_one_and_few_are_kept():
    gallery, images = Gallery(worst=2), stack().images
    for value in np.random.default_rng(0).random(5000):
        gallery.add(shown(badness=float(value), images=images))
    assert gallery.three()["median"].badness == pytest.approx(0.5, abs=0.05)
    assert len(gallery._sample) <= 64
