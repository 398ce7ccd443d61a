"""MS-CMRSeg 2019 and MyoPS 2020 in their published layouts (file names and label ids; see `cmr_hf.data.myops`)."""

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.myops import (
    IDS_MSCMRSEG,
    IDS_MYOPS,
    list_mscmrseg_patients,
    list_myops_patients,
    read_mscmrseg,
    read_myops,
)
from tests.data.volume_factory import gray, heart, in_ids_of, write_nifti


def test_ms_cmrseg_reads_each_sequence_with_its_own_mask(tmp_path):
    shapes = {"C0": (4, 40, 44), "T2": (2, 36, 40), "LGE": (3, 48, 44)}
    for sequence, shape in shapes.items():
        write_nifti(tmp_path / "c0t2lge" / f"patient6_{sequence}.nii.gz", gray(heart(8.0, shape)))
        if sequence != "LGE":  # only the first five have one in the training download
            masks = in_ids_of(heart(8.0, shape), IDS_MSCMRSEG, np.int16)
            assert set(np.unique(masks)) == {0, 200, 500, 600}
            write_nifti(tmp_path / f"{sequence.lower()}gt" / f"patient6_{sequence}_manual.nii.gz", masks)
    assert list_mscmrseg_patients(tmp_path) == ["patient6"]
    stacks = list(read_mscmrseg(tmp_path))
    seen = [(stack.series, stack.image_type, stack.images.shape, stack.drawn) for stack in stacks]
    assert seen == [
        ("C0", "cine", shapes["C0"], (1, 2, 3)),
        ("T2", "other", shapes["T2"], (1, 2, 3)),
        ("LGE", "LGE", shapes["LGE"], ()),
    ]
    np.testing.assert_array_equal(stacks[0].masks, heart(8.0, shapes["C0"]))
    assert stacks[2].masks is None
    write_nifti(tmp_path / "t2gt" / "patient6_T2_manual.nii.gz", np.zeros(shapes["C0"], np.int16))
    with pytest.raises(ReadingError, match=r"patient6_T2: image \(1, 2, 36, 40\) and mask \(1, 4, 40, 44\) differ"):
        list(read_mscmrseg(tmp_path))


def test_myops_has_one_mask_for_three_sequences_with_oedema_and_scar(tmp_path):
    ours = heart()
    theirs = in_ids_of(ours, IDS_MYOPS, np.int16)
    muscle = np.flatnonzero(ours == 2)
    theirs.flat[muscle[::3]], theirs.flat[muscle[1::3]] = 1220, 2221
    for sequence in ("C0", "DE", "T2"):
        write_nifti(tmp_path / "train25" / f"myops_training_101_{sequence}.nii.gz", gray(ours))
        write_nifti(tmp_path / "test20" / f"myops_test_201_{sequence}.nii.gz", gray(ours))
    mask = write_nifti(tmp_path / "train25_myops_gd" / "myops_training_101_gd.nii.gz", theirs)
    assert list_myops_patients(tmp_path) == ["myops_test_201", "myops_training_101"]
    stacks = list(read_myops(tmp_path))
    assert [stack.series for stack in stacks] == ["C0", "DE", "T2"] * 2
    assert [stack.lge for stack in stacks] == [None, None, None, None, "present", None]
    assert all(stack.masks is None for stack in stacks[:3])
    for stack in stacks[3:]:
        assert stack.drawn == (1, 2, 3, 6)
        np.testing.assert_array_equal(stack.masks == 6, theirs == 2221)
        np.testing.assert_array_equal(stack.masks == 2, np.isin(theirs, (200, 1220)))
        np.testing.assert_array_equal(stack.masks == 1, theirs == 500)
    theirs.flat[0] = 201
    write_nifti(mask, theirs)
    with pytest.raises(ReadingError, match="gd.nii.gz needs the labels 0, 200, 500, 600, 1220, 2221, got 201"):
        list(read_myops(tmp_path, ["myops_training_101"]))
    with pytest.raises(ReadingError, match="has no myops_training_999_C0.nii.gz"):
        list(read_myops(tmp_path, ["myops_training_999"]))
