"""Intervals and tests by patient against scipy, brute force and their own promise of 95 %."""

from itertools import product

import numpy as np
import pytest

from cmr_hf.evaluation.classes import calibration_error, mean_auc
from cmr_hf.evaluation.resampling import (
    auc_interval,
    calibration_interval,
    compare_groups,
    compare_means,
    draws,
    holm,
    mcnemar,
    mean_interval,
    mean_of_groups_interval,
    wilcoxon,
)

stats = pytest.importorskip("scipy.stats")


def clustered(rng: np.random.Generator, patients: int, slices: int = 8) -> tuple[np.ndarray, list[str]]:
    """Slices that are alike within a patient; mean 0."""
    values = rng.normal(size=(patients, 1)) + 0.3 * rng.normal(size=(patients, slices))
    return values.ravel(), [f"p{index // slices}" for index in range(values.size)]


def test_one_seed_gives_one_interval_and_the_order_of_cases_does_not_matter():
    values, patients = clustered(np.random.default_rng(0), 12)
    order = np.random.default_rng(1).permutation(len(values))
    first, again = mean_interval(values, patients), mean_interval(values[order], [patients[i] for i in order])
    assert (first.lower, first.upper) == pytest.approx((again.lower, again.upper))
    assert mean_interval(values, patients, seed=1) != first
    assert (first.patients, first.cases) == (12, 96)


def test_the_interval_is_that_of_a_loop_over_drawn_patients():
    values, patients = clustered(np.random.default_rng(0), 7, 3)
    values, patients = values[:-2], patients[:-2]  # one patient with fewer
    names = sorted(set(patients))
    own = [values[[one == name for one in patients]] for name in names]
    means = []
    for counts in draws(7, 500, 3):
        means.append(np.concatenate([own[i] for i, n in enumerate(counts) for _ in range(int(n))]).mean())
    found = mean_interval(values, patients, resamples=500, seed=3)
    assert (found.lower, found.upper) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))))


def test_the_interval_covers_the_truth_where_one_by_slices_does_not():
    rng = np.random.default_rng(2)
    hits = {"patients": 0, "slices": 0}
    for _ in range(300):
        values, patients = clustered(rng, 20)
        for how, groups in (("patients", patients), ("slices", [str(i) for i in range(len(values))])):
            found = mean_interval(values, groups, resamples=400)
            hits[how] += found.lower <= 0 <= found.upper
    assert 0.89 <= hits["patients"] / 300 <= 0.98
    assert hits["slices"] / 300 < 0.7


def test_when_all_are_right_then_the_interval_is_the_exact_one_and_not_a_point():
    found = mean_interval([1.0] * 20, [f"p{i // 2}" for i in range(20)], share=True)
    expected = stats.binomtest(10, 10).proportion_ci(method="exact")
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
    wrong = mean_interval([0.0] * 10, [f"p{i}" for i in range(10)], share=True)
    assert wrong.upper == pytest.approx(1 - expected.low)


def test_when_there_are_two_patients_then_there_is_no_interval():
    found = mean_interval([0.5, 0.7, 0.9], ["a", "a", "b"])
    assert (found.value, found.lower, found.width) == (pytest.approx(0.7), None, None)
    assert compare_means([1.0, 2.0], [0.0, 0.0], ["a", "b"]).p is None


@pytest.mark.parametrize(("values", "patients"), [([], []), ([1.0], ["a", "b"]), ([np.nan], ["a"])])
def test_when_values_are_missing_then_it_says_so(values, patients):
    with pytest.raises(ValueError, match="finite values and a patient"):
        mean_interval(values, patients)


def test_balanced_accuracy_is_drawn_by_patient_and_a_lost_class_is_left_out():
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    groups, patients = ["a", "a", "a", "a", "b", "b"], ["1", "1", "2", "3", "4", "4"]
    found = mean_of_groups_interval(values, groups, patients, resamples=300)
    assert found.value == pytest.approx((0.75 + 0.5) / 2)
    means = []
    for counts in draws(4, 300, 0):
        drawn = [
            (g, v)
            for g, v, p in zip(groups, values, patients, strict=True)
            for _ in range(int(counts["1234".index(p)]))
        ]
        kinds = sorted({g for g, _ in drawn})
        means.append(np.mean([np.mean([v for g, v in drawn if g == kind]) for kind in kinds]))
    assert (found.lower, found.upper) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))))


