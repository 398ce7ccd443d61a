"""Dice, the overlap of two masks, by the convention of the whole package.

Absent from prediction and truth: left out (`None`), there is nothing to overlap. Absent from the truth but predicted,
or the other way round: 0.
"""

from collections.abc import Iterable

import numpy as np


def dice(predicted: np.ndarray, truth: np.ndarray) -> float | None:
    """Dice of two masks.

    Args:
        predicted, truth (`np.ndarray` of one shape, bool)

    Returns:
        `float` from 0 to 1; `None` where both are empty.

    Raises:
        ValueError: the shapes differ.

    Source: Dice 1945, doi:10.2307/1932409.
    """
    predicted, truth = checked_pair(predicted, truth)
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth))
    return 2.0 * int(np.count_nonzero(predicted & truth)) / total if total else None


def dice_per_slice(predicted: np.ndarray, truth: np.ndarray) -> list[float | None]:
    """Dice of each slice of two masks of shape `(z, y, x)`."""
    predicted, truth = checked_pair(predicted, truth)
    return [dice(one, other) for one, other in zip(predicted, truth, strict=True)]


def dice_of_labels(
    predicted: np.ndarray, truth: np.ndarray, labels: Iterable[int]
) -> dict[int, tuple[float | None, list[float | None]]]:
    """Dice of each label of two label maps of shape `(z, y, x)`: of the volume, and of each slice.

    Args:
        predicted, truth (`np.ndarray` of shape `(z, y, x)`): label ids.
        labels (iterable of `int`): those to report.
    """
    return {
        label: (dice(predicted == label, truth == label), dice_per_slice(predicted == label, truth == label))
        for label in labels
    }


def checked_pair(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as boolean arrays.

    Raises:
        ValueError: the shapes differ.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape:
        raise ValueError(
            f"`predicted` and `truth` need one shape, got {predicted.shape} and {truth.shape}: compare them on the "
            "source grid"
        )
    return predicted.astype(bool, copy=False), truth.astype(bool, copy=False)
