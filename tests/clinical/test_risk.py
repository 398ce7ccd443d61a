import numpy as np
import pytest

from cmr_hf.clinical.risk import expected_dice, risk_coverage


def test_an_honest_uncertainty_lowers_the_risk_of_what_is_kept():
    rng = np.random.default_rng(1)
    sd = rng.uniform(1, 10, 2000)
    found = risk_coverage(rng.normal(0, sd), sd)
    assert found.rank_correlation > 0.4
    assert found.area_best < found.area < 0.75 * found.area_random
    assert found.covered == pytest.approx(0.95, abs=0.015)
    assert found.risk[-1] == pytest.approx(found.area_random)
    half = found.risk[len(found.risk) // 2]
    assert half < 0.7 * found.risk[-1]


def test_an_uncertainty_without_meaning_does_not():
    rng = np.random.default_rng(2)
    found = risk_coverage(rng.normal(0, 5, 4000), rng.uniform(1, 10, 4000))
    assert abs(found.rank_correlation) < 0.06
    assert found.area == pytest.approx(found.area_random, rel=0.08)


def test_the_curve_of_three_figures():
    found = risk_coverage([4.0, -1.0, 2.0], [9.0, 1.0, 2.0])
    np.testing.assert_allclose(found.coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(found.risk, [1.0, 1.5, 7 / 3])
    assert found.area == found.area_best
    assert found.rank_correlation == pytest.approx(1.0)
    assert np.isnan(risk_coverage([1.0, 2.0], [1.0, 1.0]).rank_correlation)


@pytest.mark.parametrize(("errors", "doubts"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, np.nan], [1.0, 1.0])])
def test_what_cannot_be_ranked_is_refused(errors, doubts):
    with pytest.raises(ValueError, match="need"):
        risk_coverage(errors, doubts)


def test_the_surest_part_and_the_least_sure_quarter():
    found = risk_coverage([1.0, 2.0, 3.0, 10.0], [1.0, 2.0, 3.0, 4.0])
    assert (found.kept(0.5), found.kept(0.0), found.kept(1.0)) == (1.5, 1.0, 4.0)
    assert found.last == pytest.approx(10.0)
    np.testing.assert_allclose(found.best, found.risk)


def test_promised_dice_is_what_random_truths_of_these_probabilities_give():
    rng = np.random.default_rng(3)
    chance = np.clip(rng.normal(0.5, 0.4, (2, 40, 40)), 0, 1)
    labels = (chance > 0.5).astype(np.uint8)
    overlaps = []
    for _ in range(200):
        truth = rng.random(chance.shape) < chance
        both = 2 * (truth & (labels == 1)).sum(axis=(1, 2)) / (truth.sum(axis=(1, 2)) + labels.sum(axis=(1, 2)))
        overlaps.append(both)
    np.testing.assert_allclose(expected_dice(labels, {1: chance}), np.mean(overlaps, axis=0), atol=0.005)


def test_promised_dice_of_bytes_counts_what_was_left_out_and_nothing_is_nan():
    labels = np.zeros((3, 10, 10), dtype=np.uint8)
    labels[0, :5] = 1
    chance = np.zeros((3, 10, 10), dtype=np.uint8)
    chance[0, :5] = 255
    chance[1] = 102  # 40 pixels expected, none drawn
    found = expected_dice(labels, {1: chance})
    np.testing.assert_allclose(found, [1.0, 0.0, np.nan])
    with pytest.raises(ValueError, match="`chances` needs the shape of `labels`"):
        expected_dice(labels, {1: chance[:2]})
