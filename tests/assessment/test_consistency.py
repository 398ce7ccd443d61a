"""Light consistency: slips of single slices are mended, the beating heart is left alone."""

import numpy as np
import pytest

from cmr_hf.assessment.consistency import made_consistent
from tests.assessment.study_factory import cine_labels


def test_when_nothing_is_wrong_then_nothing_changes_however_coarse_the_phases_are():
    for phases in (5, 6, 8, 9, 25):
        labels, _ = cine_labels(phases)
        found = made_consistent(labels, (1, 2, 3))
        np.testing.assert_array_equal(found.labels, labels)
        assert found.notes == ()


def test_when_one_slice_of_one_phase_is_lost_then_its_neighbours_in_time_draw_it():
    labels, _ = cine_labels(20)
    broken = labels.copy()
    broken[7, 3][broken[7, 3] == 1] = 0
    found = made_consistent(broken)
    assert found.mended == ((7, 3),)
    assert (found.labels[7, 3] == labels[7, 3]).mean() > 0.99
    np.testing.assert_array_equal(np.delete(found.labels, 7, axis=0), np.delete(labels, 7, axis=0))
    assert "phase 8, slice 4" in found.notes[0]


def test_when_a_slice_is_lost_in_two_phases_in_a_row_then_nobody_can_say_and_it_stays():
    labels, _ = cine_labels(20)
    labels[7:9, 3][labels[7:9, 3] == 1] = 0
    assert made_consistent(labels).mended == ()


def test_when_the_cycle_is_not_closed_then_the_first_and_last_phase_are_not_judged():
    labels, _ = cine_labels(20)
    labels[0, 3][labels[0, 3] == 1] = 0
    assert made_consistent(labels, cyclic=False).mended == ()
    assert made_consistent(labels, cyclic=True).mended == ((0, 3),)


def test_when_there_are_islands_then_only_those_of_single_structures_are_taken_away():
    labels, _ = cine_labels(2)
    labels[0, 0, :5, :5] = 1
    labels[0, 0, 60:64, :5] = 6
    found = made_consistent(labels, (1, 2, 3))
    assert found.islands == 25
    assert not (found.labels[0, 0, :5, :5]).any()
    assert (found.labels[0, 0, 60:64, :5] == 6).all()


def test_when_axes_are_missing_then_the_error_says_which():
    with pytest.raises(ValueError, match="needs shape"):
        made_consistent(np.zeros((4, 8, 8), np.uint8))
