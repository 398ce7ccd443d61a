"""Slices for training and Dice as it is reported, against MONAI's; the ACDC reader and the splits."""

import json

import nibabel
import numpy as np
import pytest
import torch

from cmr_hf import CMRImageProcessor, ReadingError
from cmr_hf.data.acdc import read_acdc
from cmr_hf.data.schema import LabelledStack
from cmr_hf.data.splits import load_split
from cmr_hf.finetuning.segmentation import (
    SegmentationSlices,
    dice_table,
    evaluate_stacks,
    mask_centre_mm,
    segment_stack,
)
from tests.acdc_factory import SPACING_MM, heart, write_acdc, write_patient
from tests.model_factory import tiny_segmenter

NAMES = {1: "LV cavity", 2: "myocardium", 3: "RV"}


# Dice


def test_dice_table_counts_slices_and_volumes_and_leaves_out_what_is_in_neither():
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[0] = 1  # slice 0 full of class 1, slice 1 empty, slice 2 half class 2
    truth[2, :2] = 2
    predicted = truth.copy()
    predicted[0, :2] = 0  # half of slice 0 is missed: 2 * 8 / (8 + 16)
    predicted[1, 0, 0] = 1  # invented on an empty slice: 0
    table = dice_table([(predicted, truth), (np.zeros_like(truth), np.zeros_like(truth))], NAMES)

    lv = table["per_slice"]["LV cavity"]
    assert lv == {"mean": pytest.approx((2 / 3 + 0) / 2), "sd": pytest.approx(1 / 3), "n": 2}
    assert table["per_volume"]["LV cavity"] == {"mean": pytest.approx(16 / 25), "sd": 0.0, "n": 1}
    assert table["per_slice"]["myocardium"] == {"mean": 1.0, "sd": 0.0, "n": 1}
    assert table["per_volume"]["RV"] == {"mean": None, "sd": None, "n": 0}
    assert "background" not in table["per_slice"]


# Segmenting stacks


def small_stack(slices: int = 3) -> LabelledStack:
    pairs = [heart((60, 68), 15.0, k) for k in range(slices)]
    images = np.stack([pair[0] for pair in pairs]).astype(np.float32)
    masks = np.array([0, 3, 2, 1], np.uint8)[np.stack([pair[1] for pair in pairs])]
    more = {"masks": masks, "drawn": (1, 2, 3), "spacing_mm": SPACING_MM, "slice_distance_mm": 10.0}
    return LabelledStack(images, "patient001", "acdc", **more)


def test_segment_stack_gives_source_sized_labels_whatever_the_batch_size():
    model, processor, stack = tiny_segmenter(), CMRImageProcessor(size=96), small_stack(5)
    found = segment_stack(model, processor, stack.images, stack.spacing_mm, batch_size=2)
    assert found.shape == stack.images.shape
    assert found.dtype == np.uint8
    at_once = segment_stack(model, processor, stack.images, stack.spacing_mm)
    assert (found == at_once).mean() > 0.999


def test_evaluating_leaves_the_model_in_the_mode_it_was_in_and_measures_in_eval_mode():
    model = tiny_segmenter(encoder={"drop_path_rate": 0.9})
    for training in (True, False):
        model.train(training)
        first, again = (evaluate_stacks(model, CMRImageProcessor(size=96), [small_stack()], NAMES) for _ in range(2))
        assert first == again
        assert model.training is training


# Slices


def test_slices_keep_grey_values_in_proportion_and_know_where_the_heart_is():
    stack = small_stack(4)
    data = SegmentationSlices([stack, stack], [0, *NAMES])
    assert len(data) == 8
    item = data[5]
    assert item["image"].dtype == torch.float16
    assert item["spacing_mm"] == SPACING_MM
    np.testing.assert_array_equal(item["mask"].numpy(), stack.masks[1])
    correlation = np.corrcoef(item["image"].float().numpy().ravel(), stack.images[1].ravel())[0, 1]
    assert correlation > 0.999
    assert 0.0 <= item["image"].min() <= item["image"].max() <= 1.0
    assert item["heart_mm"] == mask_centre_mm(stack.masks, SPACING_MM)


def test_the_centre_of_a_mask_is_in_millimetres_row_first():
    masks = np.zeros((2, 31, 41), np.uint8)
    assert mask_centre_mm(masks, (2.0, 0.5)) == (0.0, 0.0)
    masks[1, 18:21, 28:31] = 3  # centre (19, 29): 4 rows and 9 columns off (15, 20)
    assert mask_centre_mm(masks, (2.0, 0.5)) == pytest.approx((8.0, 4.5))


# ACDC


