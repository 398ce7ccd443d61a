"""A small study is read and sorted, whatever it comes in; every file is accounted for."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.fileset import FileSet

from cmr_hf.hub.reading_cmr import ReadingError, read_image
from cmr_hf.studies import Study, read_studies, read_study
from tests.dicom_factory import slice_dataset
from tests.studies.study_factory import (
    EXPECTED,
    INVERSIONS_MS,
    SAX,
    cine,
    codes,
    picture,
    small_study,
    sorted_codes,
    statuses,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("study"), small_study())


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read_study(folder)


def test_when_a_study_is_read_then_every_series_becomes_its_stacks(study: Study):
    found = [(one.axis, one.shape[:2], one.image_type.value, one.view.value) for one in study.stacks]
    assert found == EXPECTED
    assert statuses(study) == {"used": len(small_study())}
    assert [one.id for one in study.stacks] == list(range(1, 12))
    assert [study[one.id] for one in study.stacks] == list(study.stacks)


def test_when_a_stack_is_decoded_then_pixels_time_and_place_are_those_of_read_image(study: Study, tmp_path: Path):
    stack = study.stacks[3]
    image = stack.image()
    alone = read_image(write(tmp_path, cine(2, 4, SAX, "cine")))
    np.testing.assert_array_equal(image.pixels, alone.pixels)
    np.testing.assert_allclose(image.affine, alone.affine)
    assert image.trigger_times_ms == alone.trigger_times_ms == (0, 150, 300, 450, 600, 750)
    assert image.slice_distance_mm == pytest.approx(10.0) == stack.slice_distance_mm
    assert image.spacing_mm == (1.25, 1.5) == stack.spacing_mm
    assert stack.rr_ms == 900
    assert stack.heart_rate_bpm == pytest.approx(66.7, abs=0.1)
    assert stack.field_t == 1.5
    assert stack.vendor == "Siemens"


def test_when_slices_are_placed_then_each_affine_leads_to_its_own_position(study: Study):
    stack = study.stacks[3]
    normal = np.cross(SAX[:3], SAX[3:])
    np.testing.assert_allclose(np.diff(stack.positions_mm), 10.0, atol=1e-6)
    for z, (affine, frame) in enumerate(zip(stack.slice_affines, stack.frames[0], strict=True)):
        np.testing.assert_allclose(affine[:3, 3], frame.slice.origin_mm, atol=1e-6)
        np.testing.assert_allclose(affine[:3, 2], normal, atol=1e-6)
        np.testing.assert_allclose(stack.affine @ [0, 0, z, 1], affine @ [0, 0, 0, 1], atol=1e-6)


def test_when_a_mask_goes_back_then_each_picture_knows_its_instance_and_frame(study: Study):
    stack = study.stacks[3]
    for t, row in enumerate(stack.frames):
        for z, frame in enumerate(row):
            assert frame.sop_instance_uid == f"1.2.3.4.2.{z + 1}.{t + 1}.{z * 6 + t + 1}"
            assert frame.slice.index == 0
            assert codes(stack)[t][z] == 2000 + 50 * z + t
    assert len(stack.paths) == 24


def test_when_a_series_inverts_then_its_times_are_known_and_its_map_is_found(study: Study):
    molli, t1 = study.stacks[5:7]
    np.testing.assert_array_equal(molli.inversion_times_ms, np.repeat(np.array(INVERSIONS_MS)[:, None], 3, axis=1))
    assert (t1.unit, t1.unit_source) == ("ms", "RescaleType")
    assert t1.image_type.detail == "T1 map, native"
    assert t1.image().pixels[0, 2, 0, 0] == pytest.approx((5000 + 100) / 2)  # the slope of 0.5 ms
    kinds = {one.kind: one.stacks for one in study.relations}
    assert kinds["map and its source"] == (t1.id, molli.id)


def test_when_stacks_belong_together_then_it_is_said(study: Study):
    kinds = {one.kind: one.stacks for one in study.relations}
    assert set(kinds) == {
        "PSIR and magnitude",
        "flow: phase and magnitude",
        "map and its source",
        "planes of one series",
    }
    psir, magnitude = (study[number] for number in kinds["PSIR and magnitude"])
    assert (psir.component, magnitude.component) == ("R", "M")
    phase, magnitude = (study[number] for number in kinds["flow: phase and magnitude"])
    assert (phase.component, magnitude.component) == ("P", "M")
    assert kinds["planes of one series"] == (1, 2, 3)


def test_when_planes_turn_around_one_axis_then_they_are_a_radial_set(tmp_path: Path):
    across, along = SAX[:3], np.cross(SAX[:3], SAX[3:])
    files = []
    for number in range(4):
        angle = np.pi * number / 4
        row = np.cos(angle) * across + np.sin(angle) * SAX[3:]
        corner = -7.5 * 1.5 * row - 5.5 * 1.25 * along
        for one in cine(8, 1, np.concatenate([row, along]), "cine radial"):
            one.ImagePositionPatient = [f"{value:.10g}" for value in corner]
            one.SOPInstanceUID += f".{number}"
            one.InstanceNumber += 6 * number
            files.append(one)
    study = read_study(write(tmp_path, files))
    assert [one.shape[:2] for one in study.stacks] == [(6, 1)] * 4
    assert [(one.kind, one.stacks) for one in study.relations] == [("radial set", (1, 2, 3, 4))]


@pytest.mark.parametrize("kind", ["zip", "folder of zips", "DICOMDIR", "folder with DICOMDIR", "deep"])
def test_when_the_same_files_come_in_another_way_then_the_stacks_are_the_same(
    kind: str, folder: Path, study: Study, tmp_path: Path
):
    files = sorted(folder.iterdir())
    if kind in ("zip", "folder of zips"):
        for part, some in (("a", files[:40]), ("b", files[40:])) if "folder" in kind else (("a", files),):
            with zipfile.ZipFile(tmp_path / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
                for file in some:
                    packed.write(file, f"x/{file.name}")
        source = tmp_path if "folder" in kind else tmp_path / "a.zip"
    elif "DICOMDIR" in kind:
        medium = FileSet()
        for file in files:
            medium.add(file)
        medium.write(tmp_path / "cd")
        source = tmp_path / "cd" / ("" if "folder" in kind else "DICOMDIR")
    else:
        source = write(tmp_path, small_study(), [f"{'d/' * (number % 5)}{number}" for number in range(len(files))])
    again = read_study(source)
    assert sorted_codes(again) == sorted_codes(study)
    assert statuses(again)["used"] == len(files)
    listed = [one.reason for one in again.files if one.status != "used"]
    assert listed == (["an index of files (DICOMDIR)"] if "DICOMDIR" in kind else [])


def test_when_a_zip_is_read_then_its_files_are_gone_with_the_study(folder: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, file.name)
    study = read_study(tmp_path / "a.zip")
    stack = study.stacks[0]
    unpacked = stack.paths[0]
    del study
    assert stack.image().pixels.shape == stack.shape
    del stack
    assert not unpacked.exists()


def test_when_files_are_no_mr_images_then_they_are_listed_with_the_reason(tmp_path: Path):
    files = small_study()[:6]
    base = "1.2.840.10008.5.1.4.1.1."
    others = {
        "report": slice_dataset(SOPClassUID=base + "88.22", Modality="SR", Rows=None, PixelData=None),
        "state": slice_dataset(SOPClassUID=base + "11.1", Modality="PR", Rows=None, PixelData=None),
        "ecg": slice_dataset(SOPClassUID=base + "9.1.1", Modality="ECG", Rows=None, PixelData=None),
        "capture": slice_dataset(SOPClassUID=base + "7", Modality="MR"),
        "colours": slice_dataset(np.zeros((12, 16, 3), np.uint8)),
        "ct": slice_dataset(SOPClassUID=base + "2", Modality="CT"),
        "screen": slice_dataset(ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]),
        "segmentation": slice_dataset(SOPClassUID=base + "66.4", Modality="SEG"),
    }
    write(tmp_path, files + list(others.values()), [f"mr{k}" for k in range(6)] + list(others))
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "empty").touch()
    (tmp_path / ".DS_Store").write_text("x")
    study = read_study(tmp_path)
    reasons = {one.path: one.reason for one in study.files if one.status == "listed"}
    words = {"report": "report", "state": "presentation", "ecg": "waveform", "capture": "capture", "colours": "colour",
             "ct": "tomography", "screen": "screenshot", "segmentation": "segmentation", "notes.txt": "not a DICOM",
             "empty": "not a DICOM", ".DS_Store": "hidden"}  # fmt: skip
    assert set(reasons) == set(words)
    for name, word in words.items():
        assert word in reasons[name], (name, reasons[name])
    assert statuses(study) == {"used": 6, "listed": 11}


def test_when_two_patients_lie_in_one_folder_then_they_are_kept_apart_and_it_is_said(tmp_path: Path):
    other = cine(2, 2, SAX, "cine")
    for one in other:
        one.PatientID, one.StudyInstanceUID = "OTHER-1", "1.2.3.5"
        one.SOPInstanceUID += ".7"
    write(tmp_path / "a", small_study())
    write(tmp_path / "b", other)
    studies = read_studies(tmp_path)
    assert [len(one.stacks) for one in studies] == [11, 1]
    assert [statuses(one)["used"] for one in studies] == [len(small_study()), 12]
    assert all("2 patients in one place: they are kept apart" in one.notes for one in studies)
    with pytest.raises(ReadingError, match="needs one study of one patient, got 2 with 11, 1 stacks"):
        read_study(tmp_path)


def test_when_two_studies_of_a_patient_lie_in_one_folder_then_they_are_kept_apart_unless_in_one_place(tmp_path: Path):
    later = cine(2, 2, SAX, "cine")
    for one in later:
        one.StudyInstanceUID, one.FrameOfReferenceUID = "1.2.3.5", "1.2.3.98"
        one.SOPInstanceUID += ".7"
    write(tmp_path / "a", small_study())
    write(tmp_path / "b", later)
    assert [len(one.stacks) for one in read_studies(tmp_path)] == [11, 1]
    for one in later:
        one.FrameOfReferenceUID = "1.2.3.4.99"
        one.SeriesNumber = 20
    write(tmp_path / "b", later)
    (study,) = read_studies(tmp_path)
    assert any("share a frame of reference" in note for note in study.notes)


def test_when_there_is_nothing_to_read_then_it_is_said(tmp_path: Path):
    with pytest.raises(ReadingError, match="needs to be an existing folder") as caught:
        read_study(tmp_path / "Secret^Person")
    assert "Secret" not in str(caught.value)
    study = read_study(tmp_path)
    assert (study.stacks, study.files, study.report()["counts"]) == ((), (), {})


def test_when_a_report_is_asked_for_then_json_writes_it(study: Study):
    report = json.loads(json.dumps(study.report(file_names=True), allow_nan=False))
    assert len(report["files"]) == len(small_study())
    assert report["stacks"][3]["shape"] == [6, 4, 12, 16]
    assert report["stacks"][3]["header_says"]["view"]["value"] == "SAX"
    assert {row["path"] for row in report["files"]} == {f"IM{k:04d}" for k in range(len(small_study()))}
    assert "path" not in study.report()["files"][0]


def test_when_facts_are_needed_then_they_are_there_but_not_shown(tmp_path: Path):
    files = [picture(1, k, 0, SAX, "x", k + 1, PatientSize="172", PatientAge="093Y") for k in range(2)]
    facts = read_study(write(tmp_path, files)).patient
    assert (facts.height_m, facts.weight_kg, facts.sex, facts.age_years) == (1.72, 65.0, "F", 90.0)
    assert repr(facts) == "PatientFacts(not shown)"
