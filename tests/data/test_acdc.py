"""ACDC in the official layout, and what can be wrong with it. See also tests/finetuning/test_segmentation.py."""

from collections import Counter

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.acdc import IDS, list_acdc_patients, read_acdc
from cmr_hf.data.splits import load_split
from tests.data.volume_factory import DUMMY, OBLIQUE, SHAPE, cut, gray, heart, in_ids_of, write_nifti

FRAMES = {"ED": 1, "ES": 3}


def write_patient(folder, group="HCM", frames=5, affine=DUMMY):
    """A patient as the official download has it, with the whole cine."""
    name = folder.name
    cine = np.stack([gray(heart(8.0 - t % 3)) + t for t in range(frames)]).astype(np.int16)
    write_nifti(folder / f"{name}_4d.nii.gz", cine, affine)
    for frame in FRAMES.values():
        write_nifti(folder / f"{name}_frame{frame:02d}.nii.gz", cine[frame - 1], affine)
        masks = in_ids_of(heart(8.0 - (frame - 1) % 3), IDS)
        write_nifti(folder / f"{name}_frame{frame:02d}_gt.nii.gz", masks, affine)
    info = FRAMES | {"Group": group, "Height": 184.0, "NbFrame": frames, "Weight": 95.0}
    (folder / "Info.cfg").write_text("".join(f"{key}: {value}\n" for key, value in info.items()))
    return cine


def test_the_official_layout_is_found_from_each_of_its_folders(tmp_path):
    write_patient(tmp_path / "database" / "training" / "patient001")
    write_patient(tmp_path / "database" / "testing" / "patient101")
    assert list_acdc_patients(tmp_path) == list_acdc_patients(tmp_path / "database") == ["patient001", "patient101"]
    assert list_acdc_patients(tmp_path / "database" / "testing") == ["patient101"]
    assert [stack.patient for stack in read_acdc(tmp_path)] == ["patient001"] * 2 + ["patient101"] * 2
    with pytest.raises(ReadingError, match="no patientNNN folder of ACDC: point `root`"):
        list_acdc_patients(tmp_path / "database" / "testing" / "patient101")


def test_the_cine_has_every_phase_and_masks_on_two(tmp_path):
    cine = write_patient(tmp_path / "patient001")
    stacks = list(read_acdc(tmp_path, every_phase=True))
    assert [stack.phase_index for stack in stacks] == [0, 1, 2, 3, 4]
    assert [stack.phase for stack in stacks] == ["ED", "", "ES", "", ""]
    for t, stack in enumerate(stacks):
        np.testing.assert_array_equal(stack.images, cine[t])
        assert (stack.masks is not None) == bool(stack.drawn) == bool(stack.phase)
        assert stack.disease == "HCM"
    np.testing.assert_array_equal(stacks[2].masks, heart(6.0))
    alone = list(read_acdc(tmp_path))
    assert [stack.phase_index for stack in alone] == [0, 2]
    for one, same in zip(alone, (stacks[0], stacks[2]), strict=True):
        np.testing.assert_array_equal(one.images, same.images)
        np.testing.assert_array_equal(one.masks, same.masks)


@pytest.mark.parametrize(("affine", "known"), [(DUMMY, False), (OBLIQUE, True)])
def test_a_dummy_orientation_is_none(tmp_path, affine, known):
    write_patient(tmp_path / "patient001", affine=affine)
    stack = next(read_acdc(tmp_path))
    assert (stack.affine is not None) == known
    assert stack.spacing_mm == pytest.approx((1.5, 1.25))
    assert stack.slice_distance_mm == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("line", "every_phase", "says"),
    [
        ("ES: 9", False, r"Info.cfg needs ES from 1 to 5, got 9"),
        ("ED: 0", False, r"Info.cfg needs ED from 1 to 5, got 0"),
        ("NbFrame: 9\nES: 9", False, r"patient001_frame09.nii.gz is missing"),
        ("NbFrame: 9\nES: 9", True, r"Info.cfg: ES is frame 8 counted from 0, but there are 5"),
    ],
)
def test_when_a_frame_number_is_wrong_then_the_reader_says_so(tmp_path, line, every_phase, says):
    write_patient(tmp_path / "patient001")
    with (tmp_path / "patient001" / "Info.cfg").open("a") as info:
        info.write(line + "\n")  # the last line counts
    with pytest.raises(ReadingError, match=says):
        list(read_acdc(tmp_path, every_phase=every_phase))


def test_when_a_file_is_cut_missing_or_of_another_grid_then_the_reader_names_it(tmp_path):
    folder = tmp_path / "patient001"
    write_patient(folder)
    cut(folder / "patient001_frame03.nii.gz")
    with pytest.raises(ReadingError, match=r"patient001_frame03.nii.gz is damaged or truncated"):
        list(read_acdc(tmp_path))
    write_nifti(folder / "patient001_frame01_gt.nii.gz", np.zeros(SHAPE, np.uint8), np.diag([-2.0, -2.0, 8.0, 1.0]))
    with pytest.raises(ReadingError, match=r"patient001_frame01: .*1.500 x 1.250 mm.* differ in pixel spacing"):
        list(read_acdc(tmp_path))
    (folder / "patient001_4d.nii.gz").unlink()
    with pytest.raises(ReadingError, match=r"patient001_4d.nii.gz is missing: fetch it, or .*every_phase=False"):
        list(read_acdc(tmp_path, every_phase=True))


def test_real_acdc_is_all_there_and_its_labels_lie_on_the_heart(shared_data):
    root = shared_data / "acdc"
    patients = list_acdc_patients(root)
    split = load_split(shared_data / "splits.json", "acdc")
    assert len(patients) == 60
    assert patients == sorted(patient for side in split.values() for patient in side)
    stacks = list(read_acdc(root))
    assert len(stacks) == 120
    assert sum(len(stack.images) for stack in stacks) == 1148
    assert Counter(stack.phase for stack in stacks) == {"ED": 60, "ES": 60}
    assert Counter(stack.disease for stack in stacks) == dict.fromkeys(("NORM", "DCM", "HCM", "RV", "MINF"), 24)
    for stack in stacks:
        assert set(np.unique(stack.masks)) == {0, 1, 2, 3}
        assert stack.affine is None
    for stack in stacks[::24]:  # blood is bright in one patient of each class
        blood, muscle, right = (stack.images[stack.masks == label].mean() for label in (1, 2, 3))
        assert min(blood, right) > 1.2 * muscle
