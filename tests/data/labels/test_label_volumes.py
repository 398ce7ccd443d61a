"""Masks on grids of their own: NIfTI with descriptions, resampling, corrected masks."""

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cmr_hf.clinical.writers import write_mask
from cmr_hf.data.labels.corrected import read_corrected
from cmr_hf.data.labels.nifti_masks import read_description, read_nifti_masks
from cmr_hf.data.labels.resampling import resample_labels, same_grid
from cmr_hf.hub.reading_cmr import ReadingError, read_image
from tests.data.labels.labels_factory import SHAPE, heart
from tests.dicom_factory import write_stack

ITK_SNAP = """################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "RV"
    2     0  255    0      0.5  1  1    "LV Myocardium"
    3     0    0  255        1  1  1    "LV cavity"
    7     0    0  255        1  1  1    "Aorta"
"""
SLICER = """# Color table file heart.ctbl
# 8 values
0 Background 0 0 0 0
1 RV 128 174 128 255
2 LV_Myocardium 241 214 145 255
3 LV_cavity 177 122 101 255
7 Aorta 111 184 210 255
"""
ACDC_LIKE = np.array([0, 3, 2, 1], np.uint8)  # swaps 1 and 3, both ways


def saved(path, labels, affine=None):
    """`labels` (…, z, y, x) as NIfTI; the affine is RAS."""
    nibabel.save(nibabel.Nifti1Image(labels.transpose(), np.eye(4) if affine is None else affine), path)
    return path


def pair(tmp_path, labels, description=None):
    affine = np.diag([-1.5, -1.25, 10, 1])
    image = saved(tmp_path / "image.nii.gz", np.ones(labels.shape, np.int16), affine)
    return read_image(image), saved(tmp_path / "seg.nii.gz", labels, affine)


