"""The Data Science Bowl in its published layout (folders, csv columns; see `cmr_hf.data.kaggle_dsb`)."""

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.kaggle_dsb import kaggle_dsb_volumes, list_kaggle_dsb_patients, read_kaggle_dsb
from tests.dicom_factory import OBLIQUE, pixels_of, write_slice

LONG_AXIS = np.array([0.0, 0.0, -1.0, 0.8, 0.6, 0.0])


def write_study(study, slices=3, phases=4):
    """Each sax_K a slice over time, with its own series; the numbers of the folders are not in order of space."""
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    for z, k in enumerate((12, 5, 9)[:slices]):
        for t in range(phases):
            write_slice(
                study / f"sax_{k}" / f"IM-4562-{t + 1:04d}.dcm",
                pixels_of(z, t),
                SeriesInstanceUID=f"1.2.3.{k}",
                TriggerTime=30 * t,
                ImageOrientationPatient=OBLIQUE.tolist(),
                ImagePositionPatient=(10.0 * z * normal).round(6).tolist(),
            )
    for name in ("2ch_21", "4ch_17"):
        for t in range(phases):
            write_slice(
                study / name / f"IM-4561-{t + 1:04d}.dcm",
                pixels_of(7, t),
                TriggerTime=30 * t,
                ImageOrientationPatient=LONG_AXIS.tolist(),
            )


def test_sax_folders_become_one_stack_and_views_come_from_the_folders(tmp_path):
    write_study(tmp_path / "train" / "1" / "study")
    write_study(tmp_path / "validate" / "validate" / "501" / "study")
    assert list_kaggle_dsb_patients(tmp_path) == ["1", "501"]
    stacks = list(read_kaggle_dsb(tmp_path, ["1"]))
    assert [stack.series for stack in stacks] == ["2ch_21"] * 4 + ["4ch_17"] * 4 + ["sax"] * 4
    assert [stack.view for stack in stacks[::4]] == ["2CH", "4CH", "SAX"]
    sax = stacks[8:]
    assert [stack.phase_index for stack in sax] == [0, 1, 2, 3]
    assert {stack.phase for stack in stacks} == {""}
    assert all(stack.masks is None for stack in stacks)
    for t, stack in enumerate(sax):
        assert stack.images[:, 0, 0].tolist() == [t, 100 + t, 200 + t]
        assert stack.slice_distance_mm == pytest.approx(10.0)
        assert stack.affine is not None
    assert len(list(read_kaggle_dsb(tmp_path))) == 24


def test_volumes_are_systole_then_diastole_in_ml(tmp_path):
    (tmp_path / "train.csv").write_text("Id,Systole,Diastole\n1,108.3,246.7\n2,54.5,139.4\n")
    (tmp_path / "solution.csv").write_text("Id,Volume,Usage\n701_Diastole,150.5,Private\n701_Systole,60.25,Private\n")
    assert kaggle_dsb_volumes(tmp_path) == {"1": (108.3, 246.7), "2": (54.5, 139.4), "701": (60.25, 150.5)}
    (tmp_path / "train.csv").write_text("Id,Systole\n1,108.3\n")
    with pytest.raises(ReadingError, match="train.csv needs Systole and Diastole in ml"):
        kaggle_dsb_volumes(tmp_path)
    with pytest.raises(ReadingError, match="has no train.csv, validate.csv or solution.csv"):
        kaggle_dsb_volumes(tmp_path / "elsewhere")


def test_when_a_study_has_no_series_then_the_reader_says_so(tmp_path):
    (tmp_path / "train" / "3" / "study").mkdir(parents=True)
    with pytest.raises(ReadingError, match="has no folder sax_…, 2ch_… or 4ch_…"):
        list(read_kaggle_dsb(tmp_path))
    with pytest.raises(ReadingError, match="no patient's folder of the Data Science Bowl"):
        list_kaggle_dsb_patients(tmp_path / "train" / "3")