@pytest.mark.parametrize("classes", [2, 3])
def test_auc_and_calibration_of_each_resample_are_those_of_the_drawn_patients(classes):
    rng = np.random.default_rng(0)
    patients = [f"p{i // 3}" for i in range(30)]
    truth = rng.integers(0, classes, 30)
    chances = np.round(rng.dirichlet(np.ones(classes), 30) + np.eye(classes)[truth], 1)
    chances /= chances.sum(axis=1, keepdims=True)
    areas, errors = [], []
    for counts in draws(10, 150, 5):
        index = [i for i, p in enumerate(patients) for _ in range(int(counts[int(p[1:])]))]
        errors.append(calibration_error(chances[index], truth[index]))
        if len(set(truth[index])) > 1:
            areas.append(mean_auc(chances[index], truth[index]))
    for interval, values, value in (
        (auc_interval(chances, truth, patients, 150, 5), areas, mean_auc(chances, truth)),
        (calibration_interval(chances, truth, patients, 150, 5), errors, calibration_error(chances, truth)),
    ):
        assert interval.value == pytest.approx(value)
        assert (interval.lower, interval.upper) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))))
        assert (interval.patients, interval.cases) == (10, 30)


@pytest.mark.parametrize("number", [1, 6, 20, 49])
def test_wilcoxon_is_scipys_exact_one(number):
    differences = np.random.default_rng(number).normal(0.3, 1, number)
    assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_wilcoxon_with_ties_is_the_count_over_all_signs():
    differences = np.array([1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 0.0])
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    won = ranks[differences[differences != 0] > 0].sum()
    sums = np.array([ranks[np.array(signs, bool)].sum() for signs in product((0, 1), repeat=len(ranks))])
    assert wilcoxon(differences) == pytest.approx(2 * min((sums >= won).mean(), (sums <= won).mean()))
    assert wilcoxon([0.0, 0.0]) == 1.0


def test_wilcoxon_of_many_is_scipys_approximation():
    differences = np.round(np.random.default_rng(0).normal(0.1, 1, 120), 1)
    expected = stats.wilcoxon(differences, method="approx", correction=False).pvalue
    assert wilcoxon(differences) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 0), (3, 7), (30, 12)])
def test_mcnemar_is_the_binomial_test(won, lost):
    expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected)


def test_the_test_between_arms_is_chosen_by_what_the_values_are():
    rng = np.random.default_rng(0)
    first, second = rng.random(40), rng.random(40)
    single, several = [f"p{i}" for i in range(40)], [f"p{i // 4}" for i in range(40)]
    assert compare_means(first, second, several).test == "Wilcoxon signed-rank"
    right, other = (first > 0.3).astype(float), (second > 0.5).astype(float)
    exact = compare_means(right, other, single, share=True)
    assert exact.test == "McNemar, exact"
    won, lost = int((right > other).sum()), int((right < other).sum())
    assert exact.p == pytest.approx(mcnemar(won, lost))
    clustered_p = compare_means(right, other, several, share=True)
    assert clustered_p.test == "paired bootstrap"
    assert clustered_p.difference.value == pytest.approx((right - other).mean())


@pytest.mark.parametrize("share", [False, True])
def test_under_no_difference_few_tests_are_significant_and_a_great_one_is_found(share):
    rng = np.random.default_rng(1)
    patients = [f"p{i // 5}" for i in range(100)]
    found = []
    for _ in range(150):
        skill = np.repeat(rng.normal(size=20), 5)
        arms = [
            (skill + rng.normal(size=100) > 0).astype(float) if share else skill + rng.normal(size=100) for _ in "12"
        ]
        found.append(compare_means(*arms, patients, share=share, resamples=400).p < 0.05)
    assert np.mean(found) <= 0.11
    better = np.ones(100) if share else arms[0] + 2
    assert compare_means(better, np.zeros(100) if share else arms[0], patients, share=share).p < 0.01


def test_groups_of_other_patients_differ_by_the_difference_of_their_means():
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 0.1, 30), rng.normal(0, 0.1, 30)
    found = compare_groups(one, [f"a{i // 2}" for i in range(30)], other, [f"b{i // 3}" for i in range(30)])
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert 0.8 < found.lower < found.value < found.upper < 1.2
    assert compare_groups([1.0], ["a"], other, [f"b{i}" for i in range(30)]).lower is None


def test_holm_is_the_step_down_by_hand():
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
