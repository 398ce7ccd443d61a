"""Intervals and tests that know that slices of one patient are not independent.

Patients are drawn, with all that belongs to them; never slices. Everything is seeded and vectorised: one matrix
of how often each patient was drawn in each resample, `(resamples, patients)`, turns sums by patient into statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt

import numpy as np

from .classes import BINS, average_ranks, calibration_error, calibration_gaps, mean_auc

RESAMPLES = 2000
LEVEL = 0.95
LEAST_PATIENTS = 3  # of fewer no interval is drawn at all
EXACT_UP_TO = 50  # patients; beyond, the signed-rank statistic is normal to three digits
# patients -> how often the bootstrap interval of their mean holds the truth; of normal values, simulated in the tests
COVERAGE = {3: 0.75, 4: 0.82, 5: 0.83, 6: 0.86, 7: 0.86, 8: 0.88, 9: 0.90, 10: 0.90, 15: 0.91, 20: 0.93, 50: 0.94}


@dataclass(frozen=True)
class Interval:
    """A statistic and its 95 % interval.

    Attributes:
        value (`float`)
        lower, upper (`float`, *optional*): `None` where there are too few patients to draw from.
        patients (`int`), cases (`int`): how many it is from.
        method (`str`): "bootstrap by patient", or "exact, by patient" for a share of all or none.
    """

    value: float
    lower: float | None
    upper: float | None
    patients: int
    cases: int
    method: str = "bootstrap by patient"

    @property
    def width(self) -> float | None:
        return None if self.lower is None or self.upper is None else self.upper - self.lower


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same patients.

    Attributes:
        difference (`Interval`): first minus second.
        p (`float`, *optional*): two-sided; `None` where no test could be made.
        test (`str`): which one.
    """

    difference: Interval
    p: float | None
    test: str


def draws(patients: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each patient is drawn in each resample: `(resamples, patients)`, rows sum to `patients`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples).astype(float)


def coverage(patients: int) -> float:
    """How often an interval of so many patients, which says 95 %, holds the truth; of skewed values less."""
    return max((share for least, share in COVERAGE.items() if least <= patients), default=0.0)


def by_patient(values: Sequence[float], patients: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Sum and number of the values of each patient, and the patients in sorted order.

    Raises:
        ValueError: no value, other lengths, or a value that is not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values) or len(values) != len(patients) or not np.isfinite(values).all():
        raise ValueError(
            f"statistics need finite values and a patient for each, got {values.shape} values and {len(patients)} "
            "patients: leave out what was not measured"
        )
    names, place = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    return np.bincount(place, weights=values), np.bincount(place).astype(float), names.tolist()


