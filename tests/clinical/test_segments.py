"""AHA segments: the same in patient space however the stack is stored, with documented fallbacks and refusals."""

import numpy as np
import pytest

from cmr_hf.clinical.segments import SEGMENTS, aha_segments, segment_table
from cmr_hf.clinical.stacks import Stack
from tests.clinical.heart_factory import CENTRE_MM, affine_of, clear_of_borders, ideal_heart, true_segment

THIRDS = ("basal",) * 3 + ("mid",) * 2 + ("apical",) * 3


def places_of(stack, found):
    """LPS position of each pixel of a segment, and its number."""
    places, numbers = [], []
    for z, ids in enumerate(found.ids):
        pixels = np.argwhere(ids)
        if len(pixels):
            places.append(stack.to_patient(z, pixels))
            numbers.append(ids[tuple(pixels.T)])
    return np.concatenate(places), np.concatenate(numbers)


def keyed(stack, found):
    """Segment by place, to the hundredth of a mm."""
    places, numbers = places_of(stack, found)
    return dict(zip(map(tuple, np.round(places, 2) + 0.0), numbers.tolist(), strict=True))


def assert_as_defined(found, stack):
    for z, level in enumerate(found.levels[:-1]):
        pixels = np.argwhere(found.ids[z])
        places = stack.to_patient(z, pixels)
        clear = clear_of_borders(places, level)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(found.ids[z][tuple(pixels[clear].T)], true_segment(places[clear], level))


def test_segments_of_a_cylinder_are_those_of_the_definition():
    labels, stack, insertions = ideal_heart()
    found = aha_segments(labels, stack, insertions)
    assert found
    assert found.levels == (*THIRDS, "apex")
    assert_as_defined(found, stack)
    assert (found.ids[-1][labels[-1] == 2] == 17).all()
    assert (found.ids[(labels != 2)] == 0).all()


@pytest.mark.parametrize("turn_deg", [0, 37, 90, 180, 251])
def test_a_picture_turned_in_its_plane_has_the_same_segments(turn_deg):
    labels, stack, insertions = ideal_heart(affine=affine_of(turn_deg))
    found = aha_segments(labels, stack, insertions)
    assert_as_defined(found, stack)


def stored_otherwise(how, labels, stack, insertions):
    """The same heart stored another way: same places in the patient, other indices."""
    affines = stack.affines.copy()
    rows, columns = labels.shape[1:]
    if how == "slices reversed":
        order = np.arange(len(labels))[::-1]
    elif how == "slices shuffled":
        order = np.random.default_rng(3).permutation(len(labels))
    else:
        order = np.arange(len(labels))
    labels, affines, insertions = labels[order].copy(), affines[order], insertions[order].copy()
    if how == "rows mirrored":
        labels = labels[:, ::-1]
        affines[:, :3, 3] += (rows - 1) * affines[:, :3, 1]
        affines[:, :3, 1] *= -1
        insertions[..., 0] = rows - 1 - insertions[..., 0]
    if how == "columns mirrored":
        labels = labels[:, :, ::-1]
        affines[:, :3, 3] += (columns - 1) * affines[:, :3, 0]
        affines[:, :3, 0] *= -1
        insertions[..., 1] = columns - 1 - insertions[..., 1]
    if how == "rows and columns exchanged":
        labels = labels.transpose(0, 2, 1)
        affines[:, :3, :2] = affines[:, :3, 1::-1]
        insertions = insertions[..., ::-1]
    return labels, Stack.of_affines(affines, 8.0), insertions


@pytest.mark.parametrize("landmarks", ["both points", "one point", "RV"])
@pytest.mark.parametrize(
    "how",
    ["slices reversed", "slices shuffled", "rows mirrored", "columns mirrored", "rows and columns exchanged"],
)
def test_however_the_stack_is_stored_the_segments_lie_at_the_same_places(how, landmarks):
    labels, stack, insertions = ideal_heart(size=(78, 82), affine=affine_of(25, (1.4, 1.6), (78, 82)))
    if landmarks == "RV":
        insertions[:] = np.nan
    if landmarks == "one point":
        insertions[:, 1] = np.nan
    before = keyed(stack, aha_segments(labels, stack, insertions))
    labels, stack, insertions = stored_otherwise(how, labels, stack, insertions)
    after = keyed(stack, aha_segments(labels, stack, insertions))
    assert before.keys() == after.keys()
    assert sum(before[place] != after[place] for place in before) <= 2  # on a border to the last bit


@pytest.mark.parametrize(("kept", "how"), [(0, "anterior"), (1, "inferior")])
def test_with_one_insertion_point_it_is_the_border_of_its_segment(kept, how):
    labels, stack, insertions = ideal_heart()
    both = aha_segments(labels, stack, insertions)
    insertions[:, 1 - kept] = np.nan
    one = aha_segments(labels, stack, insertions)
    assert one.references[0] == f"{how} insertion point"
    assert (one.ids != both.ids).mean() < 1e-3


