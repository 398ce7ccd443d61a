"""A labelled stack becomes rows of a data set and comes back as it was."""

import datasets
import numpy as np
import pytest

from cmr_hf.data.schema import DISEASES, UNKNOWN, LabelledStack, features, only_labels, rows_of, stacks_of

RNG = np.random.default_rng(0)


def stack(patient: str = "a", dtype: str = "int16", **fields) -> LabelledStack:
    values = RNG.normal(size=(3, 20, 30)) * 900 + 1000
    return LabelledStack(values.astype(dtype), patient, "mini", **fields)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "bool"])
def test_when_a_stack_goes_through_a_data_set_then_no_value_changes(dtype):
    one = LabelledStack((RNG.normal(size=(2, 9, 7)) * 90).astype(dtype), "a", "mini")
    rows = datasets.Dataset.from_list(list(rows_of(one)), features=features())
    (back,) = stacks_of(rows)
    np.testing.assert_array_equal(back.images, one.images)
    assert back.masks is None


def test_when_a_stack_goes_through_a_data_set_then_all_that_is_known_of_it_stays():
    affine = np.array([[1.2, 0.1, 3.0, 5.0], [0.0, 1.3, 4.0, 6.0], [0.2, 0.3, 8.0, 7.0], [0, 0, 0, 1]])
    one = stack(
        masks=RNG.integers(0, 7, (3, 20, 30)).astype(np.uint8),
        drawn=(1, 2, 3, 4, 5, 6),
        spacing_mm=(1.3, 1.2),
        slice_distance_mm=9.4,
        affine=affine,
        study="s",
        series="x",
        phase_index=7,
        phase="ES",
        slice_indices=(2, 4, 5),
        image_type="cine",
        view="SAX",
        disease="HCM",
        lge="none",
        landmarks=[{}, {"anterior RV insertion": (3.25, 4.5)}, {}],
        licence="cc0-1.0",
    )
    rows = datasets.Dataset.from_list(list(rows_of(one)), features=features())
    assert rows.features["disease"].names == list(DISEASES)
    assert rows[1]["affine"][3::4] == pytest.approx([8.0, 10.0, 15.0, 1.0])  # the origin of the second slice
    (back,) = stacks_of(rows)
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(back, name), value)
        else:
            assert getattr(back, name) == value, name


def test_rows_in_any_order_become_the_same_stacks():
    stacks = [stack("a", phase_index=0), stack("a", phase_index=1), stack("b")]
    rows = [row for one in stacks for row in rows_of(one)]
    back = stacks_of(rows[::-1])
    assert {(one.patient, one.phase_index) for one in back} == {("a", 0), ("a", 1), ("b", 0)}
    for one in back:
        (same,) = (s for s in stacks if (s.patient, s.phase_index) == (one.patient, one.phase_index))
        np.testing.assert_array_equal(one.images, same.images)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"masks": np.zeros((3, 20, 29), np.uint8)}, "must have the images' shape"),
        ({"masks": np.full((3, 20, 30), 9, np.uint8)}, r"`masks` has ids \[9\]"),
        ({"view": "sax"}, "`view` must be one of"),
        ({"lge": "yes"}, "`lge` must be one of"),
        ({"slice_indices": (0, 1)}, "one entry for each of 3 slices"),
        ({"landmarks": [{}]}, "one entry for each of 3 slices"),
    ],
)
def test_when_a_field_is_wrong_then_the_stack_raises_and_names_the_patient(fields, says):
    with pytest.raises(ValueError, match=says) as error:
        stack("a17", **fields)
    assert "mini a17" in str(error.value)


def test_when_images_are_not_a_stack_then_it_raises():
    with pytest.raises(ValueError, match=r"needs shape \(z, y, x\)"):
        LabelledStack(np.zeros((4, 5)), "a", "mini")


def test_a_task_without_scar_takes_it_for_myocardium_and_leaves_other_labels_out():
    masks = np.array([[[0, 1, 2, 3, 4, 5, 6, UNKNOWN]]], np.uint8)
    stack = LabelledStack(np.zeros(masks.shape, np.float32), "p", "test", masks=masks, drawn=(1, 2, 3, 4, 5, 6))
    few = only_labels(stack, [0, 1, 2, 3])
    assert few.masks.flatten().tolist() == [0, 1, 2, 3, 0, 0, 2, UNKNOWN]
    assert few.drawn == (1, 2, 3)
    assert only_labels(stack, [0, 2, 6]).masks.flatten().tolist() == [0, 0, 2, 0, 0, 0, 6, UNKNOWN]
    assert stack.masks is masks
    assert masks.flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, UNKNOWN]
    with pytest.raises(ValueError, match="`masks` is needed to train or measure"):
        only_labels(LabelledStack(np.zeros((1, 2, 2), np.float32), "p", "test"), [0, 1])
