"""Segments of a stack that shows no RV, from the cine's septum in patient space."""

import numpy as np

from cmr_hf.assessment.borrowing import agreeing_insertions, borrowed_insertions
from cmr_hf.clinical.segments import aha_segments
from cmr_hf.clinical.stacks import Stack
from tests.clinical.heart_factory import affine_of, ideal_heart


def segments_of(turn_deg=0.0, slices=9, rv=True, flipped=False):
    affine = affine_of(turn_deg, size=(80, 80))
    if flipped:  # from apex to base
        affine[:3, 3] += affine[:3, 2] * (slices - 1)
        affine[:3, 2] *= -1
    labels, stack, points = ideal_heart(slices, affine, rv=rv)
    return labels, stack, points


def test_when_a_turned_stack_without_rv_borrows_then_its_segments_are_those_of_its_own_points():
    cine, cine_stack, points = segments_of()
    lender = aha_segments(cine, cine_stack, points)
    for turn in (0, 35, 140, -80):
        labels, stack, own = segments_of(turn, rv=False)
        borrowed = borrowed_insertions(labels, stack, lender, cine_stack)
        expected = aha_segments(labels, stack, own).ids
        found = aha_segments(labels, stack, borrowed).ids
        assert (found == expected)[expected > 0].mean() > 0.99


def test_when_the_cine_has_no_points_but_an_rv_then_that_will_do():
    cine, cine_stack, _ = segments_of()
    labels, stack, own = segments_of(50, rv=False)
    borrowed = borrowed_insertions(labels, stack, aha_segments(cine, cine_stack), cine_stack)
    expected = aha_segments(labels, stack, own).ids
    assert (aha_segments(labels, stack, borrowed).ids == expected)[expected > 0].mean() > 0.95


def test_when_there_is_nothing_to_borrow_then_none_is_given():
    labels, stack, points = segments_of()
    lender = aha_segments(labels, stack, points)
    nowhere = Stack(stack.spacing_mm, stack.positions_mm)
    across = affine_of()
    across[:3, :3] = across[:3, [2, 0, 1]] / np.linalg.norm(across[:3, [2, 0, 1]], axis=0) * [1.5, 1.5, 10]
    assert borrowed_insertions(labels, stack, None, None) is None
    assert borrowed_insertions(labels, nowhere, lender, stack) is None
    assert borrowed_insertions(labels, Stack.regular((1.5, 1.5), 9, affine=across), lender, stack) is None


def test_when_own_points_are_missing_or_show_another_septum_then_those_of_the_cine_are_used():
    cine, cine_stack, points = segments_of()
    labels, stack, own = segments_of(35, rv=False)
    borrowed = borrowed_insertions(labels, stack, aha_segments(cine, cine_stack, points), cine_stack)
    wrong = own.copy()
    wrong[2] = own[2][::-1] + 2 * (np.argwhere(labels[2] > 0).mean(axis=0) - own[2][::-1])  # on the other side
    wrong[3] = np.nan
    wrong[4, 1] = np.nan
    found, strays = agreeing_insertions(wrong, borrowed, labels, stack)
    assert strays == (2,)
    np.testing.assert_allclose(found[[2, 3, 4]], borrowed[[2, 3, 4]])
    rest = [0, 1, 5, 6, 7]
    np.testing.assert_allclose(found[rest], own[rest])
    expected = aha_segments(labels, stack, own).ids
    assert (aha_segments(labels, stack, found).ids == expected)[expected > 0].mean() > 0.99
