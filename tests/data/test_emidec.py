"""EMIDEC in the challenge's own layout."""

import logging
from collections import Counter

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.emidec import list_emidec_patients, read_emidec, read_emidec_clinical
from tests.data.volume_factory import DUMMY, OBLIQUE, SHAPE, gray, heart, write_nifti

CLINICAL = "Case P001\n\nGap between slices\x86: 10 mm\nSex\x86: M\nAge : 32\nECG (ST +) : Y\nFEVG : 35\n"


def theirs(scar: bool) -> np.ndarray:
    """EMIDEC's labels: 1 cavity, 2 myocardium; with scar 3 infarct and, within it, 4 no-reflow."""
    masks = heart()
    masks[masks == 3] = 0
    if scar:
        columns = np.arange(SHAPE[2])
        masks[(masks == 2) & (columns > 24)] = 3
        masks[(masks == 3) & (columns > 30)] = 4
    return masks


def write_case(root, name, scar, contours=True, affine=DUMMY):
    write_nifti(root / name / "Images" / f"{name}.nii.gz", gray(theirs(scar)), affine)
    if contours:
        write_nifti(root / name / "Contours" / f"{name}.nii.gz", theirs(scar), affine)


def test_infarct_and_no_reflow_become_scar_and_say_lge(tmp_path):
    root = tmp_path / "emidec-dataset-1.0.1"
    write_case(root, "Case_N006", scar=False)
    write_case(root, "Case_P001", scar=True, affine=OBLIQUE)
    write_case(tmp_path / "emidec-segmentation-testset-1.0.0", "Case_101", scar=True, contours=False)
    assert list_emidec_patients(tmp_path) == ["Case_101", "Case_N006", "Case_P001"]
    assert list_emidec_patients(root) == ["Case_N006", "Case_P001"]
    unknown, normal, infarct = read_emidec(tmp_path)
    assert (unknown.masks, unknown.drawn, unknown.lge) == (None, (), None)
    assert (normal.lge, infarct.lge) == ("none", "present")
    assert normal.drawn == infarct.drawn == (1, 2, 6)
    for label, own in ((0, (0,)), (1, (1,)), (2, (2,)), (6, (3, 4))):
        np.testing.assert_array_equal(infarct.masks == label, np.isin(theirs(True), own))
    assert {stack.image_type for stack in (unknown, normal, infarct)} == {"LGE"}
    assert normal.affine is None
    assert infarct.affine is not None


def test_when_name_and_mask_disagree_then_the_mask_counts_and_the_log_says_so(tmp_path, caplog):
    write_case(tmp_path, "Case_P002", scar=False)
    logging.getLogger("cmr_hf").addHandler(caplog.handler)
    try:
        assert next(read_emidec(tmp_path)).lge == "none"
    finally:
        logging.getLogger("cmr_hf").removeHandler(caplog.handler)
    assert "Case_P002: the name says LGE present, the mask none" in caplog.text


def test_the_clinical_text_is_read_where_there_is_one(tmp_path):
    (tmp_path / "Case P001.txt").write_bytes(CLINICAL.encode("latin-1"))
    clinical = read_emidec_clinical(tmp_path, "Case_P001")
    assert clinical == {"Gap between slices": "10 mm", "Sex": "M", "Age": "32", "ECG (ST +)": "Y", "FEVG": "35"}
    assert read_emidec_clinical(tmp_path, "Case_P002") == {}


def test_when_a_case_is_broken_then_the_reader_names_it(tmp_path):
    write_case(tmp_path, "Case_P001", scar=True)
    with pytest.raises(ReadingError, match="Case_P009 has no folder Images: point `root`"):
        list(read_emidec(tmp_path, ["Case_P009"]))
    mask = tmp_path / "Case_P001" / "Contours" / "Case_P001.nii.gz"
    write_nifti(mask, np.full(SHAPE, 5, np.uint8), DUMMY)
    with pytest.raises(ReadingError, match="Case_P001.nii.gz needs the labels 0 to 4, got 5"):
        list(read_emidec(tmp_path))
    mask.unlink()
    with pytest.raises(ReadingError, match="Contours/Case_P001.nii.gz is missing"):
        list(read_emidec(tmp_path))


def test_real_emidec_has_40_with_scar_and_20_without_as_the_names_say(shared_data):
    root = shared_data / "emidec"
    stacks = list(read_emidec(root))
    assert [stack.patient for stack in stacks] == list_emidec_patients(root)
    assert Counter((stack.patient[:6], stack.lge) for stack in stacks) == {
        ("Case_P", "present"): 40,
        ("Case_N", "none"): 20,
    }
    assert sum(len(stack.images) for stack in stacks) == 431
    for stack in stacks[::10]:
        cavity, muscle = (stack.images[stack.masks == label].mean() for label in (1, 2))
        assert cavity > muscle  # normal muscle is nulled
