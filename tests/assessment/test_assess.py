"""A whole study in, figures and files out: right, complete, resumable, and without a name in any of them."""

import gzip
import json
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cmr_hf.assessment import assess
from cmr_hf.assessment.schema import faults, schema
from tests.assessment.study_factory import NAME, NUMBER, PERSON, PHASES, SECRETS, SLICES, write_study


def content_of(out):
    return json.loads((out / "assessment.json").read_text(encoding="utf-8"))


def true_volumes(labels, stack, label):
    """ml of every phase: areas times distance."""
    return np.count_nonzero(labels == label, axis=(2, 3)).sum(axis=1) * 1.5 * 1.5 * 10 / 1000


def test_when_a_study_is_assessed_then_volumes_and_t1_are_those_of_its_heart(assessed):
    _, labels, stack, made, _ = assessed
    volumes = true_volumes(labels, stack, 1)
    assert made.measures["lv_edv"].value == pytest.approx(volumes.max(), rel=0.05)
    assert made.measures["lv_esv"].value == pytest.approx(volumes.min(), rel=0.05)
    assert made.stack("cine SAX").measured.es == volumes.argmin()
    assert made.measures["t1_native"].value == pytest.approx(640, abs=5)
    assert made.measures["t1_native_blood"].value == pytest.approx(1600, abs=5)
    assert made.measures["lv_edv_index"].value == pytest.approx(made.measures["lv_edv"].value / 2.0, rel=1e-3)
    assert made.measures["lv_co"].value == pytest.approx(made.measures["lv_sv"].value * 75 / 1000, rel=1e-3)


def test_when_a_map_has_no_rv_then_its_segments_are_those_of_the_cine(assessed):
    made = assessed[3]
    values = made.segmental["t1_native"]
    assert all(values[number].value == pytest.approx(640, abs=10) for number in (1, 2, 4, 6))
    assert any("cine" in note for note in made.stack("T1 SAX").measured.notes)


def test_when_models_are_missing_then_the_result_says_so_and_nothing_is_silent(assessed):
    made, out = assessed[3], assessed[4]
    content = content_of(out)
    assert content["models"]["lge-sax"] == {
        "model": None,
        "reason": 'not measured: no model for short-axis late enhancement ("lge-sax")',
    }
    assert "late enhancement: no LGE SAX stack in the study" in content["not_measured"]
    assert any("RV insertion points" in one for one in made.stack("cine SAX").not_measured)
    assert made.measures["lv_ef"].interval is not None
    assert all(one.value is not None or one.reason for one in made.measures.values())


def test_when_there_is_no_model_for_views_then_the_header_is_believed_and_it_is_marked(assessed):
    view = content_of(assessed[4])["stacks"][0]["recognition"]["view"]
    assert (view["value"], view["by"], view["probability"]) == ("SAX", "header", None)
    assert "no model for views" in view["notes"][0]


def test_when_results_are_written_then_they_follow_the_schema(assessed):
    content = content_of(assessed[4])
    assert faults(content) == []
    validator = pytest.importorskip("jsonschema", reason="our own check is made above").Draft202012Validator
    validator.check_schema(schema())
    assert not list(validator(schema()).iter_errors(content))


def test_when_results_break_the_schema_then_the_check_says_where(assessed):
    content = content_of(assessed[4])
    content["measures"]["lv_ef"] = {"value": None, "unit": "%"}
    content["stacks"][0]["masks_from"] = "magic"
    del content["notice"]
    said = "\n".join(faults(content))
    assert "$.measures.lv_ef" in said
    assert "$.stacks[0].masks_from" in said
    assert "lacks 'notice'" in said


def test_when_results_are_written_then_every_file_they_name_is_there(assessed):
    out, content = assessed[4], content_of(assessed[4])
    named = [*content["files"].values(), *(path for one in content["stacks"] for path in one["files"].values())]
    assert len(named) > 10
    assert all((out / path).is_file() for path in named)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "not a medical device" in page
    assert page.count("data:image/png;base64,") >= 4
    assert "http" not in page.split("</style>")[1].replace("https://doi.org", "")


