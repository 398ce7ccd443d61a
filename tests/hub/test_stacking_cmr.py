"""Folders of DICOM: patient coordinates against the DICOM formula, order in space and time, leftovers."""

import shutil
import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_hf.hub.reading_cmr import CMRImage, ReadingError, read_image
from tests.dicom_factory import pixels_of, write_slice, write_stack


def refusal(source: Any) -> str:
    with pytest.raises(ReadingError) as caught:
        read_image(source)
    return str(caught.value)


def first_pixels(image: CMRImage) -> list[list[float]]:
    return image.pixels[:, :, 0, 0].tolist()


@st.composite
def orientations(draw: st.DrawFn) -> np.ndarray:
    seed = draw(st.integers(0, 2**32 - 1))
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return basis[:, :2].T.ravel()


@given(orientation=orientations(), spacing=st.tuples(st.floats(0.5, 3), st.floats(0.5, 3)), gap=st.floats(2, 20))
@settings(max_examples=15, deadline=None)
def test_affine_gives_the_patient_coordinates_of_the_dicom_formula(tmp_path_factory, orientation, spacing, gap):
    folder = tmp_path_factory.mktemp("oblique")
    tags = {"PixelSpacing": [f"{value:.10g}" for value in spacing]}
    paths = write_stack(folder, slices=3, phases=2, orientation=orientation, distance_mm=gap, **tags)
    image = read_image(folder)
    assert first_pixels(image) == [[0, 100, 200], [1, 101, 201]]
    assert image.slice_distance_mm == pytest.approx(gap, abs=1e-5)
    for k, path in enumerate(paths[::2]):
        header = pydicom.dcmread(path)
        position, cosines = np.array(header.ImagePositionPatient), np.array(header.ImageOrientationPatient)
        for row, column in ((0, 0), (11, 3), (5, 15)):  # PS3.3 equation C.7.6.2.1-1
            truth = position + cosines[:3] * spacing[1] * column + cosines[3:] * spacing[0] * row
            assert np.allclose(image.affine @ [column, row, k, 1], [*truth, 1], atol=1e-4)


def test_series_per_slice_in_nested_folders_are_one_stack_sorted_in_space_and_time(tmp_path):
    write_stack(tmp_path / "export" / "deep", slices=4, phases=5, series_per_slice=True)
    image = read_image(tmp_path)
    assert first_pixels(image) == [[100 * k + t for k in range(4)] for t in range(5)]
    assert image.trigger_times_ms == (0.0, 40.0, 80.0, 120.0, 160.0)
    assert image.slice_distance_mm == pytest.approx(10)
    assert image.left_out == []


@pytest.mark.parametrize("percent", [[50, 0, 25], None])
def test_when_trigger_times_are_bogus_then_the_next_time_tag_orders_the_phases(tmp_path, percent):
    for t in range(3):
        own = {} if percent is None else {"NominalPercentageOfCardiacPhase": percent[t]}
        write_slice(tmp_path / f"{t}.dcm", pixels_of(0, t), TriggerTime=0, InstanceNumber=9 - t, **own)
    image = read_image(tmp_path)
    assert first_pixels(image) == ([[1], [2], [0]] if percent else [[2], [1], [0]])
    assert image.trigger_times_ms is None


def test_a_bad_file_never_stops_the_rest_and_is_listed_with_its_reason(tmp_path):
    paths = write_stack(tmp_path, slices=2, phases=2)
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / ".hidden").write_text("not looked at")
    write_slice(tmp_path / "ct.dcm", Modality="CT")
    write_slice(tmp_path / "survey.dcm")
    shutil.copy(paths[0], tmp_path / "zz_copy.dcm")
    write_stack(tmp_path / "third", slices=1, phases=1, origin_mm=(500, 500, 500))
    image = read_image(tmp_path)
    assert first_pixels(image) == [[0, 100], [1, 101]]
    reasons = {item["file"]: item["reason"] for item in image.left_out}
    assert set(reasons) == {"notes.txt", "ct.dcm", "survey.dcm", "zz_copy.dcm", "third/im0000.dcm"}
    for name, says in (
        ("notes.txt", "not a DICOM file"), ("ct.dcm", "Modality MR"), ("survey.dcm", "another stack"),
        ("zz_copy.dcm", "duplicate"), ("third/im0000.dcm", "1 phases where the stack has 2"),
    ):  # fmt: skip
        assert says in reasons[name]


