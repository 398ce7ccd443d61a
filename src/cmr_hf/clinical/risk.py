"""Does the error rise with the uncertainty? Risk and coverage of figures whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RiskCoverage:
    """What is left of the error when the least certain figures are refused.

    Attributes:
        coverage (`np.ndarray` of shape `(n,)`): share of the figures that are kept, 1 / n … 1.
        risk (`np.ndarray` of shape `(n,)`): mean absolute error of those.
        area (`float`): under the curve; less is better.
        area_random, area_best (`float`): of refusing at random, and by the error itself.
        rank_correlation (`float`): Spearman's, of error and uncertainty; 0 is no relation. NaN if one does not vary.
        covered (`float`): share of the errors within 1.96 standard deviations; 0.95 is as it should be.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float
    area_random: float
    area_best: float
    rank_correlation: float
    covered: float


def risk_coverage(errors: Sequence[float], uncertainties: Sequence[float]) -> RiskCoverage:
    """The risk-coverage curve of figures (El-Yaniv and Wiener, J Mach Learn Res 2010;11:1605).

    Args:
        errors: measured - true of each figure.
        uncertainties: standard deviation of each, in the same unit.

    Raises:
        ValueError: lists of other lengths, fewer than two, or numbers that are not finite.
    """
    error, doubt = np.abs(np.asarray(errors, dtype=float)), np.asarray(uncertainties, dtype=float)
    if error.shape != doubt.shape or error.ndim != 1 or len(error) < 2:
        raise ValueError(
            f"`errors` and `uncertainties` need one length of at least 2, got {error.shape} and {doubt.shape}"
        )
    if not (np.isfinite(error).all() and np.isfinite(doubt).all()):
        raise ValueError("`errors` and `uncertainties` need finite numbers, got others: leave refused figures out")
    count = np.arange(1, len(error) + 1)

    def curve(order: np.ndarray) -> np.ndarray:
        return np.cumsum(error[order]) / count

    risk = curve(np.argsort(doubt, kind="stable"))
    best = curve(np.argsort(error, kind="stable"))
    return RiskCoverage(
        count / len(error),
        risk,
        float(risk.mean()),
        float(error.mean()),
        float(best.mean()),
        _spearman(error, doubt),
        float((error <= 1.96 * doubt).mean()),
    )


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    a, b = _ranks(one), _ranks(other)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]