def test_when_masks_are_written_then_they_lie_on_the_grid_of_the_source(assessed):
    _, labels, stack, made, out = assessed
    one = made.stack("cine SAX")
    mask = nib.load(out / one.files["mask"])
    assert mask.shape == (80, 80, SLICES, PHASES)
    got = np.asarray(mask.dataobj).transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(got, one.labels)
    dice = 2 * ((got == 1) & (labels == 1)).sum() / ((got == 1).sum() + (labels == 1).sum())
    assert dice > 0.95
    affine = np.diag([-1, -1, 1, 1]) @ mask.affine
    np.testing.assert_allclose(affine[:3, 3], stack.affines[0, :3, 3], atol=1e-3)


def test_when_dicom_seg_is_written_then_a_reader_finds_the_labels_on_the_images_they_refer_to(assessed):
    highdicom = pytest.importorskip("highdicom", reason="comes with the clinical extra")
    folder, _, stack, made, out = assessed
    one = made.stack("cine SAX")
    segs = sorted((out / "dicom_seg").glob(f"{one.name}_phase*.dcm"))
    assert len(segs) == PHASES
    images = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, folder.glob("*.dcm"))}
    seg = highdicom.seg.segread(segs[2])
    assert [str(item.SegmentLabel) for item in seg.SegmentSequence] == ["LV cavity", "myocardium", "RV"]
    wanted = [image for image in images.values() if image.SeriesNumber == 3 and image.TriggerTime == 200]
    wanted.sort(key=lambda image: stack.normal @ np.array(image.ImagePositionPatient, dtype=float))
    uids = [str(image.SOPInstanceUID) for image in wanted]
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True)
    np.testing.assert_array_equal(pixels, one.labels[2])
    assert {str(item.SeriesInstanceUID) for item in seg.ReferencedSeriesSequence} == {str(wanted[0].SeriesInstanceUID)}
    assert seg.StudyInstanceUID == wanted[0].StudyInstanceUID


def all_bytes(out):
    """Every file as it is, and what is compressed in it unpacked."""
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        data = file.read_bytes()
        yield file.name, data
        if file.suffix == ".gz":
            yield file.name, gzip.decompress(data)
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                yield file.name, b"".join(stored[key].tobytes() for key in stored.files)
        if file.suffix == ".png":
            for start in range(len(data) - 4):
                if data[start : start + 4] in (b"zTXt", b"iTXt"):
                    yield file.name, zlib.decompressobj().decompress(data[start + 4 :].split(b"\0\0", 1)[-1])


def test_when_identity_is_planted_then_no_output_holds_it(assessed):
    out, found = assessed[4], []
    names = [str(path.relative_to(out)) for path in out.rglob("*")]
    for secret in SECRETS:
        spellings = {secret.encode(), secret.encode("utf-16-le"), secret.replace("^", " ").encode()}
        found += [(name, secret) for name, data in all_bytes(out) if any(one in data for one in spellings)]
        found += [(name, secret) for name in names if secret in name]
    assert found == []
    assert len(names) > 20


def test_when_identity_is_planted_then_dicom_seg_has_empty_patient_fields(assessed):
    pytest.importorskip("highdicom", reason="comes with the clinical extra")
    for file in (assessed[4] / "dicom_seg").glob("*.dcm"):
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        for keyword in (*PERSON, "ReferringPhysicianName", "StudyDate", "StudyID", "PatientSex"):
            assert not dataset.get(keyword), keyword
        assert "InstitutionName" not in dataset


def test_when_identity_is_to_be_kept_then_results_name_the_patient(tmp_path, oracle):
    folder, _, _ = write_study(tmp_path, phases=4, maps=False)
    (folder / "notes of Planted.txt").write_text("no DICOM")
    made = assess(folder, keep_identity=True, progress=False)
    study = made.to_dict()["study"]
    assert study["identity"]["PatientID"] == NUMBER
    assert study["identity"]["PatientName"] == NAME
    assert study["left_out"][0]["names"] == ["notes of Planted.txt"]


def test_when_a_run_is_repeated_then_no_image_is_seen_again_and_figures_are_the_same(tmp_path, oracle):
    folder, _, _ = write_study(tmp_path, phases=4)
    first = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    second = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    assert first.images_seen == 4 * SLICES + 3
    assert (second.images_seen, second.answers_known) == (0, 2)
    assert {k: one.value for k, one in second.measures.items()} == {k: one.value for k, one in first.measures.items()}
    for file in (tmp_path / "out" / "cache").glob("cine-sax*.npz"):
        file.write_bytes(file.read_bytes()[:200])
    third = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    assert third.images_seen == 4 * SLICES


