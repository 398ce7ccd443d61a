"""Whether two ways to measure a volume or an ejection fraction agree: bias, limits of agreement, ICC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LIMIT = 1.96  # standard deviations; between the limits lie 95 % of differences


@dataclass(frozen=True)
class BlandAltman:
    """Differences, measured minus reference, in the unit of the measure.

    Attributes:
        bias (`float`): mean.
        sd (`float`): standard deviation, of the sample (n − 1).
        lower, upper (`float`): limits of agreement, bias ± 1.96 SD.
        n (`int`): pairs.
    """

    bias: float
    sd: float
    lower: float
    upper: float
    n: int


def bland_altman(measured: Sequence[float], reference: Sequence[float]) -> BlandAltman:
    """Bias and limits of agreement of pairs.

    Raises:
        ValueError: fewer than two pairs, other lengths, or values that are not finite.

    Source: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8.
    """
    pairs = _pairs(measured, reference, least=2)
    differences = pairs[:, 0] - pairs[:, 1]
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    return BlandAltman(bias, sd, bias - LIMIT * sd, bias + LIMIT * sd, len(differences))


def icc(measured: Sequence[float], reference: Sequence[float], kind: str = "agreement") -> float:
    """Intraclass correlation of single measurements by two raters.

    Args:
        measured, reference (`Sequence` of `float`)
        kind (`str`): "agreement": ICC(2,1) of Shrout and Fleiss, which McGraw and Wong call ICC(A,1); a bias lowers it.
            "consistency": ICC(3,1), called ICC(C,1); a bias does not count.

    Returns:
        `float` up to 1; below 0 where raters disagree more than patients differ.

    Raises:
        ValueError: fewer than two pairs, or all values are the same: then there is nothing to correlate.

    Source: Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420; McGraw and Wong 1996,
    doi:10.1037/1082-989X.1.1.30.
    """
    return icc_of_ratings(_pairs(measured, reference, least=2), kind)


def icc_of_ratings(ratings: np.ndarray, kind: str = "agreement") -> float:
    """`icc` for any number of raters; `ratings` of shape `(patients, raters)`."""
    if kind not in ("agreement", "consistency"):
        raise ValueError(f"`kind` must be one of agreement and consistency, got {kind!r}")
    patients, raters = ratings.shape
    grand = ratings.mean()
    rows, columns = ratings.mean(axis=1), ratings.mean(axis=0)
    between_patients = raters * ((rows - grand) ** 2).sum() / (patients - 1)
    between_raters = patients * ((columns - grand) ** 2).sum() / (raters - 1)
    rest = ((ratings - rows[:, None] - columns[None, :] + grand) ** 2).sum() / ((patients - 1) * (raters - 1))
    bottom = between_patients + (raters - 1) * rest
    if kind == "agreement":
        bottom += raters * (between_raters - rest) / patients
    if np.ptp(ratings) == 0 or bottom == 0:
        raise ValueError("an ICC needs values that differ, got the same ones throughout: it is not defined for them")
    return float((between_patients - rest) / bottom)


def _pairs(measured: Sequence[float], reference: Sequence[float], least: int) -> np.ndarray:
    measured, reference = np.asarray(measured, dtype=float), np.asarray(reference, dtype=float)
    if measured.shape != reference.shape or measured.ndim != 1 or len(measured) < least:
        raise ValueError(
            f"agreement needs {least} pairs or more, got {measured.shape} measured and {reference.shape} reference: "
            "pass one value of each patient"
        )
    pairs = np.stack((measured, reference), axis=1)
    if not np.isfinite(pairs).all():
        raise ValueError("agreement needs finite values: leave out patients in whom one of the two is not known")
    return pairs