def mean_interval(
    values: Sequence[float], patients: Sequence[str], share: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of the values with its percentile interval, patients drawn with replacement.

    Args:
        values (`Sequence` of `float`): one per case.
        patients (`Sequence` of `str`): whose it is.
        share (`bool`): the values are 0 and 1. Where all are the same no resample differs, which would claim to be
            certain; the Clopper-Pearson bound for that many patients is given instead.

    Source: Efron and Tibshirani 1993, chapter 13; Field and Welsh 2007 for drawing clusters; Clopper and Pearson 1934.
    """
    sums, counts, names = by_patient(values, patients)
    number, cases = len(names), int(counts.sum())
    value = float(sums.sum() / cases)
    if share and value in (0.0, 1.0):
        far = ((1 - LEVEL) / 2) ** (1 / number)
        lower, upper = (far, 1.0) if value else (0.0, 1 - far)
        return Interval(value, lower, upper, number, cases, "exact, by patient")
    if number < LEAST_PATIENTS:
        return Interval(value, None, None, number, cases)
    drawn = draws(number, resamples, seed)
    return Interval(value, *_percentiles((drawn @ sums) / (drawn @ counts)), number, cases)


def mean_of_groups_interval(
    values: Sequence[float],
    groups: Sequence[str],
    patients: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of the means of groups (classes, say), with its interval; a group that a resample lost is left out there."""
    _, totals, names = by_patient(values, patients)
    place = {name: index for index, name in enumerate(names)}
    kinds = sorted(set(groups))
    sums, counts = np.zeros((len(names), len(kinds))), np.zeros((len(names), len(kinds)))
    for value, group, patient in zip(values, groups, patients, strict=True):
        at = place[str(patient)], kinds.index(group)
        sums[at] += value
        counts[at] += 1
    value = float((sums.sum(axis=0) / counts.sum(axis=0)).mean())
    if len(names) < LEAST_PATIENTS:
        return Interval(value, None, None, len(names), int(totals.sum()))
    drawn = draws(len(names), resamples, seed)
    there = drawn @ counts  # (resamples, groups)
    means = np.divide(drawn @ sums, there, out=np.zeros_like(there), where=there > 0)
    found = (there > 0).sum(axis=1)
    return Interval(value, *_percentiles(means.sum(axis=1) / found), len(names), int(totals.sum()))


def auc_interval(
    chances: np.ndarray, truth: Sequence[int], patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """`mean_auc` with its interval; a resample counts the classes that it has, and not at all with one class only.

    Args:
        chances (`np.ndarray` of shape `(n, classes)`): probabilities.
        truth (`Sequence` of `int`): ids.
        patients (`Sequence` of `str`): whose it is.

    Raises:
        ValueError: all samples are of one class.
    """
    value = mean_auc(chances, truth)
    chances, truth = np.asarray(chances, dtype=float), np.asarray(truth)
    names, place = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < LEAST_PATIENTS:
        return Interval(value, None, None, len(names), len(truth))
    drawn = draws(len(names), resamples, seed)
    classes = (1,) if chances.shape[1] == 2 else [index for index in range(chances.shape[1]) if (truth == index).any()]
    total, found = np.zeros(resamples), np.zeros(resamples)
    for index in classes:
        wins, pairs = _wins(chances[:, index], truth == index, place, drawn)
        total += np.divide(wins, pairs, out=np.zeros(resamples), where=pairs > 0)
        found += pairs > 0
    return Interval(value, *_percentiles(total[found > 0] / found[found > 0]), len(names), len(truth))


def _wins(
    scores: np.ndarray, positive: np.ndarray, place: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """In each resample, how often a positive sample scores higher than a negative one, and of how many pairs."""
    number = drawn.shape[1]
    wins = np.zeros((number, number))  # of the positives of one patient over the negatives of another
    for patient, score in zip(place[positive], scores[positive], strict=True):
        won = (score > scores[~positive]) + 0.5 * (score == scores[~positive])
        wins[patient] += np.bincount(place[~positive], weights=won, minlength=number)
    ups = np.bincount(place[positive], minlength=number).astype(float)
    downs = np.bincount(place[~positive], minlength=number).astype(float)
    return ((drawn @ wins) * drawn).sum(axis=1), (drawn @ ups) * (drawn @ downs)


def calibration_interval(
    chances: np.ndarray, truth: Sequence[int], patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """`calibration_error` with its interval. With few samples both are too high: chance leaves gaps too."""
    value = calibration_error(chances, truth)
    gaps, bins = calibration_gaps(chances, truth)
    names, place = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < LEAST_PATIENTS:
        return Interval(value, None, None, len(names), len(gaps))
    sums = np.zeros((len(names), BINS))
    np.add.at(sums, (place, bins), gaps)
    drawn = draws(len(names), resamples, seed)
    values = np.abs(drawn @ sums).sum(axis=1) / (drawn @ np.bincount(place))
    return Interval(value, *_percentiles(values), len(names), len(gaps))


def compare_means(
    first: Sequence[float],
    second: Sequence[float],
    patients: Sequence[str],
    share: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Two arms on the same cases: the difference of their means, drawn by patient, and a paired test.

    Args:
        first, second (`Sequence` of `float`): of the same cases.
        patients (`Sequence` of `str`): whose case it is.
        share (`bool`): the values are 0 and 1 (right or wrong). With one case of each patient McNemar's exact test;
            with several, whose cases are not independent, the bootstrap by patient. Otherwise Wilcoxon's signed-rank
            test of the patients' means.

    Source: Dror et al. 2018 on paired tests; McNemar 1947; Wilcoxon 1945.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"arms need the same cases, got {first.shape} and {second.shape}: match them by name")
    sums, counts, names = by_patient(first - second, patients)
    value, number = float(sums.sum() / counts.sum()), len(names)
    if number < LEAST_PATIENTS:
        return Comparison(Interval(value, None, None, number, len(first)), None, "too few patients")
    drawn = draws(number, resamples, seed)
    differences = (drawn @ sums) / (drawn @ counts)
    interval = Interval(value, *_percentiles(differences), number, len(first))
    if not share:
        return Comparison(interval, wilcoxon(sums / counts), "Wilcoxon signed-rank")
    if (counts == 1).all():
        won, lost = int((sums > 0).sum()), int((sums < 0).sum())
        return Comparison(interval, mcnemar(won, lost), "McNemar, exact")
    below = ((differences <= 0).sum() + 1) / (resamples + 1)
    above = ((differences >= 0).sum() + 1) / (resamples + 1)
    return Comparison(interval, float(min(1.0, 2 * min(below, above))), "paired bootstrap")


def compare_groups(
    values: Sequence[float],
    patients: Sequence[str],
    others: Sequence[float],
    other_patients: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of one group minus that of another, of other patients; each group's patients are drawn by themselves."""
    sides = [by_patient(*side) for side in ((values, patients), (others, other_patients))]
    number = min(len(side[2]) for side in sides)
    value = float(sides[0][0].sum() / sides[0][1].sum() - sides[1][0].sum() / sides[1][1].sum())
    if number < LEAST_PATIENTS:
        return Interval(value, None, None, number, len(values))
    means = []
    for offset, (sums, counts, names) in enumerate(sides):
        drawn = draws(len(names), resamples, seed + offset)
        means.append((drawn @ sums) / (drawn @ counts))
    return Interval(value, *_percentiles(means[0] - means[1]), number, len(values))


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test; zeros are left out, ties share ranks. 1 where all differences are zero.

    Exact (over all signs, ties included) up to 50 differences, beyond by the normal distribution.

    Source: Wilcoxon 1945, doi:10.2307/3001968; Pratt and Gibbons 1981 for ties.
    """
    values = np.asarray(differences, dtype=float)
    values = values[values != 0]
    if not len(values):
        return 1.0
    ranks = average_ranks(np.round(np.abs(values), 12))
    won = ranks[values > 0].sum()
    if len(values) <= EXACT_UP_TO:
        doubled = np.round(2 * ranks).astype(int)  # whole numbers
        ways = np.zeros(int(doubled.sum()) + 1)
        ways[0] = 1.0
        for rank in doubled:
            ways[rank:] += ways[:-rank].copy()
        ways /= ways.sum()
        at = round(2 * won)
        return float(min(1.0, 2 * min(ways[: at + 1].sum(), ways[at:].sum())))
    _, ties = np.unique(ranks, return_counts=True)
    number = len(values)
    variance = number * (number + 1) * (2 * number + 1) / 24 - (ties**3 - ties).sum() / 48
    return float(erfc(abs(won - number * (number + 1) / 4) / sqrt(2 * variance)))


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p from the cases that one arm alone got right and those that the other alone did.

    Source: McNemar 1947, doi:10.1007/BF02295996; the binomial form.
    """
    number = won + lost
    tail = sum(comb(number, k) for k in range(min(won, lost) + 1)) / 2**number
    return float(min(1.0, 2 * tail))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values, adjusted for how many there are (Holm 1979); `None` stays."""
    known = sorted((p, index) for index, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, index) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        adjusted[index] = least
    return adjusted


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    lower, upper = np.percentile(values, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(lower), float(upper)