def test_when_files_are_renamed_and_headers_change_then_the_cache_still_knows_the_pictures(tmp_path, oracle):
    folder, _, _ = write_study(tmp_path, phases=4, maps=False)
    first = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    for index, file in enumerate(sorted(folder.iterdir(), reverse=True)):
        dataset = pydicom.dcmread(file)
        dataset.PatientName = "Other"
        dataset.save_as(folder / f"{index}.dcm")
        file.unlink()
    second = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    assert second.images_seen == 0
    assert second.measures["lv_ef"] == first.measures["lv_ef"]


def test_when_a_mask_is_corrected_by_hand_then_it_is_kept_and_measured_on_demand(tmp_path, oracle):
    folder, _, _ = write_study(tmp_path, phases=4, maps=False)
    out = tmp_path / "out"
    first = assess(folder, out=out, progress=False, seg_phases="none")
    path = out / first.stacks[0].files["mask"]
    mask = nib.load(path)
    labels = np.asarray(mask.dataobj).copy()
    labels[:, :, 0][labels[:, :, 0] == 1] = 2
    nib.save(nib.Nifti1Image(labels, mask.affine, mask.header), path)
    again = assess(folder, out=out, progress=False, seg_phases="none")
    assert again.measures["lv_edv"] == first.measures["lv_edv"]
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), labels)
    assert any("changed by hand" in note for note in again.stacks[0].notes)
    by_hand = assess(folder, out=out, masks=out / "masks", progress=False, seg_phases="none")
    assert by_hand.stacks[0].masks_from == "hand"
    assert by_hand.images_seen == 0
    assert by_hand.measures["lv_edv"].value < first.measures["lv_edv"].value - 5
    assert content_of(out)["stacks"][0]["masks_from"] == "hand"


def test_when_a_mask_has_another_grid_then_the_model_draws_one_and_it_is_said(tmp_path, oracle):
    folder, _, _ = write_study(tmp_path, phases=4, maps=False)
    first = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    (tmp_path / "masks").mkdir()
    wrong = nib.Nifti1Image(np.zeros((80, 80, SLICES), np.uint8), np.eye(4))
    nib.save(wrong, tmp_path / "masks" / f"{first.stacks[0].name}_mask.nii.gz")
    made = assess(folder, masks=tmp_path / "masks", progress=False)
    assert made.stacks[0].masks_from == "model"
    assert any("needs masks on the grid" in one for one in made.stacks[0].not_measured)


def test_when_files_are_damaged_then_the_rest_is_assessed_and_each_file_is_accounted_for(tmp_path, oracle):
    folder, _, _ = write_study(tmp_path, phases=4)
    damaged = sorted(folder.glob("*_5_0_*.dcm"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    (folder / "Planted report.pdf").write_bytes(b"%PDF")
    made = assess(folder, out=tmp_path / "out", progress=False, seg_phases="none")
    assert made.measures["lv_ef"]
    assert made.stack("T1 SAX").source.shape[1] == 2
    left = made.to_dict()["study"]["left_out"]
    assert sum(one["files"] for one in left) == 2
    assert "Planted" not in json.dumps(left)


def test_when_one_step_fails_for_a_stack_then_the_others_are_measured(tmp_path, oracle, monkeypatch):
    folder, _, _ = write_study(tmp_path, phases=4)

    def fails(*args, **kwargs):
        raise RuntimeError(f"cannot read {folder}/{NAME}_3_0_0.dcm")

    monkeypatch.setattr("cmr_hf.assessment.steps.measure_cine_sax", fails)
    made = assess(folder, progress=False)
    assert made.measures["t1_native"]
    reasons = " ".join(made.stack("cine SAX").not_measured)
    assert "not measured: RuntimeError" in reasons
    assert "Planted" not in reasons


def test_when_arguments_cannot_be_then_errors_say_what_they_need(tmp_path):
    with pytest.raises(FileNotFoundError, match="`masks` needs an existing folder"):
        assess(tmp_path, masks=tmp_path / "none")
    with pytest.raises(ValueError, match="`seg_phases` needs"):
        assess(tmp_path, seg_phases="some")
    with pytest.raises(ValueError, match="`models` needs names of image-type"):
        assess(tmp_path, models={"sax": tmp_path})
