"""M&Ms and M&Ms-2 in their published layouts (csv columns, frames from 0, label ids; see `cmr_hf.data.mnms`)."""

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.mnms import list_mnms2_patients, list_mnms_patients, read_mnms, read_mnms2, read_mnms_table
from tests.data.volume_factory import OBLIQUE, SHAPE, gray, heart, write_nifti

TABLE = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"
HEADER = ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight\n"
SHEARED = OBLIQUE.copy()
SHEARED[:3, 1] += 0.02 * OBLIQUE[:3, 0]  # cosines a little off the right angle, as in some of M&Ms


@pytest.fixture
def open_dataset(tmp_path):
    root = tmp_path / "OpenDataset"
    root.mkdir()
    rows = (
        "A0S9V9,Siemens,A,1,0,9,61,DCM,M,178,80",
        "A1D0Q7,Philips,B,2,1,7,18,HHD,F,,",
        "A5C2D2,GE,C,4,2,5,40,ARV,F,,",
    )
    (root / TABLE).write_text(HEADER + "".join(f"{index},{row}\n" for index, row in enumerate(rows)))
    for place, code, ends in (
        ("Training/Labeled", "A0S9V9", (0, 9)),
        ("Training/Unlabeled", "A1D0Q7", ()),
        ("Validation", "A5C2D2", (2, 5)),
    ):
        cine = np.stack([gray(heart()) + t for t in range(10)]).astype(np.int16)
        masks = np.zeros(cine.shape, np.uint8)  # drawn at ED and ES alone
        for t in ends:
            masks[t] = heart(8.0 - t % 3)
        folder = root / place / code
        write_nifti(folder / f"{code}_sa.nii.gz", cine, SHEARED)
        write_nifti(folder / f"{code}_sa_gt.nii.gz", masks, SHEARED)
    return root


def test_ed_and_es_are_counted_from_0_and_unlabelled_masks_are_not_read(open_dataset):
    assert list_mnms_patients(open_dataset) == list_mnms_patients(open_dataset.parent) == ["A0S9V9", "A1D0Q7", "A5C2D2"]
    stacks = list(read_mnms(open_dataset))
    seen = [(stack.patient, stack.phase, stack.phase_index, stack.disease) for stack in stacks]
    assert seen == [
        ("A0S9V9", "ED", 0, "DCM"),
        ("A0S9V9", "ES", 9, "DCM"),
        ("A1D0Q7", "ED", 1, None),  # hypertensive heart disease is none of ACDC's classes
        ("A1D0Q7", "ES", 7, None),
        ("A5C2D2", "ED", 2, "RV"),
        ("A5C2D2", "ES", 5, "RV"),
    ]
    assert [stack.masks is None for stack in stacks] == [False, False, True, True, False, False]
    for stack in stacks:
        np.testing.assert_array_equal(stack.images, gray(heart()) + stack.phase_index)
        if stack.masks is not None:
            np.testing.assert_array_equal(stack.masks, heart(8.0 - stack.phase_index % 3))


def test_cosines_off_the_right_angle_are_kept(open_dataset):
    stack = next(read_mnms(open_dataset, ["A0S9V9"]))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ SHEARED
    np.testing.assert_allclose(stack.affine, lps, atol=1e-4)
    assert stack.spacing_mm == pytest.approx((1.5, 1.25), rel=1e-3)


def test_every_phase_and_the_table(open_dataset):
    stacks = list(read_mnms(open_dataset, ["A5C2D2"], every_phase=True))
    assert [stack.phase for stack in stacks] == ["", "", "ED", "", "", "ES", "", "", "", ""]
    assert [t for t, stack in enumerate(stacks) if stack.masks is not None] == [2, 5]
    row = read_mnms_table(open_dataset)["A1D0Q7"]
    assert (row["VendorName"], row["Vendor"], row["Centre"], row["Pathology"]) == ("Philips", "B", "2", "HHD")


def test_when_m_and_ms_is_broken_then_the_reader_says_where(open_dataset):
    table = open_dataset / TABLE
    table.write_text(table.read_text().replace("A,1,0,9,", "A,1,0,12,"))
    with pytest.raises(ReadingError, match="ES of A0S9V9 is frame 12 counted from 0, but there are 10"):
        list(read_mnms(open_dataset, ["A0S9V9"]))
    table.write_text(table.read_text().replace("A,1,0,12,", "A,1,,12,"))
    with pytest.raises(ReadingError, match="ED of A0S9V9 needs a whole number, got ''"):
        list(read_mnms(open_dataset, ["A0S9V9"]))
    write_nifti(
        open_dataset / "Validation" / "A5C2D2" / "A5C2D2_sa_gt.nii.gz", np.full((10, *SHAPE), 4, np.uint8), SHEARED
    )
    with pytest.raises(ReadingError, match="A5C2D2_sa_gt.nii.gz needs the labels 0 to 3, got 4"):
        list(read_mnms(open_dataset, ["A5C2D2"]))
    with pytest.raises(ReadingError, match="no patient Z9Z9Z9"):
        list(read_mnms(open_dataset, ["Z9Z9Z9"]))
    table.unlink()
    with pytest.raises(ReadingError, match="point `root` at the folder OpenDataset"):
        list(read_mnms(open_dataset))


def test_m_and_ms_2_has_two_views_at_two_phases(tmp_path):
    root = tmp_path / "MnM2"
    root.mkdir()
    (root / "dataset_information.csv").write_text(
        "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n1,NOR,GE MEDICAL SYSTEMS,SIGNA EXCITE,1.5\n41,LV,SIEMENS,x,1.5\n"
        "200,RV,SIEMENS,x,3\n,,,,\n"
    )
    for patient in ("001", "041", "200"):
        for axis, shape in (("SA", SHAPE), ("LA", (1, *SHAPE[1:]))):
            for phase, radius in (("ED", 8.0), ("ES", 6.0)):
                name = f"{patient}_{axis}_{phase}"
                write_nifti(root / "dataset" / patient / f"{name}.nii.gz", gray(heart(radius, shape)))
                write_nifti(root / "dataset" / patient / f"{name}_gt.nii.gz", heart(radius, shape))
    assert list_mnms2_patients(root) == list_mnms2_patients(root / "dataset") == ["001", "041", "200"]
    for place in (tmp_path, root, root / "dataset"):
        stacks = list(read_mnms2(place))
        assert len(stacks) == 12
    assert [(stack.view, stack.phase, len(stack.images)) for stack in stacks[:4]] == [
        ("SAX", "ED", 3),
        ("SAX", "ES", 3),
        ("4CH", "ED", 1),
        ("4CH", "ES", 1),
    ]
    assert [stack.disease for stack in stacks[::4]] == ["NORM", None, "RV"]  # a dilated LV need not be DCM
    np.testing.assert_array_equal(stacks[1].masks, heart(6.0))
    (root / "dataset" / "041" / "041_LA_ES_gt.nii.gz").unlink()
    with pytest.raises(ReadingError, match="041_LA_ES_gt.nii.gz is missing"):
        list(read_mnms2(root))
    with pytest.raises(ReadingError, match="dataset_information.csv has no patient 777"):
        list(read_mnms2(root, ["777"]))
