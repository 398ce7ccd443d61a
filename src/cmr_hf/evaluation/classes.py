"""How often a classifier is right, how well it ranks, and whether its probabilities can be believed.

What cannot be computed from the samples (AUC with one class only, say) is refused with a reason; it is never NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracy by class, as the paper has it, and over all.

    Attributes:
        per_class (`list`): right among the samples of each class (recall); `None` for a class without samples.
        counts (`list` of `int`): samples of each class.
        total (`float`): right among all samples, as the paper's "Total".
        balanced (`float`): mean of `per_class` over the classes that have samples.
    """

    per_class: list[float | None]
    counts: list[int]
    total: float
    balanced: float


def class_accuracy(predicted: Sequence[int], truth: Sequence[int], classes: int) -> ClassAccuracy:
    """Accuracy of predicted class ids.

    Args:
        predicted, truth (`Sequence` of `int`): ids from 0.
        classes (`int`): how many there are.

    Raises:
        ValueError: no sample, another number of predictions, or an id out of range.
    """
    predicted, truth = _ids(predicted, truth, classes)
    counts = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[predicted == truth], minlength=classes)
    per_class = [int(r) / int(n) if n else None for r, n in zip(right, counts, strict=True)]
    present = [value for value in per_class if value is not None]
    return ClassAccuracy(per_class, counts.tolist(), float((predicted == truth).mean()), float(np.mean(present)))


def confusion_matrix(predicted: Sequence[int], truth: Sequence[int], classes: int) -> np.ndarray:
    """Counts of shape `(classes, classes)`, truth in rows, prediction in columns."""
    predicted, truth = _ids(predicted, truth, classes)
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Area under the ROC curve: how often a positive sample scores higher than a negative one; a tie counts half.

    Args:
        scores (`Sequence` of `float`): higher for positive.
        positive (`Sequence` of `bool`)

    Raises:
        ValueError: only one class is there, or a score is not finite.

    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    scores, positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    if scores.shape != positive.shape or scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(
            f"`scores` and `positive` need one length and finite scores, got {scores.shape} and {positive.shape}"
        )
    number = int(positive.sum())
    if number in (0, len(positive)):
        raise ValueError(
            f"an AUC needs positive and negative samples, got {number} positive of {len(positive)}: add samples of the "
            "other class, or report the accuracy alone"
        )
    ranks = average_ranks(scores)
    wins = ranks[positive].sum() - number * (number + 1) / 2
    return float(wins / (number * (len(positive) - number)))


def mean_auc(chances: np.ndarray, truth: Sequence[int]) -> float:
    """AUC of each class against the others, averaged over the classes that have samples; of two classes the second's.

    Args:
        chances (`np.ndarray` of shape `(n, classes)`): probabilities.
        truth (`Sequence` of `int`): ids.

    Raises:
        ValueError: all samples are of one class.
    """
    chances, truth = _chances(chances, truth)
    classes = chances.shape[1]
    present = [index for index in range(classes) if (truth == index).any()]
    if len(present) < 2:
        raise ValueError(f"an AUC needs samples of two classes or more, got those of {present} only: add others")
    if classes == 2:
        return auc(chances[:, 1], truth == 1)
    return float(np.mean([auc(chances[:, index], truth == index) for index in present]))


def calibration_error(chances: np.ndarray, truth: Sequence[int], bins: int = BINS) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, in bins of equal width.

    Args:
        chances (`np.ndarray` of shape `(n, classes)`): probabilities; the greatest of a row is its confidence.
        truth (`Sequence` of `int`): ids.
        bins (`int`, defaults to 15): (0, 1/bins], (1/bins, 2/bins] …

    Returns:
        `float` from 0 (what it says happens as often as it says) to 1.

    Raises:
        ValueError: no sample, or rows that are no probabilities.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    gaps, place = calibration_gaps(chances, truth, bins)
    return float(np.abs(np.bincount(place, weights=gaps, minlength=bins)).sum() / len(gaps))


def calibration_gaps(chances: np.ndarray, truth: Sequence[int], bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Right (1 or 0) minus confidence of each sample, and the bin of its confidence."""
    chances, truth = _chances(chances, truth)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    return right - confidence, np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[place]


def _ids(predicted: Sequence[int], truth: Sequence[int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(
            f"`predicted` and `truth` need one length of 1 or more, got {predicted.shape} and {truth.shape}: pass an "
            "id of each sample"
        )
    ids = np.concatenate((predicted, truth))
    if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= classes:
        raise ValueError(f"class ids need to be whole numbers from 0 to {classes - 1}, got {np.unique(ids).tolist()}")
    return predicted, truth


def _chances(chances: np.ndarray, truth: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    chances, truth = np.asarray(chances, dtype=float), np.asarray(truth)
    if chances.ndim != 2 or chances.shape[1] < 2 or len(chances) != len(truth) or not len(truth):
        raise ValueError(f"`chances` needs shape (samples, classes) for {len(truth)} samples, got {chances.shape}")
    if not (np.isfinite(chances).all() and (chances >= 0).all() and np.allclose(chances.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("`chances` needs probabilities that sum to 1 in each row: pass the softmax of the logits")
    _ids(truth, truth, chances.shape[1])
    return chances, truth