def test_when_pixels_of_one_file_are_cut_then_its_position_is_left_out(tmp_path):
    paths = write_stack(tmp_path, slices=3, phases=2)
    paths[4].write_bytes(paths[4].read_bytes()[:-50])
    image = read_image(tmp_path)
    assert first_pixels(image) == [[0, 100], [1, 101]]
    assert ["truncated" in item["reason"] for item in image.left_out] == [True, False]


def test_a_repeated_slice_series_is_left_out_and_two_whole_series_raise(tmp_path):
    write_stack(tmp_path / "a", slices=3, phases=3, series_per_slice=True)
    write_stack(tmp_path / "b", slices=1, phases=2, SeriesInstanceUID="1.2.3.99")
    image = read_image(tmp_path)
    assert image.pixels.shape[:2] == (3, 3)
    assert {item["reason"] for item in image.left_out} == {"another series fills the same slice position"}
    write_stack(tmp_path / "b", slices=3, phases=3, SeriesInstanceUID="1.2.3.99")
    assert "pass one series' folder" in refusal(tmp_path)


def test_when_a_folder_holds_several_stacks_then_reader_raises(tmp_path):
    write_stack(tmp_path / "a", slices=3, phases=2)
    write_stack(tmp_path / "b", slices=3, phases=2, orientation=[1, 0, 0, 0, 1, 0])
    message = refusal(tmp_path)
    assert str(tmp_path) in message
    assert "6 files like a/im0000.dcm; 6 files like b/im0000.dcm" in message
    assert "pass one stack's folder" in message


def test_when_a_folder_has_no_mr_file_then_reader_raises_with_five_reasons_at_most(tmp_path):
    assert "it is empty" in refusal(tmp_path)
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text("a note")
    message = refusal(tmp_path)
    assert message.count("not a DICOM file") == 5
    assert "pass a DICOM stack's folder" in message


def test_when_slices_are_missing_then_reader_warns_and_uses_the_median_distance(tmp_path):
    for path in write_stack(tmp_path, slices=6)[2:3]:
        path.unlink()
    with pytest.warns(UserWarning, match=r"slice distances vary from 10\.00 to 20\.00 mm.*check whether"):
        assert read_image(tmp_path).slice_distance_mm == pytest.approx(10)


def test_without_orientation_slices_are_ordered_by_slice_location_then_instance_number(tmp_path):
    for name, tag in (("location", "SliceLocation"), ("instance", "InstanceNumber")):
        for k, place in enumerate((30, 10, 20)):
            bare = {"ImageOrientationPatient": None, "ImagePositionPatient": None, "InstanceNumber": 1}
            write_slice(tmp_path / name / f"{k}.dcm", pixels_of(k, 0), **(bare | {tag: place}))
        image = read_image(tmp_path / name)
        assert first_pixels(image) == [[100, 200, 0]]
        assert (image.slice_distance_mm, image.affine) == (10.0 if name == "location" else None, None)


# ---- real hearts


def test_six_real_series_of_one_short_axis_stack_read_as_one(shared_data, tmp_path):
    for name in ("Se1", "Se2", "Se3", "Se4", "Se5", "Se11"):
        shutil.copytree(shared_data / "biv_me_study" / "dicom" / name, tmp_path / name)
    image = read_image(tmp_path)
    assert image.pixels.shape == (25, 6, 208, 256)
    assert image.slice_distance_mm == pytest.approx(17.7, abs=0.01)
    assert (image.spacing_mm, image.left_out) == ((1.40625, 1.40625), [])


def test_real_stacks_are_read_in_silence_and_scouts_are_refused(shared_data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(shared_data / "sunnybrook" / "dicom" / "SCD0000301")
    assert image.pixels.shape == (20, 10, 256, 256)
    assert image.slice_distance_mm == pytest.approx(8, abs=0.01)
    assert "pass one stack's folder" in refusal(shared_data / "sunnybrook" / "scouts" / "SCD0000101")