def test_acdc_labels_become_the_houses_and_geometry_is_read(tmp_path):
    write_acdc(tmp_path)
    stacks = list(read_acdc(tmp_path / "acdc", ["patient002", "patient001"]))

    assert [(stack.patient, stack.phase) for stack in stacks] == [
        ("patient002", "ED"),
        ("patient002", "ES"),
        ("patient001", "ED"),
        ("patient001", "ES"),
    ]
    diastole, systole = stacks[:2]
    assert diastole.images.shape == diastole.masks.shape == (3, 60, 68)
    assert diastole.images.dtype == np.int16  # as stored
    assert diastole.masks.dtype == np.uint8
    assert diastole.spacing_mm == pytest.approx(SPACING_MM)
    assert diastole.slice_distance_mm == pytest.approx(10.0)
    assert diastole.disease == "NORM"
    for k in range(3):
        gray, acdc = heart((60, 68), 15.0 - k, k)
        np.testing.assert_array_equal(diastole.images[k], gray)
        for theirs, ours in ((0, 0), (1, 3), (2, 2), (3, 1)):
            np.testing.assert_array_equal(diastole.masks[k] == ours, acdc == theirs)
    assert (systole.masks == 1).sum() < (diastole.masks == 1).sum()


def test_when_a_patient_is_missing_or_broken_then_the_acdc_reader_names_it(tmp_path):
    write_patient(tmp_path, "patient001")
    with pytest.raises(ReadingError, match="patient009 has no Info.cfg: point `root` at the folder"):
        list(read_acdc(tmp_path, ["patient001", "patient009"]))

    mask = tmp_path / "patient001" / "patient001_frame07_gt.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((68, 60, 2), np.uint8), np.eye(4)), mask)
    with pytest.raises(ReadingError, match=r"patient001_frame07: image .* and mask .* differ: fetch the pair again"):
        list(read_acdc(tmp_path, ["patient001"]))
    mask.unlink()
    with pytest.raises(ReadingError, match="patient001_frame07_gt.nii.gz"):
        list(read_acdc(tmp_path, ["patient001"]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Group: NOR\n", "Info.cfg has no frame number for ED"),
        ("ED: one\nES: 7\n", "Info.cfg has no frame number for ED"),
    ],
)
def test_when_info_cfg_is_broken_then_the_acdc_reader_names_it(tmp_path, content, says):
    write_patient(tmp_path, "patient001")
    (tmp_path / "patient001" / "Info.cfg").write_text(content)
    with pytest.raises(ReadingError, match=says):
        list(read_acdc(tmp_path, ["patient001"]))


def test_when_a_mask_holds_other_labels_then_the_acdc_reader_raises(tmp_path):
    write_patient(tmp_path, "patient001")
    mask = tmp_path / "patient001" / "patient001_frame01_gt.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((68, 60, 3), 4, np.uint8), np.diag([1.25, 1.5, 10, 1])), mask)
    with pytest.raises(ReadingError, match=r"patient001_frame01_gt.nii.gz .*labels 0 to 3, got 4"):
        list(read_acdc(tmp_path, ["patient001"]))


def test_real_acdc_has_the_heart_where_the_labels_say(shared_data):
    sides = load_split(shared_data / "splits.json", "acdc")
    assert sum(len(side) for side in sides.values()) == len({patient for side in sides.values() for patient in side})
    diastole, systole = read_acdc(shared_data / "acdc", sides["train"][:1])
    for stack in (diastole, systole):
        assert set(np.unique(stack.masks)) == {0, 1, 2, 3}
        assert all(0.5 < mm < 2.5 for mm in stack.spacing_mm)
        blood, muscle = (stack.images[stack.masks == label].mean() for label in (1, 2))
        assert blood > 1.3 * muscle  # bSSFP: blood is bright, which swapped labels would turn round
    assert (systole.masks == 1).sum() < 0.95 * (diastole.masks == 1).sum()


# Splits


def test_a_split_is_read_by_side(tmp_path):
    sides = load_split(write_acdc(tmp_path), "acdc")
    assert sides == {"train": ["patient001", "patient002"], "validation": ["patient003"], "test": ["patient004"]}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"_": "comment", "emidec": {}}, r"has no split for 'acdc'; it knows \['emidec'\]"),
        ({"acdc": {"train": ["a"], "valid": ["b"]}}, r"needs sides called .* got \['valid'\]"),
        ({"acdc": {"train": ["a"], "validation": ["b"], "test": ["c", "a"]}}, r"a is on two sides .*train and test"),
        ({"acdc": {"train": ["a", "a"], "validation": [], "test": []}}, "a is on two sides .*train and train"),
    ],
)
def test_when_a_split_is_broken_then_reading_it_raises(tmp_path, document, says):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=says):
        load_split(path, "acdc")
