"""Four-chamber pictures reach the model with the apex up and the patient's left on the right."""

import numpy as np
import pytest

from cmr_hf.assessment.steps import mirrored_axes

UP = ((1.4, 0.0, 0.1), (0.1, 0.8, 1.1))  # LPS directions along columns and rows: down the picture is back and up


def affines(columns, rows):
    made = np.eye(4)
    made[:3, 0], made[:3, 1] = columns, rows
    return made[None]


@pytest.mark.parametrize("down", [1, -1])
@pytest.mark.parametrize("left", [1, -1])
def test_whichever_way_it_is_stored_it_is_seen_the_same_way(down, left):
    place = affines(left * np.array(UP[0]), down * np.array(UP[1]))
    axes = mirrored_axes("cine-4ch", place)
    assert axes == tuple(axis for axis, sign in ((-2, down), (-1, left)) if sign < 0)
    picture = np.arange(12).reshape(1, 3, 4)
    stored = picture[:, ::down, ::left]
    np.testing.assert_array_equal(np.flip(stored, axes), picture)
    np.testing.assert_array_equal(np.flip(np.flip(stored, axes), axes), stored)


def test_other_stacks_and_those_without_a_place_are_left_as_they_are():
    assert mirrored_axes("cine-sax", affines((-1, 0, 0), (0, -1, 0))) == ()
    assert mirrored_axes("cine-4ch", None) == ()
