"""Does the error rise with the uncertainty? Risk and coverage of figures whose truth is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_EXPECTED = 20.0  # pixels, by their probabilities: a structure of which nothing was drawn may still be there


@dataclass(frozen=True)
class RiskCoverage:
    """What is left of the error when the least certain figures are refused.

    Attributes:
        coverage (`np.ndarray` of shape `(n,)`): share of the figures that are kept, 1 / n … 1.
        risk (`np.ndarray` of shape `(n,)`): mean absolute error of those.
        best (`np.ndarray` of shape `(n,)`): the same where the largest errors are refused first.
        area (`float`): under the curve; less is better.
        area_random, area_best (`float`): of refusing at random, and by the error itself.
        rank_correlation (`float`): Spearman's, of error and uncertainty; 0 is no relation. NaN if one does not vary.
        covered (`float`): share of the errors within 1.96 standard deviations; 0.95 is as it should be.
    """

    coverage: np.ndarray
    risk: np.ndarray
    best: np.ndarray
    area: float
    area_random: float
    area_best: float
    rank_correlation: float
    covered: float

    def kept(self, share: float) -> float:
        """Mean absolute error of the surest part, `share` from 0 to 1, of the figures; at least one."""
        return float(self.risk[max(round(share * len(self.risk)), 1) - 1])

    @property
    def last(self) -> float:
        """Mean absolute error of the least sure quarter, at least one figure."""
        count = len(self.risk)
        kept = min(round(0.75 * count), count - 1)
        total = self.risk[-1] * count - (self.risk[kept - 1] * kept if kept else 0.0)
        return float(total / (count - kept))


def expected_dice(labels: np.ndarray, chances: Mapping[int, np.ndarray]) -> np.ndarray:
    """Dice of each slice that the probabilities themselves promise, mean of the structures that they see there.

    Of a structure drawn as the pixels M, with probability p: 2 Σ_M p / (|M| + Σ p), the expected overlap over
    the expected areas. Unlike the mean probability of what was drawn it also knows of what was left out, and
    small structures count as much as large ones.

    Args:
        labels (`np.ndarray` of shape `(…, y, x)`): label ids.
        chances (mapping of label id to `np.ndarray` of that shape): probability, 0 … 1, or 0 … 255 as uint8.

    Returns:
        `np.ndarray` of shape `(…)`; NaN where nothing is drawn and nothing expected.

    Raises:
        ValueError: shapes that differ.
    """
    labels = np.asarray(labels)
    total, count = np.zeros(labels.shape[:-2]), np.zeros(labels.shape[:-2])
    for label, maps in chances.items():
        if np.shape(maps) != labels.shape:
            raise ValueError(f"`chances` needs the shape of `labels` {labels.shape}, got {np.shape(maps)}: pass both")
        scale = 255.0 if np.asarray(maps).dtype == np.uint8 else 1.0
        chosen = labels == label
        drawn = np.count_nonzero(chosen, axis=(-2, -1))
        held = np.where(chosen, maps, 0).sum(axis=(-2, -1), dtype=np.float64) / scale
        expected = np.sum(maps, axis=(-2, -1), dtype=np.float64) / scale
        there = (drawn > 0) | (expected >= LEAST_EXPECTED)
        total += np.divide(2 * held, drawn + expected, out=np.zeros_like(total), where=there)
        count += there
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


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
        best,
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
