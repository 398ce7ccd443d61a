"""Features of a heart's shape have no unit and say what they are called; a classifier of them keeps its numbers."""

import json

import numpy as np
import pytest

from cmr_hf.clinical.shape import FEATURES, ShapeClassifier, shape_features

SPACING_MM = (1.5, 1.5)


def heart(cavity_mm: float, wall_mm: float, rv_mm: float, spacing=SPACING_MM, thin_mm: float = 0.0) -> np.ndarray:
    """Five equal slices of a round LV with a disc of RV beside it; on one side the wall is thinner by `thin_mm`."""
    y, x = (np.mgrid[:110, :130].astype(float) - 55) * np.array(spacing)[:, None, None]
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    outer = cavity_mm + wall_mm - thin_mm * np.exp(-((angle - 1.0) ** 2) / 0.18)
    labels = np.zeros(y.shape, np.uint8)
    labels[np.hypot(y, x + 48) <= rv_mm] = 3
    labels[radius <= outer] = 2
    labels[radius <= cavity_mm] = 1
    return np.stack([labels] * 5)


def test_ratios_are_those_of_the_heart_that_was_drawn():
    found = shape_features(heart(24, 8, 20), heart(16, 12, 15), SPACING_MM)
    assert set(found) == set(FEATURES)
    assert found["lv_ef"] == pytest.approx(1 - 16**2 / 24**2, abs=0.02)
    assert found["wall_to_lv"] == pytest.approx(np.log((32**2 - 24**2) / 24**2), abs=0.03)
    assert found["thickness_to_radius"] == pytest.approx(8 / 24, abs=0.02)
    assert found["thickening"] == pytest.approx(np.log(12 / 8), abs=0.05)
    assert found["spread_in_slices_ed"] < 0.03


def test_nothing_depends_on_the_size_of_pixels_or_of_the_heart():
    one = shape_features(heart(24, 8, 20), heart(16, 12, 15), SPACING_MM)
    finer = shape_features(
        *(heart(*sizes, spacing=(0.9, 0.9)) for sizes in ((20, 20 / 3, 18), (40 / 3, 10, 13.5))), (7, 7)
    )
    assert finer["lv_ef"] == pytest.approx(one["lv_ef"], abs=0.02)
    assert finer["thickest_to_radius"] == pytest.approx(one["thickest_to_radius"], abs=0.03)
    stretched = shape_features(*(heart(*s, spacing=(1.5, 1.1)) for s in ((24, 8, 20), (16, 12, 15))), (1.5, 1.1))
    assert stretched["thickness_to_radius"] == pytest.approx(one["thickness_to_radius"], abs=0.03)


def test_a_thin_part_that_does_not_thicken_is_seen():
    whole = shape_features(heart(24, 8, 20), heart(16, 12, 15), SPACING_MM)
    infarct = shape_features(heart(24, 8, 20, thin_mm=3), heart(16, 12, 15, thin_mm=7), SPACING_MM)
    for name, larger in (("spread_es", True), ("spread_of_thickening", True), ("thin_part_es", False)):
        assert (infarct[name] > whole[name] + 0.05) == larger, name
    assert infarct["least_thickening"] < whole["least_thickening"] - 0.1


def test_scar_counts_as_wall():
    ed, es = heart(24, 8, 20), heart(16, 12, 15)
    plain = shape_features(ed, es, SPACING_MM)
    scarred = ed.copy()
    scarred[:, :55][scarred[:, :55] == 2] = 6
    assert shape_features(scarred, es, SPACING_MM) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(np.zeros((5, 40, 40), np.uint8), "LV at ED, wall at ED, RV at ED"), (heart(24, 8, 20)[:2], "in 3 slices")],
)
def test_what_cannot_be_measured_says_why(labels, words):
    said = shape_features(labels, labels, SPACING_MM)
    assert isinstance(said, str)
    assert said.startswith("not measured")
    assert words in said


@pytest.fixture
def classifier():
    names = ("lv_ef", "rv_ef")
    return ShapeClassifier(("well", "ill"), names, (0.5, 0.5), (0.1, 0.2), ((1.0, 0.0), (-1.0, 0.0)), (0.1, -0.1))


def test_chances_are_the_softmax_of_standardised_features(classifier):
    found = classifier.chances({"lv_ef": 0.6, "rv_ef": 0.1, "more": 3.0})
    assert list(found) == ["well", "ill"]
    assert found["well"] == pytest.approx(1 / (1 + np.exp(-2.2)))
    assert sum(found.values()) == pytest.approx(1)


def test_a_classifier_survives_its_file_and_a_broken_file_is_named(classifier, tmp_path):
    path = tmp_path / "classifier.json"
    classifier.save(path)
    assert ShapeClassifier.load(path) == classifier
    fields = json.loads(path.read_text())
    for broken in (fields | {"features": ["lv_ef", "luck"]}, fields | {"mean": [1.0]}, [1], {"classes": []}):
        path.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=r"classifier\.json"):
            ShapeClassifier.load(path)