def test_slices_without_points_take_those_beside_them():
    labels, stack, insertions = ideal_heart()
    both = aha_segments(labels, stack, insertions)
    insertions[[0, 4, 7]] = np.nan
    found = aha_segments(labels, stack, insertions)
    assert found.references[4] == "slice beside it"
    np.testing.assert_array_equal(found.ids, both.ids)


def test_one_stray_pair_of_points_is_not_believed():
    labels, stack, insertions = ideal_heart()
    both = aha_segments(labels, stack, insertions)
    centre = stack.to_pixels(4, CENTRE_MM)
    insertions[4] = 2 * centre - insertions[4]  # on the other side of the heart
    labels[4][labels[4] == 3] = 0
    found = aha_segments(labels, stack, insertions)
    assert any("slice 5 lies more than" in note for note in found.notes)
    np.testing.assert_array_equal(found.ids, both.ids)


def test_without_points_the_rv_shows_the_septum_and_that_is_said():
    labels, stack, insertions = ideal_heart()
    both = aha_segments(labels, stack, insertions)
    found = aha_segments(labels, stack)
    assert any("no RV insertion points" in note for note in found.notes)
    assert (found.ids != both.ids)[both.ids > 0].mean() < 0.02


def test_without_points_and_rv_there_are_no_segments_but_a_reason():
    labels, stack, _ = ideal_heart(rv=False)
    found = aha_segments(labels, stack)
    assert not found
    assert not found.ids.any()
    assert "septum is unknown" in found.reason


def test_swapped_names_are_put_right_in_patient_space_and_told():
    labels, stack, insertions = ideal_heart()
    right = aha_segments(labels, stack, insertions)
    swapped = aha_segments(labels, stack, insertions[:, ::-1])
    np.testing.assert_array_equal(swapped.ids, right.ids)
    assert any("contradict patient space" in note for note in swapped.notes)


def test_without_patient_space_the_names_of_the_points_show_the_side():
    labels, stack, insertions = ideal_heart()
    right = aha_segments(labels, stack, insertions)
    plain = Stack.regular(stack.spacing_mm, len(stack), 10.0)
    found = aha_segments(labels, plain, insertions)
    np.testing.assert_array_equal(found.ids, right.ids)
    mirrored = insertions.copy()
    mirrored[..., 1] = labels.shape[2] - 1 - insertions[..., 1]
    other = aha_segments(labels[:, :, ::-1], plain, mirrored)
    assert (other.ids[:, :, ::-1] != right.ids).mean() < 1e-3
    assert "side of the anterior wall is unknown" in aha_segments(labels, plain).reason


def test_an_open_basal_slice_belongs_to_no_segment():
    labels, stack, insertions = ideal_heart()
    labels[0, 30:50, :40][labels[0, 30:50, :40] == 2] = 0
    found = aha_segments(labels, stack, insertions)
    assert found.levels[0] is None
    assert not found.ids[0].any()
    assert any("no complete ring in slice 1" in note for note in found.notes)


def test_few_slices_need_levels_or_the_extent_of_another_stack():
    labels, stack, insertions = ideal_heart()
    whole = aha_segments(labels, stack, insertions)
    chosen = [1, 6]
    part = Stack.of_affines(stack.affines[chosen], 8.0)
    refused = aha_segments(labels[chosen], part, insertions[chosen])
    assert "3 are needed" in refused.reason
    for told in ({"extent": whole.extent}, {"levels": [whole.levels[z] for z in chosen]}):
        found = aha_segments(labels[chosen], part, insertions[chosen], **told)
        np.testing.assert_array_equal(found.ids, whole.ids[chosen])


def test_thirds_are_of_length_not_of_slices():
    labels, stack, insertions = ideal_heart(slices=10)
    kept = [0, 1, 2, 3, 6, 7, 8, 9]  # two mid slices are missing
    part = Stack.of_affines(stack.affines[kept], 8.0)
    found = aha_segments(labels[kept], part, insertions[kept])
    assert found.levels == ("basal", "basal", "basal", "mid", "apical", "apical", "apical", "apex")


def test_the_table_holds_every_segment_once_and_all_its_wall():
    labels, stack, insertions = ideal_heart()
    found = aha_segments(labels, stack, insertions)
    table = segment_table(found, stack)
    assert [row["segment"] for row in table] == list(range(1, 18))
    assert [row["name"] for row in table] == list(SEGMENTS.values())
    assert sum(row["pixels"] for row in table) == np.count_nonzero(labels == 2)
    assert sum(row["volume_ml"] for row in table) == pytest.approx((labels == 2).sum() * 1.5 * 1.5 * 10 / 1000)
    assert table[16]["slices"] == [9]


@pytest.mark.parametrize("wrong", [{"insertions": np.zeros((2, 2, 2))}, {"levels": ["basal"]}, {"levels": ["top"] * 9}])
def test_arguments_that_do_not_fit_are_refused(wrong):
    labels, stack, _ = ideal_heart()
    with pytest.raises(ValueError, match="needs"):
        aha_segments(labels, stack, **wrong)
