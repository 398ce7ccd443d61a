import numpy as np
import pytest

from cmr_hf.clinical.stacks import Stack, base_to_apex
from tests.clinical.heart_factory import affine_of


def test_equal_steps_weigh_their_distance():
    stack = Stack.regular((1.5, 1.4), 5, 8.0)
    np.testing.assert_allclose(stack.weights_mm(), 8.0)
    assert stack.gaps() == []


def test_a_gap_is_shared_by_its_neighbours_and_named():
    stack = Stack((1.0, 1.0), np.array([30.0, 0.0, 10.0, 40.0, 50.0]))
    assert stack.distance_mm == 10.0
    assert stack.gaps() == [(2, 0, 20.0)]
    np.testing.assert_allclose(stack.weights_mm(), [15.0, 10.0, 15.0, 10.0, 10.0])


def test_pixels_and_patient_space_are_inverse():
    stack = Stack.regular((1.0, 1.0), 4, affine=affine_of(33, (1.3, 1.7)))
    assert stack.spacing_mm == pytest.approx((1.3, 1.7))
    points = np.array([[3.0, 7.5], [40.0, 0.0]])
    np.testing.assert_allclose(stack.to_pixels(2, stack.to_patient(2, points)), points, atol=1e-9)
    assert np.linalg.norm(stack.to_patient(2, points[0]) - stack.to_patient(1, points[0])) == pytest.approx(10.0)


def test_the_way_to_the_apex_is_known_from_patient_space():
    affine = affine_of()
    assert Stack.regular((1, 1), 3, affine=affine).toward_apex == 1
    affine[:3, 2] *= -1  # slices in the other order: positions still grow along row × column
    assert Stack.regular((1, 1), 3, affine=affine).toward_apex == 1
    affine[:3, 0] *= -1  # mirrored: row × column points away from the apex
    assert Stack.regular((1, 1), 3, affine=affine).toward_apex == -1
    assert Stack.regular((1, 1), 3).toward_apex is None


def test_without_patient_space_the_larger_half_is_the_base():
    stack = Stack.regular((1, 1), 5)
    order, how = base_to_apex(stack, np.array([0.0, 300.0, 900.0, 1500.0, 1600.0]))
    assert (order.tolist(), how) == ([4, 3, 2, 1, 0], "areas")
    assert base_to_apex(stack, np.array([0.0, 0.0, 5.0, 5.0, 0.0]))[1] == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((0.0, 1.0), np.arange(3.0)), "two positive numbers"),
        (((1.0, 1.0), np.array([0.0, 10.0, 10.0])), "keep one of them"),
        (((1.0, 1.0), np.array([0.0, np.nan])), "finite"),
        (((1.0, 1.0), np.arange(2.0), np.zeros((3, 4, 4))), "one for each slice"),
    ],
)
def test_what_is_no_stack_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        Stack(*arguments)


def test_slices_of_two_orientations_are_no_stack():
    affines = np.stack([affine_of(0), affine_of(20)])
    affines[1, :3, 3] += 10 * affines[0, :3, 2]
    with pytest.raises(ValueError, match="one orientation"):
        Stack.of_affines(affines)


def test_one_slice_is_not_a_volume():
    with pytest.raises(ValueError, match="one slice is not a volume"):
        Stack.regular((1, 1), 1).weights_mm()
