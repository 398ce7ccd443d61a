"""NIfTI images with masks, found by the patterns of their names."""

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.nifti_pairs import list_nifti_pairs_patients, read_nifti_pairs
from tests.data.volume_factory import OBLIQUE, gray, heart, in_ids_of, write_nifti

ACDC = {1: 3, 2: 2, 3: 1}


def test_a_suffix_tells_masks_from_images(tmp_path):
    for patient in ("p1", "p2"):
        write_nifti(tmp_path / f"{patient}.nii.gz", gray(heart()))
        write_nifti(tmp_path / f"{patient}_gt.nii.gz", in_ids_of(heart(), {0: 0} | ACDC))
    assert list_nifti_pairs_patients(tmp_path) == ["p1", "p2"]
    stacks = list(read_nifti_pairs(tmp_path, labels=ACDC, view="SAX", image_type="cine", source="ours", licence="mit"))
    assert [(stack.patient, stack.source, stack.licence, stack.view) for stack in stacks] == [
        ("p1", "ours", "mit", "SAX"),
        ("p2", "ours", "mit", "SAX"),
    ]
    for stack in stacks:
        np.testing.assert_array_equal(stack.masks, heart())
        assert stack.drawn == (1, 2, 3)
    (alone,) = read_nifti_pairs(tmp_path, ["p2"], labels=ACDC | {3: 255})
    assert (alone.drawn, set(np.unique(alone.masks))) == ((2, 3), {0, 2, 3, 255})


def test_patterns_may_name_folders_patient_and_series(tmp_path):
    write_nifti(tmp_path / "imagesTr" / "case_7_0000.nii.gz", gray(heart()))
    write_nifti(tmp_path / "labelsTr" / "case_7.nii.gz", heart())
    places = {"image": "imagesTr/{patient}_0000.nii.gz", "mask": "labelsTr/{patient}.nii.gz"}
    (stack,) = read_nifti_pairs(tmp_path, labels={1: 1, 2: 2, 3: 3}, **places)
    assert stack.patient == "case_7"
    cine = np.stack([gray(heart(8.0 - t)) for t in range(2)])
    for series in ("sax", "sax_again"):
        write_nifti(tmp_path / "b" / "p3" / f"p3_{series}.nii.gz", cine)
    stacks = list(read_nifti_pairs(tmp_path / "b", image="{patient}/{patient}_{series}.nii.gz", mask=None))
    assert [(stack.patient, stack.series, stack.phase_index) for stack in stacks] == [
        ("p3", "sax", 0),
        ("p3", "sax", 1),
        ("p3", "sax_again", 0),
        ("p3", "sax_again", 1),
    ]
    assert stacks[0].masks is None


def test_when_image_and_mask_lie_apart_then_the_reader_says_how_far(tmp_path):
    write_nifti(tmp_path / "p1.nii.gz", gray(heart()))
    moved = OBLIQUE.copy()
    moved[2, 3] += 3.0
    write_nifti(tmp_path / "p1_gt.nii.gz", heart(), moved)
    with pytest.raises(ReadingError, match="p1: image and mask lie up to 3.0 mm apart by their headers"):
        list(read_nifti_pairs(tmp_path, labels=ACDC))
    flipped = OBLIQUE.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += 43 * OBLIQUE[:3, 0]
    write_nifti(tmp_path / "p1_gt.nii.gz", heart(), flipped)
    with pytest.raises(ReadingError, match="mm apart by their headers: resample the mask"):
        list(read_nifti_pairs(tmp_path, labels=ACDC))


def test_when_something_is_missing_then_the_reader_says_what(tmp_path):
    write_nifti(tmp_path / "p1.nii.gz", gray(heart()))
    with pytest.raises(ValueError, match="`labels` is needed"):
        list(read_nifti_pairs(tmp_path))
    with pytest.raises(ValueError, match=r"`labels` needs to map to ids .* got \[9\]"):
        list(read_nifti_pairs(tmp_path, labels={1: 9}))
    with pytest.raises(ReadingError, match="p1_gt.nii.gz is missing"):
        list(read_nifti_pairs(tmp_path, labels=ACDC))
    with pytest.raises(ReadingError, match=r"has no \{patient\}.nii.gz of p2"):
        list(read_nifti_pairs(tmp_path, ["p2"], labels=ACDC))
    with pytest.raises(ReadingError, match="has no file like x/"):
        list(read_nifti_pairs(tmp_path, image="x/{patient}.nii", labels=ACDC))
    with pytest.raises(ValueError, match=r"a pattern needs \{patient\}"):
        list(read_nifti_pairs(tmp_path, image="*.nii.gz", labels=ACDC))
    with pytest.raises(ValueError, match="`mask` has .'series'., which `image` has not"):
        list(read_nifti_pairs(tmp_path, mask="{patient}_{series}.nii.gz", labels=ACDC))
    write_nifti(tmp_path / "p1_gt.nii.gz", heart() * 4)
    with pytest.raises(ReadingError, match="p1_gt.nii.gz needs the labels 0 to 3, got 4, 8, 12"):
        list(read_nifti_pairs(tmp_path, labels=ACDC))
