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


def four_chamber_cine(phases: int = 20) -> np.ndarray:
    """Ventricle (1) and atrium (4) of one slice, the atrium largest in phase 8; shape (t, 1, y, x)."""
    row, column = np.mgrid[:64, :64]
    labels = np.zeros((phases, 1, 64, 64), np.uint8)
    labels[:, 0, 8:32, 20:44] = 1
    for t in range(phases):
        depth = 20 + 6 * np.cos(2 * np.pi * (t - 8) / phases)
        labels[t, 0][(row >= 32) & (((row - 32) / depth) ** 2 + ((column - 32) / 14) ** 2 <= 1)] = 4
    return labels


def test_when_an_atrium_is_lost_in_phases_in_a_row_then_those_that_have_it_draw_it():
    labels = four_chamber_cine()
    broken = labels.copy()
    for t in (14, 15):
        broken[t][labels[t] == 4] = 1  # the ventricle takes it
    found = made_consistent(broken, (1, 4))
    assert {(14, 0), (15, 0)} <= set(found.mended)
    for t in (14, 15):
        assert (found.labels[t] == 4).sum() > 0.8 * (labels[t] == 4).sum()
        assert ((found.labels[t] == 1) == (labels[t] == 1)).mean() > 0.97
    np.testing.assert_array_equal(np.delete(found.labels, (14, 15), axis=0), np.delete(labels, (14, 15), axis=0))


def test_when_an_atrium_is_lost_in_most_phases_then_nobody_can_say_and_all_stay():
    labels = four_chamber_cine()
    for t in range(0, 20, 4):
        labels[t : t + 2][labels[t : t + 2] == 4] = 1
    np.testing.assert_array_equal(made_consistent(labels).labels, labels)


def test_holes_are_filled_and_counted_apart_from_islands():
    labels, _ = cine_labels(2)
    holed = labels.copy()
    y, x = np.argwhere(labels[0, 3] == 1).mean(axis=0).round().astype(int)
    holed[0, 3, y, x] = 0
    found = made_consistent(holed, (1, 2, 3))
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.islands, found.holes) == (0, 1)
    assert found.notes == ("1 pixels of holes were filled",)
