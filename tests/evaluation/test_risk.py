"""Points, summaries and the picture of risk over coverage."""

import numpy as np
import pytest
from PIL import Image

from cmr_hf.evaluation.known_truth import MODEL_MASKS
from cmr_hf.evaluation.risk import curve_of, figure_risks, risk_figure, risk_lines, slice_risks, summary_of


def points(rng, sd):
    errors = rng.normal(0, sd)
    return [{"case": k // 4, "error": errors[k], "doubt": sd[k]} for k in range(len(sd))]


def test_an_honest_doubt_is_told_from_an_empty_one():
    rng = np.random.default_rng(0)
    sd = rng.uniform(1, 10, 400)
    honest = summary_of(points(rng, sd))
    empty = summary_of([one | {"doubt": rng.uniform(1, 10)} for one in points(rng, sd)])
    assert honest["cases"] == 100
    assert honest["surest_half"] < honest["all"] < honest["least_sure_quarter"]
    assert honest["interval"][0] > 0.2
    assert honest["interval"][0] < honest["rank_correlation"] < honest["interval"][1]
    assert empty["interval"][0] < 0 < empty["interval"][1]
    assert abs(empty["gain"]) < 0.2 < honest["gain"]
    assert honest["held"] == pytest.approx(0.95, abs=0.03)


def test_slices_have_the_error_of_their_masks_and_the_doubt_of_their_probabilities():
    truth = np.zeros((1, 4, 20, 20), dtype=np.uint8)
    truth[0, :3, 5:15, 5:15] = 1
    labels = truth.copy()
    labels[0, 1, 10:15] = 0  # half is missing, and the model was in two minds
    labels[0, 2] = 0  # missed without a doubt
    chance = np.where(labels == 1, 255, 0).astype(np.uint8)
    chance[0, 1, 10:15, 5:15] = 120
    rows = list(slice_risks(labels, {1: chance}, truth, (1, 2)))
    assert [row["slice"] for row in rows] == [0, 1, 2]
    assert rows[0]["error"] == rows[0]["doubt"] == pytest.approx(0)
    assert rows[1]["error"] == pytest.approx(1 - 100 / 150)
    assert rows[1]["doubt"] == pytest.approx(1 - 100 / (50 + 50 + 50 * 120 / 255))
    assert rows[1]["improbability"] == pytest.approx(0)  # what was drawn was sure
    assert rows[2]["error"] == rows[2]["doubt"] == rows[2]["improbability"] == 1


def test_figures_without_a_value_or_deviation_are_left_out():
    def one(value, sd):
        return {"figure": "lv_ef", "case": "a", "true": 50.0, MODEL_MASKS: {"value": value, "sd": sd}}

    found = list(figure_risks([one(55.0, 3.0), one(None, None), one(52.0, None)], MODEL_MASKS))
    assert found == [{"figure": "lv_ef", "case": "a", "error": 5.0, "doubt": 3.0, "true": 50.0}]


def test_table_and_picture_are_made_of_the_points(tmp_path):
    rng = np.random.default_rng(1)
    known = points(rng, rng.uniform(1, 10, 60))
    lines = risk_lines({"EDV, ml": summary_of(known)}, {"EDV, ml": 1}, held=True)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| EDV, ml | 60 (15) | ")
    curve = curve_of(known)
    assert curve.risk[-1] == pytest.approx(curve.area_random)
    assert (curve.best <= curve.risk + 1e-12).all()
    path = risk_figure({"EDV": curve, "ESV": curve}, tmp_path / "risk.png", "error, ml")
    assert np.asarray(Image.open(path).convert("L")).std() > 5
