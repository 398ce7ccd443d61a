"""The smooth course of what beats: a heart's areas and volumes do not jump from phase to phase, masks do."""

from dataclasses import dataclass

import numpy as np

WAVES = 3  # over a cycle; more than an atrium's two emptyings need
COURSE_PHASES = 2 * (2 * WAVES + 1)  # with a value: twice the numbers that are fitted
OFF = 0.25  # of the course's maximum
MOST_OFF = 0.2  # share of the phases
STEPS = 30  # of the fit by least distances
ROUGH = 0.1  # standard deviation over the maximum, beyond which a course is not to be believed


@dataclass(frozen=True)
class Course:
    """A smooth course over time, and how well the phases keep to it.

    Attributes:
        expected (`np.ndarray` of shape `(t,)`): the course, in the unit of the values.
        spread (`float`): standard deviation of the phases that keep to it, over the course's maximum.
        off (`tuple` of `int`): phases that leave it, from 0.
    """

    expected: np.ndarray
    spread: float
    off: tuple[int, ...] = ()

    @property
    def rough(self) -> bool:
        """The phases do not agree with each other."""
        return self.spread > ROUGH or len(self.off) > MOST_OFF * len(self.expected)


def smooth_course(values: np.ndarray, cyclic: bool = True) -> Course | None:
    """The smooth course of something that beats, and which phases leave it.

    A mean and two waves (twice as many halves where the cycle is not closed) are fitted to the phases by least
    distances. Phases that are off by more than `OFF` of the course's maximum, and by three robust standard deviations,
    leave it; a mean and three waves are then fitted to the others by least squares.

    Args:
        values (`np.ndarray` of shape `(t,)`): areas or volumes; 0 or NaN where nothing was found, which counts as off.
        cyclic (`bool`): the last phase is followed by the first.

    Returns:
        `None` for fewer than `COURSE_PHASES` phases with a value.
    """
    values = np.nan_to_num(np.asarray(values, dtype=float))
    count = len(values)
    kept = values > 0
    if kept.sum() < COURSE_PHASES:
        return None
    waves, time = np.arange(1, WAVES + 1), np.arange(count)[:, None]
    if cyclic:
        turns = 2 * np.pi * time * waves / count
        basis = np.concatenate((np.ones((count, 1)), np.cos(turns), np.sin(turns)), axis=1)
    else:
        basis = np.cos(np.pi * (time + 0.5) * np.arange(2 * WAVES + 1) / count)
    stiff = basis[:, [0, 1, 2, 4, 5]] if cyclic else basis[:, :5]  # two waves cannot follow a few lost phases
    rough, _ = _fitted(stiff, values, kept, steps=STEPS)
    away = np.abs(values - rough)
    kept &= away <= max(OFF * float(rough.max()), 3 * 1.4826 * float(np.median(away[kept])))
    if kept.sum() <= basis.shape[1]:
        return Course(rough, np.inf, tuple(int(t) for t in np.flatnonzero(~kept)))
    expected, sd = _fitted(basis, values, kept)
    most = float(expected.max())
    return Course(expected, sd / most if most > 0 else np.inf, tuple(int(t) for t in np.flatnonzero(~kept)))


def _fitted(basis: np.ndarray, values: np.ndarray, kept: np.ndarray, steps: int = 0) -> tuple[np.ndarray, float]:
    """The course of all phases by those that are kept, and their standard deviation from it.

    Without steps by least squares; each step weighs the phases by how near they lie, which comes to least distances, so
    that a few bad ones have little say.
    """
    weights = np.ones(len(values))
    for _ in range(steps + 1):
        scaled = np.sqrt(weights[kept])
        course = basis @ np.linalg.lstsq(basis[kept] * scaled[:, None], values[kept] * scaled, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(values - course), 1e-3 * values.max())
    free = max(int(kept.sum()) - basis.shape[1], 1)
    return course, float(np.sqrt(np.square(values - course)[kept].sum() / free))
