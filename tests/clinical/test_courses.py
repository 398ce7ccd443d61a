"""Smooth courses over the cycle: a beating heart keeps to them, slips and noise are told."""

import numpy as np
import pytest

from cmr_hf.clinical.courses import COURSE_PHASES, smooth_course


def atrium(phases: int = 25) -> np.ndarray:
    """Areas of an atrium: filled until 0.4 of the cycle, emptied early and again by its own beat."""
    time = np.arange(phases) / phases
    early, own = 1 / (1 + np.exp(-(time - 0.5) / 0.03)), 1 / (1 + np.exp(-(time - 0.9) / 0.02))
    filled = 12 + 10 * np.sin(np.pi * np.clip(time / 0.8, 0, 0.5))
    return filled - 6 * early - 4 * own


@pytest.mark.parametrize("phases", [16, 20, 25, 30, 40])
def test_an_atrium_keeps_to_its_course(phases):
    course = smooth_course(atrium(phases))
    assert course.off == ()
    assert course.spread < 0.05
    assert not course.rough
    np.testing.assert_allclose(course.expected, atrium(phases), atol=2.2)


@pytest.mark.parametrize("lost", [(7,), (11, 12), (21, 22, 23), (0, 24)])
def test_phases_that_collapse_are_named_and_the_course_goes_through_them(lost):
    areas = atrium()
    areas[list(lost)] *= 0.2
    course = smooth_course(areas)
    assert course.off == lost
    assert not course.rough
    np.testing.assert_allclose(course.expected, atrium(), atol=4)


def test_where_nothing_was_found_counts_as_off():
    areas = atrium()
    areas[[3, 4]] = 0, np.nan
    assert smooth_course(areas).off == (3, 4)


def test_when_most_phases_disagree_then_the_course_is_rough():
    rng = np.random.default_rng(0)
    assert smooth_course(atrium() * rng.uniform(0.3, 1.2, 25)).rough
    empty = atrium()
    empty[::3] = 0
    assert smooth_course(empty).rough


def test_a_cycle_that_is_not_closed_may_end_elsewhere():
    slope = np.linspace(10, 20, 25)
    assert smooth_course(slope, cyclic=False).spread < 0.005
    assert smooth_course(slope, cyclic=True).spread > 0.05


def test_too_few_phases_have_no_course():
    assert smooth_course(atrium(COURSE_PHASES - 1)) is None
    assert smooth_course(atrium(COURSE_PHASES)) is not None
