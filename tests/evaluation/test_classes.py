"""Accuracy, AUC and calibration against scikit-learn, and what is refused."""

import numpy as np
import pytest

from cmr_hf.evaluation.classes import (
    auc,
    average_ranks,
    calibration_error,
    class_accuracy,
    confusion_matrix,
    mean_auc,
)


@pytest.fixture
def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics")


def sample(seed: int, classes: int, number: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and true ids, in which probabilities know a little."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, number)
    logits = rng.normal(size=(number, classes)) + 1.5 * np.eye(classes)[truth]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return chances, truth


@pytest.mark.parametrize("classes", [2, 5])
def test_accuracy_is_scikit_learns_recall(sklearn_metrics, classes):
    chances, truth = sample(0, classes)
    predicted = chances.argmax(axis=1)
    found = class_accuracy(predicted, truth, classes)
    assert found.per_class == pytest.approx(sklearn_metrics.recall_score(truth, predicted, average=None).tolist())
    assert found.balanced == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, predicted))
    assert found.total == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    expected = sklearn_metrics.confusion_matrix(truth, predicted, labels=range(classes))
    assert np.array_equal(confusion_matrix(predicted, truth, classes), expected)


def test_when_a_class_has_no_sample_then_its_accuracy_is_unknown_and_counts_nowhere():
    found = class_accuracy([0, 2, 1], [0, 0, 1], 3)
    assert found.per_class == [0.5, 1.0, None]
    assert found.counts == [2, 1, 0]
    assert (found.balanced, found.total) == (0.75, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("predicted", "truth", "says"),
    [([], [], "one length"), ([0, 1], [0], "one length"), ([0, 3], [0, 1], "from 0 to 2"), ([0.5], [0.0], "whole")],
)
def test_when_ids_are_wrong_then_accuracy_says_so(predicted, truth, says):
    with pytest.raises(ValueError, match=says):
        class_accuracy(predicted, truth, 3)


@pytest.mark.parametrize("seed", range(3))
def test_auc_is_scikit_learns_with_many_ties(sklearn_metrics, seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(120) < 0.4
    scores = np.round(rng.normal(size=120) + positive, 0)  # a handful of values
    assert auc(scores, positive) == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores))
    assert auc(np.zeros(120), positive) == 0.5


def test_mean_auc_is_scikit_learns_one_against_the_rest(sklearn_metrics):
    chances, truth = sample(1, 4)
    expected = sklearn_metrics.roc_auc_score(truth, chances, multi_class="ovr", average="macro")
    assert mean_auc(chances, truth) == pytest.approx(expected)
    two, truth = sample(2, 2)
    assert mean_auc(two, truth) == pytest.approx(sklearn_metrics.roc_auc_score(truth, two[:, 1]))


@pytest.mark.parametrize("call", [lambda: auc([0.1, 0.9], [1, 1]), lambda: mean_auc(np.full((3, 2), 0.5), [1, 1, 1])])
def test_when_there_is_one_class_only_then_the_auc_is_refused(call):
    with pytest.raises(ValueError, match="an AUC needs"):
        call()


@pytest.mark.parametrize(("classes", "bins"), [(2, 10), (5, 15)])
def test_calibration_error_is_that_of_scikit_learns_curve(classes, bins):
    calibration = pytest.importorskip("sklearn.calibration")
    chances, truth = sample(3, classes, 500)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    happened, said = calibration.calibration_curve(right, confidence, n_bins=bins)
    counts = np.histogram(confidence, bins=np.linspace(0, 1, bins + 1))[0]
    expected = (np.abs(happened - said) * counts[counts > 0]).sum() / len(truth)
    assert calibration_error(chances, truth, bins) == pytest.approx(expected)


def test_calibration_error_of_the_certain():
    chances = np.eye(2)[[0, 0, 1, 1]]
    assert calibration_error(chances, [0, 0, 1, 1]) == 0.0
    assert calibration_error(chances, [1, 1, 0, 0]) == 1.0


@pytest.mark.parametrize("chances", [[[0.5, 0.2]], [[np.nan, 1.0]], [[1.0]], [[1.5, -0.5]]])
def test_when_rows_are_no_probabilities_then_it_says_so(chances):
    with pytest.raises(ValueError, match="`chances` needs"):
        calibration_error(np.array(chances), [0])


def test_equal_values_share_their_ranks():
    stats = pytest.importorskip("scipy.stats")
    values = np.array([3.0, 1.0, 3.0, 2.0, 1.0, 3.0])
    assert average_ranks(values).tolist() == stats.rankdata(values).tolist()