@pytest.mark.parametrize(("name", "content"), [("heart.label", ITK_SNAP), ("heart.ctbl", SLICER)])
def test_a_description_names_the_labels_of_a_nifti(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    labels = ACDC_LIKE[np.stack([heart(), heart()])]
    labels[0, 0, 0] = 7
    image, mask = pair(tmp_path, labels)
    found = read_nifti_masks(mask, tmp_path / name).apply_to(image, patient="p")
    np.testing.assert_array_equal(found.stacks[0].masks, np.stack([heart(), heart()]))
    assert found.stacks[0].drawn == (1, 2, 3)
    assert "label 7" in found.report[0]


def test_label_map_alone_or_floats_that_are_whole_will_do(tmp_path):
    image, mask = pair(tmp_path, ACDC_LIKE[np.stack([heart()] * 2)].astype(np.float32))
    (stack,) = read_nifti_masks(mask, label_map={1: 3, 2: "myocardium", 3: 1}).apply_to(image, patient="p").stacks
    np.testing.assert_array_equal(stack.masks[1], heart())


def test_phases_without_labels_are_left_out_and_one_phase_needs_its_index(tmp_path):
    labels = np.zeros((3, 2, *SHAPE), np.uint8)
    labels[1] = heart()
    image, mask = pair(tmp_path, labels)
    same = {1: 1, 2: 2, 3: 3}
    found = read_nifti_masks(mask, label_map=same).apply_to(image, patient="p")
    assert [stack.phase_index for stack in found.stacks] == [1]
    single = saved(tmp_path / "single.nii.gz", labels[1], np.diag([-1.5, -1.25, 10, 1]))
    volume = read_nifti_masks(single, label_map=same)
    with pytest.raises(ReadingError, match="phase_index="):
        volume.apply_to(image, patient="p")
    assert volume.apply_to(image, patient="p", phase_index=2).stacks[0].phase_index == 2
    with pytest.raises(ReadingError, match="from 0 to 2"):
        volume.apply_to(image, patient="p", phase_index=3)


@pytest.mark.parametrize(
    ("labels", "description", "says"),
    [
        (np.full((1, *SHAPE), 5, np.uint8), None, "nothing names"),
        (np.full((1, *SHAPE), 0.5, np.float32), None, "fractions"),
        (np.full((1, *SHAPE), -1, np.int16), None, "0 to 65535"),
        (np.full((1, *SHAPE), 7, np.uint8), ITK_SNAP.replace("LV", "x").replace('"RV', '"x'), "no label that this"),
        (np.ones((1, *SHAPE), np.uint8), ITK_SNAP + ITK_SNAP, "second time"),
        (np.ones((1, *SHAPE), np.uint8), "what is this", "line 1"),
        (np.ones((1, *SHAPE), np.uint8), "# nothing", "describes no label"),
    ],
)
def test_when_labels_have_no_meaning_then_it_says_so(tmp_path, labels, description, says):
    path = None
    if description is not None:
        path = tmp_path / "bad.label"
        path.write_text(description)
    with pytest.raises(ReadingError, match=says):
        read_nifti_masks(saved(tmp_path / "bad.nii.gz", labels), path)


def test_a_giant_or_wrong_description_ends_soon(tmp_path):
    path = tmp_path / "giant.label"
    path.write_text("1 RV " + "1 " * 2_000_000)
    with pytest.raises(ReadingError):
        read_description(path)


# ---- another grid


def turn(angle: float) -> np.ndarray:
    made = np.eye(4)
    made[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return made


@settings(deadline=None, max_examples=25)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_flips_and_swaps_of_axes_are_undone_exactly(order, flips):
    labels = np.random.default_rng(0).integers(0, 7, (4, 5, 6)).astype(np.uint8)
    affine = np.array([[1.2, 0, 0.3, 5], [0, 1.4, 0, -7], [-0.2, 0, 8, 9], [0, 0, 0, 1.0]])
    moved = np.zeros((4, 4))
    moved[3, 3] = 1
    other = labels.transpose(order)
    for axis in range(3):  # moved column index -> own index
        moved[2 - order[axis], 2 - axis] = 1
    for axis, flip in enumerate(flips):
        if flip:
            other = np.flip(other, axis)
            back = np.eye(4)
            back[2 - axis, 2 - axis], back[2 - axis, 3] = -1, other.shape[axis] - 1
            moved = moved @ back
    found, report = resample_labels(other, affine @ moved, labels.shape, affine, "mask")
    np.testing.assert_array_equal(found, labels)
    assert "0.0 mm off" in report


def test_resampling_agrees_with_an_independent_one():
    labels = np.stack([heart(), heart(), np.zeros(SHAPE, np.uint8)])
    affine = np.diag([1.5, 1.25, 10, 1.0])
    target = turn(0.3) @ np.diag([1.1, 1.1, 7, 1.0])
    target[:3, 3] = [4, -3, 1]
    found, report = resample_labels(labels, affine, (4, 60, 50), target, "mask")
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing((1.5, 1.25, 10))
    grid = SimpleITK.Image((50, 60, 4), SimpleITK.sitkUInt8)
    grid.SetSpacing((1.1, 1.1, 7))
    grid.SetDirection(turn(0.3)[:3, :3].ravel().tolist())
    grid.SetOrigin(target[:3, 3].tolist())
    expected = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    )
    assert (found != expected).mean() < 1e-3
    assert set(np.unique(found)) == {0, 1, 2, 3}
    assert "resampled from (3, 40, 48) to (4, 60, 50)" in report


def test_a_mask_on_another_grid_reaches_its_image_and_says_so(tmp_path):
    write_stack(tmp_path / "dicom", 3, 1, shape=SHAPE)
    image = read_image(tmp_path / "dicom")
    labels = np.stack([heart()] * 3)
    flipped = np.diag([-1, -1, 1, 1.0]) @ image.affine @ np.diag([1, -1, 1, 1.0])  # RAS, rows upside down
    flipped[:3, 3] = (np.diag([-1, -1, 1, 1.0]) @ image.affine @ [0, SHAPE[0] - 1, 0, 1])[:3]
    mask = saved(tmp_path / "seg.nii.gz", labels[:, ::-1], flipped)
    found = read_nifti_masks(mask, label_map={1: 1, 2: 2, 3: 3}).apply_to(image, patient="p")
    np.testing.assert_array_equal(found.stacks[0].masks, labels)
    assert "resampled" in found.report[0]


def test_when_grids_cannot_be_matched_then_it_says_so(tmp_path):
    image, mask = pair(tmp_path, np.stack([heart()] * 2))
    volume = read_nifti_masks(mask, label_map={1: 1, 2: 2, 3: 3})
    image.affine = image.affine.copy()
    image.affine[0, 3] += 9000
    with pytest.raises(ReadingError, match="does not overlap"):
        volume.apply_to(image, patient="p")
    volume.affine = None
    volume.areas = {name: area[..., 1:] for name, area in volume.areas.items()}
    with pytest.raises(ReadingError, match="not both say where"):
        volume.apply_to(image, patient="p")
    assert not same_grid(np.eye(4), np.diag([1, 1.01, 1, 1]), (1, 200, 200))
    with pytest.raises(ReadingError, match="inverted"):
        resample_labels(heart()[None], np.zeros((4, 4)), (1, *SHAPE), np.eye(4), "mask")


# ---- masks of this package, corrected


def predicted(tmp_path):
    write_stack(tmp_path / "dicom", 2, 3, shape=SHAPE)
    image = read_image(tmp_path / "dicom")
    masks = np.stack([np.stack([heart()] * 2)] * 3)
    return image, write_mask({"segmentation": masks}, image, tmp_path / "masks" / "case"), masks


def test_a_corrected_mask_comes_back_onto_its_image(tmp_path):
    image, path, masks = predicted(tmp_path)
    labels = nibabel.load(path)
    corrected = np.asarray(labels.dataobj).copy()
    corrected[5, 7, 1, 2] = 6
    nibabel.save(nibabel.Nifti1Image(corrected, labels.affine), path)
    found = read_corrected(path.parent, {"case": tmp_path / "dicom", "more": image}, patients={"case": "p"})
    assert len(found.stacks) == 3
    np.testing.assert_array_equal(found.stacks[0].masks, masks[0])
    assert found.stacks[2].masks[1, 7, 5] == 6
    assert found.stacks[0].drawn == (1, 2, 3)
    assert found.stacks[2].drawn == (1, 2, 3, 6)
    assert found.report == ["more: no mask for this image"]
    every = read_corrected(path.parent, {"case": image}, patients={"case": "p"}, drawn=(1, 2, 3, 6))
    assert every.stacks[0].drawn == (1, 2, 3, 6)


def test_a_corrected_picture_mask_comes_back(tmp_path):
    Image.fromarray(np.full(SHAPE, 9, np.uint8)).save(tmp_path / "case.png")
    image = read_image(tmp_path / "case.png")
    path = write_mask({"segmentation": heart()}, image, tmp_path / "masks" / "case")
    (stack,) = read_corrected(path.parent, {"case": image}, patients={"case": "p"}).stacks
    np.testing.assert_array_equal(stack.masks[0], heart())
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(path)
    with pytest.raises(ReadingError, match="not colours"):
        read_corrected(path.parent, {"case": image}, patients={"case": "p"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data, affine: (data[:-1], affine), "voxels"),
        (lambda data, affine: (data, affine @ np.diag([1, 1, 1.1, 1])), "elsewhere in patient space"),
        (lambda data, affine: (data, np.diag([-1, 1, 1, 1]) @ affine), "elsewhere in patient space"),
        (lambda data, affine: (np.where(data == 3, 9, data), affine), "ids"),
        (lambda data, affine: (data * 0.5, affine), "fractions"),
    ],
)
def test_when_a_corrected_mask_was_changed_then_it_says_so(tmp_path, change, says):
    image, path, _ = predicted(tmp_path)
    labels = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(*change(np.asarray(labels.dataobj), labels.affine)), path)
    with pytest.raises(ReadingError, match=says):
        read_corrected(path.parent, {"case": image}, patients={"case": "p"})


def test_when_masks_and_images_do_not_pair_then_it_says_so(tmp_path):
    image, path, _ = predicted(tmp_path)
    with pytest.raises(ReadingError, match="pseudonym for case"):
        read_corrected(path.parent, {"case": image}, patients={})
    with pytest.raises(ReadingError, match="check the stems"):
        read_corrected(path.parent, {"other": image}, patients={})
    with pytest.raises(ReadingError, match="needs to be a folder"):
        read_corrected(path, {"case": image}, patients={"case": "p"})
