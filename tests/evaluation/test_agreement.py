"""Bland-Altman and ICC against published numbers and a least-squares analysis of variance."""

import numpy as np
import pytest

from cmr_hf.evaluation.agreement import bland_altman, icc, icc_of_ratings

# Shrout and Fleiss 1979, table 2: six targets, four judges; their ICC(2,1) is .29 and ICC(3,1) .71
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_icc_is_that_of_shrout_and_fleiss():
    assert icc_of_ratings(SHROUT_FLEISS, "agreement") == pytest.approx(0.29, abs=0.005)
    assert icc_of_ratings(SHROUT_FLEISS, "consistency") == pytest.approx(0.71, abs=0.005)


def test_icc_is_that_of_mean_squares_from_nested_regressions():
    rng = np.random.default_rng(0)
    reference = rng.normal(150, 40, 25)
    measured = reference + rng.normal(6, 9, 25)
    ratings = np.stack((measured, reference), axis=1)
    y, n = ratings.ravel(), len(reference)
    one = np.ones((2 * n, 1))
    patients, raters = np.kron(np.eye(n), np.ones((2, 1))), np.tile(np.eye(2), (n, 1))

    def residual(*blocks: np.ndarray) -> float:
        design = np.hstack(blocks)
        return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())

    both = residual(one, patients, raters)
    ms_patients = (residual(one, raters) - both) / (n - 1)
    ms_raters, ms_rest = residual(one, patients) - both, both / (n - 1)
    agreement = (ms_patients - ms_rest) / (ms_patients + ms_rest + 2 * (ms_raters - ms_rest) / n)
    assert icc(measured, reference) == pytest.approx(agreement)
    assert icc(measured, reference, "consistency") == pytest.approx((ms_patients - ms_rest) / (ms_patients + ms_rest))


def test_a_bias_lowers_agreement_but_not_consistency():
    reference = np.array([50.0, 80.0, 120.0, 160.0])
    assert icc(reference + 30, reference, "consistency") == pytest.approx(1.0)
    assert icc(reference + 30, reference) < 0.9
    assert icc(reference, reference) == pytest.approx(1.0)


def test_bland_altman_limits():
    found = bland_altman([12.0, 9.0, 15.0], [10.0, 10.0, 10.0])
    assert (found.bias, found.n) == (2.0, 3)
    assert found.sd == pytest.approx(3.0)
    assert (found.lower, found.upper) == pytest.approx((2 - 1.96 * 3, 2 + 1.96 * 3))


@pytest.mark.parametrize("call", [bland_altman, icc])
@pytest.mark.parametrize("pairs", [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, np.nan], [1.0, 2.0]), ([], [])])
def test_when_there_are_no_pairs_then_agreement_says_so(call, pairs):
    with pytest.raises(ValueError, match="agreement needs"):
        call(*pairs)


def test_when_nothing_varies_then_the_icc_is_refused():
    with pytest.raises(ValueError, match="not defined"):
        icc([60.0, 60.0], [60.0, 60.0])
    with pytest.raises(ValueError, match="`kind`"):
        icc([1.0, 2.0], [1.0, 2.0], "average")
